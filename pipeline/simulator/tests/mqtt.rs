//! Messages are published to Mosquitto, a broker that is not ours. Where it is not installed, the reason is printed.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use fms_simulator::target::{Mqtt, MqttSettings, Record, Target as _, TargetError};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

const PATIENCE: Duration = Duration::from_secs(30);
/// A certificate for localhost and its key, and who has signed it.
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/framework/src/testdata");

/// Mosquitto in a folder. It is killed at the end of its test.
struct Mosquitto {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// Where the program is; without it, the reason is printed.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("MOSQUITTO").map(PathBuf::from);
    // Debian puts it where only root looks.
    let candidates = named.into_iter().chain(["mosquitto", "/usr/sbin/mosquitto"].map(PathBuf::from));
    let found = candidates.into_iter().find(|program| Command::new(program).arg("-h").output().is_ok());
    if found.is_none() {
        println!("SKIPPED: `mosquitto` does not start; install it, or name it in MOSQUITTO");
    }
    found
}

impl Mosquitto {
    /// Starts it with these settings besides its port.
    fn start(folder: &Path, settings: &str) -> Option<Self> {
        let program = program()?;
        // It cannot choose a port and say so, and another one may take that which was free a moment ago.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
            let config = format!(
                "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {}/\nlog_dest stderr\n{settings}\n",
                folder.display()
            );
            fs::write(folder.join("mosquitto.conf"), config).expect("written");
            if let Some(child) = run(&program, folder, port) {
                return Some(Self { child, folder: folder.into(), port });
            }
        }
        panic!("mosquitto does not start: {}", log(folder));
    }

    fn stop(&mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(status.success());
        self.child.wait().expect("it ends");
    }

    fn again(&mut self) {
        let program = program().expect("it has started before");
        self.child = run(&program, &self.folder, self.port).expect("it starts again");
    }
}

fn run(program: &Path, folder: &Path, port: u16) -> Option<Child> {
    let log = fs::File::options().create(true).append(true).open(folder.join("mosquitto.log")).expect("a log");
    let mut child = Command::new(program)
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "mosquitto does not listen");
        if child.try_wait().expect("its status").is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("mosquitto.log")).unwrap_or_default()
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(broker: &str) -> MqttSettings {
    MqttSettings {
        broker: broker.parse().expect("a broker"),
        client_id: "fms-test".to_owned(),
        is_acknowledged: true,
        login: None,
        ca: None,
        certificate: None,
    }
}

fn send(mqtt: &mut Mqtt, numbers: std::ops::Range<u32>) -> Result<(), TargetError> {
    for number in numbers {
        let (topic, value) = (format!("fleet/{}/tire", number % 3), number.to_string());
        let record = Record {
            topic: &topic,
            key: None,
            at: 0,
            value: Some(value.as_bytes()),
            headers: &[],
            is_json: true,
            name: "a message",
        };
        mqtt.send(&record, &|| false)?;
    }
    Ok(())
}

/// Takes messages until those of all these numbers have come. With 0, it is only that from then on the broker keeps
/// messages for it while it is away.
fn received(port: u16, numbers: u32) -> Vec<u32> {
    let mut options = MqttOptions::new("reader", "127.0.0.1", port);
    options.set_clean_session(false);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("fleet/+/tire", QoS::AtLeastOnce).expect("subscribed");
    let deadline = Instant::now() + PATIENCE;
    let mut came = Vec::new();
    while numbers == 0 || (0..numbers).any(|number| !came.contains(&number)) {
        assert!(Instant::now() < deadline, "{} messages came: {came:?}", came.len());
        match connection.recv_timeout(Duration::from_secs(1)) {
            Ok(Ok(Event::Incoming(Packet::SubAck(_)))) if numbers == 0 => break,
            Ok(Ok(Event::Incoming(Packet::Publish(message)))) => {
                let number: u32 = std::str::from_utf8(&message.payload).expect("text").parse().expect("a number");
                assert_eq!(message.topic, format!("fleet/{}/tire", number % 3));
                came.push(number);
            }
            _ => {}
        }
    }
    came
}

/// Every message is acknowledged, and none is lost when the broker goes away in the middle, which is told.
#[test]
fn a_broker_that_goes_away_and_comes_back_has_every_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = "allow_anonymous true\nmax_queued_messages 0";
    let Some(mut broker) = Mosquitto::start(folder.path(), more) else { return };
    // The broker keeps messages for a reader that has been there before.
    received(broker.port, 0);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (telling, tells) = mpsc::channel();
    let keep = Arc::clone(&told);
    let mut mqtt = Mqtt::start(settings(&format!("mqtt://127.0.0.1:{}", broker.port)), move |line| {
        keep.lock().expect("no panic").push(line.to_owned());
        let _ = telling.send(());
    })
    .expect("it begins to connect");
    // More than wait at most, so the first ones are acknowledged, and the last ones may not be.
    send(&mut mqtt, 0..150).expect("sent");
    broker.stop();
    tells.recv_timeout(PATIENCE).expect("it is told that the broker is away");
    broker.again();
    send(&mut mqtt, 150..300).expect("sent");
    mqtt.finish(&|| false).expect("all are acknowledged");
    assert!(mqtt.errors() > 0);
    let told = told.lock().expect("no panic").clone();
    assert!(told[0].contains("is away") && told[1].contains("is there again"), "{told:?}");
    let came = received(broker.port, 300);
    assert!(came.len() >= 300, "{}", log(folder.path()));
}

/// Without acknowledgements, everything is written, too, and nothing comes twice.
#[test]
fn messages_are_sent_without_acknowledgements() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) =
        Mosquitto::start(folder.path(), "allow_anonymous true\nmax_queued_messages 0\nqueue_qos0_messages true")
    else {
        return;
    };
    received(broker.port, 0);
    let settings = MqttSettings { is_acknowledged: false, ..settings(&format!("mqtt://127.0.0.1:{}", broker.port)) };
    let mut mqtt = Mqtt::start(settings, |_| {}).expect("it begins to connect");
    send(&mut mqtt, 0..250).expect("sent");
    mqtt.finish(&|| false).expect("written");
    assert_eq!(received(broker.port, 250), (0..250).collect::<Vec<_>>());
}

/// Over TLS, and what a client is told that does not know who signed, or whose own certificate is not good enough.
#[test]
fn tls_and_its_mistakes() {
    let path = |name: &str| PathBuf::from(format!("{CERTIFICATES}/{name}"));
    let own = path("localhost.pem");
    let server = format!(
        "allow_anonymous true\ncafile {}\ncertfile {own}\nkeyfile {own}\n",
        path("ca.pem").display(),
        own = own.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) = Mosquitto::start(folder.path(), &server) else { return };
    let with = |port: u16, ca: Option<PathBuf>, certificate| MqttSettings {
        ca,
        certificate,
        ..settings(&format!("mqtts://localhost:{port}"))
    };
    let mut mqtt = Mqtt::start(with(broker.port, Some(path("ca.pem")), None), |_| {}).expect("it begins to connect");
    send(&mut mqtt, 0..10).expect("sent");
    mqtt.finish(&|| false).unwrap_or_else(|error| panic!("{error}: {}", log(folder.path())));
    let refused = |settings: MqttSettings| {
        let mut mqtt = Mqtt::start(settings, |_| {}).expect("it begins to connect");
        send(&mut mqtt, 0..1).and_then(|()| mqtt.finish(&|| false)).expect_err("no connection").to_string()
    };
    let said = refused(with(broker.port, None, None));
    assert!(said.contains("UnknownIssuer") && said.contains("look at --mqtt-ca"), "{said}");

    // The certificate of a server is none of a client, as the broker sees when it gets it.
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) = Mosquitto::start(folder.path(), &format!("{server}require_certificate true")) else { return };
    let both = Some((own.clone(), own.clone()));
    for (certificate, says) in [(both, "UnsupportedCertificate"), (None, "fatal alert")] {
        let said = refused(with(broker.port, Some(path("ca.pem")), certificate));
        assert!(said.contains(says) && said.contains("--mqtt-cert"), "{said}: {}", log(folder.path()));
    }
    let missing = Mqtt::start(with(broker.port, Some("nowhere.pem".into()), None), |_| {}).err();
    let missing = missing.expect("there is no such file").to_string();
    assert!(missing.contains("cannot use --mqtt-ca"), "{missing}");
}

/// A run that has to stop while there is no broker stops, and knows what has not arrived.
#[test]
fn a_run_that_has_to_stop_does_not_wait_for_a_broker() {
    let nowhere = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut mqtt = Mqtt::start(settings(&format!("mqtt://127.0.0.1:{nowhere}")), |_| {}).expect("it begins to connect");
    send(&mut mqtt, 0..100).expect("as many as may wait");
    let record = Record { topic: "t", key: None, at: 0, value: None, headers: &[], is_json: false, name: "it" };
    assert!(matches!(mqtt.send(&record, &|| true), Err(TargetError::Stopped)));
    assert!(matches!(mqtt.finish(&|| true), Err(TargetError::Stopped)));
    assert_eq!((mqtt.arrived(), mqtt.missing().numbers.len()), (0, 100));
}

#[test]
fn a_refused_client_is_told_what_to_look_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) = Mosquitto::start(folder.path(), "allow_anonymous false") else { return };
    let settings = MqttSettings {
        login: Some(("fleet".to_owned(), "wrong".to_owned())),
        ..settings(&format!("mqtt://127.0.0.1:{}", broker.port))
    };
    let mut mqtt = Mqtt::start(settings, |_| {}).expect("it begins to connect");
    let failed = send(&mut mqtt, 0..1).and_then(|()| mqtt.finish(&|| false)).expect_err("it is refused");
    let text = failed.to_string();
    assert!(text.starts_with("1 messages are not acknowledged by mqtt://127.0.0.1:"), "{text}");
    assert!(text.contains("MQTT_PASSWORD"), "{text}");
    let wrong = Record { topic: "a/+", key: None, at: 0, value: None, headers: &[], is_json: false, name: "it" };
    let failed = mqtt.send(&wrong, &|| false).expect_err("no topic");
    assert!(failed.to_string().contains("cannot be published to `a/+`"), "{failed}");
}
