//! Lineage as a text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{How, Lineage, Origin};
use crate::model::{Model, Models};

/// The selected models, in the order in which they are built, each with what it reads and who reads it.
pub(crate) fn tables(models: &Models, selected: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    for model in models.named(selected) {
        let _ = writeln!(text, "{}: {}", model.name, model.grain);
        for (source, reads) in &model.sources {
            let kind = if reads.is_model { "" } else { " (lake)" };
            let days = reads.days().map(|days| format!(", {days}")).unwrap_or_default();
            let _ = writeln!(text, "  <- {source}{kind}{days}");
        }
        for other in models.iter().filter(|other| other.sources.contains_key(&model.name)) {
            let _ = writeln!(text, "  -> {}", other.name);
        }
    }
    text
}

/// The columns of models, each with those that it is made of.
pub(crate) fn columns(lineage: &[(&Model, Lineage)]) -> String {
    let mut text = String::new();
    for (model, Lineage { columns, deciding }) in lineage {
        let _ = writeln!(text, "{}: {}", model.name, model.grain);
        for (column, origins) in columns {
            let origins: Vec<String> = origins.iter().map(|(origin, how)| name(origin) + said(*how)).collect();
            let origins = if origins.is_empty() { "no column".to_owned() } else { origins.join(", ") };
            let _ = writeln!(text, "  {column} <- {origins}");
        }
        let _ = writeln!(text, "  decided by <- {}", deciding.iter().map(name).collect::<Vec<_>>().join(", "));
    }
    text
}

fn name(origin: &Origin) -> String {
    format!("{}.{}", origin.table, origin.column)
}

/// How a column is made of another one, as people read it behind that one's name.
pub(super) fn said(how: How) -> &'static str {
    match how {
        How::Same => "",
        How::Computed => " (computed)",
        How::Aggregated => " (aggregated)",
    }
}
