//! Writes the part of the page that shows where schedules met which case: a row for each case, a column for each schedule
//! or kind of crash point, and in each cell how the runs there have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::html::{class, escape};
use super::{CaseReport, CaseVerdict};

/// Writes the map; nothing if every case has had only one run, for the table of all cases says as much.
pub(super) fn write(runs: &[CaseReport], html: &mut String) {
    let mut cells: BTreeMap<&str, BTreeMap<&str, Vec<&CaseReport>>> = BTreeMap::new();
    for run in runs {
        cells.entry(&run.case).or_default().entry(&run.kind).or_default().push(run);
    }
    if cells.len() == runs.len() {
        return;
    }
    let kinds: BTreeSet<&str> = runs.iter().map(|run| run.kind.as_str()).collect();
    html.push_str(
        "<h2>Map</h2>\n<p>How the runs of each case have ended under each schedule: ✓ passed, ≡ left the same state as another run, \
         ○ not disturbed, ✗ failed.</p>\n\
         <div class=wide><table class=map>\n<thead><tr><th>case",
    );
    for kind in &kinds {
        let _ = write!(html, "<th>{}", escape(kind));
    }
    html.push_str("</thead>\n<tbody>\n");
    for (case, by_kind) in &cells {
        let _ = write!(html, "<tr><td>{}", escape(case));
        for kind in &kinds {
            let _ = write!(html, "<td data-noun=\"{}\">", escape(kind));
            write_cell(by_kind.get(kind).map(Vec::as_slice).unwrap_or_default(), html);
        }
        html.push('\n');
    }
    html.push_str("</tbody>\n</table></div>\n");
}

/// The runs by verdict, those that failed first. Each failure is a link to what the page tells of it; of the others, their
/// number is one to the line of the first of them in the table of all cases, where the others follow and where the evidence
/// is that was kept.
fn write_cell(runs: &[&CaseReport], html: &mut String) {
    let verdicts = [
        CaseVerdict::Failed,
        CaseVerdict::Infrastructure,
        CaseVerdict::Passed,
        CaseVerdict::SameState,
        CaseVerdict::Undisturbed,
    ];
    for verdict in verdicts {
        let mark = verdict.mark();
        let mut of_verdict: Vec<&&CaseReport> = runs.iter().filter(|run| run.verdict == verdict).collect();
        of_verdict.sort_by_key(|run| &run.name);
        let Some(first) = of_verdict.first() else { continue };
        let link = |run: &CaseReport, text: &str| {
            let name = escape(&run.name);
            format!("<a href=\"#{name}\" title=\"{name}\">{text}</a>")
        };
        let shown = match of_verdict.len() {
            _ if verdict.is_failure() => of_verdict.iter().map(|run| link(run, mark)).collect(),
            1 => link(first, mark),
            count => link(first, &format!("{mark} {count}")),
        };
        let _ = write!(html, "<span class={}>{shown}</span> ", class(verdict));
    }
}
