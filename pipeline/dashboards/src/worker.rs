//! What the dashboard of the worker shows.

use super::{Dashboard, Kind, Row, Unit, panel};

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "fms-worker",
        title: "fms: worker",
        job: "fms-worker",
        labels: &[("connector", "kafka_connect_sink_task_partition_count")],
        rows: vec![wrong(), throughput(), lag(), errors(), memory()],
    }
}

fn wrong() -> Row {
    let panels = vec![
        panel(
            "Workers",
            "Workers that answer. None is an outage.",
            Kind::NumberAbove { red_to: 0.0 },
            Unit::Count,
            &[(r#"sum(up{job="fms-worker",instance=~"$instance"})"#, "workers")],
        ),
        panel(
            "Failed tasks",
            "Tasks that have stopped because of an error. Their partitions are not read; the run-book's FmsTaskFailed says what to do.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"sum(kafka_connect_connector_task_status{status="FAILED",instance=~"$instance",connector=~"$connector"})"#,
                "tasks",
            )],
        ),
        panel(
            "Largest lag",
            "How far the partition that is furthest behind is behind its end, in records.",
            Kind::Number { red_from: 100_000.0 },
            Unit::Count,
            &[(
                r#"max(kafka_connect_sink_task_sink_record_lag_max{instance=~"$instance",connector=~"$connector"})"#,
                "records",
            )],
        ),
        panel(
            "Stuck partitions",
            "Partitions that are more than 100 records behind and have not come closer to their end for five minutes.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"count(fms_lag_records{instance=~"$instance",connector=~"$connector"} > 100 and delta(fms_lag_records[5m]) >= 0) or vector(0)"#,
                "partitions",
            )],
        ),
        panel(
            "Dead letters in an hour",
            "Records and rows of the last hour that could not be stored. They are in the dead-letter topic with their reasons.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"sum(increase(kafka_connect_task_error_deadletterqueue_produce_requests{instance=~"$instance",connector=~"$connector"}[1h]))"#,
                "letters",
            )],
        ),
        panel(
            "Buffer",
            "How much of the worker's buffer is held. Above 90 % for long, the sinks take less than Kafka gives.",
            Kind::Number { red_from: 0.9 },
            Unit::Count,
            &[(
                r#"max(fms_buffer_used_bytes{instance=~"$instance"} / fms_buffer_limit_bytes{instance=~"$instance"})"#,
                "part",
            )],
        ),
    ];
    Row { title: "Is anything wrong?", panels }
}

fn throughput() -> Row {
    let panels = vec![
        panel(
            "Records read",
            "Records that tasks have read from Kafka.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (connector) (rate(kafka_connect_sink_task_sink_record_read_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                "{{connector}}",
            )],
        ),
        panel(
            "Rows stored",
            "Rows that the services have acknowledged. One record becomes as many rows as its list has elements.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (connector) (rate(fms_sink_rows_written_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                "{{connector}}",
            )],
        ),
        panel(
            "Bytes stored",
            "Bytes that were sent to the services, as they are stored.",
            Kind::Lines,
            Unit::BytesPerSecond,
            &[(
                r#"sum by (connector) (rate(fms_sink_bytes_written_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                "{{connector}}",
            )],
        ),
        panel(
            "Flushes by reason",
            "What made flushes due. Many flushes for memory mean that objects are smaller than they are configured to be.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (connector, reason) (rate(fms_flushes_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                "{{connector}}: {{reason}}",
            )],
        ),
    ];
    Row { title: "Throughput", panels }
}

fn lag() -> Row {
    let panels = vec![
        panel(
            "Lag by connector",
            "Records between the committed offsets and the ends of all partitions. A line that only rises means too few workers.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"sum by (connector) (fms_lag_records{instance=~"$instance",connector=~"$connector"})"#,
                "{{connector}}",
            )],
        ),
        panel(
            "The ten partitions that are furthest behind",
            "One partition alone far behind is a record that cannot be stored, or a vehicle that sends too much.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"topk(10, fms_lag_records{instance=~"$instance",connector=~"$connector"})"#,
                "{{connector}}: {{topic}}-{{partition}}",
            )],
        ),
        panel(
            "Offset commits",
            "Commits that succeeded, and those that failed and are made again.",
            Kind::Lines,
            Unit::PerSecond,
            &[
                (
                    r#"sum by (connector) (rate(kafka_connect_sink_task_offset_commit_completion_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                    "{{connector}}: done",
                ),
                (
                    r#"sum by (connector) (rate(kafka_connect_sink_task_offset_commit_failure_total{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                    "{{connector}}: failed",
                ),
            ],
        ),
        panel(
            "Partitions by worker",
            "How the group has divided the partitions among its members.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"sum by (instance, connector) (kafka_connect_sink_task_partition_count{instance=~"$instance",connector=~"$connector"})"#,
                "{{instance}}: {{connector}}",
            )],
        ),
    ];
    Row { title: "Lag and commits", panels }
}

fn errors() -> Row {
    let panels = vec![
        panel(
            "Dead letters",
            "Records and rows that went to the dead-letter topic, and those that could not be delivered there.",
            Kind::Lines,
            Unit::PerSecond,
            &[
                (
                    r#"sum by (connector) (rate(kafka_connect_task_error_deadletterqueue_produce_requests{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                    "{{connector}}: sent",
                ),
                (
                    r#"sum by (connector) (rate(kafka_connect_task_error_deadletterqueue_produce_failures{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                    "{{connector}}: undelivered",
                ),
            ],
        ),
        panel(
            "Retries",
            "Calls that are made again, because the service was throttling or could not be reached.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (connector) (rate(kafka_connect_task_error_total_retries{instance=~"$instance",connector=~"$connector"}[$__rate_interval]))"#,
                "{{connector}}",
            )],
        ),
    ];
    Row { title: "Errors", panels }
}

fn memory() -> Row {
    let panels = vec![panel(
        "Buffer",
        "Bytes between Kafka and the sinks, and the part of buffer.memory that the tasks share.",
        Kind::Lines,
        Unit::Bytes,
        &[
            (r#"sum by (instance) (fms_buffer_used_bytes{instance=~"$instance"})"#, "{{instance}}: held"),
            (r#"sum by (instance) (fms_buffer_limit_bytes{instance=~"$instance"})"#, "{{instance}}: limit"),
        ],
    )];
    Row { title: "Memory", panels }
}
