//! Lakes of a few vehicles, in a folder or in S3 and Glue in memory, and the program.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use e2e::internals::Stack as _;
use fms_lake::Settings;
use serde_json::Value;

use crate::common::{self, Ran, Services, program, run};

pub const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mart");

/// A small model: how far the odometer of each vehicle went on a day and since the day before.
pub const WAY: &str = r#"/*
description = "How far the odometer of each vehicle went since the day before."
owner = "fleet@example.com"
grain = "a vehicle on a day"
keys = ["id"]
columns = """
id     bigint  the vehicle
rows   bigint  how many rows the day has
meters bigint  m, from the first row of the day before to the last one of the day
"""

[sources.vehicle_status_report]
reads = "1 day before"
columns = "id bigint, timestamp_iso timestamp, odometer bigint, color string"

[checks]
"nobody drives 5 km in two days here" = "meters < 5000"

[[examples]]
name = "two days"
given.vehicle_status_report = """
id | ymd        | odometer
7  | 2023-01-01 | 100
7  | 2023-01-02 | 150
"""
expect = """
ymd        | id | rows | meters
2023-01-01 | 7  | 1    | 0
2023-01-02 | 7  | 1    | 50
"""
*/
select a.ymd, a.id, count(distinct a.odometer) as rows, max(a.odometer) - min(b.odometer) as meters
from vehicle_status_report as a
join vehicle_status_report as b
  on b.id = a.id and (b.ymd = a.ymd or cast(b.ymd as date) = cast(a.ymd as date) - interval '1' day)
group by a.ymd, a.id
"#;

/// A model of the one before: the fleet's way.
pub const TOTAL: &str = r#"/*
description = "How far the fleet drove."
owner = "fleet@example.com"
grain = "a day"
keys = ["fleet"]
columns = """
fleet  string  all
meters bigint  m of all vehicles
"""

[sources.way]

[[examples]]
name = "a sum"
given.way = """
id | meters
7  | 100
8  | 10
"""
expect = """
fleet | meters
all   | 110
"""
*/
select ymd, 'all' as fleet, sum(meters) as meters from way group by ymd
"#;

/// A folder with these models.
pub fn models(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

pub fn small_models() -> tempfile::TempDir {
    models(&[("way.sql", WAY), ("total.sql", TOTAL)])
}

/// A row of the status of a vehicle.
pub fn status(id: u32, day: u32, hour: u32, odometer: u32) -> String {
    format!(
        r#"{{"object":"vehicle","type":"status","command":"report","id":{id},"timestamp_iso":"2023-01-{day:02}T{hour:02}:00:00Z","seq":0,"odometer":{odometer}}}"#
    )
}

/// A raw object of four days, on each of which two vehicles drive 100 m.
pub fn four_days() -> (String, String) {
    let rows =
        (1..=4).flat_map(|day| [7, 8].map(|id| [status(id, day, 8, day * 1000), status(id, day, 9, day * 1000 + 100)]));
    ("topics/a.json".to_owned(), rows.flatten().collect::<Vec<_>>().join("\n"))
}

/// A raw object with a row that comes late: vehicle 7 drove 50 m more on the second day.
pub fn late() -> (String, String) {
    ("topics/late.json".to_owned(), status(7, 2, 10, 2150))
}

/// Runs a command of `fms mart` on a lake in a folder.
pub fn mart(lake: &Path, models: &Path, command: &str, arguments: &[&str]) -> Ran {
    let mut program = program();
    run(program.args(["mart", command, "--models"]).arg(models).arg("--lake").arg(lake).args(arguments))
}

/// Converts raw objects into a lake in a folder.
pub fn convert(lake: &Path, objects: &[(String, String)]) {
    common::convert(lake, &Settings::default(), objects);
}

/// S3 and Glue in memory with an empty lake, and models.
pub struct World {
    pub services: Services,
    pub models: tempfile::TempDir,
}

impl Deref for World {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl World {
    pub fn new() -> Self {
        Self { services: Services::start(), models: small_models() }
    }

    /// Converts raw objects into the lake.
    pub fn convert(&self, objects: &[(String, String)]) {
        self.services.convert(Settings::default(), objects);
    }

    /// A command of `fms mart`.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut program = self.program();
        program.args(["mart", command, "--models"]).arg(self.models.path()).args(["--database", "fleet"]);
        program.args(["--mart", "s3://lake/mart"]).args(arguments);
        program
    }

    pub fn mart(&self, command: &str, arguments: &[&str]) -> Ran {
        run(&mut self.command(command, arguments))
    }

    /// A table as Glue has it, with its partitions.
    pub fn table(&self, name: &str) -> Value {
        let tables = self.stack.catalog("fleet").expect("the database");
        let table = tables.into_iter().find(|table| table["Name"] == name);
        table.unwrap_or_else(|| panic!("there is no table `{name}`"))
    }

    /// The keys of the mart's objects.
    pub fn keys(&self) -> Vec<String> {
        let objects = self.stack.objects("lake").expect("the bucket");
        objects.into_iter().map(|(key, _)| key).filter(|key| key.starts_with("mart/")).collect()
    }
}
