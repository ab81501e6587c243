//! The configuration of AWS clients: the SDK's standard sources, HTTPS, and no retries by the SDK itself.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use tokio::runtime::Handle;

use crate::https;

/// How long connecting to a service may take. A reachable host answers within a fraction of it.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one attempt may take from the first byte of its request to the head of its answer. The upload of a large
/// part counts too.
const READ: Duration = Duration::from_mins(1);

/// The configuration from the environment, the profile, web identity, ECS and IMDS, in the order of every AWS SDK, with
/// `AWS_ENDPOINT_URL` and its variants for each service.
///
/// The SDK's retries are off, also those of the credential providers: calls are retried with [`Retry`](crate::Retry),
/// so that no retry is hidden. A client for short calls sets shorter timeouts than these.
///
/// Must not be called in an async context. A missing region or missing credentials are no error here, but of the first
/// call.
pub fn load(runtime: &Handle) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    // The environment is the first source of credentials, so it need not be asked after the others are made, of which one
    // reads the certificates of the operating system.
    let is_set = |variable: &str| std::env::var(variable).is_ok_and(|value| !value.trim().is_empty());
    let loader = if is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY") {
        loader.credentials_provider(EnvironmentVariableCredentialsProvider::new())
    } else {
        loader
    };
    runtime.block_on(loader.load())
}

/// Whether S3 is asked at a custom endpoint. Such a one is asked with the bucket's name in the path, because it has no
/// host name for each bucket.
pub fn has_own_s3_endpoint(aws: &SdkConfig) -> bool {
    aws.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some()
}
