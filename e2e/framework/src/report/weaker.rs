//! Writes the part of the page that lists what fixtures do not demand although others do, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::CaseReport;
use super::html::escape;
use crate::case::Weaker;

/// Writes the list, with the number of cases of each entry, or the name of the only one; nothing if there is none.
pub(super) fn write(runs: &[CaseReport], html: &mut String) {
    let mut weaker: BTreeMap<&Weaker, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        for entry in &run.weaker {
            weaker.entry(entry).or_default().insert(&run.case);
        }
    }
    if weaker.is_empty() {
        return;
    }
    html.push_str("<h2>Weaker expectations</h2>\n<p>What these cases do not demand, each for its reason.</p>\n<dl>\n");
    for (Weaker { what, why }, cases) in weaker {
        let of = match cases.iter().next() {
            Some(case) if cases.len() == 1 => (*case).to_owned(),
            _ => format!("{} cases", cases.len()),
        };
        let _ = writeln!(html, "<dt>{}<dd>{}: {}", escape(what), escape(&of), escape(why));
    }
    html.push_str("</dl>\n");
}
