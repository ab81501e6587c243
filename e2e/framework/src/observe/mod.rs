//! What a run has left behind, as one canonical document: tables, objects, dead letters, unfinished uploads.
//!
//! A document is a list of sections, each of which becomes a snapshot. Two runs that did the same give the same document, byte for byte.

mod dead_letters;
mod items;
mod objects;
mod visible;

use std::collections::BTreeMap;
use std::fmt::Write;

use self::visible::visible;
use crate::case::{Case, Redaction};
use crate::json;
use crate::stack::{Stack, StackError};

/// What a section shows, and so how it is compared when the run was disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The items of a table.
    Items,
    /// The rows of an S3 output partition.
    Rows,
    /// Names and sizes of objects: depends on when flushes happen.
    Objects,
    /// The records of a dead-letter topic.
    DeadLetters,
    /// Multipart uploads that nobody completed or aborted.
    OpenUploads,
}

/// A part of the document: one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The snapshot's name, safe as a file name.
    pub name: String,
    /// What it shows.
    pub kind: Kind,
    /// Its entries: a line each, dead letters several.
    pub entries: Vec<String>,
}

impl Section {
    /// The section's text, as it stands in the snapshot.
    pub fn text(&self) -> String {
        self.entries.join(self.kind.separator())
    }
}

impl Kind {
    fn separator(self) -> &'static str {
        if self == Self::DeadLetters { "\n\n" } else { "\n" }
    }

    /// The entries in a section's text.
    pub fn entries(self, text: &str) -> Vec<String> {
        text.split(self.separator()).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }

    /// What one entry is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Items => "item",
            Self::Rows => "row",
            Self::Objects => "object",
            Self::DeadLetters => "dead letter",
            Self::OpenUploads => "open upload",
        }
    }
}

/// How many of each were observed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Messages sent.
    pub messages: usize,
    /// Rows in S3.
    pub rows: usize,
    /// Items in DynamoDB.
    pub items: usize,
    /// Objects in S3.
    pub objects: usize,
    /// Dead letters.
    pub dead_letters: usize,
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            messages: a.messages + b.messages,
            rows: a.rows + b.rows,
            items: a.items + b.items,
            objects: a.objects + b.objects,
            dead_letters: a.dead_letters + b.dead_letters,
        })
    }
}

/// The whole document.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// Its sections; none of them is empty.
    pub sections: Vec<Section>,
}

impl Observation {
    /// Looks at every table, bucket and dead-letter topic of the case.
    pub fn of(case: &Case, stack: &dyn Stack) -> Result<Self, StackError> {
        let settings = &case.settings;
        let mut sections = Vec::new();
        for table in &settings.tables {
            let entries = items::lines(table, stack.scan(&table.name)?);
            sections.push(Section { name: safe(&["table", &table.name]), kind: Kind::Items, entries });
        }
        let mut objects = Vec::new();
        let mut uploads = Vec::new();
        for bucket in &settings.buckets {
            let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (key, body) in stack.objects(bucket)? {
                let decoded = objects::decode(&key, &body);
                let remark = decoded.remark.map(|remark| format!(", {remark}")).unwrap_or_default();
                objects.push(format!(
                    "{bucket}/{key}: {}, {} uncompressed{remark}",
                    counted(decoded.rows.len(), "row"),
                    counted(decoded.bytes, "byte")
                ));
                folders.entry(objects::folder(&key).to_owned()).or_default().extend(decoded.rows);
            }
            for (folder, entries) in folders {
                sections.push(Section { name: safe(&["s3", bucket, &folder]), kind: Kind::Rows, entries });
            }
            uploads.extend(stack.open_uploads(bucket)?.into_iter().map(|key| format!("{bucket}/{key}")));
        }
        sections.push(Section { name: "objects".to_owned(), kind: Kind::Objects, entries: objects });
        sections.push(Section { name: "open-uploads".to_owned(), kind: Kind::OpenUploads, entries: uploads });
        for topic in &settings.dead_letters {
            let entries = dead_letters::blocks(&stack.read_topic(topic)?, &case.redact);
            sections.push(Section { name: safe(&["dead-letters", topic]), kind: Kind::DeadLetters, entries });
        }
        sections.retain(|section| !section.entries.is_empty());
        for section in &mut sections {
            redact(section, &case.redact);
            // Last, for it may be no JSON any more. Dead letters have their own way.
            if section.kind != Kind::DeadLetters {
                section.entries.iter_mut().for_each(|entry| *entry = visible(entry));
            }
        }
        Ok(Self { sections })
    }

    /// Whether the run left nothing.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// How many entries of each kind there are.
    pub fn counts(&self, messages: usize) -> Counts {
        let count = |kind| self.sections.iter().filter(|s| s.kind == kind).map(|s| s.entries.len()).sum();
        Counts {
            messages,
            rows: count(Kind::Rows),
            items: count(Kind::Items),
            objects: count(Kind::Objects),
            dead_letters: count(Kind::DeadLetters),
        }
    }

    /// The document as one text.
    pub fn text(&self) -> String {
        self.sections.iter().fold(String::new(), |mut text, section| {
            let _ = writeln!(text, "==== {}\n{}\n", section.name, section.text());
            text
        })
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn redact(section: &mut Section, redactions: &[Redaction]) {
    for redaction in redactions {
        let ((Redaction::Items(path), Kind::Items) | (Redaction::Rows(path), Kind::Rows)) = (redaction, section.kind)
        else {
            continue;
        };
        for entry in &mut section.entries {
            *entry = json::redact(entry, path);
        }
    }
}

/// The longest file name made from what a pipeline wrote; file systems allow 255 bytes, `.snap.new` included.
const LONGEST_NAME: usize = 200;

/// A name for a snapshot file: parts joined by `__`, as insta writes a `/`; what file systems do not allow everywhere is escaped.
///
/// A name that another could be taken for ends in a digest of the whole: one that was too long and is cut, one with capitals, which some
/// file systems do not tell from small letters, and one with something escaped or with a `__` of its own.
fn safe(parts: &[&str]) -> String {
    let mut name = String::new();
    let mut ambiguous = false;
    for (i, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        name.push_str(if i > 0 { "__" } else { "" });
        ambiguous |= part.contains("__") || part.contains(|c: char| c.is_ascii_uppercase());
        for byte in part.bytes() {
            match byte {
                b'/' => name.push_str("__"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'=' | b'+' | b'%' => {
                    name.push(byte.into());
                }
                other => {
                    ambiguous = true;
                    let _ = write!(name, "%{other:02X}");
                }
            }
        }
    }
    if ambiguous || name.len() > LONGEST_NAME {
        // FNV-1a: short, stable, and names need no more than to differ.
        let digest = parts
            .join("\0")
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        name.truncate(LONGEST_NAME - 10);
        let _ = write!(name, "__{digest:08x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_short_and_different() {
        assert_eq!(
            safe(&["s3", "raw", "topics/a.b/ymd=2023-01-01/hour=12"]),
            "s3__raw__topics__a.b__ymd=2023-01-01__hour=12"
        );
        assert!(safe(&["s3", "raw", "a:b c/é"]).starts_with("s3__raw__a%3Ab%20c__%C3%A9__"));
        let lower = |part: &str| safe(&["s3", part]).to_ascii_lowercase();
        for (a, b) in [("type=KIN", "type=kin"), ("type=KIN", "type=Kin"), ("a b", "a%20b"), ("a/b", "a__b")] {
            assert_ne!(lower(a), lower(b));
        }
        let long = |tail: &str| safe(&["s3", &("x".repeat(300) + tail)]);
        assert_eq!(long("a").len(), LONGEST_NAME);
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_section_is_read_back_as_it_was_written() {
        for (kind, entries) in [(Kind::Rows, vec!["a", "b"]), (Kind::DeadLetters, vec!["key: 1\nvalue: 2", "key: 3"])] {
            let section = Section { name: "n".into(), kind, entries: entries.into_iter().map(str::to_owned).collect() };
            assert_eq!(kind.entries(&section.text()), section.entries);
        }
    }
}
