//! The environment variables that choose how cases are run, and the values that are refused.

use std::str::FromStr;

use crate::Options;
use crate::schedule::{NAMES, Schedule, Schedules};
use crate::stack::StackKind;

/// The variable that chooses the schedules of a test run.
pub(crate) const SCHEDULE: &str = "E2E_SCHEDULE";

/// The variable that chooses a stack: `embedded`, `docker` or `external`. nextest's profile of one of these names does it too.
pub(crate) const STACK: &str = "E2E_STACK";

/// The variable that says how tests are kept apart on the Docker stack: `shared` or `per-test`.
pub(crate) const ISOLATION: &str = "E2E_ISOLATION";

/// The variable that makes a run leave its containers to the next run, as `--keep` does.
pub(crate) const KEEP: &str = "E2E_KEEP";

/// The variable that gives a report a name, so that several runs share a page, and its map.
pub(crate) const REPORT: &str = "E2E_REPORT";

/// Whether a report may have this name, which is part of the name of its file.
pub(crate) fn is_name_of_report(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// nextest's profile under which a test run has every schedule that needs neither a crash point nor a variant, unless [`SCHEDULE`] chooses
/// others.
const SWEEP: &str = "sweep";

/// The schedules of a test run, which the environment chooses. An error names the variable that is wrong.
pub(crate) fn schedules() -> Result<Schedules, String> {
    let is_sweep = std::env::var("NEXTEST_PROFILE").is_ok_and(|profile| profile == SWEEP);
    variable(SCHEDULE, is_sweep.then(|| Schedules::ALL.to_owned()))
}

/// The options of a test run, which the environment chooses, for the plain schedule. An error names the variable that
/// is wrong.
pub fn options() -> Result<Options, String> {
    let profile = std::env::var("NEXTEST_PROFILE").ok().filter(|profile| profile.parse::<StackKind>().is_ok());
    let stack: StackKind = variable(STACK, profile)?;
    stack.check().map_err(|error| error.to_string())?;
    Ok(Options {
        stack,
        isolation: variable(ISOLATION, None)?,
        keep: kept(),
        whole_run: false,
        schedule: Schedule::Plain,
        must_disturb: false,
        keep_evidence: false,
        killed_states: None,
    })
}

/// Whether the environment asks to leave containers to the next run.
pub fn kept() -> bool {
    std::env::var(KEEP).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn variable<T: FromStr<Err = String> + Default>(name: &str, otherwise: Option<String>) -> Result<T, String> {
    match std::env::var(name).ok().or(otherwise) {
        Some(text) => text.parse().map_err(|error| format!("{name}: {error}")),
        None => Ok(T::default()),
    }
}

/// Checks the environment variables. An error names a variable whose value would make a run do something that nobody
/// intended.
pub(crate) fn check() -> Result<(), String> {
    check_variables(|name| std::env::var(name).ok())
}

fn check_variables(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    for (name, values) in [
        ("CARGO_TARGET_DIR", "the folder for what is built and for reports"),
        (STACK, "embedded, docker or external"),
        (SCHEDULE, &format!("`all`, or one or several of {NAMES}")),
        (ISOLATION, "shared or per-test"),
    ] {
        if variable(name).is_some_and(|value| value.trim().is_empty()) {
            return Err(format!("{name} is set and empty; unset it, or set it to {values}"));
        }
    }
    if variable(REPORT).is_some_and(|name| !is_name_of_report(&name)) {
        return Err(format!("{REPORT} names a report by letters, digits and `-`; give it such a name, or unset it"));
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
    fn the_name_of_a_report_is_part_of_a_file_name() {
        assert_eq!(checked(&[("E2E_REPORT", "night-2")]), Ok(()));
        for name in ["", "../x", "a b"] {
            assert!(checked(&[("E2E_REPORT", name)]).expect_err(name).starts_with("E2E_REPORT names a report by"));
        }
    }

    #[test]
    fn a_variable_that_makes_every_case_pass_is_refused_unless_cargo_insta_has_set_it() {
        assert!(checked(&[("INSTA_FORCE_PASS", "1")]).expect_err("refused").contains("unset it"));
        assert_eq!(checked(&[("INSTA_FORCE_PASS", "1"), ("INSTA_CARGO_INSTA", "1")]), Ok(()));
        assert_eq!(checked(&[("INSTA_FORCE_PASS", "0")]), Ok(()));
    }
}
