//! A report as text for a terminal, and as Markdown for a pull request.

use std::fmt::Write as _;

use super::cost::FLEETS;
use super::limits::Check;
use super::recovery::Recovery;
use super::report::Report;
use super::rolling::Restart;
use super::slope::Growth;

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 || value == 0.0 => 0,
        value if value >= 1.0 => 1,
        value if value >= 0.01 => 3,
        _ => 6,
    };
    format!("{value:.digits$}")
}

/// A number, or a dash where nothing was measured.
pub fn perhaps(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// The report in a few lines.
pub fn text(report: &Report) -> String {
    let sent = &report.sent;
    let mut text = format!(
        "{} on {}, {}: {}\n{} messages, {} rows in {} s; the latest left {} ms late; drained in {:.1} s\n\n",
        report.name,
        report.stack,
        report.subject,
        report.plan.description,
        sent.messages,
        sent.rows,
        sent.seconds,
        number(sent.latest_ms),
        report.drain_seconds
    );
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(format!(
        "{:<10}{:>9}{:>9}{:>10}{:>10}{:>10}{:>10}  ms after due",
        "delay", "rows", "missing", "p50", "p90", "p99", "max"
    ));
    for (store, delay) in &report.delays {
        let [p50, p90, p99, max] = [delay.p50, delay.p90, delay.p99, delay.max].map(number);
        line(format!("{store:<10}{:>9}{:>9}{p50:>10}{p90:>10}{p99:>10}{max:>10}", delay.count, delay.missing));
    }
    line(String::new());
    line(format!("{:<24}{:>10}{:>10}{:>8}{:>14}", "step", "sent/s", "stored/s", "lag", "p99 dynamodb"));
    for step in &report.steps {
        let [sent, stored] = [step.messages_per_second, step.stored_per_second].map(number);
        let p99 = perhaps(step.p99.get("dynamodb").copied().flatten());
        line(format!("{:<24}{sent:>10}{stored:>10}{:>8}{p99:>14}", step.name, step.lag));
    }
    line(String::new());
    for Restart { worker, second, to_end, to_be_ready } in &report.restarts {
        let [second, to_end, to_be_ready] = [*second, *to_end, *to_be_ready].map(number);
        line(format!("{worker}: told to stop at {second} s, ended {to_end} s later, ready {to_be_ready} s after that"));
    }
    for recovery in &report.recoveries {
        let Recovery { step, away, seconds, .. } = recovery;
        let [away, seconds, memory] = [*away, *seconds, report.memory_of(recovery)].map(number);
        line(format!("{step}: away for {away} s, recovered {seconds} s later, with {memory} MB of a worker at most"));
    }
    let growth = report.growth();
    for (process, memory) in report.memory() {
        let grows = growth.get(process).map_or_else(String::new, |Growth { memory_mb, open }| {
            format!("; in an hour it grows by {} MB and {} open files", number(*memory_mb), number(*open))
        });
        line(format!("{process}: at most {} MB{grows}", number(memory)));
    }
    let cost = &report.cost;
    line(format!(
        "calls: {} USD a million rows, {} USD a month at this rate (prices of {}, {})",
        number(cost.usd_per_million_rows),
        number(cost.usd_per_month),
        cost.as_of,
        cost.region
    ));
    let fleets =
        FLEETS.map(|vehicles| format!("{vehicles}: {}", number(cost.usd_per_vehicle_month * f64::from(vehicles))));
    line(format!("USD a month by vehicles like these, at the speed of real ones: {}", fleets.join(", ")));
    line(format!("not in it: {}", cost.left_out.join(", ")));
    line(String::new());
    for check in &report.checks {
        line(checked(check));
    }
    for row in report.stores.iter().flat_map(|store| store.hours.iter().chain(&store.rows)) {
        line(format!("    {row}"));
    }
    if let Some(problem) = &report.invalid {
        line(problem.clone());
    }
    line(report.verdict().to_owned());
    text
}

fn checked(check: &Check) -> String {
    let Check { what, measured, limit, is_kept } = check;
    let mark = if *is_kept { "kept" } else { "BROKEN" };
    format!("{mark:<7}{what}: {} (at most {})", number(*measured), number(*limit))
}

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!(
        "### Load: {} - {}\n\n{} {} messages, {} rows in {} s on {} ({}).\n\n",
        report.name,
        report.verdict(),
        report.plan.description,
        report.sent.messages,
        report.sent.rows,
        report.sent.seconds,
        report.stack,
        report.subject
    );
    if let Some(problem) = &report.invalid {
        let _infallible = writeln!(text, "**{problem}**\n");
    }
    text.push_str(
        "| from due to | p50 ms | p90 ms | p99 ms | max ms | rows | missing |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for (store, delay) in &report.delays {
        let [p50, p90, p99, max] = [delay.p50, delay.p90, delay.p99, delay.max].map(number);
        let _infallible =
            writeln!(text, "| {store} | {p50} | {p90} | {p99} | {max} | {} | {} |", delay.count, delay.missing);
    }
    text.push_str("\n| limit | measured | at most | |\n|---|--:|--:|---|\n");
    for Check { what, measured, limit, is_kept } in &report.checks {
        let mark = if *is_kept { "" } else { "**broken**" };
        let _infallible = writeln!(text, "| {what} | {} | {} | {mark} |", number(*measured), number(*limit));
    }
    text
}

/// Two runs beside each other, as Markdown: what was measured before and now, and by how much it has changed.
pub fn comparison(before: &Report, now: &Report) -> String {
    let mut text =
        format!("### Load: {} ({}) beside {} ({})\n\n", now.name, now.machine.at, before.name, before.machine.at);
    for what in others(before, now) {
        let _infallible = writeln!(text, "The runs are of {what}, so the figures are about both.\n");
    }
    text.push_str("| | before | now | change |\n|---|--:|--:|--:|\n");
    for [what, before, now, change] in figures(before, now) {
        let _infallible = writeln!(text, "| {what} | {before} | {now} | {change} |");
    }
    let _infallible = writeln!(text, "\nbefore: {}, now: {}", before.verdict(), now.verdict());
    text
}

/// In what else than its figures one run differs from another.
pub fn others(before: &Report, now: &Report) -> Vec<&'static str> {
    let others = [
        ("another plan", !is_same(&before.plan, &now.plan)),
        ("other services", before.stack != now.stack),
        ("another pipeline", before.subject != now.subject),
        (
            "another machine",
            before.machine.processor != now.machine.processor || before.machine.cores != now.machine.cores,
        ),
        ("another kind of build", before.machine.is_release != now.machine.is_release),
    ];
    others.into_iter().filter_map(|(what, is_other)| is_other.then_some(what)).collect()
}

/// What was measured, before and now, and by how much it has changed.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn figures(before: &Report, now: &Report) -> Vec<[String; 4]> {
    let mut figures = Vec::new();
    let mut row = |what: &str, before: f64, now: f64| {
        let change = if before > 0.0 { format!("{:+.0} %", (now / before - 1.0) * 100.0) } else { "-".to_owned() };
        figures.push([what.to_owned(), number(before), number(now), change]);
    };
    for (store, delay) in &now.delays {
        let earlier = before.delays.get(store).cloned().unwrap_or_default();
        row(&format!("p50 from due to {store}, ms"), earlier.p50, delay.p50);
        row(&format!("p99 from due to {store}, ms"), earlier.p99, delay.p99);
    }
    row("most messages behind", before.most_lag() as f64, now.most_lag() as f64);
    row("seconds to drain", before.drain_seconds, now.drain_seconds);
    let earlier = before.memory();
    for (process, memory) in now.memory() {
        row(&format!("most memory of {process}, MB"), earlier.get(process).copied().unwrap_or(0.0), memory);
    }
    row("throttled calls", before.throttled() as f64, now.throttled() as f64);
    row("USD a million rows", before.cost.usd_per_million_rows, now.cost.usd_per_million_rows);
    figures
}

/// Whether two plans send the same. Descriptions and limits may differ.
fn is_same(one: &super::Plan, other: &super::Plan) -> bool {
    let sent = |plan: &super::Plan| {
        let plan = super::Plan { description: String::new(), limits: super::limits::Limits::default(), ..plan.clone() };
        serde_json::to_value(plan).ok()
    };
    sent(one) == sent(other)
}
