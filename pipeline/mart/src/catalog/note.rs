//! What is noted with a partition, as the parameters of a catalog.

use std::collections::BTreeMap;

use crate::catalog::Built;
use crate::inputs::Inputs;
use crate::plan::Noted;

/// The parameter of a table that says that it is one of the mart.
pub(super) const TABLE: &str = "fms.mart";

/// The digest of the model.
const MODEL: &str = "fms.mart.model";
const CONTENT: &str = "fms.mart.content";
const ROWS: &str = "fms.mart.rows";
/// What begins the names of the parameters with the input partitions of a source.
const READS: &str = "fms.mart.reads.";

/// The note of a partition.
pub(super) fn write(built: &Built) -> BTreeMap<String, String> {
    let Built { content, rows, noted, .. } = built;
    let mut parameters: BTreeMap<String, String> = [
        (MODEL.to_owned(), noted.model.clone()),
        (CONTENT.to_owned(), content.clone()),
        (ROWS.to_owned(), rows.to_string()),
    ]
    .into();
    for (source, partitions) in noted.inputs.0.iter().filter(|(_, partitions)| !partitions.is_empty()) {
        parameters.insert(format!("{READS}{source}"), Inputs::text(partitions));
    }
    parameters
}

/// Whether a parameter belongs to the note.
pub(super) fn is_part(name: &str) -> bool {
    [MODEL, CONTENT, ROWS].contains(&name) || name.starts_with(READS)
}

/// A partition with its note; `None` if it has none, so that it is built again.
pub(super) fn read(folder: object_store::path::Path, parameters: &BTreeMap<String, String>) -> Option<Built> {
    let reads =
        parameters.iter().filter_map(|(name, text)| Some((name.strip_prefix(READS)?.to_owned(), Inputs::parse(text))));
    let noted = Noted { model: parameters.get(MODEL)?.clone(), inputs: Inputs(reads.collect()) };
    let rows = parameters.get(ROWS)?.parse().ok()?;
    Some(Built { folder, content: parameters.get(CONTENT)?.clone(), rows, noted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Version;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let version = Version::of_files([("a", 1, "e")]);
        let inputs = Inputs([("raw".to_owned(), [("2023-01-01/08".to_owned(), version)].into())].into());
        let noted = Noted { model: "m".to_owned(), inputs };
        let built = Built { folder: "mart/a".into(), content: "c".to_owned(), rows: 3, noted };
        let parameters = write(&built);
        assert_eq!(read("mart/a".into(), &parameters), Some(built));
        assert!(parameters.keys().all(|name| is_part(name)) && !is_part("owner"));
        assert_eq!(read("mart/a".into(), &[("owner".to_owned(), "x".to_owned())].into()), None);
    }
}
