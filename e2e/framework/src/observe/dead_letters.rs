//! Shows each dead letter as a block of text. The order does not depend on which was written first.

use super::name::safe;
use super::record::{Shown, show};
use super::{EntryKind, Holding, Key, Letter, MessageId, Redactor, Rule, Section};
use crate::case::{Case, Place};
use crate::mutate;
use crate::stack::{Record, Stack, StackError};

/// A record of a dead-letter topic. A pipeline sends it before it commits the offset after the source record, so a
/// crash may cause it to be sent again.
pub(crate) static DEAD_LETTER: EntryKind = EntryKind {
    noun: "dead letter",
    is_block: true,
    place: Some(Place::DeadLetters),
    key: Key::Lines(&[
        "header __connect.errors.topic",
        "header __connect.errors.partition",
        "header __connect.errors.offset",
        "header __connect.errors.row.index",
    ]),
    rule: Rule::AtLeastOnce {
        offset_line: Some("header __connect.errors.offset:"),
        partition_line: Some("header __connect.errors.partition:"),
    },
};

/// One section for every dead-letter topic.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let section = |topic: &String| {
        let records = mutate::dead_letters(stack.calls(), stack.read_topic(topic)?);
        let holding = Holding::Letters { topic: topic.clone(), letters: records.iter().map(letter).collect() };
        let entries = blocks(&records, redactor);
        Ok(Section::new(safe(&["dead-letters", topic]), &DEAD_LETTER, entries).holding(vec![holding]))
    };
    case.settings.dead_letters.iter().map(section).collect()
}

/// The headers in which Kafka Connect names the source of a dead letter: the topic, and the numbers by which the
/// letters of one topic are sorted.
const SOURCE_TOPIC: &str = "__connect.errors.topic";
const SOURCE_NUMBERS: [&str; 3] =
    ["__connect.errors.partition", "__connect.errors.offset", "__connect.errors.row.index"];

/// A dead letter with what its headers say of its source.
fn letter(record: &Record) -> Letter {
    let (topic, [partition, offset, index]) = source(record);
    let message = |topic: &str| {
        Some(MessageId { topic: topic.to_owned(), partition: i32::try_from(partition?).ok()?, offset: offset? })
    };
    let index = index.and_then(|index| usize::try_from(index).ok());
    Letter { source: topic.and_then(message), index, value: record.value.clone() }
}

/// One block for each dead letter, in the order of the sources, so that the rows of one message keep their order.
/// Letters without such headers are sorted by key and value.
fn blocks(records: &[Record], redactor: &Redactor<'_>) -> Vec<String> {
    let shown = records.iter().map(|record| (source(record), show(record, Place::DeadLetters, redactor)));
    let mut shown: Vec<(_, Shown<'_>)> = shown.collect();
    shown.sort();
    shown.into_iter().map(|(_, shown)| shown.text).collect()
}

/// The source's topic, partition, offset and row index. Each of them is `None` if the headers do not give it.
fn source(record: &Record) -> (Option<&str>, [Option<i64>; 3]) {
    let header = |wanted: &str| {
        let (_, value) = record.headers.iter().find(|(name, _)| name == wanted)?;
        std::str::from_utf8(value.as_deref()?).ok()
    };
    (header(SOURCE_TOPIC), SOURCE_NUMBERS.map(|name| header(name)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Redactions;

    #[test]
    fn letters_come_in_the_order_of_their_sources() {
        let letter = |offset: &str, row: Option<&str>, value: &[u8]| {
            let headers = [
                ("__connect.errors.partition", Some("1")),
                ("__connect.errors.offset", Some(offset)),
                ("__connect.errors.row.index", row),
            ];
            let headers = headers
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), Some(value?.as_bytes().to_vec()))))
                .collect();
            let (topic, key, value) = ("dlq".to_owned(), Some(b"k".to_vec()), Some(value.to_vec()));
            Record { topic, partition: 0, offset: 0, timestamp: 7, key, value, headers }
        };
        let mut letters = vec![
            letter("10", None, b"d"),
            letter("9", Some("10"), b"a"),
            letter("9", Some("2"), b"b"),
            letter("9", None, b"c"),
        ];
        let values = |letters: &[Record]| -> Vec<char> {
            blocks(letters, &Redactor::new(&Redactions::default()))
                .iter()
                .filter_map(|block| block.chars().last())
                .collect()
        };
        assert_eq!(values(&letters), ['c', 'b', 'a', 'd']);
        for letter in &mut letters {
            letter.headers.clear();
        }
        assert_eq!(values(&letters), ['a', 'b', 'c', 'd']);
    }
}
