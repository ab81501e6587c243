//! The standard configuration chain, with HTTPS and without the SDK's own retries.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::runtime::Handle;

/// How long a connection may take: a host that does not answer is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one attempt may take from its first byte to the head of its answer. It bounds the upload of a large part too.
const READ: Duration = Duration::from_mins(1);

/// The configuration from environment, profile, web identity, ECS and IMDS, in the order of every AWS SDK; `AWS_ENDPOINT_URL` and its
/// variants per service count.
///
/// The SDK's retries are off, for the credential providers too: whoever calls retries with [`fms_connect::Retry`] and
/// [`Error::verdict`], so that no retry is hidden. A client for short calls sets shorter timeouts of its own.
///
/// Called outside of any async context. It does not fail: a missing region or credential is the error of the first call.
pub fn load(runtime: &Handle) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    runtime.block_on(
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .load(),
    )
}
