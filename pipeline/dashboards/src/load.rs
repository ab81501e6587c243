//! What the dashboard of a load test shows.

use super::{Dashboard, Kind, Row, Unit, panel};

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "fms-load",
        title: "fms: load test",
        job: "fms-load",
        labels: &[],
        rows: vec![wrong(), keeping_up(), processes()],
    }
}

fn wrong() -> Row {
    let panels = vec![
        panel(
            "Slowest of a hundred",
            "From when a message was due until its first row could be read in DynamoDB: 99 of 100 rows were faster.",
            Kind::Number { red_from: 1.0 },
            Unit::Seconds,
            &[(
                r#"histogram_quantile(0.99, sum by (le) (rate(fms_load_delay_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#,
                "p99",
            )],
        ),
        panel(
            "Sent late",
            "The share of messages that left over 50 ms after they were due. Over 0.01, the fleet itself is too slow for its machine, and the test says nothing.",
            Kind::Number { red_from: 0.01 },
            Unit::Count,
            &[(
                r#"sum(rate(fms_load_late_messages_total{instance=~"$instance"}[$__rate_interval])) / sum(rate(fms_load_messages_total{instance=~"$instance"}[$__rate_interval]))"#,
                "late",
            )],
        ),
        panel(
            "Seconds behind",
            "How long it takes to send as many messages as the group has not committed that is least behind. A pipeline that keeps up is less than two behind.",
            Kind::Number { red_from: 2.0 },
            Unit::Seconds,
            &[(
                r#"min(fms_load_lag_messages{instance=~"$instance"}) / sum(rate(fms_load_messages_total{instance=~"$instance"}[$__rate_interval]))"#,
                "behind",
            )],
        ),
    ];
    Row { title: "Is anything wrong?", panels }
}

fn keeping_up() -> Row {
    let panels = vec![
        panel(
            "Messages",
            "What is sent, at a fixed schedule, however slow the pipeline is.",
            Kind::Lines,
            Unit::PerSecond,
            &[(r#"sum(rate(fms_load_messages_total{instance=~"$instance"}[$__rate_interval]))"#, "sent")],
        ),
        panel(
            "Messages behind",
            "What each group has not committed. The group of the S3 sink commits when an object is stored, and is always behind by what it collects.",
            Kind::Lines,
            Unit::Count,
            &[(r#"sum by (group) (fms_load_lag_messages{instance=~"$instance"})"#, "{{group}}")],
        ),
        panel(
            "Delay",
            "From when a message was due until its first row could be read in DynamoDB.",
            Kind::Lines,
            Unit::Seconds,
            &[
                (
                    r#"histogram_quantile(0.5, sum by (le) (rate(fms_load_delay_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#,
                    "p50",
                ),
                (
                    r#"histogram_quantile(0.99, sum by (le) (rate(fms_load_delay_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#,
                    "p99",
                ),
            ],
        ),
        panel(
            "Vehicles and workers",
            "How many vehicles the step began with, and how many workers there are.",
            Kind::Lines,
            Unit::Count,
            &[
                (r#"sum(fms_load_vehicles{instance=~"$instance"})"#, "vehicles"),
                (r#"sum(fms_load_workers{instance=~"$instance"})"#, "workers"),
            ],
        ),
    ];
    Row { title: "Does the pipeline keep up?", panels }
}

fn processes() -> Row {
    let panels = vec![
        panel(
            "Cores busy",
            "By process. `load` is the one that sends, in which the embedded services are, too.",
            Kind::Lines,
            Unit::Count,
            &[(r#"sum by (process) (fms_load_cores{instance=~"$instance"})"#, "{{process}}")],
        ),
        panel(
            "Memory",
            "By process.",
            Kind::Lines,
            Unit::Bytes,
            &[(r#"sum by (process) (fms_load_memory_bytes{instance=~"$instance"})"#, "{{process}}")],
        ),
    ];
    Row { title: "Processes", panels }
}
