//! The lines of a raw object: plain, or compressed with gzip or zstd, which its first bytes tell.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

/// The longest line that is read. A Kafka record, of which a raw line is a part, is shorter.
pub(crate) const MAX_LINE: usize = 64 << 20;

const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A line of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    /// The line without its line break.
    Whole(&'l [u8]),
    /// The beginning of a line that is longer than [`MAX_LINE`], and its length.
    TooLong(&'l [u8], u64),
}

/// Gives every line of an object to `each`. A compressed object may have several members; one that is cut off in a
/// member is an error.
pub(crate) fn each_line<E: From<io::Error>>(
    object: impl Read,
    mut each: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut lines = decompressed(BufReader::with_capacity(BUFFER, object))?;
    // The beginning of a line that is not whole in the buffer.
    let mut begun = Vec::new();
    loop {
        let buffer = lines.fill_buf()?;
        let end = memchr(b'\n', buffer);
        match end {
            Some(end) if begun.is_empty() => each(Line::Whole(without_return(&buffer[..end])))?,
            _ if begun.len() + end.unwrap_or(buffer.len()) > MAX_LINE => {
                let length = begun.len() as u64 + skip_line(&mut *lines)?;
                each(Line::TooLong(&begun, length))?;
                begun.clear();
                continue;
            }
            Some(end) => {
                begun.extend_from_slice(&buffer[..end]);
                each(Line::Whole(without_return(&begun)))?;
                begun.clear();
            }
            None if buffer.is_empty() => {
                return if begun.is_empty() { Ok(()) } else { each(Line::Whole(&begun)) };
            }
            None => begun.extend_from_slice(buffer),
        }
        let consumed = end.map_or(buffer.len(), |end| end + 1);
        lines.consume(consumed);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn decompressed<'r>(mut object: impl BufRead + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
    let start = object.fill_buf()?;
    Ok(if start.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(object)))
    } else if start.starts_with(&ZSTD) {
        Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(object)?))
    } else {
        Box::new(object)
    })
}

/// Reads up to the end of the line. Gives the bytes up to its line break.
fn skip_line(lines: &mut dyn BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = lines.fill_buf()?;
        let end = memchr(b'\n', buffer);
        let length = end.unwrap_or(buffer.len());
        let (is_last, consumed) = (end.is_some() || buffer.is_empty(), length + usize::from(end.is_some()));
        lines.consume(consumed);
        skipped += length as u64;
        if is_last {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("encoded");
        encoder.finish().expect("encoded")
    }

    fn lines(object: &[u8]) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        each_line::<io::Error>(object, |line| {
            lines.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::TooLong(_, length) => format!("{length} bytes"),
            });
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn every_way_of_compressing_gives_the_same_lines() {
        let text = b"{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":3}";
        let members = [gzip(&text[..11]), gzip(&text[11..])].concat();
        let frames =
            [zstd::encode_all(&text[..11], 3).expect("a frame"), zstd::encode_all(&text[11..], 3).expect("a frame")];
        for object in [text.to_vec(), gzip(text), members, frames.concat()] {
            assert_eq!(lines(&object).expect("read"), ["{\"a\":1}", "{\"a\":2}", "", "{\"a\":3}"]);
        }
        assert_eq!(lines(b"").expect("read"), [""; 0]);
    }

    #[test]
    fn an_object_that_is_cut_off_is_an_error() {
        let (whole, zstd) = (gzip(b"{}\n{}\n"), zstd::encode_all(&b"{}\n{}\n"[..], 3).expect("a frame"));
        let cut_member = [&whole[..], &whole[..whole.len() - 3]].concat();
        for object in [&whole[..whole.len() - 1], &cut_member, &zstd[..zstd.len() - 1]] {
            assert!(lines(object).is_err());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_the_next_one_is_read() {
        let object = [&vec![b'x'; MAX_LINE + 10][..], b"\n{}\n"].concat();
        assert_eq!(lines(&object).expect("read"), [format!("{} bytes", MAX_LINE + 10), "{}".to_owned()]);
    }
}
