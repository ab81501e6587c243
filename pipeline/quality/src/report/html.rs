//! Verdicts as a page that needs nothing else: no script, no font, no other file.

use std::fmt::Write as _;

use super::markup::escaped;
use crate::verdict::{Outcome, Verdict};

const STYLE: &str = "\
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid #8884; padding: .4rem .6rem; text-align: left; vertical-align: top }
td p { color: #888; margin: .2rem 0 }
pre { overflow-x: auto; white-space: pre-wrap }
.pass { color: #2a8a3e } .warn { color: #b07a00 } .fail { color: #d03030 } .error { color: #9a3fbf }
td:first-child { font-weight: 600 }
";

/// The page: how many checks ended how, and each check, the worst first.
pub(super) fn report(verdicts: &[Verdict]) -> String {
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    let days = verdicts.first().map_or_else(String::new, |verdict| match verdict {
        Verdict { from, to, .. } if from == to => from.clone(),
        Verdict { from, to, .. } => format!("{from} to {to}"),
    });
    let ran_at = verdicts.first().map_or("", |verdict| verdict.ran_at.as_str());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Checks of {days}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Checks of {days}</h1>\n\
         <p>{} checks: {} could not run, {} failed, {} warned, {} passed. They ran at {}.</p>\n<table>\n\
         <tr><th>outcome</th><th>check</th><th>found</th><th>owner</th></tr>\n",
        verdicts.len(),
        count(Outcome::Error),
        count(Outcome::Fail),
        count(Outcome::Warn),
        count(Outcome::Pass),
        escaped(ran_at),
    );
    let mut worst: Vec<&Verdict> = verdicts.iter().collect();
    worst.sort_by_key(|verdict| std::cmp::Reverse(verdict.outcome));
    for verdict in worst {
        let Verdict { table, check, outcome, expected, observed, query, owner, description, severity, .. } = verdict;
        let query = query.as_deref().map_or_else(String::new, |query| {
            format!("<details><summary>the rows</summary><pre>{}</pre></details>", escaped(query))
        });
        // Writing to a text does not fail.
        let _ = writeln!(
            out,
            "<tr><td class=\"{outcome}\">{outcome}</td><td>{}: {}<p>{}</p></td><td>{}<p>expected: {}</p>{query}</td>\
             <td>{}<p>{}</p></td></tr>",
            escaped(table),
            escaped(check),
            escaped(description.trim()),
            escaped(observed),
            escaped(expected),
            escaped(owner),
            severity.name(),
        );
    }
    out.push_str("</table>\n</body>\n</html>\n");
    out
}
