//! What every user of an AWS service here needs: the configuration of its client, one error type, and retries. Knows no
//! Kafka.

mod client;
mod config;
mod error;
mod retry;

pub use client::https;
pub use config::{has_own_s3_endpoint, load};
pub use error::Error;
pub use retry::{Retry, Verdict};
