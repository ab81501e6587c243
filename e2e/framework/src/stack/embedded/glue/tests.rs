#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// Calls an operation, and returns its answer or the name of its error.
fn call(catalog: &Catalog, operation: &str, input: &Value) -> Result<Value, &'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let called = catalog.call(Call::new(operation, input));
    runtime.block_on(called).map_err(|refusal| refusal.kind)
}

fn of_table(mut input: Value) -> Value {
    input["DatabaseName"] = json!("Lake");
    input["TableName"] = json!("ROWS");
    input
}

fn table_input() -> Value {
    json!({
        "Name": "Rows",
        "StorageDescriptor": {"Columns": [{"Name": "speed", "Type": "double"}], "Location": "s3://lake/rows"},
        "PartitionKeys": [{"Name": "ymd", "Type": "string"}, {"Name": "hour", "Type": "int"}],
    })
}

fn with_table() -> Catalog {
    let catalog = Catalog::default();
    catalog.create_database("Lake");
    call(&catalog, "CreateTable", &json!({"DatabaseName": "lake", "TableInput": table_input()})).unwrap();
    catalog
}

fn partition(ymd: &str, hour: &str) -> Value {
    json!({"Values": [ymd, hour], "StorageDescriptor": {"Columns": [{"Name": "speed", "Type": "double"}]}})
}

/// The values of the partitions in an answer.
fn values(answer: &Value) -> Vec<String> {
    let partitions = answer["Partitions"].as_array().unwrap();
    partitions.iter().map(|partition| partition["Values"].to_string()).collect()
}

#[test]
fn a_table_is_given_back_as_it_was_given_with_what_glue_adds() {
    let catalog = with_table();
    let found = call(&catalog, "GetTable", &json!({"DatabaseName": "LAKE", "Name": "ROWS"})).unwrap();
    let table = &found["Table"];
    assert_eq!(table["StorageDescriptor"], table_input()["StorageDescriptor"]);
    assert_eq!((&table["Name"], &table["DatabaseName"]), (&json!("rows"), &json!("lake")));
    assert_eq!((&table["VersionId"], &table["CatalogId"]), (&json!("0"), &json!(ACCOUNT)));
    assert!(table["CreateTime"].is_number() && table["UpdateTime"].is_number());
    let again = json!({"DatabaseName": "lake", "TableInput": {"Name": "ROWS"}});
    assert_eq!(call(&catalog, "CreateTable", &again), Err("AlreadyExistsException"));
    assert_eq!(
        call(&catalog, "GetTable", &json!({"DatabaseName": "lake", "Name": "x"})),
        Err("EntityNotFoundException")
    );
    assert_eq!(call(&catalog, "GetTable", &json!({"DatabaseName": "lake"})), Err("ValidationException"));
    assert_eq!(call(&catalog, "GetDragon", &json!({})), Err("ValidationException"));
}

#[test]
fn an_update_is_bound_to_the_version_that_it_replaces() {
    let catalog = with_table();
    let update = |version: &str, skip: bool| {
        let input = json!({
            "DatabaseName": "lake", "TableInput": table_input(), "VersionId": version, "SkipArchive": skip,
        });
        call(&catalog, "UpdateTable", &input)
    };
    update("0", false).unwrap();
    assert_eq!(update("0", false), Err("ConcurrentModificationException"));
    update("1", true).unwrap();
    let versions = call(&catalog, "GetTableVersions", &of_table(json!({"MaxResults": 1}))).unwrap();
    assert_eq!(versions["TableVersions"][0]["VersionId"], "2", "the newest is first");
    let rest = of_table(json!({"NextToken": versions["NextToken"]}));
    let rest = call(&catalog, "GetTableVersions", &rest).unwrap();
    let ids: Vec<_> = rest["TableVersions"].as_array().unwrap().iter().map(|v| v["VersionId"].clone()).collect();
    assert_eq!(ids, ["0"], "version 1 was replaced without being archived");
}

#[test]
fn what_a_table_must_not_be_is_refused() {
    let catalog = with_table();
    let columns = |columns: Value| json!({"Name": "t", "PartitionKeys": [{"Name": "ymd"}], "StorageDescriptor": {"Columns": columns}});
    for (table, kind) in [
        (columns(json!([{"Name": "a"}, {"Name": "A"}])), "InvalidInputException"),
        (columns(json!([{"Name": "YMD"}])), "InvalidInputException"),
        (columns(json!([{"Name": "a", "Type": "struct<"}])), "InvalidInputException"),
        (json!({"Name": "t", "Description": "x".repeat(400 * 1024)}), "InvalidInputException"),
        (json!({"Name": "t", "VersionId": "0"}), "ValidationException"),
        (json!({"Name": ""}), "ValidationException"),
    ] {
        let input = json!({"DatabaseName": "lake", "TableInput": table});
        assert_eq!(call(&catalog, "CreateTable", &input), Err(kind));
    }
    let elsewhere = json!({"DatabaseName": "sea", "TableInput": {"Name": "t"}});
    assert_eq!(call(&catalog, "CreateTable", &elsewhere), Err("EntityNotFoundException"));
}

#[test]
fn a_batch_creates_what_is_new_and_names_the_rest() {
    let catalog = with_table();
    let create = |list: Value| call(&catalog, "BatchCreatePartition", &of_table(json!({"PartitionInputList": list})));
    assert_eq!(create(json!([partition("2023-01-01", "7")])), Ok(json!({"Errors": []})));
    let errors = create(json!([partition("2023-01-01", "7"), partition("2023-01-02", "7"), {"Values": ["x"]}]));
    let errors = errors.unwrap();
    assert_eq!(errors["Errors"][0]["PartitionValues"], json!(["2023-01-01", "7"]));
    assert_eq!(errors["Errors"][0]["ErrorDetail"]["ErrorCode"], "AlreadyExistsException");
    assert_eq!(errors["Errors"][1]["ErrorDetail"]["ErrorCode"], "InvalidInputException");
    assert_eq!(create(vec![partition("a", "1"); 101].into()), Err("ValidationException"));
    assert_eq!(
        call(&catalog, "CreatePartition", &of_table(json!({"PartitionInput": partition("2023-01-02", "7")}))),
        Err("AlreadyExistsException")
    );
    assert_eq!(catalog.tables("lake").unwrap()[0]["Partitions"].as_array().unwrap().len(), 2);
    assert_eq!(catalog.tables("sea"), None);
}

#[test]
fn partitions_are_listed_by_expression_page_and_segment() {
    let catalog = with_table();
    let all: Vec<Value> = (0..24).map(|hour| partition("2023-01-01", &hour.to_string())).collect();
    call(&catalog, "BatchCreatePartition", &of_table(json!({"PartitionInputList": all}))).unwrap();
    let list = |input: Value| call(&catalog, "GetPartitions", &of_table(input));
    let late = list(json!({"Expression": "hour >= 22", "ExcludeColumnSchema": true})).unwrap();
    assert_eq!(values(&late), [r#"["2023-01-01","22"]"#, r#"["2023-01-01","23"]"#]);
    assert_eq!(late["Partitions"][0]["StorageDescriptor"], json!({}));
    assert_eq!(list(json!({"Expression": "nothing = 1"})), Err("InvalidInputException"));
    assert_eq!(list(json!({"MaxResults": 1001})), Err("ValidationException"));
    assert_eq!(list(json!({"Dragon": 1})), Err("ValidationException"));

    let mut found = Vec::new();
    let mut token = Value::Null;
    loop {
        let page = list(json!({"MaxResults": 7, "NextToken": token})).unwrap();
        found.extend(values(&page));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(found, values(&list(json!({})).unwrap()));
    assert_eq!(found.len(), 24);
    let segment = |n: u32| values(&list(json!({"Segment": {"SegmentNumber": n, "TotalSegments": 3}})).unwrap());
    let mut segments = [segment(0), segment(1), segment(2)].concat();
    segments.sort();
    found.sort();
    assert_eq!(segments, found);
}

#[test]
fn partitions_are_replaced_read_and_deleted() {
    let catalog = with_table();
    let list = json!([partition("a", "1"), partition("b", "2")]);
    call(&catalog, "BatchCreatePartition", &of_table(json!({"PartitionInputList": list}))).unwrap();
    let moved = json!({"PartitionValueList": ["a", "1"], "PartitionInput": {"Values": ["c", "3"]}});
    call(&catalog, "UpdatePartition", &of_table(moved.clone())).unwrap();
    assert_eq!(call(&catalog, "UpdatePartition", &of_table(moved)), Err("EntityNotFoundException"));
    let taken = json!({"PartitionValueList": ["c", "3"], "PartitionInput": partition("b", "2")});
    let same = json!({"PartitionValueList": ["b", "2"], "PartitionInput": {"Values": ["b", "2"], "Parameters": {}}});
    let errors = call(&catalog, "BatchUpdatePartition", &of_table(json!({"Entries": [taken, same]}))).unwrap();
    assert_eq!(errors["Errors"].as_array().unwrap().len(), 1);
    assert_eq!(errors["Errors"][0]["ErrorDetail"]["ErrorCode"], "AlreadyExistsException");

    let named = json!([{"Values": ["b", "2"]}, {"Values": ["x", "1"]}, {"Values": ["c", "3"]}]);
    let got = call(&catalog, "BatchGetPartition", &of_table(json!({"PartitionsToGet": named}))).unwrap();
    assert_eq!(values(&got), [r#"["b","2"]"#, r#"["c","3"]"#]);
    assert_eq!(got["Partitions"][0]["Parameters"], json!({}));
    let one = of_table(json!({"PartitionValues": ["c", "3"]}));
    assert_eq!(call(&catalog, "GetPartition", &one).unwrap()["Partition"]["TableName"], "rows");
    call(&catalog, "DeletePartition", &one).unwrap();
    assert_eq!(call(&catalog, "GetPartition", &one), Err("EntityNotFoundException"));
    let errors = call(&catalog, "BatchDeletePartition", &of_table(json!({"PartitionsToDelete": named}))).unwrap();
    assert_eq!(errors["Errors"].as_array().unwrap().len(), 2);
    let many = vec![json!({"Values": ["b", "2"]}); 26];
    let many = of_table(json!({"PartitionsToDelete": many}));
    assert_eq!(call(&catalog, "BatchDeletePartition", &many), Err("ValidationException"));
}

#[test]
fn tables_are_listed_by_pattern_and_databases_by_page() {
    let catalog = with_table();
    for name in ["up_a", "UP_b"] {
        call(&catalog, "CreateTable", &json!({"DatabaseName": "lake", "TableInput": {"Name": name}})).unwrap();
    }
    let list = call(&catalog, "GetTables", &json!({"DatabaseName": "lake", "Expression": "up.*"})).unwrap();
    let names: Vec<_> = list["TableList"].as_array().unwrap().iter().map(|table| table["Name"].clone()).collect();
    assert_eq!(names, ["up_a", "up_b"]);
    let bad = json!({"DatabaseName": "lake", "Expression": "("});
    assert_eq!(call(&catalog, "GetTables", &bad), Err("InvalidInputException"));
    call(&catalog, "DeleteTable", &json!({"DatabaseName": "lake", "Name": "up_a"})).unwrap();

    let sea = json!({"DatabaseInput": {"Name": "Sea", "Description": "deep"}});
    call(&catalog, "CreateDatabase", &sea).unwrap();
    assert_eq!(call(&catalog, "CreateDatabase", &sea), Err("AlreadyExistsException"));
    assert_eq!(call(&catalog, "GetDatabase", &json!({"Name": "SEA"})).unwrap()["Database"]["Description"], "deep");
    let page = call(&catalog, "GetDatabases", &json!({"MaxResults": 1})).unwrap();
    assert_eq!(page["DatabaseList"][0]["Name"], "lake");
    let next = call(&catalog, "GetDatabases", &json!({"NextToken": page["NextToken"]})).unwrap();
    assert_eq!((&next["DatabaseList"][0]["Name"], &next["NextToken"]), (&json!("sea"), &Value::Null));
    call(&catalog, "DeleteDatabase", &json!({"Name": "lake"})).unwrap();
    assert_eq!(
        call(&catalog, "GetTables", &json!({"DatabaseName": "lake"})),
        Err("EntityNotFoundException"),
        "its tables are gone with it"
    );
}
