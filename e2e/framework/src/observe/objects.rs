//! Observes S3 objects: their rows by folder, a listing of their names and sizes, and the unfinished uploads.
//!
//! The extension of an object's name decides how it is decoded. Each line of its content is a row.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::name::safe;
use super::visible::visible;
use super::{EntryKind, Holding, Key, Redactor, Rule, Section, counted};
use crate::case::{Case, Objects, Place};
use crate::json::quoted;
use crate::stack::namespace::take_off;
use crate::stack::{Stack, StackError};

/// A row of an object.
pub(crate) static ROW: EntryKind =
    EntryKind { noun: "row", is_block: false, place: Some(Place::Rows), key: Key::None, rule: Rule::EachOnce };
/// The name and the size of an object.
pub(crate) static OBJECT: EntryKind =
    EntryKind { noun: "object", is_block: false, place: None, key: Key::Name, rule: Rule::PlainOnly };
/// A multipart upload that was neither completed nor aborted.
static OPEN_UPLOAD: EntryKind =
    EntryKind { noun: "open upload", is_block: false, place: None, key: Key::None, rule: Rule::EachOnce };

/// The section with the names and sizes of all objects.
pub(super) const LISTING: &str = "objects";

/// One section with the rows of each folder, which is an output partition, then the listing of all objects, then the
/// open uploads. Where the objects depend on the time, the rows are sorted and there is no listing.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let mut sections = Vec::new();
    let (mut listing, mut uploads) = (Vec::new(), Vec::new());
    for bucket in &case.settings.resources.buckets {
        let mut objects = stack.objects(bucket)?;
        objects.retain(|(key, _)| !is_unobserved(bucket, key, &case.settings.unobserved_objects));
        let objects = in_order(objects, stack.namespace(), redactor);
        if case.settings.objects == Objects::Exact {
            listing.extend(objects.iter().map(|object| object.listed(bucket)));
        }
        let mut holdings = holdings(bucket, &objects);
        for (folder, entries) in folders(objects, case.settings.objects) {
            let stored = holdings.remove(&folder).unwrap_or_default();
            sections.push(Section::new(safe(&["s3", bucket, &folder]), &ROW, entries).holding(stored));
        }
        let mut keys: Vec<String> = stack.open_uploads(bucket)?.iter().map(|key| redactor.name(key)).collect();
        keys.sort();
        uploads.extend(keys.iter().map(|key| visible(&format!("{bucket}/{key}"))));
    }
    sections.push(Section::new(LISTING, &OBJECT, listing));
    sections.push(Section::new("open-uploads", &OPEN_UPLOAD, uploads));
    Ok(sections)
}

fn is_unobserved(bucket: &str, key: &str, prefixes: &[String]) -> bool {
    prefixes
        .iter()
        .filter_map(|prefix| prefix.split_once('/'))
        .any(|(b, prefix)| b == bucket && key.starts_with(prefix))
}

/// An object as it is shown. Objects are ordered by their names and then by their content, so that the order does not
/// depend on what varies in the names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    /// The key, without what varies in it.
    name: String,
    content: Decoded,
    /// The key and the rows as they are stored.
    stored: (String, Vec<String>),
}

impl Object {
    /// Its line in the listing.
    fn listed(&self, bucket: &str) -> String {
        let Decoded { rows, bytes, remark } = &self.content;
        let mut line = format!("{bucket}/{}: {}", self.name, counted(rows.len(), "row"));
        if let Some(bytes) = bytes {
            let _ = write!(line, ", {} uncompressed", counted(*bytes, "byte"));
        }
        if let Some(remark) = remark {
            let _ = write!(line, ", {remark}");
        }
        visible(&line)
    }
}

/// Objects in the order in which they are shown, without what is redacted, and without the namespace where rows name
/// what the test has created. Neither do their bytes count the namespace.
fn in_order(objects: Vec<(String, Vec<u8>)>, namespace: &str, redactor: &Redactor<'_>) -> Vec<Object> {
    let show = |(key, body): (String, Vec<u8>)| {
        let decoded = decode(&key, &body);
        let length = |rows: &[String]| rows.iter().map(String::len).sum::<usize>();
        let rows: Vec<String> = decoded.rows.iter().map(|row| take_off(row, namespace)).collect();
        let taken_off = length(&decoded.rows) - length(&rows);
        let bytes = decoded.bytes.map(|bytes| bytes - taken_off);
        let rows = redactor.entries(Place::Rows, rows);
        let stored = (key.clone(), decoded.rows);
        let content = Decoded { rows, bytes, remark: decoded.remark };
        Object { name: redactor.name(&key), content, stored }
    };
    let mut objects: Vec<Object> = objects.into_iter().map(show).collect();
    objects.sort();
    objects
}

/// What the objects of each folder hold. The folders are named as in the sections.
fn holdings(bucket: &str, objects: &[Object]) -> BTreeMap<String, Vec<Holding>> {
    let mut folders: BTreeMap<String, Vec<Holding>> = BTreeMap::new();
    for Object { name, stored: (key, rows), .. } in objects {
        let holding = Holding::Object { path: format!("{bucket}/{key}"), rows: rows.clone() };
        folders.entry(folder(name).to_owned()).or_default().push(holding);
    }
    folders
}

/// The lines of an object, decoded by the extension of its key. An object that cannot be decoded has none.
pub(crate) fn lines(key: &str, body: &[u8]) -> Vec<String> {
    decode(key, body).rows
}

/// The rows of each folder, which is an output partition.
fn folders(objects: Vec<Object>, how: Objects) -> BTreeMap<String, Vec<String>> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Object { name, content, .. } in objects {
        let rows = folders.entry(folder(&name).to_owned()).or_default();
        // Without a listing, an object that cannot be decoded would not be seen at all.
        if how == Objects::RowsOnly && content.rows.is_empty() {
            rows.extend(content.remark);
        }
        rows.extend(content.rows);
    }
    if how == Objects::RowsOnly {
        for rows in folders.values_mut() {
            rows.sort();
        }
    }
    folders
}

/// The decoded content of an object.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decoded {
    /// The lines of the content, exactly as in the object. A line that is not UTF-8 is shown as `{"base64":"…"}`.
    rows: Vec<String>,
    /// The number of bytes of the uncompressed content. If it cannot be decoded, it is the size of the object. Of a
    /// Parquet file it is `None`: its size depends on the version of the library that wrote it.
    bytes: Option<usize>,
    /// The layout of a Parquet file, or a remark about something unusual: the object cannot be decoded, or its last
    /// line has no line break.
    remark: Option<String>,
}

impl Decoded {
    fn not(body: &[u8], problem: impl Display) -> Self {
        Self { rows: Vec::new(), bytes: Some(body.len()), remark: Some(format!("cannot be decoded: {problem}")) }
    }
}

/// Decodes an object by the extension of its key: `.parquet`, `.gz` or `.zst`. Any other object is taken as it is.
fn decode(key: &str, body: &[u8]) -> Decoded {
    let content = match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("parquet") => return parquet(body),
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
            bytes: Some(content.len()),
            remark: (!content.is_empty() && !content.ends_with(b"\n")).then(|| "no line break at its end".to_owned()),
        },
        Err(error) => Decoded::not(body, error),
    }
}

#[cfg(feature = "parquet")]
fn parquet(body: &[u8]) -> Decoded {
    match super::parquet::show(body) {
        Ok(super::parquet::Shown { rows, layout }) => Decoded { rows, bytes: None, remark: Some(layout) },
        Err(error) => Decoded::not(body, error),
    }
}

#[cfg(not(feature = "parquet"))]
fn parquet(body: &[u8]) -> Decoded {
    Decoded::not(body, "this program was compiled without Parquet; enable the feature `parquet` of the crate `e2e`")
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
    use crate::case::Redactions;
    use std::io::Write as _;

    fn objects(objects: &[(&str, &str)], names: &[&str]) -> Vec<Object> {
        let objects = objects.iter().map(|(key, body)| ((*key).to_owned(), body.as_bytes().to_vec())).collect();
        in_order(objects, "", &Redactor::new(&Redactions::of(&[], names)))
    }

    #[test]
    fn what_varies_in_names_changes_neither_the_listing_nor_the_order_of_rows() {
        let listing = |first: &str, second: &str| {
            let stored = [(first, "b\nc\n"), ("run-7/z", ""), (second, "a\n")];
            let objects = objects(&stored, &["[0-9]+"]);
            let listing: Vec<String> = objects.iter().map(|object| object.listed("raw")).collect();
            (listing, folders(objects, Objects::Exact))
        };
        let (names, rows) = listing("run-7/1", "run-7/2");
        assert_eq!(
            names,
            [
                "raw/run-[redacted]/[redacted]: 1 row, 2 bytes uncompressed",
                "raw/run-[redacted]/[redacted]: 2 rows, 4 bytes uncompressed",
                "raw/run-[redacted]/z: 0 rows, 0 bytes uncompressed",
            ]
        );
        assert_eq!(rows["run-[redacted]"], ["a", "b", "c"]);
        assert_eq!(listing("run-99/4", "run-8/3"), (names, rows));
    }

    #[test]
    fn rows_are_the_same_whatever_objects_they_are_in() {
        let rows = |stored: &[(&str, &str)]| folders(objects(stored, &[]), Objects::RowsOnly);
        let expected = rows(&[("day=1/a", "b\na\n"), ("day=1/b", "a\n"), ("day=2/a", "c\n")]);
        assert_eq!(
            (expected["day=1"].as_slice(), expected["day=2"].as_slice()),
            (["a", "a", "b"].map(String::from).as_slice(), ["c".to_owned()].as_slice())
        );
        assert_eq!(rows(&[("day=1/x", "a\nb\na\n"), ("day=1/y", ""), ("day=2/z", "c\n")]), expected);
        assert_ne!(rows(&[("day=1/x", "a\nb\n"), ("day=2/z", "c\n")]), expected, "a row is missing");
        assert!(rows(&[("day=1/x.gz", "no gzip")])["day=1"][0].starts_with("cannot be decoded"));
    }

    #[test]
    fn content_is_the_same_however_it_is_compressed() {
        let content = b"{\"a\":1.50}\n{\"a\":2}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).expect("compressed");
        let gzip = gzip.finish().expect("compressed");
        let zstd = zstd::encode_all(&content[..], 1).expect("compressed");
        let plain = decode("a.json", content);
        assert_eq!(
            plain,
            Decoded { rows: vec!["{\"a\":1.50}".into(), "{\"a\":2}".into()], bytes: Some(19), remark: None }
        );
        assert_eq!(decode("a.json.gz", &gzip), plain);
        assert_eq!(decode("a.json.zst", &zstd), plain);
    }

    #[test]
    fn neither_rows_nor_bytes_have_the_namespace() {
        let objects = |namespace: &str| {
            let body = format!("{{\"bucket\":\"{namespace}raw\"}}\n").into_bytes();
            let objects =
                in_order(vec![("a.jsonl".to_owned(), body)], namespace, &Redactor::new(&Redactions::of(&[], &[])));
            objects.into_iter().map(|object| object.content).collect::<Vec<_>>()
        };
        assert_eq!(objects("e2e-x-"), objects(""));
        assert_eq!(objects("")[0].bytes, Some(17));
    }

    #[test]
    fn what_the_pipeline_keeps_for_itself_is_named_by_bucket_and_prefix() {
        let prefixes = ["lake/state/".to_owned(), "other/".to_owned()];
        for (bucket, key, unobserved) in [
            ("lake", "state/a", true),
            ("lake", "rows/state/a", false),
            ("raw", "state/a", false),
            ("other", "a", true),
        ] {
            assert_eq!(is_unobserved(bucket, key, &prefixes), unobserved, "{bucket}/{key}");
        }
    }

    #[test]
    fn oddities_are_remarked() {
        assert_eq!(decode("a", b"x").remark.as_deref(), Some("no line break at its end"));
        assert!(decode("a.gz", b"no gzip").remark.expect("odd").starts_with("cannot be decoded"));
        assert_eq!(decode("a", b"\xff\n").rows, ["{\"base64\":\"/w==\"}"]);
        assert_eq!(decode("a", b""), Decoded { rows: vec![], bytes: Some(0), remark: None });
    }
}
