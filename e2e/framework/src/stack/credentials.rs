//! Finds AWS credentials as every AWS SDK does: in the environment, in a profile, by web identity, from ECS or from
//! IMDS. They are found when a stack starts, and again before they expire.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;

use super::StackError;
use crate::resign::causes;
use crate::tls::Trust;

/// How long before their expiry credentials are renewed, so that a request that is signed now arrives while they are
/// valid.
const AHEAD: Duration = Duration::from_mins(1);

/// The provider of the SDK's default chain, with cached credentials. If it finds none, the error says what to set.
pub(crate) async fn default_chain(region: &str, trust: &Trust) -> Result<SharedCredentialsProvider, StackError> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(trust.http_client()?)
        .load()
        .await;
    match config.credentials_provider() {
        Some(chain) => remembered(chain).await,
        None => Err(missing("the SDK has no provider")),
    }
}

/// Caches the credentials of `provider`, which is asked for them at once.
async fn remembered(provider: impl ProvideCredentials + 'static) -> Result<SharedCredentialsProvider, StackError> {
    let remembered = Remembered { provider, last: Mutex::default() };
    match remembered.provide_credentials().await {
        Ok(_) => Ok(SharedCredentialsProvider::new(remembered)),
        Err(error) => Err(missing(&causes(&error))),
    }
}

fn missing(cause: &str) -> StackError {
    let advice = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN if they are temporary), or run \
                  where a role provides them; of a profile with SSO: `eval \"$(aws configure export-credentials --format env)\"`";
    StackError::infrastructure("looking for AWS credentials", format!("{cause}\n{advice}"))
}

/// Asks its provider only when the credentials that it has are about to expire. The SDK itself caches credentials only
/// inside each of its clients.
#[derive(Debug)]
struct Remembered<P> {
    provider: P,
    /// The lock is held while the provider is asked, so that one task asks for all tasks that wait.
    last: Mutex<Option<Credentials>>,
}

impl<P: ProvideCredentials> Remembered<P> {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        let lasts = |credentials: &&Credentials, until: SystemTime| credentials.expiry().is_none_or(|end| end > until);
        let now = SystemTime::now();
        if let Some(credentials) = last.as_ref().filter(|credentials| lasts(credentials, now + AHEAD)) {
            return Ok(credentials.clone());
        }
        match self.provider.provide_credentials().await {
            Ok(found) => Ok(last.insert(found).clone()),
            // The present credentials may be valid until the provider works again.
            Err(error) => last.as_ref().filter(|credentials| lasts(credentials, now)).cloned().ok_or(error),
        }
    }
}

impl<P: ProvideCredentials> ProvideCredentials for Remembered<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Provides these keys one after the other, each valid for this many seconds, and then an error.
    #[derive(Debug)]
    struct Turns(std::sync::Mutex<VecDeque<(&'static str, Option<u64>)>>);

    impl ProvideCredentials for Turns {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let next = self.0.lock().expect("the turns").pop_front();
            future::ProvideCredentials::ready(match next {
                None => Err(CredentialsError::not_loaded("nothing more")),
                Some((key, seconds)) => {
                    let expiry = seconds.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
                    Ok(Credentials::new(key, "secret", None, expiry, "test"))
                }
            })
        }
    }

    fn turns(turns: &[(&'static str, Option<u64>)]) -> Turns {
        Turns(std::sync::Mutex::new(turns.iter().copied().collect()))
    }

    async fn keys(provider: &SharedCredentialsProvider, count: usize) -> Vec<String> {
        let mut keys = Vec::new();
        for _ in 0..count {
            let found = provider.provide_credentials().await;
            keys.push(found.map_or_else(|error| causes(&error), |found| found.access_key_id().to_owned()));
        }
        keys
    }

    #[tokio::test]
    async fn a_provider_is_asked_again_only_when_its_credentials_are_about_to_expire() {
        let provider = remembered(turns(&[("first", Some(30)), ("second", Some(3600)), ("third", None)])).await;
        assert_eq!(keys(&provider.expect("credentials"), 3).await, ["second", "second", "second"]);
        let provider = remembered(turns(&[("first", None), ("second", None)])).await;
        assert_eq!(keys(&provider.expect("credentials"), 2).await, ["first", "first"]);
    }

    #[tokio::test]
    async fn credentials_are_used_to_their_end_and_no_further_if_there_are_no_new_ones() {
        let provider = remembered(turns(&[("first", Some(30))])).await;
        assert_eq!(keys(&provider.expect("credentials"), 2).await, ["first", "first"]);
        let provider = remembered(turns(&[("first", Some(0))])).await.expect("credentials");
        let found = keys(&provider, 1).await;
        assert!(found[0].contains("nothing more"), "{found:?}");
    }

    #[tokio::test]
    async fn missing_credentials_are_the_environments_fault_and_it_is_said_what_to_set() {
        let error = remembered(turns(&[])).await.expect_err("no credentials");
        assert!(error.infrastructure);
        let error = error.to_string();
        assert!(error.starts_with("looking for AWS credentials: ") && error.contains("nothing more"), "{error}");
        assert!(error.contains("AWS_PROFILE") && error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    }
}
