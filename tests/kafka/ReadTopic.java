import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Writes all messages of a topic to a file, by Kafka's own client: partition, offset, key, the headers as name=value,
 * and the value, with tabs between. Ends when it has come to the end of every partition, and has seen in each the
 * position that was asked for.
 *
 * usage: java -cp KAFKA/* ReadTopic.java BROKERS TOPIC PARTITION:POSITION,... FILE
 */
public class ReadTopic {
    private static final long PATIENCE_MS = 60_000;

    public static void main(String[] args) throws Exception {
        Map<Integer, Long> missing = new HashMap<>();
        for (String wanted : args[2].isEmpty() ? new String[0] : args[2].split(",")) {
            String[] parts = wanted.split(":");
            missing.put(Integer.parseInt(parts[0]), Long.parseLong(parts[1]));
        }
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("enable.auto.commit", "false");
        properties.put("key.deserializer", StringDeserializer.class.getName());
        properties.put("value.deserializer", StringDeserializer.class.getName());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
                PrintStream out = new PrintStream(
                        new BufferedOutputStream(new FileOutputStream(args[3])), false, StandardCharsets.UTF_8)) {
            List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
                    .map(it -> new TopicPartition(it.topic(), it.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.currentTimeMillis() + PATIENCE_MS;
            while (!missing.isEmpty() || !isAtEnd(consumer, partitions)) {
                if (System.currentTimeMillis() > deadline) {
                    System.err.println("not published: " + missing);
                    System.exit(1);
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    print(record, out);
                    Header position = record.headers().lastHeader("ce_position");
                    Long wanted = missing.get(record.partition());
                    if (wanted != null && Long.parseLong(text(position)) >= wanted) {
                        missing.remove(record.partition());
                    }
                }
            }
        }
    }

    private static boolean isAtEnd(KafkaConsumer<String, String> consumer, List<TopicPartition> partitions) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        return partitions.stream().allMatch(it -> consumer.position(it) >= ends.get(it));
    }

    private static String text(Header header) {
        return new String(header.value(), StandardCharsets.UTF_8);
    }

    private static void print(ConsumerRecord<String, String> record, PrintStream out) {
        out.print(record.partition() + "\t" + record.offset() + "\t" + record.key());
        for (Header header : record.headers()) {
            out.print("\t" + header.key() + "=" + text(header));
        }
        out.print("\t" + record.value() + "\n");
    }
}
