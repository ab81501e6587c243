//! Verdicts go to a Pushgateway, from which Prometheus reads them: the job that runs the checks has ended by then.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use fms_aws::Verdict as Again;
use fms_http::{Failure, Http};
use fms_query::program::retry;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};

use crate::report::{Format, report};
use crate::verdict::Verdict;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A group of metrics of a Pushgateway.
#[derive(Debug, Clone)]
pub(super) struct Group(Uri);

impl Group {
    /// The group of a URL such as `http://pushgateway:9091/metrics/job/fms-quality`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "write the URL of a group, such as http://pushgateway:9091/metrics/job/fms-quality".to_owned();
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let is_group = matches!(url.scheme_str(), Some("http" | "https")) && url.path().contains("/metrics/job/");
        if is_group { Ok(Self(url)) } else { Err(wrong()) }
    }

    /// Replaces the metrics of the group by those of these verdicts. What may pass is tried again for a minute.
    ///
    /// # Errors
    ///
    /// The Pushgateway does not take them.
    pub async fn replace(&self, verdicts: &[Verdict]) -> anyhow::Result<()> {
        let metrics = Bytes::from(report(verdicts, Format::Prometheus)?);
        let http = Http::new(TIMEOUT)?;
        let put = || async {
            let request = Request::put(&self.0).header(CONTENT_TYPE, "text/plain; version=0.0.4");
            let request =
                request.body(Full::new(metrics.clone())).map_err(|error| Failure::Unknown(error.to_string()))?;
            http.send(request).await
        };
        let verdict = |_: &Failure| Again::Transient("no-answer");
        let host = self.0.host().unwrap_or_default();
        let answer = retry("fms quality").run(format!("PUT of metrics to {host}"), verdict, put).await;
        let answer = answer.with_context(|| format!("the Pushgateway {host} has not got the verdicts"))?;
        if !answer.status.is_success() {
            bail!("the Pushgateway {host} does not take the verdicts: {}: {}", answer.status, answer.body.trim());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_group() {
        assert!(Group::parse("http://pushgateway:9091/metrics/job/fms-quality").is_ok());
        for wrong in ["pushgateway:9091", "http://pushgateway:9091", "ftp://a/metrics/job/b"] {
            assert!(Group::parse(wrong).is_err(), "{wrong}");
        }
    }
}
