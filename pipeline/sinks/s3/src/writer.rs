//! Rows to bytes: JSON lines, compressed, cut into parts. Pure: bytes and cuts are functions of the rows and the settings.

use std::io::{self, Write as _};

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

/// Rows are compressed in pieces of at least this many bytes: a compressor is not cheap to call, nor to have, so an object that stays
/// smaller gets one only at its end.
const PIECE: usize = 64 * 1024;

/// `s3.compression.type` and `s3.compression.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// One gzip member without name and time.
    Gzip(u32),
    /// One zstd frame.
    Zstd(i32),
}

impl Compression {
    /// What an object's name ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => ".gz",
            Self::Zstd(_) => ".zst",
        }
    }

    /// About what a compressor holds, in bytes.
    fn memory(self) -> usize {
        const MIB: usize = 1024 * 1024;
        match self {
            Self::None => 0,
            Self::Gzip(_) => MIB / 3,
            Self::Zstd(..=2) => MIB,
            Self::Zstd(3..=9) => 4 * MIB,
            Self::Zstd(10..=15) => 16 * MIB,
            Self::Zstd(_) => 90 * MIB,
        }
    }
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(compression: Compression) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip(level) => Some(Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))),
            Compression::Zstd(level) => Some(Self::Zstd(ZstdEncoder::new(Vec::new(), level)?)),
        })
    }

    /// Compresses `bytes`, and appends to `out` what came of it so far.
    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                out.append(encoder.get_mut());
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                out.append(encoder.get_mut());
            }
        }
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        out.append(&mut match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        });
        Ok(())
    }
}

/// The bytes of one object, as far as they have not been taken as parts.
pub struct Writer {
    compression: Compression,
    part_size: usize,
    /// Rows to be compressed.
    rows: Vec<u8>,
    encoder: Option<Encoder>,
    /// The object's bytes from the last cut on.
    out: Vec<u8>,
}

impl Writer {
    /// An empty object.
    pub fn new(compression: Compression, part_size: usize) -> Self {
        Self { compression, part_size, rows: Vec::new(), encoder: None, out: Vec::new() }
    }

    /// Appends a row: what `write` appends, and a line's end.
    pub fn row(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let plain = self.compression == Compression::None;
        let buffer = if plain { &mut self.out } else { &mut self.rows };
        write(buffer);
        buffer.push(b'\n');
        if self.rows.len() >= PIECE { self.compress() } else { Ok(()) }
    }

    fn compress(&mut self) -> io::Result<()> {
        if self.encoder.is_none() {
            self.encoder = Encoder::new(self.compression)?;
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.write(&self.rows, &mut self.out)?;
            self.rows.clear();
        }
        Ok(())
    }

    /// The next part, if there are bytes beyond it: exactly the part size, so that the rest that [`Self::finish`] gives is never empty.
    pub fn part(&mut self) -> Option<Vec<u8>> {
        if self.out.len() <= self.part_size {
            return None;
        }
        let rest = self.out.split_off(self.part_size);
        Some(std::mem::replace(&mut self.out, rest))
    }

    /// Ends the object: what is left of it, in parts, of which only the last may be shorter than the part size.
    pub fn finish(&mut self) -> io::Result<Vec<Vec<u8>>> {
        self.compress()?;
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(&mut self.out)?;
        }
        let mut parts: Vec<_> = std::iter::from_fn(|| self.part()).collect();
        parts.push(std::mem::take(&mut self.out));
        Ok(parts)
    }

    /// About how many bytes it holds.
    pub fn memory(&self) -> usize {
        let encoder = if self.encoder.is_some() { self.compression.memory() } else { 0 };
        self.rows.len() + self.out.len() + encoder
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

    /// The object's parts, taken as the task takes them: after each row.
    fn parts(compression: Compression, part_size: usize, rows: &[String]) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(compression, part_size);
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
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("one gzip member");
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
