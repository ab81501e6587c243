//! Support for a pipeline that runs already: what existed before the test is left out of what the test observes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::Remote;
use crate::stack::{Record, Resources, StackError, Table};

/// What existed before the test.
#[derive(Default)]
pub(super) struct Before {
    /// The end offset of every partition at that time.
    ends: BTreeMap<(String, i32), i64>,
    /// The bucket and the key of every object at that time.
    keys: BTreeSet<(String, String)>,
}

impl Before {
    /// Whether a record was written after the test had begun.
    pub(crate) fn is_new(&self, topic: &str, record: &Record) -> bool {
        self.ends.get(&(topic.to_owned(), record.partition)).is_none_or(|end| record.offset >= *end)
    }
}

impl Remote {
    /// Notes which records and objects exist already, finds the queues, and removes all items of the tables.
    pub(super) fn note_what_is_there(&self, before: &Mutex<Before>, resources: &Resources) -> Result<(), StackError> {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        before.ends = self.kafka.end_offsets(&resources.topics.keys().cloned().collect::<Vec<_>>())?;
        for bucket in &resources.buckets {
            let keys = self.block_on(self.keys(bucket))?;
            before.keys.extend(keys.into_iter().map(|key| (bucket.clone(), key)));
        }
        for queue in resources.queues.keys() {
            self.block_on(self.find_queue(queue))?;
        }
        resources.tables.iter().try_for_each(|table| self.block_on(self.empty(table)))
    }

    async fn empty(&self, table: &Table) -> Result<(), StackError> {
        let action = || format!("emptying table {}", table.name);
        let keys: Vec<&str> = table.key().map(|(name, _)| name.as_str()).collect();
        let mut items = self.dynamodb.scan().table_name(&table.name).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let mut item = item.map_err(|error| StackError::sdk(action(), error))?;
            item.retain(|name, _| keys.contains(&name.as_str()));
            let delete = self.dynamodb.delete_item().table_name(&table.name).set_key(Some(item)).send().await;
            delete.map_err(|error| StackError::sdk(action(), error))?;
        }
        Ok(())
    }

    /// Whether an object did not exist before the test.
    pub(super) fn is_new_object(&self, bucket: &str, key: &str) -> bool {
        self.before.as_ref().is_none_or(|before| {
            let before = before.lock().unwrap_or_else(PoisonError::into_inner);
            !before.keys.contains(&(bucket.to_owned(), key.to_owned()))
        })
    }
}
