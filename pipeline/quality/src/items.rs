//! The keys of rows beside those of items in `DynamoDB`, for which the worker's sink has made a sort key that begins with the
//! row's time. A key is known by its partition key and this time, so that rows of one vehicle and one time are one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, anyhow, bail};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, ReturnConsumedCapacity};
use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use fms_aws::{Error, Retry};
use fms_query::program::retry;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, TryStreamExt as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::runtime::Handle;

/// How many queries are under way at once.
const QUERIES: usize = 8;
/// How many keys are named.
const NAMED: usize = 20;
/// How many hours are named.
const HOURS: usize = 12;
/// Clocks are at most so far behind UTC, and so far before it, in milliseconds: a sort key has the time of any of them.
const BEHIND: i64 = 12 * 3_600_000;
const BEFORE: i64 = 14 * 3_600_000;

/// Where items are read.
pub(crate) struct Items {
    client: Client,
    retry: Retry,
    /// The time zone of days.
    pub zone: TimeZone,
}

/// Milliseconds since 1970, from the first one until before the second one.
pub(crate) type Window = (i64, i64);

/// What is on one side alone.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Compared {
    /// How many keys there are on both sides together.
    pub total: u64,
    /// How many of an hour are only in the lake, and only in `DynamoDB`.
    hours: BTreeMap<String, [u64; 2]>,
    /// The first of them.
    named: Vec<String>,
}

/// The names of a table's keys.
struct Keys {
    partition: String,
    sort: String,
}

impl Items {
    /// Must not be called in an async context.
    pub fn new(runtime: &Handle, zone: TimeZone) -> Self {
        Self { client: Client::new(&fms_aws::load(runtime)), retry: retry("fms quality"), zone }
    }

    /// Compares rows with the items of a table. The batches have a partition key and a time in milliseconds, in their order,
    /// each pair once. Only partition keys that rows have are looked at.
    ///
    /// # Errors
    ///
    /// The rows or the items cannot be read, or the table has other keys.
    pub async fn compare(
        &self,
        table: &str,
        window: Window,
        batches: impl Stream<Item = anyhow::Result<RecordBatch>>,
    ) -> anyhow::Result<Compared> {
        let keys = &self.keys(table).await?;
        let mut compared = Compared::default();
        let mut queries = FuturesUnordered::new();
        let mut units = 0.0;
        let query = |key: String, rows: Vec<i64>| async move {
            let (items, units) = self.times(table, keys, &key, window).await?;
            anyhow::Ok((key, rows, items, units))
        };
        let mut group: Option<(String, Vec<i64>)> = None;
        let mut batches = std::pin::pin!(batches);
        while let Some(batch) = batches.try_next().await? {
            let partitions = cast(batch.column(0), &DataType::Utf8)?;
            let times = batch.column(1).as_primitive::<Int64Type>();
            for (key, time) in partitions.as_string::<i32>().iter().zip(times) {
                let (Some(key), Some(time)) = (key, time) else { continue };
                match &mut group {
                    Some((of, rows)) if of == key => rows.push(time),
                    _ => {
                        if let Some((of, rows)) = group.replace((key.to_owned(), vec![time])) {
                            queries.push(query(of, rows));
                        }
                    }
                }
                if queries.len() >= QUERIES
                    && let Some((key, rows, items, read)) = queries.try_next().await?
                {
                    compared.add(&key, &rows, &items);
                    units += read;
                }
            }
        }
        queries.extend(group.map(|(key, rows)| query(key, rows)));
        while let Some((key, rows, items, read)) = queries.try_next().await? {
            compared.add(&key, &rows, &items);
            units += read;
        }
        tracing::info!(table, units, "items of DynamoDB were read");
        Ok(compared)
    }

    async fn keys(&self, table: &str) -> anyhow::Result<Keys> {
        let describe = || async { self.client.describe_table().table_name(table).send().await.map_err(Error::from) };
        let found = self.retry.run(format!("DescribeTable {table}"), Error::verdict_at_start, describe).await;
        let found = found.map_err(|error| failed("look at", table, &error))?.table.context("it has no description")?;
        let name = |kind: KeyType| {
            let key = found.key_schema().iter().find(|key| *key.key_type() == kind);
            key.map(|key| key.attribute_name().to_owned())
        };
        let partition = name(KeyType::Hash).with_context(|| format!("the table `{table}` has no partition key"))?;
        let sort = name(KeyType::Range).with_context(|| format!("the table `{table}` has no sort key with times"))?;
        Ok(Keys { partition, sort })
    }

    /// The times of the items of a partition key, and how many units it took to read them.
    async fn times(&self, table: &str, keys: &Keys, key: &str, window: Window) -> anyhow::Result<(BTreeSet<i64>, f64)> {
        // A time within the last second is greater than its text without a fraction.
        let (first, end) = (text(window.0 - BEHIND)?, text(window.1 + BEFORE + 1_000)?);
        let mut times = BTreeSet::new();
        let (mut start, mut units) = (None, 0.0);
        loop {
            let call = || async {
                let query = self.client.query().table_name(table);
                let query = query
                    .key_condition_expression("#p = :p and #s between :from and :to")
                    .projection_expression("#s")
                    .expression_attribute_names("#p", &keys.partition)
                    .expression_attribute_names("#s", &keys.sort)
                    .expression_attribute_values(":p", AttributeValue::S(key.to_owned()))
                    .expression_attribute_values(":from", AttributeValue::S(first.clone()))
                    .expression_attribute_values(":to", AttributeValue::S(end.clone()))
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .set_exclusive_start_key(start.clone());
                query.send().await.map_err(Error::from)
            };
            let page = self.retry.run(format!("Query {table}"), Error::verdict_at_start, call).await;
            let page = page.map_err(|error| failed("read", table, &error))?;
            units += page.consumed_capacity.and_then(|consumed| consumed.capacity_units).unwrap_or(0.0);
            for item in page.items.unwrap_or_default() {
                let Some(AttributeValue::S(sort)) = item.get(&keys.sort) else {
                    bail!("the sort key `{}` of the table `{table}` is no text", keys.sort)
                };
                let time = time(sort).with_context(|| {
                    let name = &keys.sort;
                    format!("an item of the table `{table}` does not have a time before the first `#` of `{name}`")
                })?;
                if (window.0..window.1).contains(&time) {
                    times.insert(time);
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok((times, units));
            }
        }
    }
}

impl Compared {
    /// How many keys are on one side alone.
    pub fn bad(&self) -> u64 {
        self.hours.values().flatten().sum()
    }

    fn add(&mut self, key: &str, rows: &[i64], items: &BTreeSet<i64>) {
        let rows: BTreeSet<i64> = rows.iter().copied().collect();
        self.total += rows.union(items).count() as u64;
        for (side, alone) in [rows.difference(items), items.difference(&rows)].into_iter().enumerate() {
            let place = ["the lake", "DynamoDB"][side];
            for time in alone {
                let time = Timestamp::from_millisecond(*time).unwrap_or_default();
                self.hours.entry(time.strftime("%Y-%m-%dT%HZ").to_string()).or_default()[side] += 1;
                if self.named.len() < NAMED {
                    self.named.push(format!("{key} of {time} only in {place}"));
                }
            }
        }
    }

    /// How many are on one side alone, by hour, and the first of them if they may be named.
    pub fn observed(&self, may_be_named: bool) -> String {
        let mut out = format!("{} of {} keys are on one side alone", self.bad(), self.total);
        for (hour, [lake, items]) in self.hours.iter().take(HOURS) {
            // Writing to a text does not fail.
            let _ = write!(out, "; {hour}: {lake} only in the lake, {items} only in DynamoDB");
        }
        if self.hours.len() > HOURS {
            let _ = write!(out, "; and {} more hours", self.hours.len() - HOURS);
        }
        if may_be_named && !self.named.is_empty() {
            let more = self.bad().saturating_sub(self.named.len() as u64);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let _ = write!(out, "; {}{more}", self.named.join(", "));
        }
        out
    }
}

/// A bound of sort keys: a text that goes on is greater.
fn text(millisecond: i64) -> anyhow::Result<String> {
    Ok(Timestamp::from_millisecond(millisecond)?.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// The time at the beginning of a sort key, whatever its offset. An error does not have the key, for it may be masked.
fn time(sort: &str) -> Option<i64> {
    let time: Timestamp = sort.split('#').next()?.parse().ok()?;
    Some(time.as_millisecond())
}

fn failed(what: &str, table: &str, error: &Error) -> anyhow::Error {
    anyhow!("cannot {what} the table `{table}` of DynamoDB: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_one_side_alone_is_counted_by_hour_and_named() {
        let mut compared = Compared::default();
        compared.add("7#tire", &[0, 1_000, 3_600_000], &[0, 3_600_000].into());
        compared.add("8#tire", &[5], &[5, 3_600_001].into());
        assert_eq!((compared.total, compared.bad()), (5, 2));
        insta::assert_snapshot!(compared.observed(true), @"2 of 5 keys are on one side alone; 1970-01-01T00Z: 1 only in the lake, 0 only in DynamoDB; 1970-01-01T01Z: 0 only in the lake, 1 only in DynamoDB; 7#tire of 1970-01-01T00:00:01Z only in the lake, 8#tire of 1970-01-01T01:00:00.001Z only in DynamoDB");
        assert!(!compared.observed(false).contains("tire"));
        compared.add("9#tire", &(0..100).collect::<Vec<_>>(), &BTreeSet::new());
        assert!(compared.observed(true).ends_with(", and 82 more"), "{}", compared.observed(true));
        compared.add("9#tire", &(0..30).map(|hour| hour * 3_600_000 + 7).collect::<Vec<_>>(), &BTreeSet::new());
        let observed = compared.observed(false);
        assert!(observed.contains("1970-01-01T11Z") && observed.ends_with("; and 18 more hours"), "{observed}");
    }

    #[test]
    fn the_time_of_a_sort_key_is_before_the_first_number_sign() {
        assert_eq!(time("1970-01-01T00:00:01.5Z#ab#c"), Some(1_500));
        assert_eq!(time("1970-01-01T09:00:01+09:00#ab"), Some(1_000));
        assert_eq!(time("none#ab"), None);
    }
}
