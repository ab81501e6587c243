//! `fms simulate verify`: whether a pipeline has ended with what the simulator says it must end with.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use fms_lake::S3Url;
use fms_simulator::{Difference, Expectation, Found, Letters, NamedRow, NamedRows, What, use_recordings};
use serde_json::json;
use tokio::runtime::{Builder, Handle};

use super::letters::LetterTopic;
use super::stores::Store;
use super::target::setting;
use crate::{LogFormat, start_log};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What the pipeline has to end with, as `--expect` has written it.
    #[arg(long, value_name = "FILE")]
    expect: PathBuf,
    /// The table of DynamoDB with the items.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// The raw objects, as `s3://bucket/prefix`.
    #[arg(long, value_name = "URL")]
    raw: Option<S3Url>,
    /// The lake, as `s3://bucket/prefix`.
    #[arg(long, value_name = "URL", requires = "database")]
    lake: Option<S3Url>,
    /// The database of the Glue catalog with the tables of the lake.
    #[arg(long, value_name = "NAME", requires = "lake")]
    database: Option<String>,
    /// The topic with the dead letters of the sink that writes to DynamoDB.
    #[arg(long, value_name = "TOPIC")]
    letters_of_table: Option<String>,
    /// The topic with the dead letters of the sink that writes raw objects.
    #[arg(long, value_name = "TOPIC")]
    letters_of_raw: Option<String>,
    /// The Kafka brokers of these topics.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…")]
    bootstrap_servers: Option<String>,
    /// A setting of librdkafka for reading them, such as `security.protocol=ssl`. May be repeated.
    #[arg(long, value_parser = setting, value_name = "KEY=VALUE")]
    consumer: Vec<(String, String)>,
    /// The folder of the trips that the fleet has driven, if it was started with one.
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
    /// The most rows that are named of each store.
    #[arg(long, default_value_t = 20, value_name = "ROWS")]
    limit: usize,
    /// Print a JSON object on a line for each store.
    #[arg(long)]
    json: bool,
}

/// What there is to say of a store.
struct Compared {
    store: String,
    what: What,
    expected: u64,
    found: u64,
    differences: Vec<Difference>,
    /// The rows that differ; why they are not known, if that is so.
    named: Result<Named, String>,
}

#[derive(Default)]
struct Named {
    rows: Vec<NamedRow>,
    /// How many hours are left out.
    left_out: usize,
}

/// Whether every store has what it has to have. The report is printed. An error says why a store could not be compared.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> anyhow::Result<bool> {
    start_log(log_format)?;
    let expectation = Expectation::read(&arguments.expect)?;
    if let Some(folder) = &arguments.recordings {
        use_recordings(folder)?;
    }
    let topics = [(&arguments.letters_of_table, Letters::Table), (&arguments.letters_of_raw, Letters::Raw)];
    let topics: Vec<(&str, Letters)> =
        topics.into_iter().filter_map(|(topic, of)| Some((topic.as_deref()?, of))).collect();
    ensure!(
        arguments.table.is_some() || arguments.raw.is_some() || arguments.lake.is_some() || !topics.is_empty(),
        "nothing says what to compare; write --table, --raw, --lake with --database, --letters-of-table or --letters-of-raw"
    );
    let servers = arguments.bootstrap_servers.as_deref();
    ensure!(
        topics.is_empty() || servers.is_some(),
        "--bootstrap-servers is missing, which says where the Kafka brokers of the dead letters are"
    );
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().context("cannot start threads")?;
    let (aws, handle) = (fms_aws::load(runtime.handle()), runtime.handle());
    let table = arguments.table.as_ref().map(|name| Store::table(&aws, name));
    let raw = arguments.raw.as_ref().map(|url| Store::raw(&aws, url));
    let lake = arguments.lake.as_ref().zip(arguments.database.as_ref());
    let lake = lake.map(|(url, database)| Store::lake(&aws, url, database));
    let mut complete = true;
    for store in [table, raw, lake].into_iter().flatten() {
        let compared = compare(&store, &expectation, handle)?;
        complete &= compared.differences.is_empty();
        let text = if arguments.json { compared.json(arguments.limit) } else { compared.text(arguments.limit) };
        // An error means that nobody reads the output.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    for (topic, of) in topics {
        let topic = LetterTopic { topic, of, servers: servers.unwrap_or_default(), consumer: &arguments.consumer };
        let compared = topic.compare(&expectation)?;
        complete &= compared.is_complete();
        let text = if arguments.json { compared.json(arguments.limit) } else { compared.text(arguments.limit) };
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    Ok(complete)
}

/// Compares a store. If something differs, the store is read once more to name the rows.
fn compare(store: &Store, expectation: &Expectation, handle: &Handle) -> anyhow::Result<Compared> {
    let (name, what) = (store.name(), store.what());
    let mut found = Found::default();
    store.each_row(handle, &mut |key| found.add(&key)).with_context(|| format!("cannot read the {name}"))?;
    let differences = found.differences(expectation, what);
    let of_protocols = expectation.protocols.values();
    let expected = of_protocols.map(|of| if what == What::Items { of.items } else { of.rows }).sum();
    let mut named = Ok(Named::default());
    if !differences.is_empty() {
        named = match NamedRows::expected(expectation, what, &differences) {
            Ok(mut rows) => {
                store.each_row(handle, &mut |key| rows.found(key))?;
                Ok(Named { left_out: rows.left_out, rows: rows.differing() })
            }
            // The difference stands, and its exit status, also if it is not known row by row.
            Err(error) => Err(error.to_string()),
        };
    }
    Ok(Compared { store: name, what, expected, found: found.rows(), differences, named })
}

impl Compared {
    fn text(&self, limit: usize) -> String {
        let Self { store, what, expected, found, differences, named } = self;
        let rows = if *what == What::Items { "items" } else { "rows" };
        let complete = if differences.is_empty() { ", complete" } else { "" };
        let mut text = format!("{store}: {found} of {expected} {rows}{complete}\n");
        let mut line = |line: &dyn Display| {
            let _infallible = writeln!(text, "  {line}");
        };
        for difference in differences {
            line(difference);
        }
        match named {
            Err(problem) => line(problem),
            Ok(Named { rows, left_out }) => {
                rows.iter().take(limit).for_each(|row| line(row));
                if rows.len() > limit {
                    line(&format_args!("and {} rows more; --limit names more of them", rows.len() - limit));
                }
                if *left_out > 0 {
                    line(&format_args!("the rows of {left_out} more hours are too many to be named at once"));
                }
            }
        }
        text
    }

    fn json(&self, limit: usize) -> String {
        let Self { store, what: _, expected, found, differences, named } = self;
        let sum = |is_missing: bool| {
            let some = named.iter().flat_map(|named| &named.rows).filter(|row| (row.more < 0) == is_missing);
            some.map(|row| row.more.unsigned_abs()).sum::<u64>()
        };
        let shown = named.iter().flat_map(|named| &named.rows).take(limit).map(ToString::to_string);
        let line = json!({
            "store": store, "expected": expected, "found": found, "missing": sum(true), "too_many": sum(false),
            "hours": differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rows": shown.collect::<Vec<_>>(),
            "unnamed_hours": named.as_ref().map_or(differences.len(), |named| named.left_out),
        });
        format!("{line}\n")
    }
}
