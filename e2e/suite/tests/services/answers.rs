//! The answers of a service, call by call, and the comparison of two stacks' answers with the table of listed
//! differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use serde::Deserialize;

/// Shows the error with which a service answered: its code and the status.
pub fn refusal<E: ProvideErrorMetadata + Debug>(error: &SdkError<E, HttpResponse>) -> String {
    match error.raw_response() {
        Some(response) => format!("error {} {}", error.code().unwrap_or("without a code"), response.status().as_u16()),
        None => format!("no answer: {error:?}"),
    }
}

/// The answers of one service on one stack, in the order of the calls.
#[derive(Debug)]
pub struct Answers {
    namespace: String,
    list: Vec<(String, String)>,
}

impl Answers {
    /// An empty list. `namespace`, the prefix of all names that the calls create, will be removed from the answers.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), list: Vec::new() }
    }

    /// Adds the answer of a call.
    pub fn add(&mut self, call: &str, answer: impl Into<String>) {
        self.list.push((call.to_owned(), answer.into().replace(&self.namespace, "")));
    }

    /// The answers, a line each.
    #[allow(dead_code, reason = "services are compared with the real ones only")]
    pub fn lines(&self) -> String {
        let lines: Vec<_> = self.list.iter().map(|(call, answer)| format!("{call}: {answer}\n")).collect();
        lines.concat()
    }

    /// The number of calls that were made.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// A listed difference between an embedded and a real service, and the reason why it is allowed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    embedded: String,
    real: String,
    reason: String,
}

/// The listed differences of a service, by call.
pub type Known = BTreeMap<String, Difference>;

/// Compares two stacks' answers to the same calls. Returns each difference that is not listed, each listed one that is
/// gone, has changed, names no call or has no reason, and calls that are not the same on both stacks.
pub fn compare(embedded: &Answers, real: &Answers, known: &Known) -> Vec<String> {
    let calls = |answers: &Answers| answers.list.iter().map(|(call, _)| call.clone()).collect::<Vec<_>>();
    let names = calls(embedded);
    if names != calls(real) {
        return vec![format!("not the same calls: {names:?} on the embedded stack, {:?} on the real one", calls(real))];
    }
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for ((call, embedded), (_, real)) in embedded.list.iter().zip(&real.list) {
        if !seen.insert(call.as_str()) {
            problems.push(format!("{call}: two calls have this name"));
        }
        let both = format!("at {}\n    embedded: {embedded}\n    real:     {real}", place(embedded, real));
        match known.get(call) {
            None if embedded == real => {}
            None => problems.push(format!("{call}: differs {both}")),
            Some(_) if embedded == real => {
                problems.push(format!("{call}: no longer differs, remove it from the table: {embedded}"));
            }
            Some(known) if known.embedded == *embedded && known.real == *real => {}
            Some(known) => problems.push(format!(
                "{call}: differs otherwise than known, {both}\n    known embedded: {}\n    known real:     {}",
                known.embedded, known.real
            )),
        }
    }
    for (call, difference) in known {
        if !seen.contains(call.as_str()) {
            problems.push(format!("{call}: the table of differences names a call that is not made"));
        }
        if difference.reason.trim().is_empty() {
            problems.push(format!("{call}: the table of differences gives no reason"));
        }
    }
    problems
}

/// The place of the first character that differs, with a little of the common text before it.
fn place(one: &str, other: &str) -> String {
    let shared: Vec<char> = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let before: String = shared[shared.len().saturating_sub(24)..].iter().collect();
    format!("character {}, after {before:?}", shared.len() + 1)
}

/// Fails unless `compare` finds each kind of problem, and finds none where there is none.
pub fn check_the_comparison() -> Result<(), String> {
    let answers = |list: &[(&str, &str)]| {
        let mut answers = Answers::new("run-1-");
        for (call, answer) in list {
            answers.add(call, *answer);
        }
        answers
    };
    let known = |call: &str, embedded: &str, real: &str, reason: &str| {
        let difference = Difference { embedded: embedded.into(), real: real.into(), reason: reason.into() };
        Known::from([(call.to_owned(), difference)])
    };
    let (get, other) = (answers(&[("put", "ok"), ("get", "ok a")]), answers(&[("put", "ok"), ("get", "ok b")]));
    let none = Known::new();
    let expected: [(&str, Vec<String>, &[&str]); 9] = [
        ("equal", compare(&get, &get, &none), &[]),
        ("the namespace", compare(&answers(&[("put", "ok run-1-t")]), &answers(&[("put", "ok t")]), &none), &[]),
        (
            "an undeclared difference",
            compare(&get, &other, &none),
            &["get: differs at character 4, after \"ok \"\n    embedded: ok a\n    real:     ok b"],
        ),
        ("a declared one", compare(&get, &other, &known("get", "ok a", "ok b", "why")), &[]),
        ("one without a reason", compare(&get, &other, &known("get", "ok a", "ok b", " ")), &["get: the table"]),
        ("a changed one", compare(&get, &other, &known("get", "ok a", "ok c", "why")), &["get: differs otherwise"]),
        ("a stale one", compare(&get, &get, &known("get", "ok a", "ok b", "why")), &["get: no longer differs"]),
        (
            "one of no call",
            compare(&get, &get, &known("cut", "a", "b", "why")),
            &["cut: the table of differences names"],
        ),
        (
            "a name twice",
            compare(&answers(&[("put", "ok"), ("put", "ok")]), &answers(&[("put", "ok"), ("put", "ok")]), &none),
            &["put: two calls"],
        ),
    ];
    for (what, found, expected) in expected {
        let right = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
        if !right {
            return Err(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }
    let found = compare(&get, &answers(&[("put", "ok")]), &none);
    if found.len() == 1 && found[0].starts_with("not the same calls") {
        return Ok(());
    }
    Err(format!("a call that one side does not make: found {found:?}"))
}
