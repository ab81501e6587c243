//! Two runs beside each other, as one HTML page that needs nothing else.

use std::fmt::Write as _;

use super::page::{escaped, head, table};
use super::plot::{Plot, Series};
use super::report::{Moment, Report};
use super::text::{figures, others};

/// The page of two runs.
#[expect(clippy::cast_precision_loss, reason = "counts and bytes for plots")]
pub fn compared(before: &Report, now: &Report) -> String {
    let mut html = head(&format!("{} beside {}", escaped(&now.name), escaped(&before.name)));
    html.push_str("<h1>Two runs beside each other</h1>\n");
    for (when, report) in [("before", before), ("now", now)] {
        let verdict = report.verdict();
        let _infallible = writeln!(
            html,
            "<p>{when}: {}, {} <span class=\"verdict {verdict}\">{verdict}</span></p>",
            escaped(&report.name),
            escaped(&report.machine.at)
        );
    }
    for what in others(before, now) {
        let _infallible =
            writeln!(html, "<p class=\"broken\">The runs are of {what}, so the figures are about both.</p>");
    }
    let rows = figures(before, now).into_iter().map(|row| row.map(|cell| escaped(&cell)).to_vec());
    table(&mut html, "Figures", &["", "before", "now", "change"], rows);
    html.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
    for (store, delay) in &now.delays {
        let curve = |curve: &[(f64, f64)]| -> Vec<(f64, f64)> {
            curve.iter().map(|(percent, ms)| (-(1.0 - (percent / 100.0).min(0.9999)).log10(), *ms)).collect()
        };
        let earlier = before.delays.get(store).map(|delay| curve(&delay.curve)).unwrap_or_default();
        let series = both(earlier, curve(&delay.curve));
        let title = format!("Delay to {store} by percentile, ms");
        let marks = [(1.0, "p90"), (2.0, "p99"), (3.0, "p99.9")].map(|(at, name)| (at, name.to_owned()));
        Plot { title: &title, x: "", series, bounds: &marks }.draw(&mut html);
    }
    let lag = |moment: &Moment| moment.lag.values().copied().max().map(|lag| lag as f64);
    let memory = |moment: &Moment| {
        let of_pipeline = moment.processes.iter().filter(|(name, _)| *name != "load");
        of_pipeline.map(|(_, usage)| usage.memory as f64 / 1e6).reduce(f64::max)
    };
    let over_time: [Figure<'_>; 2] = [&lag, &memory];
    for (title, of) in ["Most messages behind", "Most memory of a process, MB"].into_iter().zip(over_time) {
        let points = |report: &Report| {
            report.moments.iter().filter_map(|moment| Some((moment.second, of(moment)?))).collect::<Vec<_>>()
        };
        Plot { title, x: "s", series: both(points(before), points(now)), bounds: &[] }.draw(&mut html);
    }
    html.push_str("</div>\n</body></html>\n");
    html
}

/// What a plot shows of a moment.
type Figure<'a> = &'a dyn Fn(&Moment) -> Option<f64>;

fn both(before: Vec<(f64, f64)>, now: Vec<(f64, f64)>) -> Vec<Series> {
    let of = |name: &str, points| Series { name: name.to_owned(), points };
    vec![of("before", before), of("now", now)]
}
