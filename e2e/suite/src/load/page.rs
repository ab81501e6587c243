//! A report as one HTML page that needs nothing else: plots are drawn as SVG within it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cost::FLEETS;
use super::plot::{Plot, Series};
use super::report::Report;
use super::text::{number, perhaps};

/// How pages look.
const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; color: #fff; }
.PASSED { background: #1a7f37; } .FAILED, .INVALID { background: #b42318; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem; }
.broken { color: #b42318; font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.legend span { margin-right: 1rem; white-space: nowrap; } .legend i { display: inline-block; width: .8rem; height: .25rem;
  margin-right: .3rem; vertical-align: middle; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; }
@media (max-width: 40rem) {
  table { font-size: .85rem; } th, td { padding-right: .5rem; }
  th:first-child, td:first-child { min-width: 6.5rem; overflow-wrap: anywhere; }
}
";

/// How a page begins, up to what it shows.
pub fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n"
    )
}

/// The page of a report.
pub fn page(report: &Report) -> String {
    let verdict = report.verdict();
    let sent = &report.sent;
    let name = escaped(&report.name);
    let mut html = head(&format!("{name}: {verdict}"));
    let _infallible = write!(
        html,
        "<h1>{name} <span class=\"verdict {verdict}\">{verdict}</span></h1>\n<p>{description}</p>\n\
         <p>{messages} messages with {rows} rows were sent in {seconds} s, on {stack}, to {subject}. The latest message left \
         {late} ms after it was due. Everything was stored {drain:.1} s after the last one.</p>\n",
        description = escaped(&report.plan.description),
        messages = sent.messages,
        rows = sent.rows,
        seconds = sent.seconds,
        stack = escaped(&report.stack),
        subject = escaped(&report.subject),
        late = number(sent.latest_ms),
        drain = report.drain_seconds,
    );
    if let Some(problem) = &report.invalid {
        let _infallible = writeln!(html, "<p class=\"broken\">{}</p>", escaped(problem));
    }
    limits(&mut html, report);
    delays(&mut html, report);
    plots(&mut html, report);
    steps(&mut html, report);
    calls(&mut html, report);
    html.push_str("<h2>Plan</h2>\n<pre>");
    html.push_str(&escaped(&toml::to_string(&report.plan).unwrap_or_default()));
    let machine = &report.machine;
    let build = if machine.is_release { "a release build" } else { "a development build" };
    let _infallible = write!(
        html,
        "</pre>\n<h2>Machine</h2>\n<p>{} cores of {}, {} GB, {build}; {}</p>\n</body></html>\n",
        machine.cores,
        escaped(&machine.processor),
        machine.memory_gb,
        escaped(&machine.at)
    );
    html
}

fn limits(html: &mut String, report: &Report) {
    let rows = report.checks.iter().map(|check| {
        let mark = if check.is_kept { "kept" } else { "<span class=\"broken\">broken</span>" };
        vec![escaped(&check.what), mark.to_owned(), number(check.measured), number(check.limit)]
    });
    table(html, "Limits", &["", "", "measured", "at most"], rows);
    let differing: Vec<String> = report
        .stores
        .iter()
        .flat_map(|store| store.hours.iter().chain(&store.rows).map(|row| format!("{}: {row}", store.store)))
        .collect();
    if !differing.is_empty() {
        let _infallible = writeln!(html, "<pre>{}</pre>", escaped(&differing.join("\n")));
    }
}

fn delays(html: &mut String, report: &Report) {
    let rows = report.delays.iter().map(|(store, delay)| {
        let times = [delay.p50, delay.p90, delay.p99, delay.p999, delay.max].map(number);
        let counts = [delay.count, delay.missing].map(|count| count.to_string());
        std::iter::once(escaped(store)).chain(times).chain(counts).collect()
    });
    let heads = ["milliseconds from due to", "p50", "p90", "p99", "p99.9", "max", "rows", "missing"];
    table(html, "Delays", &heads, rows);
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes for plots")]
fn plots(html: &mut String, report: &Report) {
    let moments = &report.moments;
    html.push_str("<h2>Over time</h2>\n<div class=\"plots\">\n");
    let rates = |of: &dyn Fn(usize) -> Option<f64>| -> Vec<(f64, f64)> {
        let rate = |at: usize| {
            let seconds = moments[at].second - moments[at - 1].second;
            Some((moments[at].second, ((of(at)? - of(at - 1)?) / seconds.max(0.001)).max(0.0)))
        };
        (1..moments.len()).filter_map(rate).collect()
    };
    let sent = |at: usize| Some(moments[at].sent as f64);
    let mut rate = vec![Series { name: "sent".to_owned(), points: rates(&sent) }];
    let mut lag: BTreeMap<&String, Vec<(f64, f64)>> = BTreeMap::new();
    for moment in moments {
        for (group, behind) in &moment.lag {
            lag.entry(group).or_default().push((moment.second, *behind as f64));
        }
    }
    for group in lag.keys() {
        let stored = |at: usize| Some(moments[at].sent as f64 - *moments[at].lag.get(*group)? as f64);
        rate.push(Series { name: (*group).clone(), points: rates(&stored) });
    }
    let bounds: Vec<(f64, String)> = report.steps.iter().map(|step| (step.begins, step.name.clone())).collect();
    let mut draw = |title: &str, series: Vec<Series>| {
        Plot { title, x: "s", series, bounds: &bounds }.draw(html);
    };
    draw("Messages a second", rate);
    draw("Messages behind", lag.into_iter().map(|(name, points)| Series { name: name.clone(), points }).collect());
    let usage = |of: &dyn Fn(&super::usage::Usage) -> f64| -> Vec<Series> {
        let mut points: BTreeMap<&String, Vec<(f64, f64)>> = BTreeMap::new();
        for moment in moments {
            for (name, usage) in &moment.processes {
                points.entry(name).or_default().push((moment.second, of(usage)));
            }
        }
        points.into_iter().map(|(name, points)| Series { name: name.clone(), points }).collect()
    };
    draw("Cores busy", usage(&|usage| usage.cores));
    draw("Memory, MB", usage(&|usage| usage.memory as f64 / 1e6));
    draw("Open files and connections", usage(&|usage| usage.open as f64));
    let curve = report.delays.iter().map(|(store, delay)| {
        // The places of percentiles are as far apart as the rows that are slower get fewer.
        let place = |percent: f64| -(1.0 - (percent / 100.0).min(0.9999)).log10();
        let points = delay.curve.iter().map(|(percent, ms)| (place(*percent), *ms)).collect();
        Series { name: store.clone(), points }
    });
    let marks = [(1.0, "p90"), (2.0, "p99"), (3.0, "p99.9")].map(|(at, name)| (at, name.to_owned()));
    Plot { title: "Delay by percentile, ms", x: "", series: curve.collect(), bounds: &marks }.draw(html);
    html.push_str("</div>\n");
}

fn steps(html: &mut String, report: &Report) {
    let rows = report.steps.iter().map(|step| {
        let p99 = ["dynamodb", "raw", "lake"].map(|store| perhaps(step.p99.get(store).copied().flatten()));
        let figures = [number(step.messages_per_second), number(step.stored_per_second), step.lag.to_string()];
        std::iter::once(escaped(&step.name)).chain(figures).chain(p99).collect()
    });
    let heads = ["step", "sent/s", "stored/s", "behind at its end", "p99 dynamodb", "p99 raw", "p99 lake"];
    table(html, "Steps", &heads, rows);
    let lags = report.worst_lag.iter().filter(|(_, lag)| **lag > 0);
    let rows = lags.map(|(partition, lag)| vec![escaped(partition), lag.to_string()]);
    table(html, "Most messages behind, by partition", &["group and partition", "messages"], rows);
    if !report.recoveries.is_empty() {
        let rows = report.recoveries.iter().map(|recovery| {
            let figures = [recovery.away, recovery.seconds, report.memory_of(recovery)].map(number);
            std::iter::once(escaped(&recovery.step)).chain(figures).collect()
        });
        let heads = ["step", "broker away, s", "seconds to recover", "most memory of a worker, MB"];
        table(html, "Recoveries", &heads, rows);
    }
    let growth = report.growth();
    if !growth.is_empty() {
        let rows = growth
            .iter()
            .map(|(process, growth)| vec![escaped(process), number(growth.memory_mb), number(growth.open)]);
        table(html, "Growth in an hour, in the longest step", &["process", "memory, MB", "open files"], rows);
    }
    if !report.restarts.is_empty() {
        let rows = report.restarts.iter().map(|restart| {
            let figures = [restart.second, restart.to_end, restart.to_be_ready].map(number);
            std::iter::once(escaped(&restart.worker)).chain(figures).collect()
        });
        table(html, "Restarts", &["worker", "told to stop at, s", "seconds to end", "then to be ready"], rows);
    }
}

fn calls(html: &mut String, report: &Report) {
    let rows = report.calls.iter().map(|call| {
        let counts = [call.calls, call.throttled, call.failed, call.bytes].map(|count| count.to_string());
        std::iter::once(format!("{} {}", escaped(&call.service), escaped(&call.operation))).chain(counts).collect()
    });
    table(html, "Calls of the pipeline", &["", "calls", "throttled", "failed", "bytes"], rows);
    let cost = &report.cost;
    let rows = cost.usd.iter().map(|(what, usd)| vec![escaped(what), number(*usd)]);
    table(html, "What the calls cost, in USD", &["", "USD"], rows);
    let _infallible = writeln!(
        html,
        "<p>{} USD a million rows, {} USD a month at this rate, by the prices of {} in {}. Not in it: {}.</p>",
        number(cost.usd_per_million_rows),
        number(cost.usd_per_month),
        escaped(&cost.as_of),
        escaped(&cost.region),
        escaped(&cost.left_out.join(", "))
    );
    let rows =
        FLEETS.map(|vehicles| vec![vehicles.to_string(), number(cost.usd_per_vehicle_month * f64::from(vehicles))]);
    table(html, "A month by vehicles like these, at the speed of real ones", &["vehicles", "USD"], rows.into_iter());
}

/// Adds a table with a heading. Cells are HTML.
pub fn table(html: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let cells = |tag: &str, cells: &[String]| {
        cells.iter().fold(String::new(), |row, cell| row + &format!("<{tag}>{cell}</{tag}>"))
    };
    let heads: Vec<String> = heads.iter().map(|head| escaped(head)).collect();
    let _infallible =
        write!(html, "<h2>{}</h2>\n<div class=\"wide\"><table><tr>{}</tr>", escaped(title), cells("th", &heads));
    for row in rows {
        let _infallible = write!(html, "<tr>{}</tr>", cells("td", &row));
    }
    html.push_str("</table></div>\n");
}

/// Text as it stands in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
