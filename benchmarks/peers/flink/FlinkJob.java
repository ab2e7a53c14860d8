import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.Optional;
import java.util.Properties;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.types.CopyableValue;
import org.apache.flink.types.StringValue;
import org.apache.flink.util.Collector;

/** The job on Flink's DataStream API: state on the heap, checkpoints on, watermarks per partition. */
public final class FlinkJob {
    /** An event between source and window; its own serializer, for it crosses a shuffle. */
    public static final class Event implements CopyableValue<Event> {
        public Request request = new Request();

        @Override
        public void write(DataOutputView out) throws IOException {
            StringValue.writeString(request.series, out);
            out.writeLong(request.ts);
            out.writeDouble(request.latencyMs);
            out.writeBoolean(request.error);
        }

        @Override
        public void read(DataInputView in) throws IOException {
            request.series = StringValue.readString(in);
            request.ts = in.readLong();
            request.latencyMs = in.readDouble();
            request.error = in.readBoolean();
        }

        @Override
        public int getBinaryLength() {
            return -1;
        }

        @Override
        public void copyTo(Event target) {
            target.request.series = request.series;
            target.request.ts = request.ts;
            target.request.latencyMs = request.latencyMs;
            target.request.error = request.error;
        }

        @Override
        public Event copy() {
            Event copy = new Event();
            copyTo(copy);
            return copy;
        }

        @Override
        public void copy(DataInputView source, DataOutputView target) throws IOException {
            StringValue.copyString(source, target);
            target.write(source, 17);
        }
    }

    /** The window's accumulator, which a checkpoint writes. */
    public static final class Pane extends Tally implements CopyableValue<Pane> {
        @Override
        public void write(DataOutputView out) throws IOException {
            super.write(out);
        }

        @Override
        public void read(DataInputView in) throws IOException {
            super.read(in);
        }

        @Override
        public int getBinaryLength() {
            return -1;
        }

        @Override
        public void copyTo(Pane target) {
            target.become(this);
        }

        @Override
        public Pane copy() {
            Pane copy = new Pane();
            copyTo(copy);
            return copy;
        }

        @Override
        public void copy(DataInputView source, DataOutputView target) throws IOException {
            Pane pane = new Pane();
            pane.read(source);
            pane.write(target);
        }
    }

    private static final class Parser implements DeserializationSchema<Event> {
        @Override
        public Event deserialize(byte[] message) throws IOException {
            Event event = new Event();
            event.request.parse(message);
            return event;
        }

        @Override
        public boolean isEndOfStream(Event next) {
            return false;
        }

        @Override
        public TypeInformation<Event> getProducedType() {
            return TypeInformation.of(Event.class);
        }
    }

    private static final class Tallying implements AggregateFunction<Event, Pane, Pane> {
        @Override
        public Pane createAccumulator() {
            return new Pane();
        }

        @Override
        public Pane add(Event event, Pane pane) {
            pane.add(event.request.latencyMs, event.request.error);
            return pane;
        }

        @Override
        public Pane getResult(Pane pane) {
            return pane;
        }

        @Override
        public Pane merge(Pane one, Pane other) {
            one.merge(other);
            return one;
        }
    }

    private static final class Emit implements WindowFunction<Pane, byte[], String, TimeWindow> {
        @Override
        public void apply(String series, TimeWindow window, Iterable<Pane> panes, Collector<byte[]> out) {
            for (Pane pane : panes) {
                out.collect(pane.record(series, window.getStart()));
            }
        }
    }

    private static final class Bytes implements SerializationSchema<byte[]> {
        @Override
        public byte[] serialize(byte[] record) {
            return record;
        }
    }

    private FlinkJob() {
    }

    public static void main(String[] arguments) throws Exception {
        String broker = System.getenv("PEER_BROKER");
        Path state = Path.of(System.getenv("PEER_STATE"));
        StreamExecutionEnvironment env =
            StreamExecutionEnvironment.createLocalEnvironment(
                Integer.parseInt(System.getenv("PEER_THREADS")), settings(state));
        Properties fetch = new Properties();
        fetch.setProperty("max.partition.fetch.bytes", "4194304");
        fetch.setProperty("max.poll.records", "5000");
        KafkaSource<Event> source = KafkaSource.<Event>builder()
            .setBootstrapServers(broker)
            .setTopics(System.getenv("PEER_INPUT"))
            .setGroupId(System.getenv("PEER_APP"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new Parser())
            .setProperties(fetch)
            .build();
        KafkaSink<byte[]> sink = KafkaSink.<byte[]>builder()
            .setBootstrapServers(broker)
            .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
            .setRecordSerializer(KafkaRecordSerializationSchema.<byte[]>builder()
                .setTopic(System.getenv("PEER_OUTPUT"))
                .setValueSerializationSchema(new Bytes())
                .build())
            .build();
        // The source keeps a watermark for each partition and passes their minimum on.
        WatermarkStrategy<Event> time = WatermarkStrategy
            .<Event>forBoundedOutOfOrderness(Duration.ofSeconds(5))
            .withTimestampAssigner((event, recorded) -> event.request.ts);
        env.fromSource(source, time, "requests")
            .keyBy(event -> event.request.series)
            .window(TumblingEventTimeWindows.of(Duration.ofSeconds(10)))
            .aggregate(new Tallying(), new Emit())
            .sinkTo(sink);
        env.execute("panes");
    }

    private static Configuration settings(Path state) {
        Configuration settings = new Configuration();
        Path checkpoints = state.resolve("checkpoints");
        settings.setString("state.backend.type", "hashmap");
        settings.setString("execution.checkpointing.interval", "2s");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("execution.checkpointing.dir", checkpoints.toUri().toString());
        settings.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("rest.port", "0");
        settings.setString("restart-strategy.type", "none");
        newest(checkpoints).ifPresent(
            path -> settings.setString("execution.state-recovery.path", path.toUri().toString()));
        return settings;
    }

    /** The newest complete checkpoint of any earlier run: where a restarted job goes on. */
    private static Optional<Path> newest(Path checkpoints) {
        if (!Files.isDirectory(checkpoints)) {
            return Optional.empty();
        }
        try (Stream<Path> files = Files.walk(checkpoints)) {
            return files.filter(file -> file.endsWith("_metadata"))
                .max(Comparator.comparingLong(file -> file.toFile().lastModified()))
                .map(Path::getParent);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
