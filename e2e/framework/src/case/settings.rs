//! Reads `suite.toml`, `protocol.toml` and `case.toml`. All three have the same keys, and the file nearest to the case
//! takes precedence.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::error::{FixtureError, did_you_mean, with_nearest_key};
use super::ledger::{self, LedgerFile, LedgerRules, Observed};
use super::place::KeyTemplate;
use super::queues::{self, QueueSettings};
use super::redact::{NamePattern, Redaction, Redactions, Said};
use super::subjects::{FurtherSubject, check as check_subjects};
use super::weaker::InOrder;
use crate::stack::{Notification, Resources, Table, namespace};

/// How long a case may take to drain when no file says `timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// What a fixture needs and what is observed, after the three files have been merged.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `topic`: the topic to which messages are sent that name no other.
    pub topic: String,
    /// What is created for the case; the tables and buckets are also observed. `topics`: every topic with its number of
    /// partitions. Dead-letter and output topics that are not named there get one partition. `tables`: DynamoDB tables,
    /// each with its `partition_key` and, if it has them, `sort_key` and `indexes`. `buckets`: S3 buckets.
    pub resources: Resources,
    /// `key`: the template of the message key, filled in from the message's top-level fields, such as `${id}`. Without
    /// it keys are null.
    pub key: Option<KeyTemplate>,
    /// `args`: the arguments of the suite's own subject. Another command (`--subject`) does not get them. In `args`, in
    /// the values of `env` and in `groups`, `${namespace}` stands for the prefix of the names of topics, tables and
    /// buckets on services that tests share.
    pub args: Vec<String>,
    /// `subjects`: the processes that belong to the pipeline beside the subject itself. They are started with it, in
    /// this order, and have the same environment.
    pub subjects: Vec<FurtherSubject>,
    /// `afterwards`: the programs that are run, one after the other, when the pipeline has drained and ended, before
    /// anything is observed. They have the same environment.
    pub afterwards: Vec<FurtherSubject>,
    /// `env`: environment variables of the subject, in addition to the stack's endpoints.
    pub env: BTreeMap<String, String>,
    /// `env_when_restarted`: variables that override `env` on schedules that start the subject more than once. A member
    /// that was killed blocks its consumer group for a whole session timeout; with librdkafka's mock cluster, a member
    /// that left does so too. These schedules therefore need a short session timeout, and the plain schedule a long
    /// one.
    pub env_when_restarted: BTreeMap<String, String>,
    /// `variants`: the environment of the subject under each schedule `variant:NAME`, which overrides `env`.
    pub variants: BTreeMap<String, BTreeMap<String, String>>,
    /// `objects`: how S3 objects are observed.
    pub objects: Objects,
    /// `unobserved_objects`: what the pipeline keeps in S3 for itself, such as the state of its own work, each as
    /// `bucket/prefix` of its keys.
    pub unobserved_objects: Vec<String>,
    /// `depends_on_objects`: which snapshots also depend on where one object of the pipeline ends and the next one begins,
    /// each by the beginning of its name, with the reason. Schedules that move these bounds do not compare them.
    pub depends_on_objects: BTreeMap<String, String>,
    /// `output_topics`: the topics to observe to which the pipeline sends what it makes of messages.
    pub output_topics: Vec<String>,
    /// `dead_letters`: the dead-letter topics to observe.
    pub dead_letters: Vec<String>,
    /// `redact` and `redact_names`, joined over the files: what varies from run to run by the pipeline's design.
    pub redactions: Redactions,
    /// `ledger`: where rows come from, and what has to account for each; `None` without a ledger.
    pub ledger: Option<LedgerRules>,
    /// `groups`: the consumer groups that have to commit the end of every partition that has records.
    pub groups: Vec<String>,
    /// `drained_queues`: the SQS queues that have to be empty, without messages that are hidden or delayed.
    pub drained_queues: Vec<String>,
    /// `timeout`: how long the subject may take until it has drained.
    pub timeout: Duration,
    /// `in_order`: whether each message is sent when the one before it is settled, because what is stored depends on
    /// their order, and between its parts the pipeline does not keep it.
    pub in_order: bool,
    /// The reason that the fixtures give for `in_order`.
    pub in_order_why: Option<String>,
}

/// How S3 objects are observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Objects {
    /// With their names and sizes, and their rows in the order of the names.
    #[default]
    #[serde(rename = "exact")]
    Exact,
    /// The rows of each folder, sorted, whatever objects they are in.
    #[serde(rename = "rows only")]
    RowsOnly,
}

/// One of the three files as it is written. The docs of these fields are stored in the JSON schema; [`Settings`]
/// documents the same keys for code.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// Where messages are sent that name no other topic.
    topic: Option<String>,
    /// Every topic to create, with its number of partitions. Dead-letter and output topics that are not named here get
    /// one partition.
    topics: BTreeMap<String, Partitions>,
    /// Template of the message key over the message's top-level fields, such as `${id}`. Without it keys are null.
    key: Option<KeyTemplate>,
    /// Arguments of the suite's own subject; a command that `--subject` names does not get them.
    args: Option<Vec<String>>,
    /// Processes that belong to the pipeline beside the subject itself. They are started with it, in this order, with
    /// the same environment.
    subjects: Option<Vec<FurtherSubject>>,
    /// Programs that are run, one after the other, when the pipeline has drained and ended, before anything is observed,
    /// such as one that builds tables of what was stored. They have the same environment, and have to end with status 0.
    afterwards: Option<Vec<FurtherSubject>>,
    /// Environment of the subject, beside the addresses of the services. `${namespace}` in a value is what stands before the names of
    /// topics, tables and buckets on services that tests share.
    env: BTreeMap<String, String>,
    /// Over `env` on schedules that start the subject more than once, such as a short session timeout.
    env_when_restarted: BTreeMap<String, String>,
    /// Other settings of the subject, such as the size of its batches, under which it has to store the same. Each of them
    /// is a schedule, `variant:NAME`.
    variants: BTreeMap<String, Variant>,
    /// DynamoDB tables to create and observe.
    tables: BTreeMap<String, Keys>,
    /// S3 buckets to create and observe.
    buckets: Option<Vec<String>>,
    /// SQS queues to create and observe.
    queues: BTreeMap<String, QueueSettings>,
    /// Which queues are told of new objects in which buckets.
    notifications: Option<Vec<Notification>>,
    /// Databases of the Glue catalog to create and observe.
    databases: Option<Vec<String>>,
    /// How S3 objects are observed: `exact`, with their names and sizes and the order of their rows, or `rows only`, for
    /// a pipeline whose objects depend on the time.
    objects: Option<Objects>,
    /// Objects that are not observed because the pipeline keeps them for itself, each as `bucket/prefix` of their keys.
    unobserved_objects: Option<Vec<String>>,
    /// Snapshots that also depend on where one object of the pipeline ends and the next one begins, each by the beginning
    /// of its name, with the reason. Schedules that move these bounds do not compare them.
    depends_on_objects: BTreeMap<String, String>,
    /// Topics to create and observe to which the pipeline sends what it makes of messages.
    output_topics: Option<Vec<String>>,
    /// Dead-letter topics to create and observe.
    dead_letters: Option<Vec<String>>,
    /// Consumer groups that have to commit the end of every partition that has records.
    groups: Option<Vec<String>>,
    /// SQS queues that have to be empty for a run to have drained, without messages that are hidden or delayed.
    drained_queues: Option<Vec<String>>,
    /// How long the subject may take until it has drained, such as `500ms`, `20s` or `2m`.
    timeout: Option<Timeout>,
    /// Why each message is sent when the one before it is settled, for cases whose result depends on the order of messages
    /// where the pipeline does not keep it, as events of S3 do not; `false` takes back what a farther file says.
    in_order: Option<InOrder>,
    /// What the case is about, for people.
    pub(super) description: Option<String>,
    /// Part of a line that the subject prints when it fails, as this case expects.
    pub(super) expect_failure: Option<String>,
    /// With `expect_failure`: whether what the pipeline stored before it failed is compared with the snapshots.
    pub(super) compare_outputs: Option<bool>,
    /// Whether the case expects that nothing is observed. Needs `why`.
    pub(super) expect_nothing: Option<bool>,
    /// Why nothing is expected to be observed.
    pub(super) why: Option<String>,
    /// The count ledger: where rows come from, and what has to account for each of them.
    ledger: Option<LedgerFile>,
    /// Values that vary from run to run by the pipeline's design, such as `$.items[*].ingested_at`.
    redact: Vec<Redaction>,
    /// What varies in the names of objects and in the locations of the catalog's partitions, as regular expressions, such as
    /// `[0-9a-f]{8}-[0-9a-f-]{27}`.
    redact_names: Vec<NamePattern>,
}

/// The keys that only a `case.toml` may have, because they concern one case.
#[cfg(test)]
pub(super) const KEYS_OF_A_CASE: [&str; 4] = ["expect_failure", "compare_outputs", "expect_nothing", "why"];

/// A number of partitions, 1 to 1000.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "i32")]
struct Partitions(i32);

impl TryFrom<i32> for Partitions {
    type Error = String;

    fn try_from(partitions: i32) -> Result<Self, String> {
        if (1..=1000).contains(&partitions) {
            Ok(Self(partitions))
        } else {
            Err(format!("{partitions} partitions; a topic has 1 to 1000"))
        }
    }
}

/// A variant of the subject.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Variant {
    /// Environment of the subject, over `env`.
    env: BTreeMap<String, String>,
}

/// The key of a table.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Keys {
    partition_key: Attribute,
    sort_key: Option<Attribute>,
    /// Attributes that are the partition key of a global secondary index each.
    #[serde(default)]
    indexes: Vec<Attribute>,
}

/// The name of a key attribute of type S, else `name:N` or `name:B`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
struct Attribute(String, String);

impl TryFrom<String> for Attribute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, kind) = text.rsplit_once(':').unwrap_or((&text, "S"));
        if name.is_empty() || !["S", "N", "B"].contains(&kind) {
            return Err(format!("`{text}`: a key attribute is `name`, `name:S`, `name:N` or `name:B`"));
        }
        Ok(Self(name.to_owned(), kind.to_owned()))
    }
}

/// A time, written `500ms`, `20s` or `2m`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
struct Timeout(#[cfg_attr(test, schemars(with = "String"))] Duration);

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let scale = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => 0,
        };
        match text[..digits].parse::<u64>() {
            Ok(number) if number > 0 && scale > 0 => Ok(Self(Duration::from_millis(number * scale))),
            _ => Err(format!("`{text}`: a time is written `500ms`, `20s` or `2m`")),
        }
    }
}

impl File {
    /// Reads a file. A file that does not exist sets nothing.
    pub(super) fn read(path: &Path) -> Result<Self, FixtureError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(FixtureError::io(path, "read", &error)),
        };
        toml::from_str(&text).map_err(|error: toml::de::Error| FixtureError {
            path: path.to_owned(),
            line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            problem: with_nearest_key(error.message()),
        })
    }

    /// Refuses the keys that only a `case.toml` may have.
    pub(super) fn shared(self, path: &Path) -> Result<Self, FixtureError> {
        let key = match &self {
            File { expect_failure: Some(_), .. } => "expect_failure",
            File { compare_outputs: Some(_), .. } => "compare_outputs",
            File { expect_nothing: Some(_), .. } => "expect_nothing",
            File { why: Some(_), .. } => "why",
            _ => return Ok(self),
        };
        Err(FixtureError::new(path, format!("`{key}` belongs into the case.toml of the one case it is about")))
    }
}

impl Settings {
    /// The settings with the stack's namespace filled in where the subject sees it: in `args`, `env`,
    /// `env_when_restarted`, `variants`, `groups` and further programs.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let fill_in = |text: &String| namespace::fill_in(text, namespace);
        let variables = |env: &BTreeMap<String, String>| env.iter().map(|(k, v)| (k.clone(), fill_in(v))).collect();
        Self {
            args: self.args.iter().map(fill_in).collect(),
            env: variables(&self.env),
            env_when_restarted: variables(&self.env_when_restarted),
            variants: self.variants.iter().map(|(name, env)| (name.clone(), variables(env))).collect(),
            subjects: self.subjects.iter().map(|subject| subject.within(namespace)).collect(),
            afterwards: self.afterwards.iter().map(|program| program.within(namespace)).collect(),
            groups: self.groups.iter().map(|group| namespace::group(group, namespace)).collect(),
            ..self.clone()
        }
    }

    /// Merges the files, which are ordered from the farthest to the nearest. `path` is the nearest file, which errors
    /// about missing settings name.
    pub(super) fn merge(files: [&File; 3], path: &Path) -> Result<Self, FixtureError> {
        let mut settings = Settings { timeout: DEFAULT_TIMEOUT, ..Self::default() };
        let mut tables = BTreeMap::new();
        for (file, by_case) in files.into_iter().zip([false, false, true]) {
            replace(&mut settings.topic, file.topic.as_ref());
            replace(&mut settings.args, file.args.as_ref());
            replace(&mut settings.subjects, file.subjects.as_ref());
            replace(&mut settings.afterwards, file.afterwards.as_ref());
            replace(&mut settings.resources.buckets, file.buckets.as_ref());
            replace(&mut settings.resources.databases, file.databases.as_ref());
            replace(&mut settings.resources.notifications, file.notifications.as_ref());
            replace(&mut settings.objects, file.objects.as_ref());
            replace(&mut settings.unobserved_objects, file.unobserved_objects.as_ref());
            replace(&mut settings.output_topics, file.output_topics.as_ref());
            replace(&mut settings.dead_letters, file.dead_letters.as_ref());
            replace(&mut settings.groups, file.groups.as_ref());
            replace(&mut settings.drained_queues, file.drained_queues.as_ref());
            replace(&mut settings.timeout, file.timeout.map(|timeout| timeout.0).as_ref());
            if let Some(in_order) = &file.in_order {
                let why = in_order.reason().map_err(|problem| FixtureError::new(path, problem))?;
                settings.in_order = why.is_some();
                settings.in_order_why = why.map(str::to_owned);
            }
            settings.key = file.key.clone().or(settings.key);
            settings.resources.topics.extend(file.topics.iter().map(|(name, partitions)| (name.clone(), partitions.0)));
            settings.env.extend(file.env.clone());
            settings.depends_on_objects.extend(file.depends_on_objects.clone());
            settings.env_when_restarted.extend(file.env_when_restarted.clone());
            for (name, variant) in &file.variants {
                settings.variants.entry(name.clone()).or_default().extend(variant.env.clone());
            }
            tables.extend(file.tables.iter());
            settings.redactions.values.extend(file.redact.iter().map(|what| Said { what: what.clone(), by_case }));
            settings.redactions.names.extend(file.redact_names.iter().map(|what| Said { what: what.clone(), by_case }));
        }
        settings.resources.queues =
            queues::merge(files.map(|file| &file.queues)).map_err(|problem| FixtureError::new(path, problem))?;
        settings.resources.tables = tables
            .into_iter()
            .map(|(name, keys)| {
                let attribute = |Attribute(name, kind): &Attribute| (name.clone(), kind.clone());
                Table {
                    name: name.clone(),
                    partition_key: attribute(&keys.partition_key),
                    sort_key: keys.sort_key.as_ref().map(attribute),
                    indexes: keys.indexes.iter().map(attribute).collect(),
                }
            })
            .collect();
        for topic in settings.dead_letters.iter().chain(&settings.output_topics) {
            settings.resources.topics.entry(topic.clone()).or_insert(1);
        }
        if let Some(topic) = settings.output_topics.iter().find(|topic| settings.dead_letters.contains(topic)) {
            let problem =
                format!("`{topic}` is among `output_topics` and among `dead_letters`; name it in one of them");
            return Err(FixtureError::new(path, problem));
        }
        check_subjects(&[&settings.subjects[..], &settings.afterwards].concat())
            .and_then(|()| queues::check(&settings.resources, &settings.drained_queues, &settings.unobserved_objects))
            .map_err(|problem| FixtureError::new(path, problem))?;
        let observed = Observed { resources: &settings.resources, dead_letters: &settings.dead_letters };
        settings.ledger = ledger::merge(files.map(|file| file.ledger.as_ref()), &observed)
            .map_err(|problem| FixtureError::new(path, problem))?;
        if let Some((name, _)) = settings.depends_on_objects.iter().find(|(_, why)| why.trim().is_empty()) {
            let problem = format!("`depends_on_objects` has `{name}` without a reason; write why as its value");
            return Err(FixtureError::new(path, problem));
        }
        if settings.topic.is_empty() {
            return Err(FixtureError::new(
                path,
                "no `topic`, here or in protocol.toml or suite.toml: where are the messages sent?",
            ));
        }
        settings.partitions(&settings.topic).map_err(|problem| FixtureError::new(path, problem))?;
        Ok(settings)
    }

    /// The environment of a variant; an error if no file has it.
    pub(crate) fn variant(&self, name: &str) -> Result<&BTreeMap<String, String>, String> {
        self.variants.get(name).ok_or_else(|| {
            let near = did_you_mean(name, self.variants.keys().map(String::as_str));
            format!("the schedule variant:{name} needs [variants.{name}], here or in protocol.toml or suite.toml{near}")
        })
    }

    /// The number of partitions of a topic to which messages are sent; an error if no file names the topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32, String> {
        let topics = &self.resources.topics;
        topics.get(topic).copied().ok_or_else(|| {
            let near = did_you_mean(topic, topics.keys().map(String::as_str));
            format!("`topic` is `{topic}`, which is not among `topics`{near}")
        })
    }
}

fn replace<T: Clone>(value: &mut T, nearer: Option<&T>) {
    if let Some(nearer) = nearer {
        value.clone_from(nearer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        toml::from_str(text).expect("valid")
    }

    #[test]
    fn the_nearer_file_wins_and_maps_are_joined() {
        let suite = file(
            "topic = 'a'\ngroups = ['g']\nenv = { X = '1', Y = '1' }\n[topics]\na = 2\n[tables.t]\npartition_key = 'pk'",
        );
        let protocol = file("key = '${id}'\nenv = { Y = '2' }");
        let case = file(
            "timeout = '3s'\ndead_letters = ['d']\n[tables.u]\npartition_key = 'id:N'\nsort_key = 'at'\nindexes = ['speed:N']",
        );
        let settings = Settings::merge([&suite, &protocol, &case], Path::new("case.toml")).expect("complete");
        assert_eq!(settings.env, [("X", "1"), ("Y", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(settings.resources.topics, [("a".to_owned(), 2), ("d".to_owned(), 1)].into());
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(settings.resources.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["t", "u"]);
        assert_eq!(settings.resources.tables[1].partition_key, ("id".to_owned(), "N".to_owned()));
        assert_eq!(settings.resources.tables[1].indexes, [("speed".to_owned(), "N".to_owned())]);
        assert!(settings.key.is_some());
    }

    #[test]
    fn redactions_of_all_files_are_joined_and_those_of_the_case_are_known() {
        let suite = file(
            "topic = 'a'\nobjects = 'rows only'\nredact = ['$.rows[*].at']\nredact_names = ['\\d+']\n[topics]\na = 1",
        );
        let case = file("objects = 'exact'\nredact = ['$.items[*].at']");
        let settings = Settings::merge([&suite, &File::default(), &case], Path::new("case.toml")).expect("complete");
        let said: Vec<_> = settings.redactions.values.iter().map(|s| (s.what.to_string(), s.by_case)).collect();
        assert_eq!(said, [("$.rows[*].at".to_owned(), false), ("$.items[*].at".to_owned(), true)]);
        assert_eq!(settings.redactions.names.len(), 1);
        assert_eq!(settings.objects, Objects::Exact);
    }

    #[test]
    fn an_output_topic_has_one_partition_unless_it_is_said_and_holds_no_dead_letters() {
        let suite = file("topic = 'a'\noutput_topics = ['b', 'c']\n[topics]\na = 1\nb = 3");
        let merge = |case: &File| Settings::merge([&suite, &File::default(), case], Path::new("case.toml"));
        let settings = merge(&File::default()).expect("complete");
        assert_eq!(settings.resources.topics, [("a", 1), ("b", 3), ("c", 1)].map(|(t, n)| (t.to_owned(), n)).into());
        let error = merge(&file("dead_letters = ['c']")).expect_err("both");
        assert!(error.problem.contains("`c` is among `output_topics` and among `dead_letters`"), "{error}");
    }

    #[test]
    fn a_variant_is_joined_over_the_files_and_one_that_no_file_has_is_refused() {
        let suite =
            file("topic = 'a'\n[topics]\na = 1\n[variants.small-batches]\nenv = { SIZE = '1', TO = '${namespace}t' }");
        let case = file("[variants.small-batches]\nenv = { SIZE = '2' }");
        let settings = Settings::merge([&suite, &File::default(), &case], Path::new("case.toml")).expect("complete");
        let within = settings.within("e2e-1-");
        let variables = within.variant("small-batches").expect("there is one");
        assert_eq!((variables["SIZE"].as_str(), variables["TO"].as_str()), ("2", "e2e-1-t"));
        let error = settings.variant("small-batch").expect_err("no file has it");
        assert!(error.contains("needs [variants.small-batch]") && error.contains("`small-batches`"), "{error}");
    }

    #[test]
    fn the_namespace_is_filled_in_for_the_subject_alone() {
        let suite = file(
            "topic = 'a'\ngroups = ['connect-${namespace}s3']\nargs = ['${namespace}x']\nenv = { T = '${namespace}t' }\n[topics]\na = 1",
        );
        let settings =
            Settings::merge([&suite, &File::default(), &File::default()], Path::new("case.toml")).expect("complete");
        let within = settings.within("e2e-1-");
        assert_eq!((within.groups, within.args), (vec!["connect-e2e-1-s3".to_owned()], vec!["e2e-1-x".to_owned()]));
        assert_eq!((within.env["T"].as_str(), within.topic.as_str()), ("e2e-1-t", "a"));
        assert_eq!(settings.within("").env["T"], "t");
    }

    #[test]
    fn a_typo_names_file_line_and_nearest_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("case.toml");
        for (text, line, says) in [
            ("description = 'x'\nexpect_failur = 'y'\n", 2, "did you mean `expect_failure`?"),
            ("\n\ntimeout = 'soon'\n", 3, "`500ms`, `20s` or `2m`"),
            ("[topics]\na = 0\n", 2, "1 to 1000"),
            ("key = '${id'\n", 1, "without its `}`"),
            ("[tables.t]\npartition_key = 'pk:X'\n", 2, "`name:N`"),
            ("objects = 'rows'\n", 1, "expected `exact` or `rows only`"),
            ("redact_names = ['[0-9']\n", 1, "unclosed character class"),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = File::read(&path).expect_err(text);
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_topic_that_is_not_created_is_refused() {
        let suite = file("topic = 'fms.vehicle.rael'\n[topics]\n'fms.vehicle.real' = 2");
        let error =
            Settings::merge([&suite, &File::default(), &File::default()], Path::new("case.toml")).expect_err("unknown");
        assert!(error.problem.contains("did you mean `fms.vehicle.real`?"), "{error}");
    }

    #[test]
    fn what_belongs_to_one_case_is_refused_elsewhere() {
        let error = file("expect_nothing = true").shared(Path::new("suite.toml")).expect_err("not shared");
        assert!(error.problem.contains("`expect_nothing` belongs into the case.toml"), "{error}");
    }
}
