//! End-to-end tests of pipelines that speak Kafka and AWS: a fixture is a folder, its result a snapshot beside it.

pub mod calls;
pub mod proxy;
pub mod stack;
