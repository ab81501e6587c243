//! Raw objects in S3. Each is fetched whole into a temporary file before it is converted, so that a connection that
//! breaks costs another fetch and no conversion.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use fms_aws::{Error, Retry, Verdict};
use fms_lake::Object;
use tokio::runtime::Handle;

/// How long fetching an object is retried.
const RETRIED_FOR: Duration = Duration::from_mins(1);
/// The longest pause between two attempts.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Where raw objects are.
pub(super) struct Raw {
    client: Client,
    runtime: Handle,
    retry: Retry,
}

impl Raw {
    pub fn new(config: &SdkConfig, runtime: Handle) -> Self {
        let client = Client::new(config);
        // Retries are logged; the calls of S3 have no metric of their own.
        let retry = Retry::new("fms lake", Some(RETRIED_FOR), DELAY_MAX, |_| {});
        Self { client, runtime, retry }
    }

    /// Fetches an object. One that is not there is [`io::ErrorKind::NotFound`]. Must not be called in an async context.
    pub fn fetch(&self, object: &Object) -> io::Result<File> {
        let what = format!("GetObject s3://{}/{}", object.bucket, object.key);
        let fetched = self.retry.run(&what, Failure::verdict, || self.attempt(object));
        self.runtime.block_on(fetched).map_err(|failure| failure.into_io(&what))
    }

    async fn attempt(&self, object: &Object) -> Result<File, Failure> {
        let request = self.client.get_object().bucket(&object.bucket).key(&object.key);
        let request = request.set_version_id(object.version_id.clone());
        let mut body = request.send().await.map_err(|error| Failure::Call(error.into()))?.body;
        let mut file = tempfile::tempfile().map_err(Failure::Disk)?;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| Failure::Broken(error.into()))?;
            file.write_all(&bytes).map_err(Failure::Disk)?;
        }
        file.rewind().map_err(Failure::Disk)?;
        Ok(file)
    }
}

/// Why an attempt failed.
#[derive(Debug)]
enum Failure {
    Call(Error),
    /// The connection broke before the end of the object.
    Broken(io::Error),
    Disk(io::Error),
}

impl Failure {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::Broken(_) => Verdict::Transient("connection"),
            Self::Disk(_) => Verdict::Permanent,
        }
    }

    fn into_io(self, what: &str) -> io::Error {
        let kind = match &self {
            Self::Call(error) if matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion")) => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, format!("{what}: {self}"))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Broken(error) => write!(f, "the connection broke before the end of the object: {error}"),
            Self::Disk(error) => write!(f, "cannot write a temporary file in TMPDIR or else /tmp: {error}"),
        }
    }
}
