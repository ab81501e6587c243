//! Messages as devices publish them by MQTT 3.1.1, each of which has to be acknowledged with QoS 1.
//!
//! The client forgets what was on its way when a connection breaks. So messages are kept here until they are
//! acknowledged, and every connection is a new client that begins with all of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, MqttOptions, Outgoing, Packet, QoS, TlsConfiguration,
    Transport,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{GRACE, Missing, NAP, Record, Target, TargetError};

/// Where a broker is: `mqtt://host:1883`, or `mqtts://host:8883` with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    host: String,
    port: u16,
    has_tls: bool,
}

/// How messages are published.
#[derive(Debug, Clone)]
pub struct MqttSettings {
    /// The broker.
    pub broker: Broker,
    /// The name of this client, which no other client of the broker has at the same time.
    pub client_id: String,
    /// Whether each message has to be acknowledged (QoS 1), or is only sent (QoS 0).
    pub is_acknowledged: bool,
    /// A name and a password.
    pub login: Option<(String, String)>,
    /// A PEM file of the authorities that may sign the broker's certificate; those of the system if there is none.
    pub ca: Option<PathBuf>,
    /// PEM files of this client's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// The most messages that are not acknowledged: as many as AWS IoT Core allows a client.
const WINDOW: u16 = 100;
/// The largest message in bytes. The broker decides.
const MESSAGE_MAX: usize = 16_000_000;
/// How long a broker may be away.
const PATIENCE: Duration = Duration::from_mins(2);
/// The time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(500);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Publishes messages.
pub struct Mqtt {
    shared: Arc<Shared>,
    settings: MqttSettings,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A message that is not acknowledged.
struct Waiting {
    topic: String,
    value: Vec<u8>,
}

#[derive(Default)]
struct State {
    /// By the order in which they were sent.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// While there is a connection.
    client: Option<AsyncClient>,
    /// What the client was given and has not written yet.
    given: VecDeque<u64>,
    /// What it has written, by the number of the packet.
    written: HashMap<u16, u64>,
    errors: u64,
    /// Since when there is no connection, and what went wrong last.
    away: Option<(Instant, String)>,
    failure: Option<TargetError>,
    is_over: bool,
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is no broker; write mqtt://HOST[:PORT], or mqtts://HOST[:PORT] with TLS");
        let (scheme, rest) = text.split_once("://").ok_or_else(problem)?;
        let has_tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(problem()),
        };
        let (host, port) = match rest.trim_end_matches('/').rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| problem())?),
            _ => (rest.trim_end_matches('/'), if has_tls { 8883 } else { 1883 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_host = !host.is_empty() && !host.contains(['/', '@']);
        is_host.then_some(Self { host, port, has_tls }).ok_or_else(problem)
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.has_tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl Mqtt {
    /// Begins to connect. `tell` is given a line when a connection breaks, and when there is one again.
    pub fn start(settings: MqttSettings, tell: impl Fn(&str) + Send + 'static) -> Result<Self, TargetError> {
        let Broker { host, port, has_tls } = &settings.broker;
        let mut options = MqttOptions::new(&settings.client_id, host, *port);
        options.set_max_packet_size(MESSAGE_MAX, MESSAGE_MAX).set_keep_alive(KEEP_ALIVE).set_inflight(WINDOW);
        if let Some((name, password)) = &settings.login {
            options.set_credentials(name, password);
        }
        if *has_tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(&settings)?))));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| TargetError::Tls { what: "a thread", problem: error.to_string() })?;
        let state = State { away: Some((Instant::now(), "it did not answer yet".to_owned())), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (sharing, of_thread) = (Arc::clone(&shared), settings.clone());
        thread::spawn(move || {
            while !sharing.is_over() {
                runtime.block_on(sharing.connection(&options, &of_thread, &tell));
            }
        });
        Ok(Self { shared, settings })
    }
}

fn tls(settings: &MqttSettings) -> Result<ClientConfig, TargetError> {
    let failed = |what, error: &dyn fmt::Display| TargetError::Tls { what, problem: error.to_string() };
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed("--mqtt-ca", &error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| failed("--mqtt-ca", &error))?;
                roots.add(certificate).map_err(|error| failed("--mqtt-ca", &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| failed("TLS", &error))?.with_root_certificates(roots);
    let Some((certificate, key)) = &settings.certificate else {
        return Ok(config.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(|error| failed("--mqtt-cert", &error))?.collect();
    let chain = chain.map_err(|error| failed("--mqtt-cert", &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("--mqtt-key", &error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| failed("--mqtt-cert", &error))
}

impl Target for Mqtt {
    fn send(&mut self, record: &Record<'_>, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        let topic = record.topic;
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Err(TargetError::NoMqttTopic { name: record.name.to_owned(), topic: topic.to_owned() });
        }
        let mut state = self.shared.until(stops, |state| state.waiting.len() < usize::from(WINDOW))?;
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let number = state.next;
        state.next += 1;
        let value = record.value.unwrap_or_default().to_vec();
        state.waiting.insert(number, Waiting { topic: topic.to_owned(), value });
        state.give(number, &self.settings);
        Ok(())
    }

    fn finish(&mut self, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        let mut state = self.shared.until(stops, |state| state.waiting.is_empty())?;
        let failure = state.failure.take();
        drop(state);
        self.shared.end();
        failure.map_or(Ok(()), Err)
    }

    fn arrived(&self) -> u64 {
        let state = self.shared.lock();
        state.waiting.keys().next().copied().unwrap_or(state.next)
    }

    fn missing(&mut self) -> Missing {
        self.shared.end();
        let state = self.shared.lock();
        Missing { numbers: state.waiting.keys().copied().collect(), uncertain: state.written.len() as u64 }
    }

    fn errors(&self) -> u64 {
        self.shared.lock().errors
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl State {
    /// Gives a message to the client, if there is one.
    fn give(&mut self, number: u64, settings: &MqttSettings) {
        let quality = if settings.is_acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let (Some(client), Some(Waiting { topic, value })) = (&self.client, self.waiting.get(&number)) else { return };
        // The channel has room for all that wait. An error means that the connection ends, and then the next one begins
        // with this message.
        if client.try_publish(topic, quality, false, value.as_slice()).is_ok() {
            self.given.push_back(number);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is so, or the connection has failed. It is given up some time after `stops` says so.
    fn until(
        &self,
        stops: &dyn Fn() -> bool,
        is_so: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>, TargetError> {
        let mut state = self.lock();
        let mut stopped: Option<Instant> = None;
        while state.failure.is_none() && !is_so(&state) {
            if stops() && stopped.get_or_insert_with(Instant::now).elapsed() > GRACE {
                return Err(TargetError::Stopped);
            }
            state = self.changed.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        if let Some(client) = state.client.take() {
            // The thread ends as well if this is not sent.
            let _ = client.try_disconnect();
        }
        self.changed.notify_all();
    }

    /// Connects, and goes on until the connection breaks.
    async fn connection(&self, options: &MqttOptions, settings: &MqttSettings, tell: &(impl Fn(&str) + Send)) {
        let (client, mut events) = AsyncClient::new(options.clone(), usize::from(WINDOW) + 1);
        let mut client = Some(client);
        let error = loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    let mut state = self.lock();
                    if state.errors > 0 {
                        tell(&format!("{} is there again", settings.broker));
                    }
                    (state.client, state.away) = (client.take(), None);
                    let waiting: Vec<u64> = state.waiting.keys().copied().collect();
                    for number in waiting {
                        state.give(number, settings);
                    }
                }
                Ok(Event::Outgoing(Outgoing::Publish(packet))) => {
                    let mut state = self.lock();
                    let Some(number) = state.given.pop_front() else { continue };
                    if settings.is_acknowledged {
                        state.written.insert(packet, number);
                    } else {
                        state.waiting.remove(&number);
                        self.changed.notify_all();
                    }
                }
                Ok(Event::Incoming(Packet::PubAck(acknowledged))) => {
                    let mut state = self.lock();
                    if let Some(number) = state.written.remove(&acknowledged.pkid) {
                        state.waiting.remove(&number);
                        self.changed.notify_all();
                    }
                }
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        self.broken(&error, settings, tell);
    }

    /// Takes note of a connection that has broken, and waits before the next one.
    fn broken(&self, error: &ConnectionError, settings: &MqttSettings, tell: &impl Fn(&str)) {
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        state.client = None;
        state.given.clear();
        state.written.clear();
        state.errors += 1;
        if state.away.is_none() {
            tell(&format!("{} is away: {error}; {} messages wait", settings.broker, state.waiting.len()));
        }
        let since = state.away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        state.away = Some((since, error.to_string()));
        let advice = match error {
            ConnectionError::ConnectionRefused(
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
            ) => Some("look at --mqtt-user, MQTT_PASSWORD, --mqtt-cert and what the broker allows this client"),
            _ if is_refused_by_tls(error) => Some("look at --mqtt-ca and --mqtt-cert"),
            _ if since.elapsed() > PATIENCE => Some("look at --mqtt, and whether the broker is up"),
            _ => None,
        };
        if let Some(advice) = advice {
            let (left, broker) = (state.waiting.len(), settings.broker.to_string());
            state.failure = Some(TargetError::Mqtt { left, broker, problem: error.to_string(), advice });
            state.is_over = true;
            self.changed.notify_all();
            return;
        }
        let wait = self.changed.wait_timeout_while(state, AGAIN, |state| !state.is_over);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether TLS has failed, on this side or on the other one, which says so when it has seen the certificate.
fn is_refused_by_tls(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Tls(_)) || error.to_string().contains("received fatal alert")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read() {
        for (text, shown) in [
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("mqtts://a.iot.eu-west-1.amazonaws.com/", "mqtts://a.iot.eu-west-1.amazonaws.com:8883"),
            ("mqtt://127.0.0.1:18830", "mqtt://127.0.0.1:18830"),
        ] {
            assert_eq!(text.parse::<Broker>().map(|broker| broker.to_string()).as_deref(), Ok(shown));
        }
        for wrong in ["localhost:1883", "http://localhost", "mqtt://", "mqtt://a:b", "mqtt://u@h"] {
            assert!(wrong.parse::<Broker>().is_err_and(|error| error.contains("mqtt://HOST[:PORT]")), "{wrong}");
        }
    }
}
