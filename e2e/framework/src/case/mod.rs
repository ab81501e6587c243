//! Reads and checks a fixture folder: what to send, what to observe and what to expect.

mod catalog;
mod error;
mod ledger;
mod messages;
mod place;
mod queued;
mod queues;
mod redact;
#[cfg(test)]
mod schema;
mod seed;
mod settings;
mod subjects;
mod weaker;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use catalog::SeedTable;
pub(crate) use error::FixtureError;
use error::did_you_mean;
pub(crate) use ledger::{Account, LedgerRules, Repeats};
use messages::{Key, Message};
pub use place::partition_of;
pub(crate) use queued::SeedMessage;
pub(crate) use redact::{NamePattern, Place, Redaction, Redactions, Said, Target, is_request_id};
pub(crate) use seed::SeedObject;
use settings::File;
pub(crate) use settings::{Objects, Settings};
pub(crate) use weaker::Weaker;

use crate::stack::Record;

/// The timestamp of a case's first record, 2023-01-01T00:00:00Z in milliseconds since the Unix epoch. The n-th record
/// after it is n milliseconds later. A record that gives its own timestamp keeps that.
pub const BASE_TIMESTAMP: i64 = 1_672_531_200_000;

/// The largest record that topics and producers accept: the bytes of its key and value together.
pub(crate) const MAX_RECORD_BYTES: usize = 4 << 20;

/// What a case folder may contain, apart from Markdown and hidden files. Anything else is refused, because a misspelt
/// name would be ignored silently.
const ENTRIES: [&str; 7] = ["case.toml", "messages.ndjson", "messages", "objects", "queues", "catalog", "snapshots"];

/// The name of a case, shown as `protocol::name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId {
    /// The folder below `fixtures/`.
    pub protocol: String,
    /// The folder below that.
    pub name: String,
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.protocol, self.name)
    }
}

impl CaseId {
    /// The folder of this case.
    pub fn folder(&self, fixtures: &Path) -> PathBuf {
        fixtures.join(&self.protocol).join(&self.name)
    }
}

/// What a case expects of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The pipeline drains and leaves something that is observed.
    Output,
    /// The pipeline drains and leaves nothing that is observed.
    Nothing {
        /// The reason, from `why`.
        why: String,
    },
    /// The pipeline ends or does not drain, and prints this text.
    Failure {
        /// `expect_failure`: a part of a line of its log.
        text: String,
        /// `compare_outputs`: whether what it stored before that is observed and compared. Otherwise it is not, because
        /// it may depend on when the pipeline stopped.
        outputs: bool,
    },
}

/// A fixture, read and checked.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name of the case.
    pub id: CaseId,
    /// The folder of the case.
    pub folder: PathBuf,
    /// The `description` of the case, for people.
    pub description: Option<String>,
    /// What the case needs and what is observed.
    pub settings: Settings,
    /// What the case expects of the pipeline.
    pub expectation: Expectation,
    /// The records to send, in order, each with its partition and its expected offset.
    pub records: Vec<Record>,
    /// The objects that are put into S3 before the pipeline starts.
    pub objects: Vec<SeedObject>,
    /// The messages that are put on queues before the pipeline starts, after the objects.
    pub queued: Vec<SeedMessage>,
    /// The Glue tables that are created before the pipeline starts.
    pub tables: Vec<SeedTable>,
}

impl Case {
    /// Reads `fixtures/<protocol>/<case>/` and the two files with defaults above it. No other fixture is read.
    pub fn read(fixtures: &Path, id: &CaseId) -> Result<Self, FixtureError> {
        let folder = id.folder(fixtures);
        check_entries(&folder)?;
        let suite_path = fixtures.join("suite.toml");
        let protocol_path = fixtures.join(&id.protocol).join("protocol.toml");
        let case_path = folder.join("case.toml");
        let suite = File::read(&suite_path)?.shared(&suite_path)?;
        let protocol = File::read(&protocol_path)?.shared(&protocol_path)?;
        let case = File::read(&case_path)?;
        let settings = Settings::merge([&suite, &protocol, &case], &case_path)?;
        let expectation = expectation(&case, &case_path)?;
        check_snapshots(&folder.join("snapshots"), &expectation)?;
        let objects = seed::read(&folder.join("objects"), &settings.resources.buckets)?;
        let names = settings.resources.queues.keys().map(String::as_str);
        let queued = queued::read(&folder.join("queues"), names)?;
        let tables = catalog::read(&folder.join("catalog"), &settings.resources.databases)?;
        let drains = !settings.groups.is_empty() || !settings.drained_queues.is_empty();
        if !drains && !matches!(expectation, Expectation::Failure { .. }) {
            let problem = "no `groups` and no `drained_queues`, here or in protocol.toml or suite.toml: whose committed \
                           offsets, or which queue, say that it has drained?";
            return Err(FixtureError::new(&case_path, problem));
        }
        let (source, messages) = read_messages(&folder, !objects.is_empty() || !queued.is_empty())?;
        Ok(Self {
            records: place(&source, messages, &settings)?,
            objects,
            queued,
            tables,
            expectation,
            description: case.description,
            id: id.clone(),
            folder,
            settings,
        })
    }

    /// The folder of its snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.folder.join("snapshots")
    }

    /// The topics that this case sends records to.
    pub fn topics(&self) -> BTreeSet<&str> {
        self.records.iter().map(|record| record.topic.as_str()).collect()
    }

    /// The end of every partition that this case sends records to, when they are sent once to empty topics.
    pub fn ends(&self) -> BTreeMap<(String, i32), i64> {
        let mut ends = BTreeMap::new();
        for record in &self.records {
            *ends.entry((record.topic.clone(), record.partition)).or_insert(0) += 1;
        }
        ends
    }
}

fn check_entries(folder: &Path) -> Result<(), FixtureError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for entry in entries.map_err(|error| FixtureError::io(folder, "list", &error))? {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let known = ENTRIES.contains(&name.as_ref())
            || name.starts_with('.')
            || Path::new(name.as_ref()).extension().is_some_and(|e| e == "md");
        if !known {
            let near = did_you_mean(&name, ENTRIES);
            let problem = format!(
                "a fixture folder holds `case.toml`, `messages.ndjson` or `messages/`, `objects/`, `queues/`, \
                 `catalog/`, `snapshots/` and Markdown{near}"
            );
            return Err(FixtureError::new(&entry.path(), problem));
        }
    }
    Ok(())
}

/// Reads the messages, which may be absent if the case has objects, or messages on queues.
fn read_messages(folder: &Path, has_others: bool) -> Result<(PathBuf, Vec<Message>), FixtureError> {
    let (lines, files) = (folder.join("messages.ndjson"), folder.join("messages"));
    match (lines.exists(), files.exists()) {
        (true, false) => messages::read_lines(&lines).map(|messages| (lines, messages)),
        (false, true) => messages::read_files(&files).map(|messages| (files, messages)),
        (true, true) => Err(FixtureError::new(folder, "has both `messages.ndjson` and `messages/`; keep one of them")),
        (false, false) if has_others => Ok((lines, Vec::new())),
        (false, false) => {
            let problem = "has no messages: write `messages.ndjson` (one message a line) or put one message a file into `messages/`";
            Err(FixtureError::new(folder, problem))
        }
    }
}

/// Refuses snapshots that would not be compared.
fn check_snapshots(folder: &Path, expectation: &Expectation) -> Result<(), FixtureError> {
    let has_files = || std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if matches!(expectation, Expectation::Failure { outputs: false, .. }) && has_files() {
        let problem = "the case expects a failure, so nothing is compared with these snapshots; write \
                       `compare_outputs = true` in case.toml if it should be, else delete them";
        return Err(FixtureError::new(folder, problem));
    }
    Ok(())
}

fn expectation(case: &File, path: &Path) -> Result<Expectation, FixtureError> {
    if case.compare_outputs.is_some() && case.expect_failure.is_none() {
        let problem =
            "`compare_outputs` belongs to `expect_failure`; the outputs of every other case are compared anyway";
        return Err(FixtureError::new(path, problem));
    }
    match (&case.expect_failure, case.expect_nothing.unwrap_or(false), &case.why) {
        (None, false, None) => Ok(Expectation::Output),
        (None, true, Some(why)) if !why.trim().is_empty() => Ok(Expectation::Nothing { why: why.clone() }),
        (None, true, _) => {
            Err(FixtureError::new(path, "`expect_nothing` needs a `why`: a case that observes nothing proves little"))
        }
        (Some(text), false, None) if !text.trim().is_empty() => {
            Ok(Expectation::Failure { text: text.clone(), outputs: case.compare_outputs.unwrap_or(false) })
        }
        (Some(_), false, None) => {
            Err(FixtureError::new(path, "`expect_failure` is empty; write what the pipeline has to say"))
        }
        (Some(_), true, _) => Err(FixtureError::new(path, "`expect_failure` and `expect_nothing` exclude each other")),
        (_, false, Some(_)) => Err(FixtureError::new(path, "`why` belongs to `expect_nothing`; use `description`")),
    }
}

/// Makes a record of every message: decides its topic, key, partition, expected offset and timestamp.
fn place(source: &Path, messages: Vec<Message>, settings: &Settings) -> Result<Vec<Record>, FixtureError> {
    let mut offsets = BTreeMap::new();
    let mut records = Vec::with_capacity(messages.len());
    for (timestamp, message) in (BASE_TIMESTAMP..).zip(messages) {
        let wrong = |problem: String| FixtureError::at(source, message.line, problem);
        let topic = message.topic.unwrap_or_else(|| settings.topic.clone());
        let partitions = settings.partitions(&topic).map_err(wrong)?;
        let key = match message.key {
            Key::Given(key) => key,
            Key::Template => settings.key.as_ref().and_then(|key| key.render(message.value.as_deref())),
        };
        let partition = message.partition.unwrap_or_else(|| partition_of(key.as_deref(), partitions));
        if !(0..partitions).contains(&partition) {
            return Err(wrong(format!("partition {partition}: topic `{topic}` has {partitions}, numbered from 0")));
        }
        let bytes = key.as_ref().map_or(0, Vec::len) + message.value.as_ref().map_or(0, Vec::len);
        if bytes > MAX_RECORD_BYTES {
            let problem = format!("a record of {bytes} bytes; topics and producers take up to {MAX_RECORD_BYTES}");
            return Err(wrong(problem));
        }
        let next: &mut i64 = offsets.entry((topic.clone(), partition)).or_insert(0);
        records.push(Record {
            topic,
            partition,
            offset: *next,
            timestamp: message.timestamp.unwrap_or(timestamp),
            key,
            value: message.value,
            headers: message.headers,
        });
        *next += 1;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Case, FixtureError>) {
        let root = tempfile::tempdir().expect("a folder");
        let suite = "topic = 't'\nkey = '${id}'\ngroups = ['g']\n[topics]\nt = 4\n";
        for (name, text) in [("suite.toml", suite)].iter().chain(files) {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        let id = CaseId { protocol: "p".into(), name: "c".into() };
        let case = Case::read(root.path(), &id);
        (root, case)
    }

    #[test]
    fn records_are_placed_by_key_and_timed_from_the_base() {
        let (_root, case) = fixture(&[("p/c/messages.ndjson", "{\"id\":21}\n{\"id\":21}\nnot json\n")]);
        let records = case.expect("valid").records;
        let expected = partition_of(Some(b"21"), 4);
        assert_eq!(
            records.iter().map(|r| (r.partition, r.offset)).collect::<Vec<_>>()[..2],
            [(expected, 0), (expected, 1)]
        );
        assert_eq!((records[2].key.as_ref(), records[2].partition), (None, 0));
        assert_eq!(records[1].timestamp, BASE_TIMESTAMP + 1);
    }

    #[test]
    fn a_record_may_go_to_another_topic_which_has_partitions_and_offsets_of_its_own() {
        let lines = "{\"id\":21}\n{\"$record\":{\"topic\":\"u\",\"value\":{\"id\":21}}}\n{\"id\":21}\n";
        let topics = ("p/protocol.toml", "[topics]\nu = 1\n");
        let (_root, case) = fixture(&[topics, ("p/c/messages.ndjson", lines)]);
        let case = case.expect("valid");
        let of_key = partition_of(Some(b"21"), 4);
        let placed: Vec<_> = case.records.iter().map(|r| (r.topic.as_str(), r.partition, r.offset)).collect();
        assert_eq!(placed, [("t", of_key, 0), ("u", 0, 0), ("t", of_key, 1)]);
        assert_eq!(case.records[1].key.as_deref(), Some(&b"21"[..]));
        assert_eq!(case.topics(), ["t", "u"].into());
        let unknown = "{}\n{\"$record\":{\"topic\":\"uu\",\"value\":1}}\n";
        let (_root, case) = fixture(&[("p/protocol.toml", "[topics]\nuuu = 1\n"), ("p/c/messages.ndjson", unknown)]);
        let error = case.expect_err("no such topic").to_string();
        assert!(
            error.contains("messages.ndjson:2: `topic` is `uu`") && error.contains("did you mean `uuu`?"),
            "{error}"
        );
    }

    #[test]
    fn files_are_sent_byte_for_byte_in_name_order() {
        let (_root, case) = fixture(&[("p/c/messages/2.json", "b\n"), ("p/c/messages/1.bin", "a")]);
        let values: Vec<_> = case.expect("valid").records.into_iter().map(|r| r.value.expect("a value")).collect();
        assert_eq!(values, [b"a".to_vec(), b"b\n".to_vec()]);
    }

    #[test]
    fn what_is_missing_or_misspelt_is_said() {
        let message = ("p/c/messages.ndjson", "{}");
        for (files, says) in [
            (&[("p/c/case.toml", "")][..], "has no messages"),
            (&[("p/c/mesages.ndjson", "{}")], "did you mean `messages.ndjson`?"),
            (&[message, ("p/c/messages/1", "{}")], "keep one of them"),
            (&[("p/c/messages.ndjson", "")], "is empty"),
            (&[("p/c/messages.ndjson", "{}\n\n{}")], "messages.ndjson:2: an empty line"),
            (&[("p/c/messages/sub/1", "{}")], "a folder among messages"),
            (&[message, ("p/c/case.toml", "expect_nothing = true")], "needs a `why`"),
            (&[message, ("p/c/case.toml", "expect_failure = ''")], "is empty"),
            (&[message, ("p/c/case.toml", "compare_outputs = true")], "belongs to `expect_failure`"),
            (
                &[message, ("p/c/case.toml", "expect_failure = 'x'"), ("p/c/snapshots/a.snap", "")],
                "nothing is compared with these snapshots",
            ),
            (&[message, ("p/protocol.toml", "groups = []")], "no `groups`"),
            (&[message, ("p/protocol.toml", "[depends_on_objects]\nglue__ = ''")], "has `glue__` without a reason"),
            (&[message, ("p/protocol.toml", "in_order = true")], "`in_order` has no reason"),
            (&[message, ("p/protocol.toml", "in_order = ' '")], "`in_order` has no reason"),
            (&[message, ("p/protocol.toml", "in_order = 1")], "write why, as a text, or `false`"),
            (&[message, ("p/protocol.toml", "why = 'x'")], "belongs into the case.toml"),
            (&[("p/c/messages.ndjson", "{\"$record\":{\"value\":1,\"partition\":4}}")], "has 4, numbered from 0"),
        ] {
            let (_root, case) = fixture(files);
            let error = case.expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_a_case_does_not_demand_is_listed_with_its_reason() {
        let message = ("p/c/messages.ndjson", "{}");
        let protocol = "in_order = 'S3 keeps no order.'\n[depends_on_objects]\nglue__ = 'It counts objects.'\n\
                        [ledger.accounts.items]\ndead_letters = ['d']\n[ledger.exceptions]\nitems = 'There is none.'\n";
        let protocol = format!("dead_letters = ['d']\n{protocol}");
        let weaker = |case: &str| {
            let (_root, case) = fixture(&[message, ("p/protocol.toml", &protocol), ("p/c/case.toml", case)]);
            let settings = case.expect("valid").settings;
            let all: Vec<String> = settings.weaker().iter().map(|w| format!("{}: {}", w.what, w.why)).collect();
            (settings.in_order, all)
        };
        let (in_order, all) = weaker("");
        assert!(in_order);
        assert_eq!(
            all,
            [
                "the account items is not kept: There is none.",
                "glue__* is not compared under schedules that move the bounds of objects: It counts objects.",
                "messages are sent one by one under most schedules: S3 keeps no order.",
            ]
        );
        let (in_order, all) = weaker("in_order = false");
        assert_eq!((in_order, all.len()), (false, 2));
    }

    #[test]
    fn a_record_over_the_limit_is_refused_with_its_line() {
        let long = format!("{{}}\n{}\n", "x".repeat(MAX_RECORD_BYTES + 1));
        let (_root, case) = fixture(&[("p/c/messages.ndjson", &long)]);
        let error = case.expect_err("too long").to_string();
        assert!(error.contains("messages.ndjson:2: a record of 4194305 bytes"), "{error}");
    }
}
