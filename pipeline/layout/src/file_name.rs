//! The last segment of a key: `<topic>+<Kafka partition>+<start offset>.<extension>`, as Kafka Connect names objects.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The digits that an offset has at least. Shorter offsets are padded with zeros, so that keys sort by offset.
const OFFSET_DIGITS: usize = 10;

/// The file name of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The topic that the rows are from.
    pub topic: String,
    /// The Kafka partition that the rows are from.
    pub partition: i32,
    /// The offset at which the flush starts that wrote the object. The first row's record may have a later one.
    pub start: i64,
    /// The format of the content.
    pub extension: Extension,
}

/// The format of an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[cfg_attr(test, derive(strum::VariantArray))]
pub enum Extension {
    /// `json`: a JSON object on each line.
    #[strum(serialize = "json")]
    Json,
    /// `json.gz`: the same, compressed with gzip.
    #[strum(serialize = "json.gz")]
    JsonGzip,
    /// `json.zst`: the same, compressed with Zstandard.
    #[strum(serialize = "json.zst")]
    JsonZstd,
}

/// Why a text is not the file name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FileNameError {
    /// There are not three parts with `+` between them.
    #[error("the file name is not of the form `<topic>+<partition>+<offset>.<extension>`")]
    Form,
    /// The second part is not a Kafka partition as it is written here.
    #[error("`<partition>` in the file name is not a number from 0 to 2147483647 without leading zeros")]
    Partition,
    /// The third part is not an offset as it is written here.
    #[error(
        "`<offset>` in the file name is not a number of at least 10 digits, padded with zeros, up to \
         9223372036854775807"
    )]
    Offset,
    /// The extension is unknown.
    #[error("the file name does not end in .json, .json.gz or .json.zst")]
    Extension,
}

impl FileName {
    /// The bytes that the longest file name of a topic has, whatever number, offset and extension it has.
    pub(crate) fn max_len(topic: &str) -> usize {
        topic.len() + "+-2147483648+9223372036854775807.json.zst".len()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, start, extension } = self;
        write!(f, "{topic}+{partition}+{start:0OFFSET_DIGITS$}.{extension}")
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    /// Accepts exactly what [`Display`](fmt::Display) writes for partitions and offsets from 0 on.
    fn from_str(text: &str) -> Result<Self, FileNameError> {
        let (rest, end) = text.rsplit_once('+').ok_or(FileNameError::Form)?;
        let (topic, partition) =
            rest.rsplit_once('+').filter(|(topic, _)| !topic.is_empty()).ok_or(FileNameError::Form)?;
        let (offset, extension) = end.split_once('.').ok_or(FileNameError::Extension)?;
        let extension = extension.parse().map_err(|_| FileNameError::Extension)?;
        let partition = number::<i32>(partition, 1).ok_or(FileNameError::Partition)?;
        let start = number::<i64>(offset, OFFSET_DIGITS).ok_or(FileNameError::Offset)?;
        Ok(Self { topic: topic.into(), partition, start, extension })
    }
}

/// A number from 0 on that is written with `digits` digits, or with more and then without leading zeros.
fn number<N: FromStr>(text: &str, digits: usize) -> Option<N> {
    let is_padded = text.len() == digits || text.len() > digits && !text.starts_with('0');
    if is_padded && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_read_as_it_was_written() {
        for (text, topic, partition, start, extension) in [
            ("t+3+0000000000.json", "t", 3, 0, Extension::Json),
            ("a.b-c_d+0+9223372036854775807.json.gz", "a.b-c_d", 0, i64::MAX, Extension::JsonGzip),
            ("t+2147483647+0000000001.json.zst", "t", i32::MAX, 1, Extension::JsonZstd),
        ] {
            let name = FileName { topic: topic.into(), partition, start, extension };
            assert_eq!(text.parse(), Ok(name.clone()));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn a_foreign_file_name_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", FileNameError::Form),
            ("part-00000.parquet", FileNameError::Form),
            ("t+0000000000.json", FileNameError::Form),
            ("+3+0000000000.json", FileNameError::Form),
            ("t+03+0000000000.json", FileNameError::Partition),
            ("t+-1+0000000000.json", FileNameError::Partition),
            ("t+2147483648+0000000000.json", FileNameError::Partition),
            ("t+3+000000000.json", FileNameError::Offset),
            ("t+3+00000000000.json", FileNameError::Offset),
            ("t+3+00000x0000.json", FileNameError::Offset),
            ("t+3+9223372036854775808.json", FileNameError::Offset),
            ("t+3+0000000000.avro", FileNameError::Extension),
            ("t+3+0000000000.json.bz2", FileNameError::Extension),
            ("t+3+0000000000", FileNameError::Extension),
        ] {
            assert_eq!(text.parse::<FileName>(), Err(reason), "{text}");
        }
    }
}
