//! What a search for the capacity has found, as text, Markdown, JSON and a page.

use std::fmt::Write as _;

use super::{Capacity, Search};
use crate::load::page::{escaped, head, table};
use crate::load::plot::{Plot, Series};
use crate::load::text::{number, perhaps};

impl Capacity {
    /// Whether a capacity was found for each number of workers, and several workers are as efficient as the plan says.
    pub fn is_passed(&self) -> bool {
        let is_found = self.searches.iter().all(|search| search.last_kept_up().is_some() && search.error.is_none());
        let is_efficient = self.plan.limits.efficiency.is_none_or(|least| {
            let others = self.efficiencies();
            !others.is_empty() && others.iter().all(|(_, efficiency)| *efficiency >= least)
        });
        is_found && is_efficient
    }

    /// Why the search ended early, if it did.
    pub fn error(&self) -> Option<&str> {
        self.searches.iter().find_map(|search| search.error.as_deref())
    }

    /// The share of the rows of one worker, times their number, that several workers store. It is empty if one worker was
    /// not tried.
    #[expect(clippy::cast_precision_loss, reason = "a few workers")]
    pub fn efficiencies(&self) -> Vec<(usize, f64)> {
        let rows = |search: &Search| search.last_kept_up().map_or(0.0, |tried| tried.rows_per_second);
        let one = self.searches.iter().find(|search| search.workers == 1).map(rows).filter(|rows| *rows > 0.0);
        let several = self.searches.iter().filter(|search| search.workers > 1);
        let efficiency = |search: &Search| Some((search.workers, rows(search) / (one? * search.workers as f64)));
        several.filter_map(efficiency).collect()
    }

    /// What was found, as text. The last lines are the capacities.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for search in &self.searches {
            for tried in &search.tries {
                let _infallible = writeln!(text, "{}", tried.line());
            }
        }
        for line in self.lines() {
            let _infallible = writeln!(text, "{line}");
        }
        text
    }

    /// The capacity with each number of workers, and how efficient several are.
    fn lines(&self) -> Vec<String> {
        let efficiencies = self.efficiencies();
        let line = |search: &Search| {
            let efficiency = efficiencies.iter().find(|(workers, _)| *workers == search.workers);
            let efficiency = efficiency.map_or_else(String::new, |(_, share)| {
                let least = self.plan.limits.efficiency;
                let least = least.map_or_else(String::new, |least| format!(" (at least {least:.2})"));
                format!("; efficiency {share:.2}{least}")
            });
            let workers = if self.searches.len() > 1 { named(search) + ": " } else { String::new() };
            format!("{workers}{}{efficiency}", search.line())
        };
        self.searches.iter().map(line).collect()
    }

    /// What was found, as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("### Capacity: {}\n\n{}\n\n", self.name, self.plan.description);
        for line in self.lines() {
            let _infallible = writeln!(text, "- {line}");
        }
        text.push_str(
            "\n| workers | vehicles | messages/s | rows/s | behind | p99 ms | |\n|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for row in self.rows() {
            let _infallible = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    /// The runs, in their order.
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.searches.iter().flat_map(|search| {
            search.tries.iter().map(|tried| {
                let [messages, rows] = [tried.messages_per_second, tried.rows_per_second].map(number);
                let outcome = tried.problem().unwrap_or("keeps up").to_owned();
                let counts = [search.workers.to_string(), tried.vehicles.to_string()];
                let figures = [messages, rows, tried.lag.to_string(), perhaps(tried.p99), outcome];
                counts.into_iter().chain(figures).collect()
            })
        })
    }

    /// What was found, as a page that needs nothing else.
    #[expect(clippy::cast_precision_loss, reason = "vehicles")]
    pub fn page(&self) -> String {
        let name = escaped(&self.name);
        let mut html = head(&format!("Capacity: {name}"));
        let _infallible = writeln!(html, "<h1>Capacity: {name}</h1>\n<p>{}</p>", escaped(&self.plan.description));
        for line in self.lines() {
            let _infallible = writeln!(html, "<p><b>{}</b></p>", escaped(&line));
        }
        let heads = ["workers", "vehicles", "messages/s", "rows/s", "behind", "p99, ms", ""];
        table(&mut html, "Runs", &heads, self.rows().map(|row| row.iter().map(|cell| escaped(cell)).collect()));
        let series = |of: &dyn Fn(&super::Try) -> Option<f64>| -> Vec<Series> {
            let points = |search: &Search| {
                let mut points: Vec<(f64, f64)> =
                    search.tries.iter().filter_map(|tried| Some((tried.vehicles as f64, of(tried)?))).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            self.searches.iter().map(|search| Series { name: named(search), points: points(search) }).collect()
        };
        html.push_str("<h2>By vehicles</h2>\n<div class=\"plots\">\n");
        let sent = |tried: &super::Try| (tried.rows_per_second > 0.0).then_some(tried.rows_per_second);
        for (title, series) in [
            ("Rows a second", series(&sent)),
            ("p99 from due to DynamoDB, ms", series(&|tried| tried.p99)),
            ("Messages behind when the last is sent", series(&|tried| tried.p99.map(|_| tried.lag as f64))),
        ] {
            Plot { title, x: "", series, bounds: &[] }.draw(&mut html);
        }
        let machine = &self.machine;
        let _infallible = write!(
            html,
            "</div>\n<h2>Plan</h2>\n<pre>{}</pre>\n<h2>Machine</h2>\n<p>{} cores of {}, {} GB, {}; {} on {}; {}</p>\n             </body></html>\n",
            escaped(&toml::to_string(&self.plan).unwrap_or_default()),
            machine.cores,
            escaped(&machine.processor),
            machine.memory_gb,
            if machine.is_release { "a release build" } else { "a development build" },
            escaped(&self.subject),
            escaped(&self.stack),
            escaped(&machine.at)
        );
        html
    }

    /// What was found, as JSON.
    ///
    /// # Errors
    ///
    /// It cannot be written, which would be a mistake of this program.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| format!("cannot write the capacity: {error}"))
    }
}

/// How many workers a search is about.
fn named(search: &Search) -> String {
    format!("{} worker{}", search.workers, if search.workers == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Try};
    use super::*;
    use crate::load::report::Machine;

    fn capacity() -> Capacity {
        let tried = |vehicles: u64, outcome| Try {
            vehicles,
            messages_per_second: 20.0,
            rows_per_second: f64::from(u32::try_from(vehicles).expect("few")) * 10.0,
            lag: 3,
            p99: Some(250.0),
            outcome,
        };
        let slow = || Outcome::DidNot("seconds to drain: 12.0 over 10.0\nits log".to_owned());
        let search = |workers, vehicles| Search {
            workers,
            tries: vec![tried(vehicles, Outcome::KeptUp), tried(vehicles + 10, slow())],
            error: None,
        };
        let plan =
            "description = \"d\"\n[[steps]]\nname = \"a\"\nseconds = 1\nvehicles = 1\n[limits]\nefficiency = 0.85";
        Capacity {
            name: "c".to_owned(),
            plan: toml::from_str(plan).expect("a plan"),
            stack: "embedded".to_owned(),
            subject: "fms".to_owned(),
            machine: Machine { at: "now".to_owned(), ..Machine::here() },
            searches: vec![search(1, 100), search(2, 180), search(3, 240)],
        }
    }

    #[test]
    fn several_workers_are_compared_with_one() {
        let mut capacity = capacity();
        assert_eq!(capacity.efficiencies(), [(2, 0.9), (3, 0.8)]);
        assert!(!capacity.is_passed(), "three are not as efficient as they have to be");
        let markdown = capacity.markdown();
        for line in [
            "- 1 worker: capacity: 100 vehicles, 20.0 messages/s, 1000 rows/s; with more, seconds to drain: 12.0 over 10.0\n",
            "with more, seconds to drain: 12.0 over 10.0; efficiency 0.80 (at least 0.85)\n",
            "| 2 | 180 | 20.0 | 1800 | 3 | 250 | keeps up |\n",
            "| 3 | 250 | 20.0 | 2500 | 3 | 250 | seconds to drain: 12.0 over 10.0 |\n",
        ] {
            assert!(markdown.contains(line), "{line}: {markdown}");
        }
        capacity.searches.pop();
        assert!(capacity.is_passed());
        capacity.searches.remove(0);
        assert!(!capacity.is_passed(), "nobody knows what one worker stores");
        let read: Capacity = serde_json::from_str(&capacity.to_json().expect("JSON")).expect("read");
        assert_eq!(read.page(), capacity.page());
        assert!(
            read.page().matches("<polyline").count() == 3 && read.text().ends_with("over 10.0\n"),
            "{}",
            read.text()
        );
    }
}
