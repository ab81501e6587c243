//! The configuration reference: what the tables that check say of every key, as text, Markdown and JSON, and in the
//! form of Kafka Connect.

use std::fmt::Write;

use serde_json::{Value, json};

use super::common::{self, COMMON};
use super::shown::is_secret;
use super::{Key, PASSTHROUGH, ValueType, range};
use crate::{SinkConnector, kafka, settings, transforms};

/// Keys that belong together.
#[derive(Debug, Clone)]
pub struct Group {
    /// Whose they are, e.g. `S3Sink`.
    pub title: String,
    /// Where they are set.
    pub about: String,
    /// The keys.
    pub keys: Vec<Key>,
    /// Whether they are variables of the environment.
    pub environment: bool,
}

/// The keys of every connector, those of these sinks and of the transforms, and the worker's.
pub fn groups<'s>(sinks: impl IntoIterator<Item = &'s dyn SinkConnector>) -> Vec<Group> {
    let mut groups = vec![Group {
        title: "Every connector".into(),
        about: "Set in a connector's file.".into(),
        keys: COMMON.to_vec(),
        environment: false,
    }];
    groups.extend(sinks.into_iter().map(|sink| {
        let (name, aliases) = sink.classes().split_first().unwrap_or((&"", &[]));
        let also = aliases.iter().fold(String::new(), |also, alias| format!("{also}, or `{alias}`"));
        Group {
            title: (*name).into(),
            about: format!("Set in the file of a connector whose `connector.class` is `{name}`{also}."),
            keys: sink.keys().to_vec(),
            environment: false,
        }
    }));
    // What is there for keys and for values has the same keys.
    let kinds = transforms::kinds().filter(|(class, _, keys)| !class.ends_with("$Key") && !keys.is_empty());
    groups.extend(kinds.map(|(class, kind, keys)| {
        let title = class.rsplit('.').next().unwrap_or(&class).trim_end_matches("$Value").to_owned();
        let (key, halves) = match (kind, class.ends_with("$Value")) {
            ("predicate", _) => ("predicates", ""),
            (_, true) => ("transforms", ", or of the one for keys, whose name ends in `$Key`"),
            (_, false) => ("transforms", ""),
        };
        let about = format!("Set as `{key}.NAME.…` of a {kind} whose `{key}.NAME.type` is `{class}`{halves}.");
        Group { title, about, keys: keys.to_vec(), environment: false }
    }));
    groups.push(Group {
        title: "The worker".into(),
        about:
            "Set in the worker's environment. Variables that begin with `CONNECT_CONSUMER_` and `CONNECT_PRODUCER_` \
             are settings of the Kafka clients of all connectors: `CONNECT_CONSUMER_SESSION_TIMEOUT_MS` is \
             `session.timeout.ms`."
                .into(),
        keys: settings::keys().copied().collect(),
        environment: true,
    });
    groups
}

impl Group {
    /// The name under which the key is set.
    fn name(&self, key: &Key) -> String {
        if self.environment { settings::variable(key.name) } else { key.name.into() }
    }
}

/// The groups as text for a terminal.
pub fn text(groups: &[Group]) -> String {
    let names = groups.iter().flat_map(|group| group.keys.iter().map(|key| group.name(key).chars().count()));
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "{}: {}\n", group.title, group.about);
        for key in &group.keys {
            let unit = key.unit.map(|unit| format!("  {unit}")).unwrap_or_default();
            let (name, default) = (group.name(key), default(key));
            let _ = writeln!(text, "  {name:width$}  {:6}  {default}{unit}", key.importance.name());
            let _ = writeln!(text, "      {}", allowed(key.value_type));
            let _ = writeln!(text, "      {}", key.doc);
            if let Some(risk) = key.risk {
                let _ = writeln!(text, "      ! {risk}");
            }
        }
        text.push('\n');
    }
    text
}

/// The groups as a page in Markdown, with what is refused and why.
pub fn markdown(groups: &[Group]) -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- `fms connect keys --markdown` makes this page from the tables in the program that check the keys; edit \
         those tables. -->\n\n\
         A connector is a JSON file with Kafka Connect's keys, flat or as `{\"name\": …, \"config\": {…}}`. \
         `${env:NAME}` in a value stands for a variable of the worker's environment, and `${file:PATH:KEY}` for an \
         entry of a properties file. A key that is unknown, or that would have no effect beside the others, is \
         refused. Errors, logs and REST show values as they are written. They never show what was filled in, and no \
         passwords.\n\n\
         `fms connect keys` prints this page for a terminal; `GET /connector-plugins/{plugin}/config` and \
         `PUT /connector-plugins/{plugin}/config/validate` answer as Kafka Connect does.\n",
    );
    for group in groups {
        let _ = write!(page, "\n## {}\n\n{}\n\n", group.title, group.about);
        page.push_str("| key | type | default | unit | importance | what it does | what goes wrong |\n");
        page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for key in &group.keys {
            row(
                &mut page,
                &[
                    &format!("`{}`", group.name(key)),
                    &allowed(key.value_type),
                    &default(key),
                    key.unit.unwrap_or_default(),
                    key.importance.name(),
                    key.doc,
                    key.risk.unwrap_or_default(),
                ],
            );
        }
    }
    let _ = write!(
        page,
        "\n## Kafka's clients\n\nWhat begins with {} is a setting of the connector's Kafka clients, under \
         librdkafka's name, and takes precedence over the worker's `CONNECT_CONSUMER_…` and `CONNECT_PRODUCER_…`. \
         These settings are refused:\n\n",
        PASSTHROUGH.map(|prefix| format!("`{prefix}`")).join(" and "),
    );
    refused(&mut page, kafka::all_refused());
    page.push_str("\n## Keys of Kafka Connect that are refused\n\nIn a connector:\n\n");
    refused(&mut page, common::REFUSED.iter().map(|(key, reason)| ((*key).to_owned(), (*reason).to_owned())));
    page.push_str("\nIn the worker's environment:\n\n");
    let variable = |prefix: &str| format!("{}*", settings::variable(prefix));
    refused(&mut page, settings::REFUSED.iter().map(|(prefix, reason)| (variable(prefix), (*reason).to_owned())));
    page
}

fn refused(page: &mut String, keys: impl Iterator<Item = (String, String)>) {
    page.push_str("| key | why it is refused, and what to do instead |\n| --- | --- |\n");
    keys.for_each(|(key, reason)| row(page, &[&format!("`{key}`"), &reason]));
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The groups as JSON, for programs.
pub fn json(groups: &[Group]) -> Value {
    let key = |group: &Group, key: &Key| {
        json!({
            "name": group.name(key),
            "type": connect_type(key),
            "allowed": allowed(key.value_type),
            "required": key.required,
            "default": key.default,
            "unit": key.unit,
            "importance": key.importance.name(),
            "doc": key.doc,
            "risk": key.risk,
        })
    };
    let group = |group: &Group| {
        let keys: Vec<Value> = group.keys.iter().map(|of_group| key(group, of_group)).collect();
        json!({"group": group.title, "keys": keys})
    };
    groups.iter().map(group).collect()
}

/// The keys of a connector of this kind as Kafka Connect's `ConfigKeyInfo`.
pub fn key_infos(sink: &dyn SinkConnector) -> Vec<Value> {
    let own = sink.classes().first().copied().unwrap_or_default();
    let keys = COMMON.iter().map(|key| (common_group(key), key)).chain(sink.keys().iter().map(|key| (own, key)));
    let mut order = 0;
    let mut last = "";
    let info = |(group, key)| {
        order = if group == last { order + 1 } else { 1 };
        last = group;
        key_info(key, group, order)
    };
    keys.map(info).collect()
}

fn common_group(key: &Key) -> &'static str {
    if key.name.starts_with("errors.") { "Error Handling" } else { "Common" }
}

/// A key as Kafka Connect's `ConfigKeyInfo`.
pub(crate) fn key_info(key: &Key, group: &str, order: u32) -> Value {
    let documentation = match key.risk {
        Some(risk) => format!("{}. Take care: {risk}.", key.doc),
        None => format!("{}.", key.doc),
    };
    json!({
        "name": key.name,
        "type": connect_type(key),
        "required": key.required,
        "default_value": key.default,
        "importance": key.importance.name(),
        "documentation": documentation,
        "group": group,
        "width": match key.value_type {
            ValueType::Bool | ValueType::Int(..) => "SHORT",
            ValueType::OneOf(_) => "MEDIUM",
            ValueType::Text | ValueType::List | ValueType::Template => "LONG",
        },
        "display_name": key.name,
        "dependents": [],
        "order_in_group": order,
    })
}

/// Kafka's name of a key's type.
fn connect_type(key: &Key) -> &'static str {
    match key.value_type {
        _ if is_secret(key.name) => "PASSWORD",
        ValueType::Bool => "BOOLEAN",
        ValueType::Int(_, max) if max <= i64::from(i32::MAX) => "INT",
        ValueType::Int(..) => "LONG",
        ValueType::List => "LIST",
        ValueType::Text | ValueType::OneOf(_) | ValueType::Template => "STRING",
    }
}

/// The values that Kafka Connect would recommend: all that there are, if they can be told.
pub fn recommended(value_type: ValueType) -> &'static [&'static str] {
    match value_type {
        ValueType::OneOf(values) => values,
        ValueType::Text | ValueType::Bool | ValueType::Int(..) | ValueType::List | ValueType::Template => &[],
    }
}

fn allowed(value_type: ValueType) -> String {
    match value_type {
        ValueType::Text => "text".into(),
        ValueType::Bool => "`true` or `false`".into(),
        ValueType::Int(min, max) => range(min, max),
        ValueType::List => "list, separated by commas".into(),
        ValueType::OneOf(values) => {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            values.join(", ")
        }
        ValueType::Template => "template".into(),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        _ if key.required => "required".into(),
        None => "unset".into(),
        Some("") => "empty".into(),
        Some(default) => format!("`{default}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_its_number_counts() {
        for key in COMMON.iter().chain(settings::keys()) {
            if matches!(key.value_type, ValueType::Int(..)) {
                assert!(key.unit.is_some(), "{}", key.name);
            }
            assert!(!key.doc.ends_with('.') && !key.risk.is_some_and(|risk| risk.ends_with('.')), "{}", key.name);
        }
    }
}
