//! The metrics of `fms simulate`, `fms_simulator_*`, which Prometheus reads.

use fms_simulator::Progress;
use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::{MetricsPage, say};

const MESSAGES: &str = "fms_simulator_messages_total";
const ROWS: &str = "fms_simulator_rows_total";
const BYTES: &str = "fms_simulator_bytes_total";
const ERRORS: &str = "fms_simulator_errors_total";
const BEHIND: &str = "fms_simulator_behind_seconds";
const VEHICLES: &str = "fms_simulator_vehicles";
const TIME: &str = "fms_simulator_time_seconds";

/// The metrics of a run. They answer until this value is dropped.
struct Metrics {
    _page: MetricsPage,
}

impl Metrics {
    /// Answers at this port of all addresses; 0 is one that the system chooses, which is printed.
    fn start(port: u16) -> anyhow::Result<Self> {
        let page = MetricsPage::start(port)?;
        describe();
        Ok(Self { _page: page })
    }

    /// Tells how far the run is.
    #[expect(clippy::cast_precision_loss, clippy::unused_self, reason = "gauges; and nothing is told before the start")]
    fn tell(&self, progress: &Progress) {
        counter!(MESSAGES).absolute(progress.messages);
        counter!(ROWS).absolute(progress.rows);
        counter!(BYTES).absolute(progress.bytes);
        counter!(ERRORS).absolute(progress.errors);
        gauge!(BEHIND).set(progress.behind.as_secs_f64());
        gauge!(TIME).set(progress.second as f64);
        let (driving, all) = progress.driving;
        gauge!(VEHICLES, "state" => "driving").set(driving as f64);
        gauge!(VEHICLES, "state" => "parked").set((all - driving) as f64);
    }
}

/// Says how far a run is each time that it is called, and gives it to Prometheus at this port, if there is one.
pub(super) fn teller(port: Option<u16>) -> anyhow::Result<impl FnMut(&Progress)> {
    let metrics = port.map(Metrics::start).transpose()?;
    Ok(move |progress: &Progress| {
        say(&progress.to_string());
        if let Some(metrics) = &metrics {
            metrics.tell(progress);
        }
    })
}

fn describe() {
    for (name, text) in [
        (MESSAGES, "Messages sent."),
        (ROWS, "Rows of the messages that were sent."),
        (BYTES, "Bytes of the values that were sent."),
        (ERRORS, "Errors of the client; what was not sent is tried again."),
    ] {
        describe_counter!(name, text);
        counter!(name).absolute(0);
    }
    describe_gauge!(BEHIND, "By how much messages are sent later than they are due.");
    describe_gauge!(TIME, "The time of the fleet, in seconds since the Unix epoch.");
    describe_gauge!(VEHICLES, "Vehicles by state: driving or parked.");
    gauge!(BEHIND).set(0.0);
}
