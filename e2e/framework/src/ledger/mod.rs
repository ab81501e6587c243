//! The count ledger: every row that was produced has to be accounted for, once.
//!
//! A *row* is an element of a message's list, or a whole message, or a line of an object that was there before; its
//! *origin* says which. An *account* is a set of places, of which one has to hold each row: the items of a table, the
//! lines of raw objects, the rows of Parquet files, the rows that were set aside beside them, or a dead letter that names
//! the row. So each account says the same sum in its own way:
//!
//! ```text
//! rows produced = rows in its places + rows that dead letters name + rows merged with equal ones
//! ```
//!
//! A *difference* is a row that is missing, or an entry that is too many. It is told by the origin of the row. The rows
//! come from the topics themselves, so a message that a schedule sends twice counts twice.
//!
//! The ledger counts rows. It does not look whether a value is right, which the snapshots say.

mod account;
mod content;
mod matching;
mod produced;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use self::produced::Origin;
pub(crate) use self::produced::Produced;
use crate::case::LedgerRules;
use crate::observe::{Holding, MessageId, counted};

/// How many differences of an account a failure message shows.
const SHOWN: usize = 5;

/// How many characters of a row a failure message shows.
const WIDTH: usize = 160;

/// How many rows were produced and how each account accounts for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balance {
    /// The number of rows that were produced.
    pub rows: usize,
    pub accounts: Vec<AccountBalance>,
    /// The accounts that are not kept, each with the reason.
    pub exceptions: BTreeMap<String, String>,
}

/// How an account accounts for the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountBalance {
    pub name: String,
    /// The number of entries in each of its places.
    pub places: BTreeMap<String, usize>,
    /// The rows that dead letters name.
    pub dead_letters: usize,
    /// The rows that are equal to another one and stored together with it.
    pub merged: usize,
    /// The rows that are nowhere.
    pub missing: usize,
    /// The entries and dead letters that are of no row, or of one that is accounted for already.
    pub too_many: usize,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Difference {
    /// A row is nowhere.
    Missing { origin: Origin, text: String },
    /// A row is there once more than it should be.
    Repeated { place: String, origin: Origin, text: String, is_dead_letter: bool },
    /// An entry is none of the rows.
    Unknown { place: String, text: String },
    /// A dead letter is of a message that was not sent.
    Unsent { source: Option<MessageId>, text: String },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { origin, text } => write!(f, "- missing: {origin}: {}", cut(text)),
            Self::Repeated { place, origin, text, is_dead_letter: false } => {
                write!(f, "+ once more in {place}: {origin}: {}", cut(text))
            }
            Self::Repeated { place, origin, text, is_dead_letter: true } => {
                write!(f, "+ in {place} although it is a dead letter: {origin}: {}", cut(text))
            }
            Self::Unknown { place, text } => write!(f, "+ in {place}, and nobody sent it: {}", cut(text)),
            Self::Unsent { source: Some(source), text } => {
                write!(f, "+ a dead letter of {source}, which was not sent: {}", cut(text))
            }
            Self::Unsent { source: None, text } => {
                write!(f, "+ a dead letter of something that was not sent: {}", cut(text))
            }
        }
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for AccountBalance {
    /// What the account consists of, such as `2 rows in fleet, 1 row in dead letters`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.places.iter().map(|(place, count)| format!("{} in {place}", counted(*count, "row"))).collect();
        let named = [
            (self.dead_letters, "in dead letters"),
            (self.merged, "merged with an equal one"),
            (self.missing, "missing"),
            (self.too_many, "too many"),
        ];
        let named = named.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(named.map(|(count, what)| format!("{} {what}", counted(count, "row"))));
        f.write_str(&parts.join(", "))
    }
}

/// The balance of a run, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub balance: Balance,
    /// What does not add up, for a person; `None` if everything does.
    pub problem: Option<Problem>,
}

/// What does not add up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What to show at once.
    pub short: String,
    /// The same in full.
    pub full: String,
}

/// Balances every account. `must_need_exceptions` says whether an exception that a case makes has to be needed, as on
/// the plain schedule.
pub(crate) fn balance(
    rules: &LedgerRules,
    produced: &Produced,
    holdings: &[&Holding],
    must_need_exceptions: bool,
) -> Ledger {
    let mut balance = Balance { rows: produced.rows.len(), exceptions: rules.exceptions.clone(), ..Balance::default() };
    let (mut short, mut full) = (String::new(), String::new());
    for (name, account) in &rules.accounts {
        let (of_account, differences) = account::balance(name, account, produced, holdings.iter().copied());
        if rules.exceptions_of_case.contains(name) {
            if must_need_exceptions && differences.is_empty() {
                let text = format!("  {name}: it balances, so its exception in case.toml is not needed; remove it\n");
                short.push_str(&text);
                full.push_str(&text);
            }
            continue;
        }
        if !differences.is_empty() {
            let rows = counted(balance.rows, "row");
            let head = format!("  {name} has to account for {rows} and has {of_account}\n");
            let lines: Vec<String> = differences.iter().map(|difference| format!("    {difference}\n")).collect();
            let more = lines.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!("    … and {more} more\n") } else { String::new() };
            let _ = write!(short, "{head}{}{more}", lines[..lines.len().min(SHOWN)].concat());
            let _ = write!(full, "{head}{}", lines.concat());
        }
        balance.accounts.push(of_account);
    }
    let title = "the count ledger does not balance\n\n";
    let problem =
        (!short.is_empty()).then(|| Problem { short: format!("{title}{short}"), full: format!("{title}{full}") });
    Ledger { balance, problem }
}
