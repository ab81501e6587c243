//! The environment of a subject. With it, the SDK of every language reaches the stack's services and no others.

use std::collections::BTreeMap;
use std::ffi::OsStr;

/// Variables with these prefixes are not inherited: they would lead a subject to other services than the stack's.
const NOT_INHERITED: [&str; 3] = ["AWS_", "CONNECT_", "KAFKA_"];

/// Variables that keep HTTP clients from asking a proxy for the services, which are on this machine.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The hosts of the services, as [`NO_PROXY`] lists them.
const LOCAL_HOSTS: &str = "127.0.0.1,localhost";

/// Whether a variable of this process may be given to the subject.
pub(super) fn is_inherited(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !NOT_INHERITED.iter().any(|prefix| name.starts_with(prefix))
}

/// The stack's variables, and those that the SDKs read beside them. Variables that `environment` has already are kept.
///
/// The SDKs for Rust, Go, Java and JavaScript read the region from `AWS_REGION`, those for Python (boto3) and older
/// ones from `AWS_DEFAULT_REGION`; the first Java SDK reads its key from `AWS_ACCESS_KEY` and `AWS_SECRET_KEY`. All
/// of them read a person's files in `~/.aws`, which could name another endpoint or other credentials, and those for
/// Java and Go ask the metadata service of EC2 for what they miss. Python, Java and Go send requests to the proxy
/// that `HTTP_PROXY` names.
pub(super) fn for_every_sdk(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = environment.clone();
    let copies = [
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
        ("AWS_DEFAULT_REGION", "AWS_REGION"),
        ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
    ];
    for (from, to) in copies {
        if let Some(value) = environment.get(from) {
            all.entry(to.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let constants = [
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for (name, value) in constants {
        all.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    for name in NO_PROXY {
        all.entry(name.to_owned()).or_insert_with(|| match std::env::var(name) {
            Ok(hosts) if !hosts.trim().is_empty() => format!("{LOCAL_HOSTS},{hosts}"),
            _ => LOCAL_HOSTS.to_owned(),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_sdk_finds_region_and_key_under_the_name_that_it_reads() {
        let stack = [("AWS_REGION", "here"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let all = for_every_sdk(&variables(&stack));
        for (name, value) in [
            ("AWS_REGION", "here"),
            ("AWS_DEFAULT_REGION", "here"),
            ("AWS_ACCESS_KEY", "key"),
            ("AWS_SECRET_KEY", "secret"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(all["NO_PROXY"].starts_with(LOCAL_HOSTS) && all["no_proxy"].starts_with(LOCAL_HOSTS));
    }

    #[test]
    fn what_a_fixture_sets_is_kept() {
        let all = for_every_sdk(&variables(&[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b"), ("NO_PROXY", "c")]));
        assert_eq!((all["AWS_DEFAULT_REGION"].as_str(), all["NO_PROXY"].as_str()), ("b", "c"));
    }

    #[test]
    fn what_leads_elsewhere_is_not_inherited() {
        for (name, inherited) in [("AWS_PROFILE", false), ("KAFKA_X", false), ("CONNECT_X", false), ("HOME", true)] {
            assert_eq!(is_inherited(OsStr::new(name)), inherited, "{name}");
        }
    }
}
