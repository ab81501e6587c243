//! Messages as Slack takes them, within its limits. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::Config;
use crate::digest::{Digest, Standing};
use crate::state::{Event, Line, Problem, Thread, Trouble};
use crate::step::days;
use crate::text::{counted, escaped, length, plain, quoted, with_parameters};
use crate::verdict::Outcome;

/// The most characters of a section's text.
const SECTION: usize = 3000;
/// The most characters of a header.
const HEADER: usize = 150;
/// Slack refuses messages whose blocks are long altogether, and does not say from where on. This is well below what it
/// is known to take.
const WHOLE: usize = 12_000;
/// How many problems, or owners, have a block of their own. Slack takes 50 blocks; others say what the message is
/// about.
const SHOWN: usize = 40;
/// The most characters of a name, a sentence, a sample row, and a query.
const NAME: usize = 120;
const SENTENCE: usize = 250;
const ROW: usize = 240;
const QUERY: usize = 800;

/// A message: what notifications show, and its blocks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub text: String,
    pub blocks: Vec<Value>,
}

/// Builds a message up to the limits.
struct Builder {
    message: Message,
    used: usize,
}

impl Builder {
    fn new(title: &str) -> Self {
        let text = plain(title, HEADER);
        let header = json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": false}});
        Self { used: length(&text), message: Message { text, blocks: vec![header] } }
    }

    /// Adds a section. Every part of its text is escaped, and short enough.
    fn section(&mut self, text: &str) {
        self.used += length(text);
        self.message.blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
    }

    /// Adds sections as long as there is room. Gives those that are left.
    fn sections<'a, T>(&mut self, of: &'a [T], text: impl Fn(&T) -> String) -> &'a [T] {
        for (at, one) in of.iter().enumerate() {
            let text = text(one);
            if at == SHOWN || self.used + length(&text) > WHOLE {
                return &of[at..];
            }
            self.section(&text);
        }
        &[]
    }

    fn end(mut self, config: &Config, may_be_twice: bool) -> Message {
        let mut notes = Vec::new();
        if !config.run_book.is_empty() {
            notes.push(format!("Run book: {}", escaped(&config.run_book, SENTENCE)));
        }
        if may_be_twice {
            notes.push(
                "This message may be here twice: it was not known whether an earlier attempt had arrived.".into(),
            );
        }
        if !notes.is_empty() {
            let elements: Vec<Value> = notes.iter().map(|note| json!({"type": "mrkdwn", "text": note})).collect();
            self.message.blocks.push(json!({"type": "context", "elements": elements}));
        }
        self.message
    }
}

/// Whom a message is for: mentioned as a user of Slack, or by the e-mail address.
pub(crate) fn addressee(owner: &str, user: Option<&str>) -> String {
    user.map_or_else(|| escaped(owner, NAME), |user| format!("<@{user}>"))
}

/// The first message of a thread: its problems as they are.
pub(crate) fn opening(config: &Config, thread: &Thread, to: &str, may_be_twice: bool) -> Message {
    let problems: Vec<&Problem> = thread.problems.iter().collect();
    let mut builder = Builder::new(&title(&problems));
    let mut summary = format!("{to}: {}", summary(&problems));
    if let Some(first) = problems.iter().filter(|problem| problem.is_open()).map(|problem| problem.since).min() {
        let _ = write!(summary, ", since {first:.0}");
    }
    builder.section(&summary);
    // What is open comes first.
    let (mut open, ended): (Vec<&Problem>, Vec<&Problem>) = problems.iter().partition(|problem| problem.is_open());
    open.sort_by_key(|problem| (std::cmp::Reverse(problem.severity), std::cmp::Reverse(problem.bad)));
    open.extend(ended);
    let left = builder.sections(&open, |problem| shown(config, problem));
    others(&mut builder, left);
    builder.end(config, may_be_twice)
}

/// What has happened in a thread. Without a thread, the message says what it is about.
pub(crate) fn reply(config: &Config, lines: &[Line], to: &str, may_be_twice: bool) -> Message {
    let problems: Vec<&Problem> = lines.iter().map(|line| &line.problem).collect();
    let mut builder = Builder::new(&title(&problems));
    let mut counts: BTreeMap<Event, usize> = BTreeMap::new();
    for line in lines {
        *counts.entry(line.event).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(event, count)| format!("{count} {}", name(*event))).collect();
    let is_good = lines.iter().all(|line| line.event == Event::Resolved);
    let counts = counts.join(", ");
    // Good news wakes nobody.
    builder.section(&if is_good { counts } else { format!("{to}: {counts}") });
    let left: Vec<&Problem> =
        builder.sections(lines, |line| shown(config, &line.problem)).iter().map(|line| &line.problem).collect();
    others(&mut builder, &left);
    builder.end(config, may_be_twice)
}

fn name(event: Event) -> &'static str {
    match event {
        Event::New => "new",
        Event::Changed => "changed",
        Event::Still => "still open",
        Event::Resolved => "resolved",
    }
}

fn title(problems: &[&Problem]) -> String {
    let open = problems.iter().filter(|problem| problem.is_open()).count();
    let mut tables: Vec<&str> = problems.iter().map(|problem| problem.id.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    let what = match tables[..] {
        [table] => format!("of {table}"),
        _ => format!("of {} tables", tables.len()),
    };
    if open == 0 {
        format!("Resolved: {} {what}", counted(problems.len(), "check"))
    } else {
        let verb = if open == 1 { "has a problem" } else { "have problems" };
        format!("{} {what} {verb}", counted(open, "check"))
    }
}

fn summary(problems: &[&Problem]) -> String {
    let count =
        |trouble: Trouble| problems.iter().filter(|problem| problem.is_open() && problem.trouble == trouble).count();
    let resolved = problems.iter().filter(|problem| !problem.is_open()).count();
    let counts = [
        (count(Trouble::Failed), "failed"),
        (count(Trouble::CouldNotRun), "could not run"),
        (count(Trouble::DidNotRun), "did not run"),
        (resolved, "resolved"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    counts.join(", ")
}

/// A problem: what, where, how many, since when, some of the rows, and the query that shows all of them.
fn shown(config: &Config, problem: &Problem) -> String {
    let Problem { id, trouble, since, from, to, expected, observed, description, .. } = problem;
    let (table, check) = (escaped(&id.table, NAME), escaped(&id.check, NAME));
    if let Some(how) = &problem.resolved {
        return format!(":white_check_mark: {table}: *{check}* is resolved: {}", escaped(how, SENTENCE));
    }
    let (sign, what) = match trouble {
        Trouble::Failed => (":red_circle:", "failed"),
        Trouble::CouldNotRun => (":warning:", "could not run"),
        Trouble::DidNotRun => (":hourglass:", "did not run"),
    };
    let (severity, mut days) = (problem.severity.name(), days(*from, *to));
    let others = problem.open.iter().filter(|found| found.days != problem.days()).count();
    if others > 0 {
        let _ = write!(days, " and {}", counted(others, "more day"));
    }
    let mut out = format!("{sign} {table}: *{check}* {what} for {days}, since {since:.0} ({severity})");
    let _ = write!(out, "\n{}\nExpected: {}", escaped(observed, SENTENCE), escaped(expected, SENTENCE));
    if !description.is_empty() {
        let _ = write!(out, "\n{}", escaped(description, SENTENCE));
    }
    if *trouble == Trouble::DidNotRun {
        let remove = format!("fms alerts forget --table {} --check {}", quoted(&id.table), quoted(&id.check));
        let _ = write!(out, "\nIf there is no such check any more: `{}`", escaped(&remove, SENTENCE));
    }
    if !problem.sample.is_empty() {
        let rows: Vec<String> = problem.sample.iter().map(|row| escaped(row, ROW)).collect();
        let _ = write!(out, "\nSome of the rows:\n```{}```", rows.join("\n"));
    }
    if let Some(query) = &problem.query {
        let _ = write!(out, "\nAll of them:\n```{}```", command(config, problem, query));
    }
    debug_assert!(length(&out) <= SECTION, "{out}");
    out
}

/// The command that shows the bad rows. A query that is too long for a message is shown by another command.
fn command(config: &Config, problem: &Problem, query: &str) -> String {
    let Problem { id, from, to, .. } = problem;
    let query = with_parameters(query, &[("from", &format!("'{from}'")), ("to", &format!("'{to}'"))]);
    let options = if config.query_options.is_empty() { String::new() } else { format!("{} ", config.query_options) };
    let command = format!("fms query {options}{}", quoted(&query));
    let shown = escaped(&command, usize::MAX);
    if length(&shown) <= QUERY && !command.contains('`') {
        return shown;
    }
    escaped(&format!("fms quality run --table {} --from {from} --to {to}", quoted(&id.table)), QUERY)
}

/// How many problems have no room, by table.
fn others(builder: &mut Builder, left: &[&Problem]) {
    if left.is_empty() {
        return;
    }
    let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
    for problem in left {
        *tables.entry(&problem.id.table).or_default() += 1;
    }
    let tables: Vec<String> = tables.iter().map(|(table, count)| format!("{table} ({count})")).collect();
    let tables = escaped(&tables.join(", "), SECTION / 2);
    builder.section(&format!("And {} more: {tables}", left.len()));
}

/// How all checks stand.
pub(crate) fn digest(config: &Config, digest: &Digest, may_be_twice: bool) -> Message {
    let Digest { day, owners, .. } = digest;
    let is_well = owners.values().all(|standing| standing.tables.is_empty());
    let how = if is_well { "all is well" } else { "something is wrong" };
    let mut builder = Builder::new(&format!("Checks of the data on {day}: {how}"));
    let owners: Vec<(&String, &Standing)> = owners.iter().collect();
    let left = builder.sections(&owners, |(owner, standing)| standing_of(owner, standing));
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|(owner, _)| owner.as_str()).collect();
        builder.section(&format!("And {} more: {}", names.len(), escaped(&names.join(", "), SECTION / 2)));
    }
    if owners.is_empty() {
        builder.section("No check has run yet.");
    }
    builder.end(config, may_be_twice)
}

fn standing_of(owner: &str, standing: &Standing) -> String {
    let Standing { checks, ran, warned, untold, tables, held } = standing;
    let mut out = format!("*{}*: {ran} of {} ran in a day", escaped(owner, NAME), counted(*checks, "check"));
    for (count, what) in [(warned, "warned"), (untold, "failed without an alert"), (held, "held back by maintenance")] {
        if *count > 0 {
            let _ = write!(out, ", {count} {what}");
        }
    }
    let mut lines = String::new();
    for (table, open) in tables {
        let counts =
            [(open.failed, "failed"), (open.could_not_run, "could not run"), (open.did_not_run, "did not run")];
        let counts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let line = format!("\n• {}: {}", escaped(table, NAME), counts.join(", "));
        if length(&out) + length(&lines) + length(&line) > SECTION / 2 {
            lines.push_str("\n• and others");
            break;
        }
        lines.push_str(&line);
    }
    out + &lines
}

impl crate::verdict::Severity {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Outcome {
    /// Whether it is worth a sample of rows.
    pub fn has_rows(self) -> bool {
        matches!(self, Self::Warn | Self::Fail)
    }
}

#[cfg(test)]
mod tests;
