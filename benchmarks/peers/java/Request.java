import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;

/** What the job needs of one request event, read with Jackson's streaming parser. */
public final class Request {
    private static final JsonFactory JSON = new JsonFactory();

    /** Service, endpoint, version and track, joined: what the job groups by. */
    public String series;
    public long ts;
    public double latencyMs;
    public boolean error;

    /** Parses into this object, so that a caller may use one again and again. */
    public void parse(byte[] record) throws IOException {
        String service = "", endpoint = "", version = "", track = "stable";
        error = false;
        try (JsonParser parser = JSON.createParser(record)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "ts" -> ts = parser.getLongValue();
                    case "service" -> service = parser.getText();
                    case "endpoint" -> endpoint = parser.getText();
                    case "version" -> version = parser.getText();
                    case "track" -> track = parser.getText();
                    case "status" -> error = parser.getIntValue() >= 500;
                    case "latency_ms" -> latencyMs = parser.getDoubleValue();
                    default -> parser.skipChildren();
                }
            }
        }
        series = service + '|' + endpoint + '|' + version + '|' + track;
    }
}
