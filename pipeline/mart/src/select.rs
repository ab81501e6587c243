//! Which models are meant by a selection: `trip`, `+trip` with all that it is made of, `trip+` with all that is made of
//! it, or `+trip+`; and in the place of a name, `state:modified` for those whose files are others than in an earlier
//! folder.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use crate::model::{Model, Models};

/// What stands for the models whose files are others.
const MODIFIED: &str = "state:modified";

/// The names of the models that at least one selection means; all if there is none. `modified` are those that
/// `state:modified` means, if there is an earlier folder to compare with.
pub(crate) fn select<'m>(
    models: &'m Models,
    selections: &[String],
    modified: Option<&BTreeSet<String>>,
) -> anyhow::Result<BTreeSet<&'m str>> {
    let names = || models.iter().map(|model| model.name.as_str());
    let is_of_state = |selection: &String| selection.contains(MODIFIED);
    ensure!(
        modified.is_none() || selections.iter().any(is_of_state),
        "--state has no meaning without --select {MODIFIED}"
    );
    if selections.is_empty() {
        return Ok(names().collect());
    }
    let mut selected = BTreeSet::new();
    for selection in selections {
        let (above, rest) = selection.strip_prefix('+').map_or((false, selection.as_str()), |rest| (true, rest));
        let (below, name) = rest.strip_suffix('+').map_or((false, rest), |name| (true, name));
        let mut found: BTreeSet<&str> = if name == MODIFIED {
            let modified = modified.with_context(|| {
                format!("--select {selection}: name the earlier folder of the models: --state FOLDER")
            })?;
            names().filter(|name| modified.contains(*name)).collect()
        } else {
            let Some(model) = models.get(name) else {
                let all = names().collect::<Vec<_>>().join(", ");
                bail!("--select {selection}: there is no model `{name}`; there are {all}");
            };
            [model.name.as_str()].into()
        };
        let mut reached = found.clone();
        if above {
            // Models follow those that they read, so one pass from the end finds all.
            for model in models.iter().collect::<Vec<_>>().into_iter().rev() {
                if found.contains(model.name.as_str()) {
                    found.extend(names().filter(|name| model.sources.contains_key(*name)));
                }
            }
        }
        if below {
            for model in models.iter() {
                if model.sources.keys().any(|source| reached.contains(source.as_str())) {
                    reached.insert(&model.name);
                }
            }
            found.extend(reached);
        }
        selected.extend(found);
    }
    Ok(selected)
}

/// The models of a folder whose files are others than in an earlier one, or are new.
pub(crate) fn modified(models: &Models, folder: &Path, earlier: &Path) -> anyhow::Result<BTreeSet<String>> {
    ensure!(earlier.is_dir(), "--state {}: there is no such folder", earlier.display());
    let text = |folder: &Path, model: &Model| {
        let path = folder.join(format!("{}.sql", model.name));
        match fs::read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    };
    let mut modified = BTreeSet::new();
    for model in models.iter() {
        if text(folder, model)? != text(earlier, model)? {
            modified.insert(model.name.clone());
        }
    }
    Ok(modified)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// `a` and `b` read a table of the lake, `c` reads both, `d` reads `c`, and `e` reads `b`.
    fn models() -> Models {
        let model = |(name, sources): (&str, &[&str])| {
            let columns = |source: &str| if source == "raw" { "columns = \"id bigint\"" } else { "" };
            let sources: Vec<String> =
                sources.iter().map(|source| format!("[sources.{source}]\n{}\n", columns(source))).collect();
            let sources = sources.concat();
            let text = format!(
                "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"g\"\nkeys = [\"id\"]\ncolumns = \"id bigint the \
                 vehicle\"\n{sources}[[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\nselect 1"
            );
            (PathBuf::from(format!("{name}.sql")), text)
        };
        let all: [(&str, &[&str]); 5] =
            [("a", &["raw"]), ("b", &["raw"]), ("c", &["a", "b"]), ("d", &["c"]), ("e", &["b"])];
        Models::of(all.map(model)).expect("models")
    }

    #[test]
    fn a_plus_takes_in_what_is_above_or_below() {
        let models = models();
        let selected = |selections: &[&str]| {
            let selections: Vec<String> = selections.iter().map(ToString::to_string).collect();
            select(&models, &selections, None).expect("models").into_iter().collect::<String>()
        };
        assert_eq!(selected(&[]), "abcde");
        assert_eq!(selected(&["c"]), "c");
        assert_eq!(selected(&["+c"]), "abc");
        assert_eq!(selected(&["c+"]), "cd");
        assert_eq!(selected(&["+c+"]), "abcd");
        assert_eq!(selected(&["a", "b+"]), "abcde");
        let error = select(&models, &["x+".to_owned()], None).expect_err("no model").to_string();
        assert_eq!(error, "--select x+: there is no model `x`; there are a, b, c, d, e");
    }

    #[test]
    fn what_was_modified_stands_in_the_place_of_a_name() {
        let models = models();
        let modified: BTreeSet<String> = ["b".to_owned(), "gone".to_owned()].into();
        let selected = |selection: &str, modified: Option<&BTreeSet<String>>| {
            let selected = select(&models, &[selection.to_owned()], modified);
            selected.map(|names| names.into_iter().collect::<String>()).map_err(|error| error.to_string())
        };
        assert_eq!(selected("state:modified", Some(&modified)).as_deref(), Ok("b"));
        assert_eq!(selected("state:modified+", Some(&modified)).as_deref(), Ok("bcde"));
        assert_eq!(selected("+state:modified", Some(&["c".to_owned()].into())).as_deref(), Ok("abc"));
        assert_eq!(selected("state:modified+", Some(&BTreeSet::new())).as_deref(), Ok(""));
        assert!(selected("state:modified+", None).is_err_and(|error| error.contains("--state FOLDER")));
        assert!(selected("b", Some(&modified)).is_err_and(|error| error.contains("--state has no meaning")));
    }

    #[test]
    fn a_model_is_modified_if_its_file_is_another_one_or_new() {
        let models = models();
        let [now, earlier] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let write = |folder: &tempfile::TempDir, name: &str, text: &str| {
            fs::write(folder.path().join(format!("{name}.sql")), text).expect("written");
        };
        for name in ["a", "b", "c", "d", "e"] {
            write(&now, name, "now");
        }
        for (name, text) in [("a", "now"), ("b", "before"), ("d", "now"), ("e", "now"), ("gone", "before")] {
            write(&earlier, name, text);
        }
        let found = modified(&models, now.path(), earlier.path()).expect("two folders");
        assert_eq!(found, ["b".to_owned(), "c".to_owned()].into());
        let error = modified(&models, now.path(), &earlier.path().join("nowhere")).expect_err("no folder").to_string();
        assert!(error.contains("there is no such folder"), "{error}");
    }
}
