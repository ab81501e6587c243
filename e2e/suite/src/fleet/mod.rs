//! The command `e2e fleet`: how fast, how evenly and how exactly the simulated fleet drives, beside what was recorded.

mod distribution;
mod observe;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use e2e::Suite;
use fms_simulator::recorded_trips;

use crate::load::page::{escaped, head, table};
use crate::load::plot::{Plot, Series};
use crate::load::text::number;

pub use distribution::{Distribution, apart};
pub use observe::{Quantity, quantities, simulated};

/// Compare the simulated fleet with the recorded trips: distributions of speeds, accelerations, gaps and the noise of
/// positions, as text and as a page with plots.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Arguments {
    /// How many vehicles are looked at.
    #[arg(long, default_value_t = 30, value_name = "N")]
    vehicles: u64,
    /// For how many hours.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=240), value_name = "N")]
    hours: u32,
    /// The fleet.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The page; by default `fleet.html` in the folder of the target.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The command line.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The percentiles that are shown.
const PERCENTILES: [f64; 7] = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0];

/// Carries out the command.
pub fn carry_out(suite: &Suite, matches: &clap::ArgMatches) -> Result<ExitCode, String> {
    let arguments = Arguments::from_arg_matches(matches).map_err(|error| error.to_string())?;
    let recorded = quantities(&recorded_trips());
    let simulated = quantities(&simulated(arguments.seed, arguments.vehicles, i64::from(arguments.hours) * 3600));
    let path = arguments.out.unwrap_or_else(|| suite.target().join("e2e/fleet.html"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    std::fs::write(&path, page(&recorded, &simulated))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print!("{}", text(&recorded, &simulated));
    println!("page: {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// The percentiles of every quantity, of the recordings and of the fleet.
pub fn text(recorded: &[Quantity], simulated: &[Quantity]) -> String {
    let mut text = String::new();
    for (recorded, simulated) in recorded.iter().zip(simulated) {
        let apart = apart(&recorded.values, &simulated.values);
        let _infallible = writeln!(text, "{}: at most {:.1} % apart", recorded.name, apart * 100.0);
        let heads = in_columns(|percent| format!("p{percent}"));
        let _infallible = writeln!(text, "{:<12}{:>9}{heads}", "", "values");
        for (name, quantity) in [("recorded", recorded), ("simulated", simulated)] {
            let values = in_columns(|percent| number(quantity.values.percentile(percent)));
            let _infallible = writeln!(text, "{name:<12}{:>9}{values}", quantity.values.len());
        }
    }
    text
}

/// What is to be said of each of the percentiles, in columns.
fn in_columns(say: impl Fn(f64) -> String) -> String {
    PERCENTILES.iter().fold(String::new(), |mut line, percent| {
        let _infallible = write!(line, "{:>9}", say(*percent));
        line
    })
}

/// The same as a page, with a plot of each quantity.
pub fn page(recorded: &[Quantity], simulated: &[Quantity]) -> String {
    let title = "The simulated fleet and the recordings";
    let mut html = head(title);
    let _infallible = write!(
        html,
        "<h1>{title}</h1>\n<p>Each plot shows how many of a hundred values are smaller than \
         the value at the left. Where the lines lie on each other, the fleet is as the recordings are.</p>\n\
         <div class=\"plots\">\n"
    );
    for (recorded, simulated) in recorded.iter().zip(simulated) {
        let series = [("recorded", recorded), ("simulated", simulated)].map(|(name, quantity)| Series {
            name: name.to_owned(),
            points: (0..=100).map(|percent| (f64::from(percent), quantity.shown(f64::from(percent)))).collect(),
        });
        let title = format!("{}{}", recorded.name, if recorded.is_magnitude { ", without its sign" } else { "" });
        Plot { title: &title, x: "%", series: series.into(), bounds: &[] }.draw(&mut html);
    }
    html.push_str("</div>\n");
    for (recorded, simulated) in recorded.iter().zip(simulated) {
        let rows = [("recorded", recorded), ("simulated", simulated)].map(|(name, quantity)| {
            let values = PERCENTILES.iter().map(|percent| number(quantity.values.percentile(*percent)));
            [name.to_owned(), quantity.values.len().to_string()].into_iter().chain(values).collect()
        });
        let heads: Vec<String> = PERCENTILES.iter().map(|percent| format!("p{percent}")).collect();
        let heads: Vec<&str> = ["", "values"].into_iter().chain(heads.iter().map(String::as_str)).collect();
        let apart = apart(&recorded.values, &simulated.values) * 100.0;
        table(&mut html, &recorded.name, &heads, rows.into_iter());
        let _infallible = writeln!(
            html,
            "<p>{} At most {apart:.1} % apart: the largest distance between both lines.</p>",
            escaped(recorded.about)
        );
    }
    html.push_str("</body></html>\n");
    html
}
