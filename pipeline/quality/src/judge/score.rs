//! What was found, beside what is there. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use fms_simulator::{FAULTS, Fault, Faults};
use serde_json::json;

use super::found::Found;
use super::truth::{Key, Truth, Unit};
use crate::check::Suite;

/// What the checks of a kind of fault are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The name of the fault.
    pub fault: &'static str,
    /// Which checks are there for it. Empty if none is.
    pub checks: Vec<String>,
    /// How many rows, messages or vehicles have it, in the tables of these checks.
    pub injected: u64,
    /// How many of these were reported.
    pub found: u64,
    /// How many the checks have reported.
    pub reported: u64,
    /// How many of these have a fault that the check which has reported it is there for.
    pub right: u64,
}

impl Judgement {
    /// The share of what is there that was found; none if nothing is there.
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.injected)
    }

    /// The share of what was reported that is right; none if nothing was reported.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.reported)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of more than 2^53 rows is right to 15 digits")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What the checks of one fault have found.
#[derive(Debug, Default)]
struct OfFault {
    checks: Vec<String>,
    /// By table and unit, what its checks have reported.
    found: BTreeMap<(String, Unit), HashSet<Key>>,
    injected: u64,
    hit: u64,
    reported: u64,
    right: u64,
}

/// What was found until now.
#[derive(Debug, Default)]
pub(super) struct Score(BTreeMap<Fault, OfFault>);

impl Score {
    /// Adds what a check has reported.
    pub fn check(&mut self, (suite, index): (&Suite, usize), faults: Faults, found: &Found, truth: &Truth) {
        let known = truth.faults(&suite.table, found.unit);
        let has_one = |key: &&Key| known.get(*key).is_some_and(|of| !of.intersection(faults).is_empty());
        let (reported, right) = (found.keys.len() as u64, found.keys.iter().filter(has_one).count() as u64);
        for fault in faults.iter() {
            let of = self.0.entry(fault).or_default();
            of.checks.push(format!("{}: {}", suite.table, suite.checks[index].name));
            of.found.entry((suite.table.clone(), found.unit)).or_default().extend(&found.keys);
            of.reported += reported;
            of.right += right;
        }
    }

    /// Adds the rows in quarantine, of the tables from which a new firmware keeps rows out.
    pub fn quarantine(&mut self, truth: &Truth, held: &BTreeMap<String, HashSet<Key>>, drifted: Faults) {
        for (table, rows) in held {
            let known = truth.faults(table, Unit::Row);
            for fault in drifted.iter() {
                let has = |key: &&Key| known.get(*key).is_some_and(|of| of.has(fault));
                let right = rows.iter().filter(has).count() as u64;
                if right == 0 {
                    continue;
                }
                let of = self.0.entry(fault).or_default();
                of.checks.push(format!("{table}: rows in quarantine"));
                of.injected += known.values().filter(|of| of.has(fault)).count() as u64;
                of.hit += right;
                of.reported += rows.len() as u64;
                of.right += right;
            }
        }
    }

    /// A judgement for each kind of fault, in the order of the simulator.
    pub fn judgements(mut self, truth: &Truth) -> Vec<Judgement> {
        let judgement = |fault: Fault| {
            let mut of = self.0.remove(&fault).unwrap_or_default();
            for ((table, unit), keys) in &of.found {
                for (key, _) in truth.faults(table, *unit).iter().filter(|(_, of)| of.has(fault)) {
                    of.injected += 1;
                    of.hit += u64::from(keys.contains(key));
                }
            }
            let OfFault { checks, injected, hit: found, reported, right, .. } = of;
            Judgement { fault: fault.about().name, checks, injected, found, reported, right }
        };
        FAULTS.iter().map(|about| about.fault).map(judgement).collect()
    }
}

/// The judgements as a table, and below it which faults no check is there for, and why.
pub(crate) fn text(judgements: &[Judgement]) -> String {
    let mut out = String::new();
    let shown = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.4}"));
    let _ = writeln!(
        out,
        "{:17} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9}",
        "FAULT", "INJECTED", "FOUND", "RECALL", "REPORTED", "RIGHT", "PRECISION"
    );
    for judgement in judgements.iter().filter(|judgement| !judgement.checks.is_empty()) {
        let Judgement { fault, injected, found, reported, right, .. } = judgement;
        let (recall, precision) = (shown(judgement.recall()), shown(judgement.precision()));
        // Writing to a text does not fail.
        let _ =
            writeln!(out, "{fault:17} {injected:>9} {found:>9} {recall:>7} {reported:>9} {right:>9} {precision:>9}");
    }
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for judgement in judgements.iter().filter(|judgement| judgement.checks.is_empty()) {
        reasons.entry(unseen(judgement.fault)).or_default().insert(judgement.fault);
    }
    for (reason, faults) in reasons {
        let _ = writeln!(out, "not judged: {}: {reason}", faults.into_iter().collect::<Vec<_>>().join(", "));
    }
    out
}

/// Why no check of a lake is there for a fault.
fn unseen(fault: &str) -> &'static str {
    match fault {
        "late" | "reordered" | "clock-skew" => {
            "the lake has no time but that of the device, so it cannot tell when a message arrived"
        }
        "truncated" | "not-utf8" | "empty" | "tombstone" | "not-a-number" | "not-an-object" | "duplicate-key"
        | "missing-identity" | "bad-list" | "bad-elements" => {
            "these become dead letters, which never reach the lake; `fms simulate --expect` counts them as dead_letters"
        }
        "byte-order-mark" | "deep" | "big-integer" | "lone-surrogate" | "long-number" => {
            "the lake has the rows as they were meant, so there is nothing to find"
        }
        "number-as-text" => "the lake stores the number, so there is nothing to find",
        "empty-list" => "a message without rows is nothing in a lake",
        "hot" => "these are rows as right as others, only more of them",
        _ => "no check that was chosen has its tag",
    }
}

/// A judgement as an object on each line.
pub(crate) fn json(judgements: &[Judgement]) -> String {
    let line = |judgement: &Judgement| {
        let Judgement { fault, checks, injected, found, reported, right } = judgement;
        let why = checks.is_empty().then(|| unseen(fault));
        let line = json!({
            "fault": fault, "checks": checks, "injected": injected, "found": found, "recall": judgement.recall(),
            "reported": reported, "right": right, "precision": judgement.precision(), "not_judged": why,
        });
        format!("{line}\n")
    };
    judgements.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the simulator does wrong, a check of this project is there for it, or it is said why none can be. What a new
    /// firmware changes is seen by the quarantine.
    #[test]
    fn each_fault_has_a_check_or_a_reason() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/quality");
        let mut seen = Faults::default().with(Fault::FirmwareUpdate);
        for entry in std::fs::read_dir(folder).expect("the checks") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
            let suite = Suite::parse(&text).expect("a suite");
            for check in &suite.checks {
                seen = seen.union(crate::judge::faults(&suite, check).expect("known faults"));
            }
        }
        for about in &FAULTS {
            let has_reason = !unseen(about.name).contains("no check that was chosen");
            assert_ne!(seen.has(about.fault), has_reason, "{}", about.name);
        }
    }

    #[test]
    fn what_is_not_there_has_no_share() {
        let judgement = Judgement { fault: "jump", checks: Vec::new(), injected: 0, found: 0, reported: 4, right: 3 };
        assert_eq!((judgement.recall(), judgement.precision()), (None, Some(0.75)));
    }
}
