//! What a run has to check: all that is chosen on all days together, or, if only changes are asked for, each check on each
//! day of which nothing is known as it is now.

use std::collections::{BTreeMap, BTreeSet};

use fms_query::Lake;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::arguments::RunChecks;
use crate::check::Suite;
use crate::history;
use crate::kind::Kind;
use crate::statement::{self, Days};
use crate::version::Versions;

/// Checks of a suite that are run together.
pub(super) struct Due<'s> {
    pub suite: &'s Suite,
    /// Their places in the suite.
    pub checks: Vec<usize>,
    pub days: Days,
}

/// What is to be checked, and the versions of what there is to read.
///
/// # Errors
///
/// The history or the catalog cannot be read.
pub(super) async fn due<'s, 'l>(
    arguments: &RunChecks,
    lake: &'l Lake,
    suites: &'s [(Suite, Vec<usize>)],
    (days, now): (Days, Timestamp),
) -> anyhow::Result<(Vec<Due<'s>>, Versions<'l>)> {
    if !arguments.changed {
        let all = suites.iter().map(|(suite, checks)| Due { suite, checks: checks.clone(), days });
        return Ok((all.collect(), Versions::new(lake, Some(days.from), days.to)));
    }
    let known = history::known(lake, now).await?;
    // Without a first day, all that there are.
    let from = arguments.rows.from;
    let mut versions = Versions::new(lake, from, days.to);
    let mut due = Vec::new();
    for (suite, chosen) in suites {
        let all: BTreeSet<Date> = match from {
            Some(from) => from.series(1.day()).take_while(|day| *day <= days.to).collect(),
            // The last one is looked at also if it has no rows, so that it is seen every day that a check runs.
            None => versions.days(&suite.table).await?.into_iter().chain([days.to]).collect(),
        };
        let mut by_day: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
        for &index in chosen {
            let check = &suite.checks[index];
            let read = statement::tables(suite, index, days);
            // How old the newest row is says nothing of days that are over for long.
            let is_of_now = matches!(check.kind, Kind::Freshness(_));
            for &day in all.iter().filter(|day| !is_of_now || **day >= days.today.saturating_sub(1.day())) {
                let version = versions.of(&read, Days { from: day, to: day, ..days }).await?;
                let about = |version| (suite.table.clone(), check.name.clone(), suite.definition(check), day, version);
                // It also changes as time goes by, when nothing comes any more.
                if is_of_now || version.is_none_or(|version| !known.contains(&about(version))) {
                    by_day.entry(day).or_default().push(index);
                }
            }
        }
        let of_day = |(day, checks)| Due { suite, checks, days: Days { from: day, to: day, ..days } };
        due.extend(by_day.into_iter().map(of_day));
    }
    Ok((due, versions))
}
