//! What the dashboard of the poller of the lake shows.

use super::{Dashboard, Kind, Row, Unit, panel};

/// What the calls of S3 of an hour cost: those that write or list 0.005 USD a thousand, others 0.0004, and those that
/// delete nothing.
const COST_OF_S3: &str = concat!(
    r#"0.018 * sum(rate(fms_lake_s3_calls_total{operation=~"(Put|Copy|List|Create|Upload|Complete).*",instance=~"$instance"}[$__rate_interval]))"#,
    r#" + 0.00144 * sum(rate(fms_lake_s3_calls_total{operation=~"(Get|Head).*",instance=~"$instance"}[$__rate_interval]))"#
);

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "fms-lake",
        title: "fms: lake",
        job: "fms-poller",
        labels: &[],
        rows: vec![wrong(), conversion(), queues(), calls()],
    }
}

fn wrong() -> Row {
    let panels = vec![
        panel(
            "Pollers",
            "Pollers that answer. None means that raw objects wait.",
            Kind::NumberAbove { red_to: 0.0 },
            Unit::Count,
            &[(r#"sum(up{job="fms-poller",instance=~"$instance"})"#, "pollers")],
        ),
        panel(
            "Oldest message",
            "How long the oldest message that a poller knows of has waited. It grows while the queue cannot be read.",
            Kind::Number { red_from: 600.0 },
            Unit::Seconds,
            &[(r#"max(fms_lake_oldest_message_seconds{queue="main",instance=~"$instance"})"#, "age")],
        ),
        panel(
            "In the fallback queue",
            "Objects that could not be converted. `fms lake redrive` converts them when the cause is mended.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(r#"max(fms_lake_queue_messages{queue="fallback",state="visible",instance=~"$instance"})"#, "messages")],
        ),
        panel(
            "Oldest in the fallback queue",
            "How long one of the objects that could not be converted has waited. SQS drops it after days.",
            Kind::Number { red_from: 86_400.0 },
            Unit::Seconds,
            &[(r#"max(fms_lake_oldest_message_seconds{queue="fallback",instance=~"$instance"})"#, "age")],
        ),
        panel(
            "Failed objects in an hour",
            "Objects of the last hour that could not be converted.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(r#"sum(increase(fms_lake_objects_total{outcome="failed",instance=~"$instance"}[1h]))"#, "objects")],
        ),
        panel(
            "Rows in quarantine in an hour",
            "Rows of the last hour that do not fit their tables. `fms lake quarantine list` says which and why.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(r#"sum(increase(fms_lake_quarantined_rows_total{instance=~"$instance"}[1h])) or vector(0)"#, "rows")],
        ),
    ];
    Row { title: "Is anything wrong?", panels }
}

fn conversion() -> Row {
    let panels = vec![
        panel(
            "Objects by outcome",
            "What became of the objects that messages named.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (outcome) (rate(fms_lake_objects_total{instance=~"$instance"}[$__rate_interval]))"#,
                "{{outcome}}",
            )],
        ),
        panel(
            "Rows",
            "Rows stored in files of tables.",
            Kind::Lines,
            Unit::PerSecond,
            &[(r#"sum(rate(fms_lake_rows_total{instance=~"$instance"}[$__rate_interval]))"#, "stored")],
        ),
        panel(
            "Bytes",
            "Bytes of the raw objects that were converted, compressed as they are, and of the files that they became.",
            Kind::Lines,
            Unit::BytesPerSecond,
            &[
                (r#"sum(rate(fms_lake_raw_bytes_total{instance=~"$instance"}[$__rate_interval]))"#, "raw"),
                (r#"sum(rate(fms_lake_parquet_bytes_total{instance=~"$instance"}[$__rate_interval]))"#, "Parquet"),
            ],
        ),
        panel(
            "Rows in quarantine",
            "Rows that do not fit their tables, by reason. A new firmware that changed a field is the usual cause.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (reason) (rate(fms_lake_quarantined_rows_total{instance=~"$instance"}[$__rate_interval]))"#,
                "{{reason}}",
            )],
        ),
        panel(
            "Objects that could not be converted",
            "Objects and messages that went to the fallback queue, by reason.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (reason) (rate(fms_lake_failures_total{instance=~"$instance"}[$__rate_interval]))"#,
                "{{reason}}",
            )],
        ),
        panel(
            "Seconds for an object",
            "How long conversions took, with all of their calls.",
            Kind::Lines,
            Unit::Seconds,
            &[
                (
                    r#"histogram_quantile(0.5, sum by (le) (rate(fms_lake_conversion_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#,
                    "half of them",
                ),
                (
                    r#"histogram_quantile(0.99, sum by (le) (rate(fms_lake_conversion_seconds_bucket{instance=~"$instance"}[$__rate_interval])))"#,
                    "99 %",
                ),
            ],
        ),
        panel(
            "Versions of tables",
            "How often the columns of a table have changed. A step is a field that a device has not sent before.",
            Kind::Lines,
            Unit::Count,
            &[(r#"max by (table) (fms_lake_table_version{instance=~"$instance"})"#, "{{table}}")],
        ),
    ];
    Row { title: "Conversion", panels }
}

fn queues() -> Row {
    let panels = vec![
        panel(
            "Messages in the queues",
            "Messages that wait, that are being handled, or that are delayed.",
            Kind::Lines,
            Unit::Count,
            &[(r#"max by (queue, state) (fms_lake_queue_messages{instance=~"$instance"})"#, "{{queue}}: {{state}}")],
        ),
        panel(
            "Messages",
            "Messages received, and those deleted because nothing of them was left to do.",
            Kind::Lines,
            Unit::PerSecond,
            &[
                (r#"sum(rate(fms_lake_messages_received_total{instance=~"$instance"}[$__rate_interval]))"#, "received"),
                (r#"sum(rate(fms_lake_messages_deleted_total{instance=~"$instance"}[$__rate_interval]))"#, "deleted"),
            ],
        ),
    ];
    Row { title: "Queues", panels }
}

fn calls() -> Row {
    let panels = vec![
        panel(
            "Calls of S3",
            "Each attempt for itself, by operation and result.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (operation, result) (rate(fms_lake_s3_calls_total{instance=~"$instance"}[$__rate_interval]))"#,
                "{{operation}}: {{result}}",
            )],
        ),
        panel(
            "Calls of Glue",
            "Each attempt for itself. A conflict is another writer that was faster, which is tried again.",
            Kind::Lines,
            Unit::PerSecond,
            &[(
                r#"sum by (operation, result) (rate(fms_lake_glue_calls_total{instance=~"$instance"}[$__rate_interval]))"#,
                "{{operation}}: {{result}}",
            )],
        ),
        panel(
            "Cost of the calls in an hour",
            "What the calls cost at their rate of now, in USD, by AWS's prices on demand in us-east-1 of July 2025. The free \
             calls of each month, and what is stored, are not in it.",
            Kind::Lines,
            Unit::Usd,
            &[
                (COST_OF_S3, "S3"),
                (r#"0.00144 * sum(rate(fms_lake_queue_calls_total{instance=~"$instance"}[$__rate_interval]))"#, "SQS"),
                (r#"0.0036 * sum(rate(fms_lake_glue_calls_total{instance=~"$instance"}[$__rate_interval]))"#, "Glue"),
            ],
        ),
    ];
    Row { title: "Calls", panels }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prices are those by which load tests are priced.
    #[test]
    fn calls_cost_what_the_table_of_prices_says() {
        let table = include_str!("../../../e2e/suite/src/load/prices.toml");
        let price = |name: &str| -> f64 {
            let found = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")?.parse().ok());
            found.unwrap_or_else(|| panic!("no {name}"))
        };
        assert!(table.contains("as_of = \"2025-07\"\nregion = \"us-east-1\""), "the panel says when and where");
        let row = calls();
        let queries = row.panels.iter().find(|panel| panel.title.starts_with("Cost")).map(|panel| &panel.queries);
        let queries: Vec<&str> = queries.into_iter().flatten().map(|query| query.expr).collect();
        for (at, name, calls) in
            [(0, "s3_puts", 1e3), (0, "s3_gets", 1e3), (1, "sqs_requests", 1e6), (2, "glue_requests", 1e6)]
        {
            let an_hour = format!("{} * sum", (price(name) / calls * 3600.0 * 1e8).round() / 1e8);
            assert!(queries[at].contains(&an_hour), "{name}: {an_hour}");
        }
    }
}
