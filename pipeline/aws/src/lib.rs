//! What every user of an AWS service here needs: the configuration of its client, one error type, retries, and
//! the calls of services of which the SDK has a crate that is too large. Knows no Kafka.

mod client;
mod config;
mod error;
mod json;
mod retry;

pub use client::https;
pub use config::{has_own_s3_endpoint, load};
pub use error::Error;
pub use json::{Json, Service};
pub use retry::{Retry, Verdict};
