//! The daily digest: how all checks stand, by owner. It is sent when nothing is wrong, too, so that its absence says
//! something.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::state::{State, Trouble};
use crate::verdict::Outcome;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// The day, as text.
    pub day: String,
    pub channel: String,
    pub owners: BTreeMap<String, Standing>,
}

/// How the checks of an owner stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub checks: usize,
    /// How many of them ran within the last 24 hours.
    pub ran: usize,
    pub warned: usize,
    /// Failures of less severity than is told.
    pub untold: usize,
    /// Open problems by table.
    pub tables: BTreeMap<String, Open>,
    /// Open problems of which nobody is told because of maintenance.
    pub held: usize,
}

/// How many problems of a table are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub failed: usize,
    pub could_not_run: usize,
    pub did_not_run: usize,
}

/// Whether it is time for a digest, which is kept in the state. A state without one begins with the next day's.
pub(crate) fn is_due(state: &mut State, config: &Config, now: Timestamp) -> bool {
    let Some(time) = &config.digest else { return false };
    let local = now.to_zoned(time.time_zone.clone());
    let today = local.date().to_string();
    let Some(last) = &state.digest else {
        let is_over = local.time() >= time.at;
        state.digest = Some(if is_over { today } else { String::new() });
        return false;
    };
    let is_due = local.time() >= time.at && *last < today;
    if is_due {
        state.digest = Some(today);
    }
    is_due
}

/// How everything stands.
pub(crate) fn of(state: &State, config: &Config, now: Timestamp) -> Digest {
    let mut owners: BTreeMap<String, Standing> = BTreeMap::new();
    for seen in &state.checks {
        let standing = owners.entry(seen.id.owner.clone()).or_default();
        standing.checks += 1;
        standing.ran +=
            usize::from(!seen.is_awaited && now.duration_since(seen.ran_at) <= SignedDuration::from_hours(24));
        standing.warned += usize::from(seen.outcome == Outcome::Warn);
        standing.untold += usize::from(seen.outcome == Outcome::Fail && seen.severity < config.severity);
    }
    for problem in state.open() {
        let standing = owners.entry(problem.id.owner.clone()).or_default();
        let open = standing.tables.entry(problem.id.table.clone()).or_default();
        match problem.trouble {
            Trouble::Failed => open.failed += 1,
            Trouble::CouldNotRun => open.could_not_run += 1,
            Trouble::DidNotRun => open.did_not_run += 1,
        }
    }
    for problem in &state.held {
        owners.entry(problem.id.owner.clone()).or_default().held += 1;
    }
    Digest { day: state.digest.clone().unwrap_or_default(), channel: config.digest_channel(), owners }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_due_once_a_day_from_its_time_on() {
        let config = "slack: {webhook: {env: A}}\ndigest: {at: '09:00', time_zone: Asia/Seoul}";
        let config = Config::parse(config).expect("a configuration");
        let mut state = State::new();
        let due = |state: &mut State, time: &str| is_due(state, &config, time.parse().expect("a time"));
        // It is ten o'clock in Seoul: today's is over.
        assert!(!due(&mut state, "2023-01-01T01:00:00Z"));
        assert!(!due(&mut state, "2023-01-01T23:59:59Z"));
        assert!(due(&mut state, "2023-01-02T00:00:00Z"));
        assert!(!due(&mut state, "2023-01-02T05:00:00Z"));
        assert!(due(&mut state, "2023-01-04T05:00:00Z"));
        let mut early = State::new();
        assert!(!due(&mut early, "2023-01-01T20:00:00Z"));
        assert!(due(&mut early, "2023-01-02T00:00:00Z"));
    }
}
