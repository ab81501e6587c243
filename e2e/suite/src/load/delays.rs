//! How long rows take from when they were due until they can be read, as histograms of the whole run and of each step.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::time::{Duration, Instant};

use fms_simulator::RowKey;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cost::units;
use super::counted::{Counted, logical};
use super::due::Due;
use super::objects::Objects;

/// The longest delay that is told from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;
/// The percentiles of the curve that is drawn.
const CURVE: [f64; 12] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0];

/// Delays of the run, and of its steps.
pub struct Delays {
    /// When each step begins.
    steps: Vec<Instant>,
    whole: Histogram<u64>,
    of_steps: Vec<Histogram<u64>>,
}

/// Delays in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// How many rows were measured.
    pub count: u64,
    /// How many rows could not be read in the end.
    pub missing: u64,
    /// Half of the rows took at most this.
    pub p50: f64,
    /// Of ten rows, nine.
    pub p90: f64,
    /// Of a hundred rows, 99.
    pub p99: f64,
    /// Of a thousand rows, 999.
    pub p999: f64,
    /// The slowest row.
    pub max: f64,
    /// Percentiles with the delay of each.
    pub curve: Vec<(f64, f64)>,
}

impl Delays {
    /// No delays yet, with steps that begin at these moments.
    pub fn new(steps: &[Instant]) -> Result<Self, String> {
        let histogram = || Histogram::new_with_max(LONGEST, 3).map_err(|error| error.to_string());
        let of_steps = steps.iter().map(|_| histogram()).collect::<Result<_, _>>()?;
        Ok(Self { steps: steps.to_vec(), whole: histogram()?, of_steps })
    }

    /// Adds so many rows that were due then and could be read after this time.
    pub fn add(&mut self, due: Instant, delay: Duration, rows: u64) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX).min(LONGEST);
        let step = self.steps.iter().rposition(|begin| *begin <= due).unwrap_or(0);
        self.whole.saturating_record_n(micros, rows);
        if let Some(of_step) = self.of_steps.get_mut(step) {
            of_step.saturating_record_n(micros, rows);
        }
    }

    /// The percentiles of the whole run, of which so many rows are missing.
    pub fn percentiles(&self, missing: u64) -> Percentiles {
        let at = |percent: f64| milliseconds(self.whole.value_at_quantile(percent / 100.0));
        if self.whole.is_empty() {
            return Percentiles { missing, ..Percentiles::default() };
        }
        Percentiles {
            count: self.whole.len(),
            missing,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: milliseconds(self.whole.max()),
            curve: CURVE.iter().map(|percent| (*percent, at(*percent))).collect(),
        }
    }

    /// The 99th percentile of each step in milliseconds; `None` of one without rows.
    pub fn p99_of_steps(&self) -> Vec<Option<f64>> {
        let p99 = |of: &Histogram<u64>| (!of.is_empty()).then(|| milliseconds(of.value_at_quantile(0.99)));
        self.of_steps.iter().map(p99).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of an hour at most")]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// When rows could be read in raw objects, and when in the lake, with how many rows are not there.
pub(super) struct Visible {
    /// In raw objects.
    pub raw: (Delays, u64),
    /// In Parquet files to which the catalog sends readers.
    pub lake: (Delays, u64),
    /// How many write request units of DynamoDB the rows of the raw objects take.
    pub units: u64,
}

/// The delays of all rows in raw objects and in the lake.
///
/// A raw object can be read when the call that stored it first has ended. Its rows are in the lake when its conversion has
/// ended, for which the poller stores a record after its files and its partitions. `raw` and `lake` are the names of the
/// buckets as the pipeline knows them.
pub(super) fn visible(
    objects: &Objects,
    namespace: &str,
    [raw, lake]: [&str; 2],
    counted: &Counted,
    due: &Due,
    steps: &[Instant],
) -> Result<Visible, String> {
    let converted = conversions(objects, namespace, lake, counted)?;
    let mut visible = Visible { raw: (Delays::new(steps)?, 0), lake: (Delays::new(steps)?, 0), units: 0 };
    objects.each(raw, "raw/", |key, body| {
        let name = logical(&format!("{raw}/{key}"), namespace);
        let read = messages(body).map_err(|error| format!("cannot read the raw object {name}: {error}"))?;
        let (stored, converted) =
            (counted.stored(&name).map(|(first, _)| first), converted.get(&logical(key, namespace)).copied());
        visible.units += read.units;
        for (message, rows) in read.messages {
            let Some(due) = due.of(&message) else { continue };
            for ((delays, missing), at) in [(&mut visible.raw, stored), (&mut visible.lake, converted)] {
                match at {
                    Some(at) => delays.add(due, at.saturating_duration_since(due), rows),
                    None => *missing += rows,
                }
            }
        }
        Ok(())
    })?;
    Ok(visible)
}

/// When the conversion of each raw object had ended, by its key.
fn conversions(
    objects: &Objects,
    namespace: &str,
    lake: &str,
    counted: &Counted,
) -> Result<BTreeMap<String, Instant>, String> {
    let mut converted = BTreeMap::new();
    objects.each(lake, "conversions/", |key, body| {
        let name = logical(&format!("{lake}/{key}"), namespace);
        let record: Value = serde_json::from_slice(body).map_err(|error| format!("{name}: {error}"))?;
        let ended = counted.stored(&name).map(|(_, last)| last);
        if let (Some(raw), Some(ended), false) =
            (record["object"]["key"].as_str(), ended, record["converted"].is_null())
        {
            converted.insert(logical(raw, namespace), ended);
        }
        Ok(())
    })?;
    Ok(converted)
}

/// What a raw object has: how many rows of each message, and how many write request units of DynamoDB they take.
struct RawRows {
    messages: HashMap<String, u64>,
    units: u64,
}

fn messages(body: &[u8]) -> std::io::Result<RawRows> {
    let mut text = Vec::new();
    if body.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(body).read_to_end(&mut text)?;
    } else {
        text.extend_from_slice(body);
    }
    let mut read = RawRows { messages: HashMap::new(), units: 0 };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        *read.messages.entry(RowKey::of_json(line).message_id).or_default() += 1;
        read.units += units(line);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_of_the_step_in_which_a_row_was_due() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let mut delays = Delays::new(&[begin, begin + ms(1000), begin + ms(2000)]).expect("histograms");
        delays.add(begin + ms(10), ms(5), 99);
        delays.add(begin + ms(1500), ms(100), 1);
        let whole = delays.percentiles(2);
        assert!((whole.count, whole.missing) == (100, 2) && (whole.max - 100.0).abs() < 0.2, "{whole:?}");
        assert!((whole.p99 - 5.0).abs() < 0.01 && whole.p999 > 99.0, "{whole:?}");
        let steps = delays.p99_of_steps();
        assert!(steps[0].is_some_and(|p99| p99 < 5.1) && steps[1].is_some_and(|p99| p99 > 99.0), "{steps:?}");
        assert_eq!(steps[2], None);
    }
}
