//! The program and its tables: on a lake in a folder, on one in S3 with its tables in Glue, and beside another engine.

mod bucket;
mod folder;
mod harness;
mod portable;
