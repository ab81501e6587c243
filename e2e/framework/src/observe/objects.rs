//! Observes S3 objects: their rows by folder, a listing of their names and sizes, and the unfinished uploads.
//!
//! The extension of an object's name decides how it is decoded. Each line of its content is a row.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::name::safe;
use super::visible::visible;
use super::{EntryKind, Key, Redactor, Rule, Section, counted};
use crate::case::{Case, Place};
use crate::json::quoted;
use crate::stack::{Stack, StackError};

/// A row of an object.
pub(crate) static ROW: EntryKind = EntryKind { noun: "row", is_block: false, key: Key::None, rule: Rule::EachOnce };
/// The name and the size of an object.
pub(crate) static OBJECT: EntryKind =
    EntryKind { noun: "object", is_block: false, key: Key::Name, rule: Rule::PlainOnly };
/// A multipart upload that was neither completed nor aborted.
static OPEN_UPLOAD: EntryKind =
    EntryKind { noun: "open upload", is_block: false, key: Key::None, rule: Rule::EachOnce };

/// The section with the names and sizes of all objects.
pub(super) const LISTING: &str = "objects";

/// One section with the rows of each folder, which is an output partition, then the listing of all objects, then the
/// open uploads.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let mut sections = Vec::new();
    let (mut objects, mut uploads) = (Vec::new(), Vec::new());
    for bucket in &case.settings.resources.buckets {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, body) in stack.objects(bucket)? {
            let decoded = decode(&key, &body);
            let remark = decoded.remark.map(|remark| format!(", {remark}")).unwrap_or_default();
            let (rows, bytes) = (counted(decoded.rows.len(), "row"), counted(decoded.bytes, "byte"));
            objects.push(visible(&format!("{bucket}/{key}: {rows}, {bytes} uncompressed{remark}")));
            folders.entry(folder(&key).to_owned()).or_default().extend(decoded.rows);
        }
        for (folder, rows) in folders {
            let entries = redactor.entries(Place::Rows, rows);
            sections.push(Section { name: safe(&["s3", bucket, &folder]), kind: &ROW, entries });
        }
        uploads.extend(stack.open_uploads(bucket)?.into_iter().map(|key| visible(&format!("{bucket}/{key}"))));
    }
    sections.push(Section { name: LISTING.to_owned(), kind: &OBJECT, entries: objects });
    sections.push(Section { name: "open-uploads".to_owned(), kind: &OPEN_UPLOAD, entries: uploads });
    Ok(sections)
}

/// The decoded content of an object.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    /// The lines of the content, exactly as in the object. A line that is not UTF-8 is shown as `{"base64":"…"}`.
    rows: Vec<String>,
    /// The number of bytes of the uncompressed content. If it cannot be decoded, it is the size of the object.
    bytes: usize,
    /// A remark about something unusual: the object cannot be decoded, or its last line has no line break.
    remark: Option<String>,
}

/// Decodes an object by the extension of its key: `.gz` or `.zst`. Any other object is taken as it is.
fn decode(key: &str, body: &[u8]) -> Decoded {
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

/// The folder of a key, which is its output partition.
fn folder(key: &str) -> &str {
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
