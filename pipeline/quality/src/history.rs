//! The verdicts of all runs, as the table `quality_results` of the lake: each run adds a file of its own, as a raw object
//! does, so that two runs at once lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use fms_lake::{Bucket, Files, Folder, Object, S3Url, Settings, Spool, Storage, TimeZone, convert_object};
use fms_query::program::retry;
use fms_query::{Definition, Lake, Planned, Query};
use futures_util::TryStreamExt as _;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::verdict::Verdict;
use crate::version::Version;

/// The table.
pub(crate) const TABLE: &str = "quality_results";

/// A verdict, and what the history has besides.
#[derive(Debug)]
pub(crate) struct Kept {
    pub verdict: Verdict,
    /// The digest of how the check is defined.
    pub definition: String,
    pub version: Option<Version>,
}

/// Where the history is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A lake in a folder.
    Folder(PathBuf),
    /// A lake in S3.
    Bucket(S3Url),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("s3://") { text.parse().map(Self::Bucket) } else { Ok(Self::Folder(text.into())) }
    }
}

/// A place, with what it takes to write there.
pub(crate) enum History {
    /// A lake in a folder, into which one process at a time may write.
    Folder(PathBuf),
    /// A lake in S3: the bucket's name, the files below its prefix, and the lake.
    Bucket(S3Url, Box<(Files, Bucket)>),
}

impl History {
    /// Opens a place. A lake in S3 needs the name of its database, and the configuration of AWS; if the account that owns
    /// its bucket is given and another one does, nothing is written there.
    ///
    /// # Errors
    ///
    /// The place is in S3, but no database is named.
    pub fn open(
        place: &Place,
        database: Option<&str>,
        owner: Option<&str>,
        runtime: &tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        Ok(match place {
            Place::Folder(folder) => Self::Folder(folder.clone()),
            Place::Bucket(url) => {
                let database = database.context("--history in S3 needs --database, which gets its table")?;
                let (aws, retry) = (fms_aws::load(runtime), retry("fms quality"));
                let storage = Storage { expected_bucket_owner: owner.map(str::to_owned), ..Storage::default() };
                // The verdicts are a raw object in the same bucket.
                let bucket =
                    Bucket::new(&aws, url, database, retry.clone()).expecting_raw_owner(owner.map(str::to_owned));
                let files = Files::new(&aws, url, retry, storage.clone());
                Self::Bucket(url.clone(), Box::new((files, bucket.storing(storage))))
            }
        })
    }

    /// Adds the verdicts of a run, each with how its check is defined and the version of what it is about.
    ///
    /// # Errors
    ///
    /// They cannot be stored. What of them is stored already will not be stored again by another attempt.
    pub async fn add(&self, verdicts: &[Kept]) -> anyhow::Result<()> {
        let Some(Kept { verdict: first, .. }) = verdicts.first() else { return Ok(()) };
        let rows: Vec<u8> = verdicts.iter().flat_map(row).collect();
        let path = format!("quality/{}-{:016x}.json", first.ran_at, RandomState::new().hash_one(0));
        let settings = Settings {
            table_fields: vec!["object".to_owned(), "type".to_owned()],
            time_field: "ran_at".to_owned(),
            zone: TimeZone::UTC,
            sort_fields: vec!["table_name".to_owned(), "check_name".to_owned()],
            ..Settings::default()
        };
        let report = match self {
            Self::Folder(root) => {
                std::fs::create_dir_all(root)
                    .with_context(|| format!("cannot create the folder {}", root.display()))?;
                let path_of_lock = root.join(".quality-history.lock");
                let lock = File::create(&path_of_lock)
                    .and_then(|lock| lock.lock().map(|()| lock))
                    .with_context(|| format!("cannot lock {}", path_of_lock.display()))?;
                let object = Object { bucket: "quality".into(), key: path, version_id: None };
                let report = convert_object(&settings, &object, || Ok(rows.as_slice()), &mut Folder::new(root))
                    .with_context(|| format!("cannot add the verdicts to {TABLE} in {}", root.display()))?;
                drop(lock);
                report
            }
            Self::Bucket(url, store) => {
                let (files, bucket) = &**store;
                let stored = files.url(&path);
                let mut body = Spool::new();
                body.write_all(&rows).context("cannot hold the verdicts")?;
                files.put(&path, &mut body).await.with_context(|| format!("cannot write {stored}"))?;
                let key = stored.strip_prefix(&format!("s3://{}/", url.bucket)).unwrap_or(&path).to_owned();
                let object = Object { bucket: url.bucket.clone(), key, version_id: None };
                let report = bucket.convert_current(&Arc::new(settings), &object).await;
                let report = report.with_context(|| {
                    format!("cannot add the verdicts to {TABLE}; they are in {stored}, which `fms lake convert` takes")
                })?;
                report.unwrap_or_default()
            }
        };
        let held: u64 = verdicts.len() as u64 - report.rows.min(verdicts.len() as u64);
        if held > 0 {
            bail!("{held} verdicts do not fit the table {TABLE}; `fms lake quarantine list` says why");
        }
        Ok(())
    }
}

/// A verdict as a line of the raw object. Names that mean something in SQL have others.
fn row(kept: &Kept) -> Vec<u8> {
    let Kept { verdict, definition, version } = kept;
    let Verdict { table, check, kind, outcome, severity, owner, from, to, .. } = verdict;
    let line = json!({
        "object": "quality", "type": "results", "ran_at": verdict.ran_at, "table_name": table, "check_name": check,
        "kind": kind, "outcome": outcome.name(), "severity": severity.name(), "owner": owner, "from_day": from,
        "to_day": to, "expected": verdict.expected, "observed": verdict.observed, "total": verdict.total,
        "bad": verdict.bad, "definition": definition, "version": version.as_ref().map(ToString::to_string),
        "query": verdict.query.as_deref().map(Value::from), "digest": verdict.digest,
    });
    let mut line = line.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The digests of the rows that stable queries gave when they were checked last, by table, check, and days.
pub(crate) type Digests = BTreeMap<(String, String, String, String), String>;

/// Reads the digests of the last verdicts.
///
/// # Errors
///
/// The history cannot be read.
pub(crate) async fn digests(lake: &Lake) -> anyhow::Result<Digests> {
    let sql = format!(
        "select table_name, check_name, from_day, to_day, digest from {TABLE} where digest is not null order by ran_at"
    );
    let mut digests = Digests::new();
    each(lake, &["digest"], sql, |[table, check, from, to, digest]| {
        digests.insert((table, check, from, to), digest);
        Ok(())
    })
    .await?;
    Ok(digests)
}

/// Gives each row of a query of the history, whose columns are read as texts, in the order of the query. There is none
/// if the history lacks one of these columns yet, because no verdict had a value there.
async fn each<const N: usize>(
    lake: &Lake,
    columns: &[&str],
    sql: String,
    mut take: impl FnMut([String; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let has = |table: &Definition, name: &str| table.columns.iter().any(|column| column.name == name);
    let has_all = |table: &Definition| columns.iter().all(|name| has(table, name));
    if !lake.table(TABLE).await?.as_ref().is_some_and(has_all) {
        return Ok(());
    }
    let read = async {
        let planned = Planned::new(lake, &Query { sql, ..Query::default() }).await?;
        let mut rows = planned.start()?;
        while let Some(batch) = rows.try_next().await? {
            let texts = (0..N).map(|at| cast(batch.column(at), &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                take(std::array::from_fn(|at| texts[at].as_string::<i32>().value(row).to_owned()))?;
            }
        }
        anyhow::Ok(())
    };
    read.await.with_context(|| format!("cannot read the table {TABLE}"))
}

/// What a check was about: its table, its name, how it is defined, the day, and the version of what it reads.
pub(crate) type About = (String, String, String, Date, Version);

/// How often a failure is told again although nothing has changed: within this time, another attempt of the same job ends as
/// the first did, also if that one was killed before it could tell anybody.
const SAME_JOB: SignedDuration = SignedDuration::from_hours(12);

/// What is known, so that it need not be checked again: what passed or warned, and what failed before another attempt of the
/// same job; of a check that looks into `DynamoDB`, only what passed. A check that could not run says nothing. A clock that was
/// set back makes no version look newer than the one that came after it.
///
/// # Errors
///
/// The history cannot be read.
pub(crate) async fn known(lake: &Lake, now: Timestamp) -> anyhow::Result<BTreeSet<About>> {
    let sql = format!(
        "select table_name, check_name, kind, definition, from_day, version, outcome, \
         cast(cast(arrow_cast(ran_at, 'Timestamp(Millisecond, None)') as bigint) as varchar) as millis from {TABLE} \
         where from_day = to_day and version is not null and definition is not null order by ran_at"
    );
    let mut known = BTreeSet::new();
    each(lake, &["definition", "version"], sql, |[table, check, kind, definition, day, version, outcome, ran_at]| {
        let day = day.parse().with_context(|| format!("`{day}` is no day"))?;
        let ran_at = ran_at.parse().with_context(|| format!("`{ran_at}` is no time"))?;
        let age = now.duration_since(Timestamp::from_millisecond(ran_at)?);
        let about = (table, check, definition, day, Version::from(version.as_str()));
        let is_known = match outcome.as_str() {
            "pass" => true,
            // What is mended in DynamoDB changes no version.
            _ if kind == "in_dynamodb" => false,
            "warn" => true,
            "fail" => age >= SAME_JOB,
            _ => false,
        };
        if is_known {
            known.insert(about);
        } else {
            known.remove(&about);
        }
        Ok(())
    })
    .await?;
    Ok(known)
}
