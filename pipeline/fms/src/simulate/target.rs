//! Where `fms simulate` and `fms simulate replay` send messages.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use fms_simulator::target::{
    Broker, Fixture, Header, Kafka, KafkaSettings, Lines, Mqtt, MqttSettings, Target, Template,
};

use crate::say;

/// The topics of a fleet, in Kafka and by MQTT.
const KAFKA_TOPIC: &str = "fms.{object}.real";
const MQTT_TOPIC: &str = "fleet/{id}/{object}/{type}/{command}";

#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// Where messages are sent.
    #[arg(long, value_enum, required = true, value_name = "TARGET")]
    to: Option<To>,
    /// The file, or the folder of the fixture.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// The topic, in which `{object}`, `{type}`, `{command}` and `{id}` are filled in; by default `fms.{object}.real`, and
    /// `fleet/{id}/{object}/{type}/{command}` for MQTT.
    #[arg(long, value_name = "TEMPLATE")]
    topic: Option<Template>,
    /// The Kafka brokers.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,
    /// How the Kafka producer compresses: none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none", value_name = "CODEC")]
    compression: String,
    /// A setting of librdkafka for the Kafka producer, such as `security.protocol=ssl`. May be repeated.
    #[arg(long, value_parser = setting, value_name = "KEY=VALUE")]
    producer: Vec<(String, String)>,
    /// A header of every Kafka record, which lines of a file have, too. May be repeated.
    #[arg(long, value_parser = setting, value_name = "NAME=VALUE")]
    header: Vec<(String, String)>,
    #[command(flatten)]
    mqtt: MqttArguments,
}

#[derive(Debug, Args)]
struct MqttArguments {
    /// The MQTT broker: `mqtt://HOST[:1883]`, or `mqtts://HOST[:8883]` with TLS.
    #[arg(long, value_name = "URL")]
    mqtt: Option<Broker>,
    /// Whether the broker acknowledges each message: 1, or 0 if messages may be lost.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1), value_name = "0|1")]
    mqtt_qos: u8,
    /// The name of this client. If another one of the same name connects, the broker sends this one away.
    #[arg(long, default_value = "fms-simulate", value_name = "NAME")]
    mqtt_client_id: String,
    /// The user; the variable `MQTT_PASSWORD` has the password.
    #[arg(long, value_name = "NAME")]
    mqtt_user: Option<String>,
    /// A PEM file of the authorities that may have signed the broker's certificate; by default those of the system.
    #[arg(long, value_name = "FILE")]
    mqtt_ca: Option<PathBuf>,
    /// A PEM file with the certificate of this client.
    #[arg(long, requires = "mqtt_key", value_name = "FILE")]
    mqtt_cert: Option<PathBuf>,
    /// A PEM file with the key of that certificate.
    #[arg(long, requires = "mqtt_cert", value_name = "FILE")]
    mqtt_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// Topics.
    Kafka,
    /// An MQTT broker.
    Mqtt,
    /// JSON lines on the standard output.
    Stdout,
    /// JSON lines in a file.
    File,
    /// The folder of a fixture of the end-to-end tests.
    Fixture,
}

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let setting = text.split_once('=').filter(|(key, _)| !key.is_empty());
    setting
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write KEY=VALUE, such as security.protocol=ssl".to_owned())
}

impl TargetArguments {
    /// The topic that is asked for.
    pub fn asked_topic(&self) -> Option<Template> {
        // A topic of Kafka has no slashes, and one of MQTT is made of them.
        self.topic.clone().or_else(|| (self.to == Some(To::Mqtt)).then(|| self.topic()))
    }

    /// Whether messages are sent to Kafka.
    pub fn is_kafka(&self) -> bool {
        self.to == Some(To::Kafka)
    }

    /// The topic.
    pub fn topic(&self) -> Template {
        let usual = if self.to == Some(To::Mqtt) { MQTT_TOPIC } else { KAFKA_TOPIC };
        self.topic.clone().unwrap_or_else(|| Template::known(usual))
    }

    /// What every record has beside its value.
    pub fn headers(&self) -> Vec<Header> {
        self.header.iter().map(|(name, value)| (name.clone(), Some(value.clone().into_bytes()))).collect()
    }

    /// Opens the target. `description` is what a fixture says of itself; if the messages have no end, it is why there can be
    /// no fixture of them.
    pub fn open(&self, description: Result<String, &'static str>) -> anyhow::Result<Box<dyn Target>> {
        let path = |what: &str| {
            self.out.as_deref().with_context(|| format!("--out PATH is missing, which says the {what} to write"))
        };
        Ok(match self.to {
            Some(To::Kafka) => {
                let bootstrap_servers = self.bootstrap_servers.clone().context(
                    "--bootstrap-servers is missing, which says where the Kafka brokers are; the variable \
                     KAFKA_BOOTSTRAP_SERVERS says it too",
                )?;
                let (compression, producer) = (self.compression.clone(), self.producer.clone());
                Box::new(Kafka::start(&KafkaSettings { bootstrap_servers, compression, producer })?)
            }
            Some(To::Mqtt) => Box::new(Mqtt::start(self.mqtt.settings()?, say)?),
            Some(To::Stdout) => Box::new(Lines::stdout()),
            Some(To::File) => Box::new(Lines::file(path("file")?)?),
            Some(To::Fixture) => {
                let description = description.map_err(anyhow::Error::msg)?;
                Box::new(Fixture::new(path("folder")?, description)?)
            }
            None => bail!("--to is missing, which says where messages are sent: kafka, mqtt, stdout, file or fixture"),
        })
    }
}

impl MqttArguments {
    fn settings(&self) -> anyhow::Result<MqttSettings> {
        let broker = self.mqtt.clone().context("--mqtt is missing, which says where the MQTT broker is")?;
        let login = self.mqtt_user.as_ref().map(|user| {
            let password = std::env::var("MQTT_PASSWORD");
            let password = password.context("MQTT_PASSWORD is missing, the password of --mqtt-user")?;
            anyhow::Ok((user.clone(), password))
        });
        Ok(MqttSettings {
            broker,
            client_id: self.mqtt_client_id.clone(),
            is_acknowledged: self.mqtt_qos == 1,
            login: login.transpose()?,
            ca: self.mqtt_ca.clone(),
            certificate: self.mqtt_cert.clone().zip(self.mqtt_key.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        assert_eq!(setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(setting("=b").is_err() && setting("a").is_err());
    }
}
