//! HTTPS requests of which nothing is logged, because their heads and URLs are secret.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The most bytes of an answer.
const ANSWER: usize = 1 << 20;

/// A client that trusts the certificates of the operating system.
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// An answer, whatever its status is.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// The body, in which bytes that are no UTF-8 are replaced.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent.
    #[error("it cannot be reached: {0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("it did not answer: {0}")]
    Unknown(String),
}

impl Http {
    /// A client whose requests may take so long, with their answers.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn new(timeout: Duration) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Each request has a connection of its own: one that the server closes meanwhile would leave it open whether
        // the request has arrived.
        Ok(Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector), timeout })
    }

    /// Sends a request, and waits for the whole answer.
    ///
    /// # Errors
    ///
    /// There is no answer, or not in time.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let whole = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let text = causes(&error);
                if error.is_connect() { Failure::NotSent(text) } else { Failure::Unknown(text) }
            })?;
            let status = answer.status();
            let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| Failure::Unknown(format!("the answer was cut off: {error}")))?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answer { status, retry_after: seconds.map(Duration::from_secs), body })
        };
        let late = |_| Err(Failure::Unknown(format!("no answer within {:?}", self.timeout)));
        tokio::time::timeout(self.timeout, whole).await.unwrap_or_else(late)
    }
}

/// An error with its causes. None of them names the URL.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}
