//! Turns rows into the bytes of an object: JSON lines, compressed and cut into parts. Bytes and cuts depend on the rows
//! and the settings alone.

use std::cell::RefCell;
use std::io::{self, Write as _};

use libdeflater::{CompressionLvl, Compressor};
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::pool::Pool;

/// Rows are compressed in pieces of at least this many bytes. A compressor is expensive to call and to have, so an
/// object that stays smaller gets one only at its end.
const PIECE: usize = 64 * 1024;

/// The bytes of rows in one gzip member. A compressor that is given a whole member at once is twice as fast as one that
/// is fed row by row; because no member can refer to the one before it, objects are a hundredth larger.
const MEMBER: usize = 256 * 1024;

/// The room that a buffer has beyond a part, which is cut off only when there are more bytes.
const ROOM: usize = 64 * 1024;

/// The level of gzip that `-1` stands for. Its output is as small as that of zlib's default level, 6.
pub const GZIP_DEFAULT: u32 = 5;

/// The level of zstd that `-1` stands for, which is its own default.
pub const ZSTD_DEFAULT: i32 = 3;

/// The values of `s3.compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Codec {
    /// No compression.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// `s3.compression.type` and `s3.compression.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// Gzip members without name and time, at this level.
    Gzip(u32),
    /// One zstd frame, at this level.
    Zstd(i32),
}

impl Compression {
    /// The memory of a compressor in bytes, about.
    fn memory(self) -> usize {
        const MIB: usize = 1024 * 1024;
        match self {
            // The compressor of gzip belongs to the thread, not to the object.
            Self::None | Self::Gzip(_) => 0,
            Self::Zstd(..=2) => MIB,
            Self::Zstd(3..=9) => 4 * MIB,
            Self::Zstd(10..=15) => 16 * MIB,
            Self::Zstd(_) => 90 * MIB,
        }
    }
}

thread_local! {
    /// One compressor for all objects of a task, which has a thread of its own. It takes half a MiB and keeps nothing
    /// from one member to the next.
    static COMPRESSOR: RefCell<Option<(u32, Compressor)>> = const { RefCell::new(None) };
}

/// Appends `rows` to `out` as one gzip member.
fn member(level: u32, rows: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.as_ref().is_none_or(|(of, _)| *of != level) {
            let checked = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
            let checked = checked.ok_or_else(|| io::Error::other(format!("there is no level {level}")))?;
            *compressor = Some((level, Compressor::new(checked)));
        }
        let Some((_, compressor)) = compressor else { return Ok(()) };
        let start = out.len();
        out.resize(start + compressor.gzip_compress_bound(rows.len()), 0);
        let length = compressor.gzip_compress(rows, &mut out[start..]).map_err(|e| io::Error::other(e.to_string()))?;
        out.truncate(start + length);
        Ok(())
    })
}

/// The writer of one object. It holds the bytes that have not been taken as parts.
pub struct Writer {
    compression: Compression,
    part_size: usize,
    pool: Pool,
    /// The rows that are not compressed yet.
    rows: Vec<u8>,
    encoder: Option<ZstdEncoder<'static, Vec<u8>>>,
    /// The bytes of the object since the last cut.
    out: Vec<u8>,
}

impl Writer {
    /// A writer with room for `expected` bytes. A buffer that grows to its size is copied, and its smaller predecessors
    /// stay in memory for a while.
    pub fn new(compression: Compression, part_size: usize, expected: usize, pool: &Pool) -> Self {
        let out = pool.buffer(expected.min(part_size.saturating_add(ROOM)));
        Self { compression, part_size, pool: pool.clone(), rows: Vec::new(), encoder: None, out }
    }

    /// The compression.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Appends a row, which `write` appends to the buffer, and a line break.
    pub fn row(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let plain = self.compression == Compression::None;
        let buffer = if plain { &mut self.out } else { &mut self.rows };
        write(buffer);
        buffer.push(b'\n');
        let piece = if matches!(self.compression, Compression::Gzip(_)) { MEMBER } else { PIECE };
        if self.rows.len() >= piece { self.compress() } else { Ok(()) }
    }

    fn compress(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        match self.compression {
            Compression::None => {}
            Compression::Gzip(level) => member(level, &self.rows, &mut self.out)?,
            Compression::Zstd(level) => {
                let encoder = match &mut self.encoder {
                    Some(encoder) => encoder,
                    none => none.insert(ZstdEncoder::new(Vec::new(), level)?),
                };
                encoder.write_all(&self.rows)?;
                self.out.append(encoder.get_mut());
            }
        }
        self.rows.clear();
        Ok(())
    }

    /// The next part, if there are bytes beyond it. A part has exactly the part size, so what [`Self::finish`] returns
    /// is never empty.
    pub fn part(&mut self) -> Option<Vec<u8>> {
        if self.out.len() <= self.part_size {
            return None;
        }
        let mut rest = self.pool.buffer(self.out.capacity().min(self.part_size.saturating_add(ROOM)));
        rest.extend_from_slice(&self.out[self.part_size..]);
        self.out.truncate(self.part_size);
        Some(std::mem::replace(&mut self.out, rest))
    }

    /// Ends the object. Gives the rest of it in parts, of which only the last may be smaller than the part size.
    pub fn finish(&mut self) -> io::Result<Vec<Vec<u8>>> {
        self.compress()?;
        if let Some(encoder) = self.encoder.take() {
            self.out.append(&mut encoder.finish()?);
        }
        let mut parts: Vec<_> = std::iter::from_fn(|| self.part()).collect();
        let last = std::mem::take(&mut self.out);
        // What is left after a cut may be little, but in a buffer that has room for a part.
        parts.push(if last.len() < last.capacity() / 2 { last[..].to_vec() } else { last });
        Ok(parts)
    }

    /// The memory that its buffers take in bytes, about.
    pub fn memory(&self) -> usize {
        let encoder = if self.encoder.is_some() { self.compression.memory() } else { 0 };
        self.rows.capacity() + self.out.capacity() + encoder
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use fms_connect::Budget;
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

    /// The object's parts, taken as the task takes them: after each row.
    fn parts(compression: Compression, part_size: usize, rows: &[String]) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(compression, part_size, 0, &Pool::new(Budget::new(usize::MAX)));
        let mut parts = Vec::new();
        for row in rows {
            writer.row(|out| out.extend_from_slice(row.as_bytes())).expect("room for a row");
            parts.extend(std::iter::from_fn(|| writer.part()));
        }
        parts.extend(writer.finish().expect("an end"));
        parts
    }

    fn decompressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::None => out.extend_from_slice(bytes),
            Compression::Gzip(_) => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).expect("gzip members");
            }
            Compression::Zstd(_) => out = zstd::decode_all(bytes).expect("zstd"),
        }
        out
    }

    /// Rows that do not compress away.
    fn rows(count: u32) -> Vec<String> {
        (0..count).map(|i| format!("{:x}", u128::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060))).collect()
    }

    /// Every part has exactly the part size but the last, which is never empty.
    #[test]
    fn parts_have_the_part_size() {
        for compression in ALL {
            let parts = parts(compression, 10_000, &rows(20_000));
            let (last, full) = parts.split_last().expect("parts");
            assert!(full.len() > 5 && full.iter().all(|part| part.len() == 10_000), "{compression:?}");
            assert!((1..=10_000).contains(&last.len()), "{compression:?}: {}", last.len());
        }
    }

    /// An object of exactly the part size is one part: nothing is cut that has nothing behind it.
    #[test]
    fn exact_size_is_one_part() {
        assert_eq!(parts(Compression::None, 4, &["abc".into()]), [b"abc\n"]);
        assert_eq!(parts(Compression::None, 4, &["abcd".into()]), [&b"abcd"[..], b"\n"]);
    }

    /// No name, no time in gzip's header: the same rows give the same bytes tomorrow.
    #[test]
    fn gzip_header_is_constant() {
        let parts = parts(Compression::Gzip(6), 10_000, &rows(1));
        assert_eq!(parts[0][..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }

    /// Rows as vehicles send them: names that repeat, digits that do not.
    fn measurements(count: u32) -> Vec<String> {
        let mut state = 1_u64;
        let mut digits = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let measurement = |n: u32| {
            let (latitude, longitude, speed) = (digits(100_000), digits(100_000), digits(1200));
            let (x, y, z) = (digits(4000), digits(4000), digits(4000));
            format!(
                r#"{{"object":"vehicle","type":"kinematic","command":"report","id":"{}","timestamp_iso":"2024-09-07T16:55:{:02}.{:03}+09:00","latitude":37.5{latitude:05},"longitude":126.9{longitude:05},"speed":{speed},"accel_x":{x},"accel_y":{y},"accel_z":{z}}}"#,
                10_000 + n % 100,
                n / 1000 % 60,
                n % 1000,
            )
        };
        (0..count).map(measurement).collect()
    }

    /// At its default level an object is no larger than zlib makes it at its own, 6, however many members it has.
    #[test]
    fn gzip_is_no_larger_than_zlib() {
        let rows = measurements(4_000);
        let ours = parts(Compression::Gzip(GZIP_DEFAULT), usize::MAX, &rows).concat().len();
        let mut zlib = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        zlib.write_all(rows.join("\n").as_bytes()).expect("room");
        let zlib = zlib.finish().expect("room").len();
        assert!(ours <= zlib, "{ours} bytes, zlib's are {zlib}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Joined and decompressed, parts are the rows, a line each; and the same rows give the same parts.
        #[test]
        fn parts_are_the_rows(rows in proptest::collection::vec("[^\n]{0,3000}", 1..60), part_size in 1_usize..5_000) {
            for compression in ALL {
                let once = parts(compression, part_size, &rows);
                prop_assert_eq!(&once, &parts(compression, part_size, &rows));
                let lines: String = rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect();
                prop_assert_eq!(decompressed(compression, &once.concat()), lines.as_bytes());
            }
        }
    }
}
