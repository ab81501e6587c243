//! Writes the part of the page that the count ledgers fill: for each case, how many rows were produced and where each
//! account has them.

use std::fmt::Write;

use super::CaseReport;
use super::html::escape;
use crate::ledger::Balance;

/// Writes the ledgers of all cases that keep one; nothing if there is none.
pub(super) fn write(cases: &[CaseReport], html: &mut String) {
    let mut kept: Vec<(&str, &Balance)> =
        cases.iter().filter_map(|case| Some((case.name.as_str(), case.ledger.as_ref()?))).collect();
    if kept.is_empty() {
        return;
    }
    kept.sort_by_key(|(name, _)| *name);
    let mut accounts: Vec<&str> =
        kept.iter().flat_map(|(_, balance)| &balance.accounts).map(|account| account.name.as_str()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    html.push_str("<h2>Rows</h2>\n<p>Every row that was produced has to be in each account, once.</p>\n");
    html.push_str("<table class=ledger>\n<thead><tr><th>case<th>rows produced");
    for account in &accounts {
        let _ = write!(html, "<th>{}", escape(account));
    }
    html.push_str("</thead>\n<tbody>\n");
    for (name, balance) in &kept {
        let _ = write!(html, "<tr><td>{}<td data-noun=\"rows produced\">{}", escape(name), balance.rows);
        for account in &accounts {
            let found = balance.accounts.iter().find(|known| known.name == *account);
            let (class, text) = match found {
                None => (" class=none", "not kept".to_owned()),
                Some(found) if found.missing + found.too_many > 0 => (" class=failed", found.to_string()),
                Some(found) => ("", found.to_string()),
            };
            let _ = write!(html, "<td{class} data-noun=\"{}\">{}", escape(account), escape(&text));
        }
        html.push('\n');
    }
    html.push_str("</tbody>\n</table>\n");
}
