package onboarding;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.Schema;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.SerializationException;

/** The two questions that framed Avro asks of a registry, on routes that every Confluent-compatible one has. */
final class Registry {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration TIMEOUT = Duration.ofSeconds(10);

    private final HttpClient http = HttpClient.newBuilder().connectTimeout(TIMEOUT).build();
    private final Map<Integer, Schema> schemas = new ConcurrentHashMap<>();
    private final String url;

    Registry(Map<String, ?> configs) {
        url = String.valueOf(configs.get("schema.registry.url"));
    }

    /** Returns what a value was written with; asked once for each id. */
    Schema byId(int id) {
        return schemas.computeIfAbsent(id, missing -> {
            JsonNode answer = answerTo(HttpRequest.newBuilder(URI.create(url + "/schemas/ids/" + missing)).GET());
            return new Schema.Parser().parse(answer.get("schema").asText());
        });
    }

    /** Returns the id of a schema that is registered under a subject; registers nothing. */
    int idOf(String subject, String schema) {
        String body = JSON.createObjectNode().put("schema", schema).toString();
        URI route = URI.create(url + "/subjects/" + subject + "?normalize=true");
        return answerTo(HttpRequest.newBuilder(route)
                        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
                        .POST(HttpRequest.BodyPublishers.ofString(body)))
                .get("id")
                .asInt();
    }

    private JsonNode answerTo(HttpRequest.Builder question) {
        HttpRequest request = question.timeout(TIMEOUT).build();
        try {
            HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() == 404) {
                throw new SerializationException("not registered: " + request.uri());
            }
            if (answer.statusCode() != 200) {
                throw new KafkaException("the registry answered " + answer.statusCode());
            }
            return JSON.readTree(answer.body());
        } catch (IOException error) {
            throw new KafkaException("the registry did not answer", error);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new KafkaException("interrupted", error);
        }
    }
}
