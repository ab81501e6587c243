//! What is made of what, as a text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::model::Models;

/// The selected models, in the order in which they are built, each with what it reads and who reads it.
pub(crate) fn text(models: &Models, selected: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    for model in models.iter().filter(|model| selected.contains(model.name.as_str())) {
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
