package onboarding;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serializer;

/** Avro behind a zero byte and the schema's id; needs {@code schema.registry.url} and {@code schema.file}. */
public final class RegistryAvroSerializer implements Serializer<GenericRecord> {
    private Registry registry;
    private String schema;
    private Integer id;

    @Override
    public void configure(Map<String, ?> configs, boolean isKey) {
        registry = new Registry(configs);
        try {
            schema = Files.readString(Path.of(String.valueOf(configs.get("schema.file"))));
        } catch (IOException error) {
            throw new SerializationException("the schema's file cannot be read", error);
        }
    }

    @Override
    public byte[] serialize(String topic, GenericRecord record) {
        if (id == null) {
            id = registry.idOf(topic + "-value", schema);
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        bytes.write(0);
        bytes.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(id).array());
        try {
            BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
            new GenericDatumWriter<GenericRecord>(record.getSchema()).write(record, encoder);
            encoder.flush();
        } catch (IOException error) {
            throw new SerializationException("the record does not fit its schema", error);
        }
        return bytes.toByteArray();
    }
}
