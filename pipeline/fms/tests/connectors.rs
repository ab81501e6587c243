//! The connectors in `deploy/connectors` are what is deployed and tested: every one is accepted as it stands.

use std::path::{Path, PathBuf};

use fms_connect::Config;
use fms_connect::config::common::{self, COMMON};
use fms_connect::config::file;
use fms_connect::providers::Providers;

#[test]
fn shipped_connectors_are_accepted() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest set it");
    let folder = Path::new(&package).join("../../deploy/connectors");
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("deploy/connectors is there")
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    // Every variable is set to a number, which can be a name as well.
    let definitions = file::read(&files, &Providers::new(|_| Some("1".into()))).expect("connectors");
    let sinks = fms::sinks();
    for definition in definitions {
        let class = definition.values["connector.class"].as_str();
        let sink = sinks.iter().find(|sink| sink.classes().contains(&class)).expect(class);
        let config = Config::check(&definition.name, &[COMMON, sink.keys()], definition.values.clone());
        assert_eq!(config.as_ref().err(), None, "{}", definition.file.display());
        assert_eq!(common::check(&config.expect("checked above")), [], "{}", definition.file.display());
    }
}
