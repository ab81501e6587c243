//! Checks of the tables of a lake and of its mart: is what is there possible, complete and consistent?
//!
//! - `check`: the file of a table's checks, `kind` what a check can be about, and `limit` when it warns or fails;
//! - `column`: a column's path, such as `doors.fl` or `dtcs[].code`, as SQL;
//! - `condition`: which rows of a table a check counts as bad;
//! - `statement`: the queries that all checks of a table take together: one scan for all that look at single rows, one
//!   for all that compare a row with the one before it, and one for each of the others;
//! - `volume`: the queries that compare how many rows there are with the weeks before;
//! - `items`: the keys of rows beside those of items in `DynamoDB`;
//! - `run`: the queries are run, and `verdict` says what follows;
//! - `mask`: what nobody may see of bad rows;
//! - `report`: verdicts as text, JSON, `JUnit` and Prometheus metrics;
//! - `history`: the verdicts of all runs as a table, and `version` what each is about;
//! - `import`, `profile`: suites made of the rules of other tools, and of what data looks like, as `written` has them;
//! - `judge`: what the checks find of the faults of a simulated fleet;
//! - `command`: the command line.

mod check;
mod column;
mod command;
mod condition;
mod history;
mod import;
mod items;
mod judge;
mod kind;
mod limit;
mod mask;
mod profile;
mod report;
mod run;
mod statement;
mod verdict;
mod version;
mod volume;
mod written;

pub use check::{Check, Severity, Suite};
pub use command::main_with;
pub use kind::Kind;
pub use run::Days;
pub use verdict::{Outcome, Verdict};
