//! The metrics of a process, as a page that Prometheus reads.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use tokio::runtime::{Builder, Runtime};

use crate::say;

/// Metrics of this process, from when it was started until it is dropped.
#[derive(Debug)]
pub struct MetricsPage {
    _runtime: Runtime,
    port: u16,
}

impl MetricsPage {
    /// Answers at this port of all addresses; 0 is one that the system chooses. It is printed.
    ///
    /// # Errors
    /// The port cannot be used.
    pub fn start(port: u16) -> anyhow::Result<Self> {
        let handle = fms_serve::recorder();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("cannot start threads")?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .with_context(|| format!("cannot listen at port {port}, which --metrics-port names"))?;
        let port = listener.local_addr().context("the port of --metrics-port is unknown")?.port();
        listener.set_nonblocking(true).context("the port of --metrics-port cannot be used")?;
        let router = Router::new().route("/metrics", get(async move || fms_serve::metrics_text(handle)));
        runtime.spawn(async move {
            if let Err(error) = fms_serve::serve(listener, router).await {
                say(&format!("/metrics does not answer any more: {error}"));
            }
        });
        say(&format!("metrics: http://127.0.0.1:{port}/metrics"));
        Ok(Self { _runtime: runtime, port })
    }

    /// Where it answers.
    pub const fn port(&self) -> u16 {
        self.port
    }
}
