//! The Kafka broker of the measurements: an existing one, or a container that is removed at the end.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, TopicPartitionList};

const IMAGE: &str = "apache/kafka:4.3.1";

/// How long the broker in a container may take until it answers.
const START: Duration = Duration::from_mins(1);

/// A broker. Dropping the value removes its container, if it has one.
pub struct Broker {
    /// `bootstrap.servers`.
    pub servers: String,
    container: Option<String>,
}

impl Broker {
    /// The broker that `KAFKA_BOOTSTRAP_SERVERS` names, or else a container of the image that `E2E_KAFKA_IMAGE` names.
    pub async fn from_env() -> anyhow::Result<Self> {
        if let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            return Ok(Self { servers, container: None });
        }
        let image = std::env::var("E2E_KAFKA_IMAGE").unwrap_or_else(|_| IMAGE.into());
        // Both ports are held until both are known, so that they differ.
        let ports = [free_port()?, free_port()?].map(|(port, _held)| port);
        let name = format!("fms-bench-{}", std::process::id());
        let broker = Self { servers: format!("127.0.0.1:{}", ports[0]), container: Some(name.clone()) };
        docker(&run(&name, &image, ports)).with_context(|| {
            format!("starting a broker of {image}; start Docker, or name a broker by KAFKA_BOOTSTRAP_SERVERS")
        })?;
        broker.wait(&name).await?;
        Ok(broker)
    }

    /// Waits until the broker answers requests about a group. For the first group it creates the topic of offsets,
    /// which takes seconds.
    async fn wait(&self, name: &str) -> anyhow::Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", name)
            // Attempts that fail while the broker starts need not be logged.
            .set("log_level", "0")
            .create()?;
        let mut any = TopicPartitionList::new();
        any.add_partition(name, 0);
        let since = Instant::now();
        loop {
            let answer = consumer.committed_offsets(any.clone(), Duration::from_millis(500));
            let Err(error) = answer else { return Ok(()) };
            if since.elapsed() > START {
                let log = docker(&["logs", "--tail", "20", name]).unwrap_or_default();
                bail!(
                    "the broker in container {name} does not answer at {} ({error}); its log ends:\n{log}",
                    self.servers
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(name) = &self.container
            && let Err(error) = docker(&["rm", "--force", "--volumes", name])
        {
            eprintln!("container {name} is left behind, remove it: {error:#}");
        }
    }
}

/// The arguments of `docker run`. The container uses the host's network, because a published port would send every byte
/// through Docker's proxy, which needs as much time as the broker.
fn run(name: &str, image: &str, [clients, controller]: [u16; 2]) -> Vec<String> {
    let environment = [
        ("KAFKA_NODE_ID", "1".to_owned()),
        ("KAFKA_PROCESS_ROLES", "broker,controller".into()),
        ("KAFKA_LISTENERS", format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}")),
        ("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{clients}")),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER".into()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", format!("1@127.0.0.1:{controller}")),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1".into()),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1".into()),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1".into()),
        // Without this delay, the first task would have all partitions until the next heartbeat, which is half of a
        // run.
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "1000".into()),
    ];
    let options = ["run", "--detach", "--name", name, "--label", "fms-bench", "--network", "host"].map(str::to_owned);
    let environment = environment.into_iter().flat_map(|(key, value)| ["--env".to_owned(), format!("{key}={value}")]);
    options.into_iter().chain(environment).chain([image.to_owned()]).collect()
}

fn free_port() -> anyhow::Result<(u16, TcpListener)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok((listener.local_addr()?.port(), listener))
}

fn docker(arguments: &[impl AsRef<std::ffi::OsStr>]) -> anyhow::Result<String> {
    let output =
        Command::new("docker").args(arguments).output().context("running `docker`, which has to be on the PATH")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker: {}", error.trim());
    Ok(format!("{}{error}", String::from_utf8_lossy(&output.stdout)))
}
