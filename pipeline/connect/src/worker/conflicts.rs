//! What is wrong with connectors beside each other: two that write one topic to a place that takes only one writer, and
//! dead letters that would go round in a circle.

use std::collections::BTreeSet;

use super::error::StartError;
use super::start::CheckedConnector;
use crate::ConfigError;
use crate::config::common::{DEAD_LETTER_TOPIC, dead_letter_topic};
use crate::sink::ExclusiveTarget;

/// Every connector that cannot run beside one before it. `existing` are the topics that exist.
pub(super) fn conflicts(connectors: &[&CheckedConnector], existing: &BTreeSet<String>) -> Vec<StartError> {
    let mut problems = Vec::new();
    for (at, later) in connectors.iter().enumerate() {
        let earlier = &connectors[..at];
        let writers = earlier.iter().find_map(|earlier| same_target(earlier, later, existing));
        let letters = circle(connectors, at);
        let file = &later.definition.file;
        problems.extend(
            [writers, letters].into_iter().flatten().map(|error| StartError::Config { file: file.into(), error }),
        );
    }
    problems
}

/// Why `later` cannot run beside `earlier`, if both write a topic to one place that takes only one writer.
fn same_target(
    earlier: &CheckedConnector,
    later: &CheckedConnector,
    existing: &BTreeSet<String>,
) -> Option<ConfigError> {
    let target = |connector: &CheckedConnector| connector.kind.exclusive_target(&connector.spec.config);
    let (other, ExclusiveTarget { key, place }) = (target(earlier)?, target(later)?);
    if other.place != place {
        return None;
    }
    let topic = earlier.spec.topics.shared_topic(&later.spec.topics, existing)?;
    Some(later.spec.config.error(
        key,
        format!(
            "connector `{}` ({}) writes topic `{topic}` to {place} as well, so its rows would be stored twice; give \
             one of the two another `{key}`, or other topics",
            earlier.spec.name,
            earlier.definition.origin(),
        ),
    ))
}

/// Why the connector at `last` cannot run: its dead letters go to a connector before it, whose dead letters go to
/// another, and so on until those of one are read by it again. A record that none of them can store would go round for
/// ever.
///
/// Each circle is found once, at the last of its connectors. A connector that reads its own dead letters is refused on
/// its own.
fn circle(connectors: &[&CheckedConnector], last: usize) -> Option<ConfigError> {
    let reads_letters_of = |reader: usize, writer: usize| {
        let topic = dead_letter_topic(&connectors[writer].spec.config);
        topic.is_some_and(|topic| connectors[reader].spec.topics.reads(topic))
    };
    // The connectors that the dead letters of `last` reach, each with the one that they came from.
    let mut from: Vec<Option<usize>> = vec![None; last];
    let mut next = vec![last];
    while let Some(writer) = next.pop() {
        if writer != last && reads_letters_of(last, writer) {
            let mut names = vec![connectors[writer].spec.name.as_str()];
            let mut at = writer;
            while let Some(before) = from[at]
                && before != last
            {
                names.push(&connectors[before].spec.name);
                at = before;
            }
            names.reverse();
            return Some(connectors[last].spec.config.error(
                DEAD_LETTER_TOPIC,
                format!(
                    "is read by connector `{}`, and this connector reads the dead letters of `{}`: a record that none \
                     of them can store would go round for ever; give one of them another dead-letter topic, or other \
                     topics",
                    names.join("`, whose dead letters go to `"),
                    connectors[writer].spec.name,
                ),
            ));
        }
        for (reader, before) in from.iter_mut().enumerate() {
            if before.is_none() && reads_letters_of(reader, writer) {
                *before = Some(writer);
                next.push(reader);
            }
        }
    }
    None
}
