//! Shows each record of an output topic as a block of text, in an order that does not depend on timing.

use super::name::safe;
use super::record::{Shown, show};
use super::{EntryKind, Key, Redactor, Rule, Section};
use crate::case::{Case, Place};
use crate::mutate;
use crate::stack::{Record, Stack, StackError};

/// A record of an output topic. A pipeline without transactions sends it before it commits the offset after the source
/// record, so a crash may cause it to be sent again.
pub(crate) static RECORD: EntryKind = EntryKind {
    noun: "record",
    is_block: true,
    place: Some(Place::Records),
    key: Key::None,
    rule: Rule::AtLeastOnce { offset_line: None, partition_line: None },
};

/// One section for every output topic.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let section = |topic: &String| {
        let records = mutate::records(stack.calls(), stack.read_topic(topic)?);
        let entries = blocks(&records, redactor);
        Ok(Section::new(safe(&["topic", topic]), &RECORD, entries))
    };
    case.settings.output_topics.iter().map(section).collect()
}

/// One block for each record, by partition and key. The records of one key keep their order, on which consumers rely.
/// Records without a key may come from several sources at once, so their order says nothing, and they are sorted by
/// content.
fn blocks(records: &[Record], redactor: &Redactor<'_>) -> Vec<String> {
    let mut shown: Vec<(&Record, Shown<'_>)> =
        records.iter().map(|record| (record, show(record, Place::Records, redactor))).collect();
    shown.sort_by(|(a, a_shown), (b, b_shown)| {
        let place = (a.partition, &a.key).cmp(&(b.partition, &b.key));
        place.then_with(|| if a.key.is_some() { a.offset.cmp(&b.offset) } else { a_shown.cmp(b_shown) })
    });
    shown.into_iter().map(|(_, shown)| shown.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Redactions;

    fn record(partition: i32, offset: i64, key: Option<&str>, value: &str) -> Record {
        let (topic, key) = ("out".to_owned(), key.map(|key| key.as_bytes().to_vec()));
        let value = Some(value.as_bytes().to_vec());
        Record { topic, partition, offset, timestamp: 7, key, value, headers: Vec::new() }
    }

    #[test]
    fn the_records_of_one_key_keep_their_order_and_others_have_one_of_their_own() {
        let blocks = |records: &[Record]| blocks(records, &Redactor::new(&Redactions::default()));
        let first = [
            record(0, 0, None, "y"),
            record(0, 1, Some("a"), "2"),
            record(0, 2, Some("b"), "3"),
            record(0, 3, Some("a"), "1"),
            record(0, 4, None, "x"),
            record(1, 0, None, "z"),
        ];
        let values: Vec<char> = blocks(&first).iter().filter_map(|block| block.chars().last()).collect();
        assert_eq!(values, ['x', 'y', '2', '1', '3', 'z']);
        let second = [
            record(0, 0, Some("b"), "3"),
            record(0, 1, Some("a"), "2"),
            record(0, 2, Some("a"), "1"),
            record(0, 3, None, "x"),
            record(0, 4, None, "y"),
            record(1, 0, None, "z"),
        ];
        assert_eq!(blocks(&first), blocks(&second));
        assert_eq!(blocks(&first)[5], "key: null\npartition: 1\ntimestamp: 7\nvalue, 1 byte: z");
    }

    #[test]
    fn what_is_redacted_decides_no_order() {
        let redactions = Redactions::of(&["$.records[*].value.at", "$.records[*].timestamp"], &[]);
        let redactor = Redactor::new(&redactions);
        let records = [record(0, 0, None, r#"{"at":1,"id":"b"}"#), record(0, 1, None, r#"{"at":2,"id":"a"}"#)];
        let blocks = blocks(&records, &redactor);
        assert!(blocks[0].ends_with(r#"value, redacted: {"at":"[redacted]","id":"a"}"#), "{blocks:?}");
        assert!(redactor.unmatched().is_empty());
    }
}
