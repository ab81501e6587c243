use std::collections::BTreeSet;

use jiff::{SignedDuration, ToSpan as _};
use proptest::prelude::*;

use super::*;

const BOT: &str = "slack: {token: {env: T}, channel: '#data'}\nowners: {b@example.com: {channel: '#b'}}\n";

fn config(more: &str) -> Config {
    Config::parse(&format!("{BOT}{more}")).expect("a configuration")
}

/// So many hours after a beginning.
fn at(hours: i64) -> Timestamp {
    "2023-01-02T02:00:00Z".parse::<Timestamp>().expect("a time") + SignedDuration::from_hours(hours)
}

/// What a check says at a time of the day before.
fn verdict(table: &str, check: &str, outcome: Outcome, hours: i64) -> Verdict {
    let day = at(hours).to_zoned(jiff::tz::TimeZone::UTC).date().checked_sub(1.day()).expect("a day");
    Verdict {
        id: Id { table: table.into(), check: check.into(), owner: "a@example.com".into() },
        outcome,
        severity: Severity::Error,
        description: String::new(),
        from: day,
        to: day,
        expected: "no bad rows".into(),
        observed: "some rows".into(),
        bad: u64::from(outcome == Outcome::Fail),
        query: None,
        bad_rows: None,
        tags: BTreeSet::new(),
        ran_at: at(hours),
        sample: Vec::new(),
    }
}

/// What is to be sent, in short. It is then taken as sent.
fn sent(state: &mut State) -> Vec<String> {
    let mut said = Vec::new();
    for item in std::mem::take(&mut state.outbox) {
        said.push(match &item.what {
            What::Open { thread } => {
                let thread = state.thread(*thread).expect("a thread");
                let problems = thread.problems.iter().map(|p| format!("{}.{} {:?}", p.id.table, p.id.check, p.trouble));
                format!("open {} {}: {}", thread.owner, thread.channel, problems.collect::<Vec<_>>().join(", "))
            }
            What::Reply { lines, .. } => {
                let lines = lines.iter().map(|line| format!("{:?} {}", line.event, line.problem.id.check));
                format!("reply: {}", lines.collect::<Vec<_>>().join(", "))
            }
            What::Refresh { thread } => {
                let thread = state.thread(*thread).expect("a thread");
                let open = thread.problems.iter().filter(|problem| problem.is_open()).count();
                format!("refresh: {open} of {}", thread.problems.len())
            }
            What::Digest(_) => "digest".to_owned(),
        });
    }
    state.forget_ended();
    said
}

#[test]
fn a_problem_is_told_once_goes_on_silently_and_is_resolved() {
    let (mut state, config) = (State::new(), config(""));
    let mut run = |outcome, hours| {
        step(&mut state, &config, &[verdict("t", "c", outcome, hours)], None, at(hours));
        sent(&mut state)
    };
    assert_eq!(run(Outcome::Fail, 0), ["open a@example.com #data: t.c Failed"]);
    assert_eq!(run(Outcome::Fail, 1), ["refresh: 1 of 1"]);
    assert_eq!(run(Outcome::Error, 2), ["reply: Changed c", "refresh: 1 of 1"]);
    assert_eq!(run(Outcome::Pass, 3), ["reply: Resolved c", "refresh: 0 of 1"]);
    assert_eq!(run(Outcome::Pass, 4), [""; 0]);
    assert_eq!(run(Outcome::Fail, 5), ["open a@example.com #data: t.c Failed"]);
}

#[test]
fn the_same_verdict_counts_once_and_an_older_one_not_at_all() {
    let (mut state, config) = (State::new(), config(""));
    let fail = verdict("t", "c", Outcome::Fail, 2);
    step(&mut state, &config, &[fail.clone(), fail.clone()], None, at(2));
    assert_eq!(sent(&mut state).len(), 1);
    let before = state.clone();
    step(&mut state, &config, &[fail, verdict("t", "c", Outcome::Pass, 1)], None, at(2));
    assert_eq!(state, before);
}

#[test]
fn problems_are_told_by_owner_and_table_and_many_tables_together() {
    let (mut state, config) = (State::new(), config(""));
    let mut of_b = verdict("t", "d", Outcome::Fail, 0);
    of_b.id.owner = "b@example.com".into();
    let few = [verdict("t", "a", Outcome::Fail, 0), verdict("t", "b", Outcome::Error, 0), of_b];
    step(&mut state, &config, &few, None, at(0));
    assert_eq!(
        sent(&mut state),
        ["open a@example.com #data: t.a Failed, t.b CouldNotRun", "open b@example.com #b: t.d Failed"]
    );
    step(&mut state, &config, &[verdict("t", "later", Outcome::Fail, 1)], None, at(1));
    assert_eq!(sent(&mut state), ["reply: New later", "refresh: 3 of 3"]);

    let many: Vec<Verdict> =
        (0..200).map(|n| verdict(&format!("table_{}", n % 50), &n.to_string(), Outcome::Fail, 2)).collect();
    step(&mut state, &config, &many, None, at(2));
    let said = sent(&mut state);
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn what_has_not_run_is_told_apart_from_what_failed() {
    let (mut state, config) = (State::new(), config("did_not_run: 26h\nrepeat: 1000h"));
    step(
        &mut state,
        &config,
        &[verdict("t", "well", Outcome::Pass, 0), verdict("t", "ill", Outcome::Fail, 0)],
        None,
        at(0),
    );
    sent(&mut state);
    step(&mut state, &config, &[], None, at(26));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[], None, at(27));
    assert_eq!(sent(&mut state), ["reply: New well, Changed ill", "refresh: 2 of 2"]);
    assert!(state.open().all(|problem| problem.trouble == Trouble::DidNotRun));
    // The job runs again. What failed still does.
    step(
        &mut state,
        &config,
        &[verdict("t", "well", Outcome::Pass, 28), verdict("t", "ill", Outcome::Fail, 28)],
        None,
        at(28),
    );
    assert_eq!(sent(&mut state), ["reply: Changed ill, Resolved well", "refresh: 1 of 2"]);
}

#[test]
fn results_that_are_old_are_told_as_what_they_say() {
    let (mut state, config) = (State::new(), config(""));
    step(
        &mut state,
        &config,
        &[verdict("t", "c", Outcome::Fail, 0), verdict("t", "d", Outcome::Pass, 0)],
        None,
        at(50),
    );
    assert_eq!(sent(&mut state), ["open a@example.com #data: t.c Failed, t.d DidNotRun"]);
}

#[test]
fn nobody_is_reminded_during_maintenance() {
    let window =
        "repeat: 1h\nmaintenance: [{from: 2023-01-02T03:00:00Z, to: 2023-01-02T06:00:00Z, reason: a migration}]";
    let (mut state, config) = (State::new(), config(window));
    step(&mut state, &config, &[verdict("t", "c", Outcome::Fail, 0)], None, at(0));
    sent(&mut state);
    step(&mut state, &config, &[], None, at(2));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[], None, at(4));
    assert_eq!(sent(&mut state), ["reply: Still c", "refresh: 1 of 1"]);
}

#[test]
fn an_open_problem_is_told_again_and_twice_as_many_rows_are_news() {
    let (mut state, config) = (State::new(), config("repeat: 24h"));
    let mut run = |bad, hours| {
        step(&mut state, &config, &[Verdict { bad, ..verdict("t", "c", Outcome::Fail, hours) }], None, at(hours));
        sent(&mut state)
    };
    run(10, 0);
    assert_eq!(run(19, 1), ["refresh: 1 of 1"]);
    assert_eq!(run(20, 2), ["reply: Changed c", "refresh: 1 of 1"]);
    assert_eq!(run(39, 25), ["refresh: 1 of 1"]);
    assert_eq!(run(39, 26), ["reply: Still c", "refresh: 1 of 1"]);
    assert_eq!(run(39, 27), ["refresh: 1 of 1"]);
}

#[test]
fn maintenance_holds_back_what_is_new_and_tells_what_is_left_at_its_end() {
    let window =
        "maintenance: [{from: 2023-01-02T00:00:00Z, to: 2023-01-02T04:00:00Z, tables: [t], reason: a migration}]";
    let (mut state, config) = (State::new(), config(window));
    let both = [verdict("t", "short", Outcome::Fail, 0), verdict("t", "long", Outcome::Fail, 0)];
    step(&mut state, &config, &both, None, at(0));
    assert_eq!((sent(&mut state), state.held.len()), (vec![], 2));
    step(&mut state, &config, &[verdict("t", "short", Outcome::Pass, 1)], None, at(1));
    assert_eq!((sent(&mut state), state.held.len()), (vec![], 1));
    step(&mut state, &config, &[], None, at(2));
    assert_eq!(sent(&mut state), ["open a@example.com #data: t.long Failed"]);
    assert_eq!(state.threads[0].problems[0].since, at(0));
}

/// The verdict of one day of a run that looked at several.
fn of_day(outcome: Outcome, day: i64, ran: i64) -> Verdict {
    Verdict { ran_at: at(ran), ..verdict("t", "c", outcome, 24 * day) }
}

#[test]
fn a_problem_ends_when_the_days_are_well_on_which_it_was_found_and_not_with_others() {
    let (mut state, config) = (State::new(), config("did_not_run: 1000h\nrepeat: 1000h"));
    let mut run = |verdicts: &[Verdict]| {
        step(&mut state, &config, verdicts, None, verdicts[0].ran_at);
        sent(&mut state)
    };
    let open = "open a@example.com #data: t.c Failed";
    // Two days of one run: both are taken.
    assert_eq!(run(&[of_day(Outcome::Fail, 0, 0), of_day(Outcome::Fail, 1, 0)]), [open]);
    assert_eq!(run(&[of_day(Outcome::Pass, 2, 1), of_day(Outcome::Pass, 3, 1)]), [""; 0]);
    // One of them is mended, then the other one.
    assert_eq!(run(&[of_day(Outcome::Pass, 1, 2)]), ["refresh: 1 of 1"]);
    assert_eq!(run(&[of_day(Outcome::Warn, 0, 3)]), ["reply: Resolved c", "refresh: 0 of 1"]);
    // In the results that it was found in, a day after it is well.
    assert_eq!(run(&[of_day(Outcome::Fail, 4, 4), of_day(Outcome::Pass, 5, 4)]), [open]);
    // A run over all days says that it is over.
    let all = Verdict { from: of_day(Outcome::Pass, 0, 5).from, ..of_day(Outcome::Pass, 9, 5) };
    assert_eq!(run(&[all]), ["reply: Resolved c", "refresh: 0 of 1"]);
}

#[test]
fn what_devices_did_ends_with_later_days_if_somebody_said_so() {
    let (mut state, config) = (State::new(), config("ended_by_later_days: [anomaly]\ndid_not_run: 1000h"));
    let anomaly = |outcome, day| Verdict { tags: ["anomaly".to_owned()].into(), ..of_day(outcome, day, 24 * day) };
    step(&mut state, &config, &[anomaly(Outcome::Fail, 1)], None, at(24));
    sent(&mut state);
    // A day before it says nothing of it.
    step(&mut state, &config, &[Verdict { ran_at: at(25), ..anomaly(Outcome::Pass, 0) }], None, at(25));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[anomaly(Outcome::Pass, 2)], None, at(48));
    let What::Reply { lines, .. } = &state.outbox[0].what else { panic!("a reply") };
    insta::assert_snapshot!(
        lines[0].problem.resolved.as_deref().unwrap_or_default(),
        @"it passes for 2023-01-03: some rows (run at 2023-01-04T02:00:00Z); not looked at again: 2023-01-02"
    );
}

/// A job that only ever looks at yesterday never looks again at a day of which it could not say anything.
#[test]
fn what_could_not_run_ends_when_the_check_runs_again_and_passes_over_these_days() {
    let (mut state, config) = (State::new(), config("did_not_run: 1000h\nrepeat: 1000h"));
    let mut run = |verdicts: &[Verdict]| {
        step(&mut state, &config, verdicts, None, verdicts[0].ran_at);
        let resolved = state.outbox.iter().find_map(|item| match &item.what {
            What::Reply { lines, .. } => lines[0].problem.resolved.clone(),
            _ => None,
        });
        (sent(&mut state).remove(0), resolved)
    };
    let open = ("open a@example.com #data: t.c CouldNotRun".to_owned(), None);
    let (goes_on, ended) = (("refresh: 1 of 1".to_owned(), None), "reply: Resolved c");
    assert_eq!(run(&[of_day(Outcome::Error, 0, 0)]), open);
    assert_eq!(run(&[of_day(Outcome::Error, 1, 24)]), goes_on);
    let (said, how) = run(&[of_day(Outcome::Pass, 2, 48)]);
    assert_eq!(said, ended);
    insta::assert_snapshot!(
        how.unwrap_or_default(),
        @"it passes for 2023-01-03: some rows (run at 2023-01-04T02:00:00Z); not looked at again: 2023-01-01 to 2023-01-02"
    );
    // A job that looks at all that changed comes back to the day, so that the days after it end nothing.
    assert_eq!(run(&[of_day(Outcome::Error, 3, 72), of_day(Outcome::Pass, 4, 72)]), open);
    assert_eq!(run(&[of_day(Outcome::Error, 3, 96), of_day(Outcome::Pass, 5, 96)]), goes_on);
    assert_eq!(run(&[of_day(Outcome::Pass, 3, 97)]).0, ended);
    // What has failed is still there when the check can run again.
    assert_eq!(run(&[of_day(Outcome::Fail, 6, 144)]).0, "open a@example.com #data: t.c Failed");
    assert_eq!(run(&[of_day(Outcome::Error, 7, 168)]).0, "reply: Changed c");
    assert_eq!(run(&[of_day(Outcome::Pass, 8, 192)]).0, "reply: Changed c");
    assert_eq!(run(&[of_day(Outcome::Pass, 6, 193)]).0, ended);
}

/// One `send` may take the results of several runs, and a maintenance window may end after several.
#[test]
fn what_could_not_run_is_told_although_later_runs_have_passed_over_these_days() {
    let not_looked_at = |after: Outcome, more: &str| {
        let (mut state, config) = (State::new(), config(&format!("did_not_run: 1000h\nrepeat: 1000h\n{more}")));
        step(&mut state, &config, &[of_day(Outcome::Error, 1, 0), of_day(after, 2, 24)], None, at(24));
        let held = state.held.len();
        // The window has ended.
        step(&mut state, &config, &[], None, at(30));
        let found = state.open().flat_map(|problem| &problem.open);
        let open: Vec<_> = found.map(|found| (found.days.from.day(), found.trouble)).collect();
        (held, open, sent(&mut state))
    };
    let (error, fail) = ((2, Trouble::CouldNotRun), (3, Trouble::Failed));
    let told = |trouble: &str| vec![format!("open a@example.com #data: t.c {trouble}")];
    let window = "maintenance: [{from: 2023-01-02T00:00:00Z, to: 2023-01-03T04:00:00Z, reason: a migration}]";
    for (held, more) in [(0, ""), (1, window)] {
        assert_eq!(not_looked_at(Outcome::Pass, more), (held, vec![error], told("CouldNotRun")));
        assert_eq!(not_looked_at(Outcome::Fail, more), (held, vec![error, fail], told("Failed")));
    }
}

#[test]
fn a_check_that_has_to_run_and_never_did_is_told_of() {
    let (mut state, config) = (State::new(), config("did_not_run: 26h\nrepeat: 1000h"));
    let of = |check: &str| Configured {
        id: verdict("t", check, Outcome::Pass, 0).id,
        severity: Severity::Error,
        description: String::new(),
    };
    let both = [of("c"), of("never")];
    step(&mut state, &config, &[verdict("t", "c", Outcome::Pass, 0)], Some(&both), at(0));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[verdict("t", "c", Outcome::Pass, 26)], Some(&both), at(26));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[], Some(&both), at(27));
    let observed = state.open().map(|problem| problem.observed.clone()).collect::<Vec<_>>();
    assert_eq!(observed, ["it has never run, and is known since 2023-01-02T02:00:00Z"]);
    assert_eq!(sent(&mut state), ["open a@example.com #data: t.never DidNotRun"]);
    // The other one was removed, and need not run.
    step(&mut state, &config, &[], Some(&both[1..]), at(99));
    assert_eq!(sent(&mut state), [""; 0]);
    step(&mut state, &config, &[verdict("t", "never", Outcome::Pass, 100)], Some(&both[1..]), at(100));
    assert_eq!(sent(&mut state), ["reply: Resolved never", "refresh: 0 of 1"]);
}

#[test]
fn what_is_less_than_the_severity_is_not_told() {
    let (mut state, config) = (State::new(), config("severity: error"));
    let warning = Verdict { severity: Severity::Warning, ..verdict("t", "c", Outcome::Fail, 0) };
    step(&mut state, &config, &[warning, verdict("t", "d", Outcome::Warn, 0)], None, at(0));
    assert_eq!(sent(&mut state), [""; 0]);
}

fn outcomes() -> impl Strategy<Value = Vec<Vec<(u8, Outcome)>>> {
    let outcome = prop::sample::select(vec![Outcome::Pass, Outcome::Warn, Outcome::Fail, Outcome::Error]);
    prop::collection::vec(prop::collection::vec((0..6_u8, outcome), 0..8), 1..12)
}

proptest! {
    /// Whatever happens, each failing check is in one open problem, no other is, and a state written and read is the
    /// same.
    #[test]
    fn what_is_open_is_what_failed_last(runs in outcomes(), sends in prop::collection::vec(any::<bool>(), 12)) {
        let (mut state, config) = (State::new(), config(""));
        let mut last = BTreeMap::new();
        for (hour, run) in (0_i64..).zip(&runs) {
            let mut verdicts = Vec::new();
            for (check, outcome) in run {
                let verdict = verdict(&format!("t{}", check % 2), &check.to_string(), *outcome, hour);
                // The first verdict of a run counts.
                if !verdicts.iter().any(|before: &Verdict| before.id == verdict.id) {
                    last.insert(verdict.id.clone(), *outcome);
                    verdicts.push(verdict);
                }
            }
            step(&mut state, &config, &verdicts, None, at(hour));
            if sends[usize::try_from(hour).expect("few")] {
                sent(&mut state);
            }
            let text = serde_json::to_string(&state).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<State>(&text).expect("a state"), &state);
        }
        let mut open: Vec<&Id> = state.open().map(|problem| &problem.id).collect();
        open.sort();
        let failing: Vec<&Id> =
            last.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Fail | Outcome::Error)).map(|(id, _)| id).collect();
        prop_assert_eq!(open, failing);
        // Each thread is told of, and only what there is.
        for item in &state.outbox {
            prop_assert!(item.what.thread().is_none_or(|thread| state.thread(thread).is_some()));
        }
    }
}
