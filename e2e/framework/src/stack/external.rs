//! The external stack: services that run already and are found through environment variables, such as AWS or the
//! services of `docker compose up`.
//!
//! A test works there in a namespace of its own. It deletes the resources that it has created, and nothing else.
//!
//! Where no endpoint is set for a service, AWS's own is used, in the region that is set. If one of the services is
//! AWS's own or has an `https://` endpoint, the credentials are those of the SDK's default chain. The subject then gets
//! a key that no service knows, and the recording proxy signs its requests again. This was tested against HTTPS
//! endpoints that check signatures, not against AWS itself.

use std::path::Path;

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::region::ProfileFileRegionProvider;

use super::remote::{self, Access, Backing, Endpoints, Remote};
use super::{Stack, StackError, credentials, namespace};
use crate::proxy::service::{self, DYNAMODB, GLUE, S3, Service};
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The region and the key for services that are not AWS's own, unless others are set.
const REGION: &str = "us-east-1";
const KEY: &str = "e2e";

/// The services whose content a test observes. Their endpoints are therefore never inferred from the endpoint of
/// another service.
const OBSERVED: [&Service; 2] = [&DYNAMODB, &S3];

/// Services that ran before the test and continue after it.
struct RunningServices;

impl Backing for RunningServices {
    fn outlives_the_test(&self) -> bool {
        true
    }
}

/// Connects to the services that the environment variables name:
///
/// - Kafka is at `KAFKA_BOOTSTRAP_SERVERS`, without encryption.
/// - DynamoDB and S3 are at `AWS_ENDPOINT_URL_DYNAMODB` and `AWS_ENDPOINT_URL_S3`, or both at `AWS_ENDPOINT_URL`. If
///   neither is set, AWS's own are used. The same holds for every other service that the proxy knows, except that
///   without a variable of its own it is taken to be where S3 is.
/// - Glue is the framework's own, in the process of the test, unless `AWS_ENDPOINT_URL_GLUE` is set or S3 is AWS's own:
///   hardly any service that stands in for S3 has a catalog.
/// - The region is `AWS_REGION` or `AWS_DEFAULT_REGION` or, with AWS or HTTPS, the region of the profile. With AWS a
///   region has to be set.
/// - With AWS or HTTPS the credentials are those of the SDK's default chain, which are found now and again before they
///   expire. Otherwise they are `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
/// - `AWS_CA_BUNDLE` is a file of certificate authorities that are trusted in addition to the system's.
pub(crate) fn start() -> Result<impl Stack + use<>, StackError> {
    let services = Services::find(variable)?;
    let threads = remote::threads()?;
    let endpoints = threads.block_on(services.endpoints(variable))?;
    Remote::connect(threads, &endpoints, namespace::new(), Box::new(RunningServices))
}

/// Connects to the same services for a pipeline that runs already. Its own topics, tables and buckets are used, and
/// nothing is created. Only what is written after [`Stack::provide`] is observed. That method removes all items of the
/// tables, because a table does not tell which items were there before; this is why AWS and every `https://` endpoint
/// are refused.
pub(crate) fn of_running_subject() -> Result<impl Stack + use<>, StackError> {
    let services = Services::find(variable)?;
    services.may_be_emptied()?;
    let threads = remote::threads()?;
    let endpoints = threads.block_on(services.endpoints(variable))?;
    Remote::of_running_subject(threads, &endpoints, Box::new(RunningServices))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn failed(problem: impl Into<String>) -> StackError {
    StackError::infrastructure("looking for the external services", problem.into())
}

/// What the environment variables say about the services. A service without an endpoint is AWS's own.
#[derive(Debug)]
struct Services {
    kafka: String,
    aws: Vec<(&'static Service, Option<Upstream>)>,
    region: Option<String>,
}

impl Services {
    fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, StackError> {
        let kafka = variable("KAFKA_BOOTSTRAP_SERVERS").ok_or_else(|| {
            failed("KAFKA_BOOTSTRAP_SERVERS is not set; for those of `docker compose up` it is localhost:9092")
        })?;
        let endpoint = |service: &Service| {
            let names = [service.endpoint_variable(), "AWS_ENDPOINT_URL".to_owned()];
            let set = names.into_iter().find_map(|name| Some((variable(&name)?, name)));
            set.map(|(url, name)| url.parse::<Upstream>().map_err(|problem| failed(format!("{name}: {problem}"))))
                .transpose()
        };
        let s3 = endpoint(&S3)?;
        let mut aws = Vec::new();
        for service in service::ALL {
            let stands_in = s3.as_ref().is_some_and(|s3| !s3.is_aws());
            if service.name == GLUE.name && stands_in && variable(&GLUE.endpoint_variable()).is_none() {
                continue;
            }
            let found = endpoint(service)?;
            let observed = OBSERVED.iter().any(|observed| observed.name == service.name);
            aws.push((service, if observed { found } else { found.or_else(|| s3.clone()) }));
        }
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        Ok(Self { kafka, aws, region })
    }

    /// The reason why one of the services is AWS's own, or `None` if none of them is.
    fn of_aws(&self) -> Option<String> {
        self.aws.iter().find_map(|(service, endpoint)| {
            let (title, variable) = (service.title, service.endpoint_variable());
            match endpoint {
                None => Some(format!("neither {variable} nor AWS_ENDPOINT_URL is set, so {title} is AWS's own")),
                Some(endpoint) if endpoint.is_aws() => Some(format!("{title} at {endpoint} is AWS's own")),
                Some(_) => None,
            }
        })
    }

    /// Whether requests are signed with the credentials of the SDK's default chain.
    fn want_credentials(&self) -> bool {
        self.of_aws().is_some() || self.aws.iter().any(|(_, at)| at.as_ref().is_some_and(Upstream::is_https))
    }

    /// Returns an error unless all services are reached by plain HTTP, as services that run for tests are.
    fn may_be_emptied(&self) -> Result<(), StackError> {
        if !self.want_credentials() {
            return Ok(());
        }
        let why = self.of_aws().unwrap_or_else(|| "an endpoint is https://".to_owned());
        Err(failed(format!(
            "a pipeline that runs already is tested on its own tables, which are emptied first, and {why}; set AWS_ENDPOINT_URL_DYNAMODB, \
             AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL to http:// endpoints, such as those of `docker compose up`"
        )))
    }

    async fn endpoints(self, variable: impl Fn(&str) -> Option<String>) -> Result<Endpoints, StackError> {
        if !self.want_credentials() {
            let or = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
            let access_key = or("AWS_ACCESS_KEY_ID", KEY);
            let secret_key = or("AWS_SECRET_ACCESS_KEY", KEY);
            let region = self.region(None)?;
            return self.at(region, Access::Key { access_key, secret_key });
        }
        let profile = ProfileFileRegionProvider::new().region().await.map(|region| region.to_string());
        let region = self.region(profile)?;
        let trust = Trust::system(variable("AWS_CA_BUNDLE").as_deref().map(Path::new))?;
        let provider = credentials::default_chain(&region, &trust).await?;
        self.at(region, Access::Credentials { provider, trust })
    }

    fn region(&self, of_profile: Option<String>) -> Result<String, StackError> {
        match (self.region.clone().or(of_profile), self.of_aws()) {
            (Some(region), _) => Ok(region),
            (None, None) => Ok(REGION.to_owned()),
            (None, Some(why)) => Err(failed(format!(
                "{why}, and its region is not known; set AWS_REGION, AWS_DEFAULT_REGION or the profile's region, or, for services that \
                 stand in for AWS, endpoints: http://HOST:PORT"
            ))),
        }
    }

    fn at(self, region: String, access: Access) -> Result<Endpoints, StackError> {
        let at = |(service, endpoint): (&'static Service, Option<Upstream>)| {
            let endpoint = endpoint.or_else(|| Upstream::aws(service.name, &region));
            let problem = || failed(format!("`{region}` is not the name of an AWS region; correct AWS_REGION"));
            Ok((service, endpoint.ok_or_else(problem)?))
        };
        let services = self.aws.into_iter().map(at).collect::<Result<_, StackError>>()?;
        Ok(Endpoints { kafka: self.kafka, services, region, access })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
