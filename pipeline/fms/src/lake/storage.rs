//! How the files of a lake in S3 are stored.

use clap::Args;
use fms_lake::Storage;

#[derive(Debug, Args)]
pub(super) struct StorageArguments {
    /// The key of AWS KMS by which the lake's files are encrypted: its id, alias or ARN. The bucket's encryption if it
    /// is not given.
    #[arg(long, env = "FMS_LAKE_SSE_KMS_KEY_ID", value_name = "KEY")]
    sse_kms_key_id: Option<String>,
    /// The storage class of the lake's files, such as `INTELLIGENT_TIERING`; the standard class if it is not given.
    #[arg(long, env = "FMS_LAKE_STORAGE_CLASS", value_name = "CLASS")]
    storage_class: Option<String>,
    /// A tag of the lake's files. It may be given several times; in the environment, commas are between tags.
    #[arg(long, env = "FMS_LAKE_TAG", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = tag)]
    tag: Vec<(String, String)>,
    #[command(flatten)]
    owner: OwnerArguments,
}

/// Whose bucket it is; for commands that store nothing but records and manifests.
#[derive(Debug, Args)]
pub(super) struct OwnerArguments {
    /// The AWS account that owns the lake's bucket. If another one does, nothing is read or written there.
    #[arg(long, env = "FMS_LAKE_EXPECTED_BUCKET_OWNER", value_name = "ACCOUNT")]
    pub expected_bucket_owner: Option<String>,
}

/// Whose buckets the raw objects are in.
#[derive(Debug, Args)]
pub(super) struct RawOwnerArguments {
    /// The AWS account that owns the buckets of the raw objects. If another one does, nothing is read there.
    #[arg(long, env = "FMS_LAKE_EXPECTED_RAW_BUCKET_OWNER", value_name = "ACCOUNT")]
    pub expected_raw_bucket_owner: Option<String>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a tag is a name and a value, such as `team=fleet`")?;
    if name.is_empty() {
        return Err("a tag has a name before its `=`".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl StorageArguments {
    pub fn storage(&self) -> Storage {
        Storage {
            sse_kms_key_id: self.sse_kms_key_id.clone(),
            storage_class: self.storage_class.clone(),
            tags: self.tag.clone(),
            ..self.owner.storage()
        }
    }
}

impl OwnerArguments {
    pub fn storage(&self) -> Storage {
        Storage { expected_bucket_owner: self.expected_bucket_owner.clone(), ..Storage::default() }
    }
}
