//! Writes a dashboard in the format of Grafana's files, whose version is [`SCHEMA`].
//!
//! No data source is fixed: the variable `datasource` chooses one of the kind Prometheus.

use serde_json::{Value, json};

use super::{Dashboard, Kind, Panel, Unit};

/// The version of the format.
const SCHEMA: u32 = 39;

/// The width of a dashboard, in Grafana's columns.
const WIDTH: usize = 24;

pub(crate) fn write(dashboard: &Dashboard) -> Value {
    let Dashboard { uid, title, job, labels, rows } = dashboard;
    let mut panels = Vec::new();
    let (mut id, mut y) = (0, 0);
    let mut next = || {
        id += 1;
        id
    };
    for row in rows {
        let place = json!({"h": 1, "w": WIDTH, "x": 0, "y": y});
        panels.push(json!({"type": "row", "id": next(), "title": row.title, "collapsed": false, "gridPos": place, "panels": []}));
        y += 1;
        let is_small = row.panels.iter().all(|panel| !matches!(panel.kind, Kind::Lines | Kind::Table));
        let (height, in_a_line) = if is_small { (4, 6) } else { (8, 2) };
        for line in row.panels.chunks(in_a_line) {
            let width = WIDTH / line.len();
            for (at, panel) in line.iter().enumerate() {
                panels.push(panel_of(panel, next(), &json!({"h": height, "w": width, "x": at * width, "y": y})));
            }
            y += height;
        }
    }
    let mut variables = vec![
        json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}),
        variable("instance", &format!("label_values(up{{job=\"{job}\"}}, instance)")),
    ];
    variables.extend(labels.iter().map(|(label, metric)| variable(label, &format!("label_values({metric}, {label})"))));
    json!({
        "uid": uid, "title": title, "tags": ["fms"], "schemaVersion": SCHEMA, "editable": false, "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
        "links": [{"type": "dashboards", "title": "fms", "tags": ["fms"], "asDropdown": true, "includeVars": true}],
        "templating": {"list": variables}, "panels": panels,
    })
}

/// A variable with the values of a label, of which all are chosen at first.
fn variable(label: &str, query: &str) -> Value {
    json!({
        "name": label, "label": label, "type": "query", "query": query, "refresh": 2, "sort": 1, "multi": true,
        "includeAll": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "datasource": source(),
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn panel_of(panel: &Panel, id: u32, place: &Value) -> Value {
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..)
        .map(|(query, name)| {
            let mut target =
                json!({"refId": name, "expr": query.expr, "legendFormat": query.legend, "datasource": source()});
            if matches!(panel.kind, Kind::Table) {
                target["format"] = json!("table");
                target["instant"] = json!(true);
            }
            target
        })
        .collect();
    let (kind, thresholds, options) = match panel.kind {
        Kind::Number { red_from } => ("stat", steps("green", "red", red_from), number()),
        Kind::NumberAbove { red_to } => ("stat", steps("red", "green", red_to + 1.0), number()),
        Kind::Table => ("table", plain(), json!({"showHeader": true})),
        Kind::Lines => (
            "timeseries",
            plain(),
            json!({"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}),
        ),
    };
    let mut written = json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.about, "datasource": source(),
        "gridPos": place, "targets": targets, "options": options,
        "fieldConfig": {"defaults": {"unit": unit(panel.unit), "min": 0, "thresholds": thresholds}, "overrides": []},
    });
    if matches!(panel.kind, Kind::Table) {
        // What Prometheus adds to every line says nothing here.
        let hidden = json!({"Time": true, "__name__": true, "instance": true, "job": true});
        written["transformations"] = json!([{"id": "organize", "options": {"excludeByName": hidden}}]);
    }
    written
}

fn plain() -> Value {
    json!({"mode": "absolute", "steps": [{"color": "green", "value": null}]})
}

fn steps(below: &str, above: &str, from: f64) -> Value {
    json!({"mode": "absolute", "steps": [{"color": below, "value": null}, {"color": above, "value": from}]})
}

fn number() -> Value {
    json!({"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value"})
}

/// The unit by Grafana's name for it.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerSecond => "cps",
        Unit::BytesPerSecond => "Bps",
        Unit::Bytes => "bytes",
        Unit::Seconds => "s",
        Unit::Usd => "currencyUSD",
    }
}
