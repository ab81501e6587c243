//! What REST gets: a configuration, or a connector to create.

use std::collections::BTreeMap;

use super::file::{Node, Object, TargetState};

/// Reads a flat JSON object of values, as REST gets it.
pub fn values(json: &[u8]) -> Result<BTreeMap<String, String>, String> {
    match serde_json::from_slice(json).map_err(|error| error.to_string())? {
        Node::Object(object) => texts(object),
        Node::Text(_) => Err("it is not a JSON object".into()),
    }
}

/// A connector as REST's request to create one gives it.
pub(crate) struct Creation {
    /// `name`, or an empty text.
    pub name: String,
    /// `config`.
    pub config: BTreeMap<String, String>,
    /// `initial_state`.
    pub state: TargetState,
}

/// Reads a request to create a connector.
pub(crate) fn creation(json: &[u8]) -> Result<Creation, String> {
    let Node::Object(Object(mut fields)) = serde_json::from_slice(json).map_err(|error| error.to_string())? else {
        return Err("it is not a JSON object".into());
    };
    let mut text = |key: &str| match fields.remove(key) {
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(Node::Object(_)) => Err(format!("`{key}` is an object; expected a text")),
        None => Ok(None),
    };
    let name = text("name")?.unwrap_or_default().trim().to_owned();
    let state = text("initial_state")?.map_or(Ok(TargetState::Running), |state| {
        state.parse().map_err(|_| format!("`initial_state` is `{state}`; allowed: RUNNING, PAUSED, STOPPED"))
    })?;
    let config = match fields.remove("config") {
        Some(Node::Object(object)) => texts(object)?,
        Some(Node::Text(_)) => return Err("`config` is a text; expected an object".into()),
        None => return Err("it has no `config`".into()),
    };
    match fields.keys().next() {
        Some(other) => Err(format!("it has an unknown field `{other}`; known: name, config, initial_state")),
        None => Ok(Creation { name, config, state }),
    }
}

fn texts(Object(values): Object) -> Result<BTreeMap<String, String>, String> {
    let text = |(key, value)| match value {
        Node::Text(value) => Ok((key, value)),
        Node::Object(_) => Err(format!("`{key}` is an object; expected a text, a number or a boolean")),
    };
    values.into_iter().map(text).collect()
}
