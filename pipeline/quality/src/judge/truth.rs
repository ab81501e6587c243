//! What is wrong with the rows of a simulated lake: the messages are made again from how they were made.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::anyhow;
use fms_simulator::{Expectation, Faults, Message};

/// What a row, a message or a vehicle is told from others by. Two have the same by chance in one of 2^64 cases.
pub(super) type Key = u64;

/// What the rows of a check name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Row,
    Message,
    Vehicle,
}

impl Unit {
    /// What is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => "rows",
            Self::Message => "messages",
            Self::Vehicle => "vehicles",
        }
    }
}

/// The rows with faults, by the names of their tables.
#[derive(Debug, Default)]
pub(super) struct Truth(BTreeMap<String, OfTable>);

#[derive(Debug, Default)]
struct OfTable {
    /// Which faults are looked for.
    wanted: Faults,
    rows: HashMap<Key, Row>,
}

/// A row with faults. The same row may be there more than once.
#[derive(Debug, Clone, Copy)]
struct Row {
    message: Key,
    vehicle: Key,
    faults: Faults,
}

impl Truth {
    /// The rows of these messages that have a fault which is looked for in their table.
    ///
    /// # Errors
    ///
    /// The messages cannot be made again.
    pub fn of(expectation: &Expectation, wanted: &BTreeMap<String, Faults>) -> anyhow::Result<Self> {
        let of_table =
            |(name, wanted): (&String, &Faults)| (name.clone(), OfTable { wanted: *wanted, rows: HashMap::new() });
        let mut truth = Self(wanted.iter().map(of_table).collect());
        for made in &expectation.made {
            made.each_message(|message| truth.add(message)).map_err(|problem| anyhow!(problem))?;
        }
        Ok(truth)
    }

    /// A table whose rows have these faults, each of a message of its own.
    #[cfg(test)]
    pub fn of_rows(table: &str, rows: impl Iterator<Item = (Key, Faults)>) -> Self {
        let rows = rows.map(|(key, faults)| (key, Row { message: key, vehicle: key, faults })).collect();
        Self([(table.to_owned(), OfTable { wanted: Faults::default(), rows })].into())
    }

    fn add(&mut self, message: &Message) {
        let Some(table) = self.0.get_mut(&table(message)) else { return };
        for row in &message.rows {
            let faults = message.shown(row).intersection(table.wanted);
            if !faults.is_empty() {
                let key = row_key(&message.message_id, row.seq.map(i64::from));
                let (message, vehicle) = (message_key(&message.message_id), vehicle_key(message.id));
                let there = table.rows.entry(key).or_insert(Row { message, vehicle, faults });
                there.faults = there.faults.union(faults);
            }
        }
    }

    /// Of a row, such as one in quarantine, which no check of its table can see, only these faults count.
    pub fn keep(&mut self, table: &str, row: Key, faults: Faults) {
        let Some(table) = self.0.get_mut(table) else { return };
        let Some(known) = table.rows.get_mut(&row) else { return };
        known.faults = known.faults.intersection(faults);
        if known.faults.is_empty() {
            table.rows.remove(&row);
        }
    }

    /// The faults of a table's rows, messages or vehicles.
    pub fn faults(&self, table: &str, unit: Unit) -> HashMap<Key, Faults> {
        let mut faults: HashMap<Key, Faults> = HashMap::new();
        for (key, row) in self.0.get(table).iter().flat_map(|table| &table.rows) {
            let key = match unit {
                Unit::Row => *key,
                Unit::Message => row.message,
                Unit::Vehicle => row.vehicle,
            };
            let there = faults.entry(key).or_default();
            *there = there.union(row.faults);
        }
        faults
    }
}

/// The table of a message's rows.
fn table(message: &Message) -> String {
    message.protocol.to_string().replace('/', "_")
}

pub(super) fn row_key(message_id: &str, seq: Option<i64>) -> Key {
    hash(|hasher| (message_id, seq).hash(hasher))
}

pub(super) fn message_key(message_id: &str) -> Key {
    hash(|hasher| message_id.hash(hasher))
}

pub(super) fn vehicle_key(id: u64) -> Key {
    id
}

fn hash(of: impl FnOnce(&mut DefaultHasher)) -> Key {
    let mut hasher = DefaultHasher::new();
    of(&mut hasher);
    hasher.finish()
}
