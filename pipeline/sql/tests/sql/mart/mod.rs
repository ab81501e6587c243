//! `fms-sql mart`: the models of `deploy/mart` on their examples, and marts of lakes in a folder and in S3 and Glue.

mod bucket;
mod engine;
mod examples;
mod folder;
pub mod harness;
mod killed;
mod lineage;
mod path;
mod simulated;
