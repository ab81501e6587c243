//! The objects that a case puts into S3 before its pipeline starts: the files of `objects/<bucket>/`, byte for byte.

use std::path::Path;

use super::error::{FixtureError, did_you_mean};

/// An object that is there before the pipeline starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedObject {
    /// The bucket, which is one of `buckets`.
    pub bucket: String,
    /// The key: the path of the file below the folder of the bucket.
    pub key: String,
    /// The content.
    pub body: Vec<u8>,
}

/// Reads `objects/` of a case, in the order of bucket and key. There need not be such a folder.
pub(super) fn read(folder: &Path, buckets: &[String]) -> Result<Vec<SeedObject>, FixtureError> {
    let mut objects = Vec::new();
    if !folder.exists() {
        return Ok(objects);
    }
    for (name, path) in folders(folder, "objects", "bucket", buckets)? {
        read_bucket(&path, &name, "", &mut objects)?;
    }
    if objects.is_empty() {
        return Err(FixtureError::new(folder, "has no files; delete it, or put objects into `objects/<bucket>/`"));
    }
    Ok(objects)
}

fn read_bucket(folder: &Path, bucket: &str, prefix: &str, objects: &mut Vec<SeedObject>) -> Result<(), FixtureError> {
    for (name, path) in entries(folder)? {
        let key = format!("{prefix}{name}");
        if path.is_dir() {
            read_bucket(&path, bucket, &format!("{key}/"), objects)?;
        } else {
            let body = std::fs::read(&path).map_err(|error| FixtureError::io(&path, "read", &error))?;
            objects.push(SeedObject { bucket: bucket.to_owned(), key, body });
        }
    }
    Ok(())
}

/// The folders in the folder `called` of a case. Each is named after one of the `known`, of which each is a `kind`.
pub(super) fn folders(
    folder: &Path,
    called: &str,
    kind: &str,
    known: &[String],
) -> Result<Vec<(String, std::path::PathBuf)>, FixtureError> {
    let found = entries(folder)?;
    for (name, path) in &found {
        if !path.is_dir() {
            let problem = format!("`{called}/` has one folder for each {kind}, and this is a file");
            return Err(FixtureError::new(path, problem));
        }
        if !known.contains(name) {
            let near = did_you_mean(name, known.iter().map(String::as_str));
            return Err(FixtureError::new(path, format!("`{name}` is not among `{kind}s`{near}")));
        }
    }
    Ok(found)
}

/// What is in a folder, sorted by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, std::path::PathBuf)>, FixtureError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut named = Vec::new();
    for entry in entries.map_err(|error| FixtureError::io(folder, "list", &error))? {
        let name = entry.file_name().into_string();
        let name =
            name.map_err(|_| FixtureError::new(&entry.path(), "its name is not UTF-8, as keys of objects are"))?;
        named.push((name, entry.path()));
    }
    named.sort();
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_below_the_bucket_is_the_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = || read(&folder.path().join("objects"), &["raw".to_owned(), "other".to_owned()]);
        assert_eq!(read().expect("no objects"), []);
        for (path, body) in [("raw/b", "2"), ("raw/a/x=1/o.json", "1")] {
            let path = folder.path().join("objects").join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, body).expect("written");
        }
        let found = read().expect("objects");
        let found: Vec<_> = found.iter().map(|object| (object.key.as_str(), object.body.as_slice())).collect();
        assert_eq!(found, [("a/x=1/o.json", &b"1"[..]), ("b", b"2")]);
    }

    #[test]
    fn a_bucket_that_is_not_created_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("rww")).expect("a folder");
        let error = read(folder.path(), &["raw".to_owned()]).expect_err("unknown");
        assert!(error.problem.contains("`rww` is not among `buckets`; did you mean `raw`?"), "{error}");
    }
}
