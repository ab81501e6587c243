//! How a replay of an object is told from another object of the same name: by length and checksum and, if records have
//! gone, by rows.
//!
//! The checksum is CRC32C and not the SDK's CRC32. A gzip member ends with the CRC32 of its rows, which makes the CRC32
//! of the whole the same for many different rows.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use flate2::write::MultiGzDecoder;
use zstd::stream::write::Decoder as ZstdDecoder;

use crate::writer::Compression;

/// What has to be known of an object's content to recognize it.
#[derive(Debug)]
pub struct Content {
    /// The number of bytes.
    pub bytes: u64,
    /// The checksum of the bytes.
    pub checksum: u32,
    /// The compression of the bytes.
    pub compression: Compression,
    /// The [digests](digest) of its rows in order, if its flush is a replay and some of the records are gone. An object
    /// that has all of these rows and more is then the one that the flush wrote before compaction.
    pub rows: Option<Vec<u64>>,
}

/// How a stored object compares with the one that is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredObject {
    /// It has the same bytes.
    Same,
    /// It has all of the rows, and also rows of records that are gone.
    WithMore,
    /// It is another object.
    Other,
}

/// The CRC32C of bytes that come in pieces.
pub struct Checksum(Digest);

impl Checksum {
    /// The checksum of no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes.
    pub fn sum(&self) -> u32 {
        // The checksum has 32 bits.
        u32::try_from(self.0.finalize()).unwrap_or_default()
    }
}

/// The digest of a row.
pub fn digest(row: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(row);
    hasher.finish()
}

/// The checksum in S3's notation.
pub fn written(checksum: u32) -> String {
    BASE64_STANDARD.encode(checksum.to_be_bytes())
}

/// The checksum that S3 gives to an object made of parts with these checksums, all in S3's notation. `None` if one of
/// them is not known.
pub fn composite<'a>(parts: impl ExactSizeIterator<Item = Option<&'a str>>) -> Option<String> {
    let count = parts.len();
    let mut checksum = Checksum::new();
    for part in parts {
        checksum.update(&BASE64_STANDARD.decode(part?).ok()?);
    }
    Some(format!("{}-{count}", written(checksum.sum())))
}

/// Compares a stored object, which is read piece by piece, with the one that is to be stored.
pub struct Comparison<'c> {
    content: &'c Content,
    bytes: u64,
    checksum: Checksum,
    rows: Option<Decoder<'c>>,
}

impl<'c> Comparison<'c> {
    /// A comparison of which nothing is read yet.
    pub fn new(content: &'c Content) -> io::Result<Self> {
        let rows =
            content.rows.as_deref().map(|rows| Decoder::new(content.compression, Rows::new(rows))).transpose()?;
        Ok(Self { content, bytes: 0, checksum: Checksum::new(), rows })
    }

    /// Takes the next bytes of the stored object.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.checksum.update(bytes);
        // An object that cannot be decompressed is another one.
        if self.rows.as_mut().is_some_and(|rows| rows.write().write_all(bytes).is_err()) {
            self.rows = None;
        }
    }

    /// The result, when the stored object is read to its end.
    pub fn end(self) -> StoredObject {
        if self.bytes == self.content.bytes && self.checksum.sum() == self.content.checksum {
            StoredObject::Same
        } else if self.rows.and_then(Decoder::finish).is_some_and(|rows| rows.wanted.is_empty()) {
            StoredObject::WithMore
        } else {
            StoredObject::Other
        }
    }
}

/// Decompresses what is written to it.
enum Decoder<'c> {
    None(Rows<'c>),
    Gzip(Box<MultiGzDecoder<Rows<'c>>>),
    Zstd(Box<ZstdDecoder<'static, Rows<'c>>>),
}

impl<'c> Decoder<'c> {
    fn new(compression: Compression, rows: Rows<'c>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(rows),
            Compression::Gzip(_) => Self::Gzip(Box::new(MultiGzDecoder::new(rows))),
            Compression::Zstd(_) => Self::Zstd(Box::new(ZstdDecoder::new(rows)?)),
        })
    }

    fn write(&mut self) -> &mut dyn Write {
        match self {
            Self::None(rows) => rows,
            Self::Gzip(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        }
    }

    /// The rows, when all bytes are written. `None` if the compressed bytes end early.
    fn finish(self) -> Option<Rows<'c>> {
        match self {
            Self::None(rows) => Some(rows),
            Self::Gzip(decoder) => decoder.finish().ok(),
            Self::Zstd(mut decoder) => {
                decoder.flush().ok()?;
                Some(decoder.into_inner())
            }
        }
    }
}

/// Looks for rows in the lines that are written to it: all of them, in order, perhaps with others between them.
struct Rows<'c> {
    wanted: &'c [u64],
    /// The line that has not ended yet.
    line: Vec<u8>,
}

impl<'c> Rows<'c> {
    fn new(wanted: &'c [u64]) -> Self {
        Self { wanted, line: Vec::new() }
    }
}

impl Write for Rows<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if let Some(row) = self.line.strip_suffix(b"\n") {
                if let Some((next, rest)) = self.wanted.split_first()
                    && *next == digest(row)
                {
                    self.wanted = rest;
                }
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fms_connect::Budget;
    use proptest::prelude::*;

    use super::*;
    use crate::pool::Pool;
    use crate::writer::Writer;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip(5), Compression::Zstd(3)];

    fn checksum(bytes: &[u8]) -> u32 {
        let mut checksum = Checksum::new();
        checksum.update(bytes);
        checksum.sum()
    }

    /// The object of these rows, and its content; with `gaps` some records of its flush are gone.
    fn object(compression: Compression, rows: &[String], gaps: bool) -> (Vec<u8>, Content) {
        let mut writer = Writer::new(compression, usize::MAX, 0, &Pool::new(Budget::new(usize::MAX)));
        for row in rows {
            writer.row(|out| out.extend_from_slice(row.as_bytes())).expect("room for a row");
        }
        let bytes = writer.finish().expect("an end").concat();
        let checksum = checksum(&bytes);
        let rows = gaps.then(|| rows.iter().map(|row| digest(row.as_bytes())).collect());
        let content = Content { bytes: bytes.len() as u64, checksum, compression, rows };
        (bytes, content)
    }

    /// What `stored` is to `content`, read in pieces.
    fn compared(stored: &[u8], content: &Content) -> StoredObject {
        let mut comparison = Comparison::new(content).expect("a decoder");
        stored.chunks(7).for_each(|piece| comparison.add(piece));
        comparison.end()
    }

    /// As in S3's documentation and answers: the checksum of nine bytes, and that of parts is that of their checksums.
    #[test]
    fn checksums_are_written_as_s3_does() {
        assert_eq!(written(checksum(b"123456789")), "4waSgw==");
        let part = written(checksum(b"123456789"));
        let of_parts = checksum(&[0xe3, 0x06, 0x92, 0x83, 0xe3, 0x06, 0x92, 0x83]);
        let expected = format!("{}-2", written(of_parts));
        assert_eq!(composite([Some(part.as_str()), Some(&part)].into_iter()), Some(expected));
        assert_eq!(composite([Some(part.as_str()), None].into_iter()), None);
    }

    /// Rows of one length that gzip stores as they are: their CRC32s are the same, so that it would not tell them
    /// apart.
    #[test]
    fn gzip_hides_differences_from_its_own_checksum() {
        let crc32 = |bytes: &[u8]| {
            let mut crc32 = libdeflater::Crc::new();
            crc32.update(bytes);
            crc32.sum()
        };
        let [(one, content), (other, _)] =
            ["first", "other"].map(|row| object(Compression::Gzip(0), &[row.to_owned()], false));
        assert_eq!(crc32(&one), crc32(&other));
        assert_eq!((compared(&one, &content), compared(&other, &content)), (StoredObject::Same, StoredObject::Other));
    }

    /// Bytes that are not such an object are another object, however they are compared.
    #[test]
    fn foreign_bytes_are_another_object() {
        for compression in ALL {
            let (bytes, content) = object(compression, &["a".into(), "b".into()], true);
            assert_eq!(compared(b"no gzip\xff\x00", &content), StoredObject::Other, "{compression:?}");
            assert_eq!(compared(b"", &content), StoredObject::Other, "{compression:?}");
            assert_eq!(compared(&bytes[..bytes.len() - 1], &content), StoredObject::Other, "{compression:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Only the same bytes are the same. More rows are accepted only where records are gone, and only with all of
        /// ours in order.
        #[test]
        fn rows_are_found_again(rows in proptest::collection::vec(("[a-c]{0,3}", any::<bool>()), 1..30)) {
            let all: Vec<String> = rows.iter().map(|(row, _)| row.clone()).collect();
            let left: Vec<String> = rows.into_iter().filter(|(_, stays)| *stays).map(|(row, _)| row).collect();
            for compression in ALL {
                let (stored, _) = object(compression, &all, false);
                let same = all == left;
                for (gaps, expected) in [(true, StoredObject::WithMore), (false, StoredObject::Other)] {
                    let content = object(compression, &left, gaps).1;
                    prop_assert_eq!(compared(&stored, &content), if same { StoredObject::Same } else { expected });
                }
                let mut others = left.clone();
                others.push("z".to_owned());
                prop_assert_eq!(compared(&stored, &object(compression, &others, true).1), StoredObject::Other);
            }
        }
    }
}
