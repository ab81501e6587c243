//! `fms mart publish`: tables of the mart on real servers of `PostgreSQL` and `MariaDB`, and in `DynamoDB` in memory.

mod dynamodb;
mod proxy;
mod server;
mod sql;
mod world;
