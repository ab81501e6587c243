//! The external stack: services that run already, such as those of `docker compose up`, found through the environment.
//!
//! A test works in a namespace of its own there and takes away what it has made, and nothing else.

use super::remote::{Backing, Endpoints, Remote};
use super::{Stack, StackError, namespace};

/// Services that were there before the test and will be after it.
struct Theirs;

impl Backing for Theirs {
    fn outlives_the_test(&self) -> bool {
        true
    }
}

/// The services that the environment leads to: `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL_DYNAMODB` and `AWS_ENDPOINT_URL_S3`, or
/// `AWS_ENDPOINT_URL` for both, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
pub fn start() -> Result<impl Stack + use<>, StackError> {
    let endpoints = endpoints(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    Remote::connect(&endpoints, namespace::new(), Box::new(Theirs))
}

/// The same services under the names that a pipeline which runs already has: nothing is created. Only what comes after [`Stack::provide`] is
/// observed; the tables' items are removed then, for a table does not tell which were there before.
pub fn of_running_subject() -> Result<impl Stack + use<>, StackError> {
    let endpoints = endpoints(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    Remote::of_running_subject(&endpoints, Box::new(Theirs))
}

fn endpoints(variable: impl Fn(&str) -> Option<String>) -> Result<Endpoints, StackError> {
    let missing = |problem: String| StackError::infrastructure("looking for the external services", problem);
    let kafka = variable("KAFKA_BOOTSTRAP_SERVERS").ok_or_else(|| {
        missing("KAFKA_BOOTSTRAP_SERVERS is not set; for those of `docker compose up` it is localhost:9092".to_owned())
    })?;
    let endpoint = |name: &str| {
        let url = variable(name)
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .ok_or_else(|| missing(format!("neither {name} nor AWS_ENDPOINT_URL is set; write http://HOST:PORT")))?;
        let address = url.strip_prefix("http://").map(|address| address.trim_end_matches('/'));
        match address.filter(|address| !address.is_empty() && !address.contains('/')) {
            Some(address) => Ok(address.to_owned()),
            None => Err(missing(format!(
                "{name} is `{url}`; the recording proxy reaches services at http://HOST:PORT only"
            ))),
        }
    };
    let or = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    Ok(Endpoints {
        kafka,
        dynamodb: endpoint("AWS_ENDPOINT_URL_DYNAMODB")?,
        s3: endpoint("AWS_ENDPOINT_URL_S3")?,
        sqs: endpoint("AWS_ENDPOINT_URL_SQS").or_else(|_| endpoint("AWS_ENDPOINT_URL_S3"))?,
        region: or("AWS_REGION", "us-east-1"),
        access_key: or("AWS_ACCESS_KEY_ID", "e2e"),
        secret_key: or("AWS_SECRET_ACCESS_KEY", "e2e"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Endpoints, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        endpoints(variable).map_err(|error| error.to_string())
    }

    const KAFKA: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");

    #[test]
    fn a_services_own_endpoint_wins() {
        let all = ("AWS_ENDPOINT_URL", "http://localhost:4566/");
        let endpoints = found(&[KAFKA, all, ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8000")]).expect("complete");
        assert_eq!((endpoints.s3.as_str(), endpoints.dynamodb.as_str()), ("localhost:4566", "localhost:8000"));
        assert_eq!(endpoints.region, "us-east-1");
    }

    #[test]
    fn what_is_missing_is_said_by_name() {
        for (variables, says) in [
            (&[][..], "KAFKA_BOOTSTRAP_SERVERS is not set"),
            (&[KAFKA], "neither AWS_ENDPOINT_URL_DYNAMODB nor AWS_ENDPOINT_URL is set"),
            (&[KAFKA, ("AWS_ENDPOINT_URL", "https://aws")], "http://HOST:PORT only"),
        ] {
            let error = found(variables).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
