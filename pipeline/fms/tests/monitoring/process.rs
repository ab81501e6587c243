//! Processes of a test: they are killed at its end, and say in their logs where they listen.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{Embedded, Stack as _};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(40);

/// A process that is killed at the end of its test. Its log is a file, in which it says where it listens.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `fms` on these services.
    pub fn fms(stack: &Embedded, log: PathBuf, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fms"));
        command.args(arguments).envs(stack.environment()).envs(environment.iter().copied()).env("RUST_LOG", "info");
        Self::start(&mut command, log)
    }

    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log")).spawn();
        Self { child: child.expect("it starts"), log }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// The port at which it gives metrics that have all of these texts, with the metrics.
    pub fn metrics(&self, texts: &[&str]) -> (u16, String) {
        until(
            &format!("metrics with {texts:?}"),
            || self.said(),
            || {
                let said = self.said();
                // The addresses of the services are in the log, too.
                let ports = said.split("http://127.0.0.1:").skip(1).filter_map(|rest| {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    port.parse::<u16>().ok()
                });
                let mut answers = ports.filter_map(|port| Some((port, get(port, "/metrics")?)));
                answers.find(|(_, answer)| texts.iter().all(|text| answer.contains(text)))
            },
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something. `why` says more if there is nothing.
pub fn until<T>(what: &str, why: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}:\n{}", why());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The body of an answer with status 200.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    // With this version the answer comes as a whole, without chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

/// Prometheus, which `PROMETHEUS` names, with these jobs and these settings besides, and its port. Without it the
/// reason is printed.
pub fn prometheus(folder: &Path, jobs: &[(&str, u16)], more: Value) -> Option<(Process, u16)> {
    let program = program("PROMETHEUS", "prometheus")?;
    let job = |(name, port): &(&str, u16)| json!({"job_name": name, "static_configs": [{"targets": [format!("127.0.0.1:{port}")]}]});
    let jobs: Vec<Value> = jobs.iter().map(job).collect();
    // JSON is YAML.
    let mut settings =
        json!({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": jobs});
    let (Some(all), Value::Object(more)) = (settings.as_object_mut(), more) else { panic!("settings are objects") };
    all.extend(more);
    let (config, port) = (folder.join("prometheus.yml"), free_port());
    fs::write(&config, settings.to_string()).expect("written");
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Some((Process::start(&mut command, folder.join("prometheus.log")), port))
}

/// A program that a variable names, if it starts. Otherwise the reason is printed.
pub fn program(variable: &str, default: &str) -> Option<String> {
    let program = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    if Command::new(&program).arg("--version").output().is_err() {
        println!("SKIPPED: `{program}` does not start; install it, or name it in {variable}");
        return None;
    }
    Some(program)
}

/// A port for a program that cannot choose one and say so.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}
