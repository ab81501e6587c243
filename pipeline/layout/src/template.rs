//! One template for a key, which writes it from its parts and parses it back into them.

use thiserror::Error;

use crate::escape::{self, Value, escape};
use crate::{FileName, FileNameError, PathFormat};

/// How the keys of objects are formed: `<dir>/<topic>/<folders>/<file name>`.
#[derive(Debug, Clone)]
pub struct Template {
    /// The folder above all topics with a slash after it, or nothing.
    dir: String,
    folders: Vec<Folder>,
}

/// One step in the folders between a topic and its files.
#[derive(Debug, Clone)]
pub enum Folder {
    /// `partition=<Kafka partition>`.
    KafkaPartition,
    /// `<field>=<value>`.
    Field(Field),
    /// The folders of an event time. There may be several.
    Time(PathFormat),
}

impl Folder {
    /// The folder of the row field of this name.
    pub fn field(name: &str) -> Self {
        Self::Field(Field::new(name))
    }
}

/// A row field that has a folder.
#[derive(Debug, Clone)]
pub struct Field {
    name: String,
    /// The escaped name with `=` after it.
    prefix: String,
}

impl Field {
    /// The field of this name, or at this path.
    pub fn new(name: &str) -> Self {
        let mut prefix = String::new();
        escape(name, &mut prefix);
        prefix.push('=');
        Self { name: name.into(), prefix }
    }

    /// The field's name or path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends `name=value`, both escaped.
    pub fn write(&self, value: &str, out: &mut String) {
        out.push_str(&self.prefix);
        escape(value, out);
    }
}

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// A value for each [`Folder::Field`], and the text of the folders for each [`Folder::Time`], in the template's
    /// order.
    pub folders: Vec<Value>,
    /// The file name.
    pub file: FileName,
}

/// Why a key was not written by a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The key does not begin with the template's folder.
    #[error("the key is not below the folder `{0}`")]
    Dir(String),
    /// The last segment is not a file name.
    #[error(transparent)]
    File(#[from] FileNameError),
    /// The folder above differs from the topic in the file name.
    #[error("the file name is one of topic `{topic}`, but the key is not below a folder of that name")]
    Topic {
        /// The topic in the file name.
        topic: String,
    },
    /// There are fewer or more folders than the template has.
    #[error("the key has {found} folders between topic and file name; the template has {expected}")]
    Depth {
        /// The template's folders.
        expected: usize,
        /// The key's folders.
        found: usize,
    },
    /// A folder is not what the template has in its place.
    #[error("`{folder}` is not {expected}")]
    Folder {
        /// The folder or folders as they are in the key.
        folder: String,
        /// What the template has there.
        expected: String,
    },
}

impl Template {
    /// Keys below `dir`, which is a path without slashes at its ends; an empty one stands for none.
    pub fn new(dir: &str, folders: Vec<Folder>) -> Self {
        let dir = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        Self { dir, folders }
    }

    /// What the keys of all objects of a topic begin with.
    pub fn topic_prefix(&self, topic: &str) -> String {
        format!("{}{topic}/", self.dir)
    }

    /// The key of a file in folders that were written already.
    pub fn key(&self, folders: &str, file: &FileName) -> String {
        format!("{}{}/{folders}/{file}", self.dir, file.topic)
    }

    /// The bytes that a key in these folders has at most, whatever partition, offset and extension it is for.
    pub fn max_len(&self, topic: &str, folders: &str) -> usize {
        self.dir.len() + topic.len() + folders.len() + "//".len() + FileName::max_len(topic)
    }

    /// The key of these parts, whose folders have to be as many as the template's fields and times are.
    pub fn write(&self, name: &Name) -> String {
        let mut folders = String::new();
        let mut values = name.folders.iter();
        for folder in &self.folders {
            if !folders.is_empty() {
                folders.push('/');
            }
            match folder {
                Folder::KafkaPartition => folders.push_str(&partition_folder(name.file.partition)),
                Folder::Field(field) => {
                    folders.push_str(&field.prefix);
                    values.next().into_iter().for_each(|value| value.escape(&mut folders));
                }
                Folder::Time(_) => {
                    if let Some(Value::Whole(time) | Value::Shortened(time)) = values.next() {
                        folders.push_str(time);
                    }
                }
            }
        }
        self.key(&folders, &name.file)
    }

    /// The parts of a key that this template has written. The error says why a key is not one of those.
    pub fn parse(&self, key: &str) -> Result<Name, ParseError> {
        let rest = key.strip_prefix(&self.dir).ok_or_else(|| ParseError::Dir(self.dir.clone()))?;
        let (path, file) = rest.rsplit_once('/').unwrap_or(("", rest));
        let file: FileName = file.parse()?;
        let segments: Vec<&str> = path.split('/').collect();
        let Some((_, mut segments)) = segments.split_first().filter(|(topic, _)| **topic == file.topic) else {
            return Err(ParseError::Topic { topic: file.topic });
        };
        let expected = self.folders.iter().map(Folder::depth).sum();
        if segments.len() != expected {
            return Err(ParseError::Depth { expected, found: segments.len() });
        }
        let mut folders = Vec::with_capacity(self.folders.len());
        for folder in &self.folders {
            let (own, rest) = segments.split_at(folder.depth());
            folders.extend(folder.parse(&own.join("/"), file.partition)?);
            segments = rest;
        }
        Ok(Name { folders, file })
    }
}

impl Folder {
    /// How many folders it takes.
    fn depth(&self) -> usize {
        match self {
            Self::KafkaPartition | Self::Field(_) => 1,
            Self::Time(format) => format.depth(),
        }
    }

    /// The value in this text, if the folder has one.
    fn parse(&self, text: &str, partition: i32) -> Result<Option<Value>, ParseError> {
        let wrong = |expected: String| ParseError::Folder { folder: text.into(), expected };
        match self {
            Self::KafkaPartition if text == partition_folder(partition) => Ok(None),
            Self::KafkaPartition => Err(wrong(format!("`{}`", partition_folder(partition)))),
            Self::Field(field) => {
                let value = text.strip_prefix(&field.prefix).and_then(escape::unescape);
                value.map(Some).ok_or_else(|| wrong(format!("`{}` and a value as it is escaped here", field.prefix)))
            }
            Self::Time(format) if format.matches(text) => Ok(Some(Value::Whole(text.into()))),
            Self::Time(format) => Err(wrong(format!("a time of the form `{format}`"))),
        }
    }
}

/// The folder of a Kafka partition.
pub(crate) fn partition_folder(partition: i32) -> String {
    format!("partition={partition}")
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;
    use proptest::prelude::*;
    use strum::VariantArray as _;

    use super::*;
    use crate::Extension;

    fn hourly() -> PathFormat {
        PathFormat::parse("'ymd'=YYYY-MM-dd/'hour'=HH").expect("a valid format")
    }

    fn file(partition: i32, start: i64) -> FileName {
        FileName { topic: "fms.vehicle.real".into(), partition, start, extension: Extension::JsonZstd }
    }

    /// Kafka Connect's names.
    #[test]
    fn keys_are_those_of_kafka_connect() {
        let template = Template::new("topics", vec![Folder::KafkaPartition]);
        let key = "topics/fms.vehicle.real/partition=3/fms.vehicle.real+3+0000048211.json.zst";
        let name = Name { folders: Vec::new(), file: file(3, 48211) };
        assert_eq!(template.write(&name), key);
        assert_eq!(template.parse(key), Ok(name));
        assert_eq!(template.topic_prefix("t"), "topics/t/");
        assert_eq!(Template::new("", Vec::new()).topic_prefix("t"), "t/");
    }

    #[test]
    fn foreign_keys_are_refused_with_the_reason() {
        let template = Template::new("raw/v1", vec![Folder::field("object"), Folder::Time(hourly())]);
        let good = "raw/v1/t/object=tire/ymd=2023-01-01/hour=05/t+3+0000000007.json";
        assert!(template.parse(good).is_ok());
        for (key, reason) in [
            ("raw/t/object=tire/ymd=2023-01-01/hour=05/t+3+0000000007.json", "is not below the folder `raw/v1/`"),
            ("raw/v1/t/object=tire/ymd=2023-01-01/hour=05/_SUCCESS", "is not of the form"),
            ("raw/v1/u/object=tire/ymd=2023-01-01/hour=05/t+3+0000000007.json", "one of topic `t`, but"),
            ("raw/v1/t+3+0000000007.json", "one of topic `t`, but"),
            (
                "raw/v1/t/object=tire/t+3+0000000007.json",
                "has 1 folders between topic and file name; the template has 3",
            ),
            (
                "raw/v1/t/type=tire/ymd=2023-01-01/hour=05/t+3+0000000007.json",
                "`type=tire` is not `object=` and a value",
            ),
            ("raw/v1/t/object=a b/ymd=2023-01-01/hour=05/t+3+0000000007.json", "`object=a b` is not"),
            (
                "raw/v1/t/object=tire/ymd=2023-13-01/hour=05/t+3+0000000007.json",
                "`ymd=2023-13-01/hour=05` is not a time of the form `ymd=%Y-%m-%d/hour=%H`",
            ),
        ] {
            let error = template.parse(key).expect_err(key).to_string();
            assert!(error.contains(reason), "{key}: {error}");
        }
        let other = Template::new("", vec![Folder::KafkaPartition]).parse("t/partition=4/t+3+0000000007.json");
        assert_eq!(other.expect_err("of another partition").to_string(), "`partition=4` is not `partition=3`");
    }

    #[test]
    fn a_field_writes_its_folder() {
        let (field, mut out) = (Field::new("door.fl/r"), "a/".to_owned());
        field.write("50%", &mut out);
        assert_eq!((field.name(), out.as_str()), ("door.fl/r", "a/door.fl%2Fr=50%25"));
    }

    #[test]
    fn the_longest_key_is_known() {
        let template = Template::new("raw", vec![Folder::field("a")]);
        let name = Name { folders: vec![Value::Whole("x".into())], file: file(i32::MIN, i64::MAX) };
        assert_eq!(template.write(&name).len(), template.max_len("fms.vehicle.real", "a=x"));
    }

    fn template_and_name() -> impl Strategy<Value = (Template, Name)> {
        let field = ("[a-z./= ]{1,9}", any::<String>()).prop_map(|(name, value)| {
            let mut escaped = String::new();
            escape(&value, &mut escaped);
            let value = if escaped.contains('~') { Value::Shortened(escaped) } else { Value::Whole(value) };
            (Folder::field(&name), Some(value))
        });
        let time = (0..10_000_i16, 1..=12_i8, 1..=28_i8, 0..24_i8).prop_map(|(year, month, day, hour)| {
            let mut folders = String::new();
            hourly().write(DateTime::constant(year, month, day, hour, 0, 0, 0), &mut folders);
            (Folder::Time(hourly()), Some(Value::Whole(folders)))
        });
        let folder = prop_oneof![Just((Folder::KafkaPartition, None)), field, time];
        let file = ("[a-zA-Z0-9._-]{1,12}", 0..=i32::MAX, 0..=i64::MAX, prop::sample::select(Extension::VARIANTS));
        let file =
            file.prop_map(|(topic, partition, start, extension)| FileName { topic, partition, start, extension });
        ("([a-z+=]{1,4}(/[a-z]{1,4})?)?", prop::collection::vec(folder, 1..4), file).prop_map(|(dir, folders, file)| {
            let (folders, values): (Vec<_>, Vec<_>) = folders.into_iter().unzip();
            let folders = Template::new(&dir, folders);
            (folders, Name { folders: values.into_iter().flatten().collect(), file })
        })
    }

    proptest! {
        #[test]
        fn a_key_is_parsed_as_it_was_written((template, name) in template_and_name()) {
            let key = template.write(&name);
            prop_assert!(key.starts_with(&template.topic_prefix(&name.file.topic)), "{}", key);
            prop_assert_eq!(template.parse(&key), Ok(name), "{}", key);
        }

        #[test]
        fn any_text_is_parsed_or_refused(key in "[rawt/+=0-9.json]{0,40}") {
            let template = Template::new("raw", vec![Folder::field("t"), Folder::Time(hourly())]);
            if let Ok(name) = template.parse(&key) {
                prop_assert_eq!(template.write(&name), key);
            }
        }
    }
}
