//! All models of a folder, with what they read of each other, in the order in which they are built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{DAY, Model, ModelError, front, order};

/// The partition keys of the lake, which every row of its tables has.
const HOUR: &str = "hour";

/// The models of a folder, each one after those that it reads.
#[derive(Debug, Clone, Default)]
pub struct Models {
    models: Vec<Model>,
}

impl Models {
    /// Reads the files `*.sql` of a folder. Gives everything that is wrong with them.
    pub fn read(folder: &Path) -> Result<Self, Vec<ModelError>> {
        let failed = |path: &Path, error: std::io::Error| {
            vec![ModelError { path: path.to_owned(), line: 1, problem: format!("cannot be read: {error}") }]
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
            let path = entry.map_err(|error| failed(folder, error))?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                files.push((path.clone(), fs::read_to_string(&path).map_err(|error| failed(&path, error))?));
            }
        }
        if files.is_empty() {
            let problem = "the folder has no models, which are files `*.sql`".to_owned();
            return Err(vec![ModelError { path: folder.to_owned(), line: 1, problem }]);
        }
        files.sort();
        Self::of(files)
    }

    /// The models of these files.
    pub fn of(files: impl IntoIterator<Item = (PathBuf, String)>) -> Result<Self, Vec<ModelError>> {
        let (mut models, mut paths, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (path, text) in files {
            match front::read(&path, &text) {
                Ok(model) => {
                    paths.insert(model.name.clone(), (path, text));
                    models.insert(model.name.clone(), model);
                }
                Err(problem) => problems.push(problem),
            }
        }
        // A model that cannot be read is not taken for a table of the lake.
        if !problems.is_empty() {
            return Err(problems);
        }
        let outputs: BTreeMap<String, Vec<_>> =
            models.iter().map(|(name, model): (&String, &Model)| (name.clone(), model.fields())).collect();
        for model in models.values_mut() {
            let (path, text) = &paths[&model.name];
            let mut wrong = |pattern: &str, problem: String| {
                problems.push(ModelError { path: path.clone(), line: line_of(text, pattern), problem });
            };
            for (source, reads) in &mut model.sources {
                let header = format!("[sources.{source}]");
                match (outputs.get(source), reads.columns.is_empty()) {
                    (Some(columns), true) => (reads.columns, reads.is_model) = (columns.clone(), true),
                    (Some(_), false) => {
                        wrong(
                            &header,
                            format!("`{source}` is a model, which says its columns itself; remove `columns`"),
                        );
                    }
                    (None, true) => {
                        wrong(&header, format!("say which columns of `{source}` are read, with their types"));
                    }
                    (None, false) => {}
                }
            }
            for example in &model.examples {
                for (source, cells) in &example.given {
                    let reads = &model.sources[source];
                    let is_known = |name: &&String| {
                        let is_key = *name == DAY || (*name == HOUR && !reads.is_model);
                        is_key || reads.columns.iter().any(|column| column.name == **name)
                    };
                    if let Some(unknown) = cells.columns.iter().find(|name| !is_known(name)) {
                        let problem = format!(
                            "the example `{}` gives `{source}` a column `{unknown}`, which the model \
                                               does not read",
                            example.name
                        );
                        problems.push(ModelError { path: path.clone(), line: example.line, problem });
                    }
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let reads = |model: &'_ Model| -> BTreeSet<String> { model.sources.keys().cloned().collect() };
        let all: BTreeMap<String, BTreeSet<String>> =
            models.iter().map(|(name, model)| (name.clone(), reads(model))).collect();
        let all: BTreeMap<&str, BTreeSet<&str>> =
            all.iter().map(|(name, reads)| (name.as_str(), reads.iter().map(String::as_str).collect())).collect();
        match order::order(&all) {
            Ok(order) => Ok(Self { models: order.iter().filter_map(|name| models.remove(name)).collect() }),
            Err(cycle) => {
                let (path, text) = &paths[&cycle[0]];
                let next = cycle.get(1).unwrap_or(&cycle[0]);
                let line = line_of(text, &format!("[sources.{next}]"));
                let names = cycle.iter().chain([&cycle[0]]).map(String::as_str).collect::<Vec<_>>().join(" reads ");
                let problem = format!("the models are in a circle, so none of them can be built first: {names}");
                Err(vec![ModelError { path: path.clone(), line, problem }])
            }
        }
    }

    /// The models, each one after those that it reads.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// The models of these names, each one after those that it reads.
    pub fn named<'m>(&'m self, names: &'m BTreeSet<&str>) -> impl Iterator<Item = &'m Model> {
        self.iter().filter(|model| names.contains(model.name.as_str()))
    }

    /// The model of this name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }
}

/// The first line that has a text, or the first one of all.
fn line_of(text: &str, pattern: &str) -> usize {
    1 + text.lines().position(|line| line.contains(pattern)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that reads these tables.
    fn model(name: &str, sources: &[(&str, &str)]) -> (PathBuf, String) {
        let sources: Vec<String> = sources.iter().map(|(name, rest)| format!("[sources.{name}]\n{rest}\n")).collect();
        let sources = sources.concat();
        let text = format!(
            "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"g\"\nkeys = [\"id\"]\ncolumns = \"id bigint the vehicle\"\n\
             {sources}[[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\nselect 1"
        );
        (PathBuf::from(format!("{name}.sql")), text)
    }

    fn problem(models: Vec<(PathBuf, String)>) -> String {
        let problems = Models::of(models).expect_err("a problem");
        problems.iter().fold(String::new(), |all, error| all + &format!("{error}\n"))
    }

    #[test]
    fn models_follow_those_that_they_read_and_know_their_columns() {
        let raw = ("raw", "columns = \"id bigint\"");
        let models = Models::of([model("a", &[("b", "")]), model("b", &[raw])]).expect("models");
        assert_eq!(models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let reads = &models.get("a").expect("a model").sources["b"];
        assert!(reads.is_model && reads.columns == models.get("b").expect("a model").fields());
    }

    #[test]
    fn what_does_not_fit_together_is_named_with_file_and_line() {
        let raw = ("raw", "columns = \"id bigint\"");
        insta::assert_snapshot!(problem(vec![model("a", &[("b", "")]), model("b", &[raw, ("a", "")])]), @r"
        a.sql:7: the models are in a circle, so none of them can be built first: a reads b reads a
        ");
        insta::assert_snapshot!(problem(vec![model("a", &[("raw", "")])]), @r"
        a.sql:7: say which columns of `raw` are read, with their types
        ");
        insta::assert_snapshot!(problem(vec![model("a", &[("b", raw.1)]), model("b", &[raw])]), @r"
        a.sql:7: `b` is a model, which says its columns itself; remove `columns`
        ");
    }
}
