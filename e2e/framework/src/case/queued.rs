//! The messages that a case puts on queues before its pipeline starts: the lines of `queues/<queue>.ndjson`.

use std::path::Path;

use super::error::{FixtureError, did_you_mean};
use super::seed::entries;
use crate::stack::namespace;

/// A message that is on a queue before the pipeline starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedMessage {
    /// The queue, which is one of `queues`.
    pub queue: String,
    /// The message, in which the namespace is not filled in yet.
    text: String,
}

impl SeedMessage {
    /// The message with the namespace filled in.
    pub(crate) fn body(&self, namespace: &str) -> String {
        namespace::fill_in(&self.text, namespace)
    }
}

/// Reads `queues/` of a case, in the order of the queues and of their lines. There need not be such a folder.
pub(super) fn read<'a>(
    folder: &Path,
    queues: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<SeedMessage>, FixtureError> {
    let mut messages = Vec::new();
    if !folder.exists() {
        return Ok(messages);
    }
    for (file, path) in entries(folder)? {
        let Some(name) = file.strip_suffix(".ndjson").filter(|_| path.is_file()) else {
            return Err(FixtureError::new(&path, "the messages of a queue are a file that is named `<queue>.ndjson`"));
        };
        if !queues.clone().any(|queue| queue == name) {
            let near = did_you_mean(name, queues);
            return Err(FixtureError::new(&path, format!("`{name}` is not among `queues`{near}")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| FixtureError::io(&path, "read", &error))?;
        for (line, text) in (1..).zip(text.lines()) {
            if text.is_empty() {
                return Err(FixtureError::at(&path, line, "an empty line, and SQS takes no empty message"));
            }
            messages.push(SeedMessage { queue: name.to_owned(), text: text.to_owned() });
        }
    }
    if messages.is_empty() {
        let problem = "has no messages; delete it, or write messages into `queues/<queue>.ndjson`, one a line";
        return Err(FixtureError::new(folder, problem));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_files(files: &[(&str, &str)]) -> Result<Vec<SeedMessage>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        read(folder.path(), ["events", "later"].into_iter()).map_err(|error| error.problem)
    }

    #[test]
    fn each_line_is_a_message_with_the_namespace_of_the_test() {
        let found = read_files(&[("later.ndjson", "c\n"), ("events.ndjson", "{\"b\":\"${namespace}raw\"}\na")]);
        let found = found.expect("valid");
        let found: Vec<_> = found.iter().map(|message| (message.queue.as_str(), message.body("n-"))).collect();
        assert_eq!(
            found,
            [("events", "{\"b\":\"n-raw\"}".to_owned()), ("events", "a".to_owned()), ("later", "c".to_owned())]
        );
    }

    #[test]
    fn what_is_no_message_of_a_queue_is_refused() {
        for (files, says) in [
            (&[("event.ndjson", "a")][..], "`event` is not among `queues`; did you mean `events`?"),
            (&[("events.json", "a")], "named `<queue>.ndjson`"),
            (&[("events.ndjson", "a\n\nb")], "an empty line"),
            (&[("events.ndjson", "")], "has no messages"),
            (&[], "has no messages"),
        ] {
            let error = read_files(files).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
