//! The log: a JSON object a line on standard error, with the id of the invocation that it belongs to.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts the log: what `RUST_LOG` selects, or else everything from `info` up.
pub(crate) fn start() {
    let chosen = std::env::var("RUST_LOG").ok().filter(|directives| !directives.is_empty());
    let filter = EnvFilter::try_new(chosen.as_deref().unwrap_or("info"));
    let problem = filter.as_ref().err().map(ToString::to_string);
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_target(false);
    let log = log.with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")));
    log.with_writer(io::stderr).log_internal_errors(false).init();
    if let Some(problem) = problem {
        tracing::error!("the environment's `RUST_LOG` is not used, for it is no list of log directives: {problem}");
    }
}
