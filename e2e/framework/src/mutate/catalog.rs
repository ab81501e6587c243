//! Changes of what a pipeline writes into the Glue catalog: partitions and columns that are lost, and types and
//! locations that are wrong.

use serde_json::{Value, json};

use super::Instead;
use super::sent::Sent;

/// The last partition of a request is never created.
pub(super) fn lose_partition(sent: &Sent) -> Option<Instead> {
    let mut body = sent.json()?;
    let partitions = body.get_mut("PartitionInputList")?.as_array_mut()?;
    partitions.pop()?;
    if partitions.is_empty() {
        return Some(Instead::Unsent(json!({"Errors": []}).to_string()));
    }
    Some(Instead::request(sent.with_json(&body)))
}

/// Partitions keep the columns that they have.
pub(super) fn keep_old_columns(sent: &Sent) -> Option<Instead> {
    let body = sent.json()?;
    body.get("Entries").and_then(Value::as_array).filter(|entries| !entries.is_empty())?;
    Some(Instead::Unsent(json!({"Errors": []}).to_string()))
}

/// A partition leads to another place.
pub(super) fn move_partition(sent: &Sent) -> Option<Instead> {
    let mut body = sent.json()?;
    let storage = body.get_mut("PartitionInputList")?.get_mut(0)?.get_mut("StorageDescriptor")?;
    elsewhere(storage)?;
    Some(Instead::request(sent.with_json(&body)))
}

/// A table leads to another place.
pub(super) fn move_table(sent: &Sent) -> Option<Instead> {
    in_table(sent, elsewhere)
}

/// A column of a table has another type.
pub(super) fn change_type(sent: &Sent) -> Option<Instead> {
    in_table(sent, |storage| {
        let columns = storage.get_mut("Columns")?.as_array_mut()?;
        let column = columns.iter_mut().find(|column| column["Type"] == "bigint")?;
        column["Type"] = "double".into();
        Some(())
    })
}

/// A table lacks its last column.
pub(super) fn lose_column(sent: &Sent) -> Option<Instead> {
    in_table(sent, |storage| {
        let columns = storage.get_mut("Columns")?.as_array_mut()?;
        (columns.len() > 1).then(|| columns.pop())?.map(drop)
    })
}

/// Changes where and how a table is stored.
fn in_table(sent: &Sent, change: fn(&mut Value) -> Option<()>) -> Option<Instead> {
    let mut body = sent.json()?;
    change(body.get_mut("TableInput")?.get_mut("StorageDescriptor")?)?;
    Some(Instead::request(sent.with_json(&body)))
}

fn elsewhere(storage: &mut Value) -> Option<()> {
    let location = storage.get_mut("Location")?;
    *location = format!("{}/elsewhere/", location.as_str()?.trim_end_matches('/')).into();
    Some(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sent::tests::json as sent;
    use super::*;

    fn changed(change: fn(&Sent) -> Option<Instead>, body: &Value) -> Option<Value> {
        match change(&sent("AWSGlue.Any", body))? {
            Instead::Requests(requests) => requests.last().unwrap().json(),
            Instead::Unsent(answer) => serde_json::from_str(&answer).ok(),
            _ => None,
        }
    }

    #[test]
    fn partitions_are_lost_moved_and_not_brought_up_to_date() {
        let partition = |hour: &str, at: &str| json!({"Values": [hour], "StorageDescriptor": {"Location": at}});
        let list = |partitions: &[Value]| json!({"TableName": "t", "PartitionInputList": partitions});
        let (one, two) = (partition("01", "s3://l/1/"), partition("02", "s3://l/2/"));
        let both = list(&[one.clone(), two.clone()]);
        assert_eq!(changed(lose_partition, &both), Some(list(std::slice::from_ref(&one))));
        assert_eq!(changed(lose_partition, &list(&[one])), Some(json!({"Errors": []})));
        assert_eq!(changed(lose_partition, &list(&[])), None);
        assert_eq!(changed(move_partition, &both), Some(list(&[partition("01", "s3://l/1/elsewhere/"), two])));
        assert_eq!(changed(keep_old_columns, &json!({"Entries": [{}]})), Some(json!({"Errors": []})));
        assert_eq!(changed(keep_old_columns, &both), None);
    }

    #[test]
    fn tables_are_moved_and_their_columns_changed_or_lost() {
        let table = |columns: &[(&str, &str)], at: &str| {
            let columns: Vec<Value> = columns.iter().map(|(name, kind)| json!({"Name": name, "Type": kind})).collect();
            json!({"DatabaseName": "d", "TableInput": {"Name": "t", "StorageDescriptor": {"Columns": columns, "Location": at}}})
        };
        let before = table(&[("a", "string"), ("b", "bigint")], "s3://l/");
        assert_eq!(changed(move_table, &before), Some(table(&[("a", "string"), ("b", "bigint")], "s3://l/elsewhere/")));
        assert_eq!(changed(change_type, &before), Some(table(&[("a", "string"), ("b", "double")], "s3://l/")));
        let one = table(&[("a", "string")], "s3://l/");
        assert_eq!(changed(lose_column, &before), Some(one.clone()));
        assert_eq!(changed(lose_column, &one), None);
        assert_eq!(changed(change_type, &one), None);
    }
}
