//! Checks after a run whether every row arrived exactly once, and computes how fast the rows arrived.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use flate2::read::MultiGzDecoder;
use memchr::memmem::Finder;

use crate::endpoint::{Contents, StoredBody};
use crate::topics::MARKS;

/// The result of a run.
#[derive(Debug)]
pub struct Tally {
    /// Rows that arrived.
    pub arrived: u64,
    /// Rows of the topic that did not arrive.
    pub lost: u64,
    /// Rows that arrived again, and rows that the topic does not have.
    pub doubled: u64,
    /// The size of all bodies, in bytes.
    pub bytes: u64,
    /// Rows per second, measured between the first and the last tenth of the rows that arrived.
    pub rate: f64,
    /// When the last row arrived.
    pub last: Option<Instant>,
}

/// Counts which of a topic's `rows`, numbered from 0, arrived. There have to be `copies` copies of each row, each in
/// its own folder. An object whose name or content says that it is gzip, but which is damaged, is an error.
pub fn tally(contents: Contents, rows: u64, copies: u64) -> anyhow::Result<Tally> {
    let batches = contents.batches.into_iter().map(|stored| (String::new(), false, stored));
    let mut bodies: Vec<(String, bool, StoredBody)> = batches.collect();
    // The folder in `/bucket/folder/…` tells the copies apart.
    let copy = |key: &str| key.split('/').nth(2).filter(|_| copies > 1).unwrap_or_default().to_owned();
    let mark = MARKS[usize::from(!bodies.is_empty())];
    for (key, stored) in contents.objects {
        bodies.push((
            copy(&key),
            key.rsplit_once('.').is_some_and(|(_, extension)| extension == "gz")
                || stored.bytes.starts_with(&[0x1f, 0x8b]),
            stored,
        ));
    }
    bodies.sort_by_key(|(_, _, stored)| stored.at);

    let finder = Finder::new(mark);
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let (mut arrived, mut bytes, mut plain) = (0, 0, Vec::new());
    let mut progress = Vec::with_capacity(bodies.len());
    for (copy, gzip, StoredBody { at, bytes: body }) in &bodies {
        let seen = seen.entry(copy).or_insert_with(|| Seen::new(rows));
        let body = if *gzip {
            plain.clear();
            MultiGzDecoder::new(&body[..]).read_to_end(&mut plain).context("decompressing an object that is gzip")?;
            &plain
        } else {
            body
        };
        for place in finder.find_iter(body) {
            let digits = body[place + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            seen.mark(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
            arrived += 1;
        }
        progress.push((*at, arrived));
    }
    bytes += bodies.iter().map(|(_, _, stored)| stored.bytes.len() as u64).sum::<u64>();
    let last = progress.last().map(|(at, _)| *at);
    let found = seen.values().map(|seen| seen.count).sum::<u64>();
    Ok(Tally {
        arrived,
        lost: (rows * copies).saturating_sub(found),
        doubled: arrived - found,
        bytes,
        rate: rate(&progress),
        last,
    })
}

/// Rows per second between the end of the first tenth and the beginning of the last tenth.
fn rate(progress: &[(Instant, u64)]) -> f64 {
    let total = progress.last().map_or(0, |(_, rows)| *rows);
    let reached = |rows: u64| progress.iter().find(|(_, arrived)| *arrived >= rows);
    let (Some((from, first)), Some((to, last))) = (reached(total / 10), reached(total - total / 10)) else {
        return 0.0;
    };
    per_second(last - first, *to - *from)
}

/// Rows per second; 0 if no time has passed.
#[expect(clippy::cast_precision_loss, reason = "the figure is shown to people")]
pub fn per_second(rows: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { rows as f64 / time.as_secs_f64() }
}

/// Which rows were seen, with one bit for each row.
struct Seen {
    bits: Vec<u64>,
    rows: u64,
    count: u64,
}

impl Seen {
    fn new(rows: u64) -> Self {
        let words = usize::try_from(rows.div_ceil(64)).unwrap_or(usize::MAX);
        Self { bits: vec![0; words], rows, count: 0 }
    }

    fn mark(&mut self, row: u64) {
        if row >= self.rows {
            return;
        }
        let Some(word) = usize::try_from(row / 64).ok().and_then(|word| self.bits.get_mut(word)) else { return };
        let bit = 1 << (row % 64);
        self.count += u64::from(*word & bit == 0);
        *word |= bit;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn contents(objects: &[(&str, Vec<u8>)]) -> Contents {
        let mut contents = Contents::default();
        for (key, bytes) in objects {
            contents.objects.insert((*key).into(), StoredBody { at: Instant::now(), bytes: bytes.clone() });
        }
        contents
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Lost, doubled and foreign rows are counted, in plain objects and in gzip objects of several members.
    #[test]
    fn every_row_is_counted() {
        let members = [gzip("{\"row\":2}\n"), gzip("{\"row\":64,\"a\":1}\n")].concat();
        let tally =
            tally(contents(&[("a", b"{\"row\":0}\n{\"row\":2}\n{\"row\":99}\n".to_vec()), ("b", members)]), 65, 1);
        let tally = tally.unwrap();
        assert_eq!((tally.arrived, tally.lost, tally.doubled), (5, 62, 2));
    }

    /// A row has to be in each copy.
    #[test]
    fn copies_are_counted_apart() {
        let row = |key, text: &str| (key, text.as_bytes().to_vec());
        let both =
            contents(&[row("/b/x/1", "{\"row\":0}\n{\"row\":0}\n"), row("/b/y/1", "{\"row\":0}\n{\"row\":1}\n")]);
        let tally = tally(both, 2, 2).unwrap();
        assert_eq!((tally.arrived, tally.lost, tally.doubled), (4, 1, 1));
    }

    /// In a DynamoDB item, the number of a row has another form.
    #[test]
    fn items_are_counted() {
        let mut contents = Contents::default();
        let bytes = br#"{"RequestItems":{"t":[{"PutRequest":{"Item":{"row":{"N":"1"}}}}]}}"#.to_vec();
        contents.batches.push(StoredBody { at: Instant::now(), bytes });
        let tally = tally(contents, 2, 1).unwrap();
        assert_eq!((tally.arrived, tally.lost, tally.doubled), (1, 1, 0));
    }
}
