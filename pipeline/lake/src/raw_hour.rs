//! The table and the hour of a raw object, as far as its key says them: rows that are not in the lake have no partition.
//!
//! The S3 sink writes `topics/<topic>/object=vehicle/type=tire/command=report/ymd=20230101/hour=03/<file>`. Its zone need
//! not be the lake's, and late rows have other hours than the objects that they are in, so this is what the key says and
//! no more.

use crate::partition::{KEYS, Partition};

/// The folders before the day, as those of a table are written, and the hour; `None` if the key names no hour.
pub(crate) fn of(key: &str) -> Option<(String, Partition)> {
    let folders: Vec<(&str, &str)> = key.split('/').filter_map(|folder| folder.split_once('=')).collect();
    let day = folders.iter().position(|(name, _)| *name == KEYS[0])?;
    let &(name, hour) = folders.get(day + 1)?;
    let ymd = day_of(folders[day].1)?;
    let partition = (name == KEYS[1]).then(|| Partition::of_values(&[ymd.as_str(), hour]))??;
    let table: Vec<String> = folders[..day].iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some((table.join("/"), partition))
}

/// `20230101` and `2023-01-01` as `2023-01-01`.
fn day_of(text: &str) -> Option<String> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]));
    }
    (text.len() == 10).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_sink_names_the_table_and_the_hour() {
        let told = |key| of(key).map(|(table, hour)| format!("{table} {hour}"));
        let key = "topics/fms.vehicle.real/object=vehicle/type=tire/command=report/ymd=20230101/hour=03/a+0+1.json.gz";
        let expected = "object=vehicle/type=tire/command=report ymd=2023-01-01/hour=03";
        assert_eq!(told(key).as_deref(), Some(expected));
        assert_eq!(told("t/ymd=2023-01-01/hour=23/a.json").as_deref(), Some(" ymd=2023-01-01/hour=23"));
        for other in ["topics/a.json", "t/ymd=20230101/a.json", "t/ymd=20230101/hour=24/a", "t/ymd=2023/hour=03/a"] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
