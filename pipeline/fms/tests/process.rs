//! The program as a process: neither a standard error that takes nothing nor an early SIGTERM makes it end with another
//! status than it should.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{Embedded, Resources, Stack};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(20);

fn fms(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms"));
    command.args(arguments).stdout(Stdio::null());
    command
}

/// Standard errors that take nothing: a full disk, and a pipe whose reader is gone.
fn broken() -> [Stdio; 2] {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    [File::options().write(true).open("/dev/full").expect("/dev/full").into(), writer.into()]
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn terminate(child: &mut Child) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    until("end", || child.try_wait().expect("a child"))
}

/// Whether the process has a handler for SIGTERM.
fn hears(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught & 1 << (Signal::SIGTERM as u64 - 1) != 0)
}

const CONNECTOR: &str =
    r#"{"name": "raw", "connector.class": "S3Sink", "topics": "t", "s3.bucket.name": "raw-data", "flush.size": "1"}"#;

#[test]
fn a_log_that_nobody_takes_ends_no_worker() {
    let stack = Embedded::start().expect("a stack");
    stack.provide(&Resources::topic("t", 1)).expect("a topic");
    stack.provide(&Resources::bucket("raw-data")).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("raw.json");
    fs::write(&file, CONNECTOR).expect("a file");
    for stderr in broken() {
        // The port is free again before the worker binds it.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut worker = fms(&["connect", "--config", &file.display().to_string()]);
        worker.envs(stack.environment()).env("CONNECT_LISTENERS", format!("http://{free}")).env("RUST_LOG", "debug");
        let mut worker = worker.stderr(stderr).spawn().expect("fms starts");
        until("healthy worker", || {
            assert_eq!(worker.try_wait().expect("a child"), None, "it has ended by itself");
            let health = fms(&["health", "--url", &format!("http://{free}/health")]).stderr(Stdio::null()).status();
            health.expect("fms starts").success().then_some(())
        });
        assert_eq!(terminate(&mut worker).code(), Some(0));
    }
}

#[test]
fn an_error_that_nobody_takes_is_told_by_the_exit_status() {
    for (arguments, code) in [
        (&["connect", "--config", "/none.json"][..], 2),
        (&["--log-format", "json", "connect", "--config", "/none.json"], 2),
        (&["connect", "keys", "--connector", "none"], 2),
        (&["health", "--url", "http://127.0.0.1:1/health"], 1),
    ] {
        for stderr in broken() {
            let status = fms(arguments).stderr(stderr).status().expect("fms starts");
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

/// The cluster accepts connections and never answers, so the worker is still being prepared when it is stopped.
#[test]
fn a_worker_that_is_stopped_while_it_is_prepared_ends_at_once_and_well() {
    let silent = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("raw.json");
    fs::write(&file, CONNECTOR).expect("a file");
    let start = |silent: &TcpListener| {
        let mut worker = fms(&["connect", "--config", &file.display().to_string()]);
        worker.env("KAFKA_BOOTSTRAP_SERVERS", silent.local_addr().expect("an address").to_string());
        worker.env("CONNECT_LISTENERS", "http://127.0.0.1:0");
        worker.stderr(Stdio::null()).spawn().expect("fms starts")
    };
    let kafka = silent();
    let mut first = start(&kafka);
    until("handler", || hears(&first).then_some(()));
    assert_eq!(terminate(&mut first).code(), Some(0), "told in its first moment");

    let kafka = silent();
    let mut waiting = start(&kafka);
    kafka.accept().expect("the worker connects");
    let told = Instant::now();
    assert_eq!(terminate(&mut waiting).code(), Some(0), "told while it waits for its cluster");
    assert!(told.elapsed() < Duration::from_millis(1500), "{:?}", told.elapsed());
}
