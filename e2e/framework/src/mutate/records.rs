//! Changes of what a pipeline leaves in Kafka, made where the framework reads it: records and dead letters that are
//! lost or changed, and offsets that are not committed.

use super::Records;
use crate::stack::Commits;

/// The first record is lost.
pub(super) fn lose(records: &mut Records) -> bool {
    !records.is_empty() && records.remove(0).offset >= 0
}

/// The first record that has headers loses them.
pub(super) fn lose_headers(records: &mut Records) -> bool {
    let record = records.iter_mut().find(|record| !record.headers.is_empty());
    record.is_some_and(|record| {
        record.headers.clear();
        true
    })
}

/// The first record that has headers loses the last one.
pub(super) fn lose_last_header(records: &mut Records) -> bool {
    records.iter_mut().any(|record| record.headers.pop().is_some())
}

/// The first record that has a key loses it.
pub(super) fn lose_key(records: &mut Records) -> bool {
    records.iter_mut().any(|record| record.key.take().is_some())
}

/// The second half of the first value is lost.
pub(super) fn cut_value(records: &mut Records) -> bool {
    let value = records.iter_mut().filter_map(|record| record.value.as_mut()).find(|value| value.len() > 1);
    value.is_some_and(|value| {
        value.truncate(value.len() / 2);
        true
    })
}

/// The first value becomes a tombstone.
pub(super) fn lose_value(records: &mut Records) -> bool {
    records.iter_mut().any(|record| record.value.take().is_some())
}

/// Of the first partition that has a commit, the last record is not committed.
pub(super) fn lower(commits: &mut Commits) -> bool {
    let offset = commits.values_mut().map(|(offset, _)| offset).find(|offset| **offset > 0);
    offset.is_some_and(|offset| {
        *offset -= 1;
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Record;

    fn record(key: Option<&str>, value: Option<&str>, headers: &[&str]) -> Record {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let headers = headers.iter().map(|name| ((*name).to_owned(), None)).collect();
        let (key, value) = (key.map(bytes), value.map(bytes));
        Record { topic: "dlq".into(), partition: 0, offset: 0, timestamp: 0, key, value, headers }
    }

    #[test]
    fn one_record_is_lost_or_loses_something() {
        let bare = record(None, None, &[]);
        let whole = record(Some("k"), Some("value"), &["reason", "topic"]);
        for (change, after) in [
            (lose as fn(&mut Records) -> bool, vec![whole.clone()]),
            (lose_headers, vec![bare.clone(), record(Some("k"), Some("value"), &[])]),
            (lose_last_header, vec![bare.clone(), record(Some("k"), Some("value"), &["reason"])]),
            (lose_key, vec![bare.clone(), record(None, Some("value"), &["reason", "topic"])]),
            (cut_value, vec![bare.clone(), record(Some("k"), Some("va"), &["reason", "topic"])]),
            (lose_value, vec![bare.clone(), record(Some("k"), None, &["reason", "topic"])]),
        ] {
            let mut records = vec![bare.clone(), whole.clone()];
            assert!(change(&mut records));
            assert_eq!(records, after);
            assert!(!change(&mut Records::new()));
        }
        assert!(!lose_headers(&mut vec![bare.clone()]) && !lose_key(&mut vec![bare]));
    }

    #[test]
    fn one_offset_is_lowered() {
        let commit = |offset| (offset, String::new());
        let mut commits = Commits::from([(("t".to_owned(), 0), commit(0)), (("t".to_owned(), 1), commit(3))]);
        assert!(lower(&mut commits));
        let offsets: Vec<i64> = commits.values().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 2]);
        assert!(!lower(&mut Commits::new()));
    }
}
