//! What every user of an AWS service here needs: the configuration of its client, one error type, and retries. Knows no
//! Kafka.

mod config;
mod error;
mod retry;

pub use config::{has_own_s3_endpoint, https, load};
pub use error::Error;
pub use retry::{Retry, Verdict};
