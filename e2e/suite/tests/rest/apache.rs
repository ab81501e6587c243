//! Apache Kafka Connect in a container, beside a broker of its own, with a sink that forgets its records.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::ask;

const IMAGE: &str = "apache/kafka:4.3.1";

/// How long the broker and the worker may take to start, which two virtual machines do one after the other.
const LIMIT: Duration = Duration::from_mins(2);

/// The sink's source.
const SINK: &str = include_str!("NullSink.java");

/// How Kafka Connect runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Standalone,
    /// As the only worker of its group.
    Distributed,
}

impl Mode {
    fn script(self) -> &'static str {
        match self {
            Self::Standalone => "connect-standalone.sh",
            Self::Distributed => "connect-distributed.sh",
        }
    }

    /// What the mode demands of a worker's settings.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Standalone => &["offset.storage.file.filename=/tmp/connect.offsets"],
            Self::Distributed => &[
                "group.id=workers",
                "config.storage.topic=connect-configs",
                "config.storage.replication.factor=1",
                "offset.storage.topic=connect-offsets",
                "offset.storage.replication.factor=1",
                "status.storage.topic=connect-status",
                "status.storage.replication.factor=1",
            ],
        }
    }
}

/// A worker.
pub struct Apache {
    /// Where it listens.
    pub address: String,
    container: String,
}

impl Apache {
    pub fn start(mode: Mode) -> Result<Self, String> {
        let container = docker(&["run", "--detach", "--publish", "127.0.0.1::8083", IMAGE])?.trim().to_owned();
        let mut apache = Self { address: String::new(), container };
        let folder = tempfile::tempdir().map_err(|error| format!("a folder for the sink: {error}"))?;
        apache.install_sink(folder.path())?;
        let own = mode.settings().join(" ");
        apache.inside(&format!(
            "printf '%s\\n' bootstrap.servers=localhost:9092 listeners=http://0.0.0.0:8083 plugin.path=/opt/plugins \
             key.converter=org.apache.kafka.connect.storage.StringConverter \
             value.converter=org.apache.kafka.connect.storage.StringConverter {own} > /tmp/connect.properties",
        ))?;
        apache.wait("the broker and its topic", |apache| {
            let create = "/opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --create --if-not-exists \
                          --topic t --partitions 1";
            apache.inside(create).map(drop)
        })?;
        docker(&[
            "exec",
            "--detach",
            "--env",
            "KAFKA_HEAP_OPTS=-Xmx384m",
            &apache.container,
            "bash",
            "-c",
            &format!("/opt/kafka/bin/{} /tmp/connect.properties > /tmp/connect.log 2>&1", mode.script()),
        ])?;
        let published = docker(&["port", &apache.container, "8083"])?;
        published.lines().next().unwrap_or_default().trim().clone_into(&mut apache.address);
        apache.wait("Kafka Connect", |apache| match ask(&apache.address, "GET", "/connectors", "") {
            Ok((200, _)) => Ok(()),
            Ok((status, _)) => Err(format!("status {status}")),
            Err(error) => Err(error),
        })?;
        Ok(apache)
    }

    /// A configuration that is right. Without `table`, it lacks a key that is required.
    pub fn config() -> Value {
        json!({"connector.class": "NullSink", "topics": "t", "table": "x"})
    }

    /// Compiles the sink with the libraries of the container, and puts it there.
    fn install_sink(&self, folder: &Path) -> Result<(), String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (libraries, classes) = (folder.join("libs"), folder.join("null"));
        docker(&["cp", &format!("{}:/opt/kafka/libs", self.container), &text(&libraries)])?;
        let source = folder.join("NullSink.java");
        std::fs::write(&source, SINK).map_err(|error| format!("writing the sink: {error}"))?;
        let mut javac = Command::new("javac");
        javac.args(["--release", "17", "-cp", &format!("{}/*", text(&libraries)), "-d", &text(&classes)]).arg(&source);
        run(&mut javac).map_err(|problem| format!("{problem}; a JDK has to be installed"))?;
        let services = classes.join("META-INF/services");
        std::fs::create_dir_all(&services)
            .and_then(|()| std::fs::write(services.join("org.apache.kafka.connect.sink.SinkConnector"), "NullSink\n"))
            .map_err(|error| format!("naming the sink: {error}"))?;
        // Kafka Connect takes a folder of jars, and of classes only as a jar.
        let jar = folder.join("null.jar");
        run(Command::new("jar").args(["--create", "--file", &text(&jar), "-C", &text(&classes), "."]))?;
        self.inside("mkdir -p /opt/plugins/null")?;
        docker(&["cp", &text(&jar), &format!("{}:/opt/plugins/null/null.jar", self.container)]).map(drop)
    }

    fn inside(&self, script: &str) -> Result<String, String> {
        docker(&["exec", &self.container, "bash", "-c", script])
    }

    /// Tries until it is there.
    fn wait(&self, what: &str, there: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match there(self) {
                Ok(()) => return Ok(()),
                Err(problem) if Instant::now() > deadline => {
                    let log = self.inside("tail -n 20 /tmp/connect.log").unwrap_or_default();
                    return Err(format!("{what} is not there after {} s: {problem}\n{log}", LIMIT.as_secs()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // A container that cannot be removed is nothing that the test could change.
        let _ = docker(&["rm", "--force", "--volumes", &self.container]);
    }
}

/// Copies the libraries of Apache Kafka into a folder, and gives that of the distribution.
pub fn distribution(folder: &Path) -> Result<PathBuf, String> {
    let kafka = folder.join("kafka");
    std::fs::create_dir(&kafka).map_err(|error| format!("creating {}: {error}", kafka.display()))?;
    let container = docker(&["create", IMAGE])?.trim().to_owned();
    let copied = docker(&["cp", &format!("{container}:/opt/kafka/libs"), &kafka.to_string_lossy()]);
    docker(&["rm", "--volumes", &container])?;
    copied.map(|_| kafka)
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("docker").args(arguments))
}

/// The output of a program that has to end well.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("{command:?}: {status}: {}", String::from_utf8_lossy(&stderr).trim()))
}
