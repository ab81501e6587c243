//! Which records a schedule sends, in which order and to which partitions, so that Kafka could have had them as well.

use std::collections::BTreeMap;

use crate::case::{Case, partition_of};
use crate::stack::Record;

/// Every record twice in a row.
pub(crate) fn twice(records: &[Record]) -> Vec<Record> {
    with_offsets(records.iter().flat_map(|record| [record.clone(), record.clone()]))
}

/// The records of a partition that keep their order: those of one key, or those without a key.
type Strand<'a> = (&'a str, i32, Option<&'a [u8]>);

fn strand(record: &Record) -> Strand<'_> {
    (&record.topic, record.partition, record.key.as_deref())
}

/// The records in an order that the seed decides, and that differs within at least one partition. It is `None` if no
/// partition has records of two keys, so that the order cannot differ.
pub(crate) fn reordered(records: &[Record], seed: u64) -> Option<Vec<Record>> {
    let mut strands: BTreeMap<Strand<'_>, Vec<&Record>> = BTreeMap::new();
    for record in records {
        strands.entry(strand(record)).or_default().push(record);
    }
    let places: Vec<(&str, i32)> = strands.keys().map(|(topic, partition, _)| (*topic, *partition)).collect();
    if places.windows(2).all(|pair| pair[0] != pair[1]) {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        // Each place of the new order is given to a record at random, and the records of a strand take the strand's
        // places in their own order.
        let mut places: Vec<Strand<'_>> = records.iter().map(strand).collect();
        random.shuffle(&mut places);
        let mut left: BTreeMap<_, _> = strands.iter().map(|(strand, records)| (*strand, records.iter())).collect();
        let in_place = places.iter().filter_map(|place| left.get_mut(place)?.next());
        let reordered: Vec<Record> = in_place.map(|record| (*record).clone()).collect();
        // At least one of two orders is another one, so this comes to an end.
        if by_partition(&reordered) != by_partition(records) {
            return Some(with_offsets(reordered.into_iter()));
        }
    }
}

/// The keys and the timestamps of each partition's records, in their order.
fn by_partition(records: &[Record]) -> BTreeMap<(&str, i32), Vec<Option<&[u8]>>> {
    let mut partitions: BTreeMap<(&str, i32), Vec<Option<&[u8]>>> = BTreeMap::new();
    for record in records {
        partitions.entry((&record.topic, record.partition)).or_default().push(record.key.as_deref());
    }
    partitions
}

/// Gives the topics to which the case sends records this many partitions, and decides the partition of each record
/// anew. A record that its fixture puts into another partition than its key would, keeps its own, modulo the number of
/// partitions. Says why nothing has changed if nothing has.
pub(crate) fn partition_anew(case: &mut Case, partitions: i32) -> Option<String> {
    let mut before = BTreeMap::new();
    for topic in case.topics().into_iter().map(str::to_owned).collect::<Vec<_>>() {
        if let Some(count) = case.settings.resources.topics.get_mut(&topic) {
            before.insert(topic, std::mem::replace(count, partitions));
        }
    }
    if before.is_empty() {
        return Some("the case has no messages".to_owned());
    }
    if before.values().all(|count| *count == partitions) {
        let plural = if partitions == 1 { "" } else { "s" };
        return Some(format!("the topics of the case have {partitions} partition{plural} anyway"));
    }
    let records = std::mem::take(&mut case.records).into_iter().map(|mut record| {
        let key = record.key.as_deref();
        let by_key = before.get(&record.topic).is_some_and(|count| partition_of(key, *count) == record.partition);
        record.partition = if by_key { partition_of(key, partitions) } else { record.partition % partitions };
        record
    });
    case.records = with_offsets(records);
    None
}

/// The records with the offsets that they get in this order.
fn with_offsets(records: impl Iterator<Item = Record>) -> Vec<Record> {
    let mut offsets: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let place = |mut record: Record| {
        let next = offsets.entry((record.topic.clone(), record.partition)).or_insert(0);
        record.offset = *next;
        *next += 1;
        record
    };
    records.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CaseId;

    fn record(partition: i32, offset: i64, key: Option<&str>, value: &str) -> Record {
        let (topic, key) = ("t".to_owned(), key.map(|key| key.as_bytes().to_vec()));
        let value = Some(value.as_bytes().to_vec());
        Record { topic, partition, offset, timestamp: 0, key, value, headers: Vec::new() }
    }

    fn values(records: &[Record]) -> Vec<String> {
        records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned()).collect()
    }

    fn offsets_count_up(records: &[Record]) -> bool {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        records.iter().all(|record| {
            let next = next.entry(record.partition).or_insert(0);
            *next += 1;
            record.offset == *next - 1
        })
    }

    #[test]
    fn a_record_that_is_sent_twice_has_two_offsets() {
        let records = twice(&[record(0, 0, None, "a"), record(1, 0, None, "b"), record(0, 1, None, "c")]);
        assert_eq!(values(&records), ["a", "a", "b", "b", "c", "c"]);
        assert!(offsets_count_up(&records));
    }

    #[test]
    fn the_records_of_a_key_and_those_without_a_key_keep_their_order() {
        let keys = [None, Some("a"), Some("b")].into_iter().cycle();
        let records: Vec<Record> =
            (0..30).zip(keys).map(|(n, key)| record(n % 2, i64::from(n / 2), key, &format!("{n:02}"))).collect();
        for seed in 0..20 {
            let reordered = reordered(&records, seed).expect("there are several keys");
            assert!(offsets_count_up(&reordered));
            assert_ne!(values(&reordered), values(&records));
            let strands = |records: &[Record]| {
                let mut records = records.to_vec();
                records.sort_by(|a, b| strand(a).cmp(&strand(b)));
                values(&records)
            };
            assert_eq!(strands(&reordered), strands(&records), "seed {seed}");
        }
        assert_eq!(reordered(&records, 7), reordered(&records, 7));
        assert_ne!(reordered(&records, 7), reordered(&records, 8));
    }

    #[test]
    fn two_records_change_places_whatever_the_seed() {
        let records = [record(0, 0, Some("a"), "1"), record(0, 1, Some("b"), "2")];
        for seed in 0..20 {
            assert_eq!(values(&reordered(&records, seed).expect("two keys")), ["2", "1"]);
        }
    }

    #[test]
    fn without_two_keys_in_a_partition_there_is_no_other_order() {
        assert_eq!(reordered(&[], 1), None);
        let records = [record(0, 0, Some("a"), "1"), record(1, 0, Some("b"), "2"), record(0, 1, Some("a"), "3")];
        assert_eq!(reordered(&records, 1), None);
    }

    fn case(partitions: i32, lines: &str) -> Case {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("p/c");
        std::fs::create_dir_all(&folder).expect("created");
        let suite = format!("topic = 't'\nkey = '${{id}}'\ngroups = ['g']\n[topics]\nt = {partitions}\nother = 2\n");
        std::fs::write(root.path().join("suite.toml"), suite).expect("written");
        std::fs::write(folder.join("messages.ndjson"), lines).expect("written");
        Case::read(root.path(), &CaseId { protocol: "p".into(), name: "c".into() }).expect("valid")
    }

    #[test]
    fn keys_get_the_partitions_of_kafkas_partitioner_and_given_ones_are_kept() {
        let by_key = (0..20).map(|id| format!("{{\"id\":{id}}}\n")).collect::<Vec<_>>().concat();
        let away = 5 - partition_of(Some(b"7"), 6);
        let given = format!("{{\"$record\":{{\"key\":\"7\",\"value\":1,\"partition\":{away}}}}}\n");
        let mut case = case(6, &(by_key + &given));
        assert_eq!(partition_anew(&mut case, 3), None);
        assert_eq!(case.settings.resources.topics, [("other".to_owned(), 2), ("t".to_owned(), 3)].into());
        let (given, by_key) = case.records.split_last().expect("records");
        assert!(by_key.iter().all(|record| record.partition == partition_of(record.key.as_deref(), 3)));
        assert_eq!(given.partition, away % 3);
        assert!(offsets_count_up(&case.records));
    }

    #[test]
    fn topics_that_have_as_many_partitions_anyway_are_not_changed() {
        let mut case = case(3, "{\"id\":1}\n");
        let records = case.records.clone();
        let why = partition_anew(&mut case, 3).expect("nothing changes");
        assert_eq!((why.as_str(), &case.records), ("the topics of the case have 3 partitions anyway", &records));
    }
}
