//! Compares two stacks: a case runs on both, and what was observed on them has to be the same. Snapshots do not
//! matter here.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::CaseId;
use crate::diff::Diff;
use crate::hint;
use crate::observe::{Observation, Section};
use crate::outcome::{Outcome, Verdict};
use crate::run::observe;
use crate::suite::{Options, Suite};

/// Runs a case on both stacks. The outcome is that of the second run, which also fails if it did not observe the same
/// as the first. `runner` is the command that starts this runner again.
pub(crate) fn compare(suite: &Suite, id: &CaseId, [first, second]: [&Options; 2], runner: &str) -> Outcome {
    let repeat = |options: &Options| format!("{runner} {id}{}", hint::options(options));
    let (mut outcome, one) = observe(suite, id, first, repeat(first));
    if outcome.failure().is_some() {
        return outcome;
    }
    let (other_outcome, other) = observe(suite, id, second, repeat(second));
    let duration = outcome.duration + other_outcome.duration;
    outcome = Outcome { duration, ..other_outcome };
    let names = [first.stack, second.stack].map(|stack| stack.to_string());
    if let (None, Some(differences)) = (outcome.failure(), differences(&one, &other, &names)) {
        outcome.verdict = Verdict::Failed(differences);
    }
    outcome
}

/// Every difference, with its section and both values. It is `None` if there is no difference.
fn differences(one: &Observation, other: &Observation, [first, second]: &[String; 2]) -> Option<String> {
    let sections = |observation: &Observation| -> BTreeMap<String, Section> {
        observation.sections.iter().map(|section| (section.name.clone(), section.clone())).collect()
    };
    let (ones, others) = (sections(one), sections(other));
    let mut text = String::new();
    let names: std::collections::BTreeSet<&String> = ones.keys().chain(others.keys()).collect();
    for name in names {
        let entries = |section: Option<&Section>| section.map(|section| section.entries.clone()).unwrap_or_default();
        let Some(kind) = ones.get(name).or(others.get(name)).map(|section| section.kind) else { continue };
        let diff = Diff::new(kind, &entries(ones.get(name)), &entries(others.get(name)));
        if !diff.is_empty() {
            let _ = writeln!(text, "{name}: {}\n{}", diff.summary(), diff.full());
        }
    }
    (!text.is_empty()).then(|| format!("{first} (-) and {second} (+) differ\n\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{EntryKind, Key, Rule};

    static ITEM: EntryKind =
        EntryKind { noun: "item", is_block: false, place: None, key: Key::FirstFields, rule: Rule::EachOnce };

    fn observation(rows: &[&str]) -> Observation {
        let entries = rows.iter().map(|row| (*row).to_owned()).collect();
        let sections = vec![Section::new("table__t", &ITEM, entries)];
        Observation { sections, ..Observation::default() }
    }

    #[test]
    fn a_difference_names_its_place_and_both_values() {
        let names = ["embedded".to_owned(), "docker".to_owned()];
        let same = observation(&[r#"{"a":1}"#]);
        assert_eq!(differences(&same, &same, &names), None);
        let text = differences(&same, &observation(&[r#"{"a":1.0}"#]), &names).expect("different");
        assert!(text.starts_with("embedded (-) and docker (+) differ\n\ntable__t: "), "{text}");
        assert!(text.contains(r#"{"a":1}"#) && text.contains(r#"{"a":1.0}"#), "{text}");
        assert!(differences(&same, &Observation::default(), &names).is_some());
    }
}
