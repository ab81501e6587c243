//! The HTML page about all cases of a run.

use std::fmt::Write;
use std::time::Duration;

use crate::observe::Counts;
use crate::outcome::{Outcome, phases};
use crate::schedule::Schedule;

/// The page about a whole run: one file that needs no other.
pub fn html(outcomes: &[Outcome], schedule: Schedule, took: Duration) -> String {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let total: Counts = outcomes.iter().map(|outcome| outcome.counts).sum();
    let mut rows = String::new();
    for outcome in outcomes {
        let class = if outcome.failure.is_some() { "failed" } else { "passed" };
        let _ = write!(rows, "<tr class={class}><td>{}", escape(&outcome.id.to_string()));
        if let Some(failure) = &outcome.failure {
            let what = if outcome.infrastructure { "infrastructure" } else { "failed" };
            let _ = write!(rows, "<details open><summary>{what}</summary><pre>{}</pre></details>", coloured(failure));
        }
        let (counts, seconds) = (cells(&outcome.counts), outcome.duration.as_secs_f64());
        let _ = writeln!(rows, "</td>{counts}<td title='{}'>{seconds:.2}</td></tr>", phases(&outcome.times));
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{verdict}</title><style>{STYLE}</style>\n\
         <h1>{verdict}</h1><p>schedule {schedule}, {:.1} s</p>\n<table><thead><tr><th>case</th><th>messages</th><th>rows</th>\
         <th>items</th><th>objects</th><th>dead letters</th><th>seconds</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         <tfoot><tr><td>{} case{}</td>{}<td>{:.1}</td></tr></tfoot></table></html>\n",
        took.as_secs_f64(),
        outcomes.len(),
        if outcomes.len() == 1 { "" } else { "s" },
        cells(&total),
        took.as_secs_f64(),
        verdict = if failed == 0 {
            format!("{} passed", outcomes.len())
        } else {
            format!("{failed} of {} failed", outcomes.len())
        },
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .75rem;text-align:right;vertical-align:top;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}.passed td:first-child::before{content:'✓ ';color:#187a35}\
.failed td:first-child::before{content:'✗ ';color:#b3202c}tfoot{font-weight:600}pre{white-space:pre-wrap;overflow-wrap:anywhere;\
background:#f6f6f4;padding:.75rem;font-size:13px}.minus{color:#b3202c}.plus{color:#187a35}.tilde{color:#8a5a00}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#242424}th,td{border-color:#3a3a3a}}";

fn cells(counts: &Counts) -> String {
    let Counts { messages, rows, items, objects, dead_letters } = counts;
    format!("<td>{messages}</td><td>{rows}</td><td>{items}</td><td>{objects}</td><td>{dead_letters}</td>")
}

/// A failure's text with the lines of its diff coloured.
fn coloured(text: &str) -> String {
    let mut html = String::new();
    for line in text.lines() {
        let class = match line.trim_start().split(' ').next() {
            Some("-") => "minus",
            Some("+") => "plus",
            Some("~") => "tilde",
            _ => "",
        };
        let _ = match class {
            "" => writeln!(html, "{}", escape(line)),
            class => writeln!(html, "<span class={class}>{}</span>", escape(line)),
        };
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CaseId;
    use crate::outcome::Times;

    fn id() -> CaseId {
        CaseId { protocol: "p".into(), name: "c".into() }
    }

    #[test]
    fn the_page_escapes_what_pipelines_say() {
        let outcome = Outcome {
            id: id(),
            counts: Counts::default(),
            duration: Duration::ZERO,
            times: Times::default(),
            infrastructure: false,
            failure: Some("- <b>\nx & y".into()),
        };
        let page = html(&[outcome], Schedule::Plain, Duration::from_secs(1));
        assert!(page.contains("<span class=minus>- &lt;b&gt;</span>\nx &amp; y"), "{page}");
        assert!(page.contains("1 of 1 failed"));
    }
}
