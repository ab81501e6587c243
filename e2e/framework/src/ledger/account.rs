//! Balances one account: every row has to be in one of its places, or be named by a dead letter.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::content::Content;
use super::matching::{Matched, matched};
use super::produced::{Origin, Produced, Row};
use super::{AccountBalance, Difference};
use crate::case::{Account, Repeats};
use crate::json;
use crate::observe::{Holding, Letter, MessageId};

/// An entry that is stored in one of the places of an account.
struct Entry<'a> {
    place: &'a str,
    content: Content,
}

/// Balances an account. The second value is every difference.
pub(super) fn balance<'a>(
    name: &str,
    account: &Account,
    produced: &Produced,
    holdings: impl Iterator<Item = &'a Holding>,
) -> (AccountBalance, Vec<Difference>) {
    let (entries, letters) = stored(account, holdings);
    let rows = &produced.rows;
    let (lettered, mut differences) = lettered(produced, &letters);
    let mut due: Vec<bool> = lettered.iter().map(|is_lettered| !is_lettered).collect();
    let merged = if account.repeats == Repeats::Merged { merge(rows, &mut due) } else { 0 };

    let contents: Vec<&Content> = rows.iter().map(|row| &row.content).collect();
    let stored: Vec<&Content> = entries.iter().map(|entry| &entry.content).collect();
    let Matched { missing, repeated, unknown } = matched(&contents, &due, &stored);
    let row = |row: usize| (rows[row].origin.clone(), rows[row].content.text.clone());
    let missed = missing.len();
    differences.extend(missing.into_iter().map(|at| {
        let (origin, text) = row(at);
        Difference::Missing { origin, text }
    }));
    differences.extend(repeated.into_iter().map(|(entry, at)| {
        let (origin, text) = row(at);
        Difference::Repeated { place: entries[entry].place.to_owned(), origin, text, is_dead_letter: lettered[at] }
    }));
    differences.extend(unknown.into_iter().map(|entry| {
        let Entry { place, content } = &entries[entry];
        Difference::Unknown { place: (*place).to_owned(), text: content.text.clone() }
    }));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for place in account.tables.iter().chain(&account.objects).chain(account.wrapped.keys()) {
        let count = entries.iter().filter(|entry| entry.place == place).count();
        places.insert(place.clone(), count);
    }
    let balance = AccountBalance {
        name: name.to_owned(),
        places,
        dead_letters: lettered.iter().filter(|is_lettered| **is_lettered).count(),
        merged,
        missing: missed,
        too_many: differences.len() - missed,
    };
    (balance, differences)
}

/// The entries and the dead letters that are in the places of an account.
fn stored<'a, 'h>(
    account: &'a Account,
    holdings: impl Iterator<Item = &'h Holding>,
) -> (Vec<Entry<'a>>, Vec<&'h Letter>) {
    let (mut entries, mut letters) = (Vec::new(), Vec::new());
    for holding in holdings {
        match holding {
            Holding::Items { table, items } => {
                let place = account.tables.iter().find(|known| *known == table);
                entries.extend(
                    place
                        .into_iter()
                        .flat_map(|place| items.iter().map(|item| Entry { place, content: Content::of_entry(item) })),
                );
            }
            Holding::Object { path, rows } => {
                let rows = rows.iter().filter(|row| !row.trim().is_empty());
                if let Some(place) = account.objects.iter().find(|prefix| path.starts_with(*prefix)) {
                    entries.extend(rows.map(|row| Entry { place, content: Content::of_entry(row) }));
                } else if let Some((place, field)) =
                    account.wrapped.iter().find(|(prefix, _)| path.starts_with(*prefix))
                {
                    entries.extend(rows.map(|row| Entry { place, content: unwrapped(row, field) }));
                }
            }
            Holding::Letters { topic, letters: of_topic } => {
                letters.extend(of_topic.iter().filter(|_| account.dead_letters.contains(topic)));
            }
        }
    }
    (entries, letters)
}

/// The row that a line has in one of its fields as text. A line without it is taken for the row itself.
fn unwrapped(line: &str, field: &str) -> Content {
    let fields = json::fields(line.as_bytes()).unwrap_or_default();
    let value = fields.iter().rev().find(|(name, _)| name == field);
    let text = value.map(|(_, value)| json::scalar(value).unwrap_or_else(|| value.get().to_owned()));
    Content::of_entry(text.as_deref().unwrap_or(line))
}

/// For each row, whether a dead letter names it or its whole message, and the dead letters that name nothing. The same
/// letter may be there several times, because dead letters are delivered at least once.
fn lettered(produced: &Produced, letters: &[&Letter]) -> (Vec<bool>, Vec<Difference>) {
    let mut rows: HashMap<&MessageId, Vec<(Option<usize>, usize)>> = HashMap::new();
    for (at, row) in produced.rows.iter().enumerate() {
        if let Origin::Message { message, index } = &row.origin {
            rows.entry(message).or_default().push((*index, at));
        }
    }
    let values: HashMap<&MessageId, &Option<Vec<u8>>> =
        produced.messages.iter().map(|(message, value)| (message, value)).collect();
    let mut lettered = vec![false; produced.rows.len()];
    let mut unsent = Vec::new();
    for letter in letters {
        // Letters that do not say where they come from are known by their value.
        let messages: Vec<&MessageId> = match &letter.source {
            Some(source) => values.get_key_value(source).map(|(message, _)| *message).into_iter().collect(),
            None => produced.messages.iter().filter(|(_, value)| *value == letter.value).map(|(id, _)| id).collect(),
        };
        if messages.is_empty() {
            let value = String::from_utf8_lossy(letter.value.as_deref().unwrap_or(b"null")).into_owned();
            unsent.push(Difference::Unsent { source: letter.source.clone(), text: value });
        }
        for message in messages {
            for (index, row) in rows.get(message).into_iter().flatten() {
                lettered[*row] |= letter.index.is_none() || index.is_none() || letter.index == *index;
            }
        }
    }
    (lettered, unsent)
}

/// Of the due rows that are equal, only the first one stays due. Gives the number of the others.
fn merge(rows: &[Row], due: &mut [bool]) -> usize {
    let mut known = HashSet::new();
    let mut merged = 0;
    for (row, due) in rows.iter().zip(due).filter(|(_, due)| **due) {
        if !known.insert(row.content.identity) {
            *due = false;
            merged += 1;
        }
    }
    merged
}
