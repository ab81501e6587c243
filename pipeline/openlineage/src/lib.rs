//! Events of [`OpenLineage`](https://openlineage.io): what a run of a job has read and written, with facets that say more.

mod backend;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value, json};

pub use backend::{Backend, Outbox};

/// The namespace of jobs and tables.
const NAMESPACE: &str = "fms";
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has begun.
    Start,
    /// It is done.
    Complete,
    /// It could not do all that it should.
    Fail,
}

impl Kind {
    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
        }
    }
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The name of the job, such as `mart.trip`.
    pub job: String,
    /// A UUID, see [`run_id`].
    pub id: String,
    /// Who tells of it, as a URI.
    pub producer: &'static str,
}

/// What can be said beside that something was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facet {
    /// The columns of a table.
    Schema,
    /// Which columns a column is made of.
    ColumnLineage,
    /// How much was written.
    OutputStatistics,
    /// What checks found.
    DataQualityAssertions,
    /// Why a run failed.
    ErrorMessage,
}

impl Facet {
    /// Its name among the facets.
    fn name(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::ColumnLineage => "columnLineage",
            Self::OutputStatistics => "outputStatistics",
            Self::DataQualityAssertions => "dataQualityAssertions",
            Self::ErrorMessage => "errorMessage",
        }
    }

    /// The version and the name of its schema.
    fn schema(self) -> (&'static str, &'static str) {
        match self {
            Self::Schema => ("1-2-0", "SchemaDatasetFacet"),
            Self::ColumnLineage => ("1-2-0", "ColumnLineageDatasetFacet"),
            Self::OutputStatistics => ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
            Self::DataQualityAssertions => ("1-0-1", "DataQualityAssertionsDatasetFacet"),
            Self::ErrorMessage => ("1-0-1", "ErrorMessageRunFacet"),
        }
    }
}

impl Run {
    /// Facets by their names. Each is an object.
    pub fn facets<const N: usize>(&self, facets: [(Facet, Value); N]) -> Value {
        let mut all = Map::new();
        for (facet, mut body) in facets {
            let (version, schema) = facet.schema();
            body["_producer"] = json!(self.producer);
            body["_schemaURL"] =
                json!(format!("https://openlineage.io/spec/facets/{version}/{schema}.json#/$defs/{schema}"));
            all.insert(facet.name().to_owned(), body);
        }
        Value::Object(all)
    }

    /// An event, as a line of JSON. `facets` are those of the run.
    pub fn event(&self, kind: Kind, time: &str, inputs: &[Value], outputs: &[Value], facets: &Value) -> String {
        let event = json!({
            "eventType": kind.name(),
            "eventTime": time,
            "run": {"runId": self.id, "facets": facets},
            "job": {"namespace": NAMESPACE, "name": self.job},
            "inputs": inputs,
            "outputs": outputs,
            "producer": self.producer,
            "schemaURL": EVENT,
        });
        format!("{event}\n")
    }
}

/// A table that is read or written. More is set on the object: `facets`, `inputFacets` and `outputFacets`.
pub fn dataset(name: &str) -> Value {
    json!({"namespace": NAMESPACE, "name": name})
}

/// A column of a table, as the facet of column lineage names it.
pub fn field(table: &str, column: &str) -> Value {
    json!({"namespace": NAMESPACE, "name": table, "field": column})
}

/// The id of a run that follows from these texts, so that a run that is told twice is one.
pub fn run_id<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut hashers = [0_u8, 1].map(|half| {
        let mut hasher = DefaultHasher::new();
        half.hash(&mut hasher);
        hasher
    });
    for text in texts {
        for hasher in &mut hashers {
            text.hash(hasher);
        }
    }
    let [first, second] = hashers.map(|hasher| hasher.finish());
    // A UUID of version 8, whose bits are anybody's.
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        first >> 32,
        first >> 16 & 0xffff,
        first & 0xfff,
        second >> 48 & 0x3fff | 0x8000,
        second & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_which_run_has_become_what() {
        let run = Run { job: "mart.trip".to_owned(), id: run_id(["a"].into_iter()), producer: "urn:fms:mart" };
        let facets = run.facets([(Facet::ErrorMessage, json!({"message": "m", "programmingLanguage": "Rust"}))]);
        let event = run.event(Kind::Fail, "2023-01-02T00:00:00Z", &[dataset("raw")], &[], &facets);
        let event: Value = serde_json::from_str(&event).expect("JSON");
        assert_eq!((&event["eventType"], &event["inputs"][0]["name"]), (&json!("FAIL"), &json!("raw")));
        let facet = &event["run"]["facets"]["errorMessage"];
        assert_eq!(
            facet["_schemaURL"],
            "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
        );
    }

    #[test]
    fn an_id_is_a_uuid_that_follows_from_its_texts() {
        let id = |texts: &[&str]| run_id(texts.iter().copied());
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab"]));
        let (id, parts) = (id(&["a"]), [8, 4, 4, 4, 12]);
        assert!(id.split('-').map(str::len).eq(parts) && id.as_bytes()[14] == b'8', "{id}");
    }
}
