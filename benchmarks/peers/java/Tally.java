import com.tdunning.math.stats.MergingDigest;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** One series in one pane: count, errors, and a t-digest of the latencies. */
public class Tally {
    private static final double COMPRESSION = 100;

    private long count;
    private long errors;
    private MergingDigest digest = new MergingDigest(COMPRESSION);

    public final void add(double latencyMs, boolean error) {
        count++;
        if (error) {
            errors++;
        }
        digest.add(latencyMs);
    }

    public final void merge(Tally other) {
        count += other.count;
        errors += other.errors;
        digest.add(other.digest);
    }

    /** Takes over what the other one holds. */
    public final void become(Tally other) {
        count = 0;
        errors = 0;
        digest = new MergingDigest(COMPRESSION);
        synchronized (other) {
            merge(other);
        }
    }

    /** Under a lock: a checkpoint's thread writes while the job's copies, and both compress the digest. */
    public void write(DataOutput out) throws IOException {
        ByteBuffer packed;
        synchronized (this) {
            packed = ByteBuffer.allocate(digest.smallByteSize());
            digest.asSmallBytes(packed);
        }
        out.writeLong(count);
        out.writeLong(errors);
        out.writeInt(packed.position());
        out.write(packed.array(), 0, packed.position());
    }

    public void read(DataInput in) throws IOException {
        count = in.readLong();
        errors = in.readLong();
        byte[] packed = new byte[in.readInt()];
        in.readFully(packed);
        digest = MergingDigest.fromBytes(ByteBuffer.wrap(packed));
    }

    /** The record that goes out, as JSON. */
    public final byte[] record(String series, long paneMs) {
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
