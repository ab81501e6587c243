//! Pages of a listing: `MaxResults` and `NextToken`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Refusal, constraint, invalid};

/// Which page of a listing is asked for.
pub(super) struct Page {
    /// The largest number of entries.
    limit: usize,
    /// The key of the last entry of the page before.
    after: Option<Vec<String>>,
}

impl Page {
    /// Reads `NextToken` and `MaxResults`, of which the largest value is also the default.
    pub(super) fn new(token: Option<&String>, max_results: Option<i64>, largest: usize) -> Result<Self, Refusal> {
        let limit = match max_results {
            None => largest,
            Some(asked) => usize::try_from(asked)
                .ok()
                .filter(|asked| (1..=largest).contains(asked))
                .ok_or_else(|| constraint(format!("MaxResults is {asked}; it is 1 to {largest}")))?,
        };
        let decode = |token: &String| {
            let key = BASE64_STANDARD.decode(token).ok().and_then(|key| serde_json::from_slice(&key).ok());
            key.ok_or_else(|| invalid(format!("NextToken {token} is not one that this service has given")))
        };
        Ok(Self { limit, after: token.map(decode).transpose()? })
    }

    /// The entries of the page, and the token of the next one. The entries have to come sorted by their keys.
    pub(super) fn of(&self, entries: impl Iterator<Item = (Vec<String>, Value)>) -> (Vec<Value>, Option<String>) {
        let mut rest = entries.filter(|(key, _)| self.after.as_ref().is_none_or(|after| key > after)).peekable();
        let mut found = Vec::new();
        let mut last = None;
        while found.len() < self.limit
            && let Some((key, value)) = rest.next()
        {
            found.push(value);
            last = Some(key);
        }
        let token = rest.peek().and(last).map(|key| BASE64_STANDARD.encode(Value::from(key).to_string()));
        (found, token)
    }
}

/// An answer with one page of entries under `member`.
pub(super) fn answer(member: &str, (entries, token): (Vec<Value>, Option<String>)) -> Value {
    let mut answer = serde_json::Map::from_iter([(member.to_owned(), Value::from(entries))]);
    if let Some(token) = token {
        answer.insert("NextToken".to_owned(), token.into());
    }
    Value::Object(answer)
}
