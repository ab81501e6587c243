//! Which models are meant by a selection: `trip`, `+trip` with all that it is made of, `trip+` with all that is made of
//! it, or `+trip+`.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::model::Models;

/// The names of the models that at least one selection means; all if there is none.
pub(crate) fn select<'m>(models: &'m Models, selections: &[String]) -> anyhow::Result<BTreeSet<&'m str>> {
    let names = || models.iter().map(|model| model.name.as_str());
    if selections.is_empty() {
        return Ok(names().collect());
    }
    let mut selected = BTreeSet::new();
    for selection in selections {
        let (above, rest) = selection.strip_prefix('+').map_or((false, selection.as_str()), |rest| (true, rest));
        let (below, name) = rest.strip_suffix('+').map_or((false, rest), |name| (true, name));
        let Some(model) = models.get(name) else {
            let all = names().collect::<Vec<_>>().join(", ");
            bail!("--select {selection}: there is no model `{name}`; there are {all}");
        };
        let mut found = BTreeSet::from([model.name.as_str()]);
        if above {
            // Models follow those that they read, so one pass from the end finds all.
            for model in models.iter().collect::<Vec<_>>().into_iter().rev() {
                if found.contains(model.name.as_str()) {
                    found.extend(names().filter(|name| model.sources.contains_key(*name)));
                }
            }
        }
        if below {
            let mut reached = BTreeSet::from([model.name.as_str()]);
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
            select(&models, &selections).expect("models").into_iter().collect::<String>()
        };
        assert_eq!(selected(&[]), "abcde");
        assert_eq!(selected(&["c"]), "c");
        assert_eq!(selected(&["+c"]), "abc");
        assert_eq!(selected(&["c+"]), "cd");
        assert_eq!(selected(&["+c+"]), "abcd");
        assert_eq!(selected(&["a", "b+"]), "abcde");
        let error = select(&models, &["x+".to_owned()]).expect_err("no model").to_string();
        assert_eq!(error, "--select x+: there is no model `x`; there are a, b, c, d, e");
    }
}
