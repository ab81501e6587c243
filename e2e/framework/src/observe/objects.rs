//! S3 objects decoded: what their name says they are compressed with, and one row a line.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::json::quoted;

/// An object as a person would read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// One a line, exactly as in the object; bytes that are not UTF-8 as `{"base64":"…"}`.
    pub rows: Vec<String>,
    /// Bytes of the content, uncompressed.
    pub bytes: usize,
    /// What is odd about it: it cannot be decoded, or its last line has no line break.
    pub remark: Option<String>,
}

/// Decodes by the key's extension: `.gz`, `.zst`, anything else is plain.
pub(super) fn decode(key: &str, body: &[u8]) -> Decoded {
    let content = match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("gz") => {
            let mut content = Vec::new();
            flate2::read::MultiGzDecoder::new(body).read_to_end(&mut content).map(|_| content)
        }
        Some("zst") => zstd::decode_all(body),
        _ => Ok(body.to_vec()),
    };
    match content {
        Ok(content) => Decoded {
            rows: rows(&content),
            bytes: content.len(),
            remark: (!content.is_empty() && !content.ends_with(b"\n")).then(|| "no line break at its end".to_owned()),
        },
        Err(error) => {
            Decoded { rows: Vec::new(), bytes: body.len(), remark: Some(format!("cannot be decoded: {error}")) }
        }
    }
}

fn rows(content: &[u8]) -> Vec<String> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    if content.is_empty() {
        return Vec::new();
    }
    content
        .split(|byte| *byte == b'\n')
        .map(|line| match std::str::from_utf8(line) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("{{\"base64\":{}}}", quoted(&BASE64.encode(line))),
        })
        .collect()
}

/// The folder of a key: its output partition.
pub(super) fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn content_is_the_same_however_it_is_compressed() {
        let content = b"{\"a\":1.50}\n{\"a\":2}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).expect("compressed");
        let gzip = gzip.finish().expect("compressed");
        let zstd = zstd::encode_all(&content[..], 1).expect("compressed");
        let plain = decode("a.json", content);
        assert_eq!(plain, Decoded { rows: vec!["{\"a\":1.50}".into(), "{\"a\":2}".into()], bytes: 19, remark: None });
        assert_eq!(decode("a.json.gz", &gzip), plain);
        assert_eq!(decode("a.json.zst", &zstd), plain);
    }

    #[test]
    fn oddities_are_remarked() {
        assert_eq!(decode("a", b"x").remark.as_deref(), Some("no line break at its end"));
        assert!(decode("a.gz", b"no gzip").remark.expect("odd").starts_with("cannot be decoded"));
        assert_eq!(decode("a", b"\xff\n").rows, ["{\"base64\":\"/w==\"}"]);
        assert_eq!(decode("a", b""), Decoded { rows: vec![], bytes: 0, remark: None });
    }
}
