//! A lake of simulated messages, without Kafka and S3: rows as the sink writes them, converted as ever.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use fms_lake::{Folder, Object, Settings, TimeZone, convert_object};
use fms_record::Parser;
use fms_simulator::{Expectation, Fault, Message};

/// How many bytes of rows two raw objects have about.
const OBJECT: usize = 256 << 20;

/// What sends values of another type.
const ODD: [Fault; 3] = [Fault::FirmwareUpdate, Fault::NumberAsText, Fault::TextAsNumber];

/// Makes a lake in a folder, of all messages in the order in which they leave.
///
/// # Errors
///
/// The messages cannot be made again, or the lake cannot be written.
pub(super) fn make(expectation: &Expectation, zone: &TimeZone, root: &Path) -> anyhow::Result<()> {
    let settings = Settings { zone: zone.clone(), ..Settings::default() };
    let mut lake = Folder::new(root);
    let mut raw = Raw::default();
    let mut number = 0;
    let mut store = |raw: &mut Raw| -> anyhow::Result<()> {
        for rows in raw.take() {
            number += 1;
            let object = Object { bucket: "raw".into(), key: format!("simulated/{number:06}.json"), version_id: None };
            let converted = convert_object(&settings, &object, || Ok(rows.as_slice()), &mut lake);
            converted.with_context(|| format!("cannot convert the simulated rows in {}", root.display()))?;
        }
        Ok(())
    };
    for made in &expectation.made {
        let mut stored = Ok(());
        let each = |message: &Message| {
            if stored.is_ok() {
                stored = raw.add(message);
            }
            if stored.is_ok() && raw.len() >= OBJECT {
                stored = store(&mut raw);
            }
        };
        made.each_message(each).map_err(|problem| anyhow!(problem))?;
        stored?;
    }
    store(&mut raw)
}

/// The rows of two raw objects. Those with values of another type come second, so that they do not decide the types of a
/// new table, which was there long before in the field.
#[derive(Default)]
struct Raw {
    rows: Vec<u8>,
    odd: Vec<u8>,
}

impl Raw {
    fn len(&self) -> usize {
        self.rows.len() + self.odd.len()
    }

    fn add(&mut self, message: &Message) -> anyhow::Result<()> {
        let Some(value) = message.value.as_deref().filter(|_| !message.rows.is_empty()) else { return Ok(()) };
        let is_odd = message.faults.iter().any(|(fault, _)| ODD.contains(fault));
        let out = if is_odd { &mut self.odd } else { &mut self.rows };
        let list = message.protocol.has_list().then(|| "measurements".to_owned());
        let mut parser = Parser::new(list);
        let parsed = parser.parse(value).with_context(|| format!("the message {}", message.message_id))?;
        // An element that is no row is a dead letter.
        for row in parsed.rows().filter_map(Result::ok) {
            row.write_json(out);
            out.push(b'\n');
        }
        Ok(())
    }

    /// The rows, which are taken away.
    fn take(&mut self) -> [Vec<u8>; 2] {
        [std::mem::take(&mut self.rows), std::mem::take(&mut self.odd)]
    }
}
