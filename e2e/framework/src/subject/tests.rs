use std::thread;

use nix::sys::signal;
use nix::unistd::Pid;

use super::*;

fn start(line: &str, log: &Log) -> Subject {
    Subject::start(&Program::Shell(line.to_owned()), &[], &BTreeMap::new(), Path::new("/"), log).expect("started")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn exists(pid: Pid) -> bool {
    signal::kill(pid, None).is_ok()
}

/// The process whose number the subject prints after `word`.
fn told(subject: &Subject, word: &str) -> Pid {
    match subject.wait_for_line(word, soon()) {
        Waited::Found(line) => Pid::from_raw(line[word.len()..].trim().parse().expect("a process id")),
        other => panic!("{other:?}: {}", subject.log.text()),
    }
}

/// A command for `sh -c` of a script without a quote in it.
fn script(text: &str) -> String {
    format!("sh -c '{text}'")
}

#[test]
fn both_streams_are_logged_and_the_status_is_known() {
    let log = Log::default();
    let subject = start(&script("echo out; echo err >&2; exit 3"), &log);
    let status = subject.wait(soon()).expect("ended");
    assert_eq!(describe(status), "exit status 3");
    assert!(log.find("out").is_some() && log.find("err").is_some(), "{}", log.text());
}

#[test]
fn a_line_is_waited_for_and_its_absence_is_noticed() {
    let log = Log::default();
    let subject = start(&script("echo ready; sleep 60"), &log);
    assert_eq!(subject.wait_for_line("ready", soon()), Waited::Found("ready".into()));
    assert_eq!(subject.wait_for_line("never", Instant::now()), Waited::TimedOut);
    subject.terminate();
    assert!(matches!(subject.wait_for_line("never", soon()), Waited::Ended(_)));
}

#[test]
fn a_dropped_subject_is_gone_with_all_it_started() {
    let log = Log::default();
    let subject = start(&script("sleep 60 & echo child $!; wait"), &log);
    let child = told(&subject, "child ");
    drop(subject);
    assert!(!exists(child), "the child ended with its parent");
    assert!(log.wait_for_end(soon()));
}

#[test]
fn a_killed_subject_is_gone_with_the_pipeline_that_its_script_started() {
    let log = Log::default();
    let subject = start(&script("sleep 60 & echo child $!; wait; echo not reached"), &log);
    let child = told(&subject, "child ");
    subject.killer().kill();
    assert!(!exists(child) && subject.status().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_left_the_group_gets_the_signals_too() {
    let log = Log::default();
    let daemon =
        r#"setsid sh -c "trap \"echo bye; exit 0\" TERM; echo daemon \$\$; while :; do sleep 0.01; done" & wait"#;
    let subject = start(&script(daemon), &log);
    let child = told(&subject, "daemon ");
    assert_eq!(subject.stop(Duration::from_secs(20)), Ok(()));
    assert!(log.find("bye").is_some() && !exists(child), "{}", log.text());
    let subject = start(&script(daemon), &log);
    let child = told(&subject, "daemon ");
    drop(subject);
    assert!(!exists(child));
}

#[cfg(target_os = "linux")]
#[test]
fn the_status_of_a_pipeline_counts_whose_script_does_not_exec_it() {
    for (status, expected) in [(0, Ok(())), (4, Err("ended with exit status 4, not 0".to_owned()))] {
        let log = Log::default();
        let pipeline =
            format!(r#"sh -c "trap \"exit {status}\" TERM; echo ready; while :; do sleep 0.01; done"; exit 5"#);
        let subject = start(&script(&pipeline), &log);
        assert!(matches!(subject.wait_for_line("ready", soon()), Waited::Found(_)), "{}", log.text());
        assert_eq!(subject.stop(Duration::from_secs(20)), expected);
    }
}

#[test]
fn a_child_that_goes_on_is_reported() {
    let log = Log::default();
    let subject = start(&script(r#"trap "" TERM; sleep 60 & echo child $!; exit 0"#), &log);
    let child = told(&subject, "child ");
    let status = subject.wait(soon()).expect("the script has ended");
    let end = subject.end(status);
    assert!(end.starts_with("exit status 0, and left processes behind: "), "{end}");
    let problem = subject.stop(Duration::from_millis(100)).expect_err("it goes on");
    assert!(
        problem.contains("has to `exec` it or to wait for it") && problem.ends_with("still ran after 0.1 s"),
        "{problem}"
    );
    #[cfg(target_os = "linux")]
    assert!(problem.contains(&format!("{child} `sleep 60`")), "{problem}");
    drop(subject);
    assert!(!exists(child));
}

#[cfg(target_os = "linux")]
#[test]
fn a_subject_ends_with_the_thread_that_started_it() {
    let log = Log::default();
    let inner = log.clone();
    thread::spawn(move || std::mem::forget(start("sleep 60", &inner))).join().expect("no panic");
    assert!(log.wait_for_end(soon()), "the process has ended");
}

#[test]
fn variables_that_lead_elsewhere_are_not_inherited() {
    let log = Log::default();
    let environment = [("KAFKA_BOOTSTRAP_SERVERS".to_owned(), "here".to_owned())].into();
    let program = Program::Shell("env".to_owned());
    let subject = Subject::start(&program, &[], &environment, Path::new("/"), &log).expect("started");
    subject.wait(soon()).expect("ended");
    let text = log.text();
    // A name begins behind the time of its line; E2E_KAFKA_IMAGE leads nowhere.
    assert!(text.contains(" KAFKA_BOOTSTRAP_SERVERS=here") && text.matches(" KAFKA_").count() == 1, "{text}");
}

#[cfg(target_os = "linux")]
#[test]
#[allow(unsafe_code, reason = "what Rust opens itself is never inherited")]
fn a_subject_inherits_no_open_file() {
    use std::os::fd::AsRawFd;
    let file = tempfile::Builder::new().prefix("inherited").tempfile().expect("a file");
    // SAFETY: the call takes a number, and makes a file of its own, which stays open until the end of the tests.
    let copy = unsafe { nix::libc::dup(file.as_raw_fd()) };
    assert!(copy > 2, "the file is open once more, and this time it can be inherited");
    let log = Log::default();
    let subject = start("ls -l /proc/self/fd", &log);
    subject.wait(soon()).expect("ended");
    assert!(log.find("0 -> /dev/null").is_some() && log.find("inherited").is_none(), "{}", log.text());
}

#[test]
fn a_program_that_does_not_exist_says_so() {
    let log = Log::default();
    let subject = start("/no/such/program", &log);
    assert_eq!(subject.wait(soon()).and_then(|status| status.code()), Some(127));
    assert!(log.find("/no/such/program").is_some(), "{}", log.text());
}
