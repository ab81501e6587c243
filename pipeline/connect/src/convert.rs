//! A message's bytes as rows: `converter.split.list.key` and `converter.update.fields.template`.

use fms_record::{Message, MessageError, Parser, Row, RowError, Template};

use crate::{Config, ConfigError};

/// The conversion that a connector, or a replayed flush, is configured with.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    parser: Parser,
    updates: Vec<(String, Template)>,
}

/// At which step a row failed.
#[derive(Debug)]
pub(crate) enum RowFailure {
    /// The list's element is no row.
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
        let list = config.get("converter.split.list.key").map(ToOwned::to_owned);
        Ok(Self { parser: Parser::new(list), updates })
    }

    pub fn parse<'m>(&mut self, payload: &'m [u8]) -> Result<Message<'m>, MessageError> {
        self.parser.parse(payload)
    }

    /// The message's rows with the templates' fields set; those that cannot be are given to `failed` with their index.
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
