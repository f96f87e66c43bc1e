package onboarding;

import java.io.File;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publishes one request: BOOTSTRAP_SERVERS SCHEMA_REGISTRY SCHEMA_FILE TOPIC REQUEST_ID REFERENCE. */
public final class PublishRequest {
    private PublishRequest() {}

    public static void main(String[] args) throws Exception {
        String schemaFile = args[2];
        String topic = args[3];
        String requestId = args[4];
        String reference = args[5];
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("schema.registry.url", args[1]);
        settings.put("schema.file", schemaFile);
        settings.put("key.serializer", StringSerializer.class.getName());
        // With Confluent's: "io.confluent.kafka.serializers.KafkaAvroSerializer", which reads the two lines after it.
        settings.put("value.serializer", RegistryAvroSerializer.class.getName());
        settings.put("auto.register.schemas", "false"); // `processor schemas register` does that, once,
        settings.put("normalize.schemas", "true"); // and normalized: one that asks otherwise may not find its id.
        // Defaults of the client that matter here: acks=all, enable.idempotence=true, murmur2 as the partitioner.

        GenericRecord request = request(new Schema.Parser().parse(new File(schemaFile)), requestId, reference);
        try (KafkaProducer<String, GenericRecord> producer = new KafkaProducer<>(settings)) {
            // The key is the ordering unit: best the subject's reference, the same for every event of that subject.
            producer.send(new ProducerRecord<>(topic, reference, request)).get(); // Throws: publish it again.
        }
    }

    /** Returns a request; what is left out is null or empty. Every field: docs/events.md. */
    private static GenericRecord request(Schema schema, String requestId, String reference) {
        Schema subject = schema.getField("subject").schema().getTypes().get(1);
        Schema kind = subject.getField("kind").schema().getTypes().get(1);
        return new GenericRecordBuilder(schema)
                // Yours, stored before you publish: publishing the same id again under the same key is harmless.
                .set("requestId", requestId)
                .set("workflow", "person-check") // A name of the processor's catalogue.
                .set("requestedAt", ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now()))
                .set("subject", new GenericRecordBuilder(subject)
                        .set("reference", reference)
                        .set("kind", new GenericData.EnumSymbol(kind, "PERSON"))
                        .set("firstName", "Ada")
                        .set("lastName", "Lindqvist")
                        .set("email", "ada.lindqvist@example.test")
                        .build())
                // JSON values as they are; an object or a list is JSON text in a record `Json`.
                .set("parameters", Map.of("orderId", "A-17", "amount", 99.5))
                .set("attributes", Map.of("channel", "web")) // They come back on the result.
                .build();
    }
}
