//! What is asked of a new snapshot before it is taken: that every run of its case gives the same.
//!
//! A value that a clock or chance decides would otherwise be found by the second run, which is often that of a colleague.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::file;
use super::orders::{self, Action, Orders};
use crate::case::{Case, Place};
use crate::diff::{Diff, Part};
use crate::json;
use crate::observe::{EntryKind, Observation, Section};

/// How many runs of a case have to agree before a snapshot is written where there was none.
pub(crate) const RUNS: usize = 3;

/// Whether a snapshot is about to be written where there is none. One that is pending with the same text has been asked
/// for this before.
pub(crate) fn is_due(case: &Case, observation: &Observation) -> bool {
    observation.sections.iter().any(|section| is_new(case, section, orders::given()))
}

fn is_new(case: &Case, section: &Section, orders: Orders) -> bool {
    let path = case.snapshots().join(format!("{}.snap", section.name));
    if path.exists() || orders.action(false, false) == Action::Nothing {
        return false;
    }
    !file::is(&path.with_extension("snap.new"), &file::text(case, &file::content(section)))
}

/// What differs between runs of one case, and how to redact it; `None` if they all agree.
pub(crate) fn disagreement(runs: &[Observation]) -> Option<String> {
    let (first, others) = runs.split_first()?;
    let mut told = BTreeMap::new();
    let mut redactions = BTreeSet::new();
    for other in others {
        for (name, (kind, [before, after])) in sections([first, other]) {
            let diff = Diff::new(kind, before, after);
            if !diff.is_empty() {
                redactions.extend(diff.changed().iter().flat_map(|parts| proposals(kind.place, parts)));
                told.entry(name).or_insert_with(|| format!("{name}.snap: {}\n{}", diff.summary(), diff.short()));
            }
        }
    }
    if told.is_empty() {
        return None;
    }
    let told: String = told.into_values().collect();
    let mut text =
        format!("the snapshots are new, and {RUNS} runs do not give the same, so none was written\n\n{told}\n");
    if redactions.is_empty() {
        text.push_str(
            "make the pipeline's result the same in every run; if it varies by the pipeline's design, redact what varies \
             by `redact` or `redact_names` in case.toml\n",
        );
    } else {
        text.push_str("if these values vary by the pipeline's design, write this into case.toml:\n\n    redact = [\n");
        for redaction in redactions {
            let _ = writeln!(text, "        {},", json::quoted(&redaction));
        }
        text.push_str("    ]\n");
    }
    Some(text)
}

/// The sections that one of two observations has, in the order of their names.
fn sections(runs: [&Observation; 2]) -> BTreeMap<&str, (&'static EntryKind, [&[String]; 2])> {
    let mut sections = BTreeMap::new();
    for (at, run) in runs.into_iter().enumerate() {
        for Section { name, kind, entries, .. } in &run.sections {
            let (_, of_both) = sections.entry(name.as_str()).or_insert((*kind, [[].as_slice(); 2]));
            of_both[at] = entries;
        }
    }
    sections
}

/// The redactions that hide what changed in one entry. There is none for what only the pipeline can settle, such as an entry
/// whose key differs.
fn proposals(place: Option<Place>, parts: &[Part]) -> Vec<String> {
    let Some(place) = place else { return Vec::new() };
    let paths: Vec<String> = match place {
        Place::Items | Place::Rows | Place::Messages => {
            parts.iter().flat_map(|part| paths(&part.name, part.before.as_deref(), part.after.as_deref())).collect()
        }
        Place::DeadLetters | Place::Records => of_record(parts),
    };
    paths.iter().map(|path| format!("$.{place}[*].{path}")).collect()
}

/// The paths below a record.
fn of_record(parts: &[Part]) -> Vec<String> {
    let mut found = Vec::new();
    for part in parts {
        if part.name == "timestamp" {
            found.push("timestamp".to_owned());
        } else if let Some(header) = part.name.strip_prefix("header ") {
            found.push(format!("headers.{header}"));
        }
    }
    // The line of the value begins with its length, which may differ too.
    let value = |of: fn(&Part) -> Option<&String>| {
        parts.iter().filter(|part| part.name.starts_with("value")).find_map(of).map(String::as_str)
    };
    if let (Some(before), Some(after)) = (value(|part| part.before.as_ref()), value(|part| part.after.as_ref())) {
        found.extend(below(before, after).into_iter().map(|path| format!("value.{path}")));
    }
    found
}

/// The paths at which two values of a field differ: as deep as both are objects.
fn paths(name: &str, before: Option<&str>, after: Option<&str>) -> Vec<String> {
    // A name with a dot cannot be told from a path.
    if name.contains('.') {
        return Vec::new();
    }
    let deeper = before.zip(after).map(|(before, after)| below(before, after)).unwrap_or_default();
    if deeper.is_empty() {
        return vec![name.to_owned()];
    }
    deeper.into_iter().map(|path| format!("{name}.{path}")).collect()
}

/// The paths at which two objects differ; none if one of them is no object.
fn below(before: &str, after: &str) -> Vec<String> {
    let (Some(before), Some(after)) = (json::fields(before.as_bytes()), json::fields(after.as_bytes())) else {
        return Vec::new();
    };
    let find = |fields: &[(String, &serde_json::value::RawValue)], name: &str| {
        fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.get().to_owned())
    };
    let names: BTreeSet<&str> = before.iter().chain(&after).map(|(name, _)| name.as_str()).collect();
    let mut found = Vec::new();
    for name in names {
        let (before, after) = (find(&before, name), find(&after, name));
        if before != after {
            found.extend(paths(name, before.as_deref(), after.as_deref()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{DEAD_LETTER, ITEM};

    fn observation(kind: &'static EntryKind, name: &str, entries: &[&str]) -> Observation {
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Observation { sections: vec![Section::new(name, kind, entries)], unmatched: Vec::new() }
    }

    #[test]
    fn runs_that_agree_are_no_problem() {
        let run = observation(&ITEM, "table__t", &[r#"{"id":1,"at":5}"#]);
        assert_eq!(disagreement(&[run.clone(), run.clone(), run]), None);
    }

    #[test]
    fn what_differs_in_one_of_three_runs_is_told_with_the_redactions_that_hide_it() {
        let run = |at: &str| {
            let entry = format!(r#"{{"id":1,"at":{at},"meta":{{"host":"{at}","n":1}}}}"#);
            observation(&ITEM, "table__t", &[&entry])
        };
        insta::assert_snapshot!(disagreement(&[run("5"), run("5"), run("6")]).expect("they differ"), @r#"
        the snapshots are new, and 3 runs do not give the same, so none was written

        table__t.snap: 1 item changed
          ~ {"id":1,"at":5,"meta":{"host":"5","n":1}}
              at: 5 → 6
              meta: {"host":"5","n":1} → {"host":"6","n":1}

        if these values vary by the pipeline's design, write this into case.toml:

            redact = [
                "$.items[*].at",
                "$.items[*].meta.host",
            ]
        "#);
    }

    #[test]
    fn of_a_record_headers_its_timestamp_and_fields_of_its_value_are_redacted() {
        let run = |at: &str| {
            let entry = format!(
                "key: null\ntimestamp: {at}\nheader __connect.errors.topic: \"t\"\nheader __connect.errors.partition: \"0\"\n\
                 header __connect.errors.offset: \"1\"\nheader x.at: \"{at}\"\nvalue, {} bytes: {{\"at\":{at}}}",
                at.len() + 7
            );
            observation(&DEAD_LETTER, "dead_letters__t", &[&entry])
        };
        let text = disagreement(&[run("5"), run("16")]).expect("they differ");
        for expected in ["$.dead_letters[*].headers.x.at", "$.dead_letters[*].timestamp", "$.dead_letters[*].value.at"]
        {
            assert!(text.contains(&format!("        \"{expected}\",\n")), "{text}");
        }
        assert_eq!(text.matches("$.").count(), 3, "{text}");
    }

    #[test]
    fn a_section_that_only_some_runs_have_and_another_key_have_no_redaction() {
        let one = observation(&ITEM, "table__t", &[r#"{"id":1}"#]);
        let text = disagreement(&[one.clone(), Observation::default()]).expect("they differ");
        assert!(
            text.contains("table__t.snap: 1 item missing\n") && text.contains("in every run; if it varies"),
            "{text}"
        );
        let text = disagreement(&[Observation::default(), one]).expect("they differ");
        assert!(text.contains("table__t.snap: 1 item not expected\n"), "{text}");
    }
}
