//! The dashboards of worker, poller, checks, simulator and load tests for Grafana, as code: what they show is in
//! [`worker`], [`lake`], [`quality`], [`simulator`] and [`load`], and this module says what a dashboard is. `cargo run --bin
//! fms-dashboards` writes them to `deploy/grafana`.

mod json;
mod lake;
mod load;
mod quality;
mod simulator;
mod worker;

use serde_json::Value;

/// A dashboard.
struct Dashboard {
    /// The part of its address that stays the same when it is renamed, and the name of its file.
    uid: &'static str,
    title: &'static str,
    /// The job of Prometheus whose instances can be chosen.
    job: &'static str,
    /// Other labels that can be chosen, each with a metric that has it.
    labels: &'static [(&'static str, &'static str)],
    rows: Vec<Row>,
}

/// A row of panels with a heading. The first row of a dashboard says whether anything is wrong, the others give the detail.
struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

/// A panel with one or several queries.
struct Panel {
    title: &'static str,
    /// What it shows and what to make of it, for the text behind the panel's mark.
    about: &'static str,
    kind: Kind,
    unit: Unit,
    queries: Vec<Query>,
}

/// How a panel shows its queries.
enum Kind {
    /// One number. It is red from this value on.
    Number { red_from: f64 },
    /// One number, which is red at this value and below.
    NumberAbove { red_to: f64 },
    /// Lines over time.
    Lines,
    /// What there is now, a row for each line, with its labels.
    Table,
}

/// What the numbers of a panel count.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    PerSecond,
    BytesPerSecond,
    Bytes,
    Seconds,
    Usd,
}

/// A query, and the name of its line, in which `{{label}}` stands for the value of a label.
struct Query {
    expr: &'static str,
    legend: &'static str,
}

fn panel(
    title: &'static str,
    about: &'static str,
    kind: Kind,
    unit: Unit,
    queries: &[(&'static str, &'static str)],
) -> Panel {
    let queries = queries.iter().map(|(expr, legend)| Query { expr, legend }).collect();
    Panel { title, about, kind, unit, queries }
}

fn dashboards() -> [Dashboard; 5] {
    [worker::dashboard(), lake::dashboard(), quality::dashboard(), simulator::dashboard(), load::dashboard()]
}

/// Every dashboard by the name of its file, as Grafana imports it.
pub fn files() -> Vec<(String, Value)> {
    dashboards().iter().map(|dashboard| (format!("{}.json", dashboard.uid), json::write(dashboard))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana");
        for (name, dashboard) in files() {
            let found = fs::read_to_string(folder.join(&name)).unwrap_or_default();
            assert_eq!(
                serde_json::from_str::<Value>(&found).unwrap_or_default(),
                dashboard,
                "deploy/grafana/{name} is not current; renew it: cargo run --bin fms-dashboards"
            );
        }
    }

    #[test]
    fn every_panel_is_explained_and_lines_of_one_panel_can_be_told_apart() {
        for dashboard in dashboards() {
            assert!(dashboard.rows.first().is_some_and(|row| row.title == "Is anything wrong?"));
            for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
                assert!(panel.about.ends_with('.'), "{}", panel.title);
                let mut legends: Vec<&str> = panel.queries.iter().map(|query| query.legend).collect();
                legends.sort_unstable();
                legends.dedup();
                assert_eq!(legends.len(), panel.queries.len(), "{}", panel.title);
            }
        }
    }
}
