//! The conversion of a message's bytes to rows, which `value.converter.schemas.enable` and the keys that begin with
//! `converter.` configure.

use fms_record::format::{Required, WithoutList};
use fms_record::{Format, Message, MessageError, Parser, Row, RowError, Source, Template};

use crate::sink::LazyOrigin;
use crate::transforms::{Chain, TransformError, Transformed};
use crate::{Config, ConfigError};

/// The conversion that a connector, or a replayed flush, is configured with.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    parser: Parser,
    chain: Option<Chain>,
    updates: Vec<(String, Template)>,
}

/// The step at which a row failed.
#[derive(Debug)]
pub(crate) enum RowFailure {
    /// The element of the list is not a row.
    Element(RowError),
    /// A field of `converter.update.fields.template` cannot be filled in.
    Update { field: String, error: RowError },
}

impl Converter {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        const UPDATES: &str = "converter.update.fields.template";
        let updates = config
            .list(UPDATES)
            .into_iter()
            .map(|update| {
                let (field, template) = update
                    .split_once('=')
                    .ok_or_else(|| config.error(UPDATES, format!("`{update}` is not of the form field=template")))?;
                let template = Template::parse(template.trim())
                    .map_err(|e| config.error(UPDATES, format!("the template of `{}`: {e}", field.trim())))?;
                Ok((field.trim().to_owned(), template))
            })
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self { parser: Parser::of(format(config)?), chain: Chain::of(config)?, updates })
    }

    /// The record after the connector's transforms, of which `origin` is made only if there are any.
    pub fn transform<'r>(
        &self,
        origin: &'r LazyOrigin<'_>,
        value: Option<&'r [u8]>,
    ) -> Result<Transformed<'r>, TransformError> {
        match &self.chain {
            None => Ok(Transformed::unchanged(value)),
            Some(chain) => chain.apply(origin.get(), value),
        }
    }

    /// The message of the record that `source` describes.
    pub fn parse<'m>(&mut self, payload: &'m [u8], source: &'m dyn Source) -> Result<Message<'m>, MessageError> {
        let mut message = self.parser.parse(payload)?;
        message.set_source(source);
        Ok(message)
    }

    /// The rows of the message with the fields of the templates set. Rows with which that is not possible are given to
    /// `failed` with their index.
    pub fn rows<'m>(&self, message: &'m Message<'m>, mut failed: impl FnMut(usize, RowFailure)) -> Vec<Row<'m>> {
        message
            .rows()
            .filter_map(|row| match row {
                Ok(row) => self.update(row).map_err(|(index, failure)| failed(index, failure)).ok(),
                Err((index, error)) => {
                    failed(index, RowFailure::Element(error));
                    None
                }
            })
            .collect()
    }

    fn update<'m>(&self, mut row: Row<'m>) -> Result<Row<'m>, (usize, RowFailure)> {
        for (field, template) in &self.updates {
            let text = template
                .render(&row)
                .map_err(|error| (row.index(), RowFailure::Update { field: field.clone(), error }))?;
            row.set(field, serde_json::Value::String(text).to_string());
        }
        Ok(row)
    }
}

fn format(config: &Config) -> Result<Format, ConfigError> {
    const LIST: &str = "converter.split.list.key";
    const OPTIONAL: &str = "converter.split.list.optional";
    const REQUIRED: &str = "converter.required.fields";
    const EXTRACT: &str = "converter.extract.field";

    let list = config.get(LIST).map(Format::list).transpose().map_err(|problem| config.error(LIST, problem))?;
    let mut format = Format::new(list);
    format.schemas = config.get("value.converter.schemas.enable") == Some("true");
    format.extract = config.get(EXTRACT).map(ToOwned::to_owned);
    if format.extract.as_deref() == Some("") {
        return Err(config.error(EXTRACT, "is empty: name the field, or leave the key out"));
    }
    let without_list = WithoutList::parse(config.text(OPTIONAL)).map_err(|problem| config.error(OPTIONAL, problem))?;
    if format.list.is_none() && without_list != format.without_list {
        return Err(config.error(OPTIONAL, "has no effect without converter.split.list.key: remove it"));
    }
    format.without_list = without_list;
    if config.get(REQUIRED).is_some() {
        format.required = config.list(REQUIRED).into_iter().map(Required::parse).collect();
    }
    Ok(format)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::common::COMMON;
    use crate::sink::{LazyOrigin, Origin, TopicPartition};

    fn converter(pairs: &[(&str, &str)]) -> Result<Converter, ConfigError> {
        let base = [("name", "raw"), ("connector.class", "S3Sink"), ("topics", "t")];
        let values = base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Converter::new(&Config::new("raw", &[COMMON], values.collect()).unwrap())
    }

    /// The rows, then the errors, a line each.
    fn convert(pairs: &[(&str, &str)], payload: &str) -> String {
        let mut converter = converter(pairs).unwrap();
        let origin = || Origin {
            partition: TopicPartition { topic: "fleet".into(), partition: 3 },
            offset: 42,
            timestamp: Some(7),
            key: Some(b"\x00k".to_vec()),
            headers: vec![("v".into(), Some(b"1".to_vec())), ("v".into(), Some(b"2".to_vec()))],
        };
        let origin = LazyOrigin::new(&origin);
        let message = match converter.parse(payload.as_bytes(), &origin) {
            Ok(message) => message,
            Err(error) => return error.to_string(),
        };
        let mut errors = Vec::new();
        let rows = converter.rows(&message, |index, failure| errors.push(format!("{index}: {failure:?}")));
        rows.iter().map(|row| format!("{row:?}")).chain(errors).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn without_settings_a_list_needs_what_this_fleet_sends() {
        let list = [("converter.split.list.key", "list")];
        let explicit = [
            list[0],
            ("converter.required.fields", "object:string, type:string, id"),
            ("converter.split.list.optional", "command=command|response"),
        ];
        for payload in [
            r#"{"object":"o","type":"t","id":1,"list":[{"a":1}]}"#,
            r#"{"object":"o","type":"t","id":1,"command":"response"}"#,
            r#"{"object":"o","type":"t","id":1,"command":"report"}"#,
            r#"{"object":"o","type":1,"id":1,"list":[]}"#,
            r#"{"object":"o","type":"t","list":[]}"#,
        ] {
            assert_eq!(convert(&list, payload), convert(&explicit, payload), "{payload}");
        }
        let none = [list[0], ("converter.required.fields", "")];
        assert_eq!(convert(&none, r#"{"list":[{"a":1}]}"#), r#"row 0: {"a":1}"#);
        assert_eq!(convert(&[], "{}"), "row 0: {}");
        assert_snapshot!(convert(&[("converter.required.fields", "id")], "{}"), @"the envelope has no field `id`; expected a number, or a string that is not empty");
    }

    /// Whatever rows depend on is in a flush's intent; one of before a key was known means that key's default.
    #[test]
    fn a_replay_converts_as_its_flush_did() {
        let keys =
            COMMON.iter().filter(|key| key.name.starts_with("converter.") || key.name.contains("value.converter."));
        assert!(keys.clone().count() == 6 && keys.clone().all(|key| key.in_intent), "{keys:?}");
        let config = |pairs: &[(&str, &str)]| {
            let base = [("name", "raw"), ("connector.class", "S3Sink"), ("topics", "t")];
            let values = base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Config::new("raw", &[COMMON], values.collect()).unwrap()
        };
        let today = config(&[
            ("converter.split.list.key", "list"),
            ("converter.split.list.optional", "all"),
            ("converter.required.fields", ""),
            ("value.converter.schemas.enable", "true"),
        ]);
        let then = [("converter.split.list.key".to_owned(), "measurements".to_owned())].into();
        let format = format(&today.with(&then).unwrap()).unwrap();
        assert_eq!(format!("{format:?}"), format!("{:?}", Format::new(Some("measurements".into()))));
    }

    #[test]
    fn fields_can_be_set_from_the_record() {
        let set = |template| [("converter.update.fields.template", template)];
        assert_eq!(
            convert(&set("at=${@topic}-${@partition}-${@offset}@${@timestamp},v=${@header.v}"), r#"{"v":0}"#),
            r#"row 0: {"v":"2","at":"fleet-3-42@7"}"#
        );
        assert_snapshot!(convert(&set("k=${@header.w|@topic}"), "{}"), @r#"row 0: {"k":"fleet"}"#);
    }

    #[test]
    fn what_cannot_be_is_refused_at_start() {
        let problem = |pairs: &[(&str, &str)]| converter(pairs).unwrap_err().to_string();
        let list = ("converter.split.list.key", "list");
        assert_snapshot!(problem(&[("converter.split.list.key", "a.b[].c")]), @"connector `raw`: `converter.split.list.key` = `a.b[].c`: lists within lists are not unrolled: one list gives the rows, and what lists its elements have stay in the rows as they are; name the outer one, `a.b`");
        assert_snapshot!(problem(&[("converter.split.list.optional", "all")]), @"connector `raw`: `converter.split.list.optional` = `all`: has no effect without converter.split.list.key: remove it");
        assert_snapshot!(problem(&[list, ("converter.split.list.optional", "command")]), @"connector `raw`: `converter.split.list.optional` = `command`: is neither `all` nor of the form `field=value|value`, such as `command=command|response`");
        assert_snapshot!(problem(&[("converter.extract.field", "")]), @"connector `raw`: `converter.extract.field` = ``: is empty: name the field, or leave the key out");
        assert_snapshot!(problem(&[("converter.update.fields.template", "a=${@header}")]), @"connector `raw`: `converter.update.fields.template` = `a=${@header}`: the template of `a`: template `${@header}`, character 3: `@header` is not known; there are `@index`, `@digest`, `@key`, `@topic`, `@partition`, `@offset`, `@timestamp` and `@header.NAME`");
    }
}
