//! The images of the containers. They are pinned here, and environment variables can override them.

use crate::proxy::service;
use crate::stack::StackError;

/// A service that runs in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ContainerService {
    /// Apache Kafka on the JVM. The native image is not used, because about one of twenty of its starts crashes.
    Kafka,
    /// LocalStack, for S3 and SQS. 4.14.0 is the last tag that runs without a token.
    LocalStack,
    /// DynamoDB Local.
    DynamoDb,
}

impl ContainerService {
    /// All services that run in containers.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::LocalStack, Self::DynamoDb];

    /// The name of the service for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::LocalStack => "LocalStack",
            Self::DynamoDb => "DynamoDB Local",
        }
    }

    /// The AWS services in this container. LocalStack's image without a token has no Glue, which the framework serves
    /// itself.
    pub(crate) fn aws_services(self) -> impl Iterator<Item = &'static service::Service> {
        service::ALL.into_iter().filter(move |aws| match self {
            Self::Kafka => false,
            Self::DynamoDb => aws.name == service::DYNAMODB.name,
            Self::LocalStack => [service::S3.name, service::SQS.name].contains(&aws.name),
        })
    }

    /// The environment variable that names another image.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Kafka => "E2E_KAFKA_IMAGE",
            Self::LocalStack => "E2E_LOCALSTACK_IMAGE",
            Self::DynamoDb => "E2E_DYNAMODB_IMAGE",
        }
    }

    fn default_image(self) -> &'static str {
        match self {
            Self::Kafka => "apache/kafka:4.3.1",
            Self::LocalStack => "localstack/localstack:4.14.0",
            Self::DynamoDb => "amazon/dynamodb-local:1.25.1",
        }
    }
}

/// The environment variable with a registry or mirror. It is put before image names without a registry, as in the
/// Testcontainers of other languages.
pub(crate) const PREFIX: &str = "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX";

/// An image's name and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// `registry/repository`, followed by `@sha256` if a digest is given.
    pub name: String,
    /// The tag or the digest.
    pub tag: String,
}

impl ImageName {
    /// The image of a service, by the environment variables that `env` returns.
    pub(crate) fn of(service: ContainerService, env: impl Fn(&str) -> Option<String>) -> Result<Self, StackError> {
        let given = env(service.variable()).filter(|image| !image.is_empty());
        let image = given.unwrap_or_else(|| service.default_image().to_owned());
        let refuse = |problem: String| {
            Err(StackError::infrastructure(
                format!("choosing the image of {} from {}", service.name(), service.variable()),
                problem,
            ))
        };
        if image.contains("kafka-native") {
            return refuse(format!(
                "`{image}` crashes in about one of twenty starts; use the image on the JVM, such as {}",
                service.default_image()
            ));
        }
        // A colon before the last slash belongs to the registry's port.
        let last = image.rfind('/').map_or(0, |slash| slash + 1);
        let Some(colon) = image[last..].rfind(':').map(|colon| last + colon) else {
            return refuse(format!("`{image}` has no tag; write NAME:TAG, such as {}", service.default_image()));
        };
        let (name, tag) = (&image[..colon], &image[colon + 1..]);
        let prefix = env(PREFIX).filter(|prefix| !prefix.is_empty() && !has_registry(name));
        let name = prefix.map_or_else(|| name.to_owned(), |prefix| format!("{}/{name}", prefix.trim_end_matches('/')));
        Ok(Self { name, tag: tag.to_owned() })
    }

    /// `name:tag`.
    pub(crate) fn full(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// Whether a name contains its registry. Docker takes the part before the first slash for a registry if it looks like a
/// host.
fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(service: ContainerService, variables: &[(&str, &str)]) -> Result<String, String> {
        let env = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        ImageName::of(service, env).map(|image| image.full()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_pinned_and_every_one_can_be_overridden() {
        for service in ContainerService::ALL {
            let default = image(service, &[]).expect("valid");
            assert!(!default.ends_with(":latest") && default == service.default_image(), "{default}");
            let digest = "mirror.example:5000/a/b@sha256:0123";
            assert_eq!(image(service, &[(service.variable(), digest)]), Ok(digest.to_owned()));
        }
    }

    #[test]
    fn the_prefix_stands_before_names_without_a_registry() {
        let prefix = (PREFIX, "mirror.example/hub/");
        assert_eq!(image(ContainerService::Kafka, &[prefix]), Ok("mirror.example/hub/apache/kafka:4.3.1".to_owned()));
        let other = "ghcr.io/apache/kafka:4.0.0";
        assert_eq!(image(ContainerService::Kafka, &[prefix, ("E2E_KAFKA_IMAGE", other)]), Ok(other.to_owned()));
    }

    #[test]
    fn an_image_without_a_tag_and_the_native_one_are_refused() {
        let error = image(ContainerService::LocalStack, &[("E2E_LOCALSTACK_IMAGE", "localhost:5000/localstack")])
            .expect_err("no tag");
        assert!(error.contains("write NAME:TAG") && error.contains("E2E_LOCALSTACK_IMAGE"), "{error}");
        let error =
            image(ContainerService::Kafka, &[("E2E_KAFKA_IMAGE", "apache/kafka-native:4.3.1")]).expect_err("native");
        assert!(error.contains("one of twenty starts"), "{error}");
    }
}
