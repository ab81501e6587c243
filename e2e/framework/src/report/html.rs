//! Writes the page of a run as one file that needs no other: the facts, then the failures, then a table of all cases.

use std::fmt::Write;

use super::{CaseReport, CaseVerdict, RunFacts, map, rows, weaker};
use crate::proof::Proof;

/// The page of a run that has taken `seconds` until now.
pub(super) fn page(facts: &RunFacts, cases: &[CaseReport], seconds: f64) -> String {
    let failed: Vec<&CaseReport> = cases.iter().filter(|case| case.verdict.is_failure()).collect();
    let undisturbed = cases.iter().filter(|case| case.verdict == CaseVerdict::Undisturbed).count();
    let mut verdict = verdict(cases.len(), failed.len());
    if undisturbed > 0 {
        let _ = write!(verdict, ", {undisturbed} undisturbed");
    }
    let class = if failed.is_empty() { "passed" } else { "failed" };
    let mut html = format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content='width=device-width,initial-scale=1'>\n\
         <title>{verdict}</title>\n<style>\n{}</style>\n<h1 class={class}>{verdict}</h1>\n",
        include_str!("style.css")
    );
    write_facts(facts, &proof(cases), seconds, &mut html);
    if !failed.is_empty() {
        html.push_str("<h2>Failures</h2>\n");
        for case in &failed {
            write_failure(case, &mut html);
        }
    }
    map::write(cases, &mut html);
    html.push_str("<h2>All cases</h2>\n");
    write_table(cases, seconds, &mut html);
    rows::write(cases, &mut html);
    weaker::write(cases, &mut html);
    html.push_str("</html>\n");
    html
}

fn verdict(all: usize, failed: usize) -> String {
    match (all, failed) {
        (1, 0) => "1 case passed".to_owned(),
        (all, 0) => format!("All {all} cases passed"),
        (1, _) => "1 case failed".to_owned(),
        (all, failed) => format!("{failed} of {all} cases failed"),
    }
}

/// How many faults there were, and what became of the rows.
fn proof(cases: &[CaseReport]) -> Proof {
    let compared = cases.iter().filter(|case| case.verdict != CaseVerdict::SameState);
    Proof::of(compared.map(|case| (case.faults, case.ledger.as_ref())))
}

fn write_facts(facts: &RunFacts, proof: &Proof, seconds: f64, html: &mut String) {
    let started = jiff::Timestamp::from_millisecond(facts.started).unwrap_or_default();
    let named = [
        ("Project", facts.root.clone()),
        ("Commit", facts.commit.clone().unwrap_or_else(|| "not known".to_owned())),
        ("Pipeline", facts.subject.clone()),
        ("Stack", facts.stack.clone()),
        ("Schedule", facts.schedule.clone()),
        ("Faults", proof.to_string()),
        ("Began", started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ("Took", format!("{seconds:.1} s")),
    ];
    html.push_str("<dl>\n");
    for (name, value) in named {
        let _ = writeln!(html, "<dt>{name}<dd>{}", escape(&value));
    }
    html.push_str("</dl>\n");
}

fn write_failure(case: &CaseReport, html: &mut String) {
    let (name, class) = (escape(&case.name), class(case.verdict));
    let what = if case.verdict == CaseVerdict::Infrastructure { "Services failed: " } else { "" };
    let _ = writeln!(html, "<article class={class} id=\"{name}\">\n<h3>{what}{name}</h3>");
    if let Some(description) = &case.description {
        let _ = writeln!(html, "<p>{}</p>", escape(description));
    }
    let _ = writeln!(html, "<pre>{}</pre>", coloured(&case.failure));
    if let Some(difference) = &case.difference {
        let _ = writeln!(
            html,
            "<details><summary>The whole difference</summary><pre>{}</pre></details>",
            coloured(difference)
        );
    }
    if let Some(log) = &case.log {
        let _ =
            writeln!(html, "<details><summary>The last lines of the log</summary><pre>{}</pre></details>", escape(log));
    }
    if !case.evidence.is_empty() {
        let _ = writeln!(html, "<p>Evidence: {}</p>", evidence(case));
    }
    html.push_str("</article>\n");
}

/// A link to each file of the evidence.
fn evidence(case: &CaseReport) -> String {
    let link = |path: &String| {
        let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
        format!("<a href=\"{}\">{}</a>", escape(&url(path)), escape(name))
    };
    let links: Vec<String> = case.evidence.iter().map(link).collect();
    links.join(", ")
}

fn write_table(cases: &[CaseReport], seconds: f64, html: &mut String) {
    let mut nouns: Vec<&str> = Vec::new();
    for (noun, _) in cases.iter().flat_map(|case| &case.counts) {
        if !nouns.contains(&noun.as_str()) {
            nouns.push(noun);
        }
    }
    html.push_str("<table>\n<thead><tr><th>case");
    for noun in &nouns {
        let _ = write!(html, "<th>{}", escape(noun));
    }
    html.push_str("<th>seconds</thead>\n<tbody>\n");
    let count = |case: &CaseReport, noun: &str| {
        case.counts.iter().filter(|(name, _)| name == noun).map(|(_, count)| *count).sum::<usize>()
    };
    let mut ordered: Vec<&CaseReport> = cases.iter().collect();
    ordered.sort_by_key(|case| (!case.verdict.is_failure(), &case.name));
    for case in ordered {
        let name = escape(&case.name);
        let shown = match case.verdict {
            CaseVerdict::Passed => name,
            CaseVerdict::SameState => {
                format!("{name}<small>leaves the same state as {}</small>", escape(&case.failure))
            }
            CaseVerdict::Undisturbed => format!("{name}<small>undisturbed: {}</small>", escape(&case.failure)),
            CaseVerdict::Failed | CaseVerdict::Infrastructure => format!("<a href=\"#{name}\">{name}</a>"),
        };
        let mark = case.verdict.mark();
        let description = case.description.iter().map(|text| format!("<small>{}</small>", escape(text)));
        let description: String = description.collect();
        // The article of a failure has its name and its evidence.
        let is_told = case.verdict.is_failure();
        let id = if is_told { String::new() } else { format!(" id=\"{}\"", escape(&case.name)) };
        let kept = if is_told || case.evidence.is_empty() {
            String::new()
        } else {
            format!("<small>evidence: {}</small>", evidence(case))
        };
        let _ =
            write!(html, "<tr{id}><td><span class={}>{mark}</span> {shown}{description}{kept}", class(case.verdict));
        for noun in &nouns {
            write_cell(noun, count(case, noun), html);
        }
        let phases: Vec<String> = case.phases.iter().map(|(name, time)| format!("{name} {time:.2} s")).collect();
        let _ = writeln!(html, "<td data-noun=seconds title=\"{}\">{:.2}", escape(&phases.join(", ")), case.seconds);
    }
    let _ = write!(html, "</tbody>\n<tfoot><tr><td>{} case{}", cases.len(), if cases.len() == 1 { "" } else { "s" });
    for noun in &nouns {
        write_cell(noun, cases.iter().map(|case| count(case, noun)).sum(), html);
    }
    let _ = writeln!(html, "<td data-noun=seconds>{seconds:.1}</tfoot>\n</table>");
}

fn write_cell(noun: &str, count: usize, html: &mut String) {
    let none = if count == 0 { " class=none" } else { "" };
    let _ = write!(html, "<td data-noun=\"{}\"{none}>{count}", escape(noun));
}

pub(super) fn class(verdict: CaseVerdict) -> &'static str {
    match verdict {
        CaseVerdict::Failed => "failed",
        CaseVerdict::Infrastructure => "infrastructure",
        CaseVerdict::Undisturbed => "undisturbed",
        CaseVerdict::SameState | CaseVerdict::Passed => "passed",
    }
}

/// The text of a failure as HTML, in which the lines of a difference are coloured.
fn coloured(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for line in text.lines() {
        let class = match line.trim_start().split(' ').next() {
            Some("-") => "minus",
            Some("+") => "plus",
            Some("~" | "↕") => "tilde",
            _ => "",
        };
        let _ = match class {
            "" => writeln!(html, "{}", escape(line)),
            class => writeln!(html, "<span class={class}>{}</span>", escape(line)),
        };
    }
    html
}

/// A relative path as a link. Characters that have a meaning in a link are escaped.
fn url(path: &str) -> String {
    path.replace('%', "%25").replace('#', "%23").replace('?', "%3F")
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
