//! The raw objects of a lake in S3, as messages name them.

use std::sync::Arc;

use super::Convert;
use crate::bucket::Bucket;
use crate::convert::Settings;
use crate::object::{ObjectError, Report};
use crate::quarantine::Object;

/// Converts the objects whose keys begin with a prefix into a lake in S3.
#[derive(Debug)]
pub struct Raws {
    /// The lake. Its own objects are no raw ones, wherever they are.
    pub bucket: Bucket,
    /// How objects are converted.
    pub settings: Arc<Settings>,
    /// How the keys of raw objects begin.
    pub prefix: String,
}

impl Convert for Raws {
    fn is_raw(&self, object: &Object) -> bool {
        object.key.starts_with(&self.prefix) && !self.bucket.has(object)
    }

    async fn convert(&self, object: &Object) -> Result<Option<Report>, ObjectError> {
        self.bucket.convert_current(&self.settings, object).await
    }
}
