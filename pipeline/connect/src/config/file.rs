//! Connector files: Kafka Connect's JSON, flat or `{"name": …, "config": {…}}`, with config providers resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::config::ConfigError;
use crate::providers::Providers;

/// What is wanted of a connector, in the words of Kafka Connect's `initial_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE", ascii_case_insensitive)]
pub enum TargetState {
    /// Its tasks run.
    #[default]
    Running,
    /// Its tasks keep their partitions and take no records.
    Paused,
    /// It has no tasks.
    Stopped,
}

impl TargetState {
    /// Kafka Connect's name for it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A connector as its file defines it, not yet checked against any keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The file it is from.
    pub file: PathBuf,
    /// The connector's name.
    pub name: String,
    /// The values as they are written: what may be shown of them, see [`shown`](super::shown).
    pub written: BTreeMap<String, String>,
    /// The values with `${env:…}` and `${file:…}` filled in.
    pub values: BTreeMap<String, String>,
    /// What is wanted of it.
    pub state: TargetState,
}

impl Definition {
    /// Where it is from, for messages.
    pub(crate) fn origin(&self) -> String {
        if self.file.as_os_str().is_empty() { "made by REST".into() } else { self.file.display().to_string() }
    }

    /// A connector that no file defines.
    pub(crate) fn made(
        written: BTreeMap<String, String>,
        state: TargetState,
        providers: &Providers,
    ) -> Result<Self, Vec<ConfigError>> {
        let name = written.get("name").cloned().unwrap_or_default();
        let values = resolved(&name, &written, providers)?;
        Ok(Self { file: PathBuf::new(), name, written, values, state })
    }
}

/// Why a file defines no connector.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: cannot read the connector: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON of the right shape.
    #[error("{}:{line}:{column}: {problem}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// It is JSON, but not a connector.
    #[error("{}: {problem}", file.display())]
    Connector {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A `${provider:…}` cannot be resolved.
    #[error("{}: {error}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// Key and reason.
        error: ConfigError,
    },
}

/// Reads every file; every problem of all of them, names that are taken twice included.
pub fn read(files: &[PathBuf], providers: &Providers) -> Result<Vec<Definition>, Vec<FileError>> {
    let mut definitions: Vec<Definition> = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(source) => {
                problems.push(FileError::Read { file: file.clone(), source });
                continue;
            }
        };
        match parse(file, &text, providers) {
            Ok(definition) => match definitions.iter().find(|other| other.name == definition.name) {
                Some(other) => problems.push(FileError::Connector {
                    file: file.clone(),
                    problem: format!("the name `{}` is taken by {}", definition.name, other.file.display()),
                }),
                None => definitions.push(definition),
            },
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() { Ok(definitions) } else { Err(problems) }
}

/// Reads one file's text.
pub fn parse(file: &Path, text: &str, providers: &Providers) -> Result<Definition, Vec<FileError>> {
    let connector: Node = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // serde_json ends with the place, which stands in front here.
        let problem = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
        vec![FileError::Shape { file: file.into(), line, column, problem }]
    })?;
    let wrong = |problem: String| vec![FileError::Connector { file: file.into(), problem }];
    let Node::Object(Object(mut fields)) = connector else {
        return Err(wrong("a connector has to be a JSON object".into()));
    };

    let outer = match fields.remove("name") {
        Some(Node::Text(name)) => Some(name),
        Some(Node::Object(_)) => return Err(wrong("`name` is an object; expected a text".into())),
        None => None,
    };
    let state = match (fields.contains_key("config"), fields.remove("initial_state")) {
        (_, None) => TargetState::Running,
        (true, Some(Node::Text(state))) => state
            .parse()
            .map_err(|_| wrong(format!("`initial_state` is `{state}`; allowed: RUNNING, PAUSED, STOPPED")))?,
        (true, Some(Node::Object(_))) => return Err(wrong("`initial_state` is an object; expected a text".into())),
        (false, Some(_)) => {
            return Err(wrong("`initial_state` stands beside `config`: put all settings into `config`".into()));
        }
    };
    let nested = match fields.remove("config") {
        Some(Node::Object(Object(nested))) => {
            if let Some(other) = fields.keys().next() {
                return Err(wrong(format!("`{other}` beside `config`: put all settings into `config`")));
            }
            nested
        }
        Some(Node::Text(_)) => return Err(wrong("`config` is a text; expected an object".into())),
        None => fields,
    };
    let mut written = BTreeMap::new();
    for (key, value) in nested {
        let Node::Text(value) = value else {
            return Err(wrong(format!("`{key}` is an object; expected a text, a number or a boolean")));
        };
        written.insert(key, value);
    }
    let name = match (outer, written.get("name")) {
        (Some(outer), Some(inner)) if outer != *inner => {
            return Err(wrong(format!("`name` is `{outer}`, but in `config` it is `{inner}`")));
        }
        (Some(name), _) => name,
        (None, Some(name)) => name.clone(),
        (None, None) => return Err(wrong("`name` is missing: a connector needs one".into())),
    };
    written.insert("name".into(), name.clone());

    let values = resolved(&name, &written, providers).map_err(|wrong| {
        wrong.into_iter().map(|error| FileError::Value { file: file.into(), error }).collect::<Vec<_>>()
    })?;
    let name = values["name"].clone();
    Ok(Definition { file: file.into(), name, written, values, state })
}

/// The values with `${env:…}` and `${file:…}` filled in.
fn resolved(
    name: &str,
    written: &BTreeMap<String, String>,
    providers: &Providers,
) -> Result<BTreeMap<String, String>, Vec<ConfigError>> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, value) in written {
        match providers.resolve(value) {
            Ok(resolved) => drop(values.insert(key.clone(), resolved)),
            Err(error) => problems.push(ConfigError::new(name, key, Some(value), error.to_string())),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// A JSON object in which no key stands twice.
pub(super) struct Object(pub(super) BTreeMap<String, Node>);

/// A value: numbers and booleans as their text, as Kafka Connect takes them.
pub(super) enum Node {
    Text(String),
    Object(Object),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a boolean or an object")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.into()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Err(E::custom("null is not a value: leave the key out"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("a list is not a value: write one text with commas"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` is here for the second time")));
            }
            let value = map.next_value()?;
            fields.insert(key, value);
        }
        Ok(Node::Object(Object(fields)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn parsed(text: &str) -> Result<Definition, Vec<FileError>> {
        let providers = Providers::new(|name| (name == "TABLE").then(|| "vehicles".to_owned()));
        parse(Path::new("a.json"), text, &providers)
    }

    fn problem(text: &str) -> String {
        parsed(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn both_forms_define_the_same_connector() {
        let flat = parsed(r#"{"name": "a", "tasks.max": 2, "on": true, "table": "${env:TABLE}"}"#).unwrap();
        let nested =
            parsed(r#"{"name": "a", "config": {"tasks.max": "2", "on": "true", "table": "${env:TABLE}"}}"#).unwrap();
        assert_eq!(flat, nested);
        assert_eq!(flat.values["table"], "vehicles");
        assert_eq!(flat.written["table"], "${env:TABLE}");
        assert_eq!(flat.values["tasks.max"], "2");
    }

    #[test]
    fn an_error_says_where() {
        assert_snapshot!(problem("{\"name\": \"a\",\n  \"b\": }"), @"a.json:2:8: expected value");
        assert_snapshot!(problem("{\"name\": \"a\",\n  \"b\": 1,\n  \"b\": 2}"), @"a.json:3:5: the key `b` is here for the second time");
        assert_snapshot!(problem("{\"name\": \"a\", \"b\": [1]}"), @"a.json:1:20: a list is not a value: write one text with commas");
        assert_snapshot!(problem("{\"name\": \"a\", \"b\": null}"), @"a.json:1:23: null is not a value: leave the key out");
        assert_snapshot!(problem("{\"name\": \"a\", \"b\": {}}"), @"a.json: `b` is an object; expected a text, a number or a boolean");
        assert_snapshot!(problem("[]"), @"a.json:1:2: a list is not a value: write one text with commas");
        assert_snapshot!(problem("\"a\""), @"a.json: a connector has to be a JSON object");
        assert_snapshot!(problem("{}"), @"a.json: `name` is missing: a connector needs one");
        assert_snapshot!(problem(r#"{"name": "a", "config": {"name": "b"}}"#), @"a.json: `name` is `a`, but in `config` it is `b`");
        assert_snapshot!(problem(r#"{"name": "a", "config": {}, "tasks.max": 1}"#), @"a.json: `tasks.max` beside `config`: put all settings into `config`");
        assert_snapshot!(problem(r#"{"name": "a", "b": "${env:NONE}", "c": "${env:NOR}"}"#), @r"
        a.json: connector `a`: `b` = `${env:NONE}`: the environment variable `NONE` is not set
        a.json: connector `a`: `c` = `${env:NOR}`: the environment variable `NOR` is not set
        ");
    }

    #[test]
    fn files_are_read_together_and_every_problem_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("a.json", r#"{"name": "a"}"#);
        let same = file("b.json", r#"{"name": "a"}"#);
        let broken = file("c.json", "{");
        let problems = read(&[good, same, broken, folder.path().join("d.json")], &Providers::new(|_| None));
        let problems: Vec<_> = problems
            .unwrap_err()
            .iter()
            .map(|problem| problem.to_string().replace(folder.path().to_str().unwrap(), "."))
            .collect();
        assert_snapshot!(problems.join("\n"), @r"
        ./b.json: the name `a` is taken by ./a.json
        ./c.json:1:1: EOF while parsing an object
        ./d.json: cannot read the connector: No such file or directory (os error 2)
        ");
    }
}
