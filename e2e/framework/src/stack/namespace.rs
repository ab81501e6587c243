//! The namespace of a test on services that it shares with other tests. It is a prefix of the names of the test's
//! topics, groups, tables and buckets.

use std::hash::{BuildHasher, RandomState};

/// The text that fixtures write in place of the namespace, as in `"${namespace}fleet"`.
pub(crate) const PLACEHOLDER: &str = "${namespace}";

/// A namespace that no other test has, such as `e2e-k3v0x2pqm7rt-`. It consists of small letters, digits and hyphens,
/// which every service allows in names.
///
/// It has 60 random bits, because all users of S3 share the names of its buckets.
pub(crate) fn new() -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    // A `RandomState` has random keys in every process, and different ones at every call.
    let mut random = RandomState::new().hash_one(std::process::id());
    let name: String = (0..12)
        .map(|_| {
            let digit = DIGITS[(random % 32) as usize];
            random /= 32;
            char::from(digit)
        })
        .collect();
    format!("e2e-{name}-")
}

/// `text` with the namespace filled in.
pub(crate) fn fill_in(text: &str, namespace: &str) -> String {
    text.replace(PLACEHOLDER, namespace)
}

/// The consumer group that a fixture names. If the fixture does not say where the namespace belongs, the namespace is
/// put before the name.
pub(crate) fn group(name: &str, namespace: &str) -> String {
    if name.contains(PLACEHOLDER) { fill_in(name, namespace) } else { format!("{namespace}{name}") }
}

/// `text` without the namespace, so that a name from a service or a subject is shown as the fixture writes it.
pub(crate) fn take_off(text: &str, namespace: &str) -> String {
    if namespace.is_empty() { text.to_owned() } else { text.replace(namespace, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_differ_and_every_service_takes_them() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| new()).collect();
        assert_eq!(names.len(), 100);
        for name in names {
            assert!(
                name.len() == 17 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
    }

    #[test]
    fn it_stands_where_the_fixture_says_else_before_the_name() {
        assert_eq!(group("connect-${namespace}s3", "e2e-x-"), "connect-e2e-x-s3");
        assert_eq!(group("copy", "e2e-x-"), "e2e-x-copy");
        assert_eq!(group("connect-${namespace}s3", ""), "connect-s3");
        assert_eq!(fill_in("${env:X}", "e2e-x-"), "${env:X}");
        assert_eq!(take_off("raw/e2e-x-fms.vehicle/1", "e2e-x-"), "raw/fms.vehicle/1");
        assert_eq!(take_off("as it is", ""), "as it is");
    }
}
