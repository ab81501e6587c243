//! What a process that runs cases checks and sets on its machine and in its environment before it begins.

use std::io::Write;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{ISOLATION, SCHEDULE, STACK};

/// How many files a process should be able to open. Each case uses some dozens of sockets, and a runner runs several
/// cases at once.
const WANTED_FILES: u64 = 4096;

/// Below this limit, cases that run at the same time fail because they cannot open enough sockets.
const NEEDED_FILES: u64 = 1024;

/// Checks the environment variables. An error names a variable whose value would make a run do something that nobody
/// intended.
pub(crate) fn check_environment() -> Result<(), String> {
    check_variables(|name| std::env::var(name).ok())
}

fn check_variables(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    for (name, values) in [
        ("CARGO_TARGET_DIR", "the folder for what is built and for reports"),
        (STACK, "embedded, docker or external"),
        (SCHEDULE, "plain, twice, restarted, throttled or killed:…"),
        (ISOLATION, "shared or per-test"),
    ] {
        if variable(name).is_some_and(|value| value.trim().is_empty()) {
            return Err(format!("{name} is set and empty; unset it, or set it to {values}"));
        }
    }
    let forced = variable("INSTA_FORCE_PASS").is_some_and(|value| !["", "0"].contains(&value.as_str()));
    let by_cargo_insta = ["INSTA_CARGO_INSTA", "INSTA_CARGO_INSTA_VERSION"].iter().any(|name| variable(name).is_some());
    if forced && !by_cargo_insta {
        return Err("INSTA_FORCE_PASS is set, so every case would pass whatever its snapshots say; unset it. (`cargo insta test` sets it \
                    for itself, and then lists the snapshots that differ.)"
            .to_owned());
    }
    Ok(())
}

/// Raises the number of files that this process may open, as far as the system allows. Prints a warning if that is too
/// few.
pub(crate) fn raise_open_files() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(WANTED_FILES);
    let limit = if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    if limit < NEEDED_FILES {
        warn(&format!(
            "this process may open {limit} files and sockets at once, which is too few for several cases at a time, and the system's limit \
             does not let it raise that; raise the limit (`ulimit -Hn {WANTED_FILES}`), or run one case at a time (`--jobs 1`)"
        ));
    }
}

/// Prints a line to standard error. Unlike `eprintln!`, it does not panic when the other end of the stream is closed.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints text to standard output. Unlike `print!`, it does not panic when the other end of the stream is closed.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(variables: &[(&str, &str)]) -> Result<(), String> {
        check_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_variable_is_refused_by_its_name() {
        for name in ["CARGO_TARGET_DIR", "E2E_STACK", "E2E_SCHEDULE", "E2E_ISOLATION"] {
            let error = checked(&[(name, "")]).expect_err(name);
            assert!(error.starts_with(&format!("{name} is set and empty; unset it, or set it to ")), "{error}");
        }
        assert_eq!(checked(&[("E2E_STACK", "docker"), ("CARGO_TARGET_DIR", "/t")]), Ok(()));
    }

    #[test]
    fn a_variable_that_makes_every_case_pass_is_refused_unless_cargo_insta_has_set_it() {
        assert!(checked(&[("INSTA_FORCE_PASS", "1")]).expect_err("refused").contains("unset it"));
        assert_eq!(checked(&[("INSTA_FORCE_PASS", "1"), ("INSTA_CARGO_INSTA", "1")]), Ok(()));
        assert_eq!(checked(&[("INSTA_FORCE_PASS", "0")]), Ok(()));
    }

    #[test]
    fn the_limit_of_open_files_is_raised() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(256), hard).expect("lowered");
        raise_open_files();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0, hard.min(WANTED_FILES));
    }
}
