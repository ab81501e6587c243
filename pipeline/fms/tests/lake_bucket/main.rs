//! The commands of `fms lake` as processes, with the S3, SQS and Glue of the embedded stack.

mod harness;
mod killed;
mod poll;
