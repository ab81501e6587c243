//! How the lake's files are stored: encrypted by which key, in which class, with which tags, in whose bucket.

use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a tag's name and value keep in a query string.
const TAG: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How files are stored. By default, all of it is as the bucket's own settings say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// The key of AWS KMS by which files are encrypted: its id, alias or ARN.
    pub sse_kms_key_id: Option<String>,
    /// The storage class of the files of tables and of the quarantine, such as `INTELLIGENT_TIERING`. The records of
    /// conversions, which are small and read often, stay in the standard class.
    pub storage_class: Option<String>,
    /// The tags of the files of tables and of the quarantine, as names and values.
    pub tags: Vec<(String, String)>,
    /// The account that owns the lake's bucket. Every call to another one's is refused.
    pub expected_bucket_owner: Option<String>,
}

impl Storage {
    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        self.sse_kms_key_id.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    pub(super) fn class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }

    /// The tags as the header has them: `team=fleet&cost%20center=7`.
    pub(super) fn tagging(&self) -> Option<String> {
        let escape = |text: &str| utf8_percent_encode(text, TAG).to_string();
        let tags: Vec<String> =
            self.tags.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        (!tags.is_empty()).then(|| tags.join("&"))
    }

    pub(super) fn owner(&self) -> Option<String> {
        self.expected_bucket_owner.clone()
    }
}
