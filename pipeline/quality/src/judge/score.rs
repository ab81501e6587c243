//! What was found, beside what is there. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use fms_simulator::{FAULTS, Fault, Faults};
use serde_json::json;

use super::found::Found;
use super::truth::{Key, Truth, Unit};

/// What the checks of a kind of fault are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The name of the fault.
    pub fault: &'static str,
    /// Which checks are there for it. Empty if none is.
    pub checks: Vec<String>,
    /// What is counted: rows, or messages or vehicles where the checks report no more than these.
    pub units: BTreeSet<&'static str>,
    /// How many have it, in the tables of these checks.
    pub injected: u64,
    /// How many of these were reported.
    pub found: u64,
    /// How many were reported that do not have it, but another fault that the same check is there for: the check does not
    /// tell them apart.
    pub other: u64,
    /// How many were reported by a check that is there for none of their faults.
    pub wrong: u64,
}

impl Judgement {
    /// The share of what is there that was found; none if nothing is there.
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.injected)
    }

    /// The share of what was reported for this fault that has it; none if nothing was reported. What was reported for
    /// another fault of the same check says nothing of this one.
    pub fn precision(&self) -> Option<f64> {
        share(self.found, self.found + self.wrong)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of more than 2^53 rows is right to 15 digits")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What was reported in a table. What several checks report counts once.
#[derive(Debug, Default)]
struct Reported {
    all: HashSet<Key>,
    wrong: HashSet<Key>,
}

/// What the checks of one fault have reported, by table and unit.
#[derive(Debug, Default)]
struct OfFault {
    checks: Vec<String>,
    reported: BTreeMap<(String, Unit), Reported>,
}

/// What was reported until now.
#[derive(Debug, Default)]
pub(super) struct Score(BTreeMap<Fault, OfFault>);

impl Score {
    /// Adds what a check that is there for these faults has reported.
    pub fn check(&mut self, (table, check): (&str, &str), faults: Faults, found: &Found, truth: &Truth) {
        let known = truth.faults(table, found.unit);
        let is_right = |key: &Key| known.get(key).is_some_and(|of| !of.intersection(faults).is_empty());
        for fault in faults.iter() {
            let of = self.0.entry(fault).or_default();
            of.checks.push(format!("{table}: {check}"));
            let reported = of.reported.entry((table.to_owned(), found.unit)).or_default();
            reported.all.extend(&found.keys);
            reported.wrong.extend(found.keys.iter().filter(|key| !is_right(key)));
        }
    }

    /// A judgement for each kind of fault, in the order of the simulator.
    pub fn judgements(mut self, truth: &Truth) -> Vec<Judgement> {
        let judgement = |fault: Fault| {
            let OfFault { checks, reported } = self.0.remove(&fault).unwrap_or_default();
            let (mut units, mut injected, mut found, mut other, mut wrong) = (BTreeSet::new(), 0, 0, 0, 0);
            for ((table, unit), Reported { all, wrong: of_none }) in &reported {
                units.insert(unit.name());
                let known = truth.faults(table, *unit);
                let has = |key: &Key| known.get(key).is_some_and(|of| of.has(fault));
                injected += known.values().filter(|of| of.has(fault)).count() as u64;
                for key in all {
                    let counted = if has(key) {
                        &mut found
                    } else if of_none.contains(key) {
                        &mut wrong
                    } else {
                        &mut other
                    };
                    *counted += 1;
                }
            }
            Judgement { fault: fault.about().name, checks, units, injected, found, other, wrong }
        };
        FAULTS.iter().map(|about| about.fault).map(judgement).collect()
    }
}

/// The judgements as a table, and below it which faults no check is there for, and why.
pub(crate) fn text(judgements: &[Judgement]) -> String {
    let mut out = String::new();
    let shown = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.4}"));
    // Writing to a text does not fail.
    let _ = writeln!(
        out,
        "{:17} {:8} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9}",
        "FAULT", "UNIT", "INJECTED", "FOUND", "RECALL", "OTHER", "WRONG", "PRECISION"
    );
    for judgement in judgements.iter().filter(|judgement| !judgement.checks.is_empty()) {
        let Judgement { fault, units, injected, found, other, wrong, .. } = judgement;
        let (recall, precision) = (shown(judgement.recall()), shown(judgement.precision()));
        let unit = units.iter().copied().collect::<Vec<_>>().join("+");
        let _ = writeln!(
            out,
            "{fault:17} {unit:8} {injected:>9} {found:>9} {recall:>7} {other:>9} {wrong:>9} {precision:>9}"
        );
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
        let Judgement { fault, checks, units, injected, found, other, wrong } = judgement;
        let why = checks.is_empty().then(|| unseen(fault));
        let line = json!({
            "fault": fault, "checks": checks, "units": units, "injected": injected, "found": found,
            "recall": judgement.recall(), "other": other, "wrong": wrong, "precision": judgement.precision(),
            "not_judged": why,
        });
        format!("{line}\n")
    };
    judgements.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Suite;

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
        let none = Judgement {
            fault: "jump",
            checks: Vec::new(),
            units: BTreeSet::new(),
            injected: 0,
            found: 0,
            other: 4,
            wrong: 0,
        };
        assert_eq!((none.recall(), none.precision()), (None, None));
        assert_eq!(Judgement { wrong: 3, ..none }.precision(), Some(0.0));
    }

    /// A check that is there for two faults and reports many rows with one of them says nothing good of the other.
    #[test]
    fn what_has_another_fault_of_the_same_check_is_not_right() {
        let (twice, same) = (Fault::Twice, Fault::SameRecordTwice);
        let both = Faults::default().with(twice).with(same);
        let rows = |faults, keys: std::ops::Range<Key>| keys.map(move |key| (key, faults));
        let with = |fault| Faults::default().with(fault);
        let truth = Truth::of_rows("t", rows(with(twice), 0..90).chain(rows(with(same), 90..100)));
        let mut score = Score::default();
        // It misses five of the ten, and reports five rows that have no fault.
        let keys = (0..95).chain(200..205).collect();
        score.check(("t", "a row is stored once"), both, &Found { unit: Unit::Row, keys }, &truth);
        // Another check reports the same five once more.
        score.check(("t", "another"), with(same), &Found { unit: Unit::Row, keys: (200..205).collect() }, &truth);
        let judgements = score.judgements(&truth);
        let of = |name: &str| judgements.iter().find(|judgement| judgement.fault == name).expect(name);
        let counts = |of: &Judgement| (of.injected, of.found, of.other, of.wrong);
        assert_eq!(counts(of("same-record-twice")), (10, 5, 90, 5));
        assert_eq!(of("same-record-twice").precision(), Some(0.5));
        assert_eq!(counts(of("twice")), (90, 90, 5, 5));
    }
}
