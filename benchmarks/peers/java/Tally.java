import com.tdunning.math.stats.MergingDigest;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * One series in one pane: count, errors, and a t-digest of the latencies.
 *
 * The newest latencies wait in a buffer and the digest stays packed until they go into it: an engine that keeps
 * its state as bytes reads and writes a tally with every event, and copying bytes is all that this then takes.
 */
public class Tally {
    private static final double COMPRESSION = 100;
    private static final int BUFFER = 64;
    private static final byte[] NOTHING = {};

    private long count;
    private long errors;
    private double[] fresh = new double[BUFFER];
    private int waiting;
    /** The digest as bytes; null when only {@link #digest} is up to date. */
    private byte[] packed = NOTHING;
    /** The digest; null while only {@link #packed} is there. */
    private MergingDigest digest;

    public final void add(double latencyMs, boolean error) {
        count++;
        if (error) {
            errors++;
        }
        if (waiting == BUFFER) {
            flush();
        }
        fresh[waiting++] = latencyMs;
    }

    public final void merge(Tally other) {
        flush();
        other.flush();
        count += other.count;
        errors += other.errors;
        digest.add(other.digest);
    }

    /** Takes over what the other one holds. */
    public final void become(Tally other) {
        synchronized (other) {
            other.pack();
            count = other.count;
            errors = other.errors;
            fresh = other.fresh.clone();
            waiting = other.waiting;
            packed = other.packed;
            digest = null;
        }
    }

    /** Under a lock: a checkpoint's thread writes while the job's copies, and both pack the digest. */
    public void write(DataOutput out) throws IOException {
        synchronized (this) {
            pack();
            ByteBuffer values = ByteBuffer.allocate(waiting * Double.BYTES);
            values.asDoubleBuffer().put(fresh, 0, waiting);
            out.writeLong(count);
            out.writeLong(errors);
            out.writeInt(waiting);
            out.write(values.array());
            out.writeInt(packed.length);
            out.write(packed);
        }
    }

    public void read(DataInput in) throws IOException {
        count = in.readLong();
        errors = in.readLong();
        waiting = in.readInt();
        byte[] values = new byte[waiting * Double.BYTES];
        in.readFully(values);
        fresh = new double[BUFFER];
        ByteBuffer.wrap(values).asDoubleBuffer().get(fresh, 0, waiting);
        packed = new byte[in.readInt()];
        in.readFully(packed);
        digest = null;
    }

    private void flush() {
        if (digest == null) {
            digest = packed.length == 0
                ? new MergingDigest(COMPRESSION) : MergingDigest.fromBytes(ByteBuffer.wrap(packed));
        }
        for (int at = 0; at < waiting; at++) {
            digest.add(fresh[at]);
        }
        waiting = 0;
        packed = null;
    }

    private void pack() {
        if (packed == null) {
            ByteBuffer bytes = ByteBuffer.allocate(digest.smallByteSize());
            digest.asSmallBytes(bytes);
            packed = Arrays.copyOf(bytes.array(), bytes.position());
        }
    }

    /** The record that goes out, as JSON. */
    public final byte[] record(String series, long paneMs) {
        flush();
        String[] names = series.split("\\|", -1);
        StringBuilder text = new StringBuilder(200);
        text.append("{\"service\":\"").append(names[0]).append("\",\"endpoint\":\"").append(names[1])
            .append("\",\"version\":\"").append(names[2]).append("\",\"track\":\"").append(names[3])
            .append("\",\"pane_ms\":").append(paneMs).append(",\"count\":").append(count)
            .append(",\"errors\":").append(errors).append(",\"p50\":").append(digest.quantile(0.5))
            .append(",\"p99\":").append(digest.quantile(0.99)).append('}');
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }
}
