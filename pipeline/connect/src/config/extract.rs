//! The one single message transform that is understood: `ExtractField$Value`, which is `converter.extract.field` by
//! another name.

use std::collections::BTreeMap;

const EXTRACT_FIELD: &str = "org.apache.kafka.connect.transforms.ExtractField$Value";

/// The key that it becomes.
const EXTRACT: &str = "converter.extract.field";

/// Replaces `transforms`, where it is this transform alone; everything else is left to be refused.
pub fn translate(values: &mut BTreeMap<String, String>) {
    let Some(alias) = values.get("transforms").map(|alias| alias.trim().to_owned()) else { return };
    let key = |part: &str| format!("transforms.{alias}.{part}");
    let of_alias = |(name, _): &(&String, &String)| name.starts_with("transforms.");
    let is_alone = values.iter().filter(of_alias).count() == 2 && !values.contains_key(EXTRACT);
    let is_extract = values.get(&key("type")).is_some_and(|class| class.trim() == EXTRACT_FIELD);
    if !is_alone || !is_extract {
        return;
    }
    if let Some(field) = values.remove(&key("field")) {
        values.remove("transforms");
        values.remove(&key("type"));
        values.insert(EXTRACT.into(), field);
    }
}
