//! x
use crate::Config;
/// x
pub struct ConnectorSpec {
    /// x
    pub name: String,
    /// x
    pub config: Config,
    /// x
    pub topics: Subscription,
}
/// x
#[derive(Clone)]
pub enum Subscription {
    /// x
    Topics(Vec<String>),
    /// x
    Regex(String),
}
