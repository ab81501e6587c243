//! What the checks find of the faults of a simulated fleet, which is known: how many of them (recall), and how many of
//! the rows that they report have one (precision).
//!
//! A check that is there for a fault says so by a tag such as `fault:jump`. What counts is a row, or a message or a
//! vehicle where the check reports no more than these.

mod found;
mod lake;
mod score;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use fms_lake::TimeZone;
use fms_query::{EventTime, Lake, Size};
use fms_simulator::{Expectation, Fault, Faults};
use jiff::{Timestamp, ToSpan as _};

use crate::check::{Check, Suite};
use crate::statement::Days;

use self::found::Found;
use self::score::Score;
pub(crate) use self::score::{Judgement, json, text};
use self::truth::{Truth, Unit};

/// What a tag begins with that says which fault of the simulator a check is there for.
const TAG: &str = "fault:";

/// The tables whose columns have other types in rows of the simulator's new firmware, which do not fit then: the satellites
/// of a position are a list, and the doors of a status a text.
const RETYPED: [&str; 2] = ["vehicle_kinematic_report", "vehicle_status_report"];

/// How long rows settle: every check looks at all of them.
const SETTLED: i64 = 7 * 24;

/// What is judged.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub expectation: &'a Expectation,
    /// The suites, with the places of the checks that are chosen.
    pub suites: &'a [(Suite, Vec<usize>)],
    /// The folder of the lake, if it is there already.
    pub lake: Option<&'a Path>,
    pub zone: &'a TimeZone,
    pub memory: Option<Size>,
}

/// The faults that a check is there for.
///
/// # Errors
///
/// A tag names no fault of the simulator.
fn faults(suite: &Suite, check: &Check) -> anyhow::Result<Faults> {
    let named = check.tags.iter().filter_map(|tag| tag.strip_prefix(TAG));
    named.into_iter().try_fold(Faults::default(), |faults, name| {
        let fault = Fault::named(name).map_err(|nearest| {
            anyhow!(
                "{}: the check `{}` has the tag `{TAG}{name}`, but the simulator knows no such fault; did you mean \
                 `{TAG}{nearest}`?",
                suite.table,
                check.name
            )
        })?;
        Ok(faults.with(fault))
    })
}

/// Runs the checks that are there for a fault, and compares what they find with what is known.
///
/// # Errors
///
/// No check is there for a fault, the messages cannot be made again, or a check could not run.
pub(crate) async fn judge(judged: Judged<'_>) -> anyhow::Result<Vec<Judgement>> {
    let mut wanted: BTreeMap<String, Faults> = BTreeMap::new();
    let mut checks = Vec::new();
    for (suite, chosen) in judged.suites {
        for &index in chosen {
            let faults = faults(suite, &suite.checks[index])?;
            if !faults.is_empty() {
                let of_table = wanted.entry(suite.table.clone()).or_default();
                *of_table = of_table.union(faults);
                checks.push((suite, index, faults));
            }
        }
    }
    ensure!(!checks.is_empty(), "no check that is chosen has a tag such as `{TAG}jump`, so there is nothing to judge");
    let temporary = tempfile::tempdir().context("cannot create a folder for the lake")?;
    let root: PathBuf = if let Some(folder) = judged.lake {
        folder.to_owned()
    } else {
        lake::make(judged.expectation, judged.zone, temporary.path())?;
        temporary.path().to_owned()
    };
    let mut held = found::quarantine(&root)?;
    // What changed with the firmware is to be in quarantine, also where nothing is.
    let drifted = Faults::default().with(Fault::FirmwareUpdate);
    for table in RETYPED {
        held.entry(table.to_owned()).or_default();
    }
    for table in held.keys() {
        let of_table = wanted.entry(table.clone()).or_default();
        *of_table = of_table.union(drifted);
    }
    let mut truth = Truth::of(judged.expectation, &wanted)?;
    let mut score = Score::default();
    for (table, rows) in held {
        for row in &rows {
            truth.keep(&table, *row, drifted);
        }
        let found = Found { unit: Unit::Row, keys: rows };
        score.check((&table, "rows in quarantine"), drifted, &found, &truth);
    }
    let time = EventTime { column: "timestamp_iso".to_owned(), zone: Some(judged.zone.clone()) };
    let lake = Lake::in_folder(&root, "lake", time)?;
    let (days, now) = days(judged.expectation, judged.zone)?;
    for (suite, index, faults) in checks {
        let found = found::rows(&lake, (suite, index), (days, now), judged.memory).await;
        let check = &suite.checks[index].name;
        let found = found.with_context(|| format!("the check `{check}` of {} could not run", suite.table))?;
        score.check((&suite.table, check), faults, &found, &truth);
    }
    Ok(score.judgements(&truth))
}

/// The days of which there are messages, and a time at which all of them have settled.
fn days(expectation: &Expectation, zone: &TimeZone) -> anyhow::Result<(Days, Timestamp)> {
    let from = expectation.made.iter().map(|made| made.from).min().context("the expectation has no run")?;
    let until = expectation.made.iter().map(|made| made.until).max().context("the expectation has no run")?;
    let [from, until] = [from, until].map(Timestamp::from_second);
    let (from, until) = (from?, until?);
    let date = |time: Timestamp| time.to_zoned(zone.clone()).date();
    let now = until.checked_add(SETTLED.hours())?;
    Ok((Days { from: date(from), to: date(until), today: date(until) }, now))
}
