import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/**
 * A sink that writes the values of records to S3, one a line, and an object for each partition and flush. It stands in
 * for the sink that is to be tested, and needs nothing but Java.
 *
 * <p>With `names=offset` an object is named by the offset of its first record, so that one that is written again after a
 * crash replaces the one from before. With `names=random`, as many sinks have it, it does not.
 */
public class ArchiveSink extends SinkConnector {
    private Map<String, String> config;

    @Override
    public void start(Map<String, String> config) {
        this.config = config;
    }

    @Override
    public Class<? extends Task> taskClass() {
        return ArchiveTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int tasks) {
        return List.of(config);
    }

    @Override
    public void stop() {
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef()
            .define("bucket", ConfigDef.Type.STRING, ConfigDef.NO_DEFAULT_VALUE, ConfigDef.Importance.HIGH, "the bucket")
            .define("names", ConfigDef.Type.STRING, "offset", ConfigDef.ValidString.in("offset", "random"),
                ConfigDef.Importance.HIGH, "how objects are named");
    }

    @Override
    public String version() {
        return "1";
    }

    /** Buffers records until they are flushed. */
    public static class ArchiveTask extends SinkTask {
        private final Map<TopicPartition, StringBuilder> lines = new TreeMap<>(
            (a, b) -> (a.topic() + a.partition()).compareTo(b.topic() + b.partition()));
        private final Map<TopicPartition, Long> first = new TreeMap<>(
            (a, b) -> (a.topic() + a.partition()).compareTo(b.topic() + b.partition()));
        private Map<String, String> config;
        private Bucket bucket;

        @Override
        public void start(Map<String, String> config) {
            this.config = config;
            bucket = new Bucket(config.get("bucket"));
        }

        @Override
        public void put(Collection<SinkRecord> records) {
            for (SinkRecord record : records) {
                TopicPartition partition = new TopicPartition(record.topic(), record.kafkaPartition());
                first.putIfAbsent(partition, record.kafkaOffset());
                lines.computeIfAbsent(partition, key -> new StringBuilder()).append(record.value()).append('\n');
            }
        }

        /** Kafka Connect commits the offsets when this returns. */
        @Override
        public void flush(Map<TopicPartition, OffsetAndMetadata> offsets) {
            lines.forEach((partition, text) -> {
                String name = config.getOrDefault("names", "offset").equals("random")
                    ? UUID.randomUUID().toString()
                    : String.format("%d+%010d", partition.partition(), first.get(partition));
                bucket.put(partition.topic() + "/" + name + ".json", text.toString());
            });
            forget();
        }

        /** What is not flushed is read again by whoever gets the partitions. */
        @Override
        public void close(Collection<TopicPartition> partitions) {
            forget();
        }

        private void forget() {
            lines.clear();
            first.clear();
        }

        @Override
        public void stop() {
        }

        @Override
        public String version() {
            return "1";
        }
    }

    /** A bucket, at the endpoint and with the credentials that the environment names, as the SDKs of AWS read them. */
    private static class Bucket {
        private final HttpClient client = HttpClient.newHttpClient();
        private final String bucket;

        Bucket(String bucket) {
            this.bucket = bucket;
        }

        void put(String key, String body) {
            try {
                HttpResponse<String> response = client.send(request(key, body), HttpResponse.BodyHandlers.ofString());
                if (response.statusCode() >= 300) {
                    throw new RetriableException("writing " + bucket + "/" + key + ": status " + response.statusCode());
                }
            } catch (java.io.IOException error) {
                throw new RetriableException("writing " + bucket + "/" + key, error);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                throw new RetriableException("writing " + bucket + "/" + key, error);
            }
        }

        /** Signed by AWS Signature Version 4. */
        private HttpRequest request(String key, String body) {
            Map<String, String> env = System.getenv();
            URI endpoint = URI.create(env.getOrDefault("AWS_ENDPOINT_URL_S3", env.get("AWS_ENDPOINT_URL")));
            String path = "/" + bucket + "/" + key.replace("+", "%2B");
            String time = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC).format(Instant.now());
            String scope = time.substring(0, 8) + "/" + env.get("AWS_REGION") + "/s3/aws4_request";
            String hash = hex(sha256(body));
            String names = "host;x-amz-content-sha256;x-amz-date";
            String canonical = String.join("\n", "PUT", path, "", "host:" + endpoint.getAuthority(),
                "x-amz-content-sha256:" + hash, "x-amz-date:" + time, "", names, hash);
            String text = String.join("\n", "AWS4-HMAC-SHA256", time, scope, hex(sha256(canonical)));
            byte[] secret = ("AWS4" + env.get("AWS_SECRET_ACCESS_KEY")).getBytes(StandardCharsets.UTF_8);
            for (String part : scope.split("/")) {
                secret = hmac(secret, part);
            }
            String authorization = "AWS4-HMAC-SHA256 Credential=" + env.get("AWS_ACCESS_KEY_ID") + "/" + scope
                + ", SignedHeaders=" + names + ", Signature=" + hex(hmac(secret, text));
            return HttpRequest.newBuilder(endpoint.resolve(path))
                .header("x-amz-content-sha256", hash)
                .header("x-amz-date", time)
                .header("authorization", authorization)
                .PUT(HttpRequest.BodyPublishers.ofString(body))
                .build();
        }

        private static byte[] sha256(String text) {
            try {
                return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            } catch (GeneralSecurityException error) {
                throw new IllegalStateException(error);
            }
        }

        private static byte[] hmac(byte[] key, String text) {
            try {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(key, "HmacSHA256"));
                return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
            } catch (GeneralSecurityException error) {
                throw new IllegalStateException(error);
            }
        }

        private static String hex(byte[] bytes) {
            return HexFormat.of().formatHex(bytes);
        }
    }
}
