//! A mart in a folder that is published, and what changes in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Ran, program, run};
use crate::mart::harness::{TOTAL, WAY, convert, four_days, late, mart, models};

/// A model with a column of every type, some of whose texts could be taken for something else.
pub const TYPES: &str = r#"/*
description = "The last status of each vehicle."
owner = "fleet@example.com"
grain = "a vehicle on a day"
keys = ["color", "id"]
columns = """
id      bigint                              the vehicle
color   string                              its color
note    string                              the color between quotes
at      timestamp                           when
day     date                                the day
way     int                                 m
share   double                              of 7
half    float                               m
is_far  boolean                             whether it drove far
both    array<string>                       the color twice
more    struct<color:string,way:bigint>     what else there is
"""

[sources.vehicle_status_report]
columns = "id bigint, timestamp_iso timestamp, odometer bigint, color string"

[[examples]]
name = "one"
given.vehicle_status_report = """
id | color | odometer
7  | red   | 100
"""
expect = """
id | color | note
7  | red   | 'red'
"""
*/
select ymd, id, coalesce(color, '-') as color, case when color is not null then concat('''', color, '''') end as note, timestamp_iso as at,
  cast(ymd as date) as day, cast(odometer as int) as way, odometer / 7.0 as share, cast(odometer as real) / 2 as half,
  odometer > 100 as is_far, make_array(color, color) as both, named_struct('color', color, 'way', odometer) as more
from vehicle_status_report
where odometer % 1000 = 100 or color is not null
"#;

/// The texts of colors that are hard to pass on.
pub const HARD: [&str; 4] = ["a\tb\nc\\N", "'; drop table way; --", "\\.", "가,\"é\u{1f697}"];

/// A lake with a mart, of three models.
pub struct World {
    pub lake: tempfile::TempDir,
    pub models: tempfile::TempDir,
}

impl World {
    /// A mart that was built of four days.
    pub fn new() -> Self {
        let models = models(&[("way.sql", WAY), ("total.sql", TOTAL), ("types.sql", TYPES)]);
        let world = Self { lake: tempfile::tempdir().expect("a folder"), models };
        let rows = HARD.iter().enumerate().map(|(at, color)| {
            serde_json::json!({
                "object": "vehicle", "type": "status", "command": "report", "id": 7,
                "timestamp_iso": format!("2023-01-04T09:00:00.{at}00Z"), "seq": at, "odometer": 4100, "color": color,
            })
            .to_string()
        });
        let rows: Vec<String> = rows.collect();
        world.convert(&[four_days(), ("topics/colors.json".to_owned(), rows.join("\n"))]);
        world
    }

    /// Rows come, and the mart is built of them.
    fn convert(&self, objects: &[(String, String)]) {
        convert(self.lake(), objects);
        self.build();
    }

    fn build(&self) {
        mart(self.lake(), self.models.path(), "apply", &[]).ok();
    }

    /// A late row changes the second day of two models.
    pub fn late(&self) {
        self.convert(&[late()]);
    }

    /// Vehicle 8 is not in the model any more, so that every day has fewer rows.
    pub fn forget_eight(&self) {
        let all = "group by a.ymd, a.id";
        assert!(WAY.contains(all));
        fs::write(self.models.path().join("way.sql"), WAY.replace(all, &format!("where a.id <> 8\n{all}")))
            .expect("written");
        self.build();
    }

    pub fn lake(&self) -> &Path {
        self.lake.path()
    }

    /// The program that publishes to a server.
    pub fn publisher(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(["mart", "publish", "--models"]).arg(self.models.path()).arg("--lake").arg(self.lake());
        command.args(arguments).env("FMS_MART_PUBLISH_TO", url);
        command
    }

    pub fn publish(&self, url: &str, arguments: &[&str]) -> Ran {
        run(&mut self.publisher(url, arguments))
    }
}
