//! What the dashboard of a simulated fleet shows.

use super::{Dashboard, Kind, Row, Unit, panel};

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "fms-simulator",
        title: "fms: simulated fleet",
        job: "fms-simulator",
        labels: &[],
        rows: vec![wrong(), sending()],
    }
}

fn wrong() -> Row {
    let panels = vec![
        panel(
            "Simulators",
            "Simulators that answer. None means that nothing is sent.",
            Kind::NumberAbove { red_to: 0.0 },
            Unit::Count,
            &[(r#"sum(up{job="fms-simulator",instance=~"$instance"})"#, "simulators")],
        ),
        panel(
            "Behind schedule",
            "By how much messages leave later than they are due. A fleet that is behind is larger than its machine or its broker can take.",
            Kind::Number { red_from: 1.0 },
            Unit::Seconds,
            &[(r#"max(fms_simulator_behind_seconds{instance=~"$instance"})"#, "behind")],
        ),
        panel(
            "Errors in an hour",
            "Errors of the client in the last hour. What was not sent is tried again, and a record that is given up ends the run.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(r#"sum(increase(fms_simulator_errors_total{instance=~"$instance"}[1h]))"#, "errors")],
        ),
    ];
    Row { title: "Is anything wrong?", panels }
}

fn sending() -> Row {
    let panels = vec![
        panel(
            "Messages and rows",
            "What is sent.",
            Kind::Lines,
            Unit::PerSecond,
            &[
                (r#"sum(rate(fms_simulator_messages_total{instance=~"$instance"}[$__rate_interval]))"#, "messages"),
                (r#"sum(rate(fms_simulator_rows_total{instance=~"$instance"}[$__rate_interval]))"#, "rows"),
            ],
        ),
        panel(
            "Bytes",
            "The values of the messages that are sent.",
            Kind::Lines,
            Unit::BytesPerSecond,
            &[(r#"sum(rate(fms_simulator_bytes_total{instance=~"$instance"}[$__rate_interval]))"#, "sent")],
        ),
        panel(
            "Vehicles",
            "Vehicles that drive, and that are parked.",
            Kind::Lines,
            Unit::Count,
            &[(r#"sum by (state) (fms_simulator_vehicles{instance=~"$instance"})"#, "{{state}}")],
        ),
        panel(
            "Speed",
            "How many seconds of the fleet pass in one.",
            Kind::Lines,
            Unit::Count,
            &[(r#"max(deriv(fms_simulator_time_seconds{instance=~"$instance"}[$__rate_interval]))"#, "speed")],
        ),
    ];
    Row { title: "Sending", panels }
}
