//! What the AWS sinks share: how a client is configured, and what its errors mean for a retry.

mod config;
mod error;

pub use config::load;
pub use error::Error;
