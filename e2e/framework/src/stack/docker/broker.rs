//! The containers of Kafka's brokers: how each is started, and when it is ready.

use std::borrow::Cow;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use testcontainers::core::{CmdWaitFor, ContainerPort, ExecCommand, WaitFor};
use testcontainers::{Image, ImageExt};
use testcontainers_modules::kafka::apache::{KAFKA_PORT, Kafka};

use super::images::ImageName;
use super::set::{ANSWER, Launch};
use crate::stack::remote::Endpoints;

/// The broker's settings in addition to those of the Testcontainers module. The image's own defaults do not apply any
/// more as soon as one variable is set.
const KAFKA: [(&str, &str); 16] = [
    // A group's first assignment is made at once. The default is to wait three seconds for more members.
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    // There is only one broker.
    ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
    // The default is fifty partitions each, which is too many for a few groups.
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4"),
    ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4"),
    // The broker has to notice soon that a member was killed.
    ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "100"),
    ("KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS", "100"),
    ("KAFKA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS", "50"),
    // Members of the protocol `consumer` (KIP-848) do not choose their session timeout themselves.
    ("KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS", "3000"),
    ("KAFKA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS", "300"),
    ("KAFKA_MESSAGE_MAX_BYTES", "5242880"),
    // A misspelt topic name has to be an error.
    ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
    // The broker runs only for a short time, so the optimising compiler would cost more than it saves.
    ("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m"),
    ("KAFKA_JVM_PERFORMANCE_OPTS", "-server -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true"),
];

/// The settings of a broker that is not the first one, and so is no controller.
const FOLLOWER: [(&str, &str); 2] =
    [("KAFKA_PROCESS_ROLES", "broker"), ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093")];

/// The Testcontainers module's broker without the step that the module runs after the start. That step asks
/// testcontainers for the port of the host, which it does not find with Podman 4, and advertises 127.0.0.1, which is
/// wrong for a remote engine.
#[derive(Debug)]
pub(super) struct Broker(Kafka);

impl Image for Broker {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn tag(&self) -> &str {
        self.0.tag()
    }

    fn ready_conditions(&self) -> Vec<WaitFor> {
        self.0.ready_conditions()
    }

    fn entrypoint(&self) -> Option<&str> {
        self.0.entrypoint()
    }

    fn env_vars(&self) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        self.0.env_vars()
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        self.0.cmd()
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        self.0.expose_ports()
    }
}

/// The text that is printed when the broker's start script has been written.
const WRITTEN: &str = "start script written";

/// Writes the script that the broker's container waits for. It is written after the start, because only then is the
/// broker's address for this machine known.
fn start(address: &str) -> ExecCommand {
    let script = "/opt/kafka/testcontainers_start.sh";
    // Other brokers reach this one at its address in the network of the containers, which it knows itself.
    let listeners = format!("PLAINTEXT://{address},BROKER://$(hostname -i):9093");
    // The script is written to another file and renamed, so that it is never run before it is complete.
    let write = format!(
        "exec 2>&1; \
         printf '#!/usr/bin/env bash\\nexport KAFKA_ADVERTISED_LISTENERS={listeners}\\nexec /etc/kafka/docker/run\\n' > {script}.new && \
         mv {script}.new {script} && echo {WRITTEN}"
    );
    // Without this condition, a container whose image lacks the script's folder would wait for the script until the
    // time limit.
    ExecCommand::new(["sh", "-c", write.as_str()]).with_cmd_ready_condition(CmdWaitFor::message_on_stdout(WRITTEN))
}

/// How the broker with this number is started. The first one is the controller of its cluster, and the others are given
/// its address. A broker is ready when it knows as many brokers as its number says.
pub(super) fn launch(image: ImageName, number: u8, controller: Option<&str>) -> Launch<Broker> {
    let mut request = Broker(Kafka::default().with_jvm_image()).with_name(image.name).with_tag(image.tag);
    for (name, value) in KAFKA {
        request = request.with_env_var(name, value);
    }
    if let Some(controller) = controller {
        for (name, value) in FOLLOWER {
            request = request.with_env_var(name, value);
        }
        request = request
            .with_env_var("KAFKA_BROKER_ID", number.to_string())
            .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", format!("1@{controller}:9094"));
    }
    Launch {
        request: request.with_mapped_port(0, KAFKA_PORT),
        after_start: Some(start),
        ready: Box::new(move |endpoints| Box::pin(answers(endpoints, number))),
    }
}

async fn answers(endpoints: Endpoints, brokers: u8) -> Result<(), String> {
    let ask = move || {
        let client: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &endpoints.kafka)
            .create()
            .map_err(|error| error.to_string())?;
        let metadata = client.client().fetch_metadata(None, ANSWER).map_err(|error| error.to_string())?;
        match metadata.brokers().len() {
            known if known < usize::from(brokers) => Err(format!("the cluster has {known} of {brokers} brokers")),
            _ => Ok(()),
        }
    };
    tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?
}
