//! The keys of the files of a conversion. Each is a function of the raw object's name and of what the file is for, so
//! that converting an object again replaces its files.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::convert::Target;
use crate::quarantine::Object;

impl Target {
    /// The key of the file of a raw object:
    /// `formatted/object=vehicle/type=tire/command=report/ymd=2022-12-25/hour=11/<name>.parquet`, or below
    /// `quarantine/`.
    pub fn key(&self, object: &Object) -> String {
        let extension = if matches!(self, Self::Rows(..)) { "parquet" } else { "jsonl" };
        format!("{self}/{}.{extension}", file_name(object))
    }
}

impl fmt::Display for Target {
    /// The folder of the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(identity, partition) => write!(f, "formatted/{}/{partition}", identity.folders()),
            Self::Quarantine(identity) => write!(f, "quarantine/{}", identity.folders()),
            Self::Unclassified => f.write_str("quarantine/unclassified"),
        }
    }
}

/// The raw object's own file name without its extensions, for people, and a hash of its bucket and key.
pub(crate) fn file_name(object: &Object) -> String {
    let name = object.key.rsplit('/').next().unwrap_or_default();
    let stem = name.split_once(".json").map_or(name, |(stem, _)| stem);
    // So that the whole is a file name of at most 255 bytes.
    let stem = &stem[..stem.floor_char_boundary(200)];
    let hash = hex::encode(&Sha256::digest(format!("{}/{}", object.bucket, object.key))[..8]);
    format!("{stem}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_from_the_raw_key_and_tells_objects_of_one_name_apart() {
        let key = |key: &str| {
            let object = Object { bucket: "raw".into(), key: key.into(), version_id: None };
            Target::Unclassified.key(&object)
        };
        let (a, b) = (key("topics/t/hour=11/t+0+0000000000.json.gz"), key("topics/t/hour=12/t+0+0000000000.json.gz"));
        assert!(a.starts_with("quarantine/unclassified/t+0+0000000000-"), "{a}");
        assert_eq!(a.rsplit_once('.').map(|(_, extension)| extension), Some("jsonl"));
        assert_ne!(a, b);
        assert_eq!(a, key("topics/t/hour=11/t+0+0000000000.json.gz"));
    }
}
