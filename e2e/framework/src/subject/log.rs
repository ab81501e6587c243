//! The lines that a subject prints, in the order in which they arrive, each with its time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::lock;
use crate::stack::namespace::take_off;

/// Everything a subject has printed to standard output and standard error, and notes of the framework's own.
///
/// A log outlives the processes that write to it: a case that restarts its subject has one log. Several processes share
/// a log, each with a [label](Self::of) of its own.
#[derive(Debug, Clone)]
pub struct Log {
    started: Instant,
    shared: Arc<(Mutex<Printed>, Condvar)>,
    /// The name of the process whose lines are added here; empty if there is only one.
    label: String,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<Line>,
    /// How many streams of the process with this label have not ended.
    open_streams: BTreeMap<String, usize>,
    /// What is left out when a line is looked for.
    namespace: String,
}

#[derive(Debug)]
struct Line {
    at: Duration,
    /// The label of the process that printed it; `None` for a line of the framework's own.
    of: Option<String>,
    text: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { started: Instant::now(), shared: Arc::default(), label: String::new() }
    }
}

impl Log {
    /// The same log, for the process of this name, whose lines then begin with the name.
    pub(crate) fn of(&self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self.clone() }
    }

    /// The name of the process whose lines are added here.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// How many lines the process has printed.
    pub(crate) fn printed(&self) -> usize {
        lock(&self.shared.0).lines.iter().filter(|line| line.of.as_deref() == Some(&self.label)).count()
    }

    /// Reads a stream of the process on a thread of its own until it ends.
    pub(super) fn follow(&self, stream: impl Read + Send + 'static) {
        self.change(|printed| *printed.open_streams.entry(self.label.clone()).or_default() += 1);
        let log = self.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                log.add(Some(log.label.clone()), shown(String::from_utf8_lossy(&line).trim_end()));
                line.clear();
            }
            log.change(|printed| {
                if let Some(open) = printed.open_streams.get_mut(&log.label) {
                    *open -= 1;
                }
            });
        });
    }

    /// Appends a line of the framework's own, such as a signal that was sent.
    pub fn note(&self, text: String) {
        self.add(None, text);
    }

    fn add(&self, of: Option<String>, text: String) {
        let at = self.started.elapsed();
        self.change(|printed| printed.lines.push(Line { at, of, text }));
    }

    fn change(&self, change: impl FnOnce(&mut Printed)) {
        change(&mut lock(&self.shared.0));
        self.shared.1.notify_all();
    }

    /// Returns when a line arrives or a stream ends, after `at_most` at the latest.
    pub(super) fn wait_for_change(&self, at_most: Duration) {
        let printed = lock(&self.shared.0);
        let _ = self.shared.1.wait_timeout(printed, at_most);
    }

    /// Returns when every stream of the process has ended, at `deadline` at the latest; whether all of them have.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        let wait = deadline.saturating_duration_since(Instant::now());
        let waited = self.shared.1.wait_timeout_while(lock(&self.shared.0), wait, |printed| {
            printed.open_streams.get(&self.label).is_some_and(|open| *open > 0)
        });
        waited.map_or(true, |(_, timeout)| !timeout.timed_out())
    }

    /// From now on, lines are looked for as if this namespace did not stand before the names in them.
    pub fn within(&self, namespace: &str) {
        namespace.clone_into(&mut lock(&self.shared.0).namespace);
    }

    /// The first line that contains `text`.
    pub fn find(&self, text: &str) -> Option<String> {
        let Printed { lines, namespace, .. } = &*lock(&self.shared.0);
        lines.iter().map(|line| &line.text).find(|line| take_off(line, namespace).contains(text)).cloned()
    }

    /// How often a text has been printed in the lines from number `from` on, and how many lines there are. Who asks again
    /// need not read again what was printed before.
    pub fn count(&self, text: &str, from: usize) -> (usize, usize) {
        let lines = &lock(&self.shared.0).lines;
        let new = lines.iter().skip(from);
        (new.map(|line| line.text.matches(text).count()).sum(), lines.len())
    }

    /// The whole log: a line each, after its time since the log began in seconds.
    pub fn text(&self) -> String {
        self.last(usize::MAX)
    }

    /// The last `count` lines, like [`Self::text`].
    pub fn last(&self, count: usize) -> String {
        let printed = lock(&self.shared.0);
        let skipped = printed.lines.len().saturating_sub(count);
        let mut text = String::new();
        for Line { at, of, text: line } in &printed.lines[skipped..] {
            let _ = write!(text, "{:9.3} ", at.as_secs_f64());
            if let Some(label) = of.as_ref().filter(|label| !label.is_empty()) {
                let _ = write!(text, "{label}: ");
            }
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// The line with its control characters escaped, such as `\u{1b}` for the start of an escape sequence, because a
/// terminal that shows the log would obey them. Tabs stay.
fn shown(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_shown_and_not_obeyed() {
        let log = Log::default();
        log.follow(&b"\x1b[31mred\x1b[0m \x07\tand a tab\n\x1b]0;title\x07\n"[..]);
        assert!(log.wait_for_end(Instant::now() + Duration::from_secs(20)));
        let text = log.text();
        assert!(text.contains("\\u{1b}[31mred\\u{1b}[0m \\u{7}\tand a tab\n"), "{text}");
        assert!(text.contains("\\u{1b}]0;title\\u{7}\n"), "{text}");
    }

    #[test]
    fn a_text_is_counted_from_a_line_on() {
        let log = Log::default();
        for line in ["ready", "not ready, ready", "waiting"] {
            log.note(line.into());
        }
        assert_eq!(log.count("ready", 0), (3, 3));
        assert_eq!(log.count("ready", 1), (2, 3));
        assert_eq!(log.count("ready", 3), (0, 3));
        log.note("ready".into());
        assert_eq!(log.count("ready", 3), (1, 4));
    }

    #[test]
    fn a_namespace_is_left_out_when_a_line_is_looked_for() {
        let log = Log::default();
        log.note("table e2e-1-orders is missing".into());
        assert!(log.find("table orders is missing").is_none());
        log.within("e2e-1-");
        assert!(log.find("table orders is missing").is_some());
    }
}
