use insta::assert_snapshot;

use super::*;

fn suite(checks: &str) -> anyhow::Result<Suite> {
    Suite::parse(&format!("table: t\nowner: fleet@example.com\nchecks:\n{checks}"))
}

fn error(checks: &str) -> String {
    format!("{:#}", suite(checks).expect_err(checks))
}

#[test]
fn a_check_says_what_it_checks_and_when_it_warns_or_fails() {
    let suite = suite(
        "  - name: fuel is a percentage\n    range: { column: fuel_level, min: 0, max: 100 }\n    warn: 1\n    fail: 0.1 %\n    \
         where: ignition\n    settle: 2h\n    severity: warning\n    tags: [anomaly]\n",
    )
    .expect("a suite");
    let [check] = &suite.checks[..] else { panic!("{suite:?}") };
    assert_eq!(check.kind.name(), "range");
    assert_eq!((check.warn, check.fail), (Some(Limit::Count(1)), Some(Limit::Percent(0.1))));
    assert_eq!(check.settle, Some(SignedDuration::from_hours(2)));
    assert_eq!((check.severity, check.only.as_deref()), (Severity::Warning, Some("ignition")));
    assert_eq!(suite.owner(check), "fleet@example.com");
}

#[test]
fn one_bad_row_fails_a_check_that_says_nothing_and_only_warns_one_that_says_when() {
    let suite = suite("  - {name: a, holds: x > 0}\n  - {name: b, holds: x > 0, warn: 3}\n").expect("a suite");
    assert_eq!(suite.checks[0].fails_at(), Some(Limit::Count(1)));
    assert_eq!(suite.checks[1].fails_at(), None);
}

#[test]
fn mistakes_are_named() {
    let mistakes = [
        "  - {name: a}\n",
        "  - {name: a, holds: x, sql: select 1}\n",
        "  - {name: a, holds: x}\n  - {name: a, holds: y}\n",
        "  - {name: a, range: {column: x}}\n",
        "  - {name: a, sql: select 1, where: x}\n",
        "  - {name: a, hold: x}\n",
        "  - {name: a, holds: x, fail: many}\n",
        "  - {name: a, freshness: {max_age: soon}}\n",
        "  - {name: a, transitions: {column: e, allowed: {trip_start: [trip_end]}}}\n",
        "  - {name: a, stuck: {column: 'dtcs[].code', rows: 5}}\n",
        "  - {name: a, not_null: {columns: ['dtcs[].code', id]}}\n",
        "  - {name: a, sql: select 1, fail: 5 %}\n",
        "  - {name: a, row_count: {min: 1}, warn: 0.1 %}\n",
        "  - {name: a, freshness: {max_age: 26h}, fail: 5 %}\n",
        "  - {name: a, stable: select 1, fail: 5 %}\n",
        "  - {name: a, holds: x, shows: [y]}\n",
        "  - {name: a, row_count: {min: 50 %}}\n",
        "  - {name: a, row_count: {min: 50, days: 7}}\n",
        "  - {name: a, row_count: {min: half}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: '${id|vin}#report'}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: '${id}#${@topic}'}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: '$${id}#report'}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: '${dtcs[].code}#report'}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: '${id#report'}}\n",
        "  - {name: a, in_dynamodb: {table: t, key: 'report'}}\n",
    ];
    let named: Vec<String> = mistakes.iter().map(|checks| format!("{checks}{}\n", error(checks))).collect();
    assert_snapshot!(named.join("\n"));
}
