import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.Stores;

/** The job on Kafka Streams' DSL: a repartition topic, a window store in memory with its changelog. */
public final class StreamsJob {
    private static final Duration PANE = Duration.ofSeconds(10);
    private static final Duration GRACE = Duration.ofSeconds(5);
    private static final Duration RETENTION = Duration.ofSeconds(60);

    /** Event time, of the input and of the repartition topic alike. */
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return ((Request) record.value()).ts;
        }
    }

    private static final class FromJson implements Deserializer<Request> {
        @Override
        public Request deserialize(String topic, byte[] record) {
            Request request = new Request();
            try {
                request.parse(record);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return request;
        }
    }

    /** What the repartition topic carries beside the key. */
    private static final class Brief implements Serializer<Request>, Deserializer<Request> {
        @Override
        public byte[] serialize(String topic, Request request) {
            return ByteBuffer.allocate(17).putLong(request.ts).putDouble(request.latencyMs)
                .put((byte) (request.error ? 1 : 0)).array();
        }

        @Override
        public Request deserialize(String topic, byte[] packed) {
            ByteBuffer buffer = ByteBuffer.wrap(packed);
            Request request = new Request();
            request.ts = buffer.getLong();
            request.latencyMs = buffer.getDouble();
            request.error = buffer.get() == 1;
            return request;
        }

        // Both interfaces have these as defaults, so that they must be told which.
        @Override
        public void configure(Map<String, ?> settings, boolean isKey) {
        }

        @Override
        public void close() {
        }
    }

    private static final class Tallies implements Serializer<Tally>, Deserializer<Tally> {
        @Override
        public byte[] serialize(String topic, Tally tally) {
            if (tally == null) {
                return null;
            }
            ByteArrayOutputStream packed = new ByteArrayOutputStream(1024);
            try {
                tally.write(new DataOutputStream(packed));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return packed.toByteArray();
        }

        @Override
        public Tally deserialize(String topic, byte[] packed) {
            if (packed == null) {
                return null;
            }
            Tally tally = new Tally();
            try {
                tally.read(new DataInputStream(new ByteArrayInputStream(packed)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return tally;
        }

        // Both interfaces have these as defaults, so that they must be told which.
        @Override
        public void configure(Map<String, ?> settings, boolean isKey) {
        }

        @Override
        public void close() {
        }
    }

    private StreamsJob() {
    }

    public static void main(String[] arguments) {
        Serde<Request> brief = Serdes.serdeFrom(new Brief(), new Brief());
        Serde<Tally> tallies = Serdes.serdeFrom(new Tallies(), new Tallies());
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                System.getenv("PEER_INPUT"),
                Consumed.with(Serdes.ByteArray(), Serdes.serdeFrom(new Brief(), new FromJson()))
                    .withTimestampExtractor(new EventTime()))
            .groupBy((key, request) -> request.series, Grouped.with("series", Serdes.String(), brief))
            .windowedBy(TimeWindows.ofSizeAndGrace(PANE, GRACE))
            .aggregate(
                Tally::new,
                (series, request, tally) -> {
                    tally.add(request.latencyMs, request.error);
                    return tally;
                },
                Materialized.<String, Tally>as(Stores.inMemoryWindowStore("panes", RETENTION, PANE, false))
                    .withKeySerde(Serdes.String()).withValueSerde(tallies))
            .toStream()
            .map((pane, tally) -> KeyValue.pair(pane.key(), tally.record(pane.key(), pane.window().start())))
            .to(System.getenv("PEER_OUTPUT"), Produced.with(Serdes.String(), Serdes.ByteArray()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    private static Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("PEER_APP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BROKER"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEER_STATE"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv("PEER_THREADS"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, System.getenv("PEER_GUARANTEE"));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 2_000);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        settings.put(StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, EventTime.class);
        // The events are from long ago: ordinary retention would delete the changelog under the job.
        settings.put(StreamsConfig.WINDOW_STORE_CHANGE_LOG_ADDITIONAL_RETENTION_MS_CONFIG, Duration.ofDays(3650).toMillis());
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // A fetch is worked off whole: a large one would advance one partition beyond the grace of the others.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 256 << 10);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
        return settings;
    }
}
