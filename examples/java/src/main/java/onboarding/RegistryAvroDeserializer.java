package onboarding;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Map;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;

/**
 * Reads Avro behind a zero byte and the schema's id; needs {@code schema.registry.url} and {@code schema.file}, the
 * schema that this program knows: newer words are read as UNRECOGNIZED, newer fields are passed over.
 */
public final class RegistryAvroDeserializer implements Deserializer<GenericRecord> {
    private static final int PREFIX_BYTES = 1 + Integer.BYTES;

    private Registry registry;
    private Schema known;

    @Override
    public void configure(Map<String, ?> configs, boolean isKey) {
        registry = new Registry(configs);
        try {
            known = new Schema.Parser().parse(Path.of(String.valueOf(configs.get("schema.file"))).toFile());
        } catch (IOException error) {
            throw new SerializationException("the schema's file cannot be read", error);
        }
    }

    @Override
    public GenericRecord deserialize(String topic, byte[] value) {
        if (value == null || value.length < PREFIX_BYTES || value[0] != 0) {
            throw new SerializationException("the value does not begin with a schema's id");
        }
        Schema written = registry.byId(ByteBuffer.wrap(value, 1, Integer.BYTES).getInt());
        try {
            var decoder = DecoderFactory.get().binaryDecoder(value, PREFIX_BYTES, value.length - PREFIX_BYTES, null);
            return new GenericDatumReader<GenericRecord>(written, known).read(null, decoder);
        } catch (IOException | AvroRuntimeException error) {
            throw new SerializationException("the value does not follow its schema", error);
        }
    }
}
