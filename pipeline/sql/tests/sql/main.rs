//! `fms-sql` and what it does with a lake: queries, the mart, checks of both, and the alerts that follow. One program
//! holds all of these tests, because linking the query engine takes longer than most of them.

mod alerts;
mod backend;
mod cases;
mod common;
mod crash;
mod mart;
mod publish;
mod quality;
mod query;
#[path = "../../../fms/tests/monitoring/request.rs"]
mod request;
