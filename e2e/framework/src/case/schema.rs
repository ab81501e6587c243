//! The JSON schemas of `suite.toml`, `protocol.toml` and `case.toml`, for editors: they are made from the types that read these files.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::settings::{File, KEYS_OF_A_CASE};

/// Brings the files up to date and fails if they were not.
#[test]
fn the_schemas_are_what_is_read() {
    let mut written = Vec::new();
    for name in ["suite", "protocol", "case"] {
        let schema = schema(name);
        let text = format!("{schema:#}\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{name}.schema.json"));
        if fs::read_to_string(&path).unwrap_or_default() != text {
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("created");
            fs::write(&path, text).expect("written");
            written.push(path);
        }
        let properties = schema["properties"].as_object().expect("properties");
        assert!(properties.contains_key("topics") && properties["topic"]["description"].is_string(), "{schema:#}");
        assert_eq!(properties.contains_key("why"), name == "case");
    }
    assert!(written.is_empty(), "not up to date and now written anew, look at them and commit them: {written:?}");
}

fn schema(name: &str) -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    schema["title"] = format!("{name}.toml").into();
    schema["description"] =
        "Settings of end-to-end fixtures; suite.toml, protocol.toml and case.toml are laid over each other.".into();
    if name != "case" {
        let properties = schema["properties"].as_object_mut().expect("properties");
        properties.retain(|key, _| !KEYS_OF_A_CASE.contains(&key.as_str()));
    }
    schema
}
