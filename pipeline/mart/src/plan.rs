//! Which days of a model have to be built, and why. It follows from what there is to read, and from what is noted with
//! the partitions that were built.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;

use crate::inputs::{Change, Fate, Inputs, Partitions};
use crate::model::Model;

/// How many changes are named; of the others, only the number is.
const NAMED: usize = 2;

/// What was noted when a partition was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The digest of the model.
    pub model: String,
    /// What it was built of.
    pub inputs: Inputs,
}

/// What is to be done with a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is built.
    Build(Why),
    /// It may have to be built, when other models have been.
    Perhaps(Vec<Change>),
    /// It is as it should be.
    Keep,
    /// It stays as it is although it is not as it should be, because not all that it was built of is there any more.
    Hold(Vec<Change>),
}

/// Why a day is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It never was.
    New,
    /// The model is another one.
    Model,
    /// Inputs have changed.
    Inputs(Vec<Change>),
    /// It was asked for.
    Asked,
}

/// A day of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    pub date: Date,
    pub action: Action,
    /// What it is built of now.
    pub inputs: Inputs,
}

/// Which days are looked at, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    /// The first day; all before are left as they are.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Whether every day is built, whether it has to be or not.
    pub is_all: bool,
    /// Whether a day is also built if some of its inputs are gone.
    pub despite_gone: bool,
}

impl Scope {
    /// Whether a day is looked at.
    pub fn has(&self, date: Date) -> bool {
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }
}

/// The day of a partition, which is the first of its values; `None` if it is none.
pub(crate) fn day_of(partition: &str) -> Option<Date> {
    partition.split('/').next()?.parse().ok()
}

/// What is to be done with each day of a model: those of which a source has a partition, and those that were built.
pub(crate) fn plan(
    model: &Model,
    sources: &BTreeMap<String, Partitions>,
    built: &BTreeMap<Date, Noted>,
    scope: Scope,
) -> Vec<Day> {
    let (none, digest) = (Partitions::new(), model.digest());
    let of = |source: &String| sources.get(source).unwrap_or(&none);
    let with_rows: BTreeSet<Date> =
        model.sources.keys().flat_map(|source| of(source).keys().filter_map(|partition| day_of(partition))).collect();
    let dates: BTreeSet<Date> = with_rows.iter().chain(built.keys()).copied().collect();
    let day = |date: Date| {
        let inputs = model.sources.iter().map(|(source, reads)| {
            let (first, last) = reads.window(date);
            let is_read = |partition: &&String| day_of(partition).is_some_and(|day| first <= day && day <= last);
            let read = of(source).iter().filter(|(partition, _)| is_read(partition));
            (source.clone(), read.map(|(partition, version)| (partition.clone(), version.clone())).collect())
        });
        let inputs = Inputs(inputs.collect());
        let action = decide(&digest, &inputs, built.get(&date), with_rows.contains(&date), scope);
        Day { date, action, inputs }
    };
    dates.into_iter().filter(|date| scope.has(*date)).map(day).collect()
}

fn decide(digest: &str, inputs: &Inputs, noted: Option<&Noted>, has_rows: bool, scope: Scope) -> Action {
    let Some(noted) = noted else {
        let all = Inputs::default().changes(inputs);
        let is_pending = all.iter().any(|change| change.fate == Fate::Pending);
        return if is_pending { Action::Perhaps(all) } else { Action::Build(Why::New) };
    };
    let mut changes = noted.inputs.changes(inputs);
    let gone: Vec<Change> = changes.iter().filter(|change| change.fate == Fate::Gone).cloned().collect();
    let is_other = noted.model != digest;
    let is_wanted = is_other || scope.is_all || changes.iter().any(|change| change.fate != Fate::Gone);
    // That inputs are gone is what an expiry does, and no reason to do anything.
    if !is_wanted {
        return Action::Keep;
    }
    // Of what is left of them, fewer rows would be made.
    let may_be_fewer = scope.despite_gone && has_rows;
    if !gone.is_empty() && !may_be_fewer {
        return Action::Hold(gone);
    }
    if is_other {
        return Action::Build(Why::Model);
    }
    if scope.is_all {
        return Action::Build(Why::Asked);
    }
    if changes.iter().all(|change| change.fate == Fate::Pending) {
        return Action::Perhaps(changes);
    }
    changes.retain(|change| change.fate != Fate::Pending);
    Action::Build(Why::Inputs(changes))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("it is new"),
            Self::Model => f.write_str("the model has changed"),
            Self::Inputs(changes) => f.write_str(&named(changes)),
            Self::Asked => f.write_str("it was asked for"),
        }
    }
}

/// The first changes, and how many there are beside them.
pub(crate) fn named(changes: &[Change]) -> String {
    let first: Vec<String> = changes.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if changes.len() > NAMED { format!(", and {} more", changes.len() - NAMED) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests;
