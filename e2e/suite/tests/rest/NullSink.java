import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/** A sink that forgets its records: something that Kafka Connect's REST interface can be asked about. */
public class NullSink extends SinkConnector {
    private Map<String, String> config;

    public void start(Map<String, String> config) {
        this.config = config;
    }

    public Class<? extends Task> taskClass() {
        return NullTask.class;
    }

    public List<Map<String, String>> taskConfigs(int tasks) {
        List<Map<String, String>> configs = new ArrayList<>();
        for (int i = 0; i < tasks; i++) {
            configs.add(config);
        }
        return configs;
    }

    public void stop() {
    }

    public ConfigDef config() {
        return new ConfigDef().define("table", ConfigDef.Type.STRING, ConfigDef.NO_DEFAULT_VALUE,
            ConfigDef.Importance.HIGH, "a table");
    }

    public String version() {
        return "1";
    }

    /** Takes everything. */
    public static class NullTask extends SinkTask {
        public void start(Map<String, String> config) {
        }

        public void put(Collection<SinkRecord> records) {
        }

        public void stop() {
        }

        public String version() {
            return "1";
        }
    }
}
