//! The endpoints of services, the credentials for them, and the framework's own AWS clients.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

use crate::proxy::service::{DYNAMODB, S3, SQS, Service};
use crate::stack::StackError;
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The endpoints of the services, and the credentials with which they are used.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    /// The brokers, as in `bootstrap.servers`.
    pub kafka: String,
    /// Every AWS service of the stack, with its endpoint.
    pub services: Vec<(&'static Service, Upstream)>,
    pub region: String,
    pub access: Access,
}

impl Endpoints {
    /// The endpoint of one service.
    pub(crate) fn of(&self, service: &Service) -> Result<&Upstream, StackError> {
        let found = self.services.iter().find(|(known, _)| known.name == service.name);
        found
            .map(|(_, at)| at)
            .ok_or_else(|| StackError::new(format!("looking for {}", service.title), "it has no endpoint"))
    }
}

/// The credentials with which the services are used.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// A key that the subject gets too. Its requests are passed on as it has signed them.
    Key { access_key: String, secret_key: String },
    /// Credentials that only the framework has. The subject gets a key that the services do not know, and its requests
    /// are signed again.
    Credentials { provider: SharedCredentialsProvider, trust: Trust },
}

/// The settings of every client for the service at `url`.
fn sdk(endpoints: &Endpoints, url: &Upstream) -> Result<aws_config::SdkConfig, StackError> {
    let (provider, http) = match &endpoints.access {
        Access::Key { access_key, secret_key } => (
            SharedCredentialsProvider::new(Credentials::new(access_key, secret_key, None, None, "e2e")),
            aws_smithy_http_client::Builder::new().build_http(),
        ),
        Access::Credentials { provider, trust } => (provider.clone(), trust.http_client()?),
    };
    Ok(aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(endpoints.region.clone()))
        .credentials_provider(provider)
        .endpoint_url(url.to_string())
        .http_client(http)
        .sleep_impl(aws_sdk_s3::config::SharedAsyncSleep::new(Sleep))
        .build())
}

/// Sleeps on tokio's timer. The SDK's own implementation needs a feature that brings many more dependencies.
#[derive(Debug)]
struct Sleep;

impl aws_sdk_s3::config::AsyncSleep for Sleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_s3::config::Sleep {
        aws_sdk_s3::config::Sleep::new(tokio::time::sleep(duration))
    }
}

/// A client of DynamoDB itself, which does not use the proxy.
pub(crate) fn dynamodb(endpoints: &Endpoints) -> Result<aws_sdk_dynamodb::Client, StackError> {
    Ok(aws_sdk_dynamodb::Client::new(&sdk(endpoints, endpoints.of(&DYNAMODB)?)?))
}

/// A client of S3 itself, which does not use the proxy. Buckets are named in the path, because local host names have no
/// subdomains.
pub(crate) fn s3(endpoints: &Endpoints) -> Result<aws_sdk_s3::Client, StackError> {
    let config = aws_sdk_s3::config::Builder::from(&sdk(endpoints, endpoints.of(&S3)?)?).force_path_style(true);
    Ok(aws_sdk_s3::Client::from_conf(config.build()))
}

/// A client of SQS itself, which does not use the proxy.
pub(crate) fn sqs(endpoints: &Endpoints) -> Result<aws_sdk_sqs::Client, StackError> {
    Ok(aws_sdk_sqs::Client::new(&sdk(endpoints, endpoints.of(&SQS)?)?))
}
