//! What the environment says: the variables of `fms lake poll`, as far as a function needs them.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

use fms_lake::{S3Url, Storage, TimeZone};

/// The beginning of the names of this program's variables.
const OURS: &str = "FMS_LAKE_";
/// What Lambda itself says: the name of the function, and its memory in MiB.
const NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";
const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// The variables that the function reads, apart from those of Lambda, of the AWS SDK and of the log.
pub const VARIABLES: [&str; 17] = [
    "FMS_LAKE_TO",
    "FMS_LAKE_DATABASE",
    "FMS_LAKE_FALLBACK_QUEUE_URL",
    "FMS_LAKE_RAW_PREFIX",
    "FMS_LAKE_TABLE_FIELDS",
    "FMS_LAKE_RAW_KEY_TEMPLATE",
    "FMS_LAKE_TIMESTAMP_FIELD",
    "FMS_LAKE_SORT_FIELDS",
    "FMS_LAKE_TIMEZONE",
    "FMS_LAKE_CONCURRENCY",
    "FMS_LAKE_MEMORY_MIB",
    "FMS_LAKE_MAX_ATTEMPTS",
    "FMS_LAKE_SSE_KMS_KEY_ID",
    "FMS_LAKE_STORAGE_CLASS",
    "FMS_LAKE_TAG",
    "FMS_LAKE_EXPECTED_BUCKET_OWNER",
    "FMS_LAKE_EXPECTED_RAW_BUCKET_OWNER",
];

/// How the function works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the function.
    pub function: String,
    /// The lake.
    pub to: S3Url,
    /// The database of the Glue catalog that has its tables.
    pub database: String,
    /// The URL of the queue that gets what cannot be converted.
    pub fallback_queue: String,
    /// How the keys of raw objects begin.
    pub raw_prefix: String,
    /// How objects are converted.
    pub conversion: Arc<fms_lake::Settings>,
    /// How the lake's files are stored.
    pub storage: Storage,
    /// The account that owns the buckets of the raw objects.
    pub raw_owner: Option<String>,
    /// How many objects are converted at a time.
    pub at_a_time: usize,
    /// How often a message may be received.
    pub max_attempts: u32,
}

impl Settings {
    /// Reads the variables. Gives every problem, each with the name of its variable.
    pub fn read(variables: &[(String, String)]) -> Result<Self, Vec<String>> {
        let mut reader = Reader { variables, problems: Vec::new() };
        reader.unknown();
        let defaults = fms_lake::Settings::default();
        let function = reader.required(NAME, "Lambda sets it; the program runs nowhere else");
        let to = reader.required("FMS_LAKE_TO", "set it to the lake, such as `s3://bucket/prefix`");
        let database = reader.required("FMS_LAKE_DATABASE", "set it to a database of the Glue catalog");
        let fallback_queue =
            reader.required("FMS_LAKE_FALLBACK_QUEUE_URL", "set it to the queue that gets what cannot be converted");
        let raw_prefix = reader.or("FMS_LAKE_RAW_PREFIX", String::new());
        let conversion = fms_lake::Settings {
            table_fields: reader.list("FMS_LAKE_TABLE_FIELDS", defaults.table_fields),
            key_template: reader.value("FMS_LAKE_RAW_KEY_TEMPLATE"),
            time_field: reader.or("FMS_LAKE_TIMESTAMP_FIELD", defaults.time_field),
            sort_fields: reader.list("FMS_LAKE_SORT_FIELDS", defaults.sort_fields),
            zone: reader.zone("FMS_LAKE_TIMEZONE", defaults.zone),
            buffer: defaults.buffer,
        };
        if let Some(unused) = conversion.unused_key_field() {
            let problem =
                format!("has the field `{unused}`, which decides no table; add it to `FMS_LAKE_TABLE_FIELDS`");
            reader.problem("FMS_LAKE_RAW_KEY_TEMPLATE", problem);
        }
        let storage = reader.storage();
        let raw_owner = reader.text("FMS_LAKE_EXPECTED_RAW_BUCKET_OWNER").map(ToOwned::to_owned);
        let at_a_time = reader.at_a_time(conversion.memory());
        let max_attempts = reader.or("FMS_LAKE_MAX_ATTEMPTS", 5);
        if max_attempts == 0 {
            reader.problem("FMS_LAKE_MAX_ATTEMPTS", "is 0, so nothing would ever be converted; allowed: 1 or more");
        }
        match (function, to, database, fallback_queue) {
            (Some(function), Some(to), Some(database), Some(fallback_queue)) if reader.problems.is_empty() => {
                let conversion = Arc::new(conversion);
                Ok(Self {
                    function,
                    to,
                    database,
                    fallback_queue,
                    raw_prefix,
                    conversion,
                    storage,
                    raw_owner,
                    at_a_time,
                    max_attempts,
                })
            }
            _ => Err(reader.problems),
        }
    }
}

/// Reads variables and collects what is wrong with them.
struct Reader<'v> {
    variables: &'v [(String, String)],
    problems: Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, name: &str, problem: impl Display) {
        self.problems.push(format!("environment: `{name}` {problem}"));
    }

    /// A variable that is not read would be taken for one that has an effect.
    fn unknown(&mut self) {
        let unknown = |name: &&str| name.starts_with(OURS) && !VARIABLES.contains(name);
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).filter(unknown).collect();
        for name in names {
            self.problem(name, format_args!("is not read by the function; known: {}", VARIABLES.join(", ")));
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?.to_owned();
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, format_args!("= `{text}`: {error}"));
                None
            }
        }
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str, advice: &str) -> Option<T> {
        if self.text(name).is_none() {
            self.problem(name, format_args!("is not set; {advice}"));
        }
        self.value(name)
    }

    fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> T {
        self.value(name).unwrap_or(default)
    }

    fn list(&self, name: &str, default: Vec<String>) -> Vec<String> {
        self.text(name).map_or(default, |text| text.split(',').map(ToOwned::to_owned).collect())
    }

    fn zone(&mut self, name: &str, default: TimeZone) -> TimeZone {
        let Some(text) = self.text(name).map(ToOwned::to_owned) else { return default };
        fms_lake::time_zone(&text).unwrap_or_else(|error| {
            self.problem(name, format_args!("= `{text}`: {error}"));
            default
        })
    }

    fn storage(&mut self) -> Storage {
        let text = |name| self.text(name).map(ToOwned::to_owned);
        let tags: Option<Vec<_>> = text("FMS_LAKE_TAG").map(|text| text.split(',').map(ToOwned::to_owned).collect());
        let storage = Storage {
            sse_kms_key_id: text("FMS_LAKE_SSE_KMS_KEY_ID"),
            storage_class: text("FMS_LAKE_STORAGE_CLASS"),
            tags: Vec::new(),
            expected_bucket_owner: text("FMS_LAKE_EXPECTED_BUCKET_OWNER"),
        };
        let mut named = Vec::new();
        for tag in tags.unwrap_or_default() {
            match tag.split_once('=').filter(|(name, _)| !name.is_empty()) {
                Some((name, value)) => named.push((name.to_owned(), value.to_owned())),
                None => self.problem("FMS_LAKE_TAG", format_args!("has `{tag}`; a tag is `name=value`")),
            }
        }
        Storage { tags: named, ..storage }
    }

    /// How many conversions there may be at a time, of which each takes up to `one` MiB. A quarter of the function's
    /// memory is left to the rest.
    fn at_a_time(&mut self, one: usize) -> usize {
        let function: Option<usize> = self.required(MEMORY, "Lambda sets it; the program runs nowhere else");
        let given: Option<usize> = self.value("FMS_LAKE_MEMORY_MIB");
        let concurrency: Option<NonZeroUsize> = self.value("FMS_LAKE_CONCURRENCY");
        let memory = given.unwrap_or(function.unwrap_or(usize::MAX) / 4 * 3);
        if memory < one {
            let (name, whose) = if given.is_some() {
                ("FMS_LAKE_MEMORY_MIB", "")
            } else {
                (MEMORY, ", of which the conversions get three quarters")
            };
            let found = if given.is_some() { memory } else { function.unwrap_or_default() };
            self.problem(name, format_args!("is {found}{whose}; one conversion takes up to {one} MiB"));
        }
        let concurrency = concurrency.or_else(|| thread::available_parallelism().ok());
        concurrency.map_or(1, NonZeroUsize::get).min(memory / one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let base = [
            (NAME, "lake"),
            (MEMORY, "1024"),
            ("FMS_LAKE_TO", "s3://lake/v1"),
            ("FMS_LAKE_DATABASE", "fleet"),
            ("FMS_LAKE_FALLBACK_QUEUE_URL", "https://sqs/1/failed"),
        ];
        // The later one of a name is first, so that it counts.
        let all = more.iter().chain(&base).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&all.collect::<Vec<_>>())
    }

    #[test]
    fn memory_bounds_how_many_objects_are_converted_at_a_time() {
        let at_a_time = |more: &[(&str, &str)]| read(more).map(|settings| settings.at_a_time);
        assert_eq!(at_a_time(&[("FMS_LAKE_CONCURRENCY", "8")]), Ok(4), "768 of 1,024 MiB");
        assert_eq!(at_a_time(&[("FMS_LAKE_CONCURRENCY", "8"), ("FMS_LAKE_MEMORY_MIB", "320")]), Ok(2));
        assert_eq!(at_a_time(&[("FMS_LAKE_CONCURRENCY", "2"), (MEMORY, "10240")]), Ok(2));
        let too_little = at_a_time(&[(MEMORY, "200")]).expect_err("too little");
        assert!(too_little[0].contains(MEMORY) && too_little[0].contains("160 MiB"), "{too_little:?}");
    }

    #[test]
    fn every_problem_names_its_variable() {
        let problems = read(&[
            ("FMS_LAKE_TO", "lake"),
            ("FMS_LAKE_DATABASE", ""),
            ("FMS_LAKE_TIMEZONE", "Seoul"),
            ("FMS_LAKE_CONCURRENCY", "0"),
            ("FMS_LAKE_MAX_ATTEMPTS", "0"),
            ("FMS_LAKE_LISTEN", "0.0.0.0:80"),
            ("FMS_LAKE_RAW_KEY_TEMPLATE", "topics/{topic}/"),
            ("FMS_LAKE_TAG", "team"),
        ])
        .expect_err("problems");
        for name in ["TO", "DATABASE", "TIMEZONE", "CONCURRENCY", "MAX_ATTEMPTS", "LISTEN", "RAW_KEY_TEMPLATE", "TAG"] {
            let named = format!("environment: `FMS_LAKE_{name}` ");
            assert_eq!(problems.iter().filter(|problem| problem.starts_with(&named)).count(), 1, "{problems:#?}");
        }
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert_eq!(Settings::read(&[]).expect_err("nothing is set").len(), 5);
    }

    #[test]
    fn what_is_set_is_used() {
        let settings = read(&[
            ("FMS_LAKE_TABLE_FIELDS", "a,b"),
            ("FMS_LAKE_TIMESTAMP_FIELD", "t"),
            ("FMS_LAKE_SORT_FIELDS", "c"),
            ("FMS_LAKE_TIMEZONE", "Asia/Seoul"),
            ("FMS_LAKE_RAW_PREFIX", "raw/"),
            ("FMS_LAKE_MAX_ATTEMPTS", "3"),
            ("FMS_LAKE_RAW_KEY_TEMPLATE", "raw/{a}/"),
            ("FMS_LAKE_TAG", "team=fleet,cost=7"),
            ("FMS_LAKE_STORAGE_CLASS", "INTELLIGENT_TIERING"),
        ]);
        let settings = settings.expect("no problem");
        let fms_lake::Settings { table_fields, time_field, sort_fields, zone, .. } = &*settings.conversion;
        assert_eq!(
            (table_fields.join("|"), time_field.as_str(), sort_fields.join("|")),
            ("a|b".into(), "t", "c".into())
        );
        assert_eq!(
            (zone.iana_name(), settings.raw_prefix.as_str(), settings.max_attempts),
            (Some("Asia/Seoul"), "raw/", 3)
        );
        assert_eq!(settings.to.to_string(), "s3://lake/v1");
        assert!(settings.conversion.key_template.is_some());
        let tags = [("team", "fleet"), ("cost", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings.storage.tags, tags);
        assert_eq!(settings.storage.storage_class.as_deref(), Some("INTELLIGENT_TIERING"));
    }

    /// One who knows the poller knows the function.
    #[test]
    fn the_variables_are_those_of_the_poller() {
        let poller = [
            include_str!("../../fms/src/lake/poll.rs"),
            include_str!("../../fms/src/lake/queues.rs"),
            include_str!("../../fms/src/lake/settings.rs"),
            include_str!("../../fms/src/lake/storage.rs"),
        ];
        for name in VARIABLES {
            assert!(poller.iter().any(|source| source.contains(&format!("env = \"{name}\""))), "{name}");
        }
    }
}
