//! The lines that a subject prints, in the order in which they arrive, each with its time.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::lock;
use crate::stack::namespace::take_off;

/// Everything a subject has printed to standard output and standard error, and notes of the framework's own.
///
/// A log outlives the processes that write to it: a case that restarts its subject has one log.
#[derive(Debug, Clone)]
pub struct Log {
    started: Instant,
    shared: Arc<(Mutex<Printed>, Condvar)>,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<(Duration, String)>,
    open_streams: usize,
    /// What is left out when a line is looked for.
    namespace: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { started: Instant::now(), shared: Arc::default() }
    }
}

impl Log {
    /// Reads a stream on a thread of its own until it ends.
    pub(super) fn follow(&self, stream: impl Read + Send + 'static) {
        self.change(|printed| printed.open_streams += 1);
        let log = self.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                log.note(shown(String::from_utf8_lossy(&line).trim_end()));
                line.clear();
            }
            log.change(|printed| printed.open_streams -= 1);
        });
    }

    /// Appends a line of the framework's own, such as a signal that was sent.
    pub fn note(&self, text: String) {
        let at = self.started.elapsed();
        self.change(|printed| printed.lines.push((at, text)));
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

    /// Returns when every stream has ended, at `deadline` at the latest; whether all of them have.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        let wait = deadline.saturating_duration_since(Instant::now());
        let waited = self.shared.1.wait_timeout_while(lock(&self.shared.0), wait, |printed| printed.open_streams > 0);
        waited.map_or(true, |(_, timeout)| !timeout.timed_out())
    }

    /// From now on, lines are looked for as if this namespace did not stand before the names in them.
    pub fn within(&self, namespace: &str) {
        namespace.clone_into(&mut lock(&self.shared.0).namespace);
    }

    /// The first line that contains `text`.
    pub fn find(&self, text: &str) -> Option<String> {
        let Printed { lines, namespace, .. } = &*lock(&self.shared.0);
        lines.iter().map(|(_, line)| line).find(|line| take_off(line, namespace).contains(text)).cloned()
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
        for (at, line) in &printed.lines[skipped..] {
            let _ = writeln!(text, "{:9.3} {line}", at.as_secs_f64());
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
    fn a_namespace_is_left_out_when_a_line_is_looked_for() {
        let log = Log::default();
        log.note("table e2e-1-orders is missing".into());
        assert!(log.find("table orders is missing").is_none());
        log.within("e2e-1-");
        assert!(log.find("table orders is missing").is_some());
    }
}
