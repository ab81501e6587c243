//! Whether Kafka can be reached, and if it cannot, why: one sentence for each cause, as soon as the cause is certain.
//!
//! librdkafka goes on trying without end and tells its reasons only to who polls the client, so that is done here while
//! waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::sync::watch;

use super::KafkaLog;

/// How long a cluster may refuse what is asked, for a reason that is known: one that is just starting refuses connections
/// for a moment.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long is waited before looking whether something has been said.
const STEP: Duration = Duration::from_millis(100);

/// A question to the cluster of a client.
pub(crate) struct ClusterProbe<'s> {
    /// The client's log, which keeps what it says: [`KafkaLog::of_start`].
    pub log: &'s KafkaLog,
    /// How long a broker may take to answer that has refused nothing: it may be far away, or have much to do.
    pub timeout: Duration,
    /// Ends the waiting.
    pub stop: &'s watch::Receiver<bool>,
}

impl ClusterProbe<'_> {
    /// The cluster's metadata, of `topic` or of all. `poll` serves the client's events for so long.
    pub fn metadata<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: Option<&str>,
        poll: impl Fn(Duration),
    ) -> Result<Metadata, String> {
        let started = Instant::now();
        let mut reasons = Reasons::new(self.log.servers());
        let mut step = STEP;
        loop {
            let error = match client.fetch_metadata(topic, step) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            poll(STEP / 2);
            for failure in self.log.take_failures() {
                reasons.note(&failure);
            }
            // A broker is connected and has not answered yet: asking anew takes as long, so it gets more time for it.
            let slow = matches!(error, KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))
                && reasons.of_server.is_empty();
            if slow {
                step *= 2;
            }
            let refused = !reasons.of_server.is_empty();
            let limit = if refused { self.timeout.min(REFUSAL_TIMEOUT) } else { self.timeout };
            if *self.stop.borrow() || started.elapsed() >= limit || reasons.certain() {
                return Err(reasons.sentence(&error));
            }
        }
    }
}

/// Why a server is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UnreachableReason {
    /// What is wrong and what to do about it.
    sentence: String,
    /// Whether waiting cannot help.
    certain: bool,
}

/// The last reason of each bootstrap server.
struct Reasons<'s> {
    servers: Vec<&'s str>,
    of_server: BTreeMap<String, UnreachableReason>,
}

impl<'s> Reasons<'s> {
    fn new(servers: &'s str) -> Self {
        let servers = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).collect();
        Self { servers, of_server: BTreeMap::new() }
    }

    /// Takes in a line of librdkafka: `[thrd:HOST:PORT/bootstrap]: PROTOCOL://HOST:PORT/bootstrap: TEXT (after 1ms in
    /// state CONNECT)`.
    fn note(&mut self, line: &str) {
        let Some((name, text)) = line.rsplit_once("/bootstrap: ") else { return };
        let server = name.rsplit([' ', '/']).next().unwrap_or(name);
        let (text, since) = text.rsplit_once(" (after ").unwrap_or((text, ""));
        let state = since.rsplit_once("in state ").map_or("", |(_, state)| state.trim_end_matches(')'));
        let state = state.split(',').next().unwrap_or(state);
        let login = name.contains("sasl_");
        if let Some(reason) = reason(text, state, login) {
            self.of_server.insert(server.into(), reason);
        }
    }

    /// Whether none of the servers will do, however long it is waited for.
    fn certain(&self) -> bool {
        self.of_server.len() >= self.servers.len().max(1) && self.of_server.values().all(|reason| reason.certain)
    }

    fn sentence(&self, error: &KafkaError) -> String {
        let mut sentences: Vec<String> = Vec::new();
        for (server, UnreachableReason { sentence, .. }) in &self.of_server {
            let sentence = match self.servers.as_slice() {
                [_] => sentence.clone(),
                _ => format!("{server}: {sentence}"),
            };
            sentences.push(sentence);
        }
        if !sentences.is_empty() {
            return sentences.join("; ");
        }
        match error {
            KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure) => {
                "nothing is answered there: either no packet comes through (firewall, security group, wrong address), \
                 or what listens is not Kafka"
                    .into()
            }
            KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut) => {
                "a broker is connected, but does not say what topics there are: it is overloaded, or just \
                 starting"
                    .into()
            }
            other => format!("{other}"),
        }
    }
}

/// What a text of librdkafka about a connection means that was in this state, with or without SASL; `None` for one that
/// is about something else.
fn reason(text: &str, state: &str, sasl: bool) -> Option<UnreachableReason> {
    let closed = text.contains("isconnected");
    let (sentence, certain) = if let Some((_, why)) = text.split_once("Failed to resolve '") {
        let (name, why) = why.split_once("': ").unwrap_or((why, "unknown"));
        (
            format!(
                "the name `{name}` cannot be resolved ({why}): correct it in KAFKA_BOOTSTRAP_SERVERS, or repair DNS"
            ),
            false,
        )
    } else if text.contains("Connection refused") {
        let sentence =
            "nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS";
        (sentence.into(), false)
    } else if let Some((_, size)) = text.split_once("Invalid response size ") {
        (stranger(size), true)
    } else if closed && state == "APIVERSION_QUERY" {
        let sentence = "the connection is closed before Kafka answers: a listener with TLS needs `security.protocol` \
                        SSL or SASL_SSL (CONNECT_CONSUMER_SECURITY_PROTOCOL and CONNECT_PRODUCER_SECURITY_PROTOCOL), \
                        or what listens is not Kafka";
        (sentence.into(), false)
    } else if closed && state == "UP" && !sasl {
        let sentence = "the broker closes the connection as soon as it is asked something: it wants SASL; set \
                        `security.protocol` SASL_SSL or SASL_PLAINTEXT, `sasl.mechanism`, `sasl.username` and \
                        `sasl.password` under CONNECT_CONSUMER_ and CONNECT_PRODUCER_";
        (sentence.into(), false)
    } else if text.contains("SASL ") {
        (format!("the broker refuses the login: {text}"), true)
    } else if text.contains("connecting to a PLAINTEXT broker listener?") || text.contains("wrong version number") {
        let sentence = "what listens does not speak TLS, which `security.protocol` asks for: take PLAINTEXT or \
                        SASL_PLAINTEXT, or another port";
        (sentence.into(), true)
    } else if text.contains("certificate verify failed") || text.contains("certificate could not be verified") {
        let sentence = "the broker's certificate is not trusted: set `ssl.ca.location` to the authority that signed it";
        (sentence.into(), true)
    } else if closed || text.contains("Connect to ") || text.contains("SSL ") {
        (text.to_owned(), false)
    } else {
        return None;
    };
    Some(UnreachableReason { sentence, certain })
}

/// Who answers with these four bytes, which Kafka would begin an answer's size with.
fn stranger(size: &str) -> String {
    let number = size.split(|c: char| c != '-' && !c.is_ascii_digit()).next().unwrap_or_default();
    let bytes = number.parse::<i32>().map(i32::to_be_bytes).unwrap_or_default();
    match bytes {
        [b'H', b'T', b'T', b'P'] => {
            "an HTTP server answers there: correct host and port in KAFKA_BOOTSTRAP_SERVERS".into()
        }
        _ => "what answers there is not Kafka: correct host and port in KAFKA_BOOTSTRAP_SERVERS".into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use insta::assert_snapshot;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};

    use super::*;
    use crate::kafka;

    /// How long a broker may be silent where none is.
    const TIMEOUT: Duration = Duration::from_secs(20);

    /// How long it took, and what was said with the port left out.
    fn asked(servers: &str, settings: &[(&str, &str)], timeout: Duration) -> (Duration, String) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let started = Instant::now();
        let log = KafkaLog::of_start("test", &config);
        let consumer: BaseConsumer<KafkaLog> = kafka::asking(&config).create_with_context(log.clone()).unwrap();
        let stop = watch::channel(false).1;
        let reach = ClusterProbe { log: &log, timeout, stop: &stop };
        let problem = reach.metadata(consumer.client(), None, |timeout| drop(consumer.poll(timeout))).err().unwrap();
        (started.elapsed(), problem.replace(servers, "KAFKA"))
    }

    /// A listener on loopback that does this with every connection.
    fn listener(serve: impl Fn(TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        address
    }

    /// One request's bytes.
    fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut size = [0; 4];
        stream.read_exact(&mut size).ok()?;
        let mut request = vec![0; usize::try_from(u32::from_be_bytes(size)).ok()?];
        stream.read_exact(&mut request).ok()?;
        Some(request)
    }

    fn said(servers: &str, settings: &[(&str, &str)]) -> String {
        let (took, problem) = asked(servers, settings, TIMEOUT);
        assert!(took < TIMEOUT, "a refusal is told before silence is: {took:?}: {problem}");
        problem
    }

    #[test]
    fn nothing_listens() {
        assert_snapshot!(said("127.0.0.1:1", &[]), @"nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS");
        assert_snapshot!(said("127.0.0.1:1,127.0.0.1:2", &[]), @"127.0.0.1:1: nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS; 127.0.0.1:2: nothing listens there (connection refused): start the cluster, or correct KAFKA_BOOTSTRAP_SERVERS");
    }

    #[test]
    fn the_name_is_unknown() {
        let problem = said("kafka.invalid:9092", &[]);
        assert!(problem.starts_with("the name `KAFKA` cannot be resolved ("), "{problem}");
    }

    #[test]
    fn a_port_is_silent() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_, problem) = asked(&silent.local_addr().unwrap().to_string(), &[], Duration::from_secs(1));
        assert_snapshot!(problem, @"nothing is answered there: either no packet comes through (firewall, security group, wrong address), or what listens is not Kafka");
    }

    #[test]
    fn it_is_http() {
        let http = listener(|mut stream| {
            let _ = request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        });
        assert_snapshot!(said(&http, &[]), @"an HTTP server answers there: correct host and port in KAFKA_BOOTSTRAP_SERVERS");
    }

    #[test]
    fn it_is_tls() {
        let tls = listener(|mut stream| {
            let _ = request(&mut stream);
            // An alert, "unexpected message", as OpenSSL sends it; then it closes, as all do.
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 10]);
        });
        assert_snapshot!(said(&tls, &[]), @"the connection is closed before Kafka answers: a listener with TLS needs `security.protocol` SSL or SASL_SSL (CONNECT_CONSUMER_SECURITY_PROTOCOL and CONNECT_PRODUCER_SECURITY_PROTOCOL), or what listens is not Kafka");
    }

    #[test]
    fn it_is_not_tls() {
        let plain = listener(|mut stream| {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        assert_snapshot!(said(&plain, &[("security.protocol", "SSL")]), @"what listens does not speak TLS, which `security.protocol` asks for: take PLAINTEXT or SASL_PLAINTEXT, or another port");
    }

    /// A broker whose listener wants SASL says what it can do and closes the connection at the first other request.
    #[test]
    fn sasl_is_missing() {
        let sasl = listener(|mut stream| {
            let Some(asked) = request(&mut stream) else { return };
            // ApiVersions, of the version asked for: which requests there are.
            let versions: [(i16, i16, i16); 3] = [(3, 0, 12), (17, 0, 1), (18, 0, 3)];
            let mut body = vec![0, 0, u8::try_from(versions.len() + 1).unwrap()];
            for (api, min, max) in versions {
                for number in [api, min, max] {
                    body.extend(number.to_be_bytes());
                }
                body.push(0);
            }
            body.extend([0, 0, 0, 0, 0]);
            let mut answer = u32::try_from(4 + body.len()).unwrap().to_be_bytes().to_vec();
            answer.extend(&asked[4..8]);
            answer.extend(body);
            let _ = stream.write_all(&answer);
            let _ = request(&mut stream);
        });
        assert_snapshot!(said(&sasl, &[]), @"the broker closes the connection as soon as it is asked something: it wants SASL; set `security.protocol` SASL_SSL or SASL_PLAINTEXT, `sasl.mechanism`, `sasl.username` and `sasl.password` under CONNECT_CONSUMER_ and CONNECT_PRODUCER_");
    }

    #[test]
    fn a_server_that_may_yet_come_is_waited_for_whatever_another_says() {
        let mut reasons = Reasons::new("a:1, b:1");
        reasons.note(
            "[thrd:a:1/bootstrap]: a:1/bootstrap: Invalid response size 1213486160 (0..100): increase \
             receive.message.max.bytes",
        );
        assert!(!reasons.certain(), "b has said nothing");
        reasons
            .note("b:1/bootstrap: Connect to ipv4#1.1.1.1:1 failed: Connection refused (after 0ms in state CONNECT)");
        assert!(!reasons.certain(), "b may be starting");
        reasons.note(
            "sasl_ssl://b:1/bootstrap: SASL authentication error: Invalid credentials (after 5ms in state AUTH_REQ)",
        );
        assert!(reasons.certain());
        assert_snapshot!(reasons.sentence(&KafkaError::Canceled), @"a:1: an HTTP server answers there: correct host and port in KAFKA_BOOTSTRAP_SERVERS; b:1: the broker refuses the login: SASL authentication error: Invalid credentials");
    }
}
