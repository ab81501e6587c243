//! The metrics of this process, and the text of them that Prometheus reads.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The upper limits of the buckets of every histogram of seconds: from what a small object takes to what a large one
/// may.
const SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// How often samples of histograms are put into their buckets if nobody reads the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_mins(1);

/// Collects every metric of this process from now on, and returns what renders them, which is always the same. Handles
/// that were made before the first call count into nothing.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS);
        // Only an empty list of buckets is an error.
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::error!("this process collects metrics elsewhere already: `/metrics` will be empty");
        }
        handle
    })
}

/// The answer of `/metrics`.
pub fn metrics_text(metrics: &PrometheusHandle) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

/// Keeps histograms small, without end. A process that has none needs no upkeep.
pub async fn upkeep(metrics: &PrometheusHandle) -> Infallible {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        metrics.run_upkeep();
    }
}
