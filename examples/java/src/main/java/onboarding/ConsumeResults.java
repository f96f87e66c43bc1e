package onboarding;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Acts once on each result: BOOTSTRAP_SERVERS SCHEMA_REGISTRY SCHEMA_FILE TOPIC GROUP [--stop-at-end]. */
public final class ConsumeResults {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Request id to the revision that is kept. In a service this is the table below, which outlives a restart. */
    private final Map<String, Integer> kept = new HashMap<>();

    private ConsumeResults() {}

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("schema.registry.url", args[1]);
        settings.put("schema.file", args[2]);
        settings.put("group.id", args[4]);
        settings.put("key.deserializer", StringDeserializer.class.getName());
        // With Confluent's: "io.confluent.kafka.serializers.KafkaAvroDeserializer".
        settings.put("value.deserializer", RegistryAvroDeserializer.class.getName());
        settings.put("isolation.level", "read_committed"); // The default shows results that never became true.
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        boolean stopsAtEnd = List.of(args).contains("--stop-at-end");
        try (KafkaConsumer<String, GenericRecord> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(List.of(args[3]));
            new ConsumeResults().consume(consumer, stopsAtEnd);
        }
    }

    private void consume(KafkaConsumer<String, GenericRecord> consumer, boolean stopsAtEnd) throws Exception {
        while (true) {
            // When the registry does not answer this throws: stop, begin again, skip nothing.
            for (ConsumerRecord<String, GenericRecord> record : consumer.poll(Duration.ofSeconds(1))) {
                take(record.value());
            }
            consumer.commitSync(); // Only now: what was read is kept.
            if (stopsAtEnd && isAtEnd(consumer)) {
                return;
            }
        }
    }

    private static boolean isAtEnd(KafkaConsumer<?, ?> consumer) {
        Set<TopicPartition> assigned = consumer.assignment();
        Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
        return !assigned.isEmpty() && assigned.stream().allMatch(each -> consumer.position(each) >= ends.get(each));
    }

    /**
     * Keeps a result and acts on it, if it is news. In one transaction of your database:
     *
     * <pre>{@code
     * INSERT INTO results (request_id, revision, event_id, outcome, decision) VALUES (?, ?, ?, ?, ?)
     * ON CONFLICT (request_id) DO UPDATE SET revision = excluded.revision, event_id = excluded.event_id,
     *     outcome = excluded.outcome, decision = excluded.decision
     * WHERE excluded.revision > results.revision
     * }</pre>
     *
     * <p>Where that changed one row it is news: revision 2 takes the place of 1; a repeat, and a 1 that comes behind
     * its 2, change nothing.
     */
    private void take(GenericRecord result) throws Exception {
        String requestId = result.get("requestId").toString();
        int revision = (Integer) result.get("revision");
        if (revision > kept.getOrDefault(requestId, 0)) {
            kept.put(requestId, revision);
            act(result, requestId, revision);
        }
    }

    private void act(GenericRecord result, String requestId, int revision) throws Exception {
        String outcome = result.get("outcome").toString();
        String next =
                switch (outcome) {
                    case "COMPLETED" -> "go by `decision`"; // Null where the catalogue names none: then by `result`.
                    case "FAILED", "NOT_STARTED", "EXPIRED", "UNDETERMINED" -> "go by " + result.get("reason");
                    default -> "newer than this program: keep it, tell a person";
                };
        // Ids and words only: `decision`, `result` and `attributes` are personal data, and belong into no log.
        var line = JSON.createObjectNode().put("requestId", requestId).put("revision", revision).put("outcome", outcome);
        System.out.println(line.put("next", next));
    }
}
