//! The count ledger of a fixture, `[ledger]`: where rows come from, and which stored things have to account for each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::did_you_mean;
use crate::stack::Resources;

/// The rules of the ledger, merged over the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerRules {
    /// `message`: the path of the object in a record's value that is the message; empty for the value itself.
    pub message: String,
    /// `list`: the path of the list in a message whose elements are rows; empty if each message is one row.
    pub list: String,
    /// `from_objects`: the objects of the case whose lines are rows too, each as `bucket/prefix`.
    pub from_objects: Vec<String>,
    /// `accounts`: what has to account for each row, by name. Those that the suite or the protocol excepts are left out.
    pub accounts: BTreeMap<String, Account>,
    /// `exceptions`: the accounts that are not kept, with the reason.
    pub exceptions: BTreeMap<String, String>,
    /// The exceptions that the case itself makes. They have to be needed.
    pub exceptions_of_case: BTreeSet<String>,
}

/// The places of which one has to hold each row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// DynamoDB tables whose items are rows.
    pub tables: Vec<String>,
    /// Objects whose lines, or Parquet rows, are rows, each as `bucket/prefix` of their keys.
    pub objects: Vec<String>,
    /// Objects whose lines are JSON objects with a row in one of their fields, as text: `bucket/prefix` and the field.
    pub wrapped: BTreeMap<String, String>,
    /// Dead-letter topics. A dead letter accounts for the row, or for all rows of the message, that its headers name.
    pub dead_letters: Vec<String>,
    /// Whether equal rows are `kept`, each for itself, or `merged` into one.
    pub repeats: Repeats,
}

/// What becomes of rows that have the same fields with the same values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Repeats {
    /// Each is stored for itself, as in a log.
    #[default]
    Kept,
    /// They are stored once, as in a table whose key is made of all fields.
    Merged,
}

/// `[ledger]` as one file says it.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerFile {
    /// The path of the object in a record's value that is the message, such as `payload`. Without it, the value is.
    message: Option<String>,
    /// The path of the list in a message whose elements are rows, or `$` if the message is a list. Without it, or if it
    /// is empty, each message is a row.
    list: Option<String>,
    /// Objects of the case whose lines are rows as well, each as `bucket/prefix` of their keys.
    from_objects: Option<Vec<String>>,
    /// What has to account for each row, by a name of your choice.
    accounts: BTreeMap<String, Account>,
    /// The accounts that are not kept here, each with the reason.
    exceptions: BTreeMap<String, String>,
}

/// Merges what the files say, which are ordered from the farthest to the nearest, the case's own being the last. It is
/// `None` if none of them says anything.
pub(super) fn merge(files: [Option<&LedgerFile>; 3], resources: &Observed<'_>) -> Result<Option<LedgerRules>, String> {
    if files.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut rules = LedgerRules::default();
    for file in files.into_iter().flatten() {
        rules.message = file.message.clone().unwrap_or(rules.message);
        rules.list = file.list.clone().unwrap_or(rules.list);
        rules.from_objects = file.from_objects.clone().unwrap_or(rules.from_objects);
        rules.accounts.extend(file.accounts.clone());
        rules.exceptions.extend(file.exceptions.clone());
    }
    if rules.accounts.is_empty() {
        return Err("`[ledger]` has no `accounts`: what has to account for each row?".to_owned());
    }
    for (name, why) in &rules.exceptions {
        if !rules.accounts.contains_key(name) {
            let near = did_you_mean(name, rules.accounts.keys().map(String::as_str));
            return Err(format!("`ledger.exceptions`: there is no account `{name}`{near}"));
        }
        if why.trim().is_empty() {
            return Err(format!("`ledger.exceptions`: `{name}` needs the reason why it is not kept"));
        }
    }
    let of_case = files[2].into_iter().flat_map(|file| file.exceptions.keys().cloned());
    rules.exceptions_of_case = of_case.collect();
    // An account that a whole protocol does without may be of things that it does not even have.
    rules.accounts.retain(|name, _| !rules.exceptions.contains_key(name) || rules.exceptions_of_case.contains(name));
    let mut kept = rules.accounts.iter().filter(|(name, _)| !rules.exceptions.contains_key(*name));
    kept.try_for_each(|(name, account)| resources.check(name, account))?;
    rules.from_objects.iter().try_for_each(|prefix| resources.check_prefix("ledger.from_objects", prefix))?;
    Ok(Some(rules))
}

/// What a fixture observes, of which accounts may be made.
pub(super) struct Observed<'a> {
    pub resources: &'a Resources,
    pub dead_letters: &'a [String],
}

impl Observed<'_> {
    fn check(&self, name: &str, account: &Account) -> Result<(), String> {
        let at = format!("ledger.accounts.{name}");
        if account.tables.is_empty() && account.objects.is_empty() && account.wrapped.is_empty() {
            return Err(format!("`{at}` names neither `tables` nor `objects` nor `wrapped`: where are its rows?"));
        }
        let tables: Vec<&str> = self.resources.tables.iter().map(|table| table.name.as_str()).collect();
        for table in &account.tables {
            known(&at, "tables", table, &tables)?;
        }
        let topics: Vec<&str> = self.dead_letters.iter().map(String::as_str).collect();
        for topic in &account.dead_letters {
            known(&at, "dead_letters", topic, &topics)?;
        }
        account.objects.iter().chain(account.wrapped.keys()).try_for_each(|prefix| self.check_prefix(&at, prefix))
    }

    fn check_prefix(&self, at: &str, prefix: &str) -> Result<(), String> {
        let Some((bucket, _)) = prefix.split_once('/') else {
            return Err(format!("`{at}`: `{prefix}` is no `bucket/prefix`; write `{prefix}/` for all its objects"));
        };
        let buckets: Vec<&str> = self.resources.buckets.iter().map(String::as_str).collect();
        known(at, "buckets", bucket, &buckets)
    }
}

fn known(at: &str, key: &str, name: &str, among: &[&str]) -> Result<(), String> {
    if among.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "`{at}`: `{name}` is not among `{key}`, so it is not observed{}",
        did_you_mean(name, among.iter().copied())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Table;

    fn merged(texts: [&str; 3]) -> Result<Option<LedgerRules>, String> {
        let key = ("id".to_owned(), "S".to_owned());
        let table = Table { name: "fleet".into(), partition_key: key, sort_key: None, indexes: Vec::new() };
        let resources = Resources { tables: vec![table], buckets: vec!["raw".into()], ..Resources::default() };
        let files = texts.map(|text| (!text.is_empty()).then(|| toml::from_str::<LedgerFile>(text).expect(text)));
        let observed = Observed { resources: &resources, dead_letters: &["dead".to_owned()] };
        merge([&files[0], &files[1], &files[2]].map(Option::as_ref), &observed)
    }

    const SUITE: &str =
        "list = 'rows'\naccounts = { db = { tables = ['fleet'], repeats = 'merged' }, s3 = { objects = ['raw/'] } }";

    #[test]
    fn nearer_files_win_and_exceptions_take_accounts_out() {
        assert_eq!(merged(["", "", ""]), Ok(None));
        let rules = merged([SUITE, "list = ''\nexceptions = { s3 = 'no' }", ""]).expect("right").expect("a ledger");
        assert_eq!((rules.list.as_str(), rules.accounts.len()), ("", 1));
        assert_eq!(rules.accounts["db"].repeats, Repeats::Merged);
        assert_eq!(rules.exceptions["s3"], "no");
        let rules = merged([SUITE, "", "exceptions = { s3 = 'no' }"]).expect("right").expect("a ledger");
        assert_eq!((rules.accounts.len(), rules.exceptions_of_case.len()), (2, 1));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (text, says) in [
            ("list = 'rows'", "has no `accounts`"),
            ("accounts = { db = {} }", "where are its rows?"),
            (
                "accounts = { db = { tables = ['flet'] } }",
                "not among `tables`, so it is not observed; did you mean `fleet`?",
            ),
            ("accounts = { s3 = { objects = ['raw'] } }", "write `raw/`"),
            ("accounts = { s3 = { objects = ['rww/'] } }", "did you mean `raw`?"),
            ("accounts = { s3 = { objects = ['raw/'], dead_letters = ['dea'] } }", "did you mean `dead`?"),
            ("accounts = { s3 = { objects = ['raw/'] } }\nexceptions = { s4 = 'x' }", "there is no account `s4`"),
            ("accounts = { s3 = { objects = ['raw/'] } }\nexceptions = { s3 = '' }", "needs the reason"),
        ] {
            let problem = merged(["", text, ""]).expect_err(text);
            assert!(problem.contains(says), "{problem}");
        }
    }
}
