//! The calls to DynamoDB: conditions, limits of batches, updates, queries and scans by pages, transactions, tables, odd
//! values and errors.
//!
//! The requests are written here in DynamoDB's own JSON, because the SDK refuses to build some of the requests that a
//! service has to refuse. The SDK's client sends them, and its answers are compared as they arrive. `$` in a request
//! stands for the namespace.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::Endpoints;
use crate::answers::Answers;

/// Makes all calls in order.
pub fn calls(runtime: &Runtime, at: &Endpoints) -> Answers {
    let mut table = Table::new(at);
    runtime.block_on(async {
        life_cycle(&mut table).await;
        puts_and_conditions(&mut table).await;
        updates(&mut table).await;
        values(&mut table).await;
        queries(&mut table).await;
        scans(&mut table).await;
        batches(&mut table).await;
        transactions(&mut table).await;
        ends(&mut table).await;
    });
    table.answers
}

/// Tables are created, described and created again; invalid tables are refused.
async fn life_cycle(db: &mut Table) {
    let schema = |name: &str, hash: &str, sort: Option<&str>| {
        let key = |name: &str, role: &str| json!({"AttributeName": name, "KeyType": role});
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let keys = [Some(key(hash, "HASH")), sort.map(|sort| key(sort, "RANGE"))];
        let attributes = [Some(attribute(hash)), sort.map(attribute)];
        json!({"TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": keys.into_iter().flatten().collect::<Vec<_>>(),
            "AttributeDefinitions": attributes.into_iter().flatten().collect::<Vec<_>>()})
    };
    db.call("create a table", "CreateTable", schema("$rows", "pk", Some("sk"))).await;
    db.call("create a table without a sort key", "CreateTable", schema("$plain", "id", None)).await;
    db.call("create a table that exists", "CreateTable", schema("$rows", "pk", Some("sk"))).await;
    db.call("describe a table", "DescribeTable", json!({"TableName": "$rows"})).await;
    db.call("describe a table that does not exist", "DescribeTable", json!({"TableName": "$none"})).await;
    db.call("create a table with a name of two characters", "CreateTable", schema("ab", "pk", None)).await;
    db.call("create a table with a name of other characters", "CreateTable", schema("$a b", "pk", None)).await;
    let mut odd = schema("$odd", "pk", None);
    odd["AttributeDefinitions"] = json!([{"AttributeName": "other", "AttributeType": "S"}]);
    db.call("create a table whose key is not defined", "CreateTable", odd).await;
    let mut odd = schema("$odd", "pk", None);
    odd["AttributeDefinitions"] = json!([{"AttributeName": "pk", "AttributeType": "M"}]);
    db.call("create a table whose key is a map", "CreateTable", odd).await;
    let mut odd = schema("$odd", "pk", None);
    odd["BillingMode"] = json!("PROVISIONED");
    db.call("create a provisioned table without throughput", "CreateTable", odd).await;
    let mut odd = schema("$odd", "pk", Some("pk"));
    odd["AttributeDefinitions"] = json!([{"AttributeName": "pk", "AttributeType": "S"}]);
    db.call("create a table with one attribute as both keys", "CreateTable", odd).await;
    db.call("list tables", "ListTables", json!({})).await;
    db.call("list no tables", "ListTables", json!({"Limit": 0})).await;
    let ttl = json!({"TableName": "$plain", "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "until"}});
    db.call("enable time to live", "UpdateTimeToLive", ttl).await;
    db.call("describe time to live", "DescribeTimeToLive", json!({"TableName": "$plain"})).await;
    db.call("an operation that does not exist", "MakeCoffee", json!({"TableName": "$rows"})).await;
}

/// Puts and deletes, each with a condition, and what they return.
async fn puts_and_conditions(db: &mut Table) {
    let put = |item: Value, more: Value| merged(json!({"TableName": "$rows", "Item": item}), more);
    let item = |n: &str| json!({"pk": {"S": "a"}, "sk": {"S": "1"}, "n": {"N": n}});
    let key = json!({"pk": {"S": "a"}, "sk": {"S": "1"}});
    let when = |condition: &str| json!({"ConditionExpression": condition});
    db.call("get an item that does not exist", "GetItem", json!({"TableName": "$rows", "Key": key})).await;
    db.call("put an item", "PutItem", put(item("1"), when("attribute_not_exists(pk)"))).await;
    db.call("put an item that may not exist and does", "PutItem", put(item("2"), when("attribute_not_exists(pk)")))
        .await;
    let old =
        json!({"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
    db.call("put, refused, with the item there is", "PutItem", put(item("2"), old)).await;
    db.call("put over an item", "PutItem", put(item("2"), json!({"ReturnValues": "ALL_OLD"}))).await;
    db.call("put, returning what it cannot", "PutItem", put(item("2"), json!({"ReturnValues": "ALL_NEW"}))).await;
    db.call("put with its capacity", "PutItem", put(item("2"), json!({"ReturnConsumedCapacity": "TOTAL"}))).await;
    let values = |condition: &str, name: &str, value: Value| {
        let values = json!({name: value});
        json!({"ConditionExpression": condition, "ExpressionAttributeValues": values})
    };
    for (call, condition, value) in [
        ("less than", "n < :v", json!({"N": "3"})),
        ("not less than", "n < :v", json!({"N": "2"})),
        ("equal to a number written otherwise", "n = :v", json!({"N": "2.00"})),
        ("equal to a text", "n = :v", json!({"S": "2"})),
        ("between", "n BETWEEN :v AND :v", json!({"N": "2"})),
        ("in a list", "n IN (:v)", json!({"N": "2"})),
        ("begins with, of a number", "begins_with(n, :v)", json!({"S": "2"})),
        ("begins with", "begins_with(pk, :v)", json!({"S": "a"})),
        ("contains", "contains(pk, :v)", json!({"S": "b"})),
        ("type", "attribute_type(n, :v)", json!({"S": "N"})),
        ("unknown type", "attribute_type(n, :v)", json!({"S": "X"})),
        ("size", "size(pk) = :v", json!({"N": "1"})),
        ("and, not", "NOT n = :v AND attribute_exists(pk)", json!({"N": "7"})),
        ("of a missing attribute", "missing = :v", json!({"N": "1"})),
        ("unequal to a missing attribute", "missing <> :v", json!({"N": "1"})),
    ] {
        db.call(&format!("condition: {call}"), "PutItem", put(item("2"), values(condition, ":v", value))).await;
    }
    db.call("condition: syntax error", "PutItem", put(item("2"), when("pk ="))).await;
    db.call("condition: empty", "PutItem", put(item("2"), when(""))).await;
    db.call("condition: reserved word", "PutItem", put(item("2"), when("attribute_exists(name)"))).await;
    db.call("condition: undefined value", "PutItem", put(item("2"), when("n = :v"))).await;
    db.call("condition: undefined name", "PutItem", put(item("2"), when("attribute_exists(#x)"))).await;
    db.call(
        "condition: unused value",
        "PutItem",
        put(item("2"), values("attribute_exists(pk)", ":v", json!({"N": "1"}))),
    )
    .await;
    db.call(
        "condition: value without a condition",
        "PutItem",
        put(item("2"), json!({"ExpressionAttributeValues": {":v": {"N": "1"}}})),
    )
    .await;
    db.call("put into a table that does not exist", "PutItem", json!({"TableName": "$none", "Item": item("1")})).await;
    db.call("put without its sort key", "PutItem", put(json!({"pk": {"S": "a"}}), json!({}))).await;
    db.call("put with a key of another type", "PutItem", put(json!({"pk": {"N": "1"}, "sk": {"S": "1"}}), json!({})))
        .await;
    db.call("put with an empty key", "PutItem", put(json!({"pk": {"S": ""}, "sk": {"S": "1"}}), json!({}))).await;
    db.call("put without an item", "PutItem", json!({"TableName": "$rows"})).await;
    let long = |length: usize| json!({"pk": {"S": "k".repeat(length)}, "sk": {"S": "1"}});
    db.call("put with a key of 2048 bytes", "PutItem", put(long(2048), json!({}))).await;
    db.call("put with a key of 2049 bytes", "PutItem", put(long(2049), json!({}))).await;
    let delete = |more: Value| merged(json!({"TableName": "$rows", "Key": key}), more);
    db.call("get with a projection", "GetItem", delete(json!({"ProjectionExpression": "n, missing"}))).await;
    db.call("get by half a key", "GetItem", json!({"TableName": "$rows", "Key": {"pk": {"S": "a"}}})).await;
    db.call("get by more than a key", "GetItem", json!({"TableName": "$rows", "Key": item("1")})).await;
    db.call("delete, refused", "DeleteItem", delete(values("n > :v", ":v", json!({"N": "9"})))).await;
    db.call("delete", "DeleteItem", delete(json!({"ReturnValues": "ALL_OLD"}))).await;
    db.call("delete what is not there", "DeleteItem", delete(json!({"ReturnValues": "ALL_OLD"}))).await;
    db.call("delete, on condition that it is there", "DeleteItem", delete(when("attribute_exists(pk)"))).await;
}

/// What update expressions can do, and what they return.
async fn updates(db: &mut Table) {
    for (call, expression, values) in [
        ("set, on a new item", "SET n = :v", json!({"N": "1"})),
        ("set, adding", "SET n = n + :v", json!({"N": "0.5"})),
        ("set, subtracting", "SET n = n - :v", json!({"N": "3"})),
        ("set, adding to a missing attribute", "SET m = m + :v", json!({"N": "1"})),
        ("set, if it does not exist", "SET m = if_not_exists(m, :v)", json!({"N": "7"})),
        ("set a list", "SET l = :v", json!({"L": [{"N": "1"}, {"N": "2"}]})),
        ("append to a list", "SET l = list_append(l, :v)", json!({"L": [{"S": "x"}]})),
        ("set an element", "SET l[1] = :v", json!({"S": "y"})),
        ("set an element past the end", "SET l[9] = :v", json!({"S": "z"})),
        ("set within a map that is not there", "SET a.b = :v", json!({"N": "1"})),
        ("add to a number", "ADD n :v", json!({"N": "10"})),
        ("add to a set", "ADD s :v", json!({"SS": ["b", "a"]})),
        ("delete from a set", "DELETE s :v", json!({"SS": ["a", "c"]})),
        ("delete the last of a set", "DELETE s :v", json!({"SS": ["b"]})),
        ("add a text", "ADD m :v", json!({"S": "1"})),
        ("set a key", "SET pk = :v", json!({"S": "b"})),
        ("set twice", "SET n = :v, n = :v", json!({"N": "1"})),
        ("two clauses alike", "SET n = :v SET m = :v", json!({"N": "1"})),
    ] {
        let request = json!({"TableName": "$plain", "Key": {"id": {"S": "u"}}, "UpdateExpression": expression,
            "ExpressionAttributeValues": {":v": values}, "ReturnValues": "ALL_NEW"});
        db.call(&format!("update: {call}"), "UpdateItem", request).await;
    }
    let update = |more: Value| merged(json!({"TableName": "$plain", "Key": {"id": {"S": "u"}}}), more);
    let remove = "REMOVE l[0], m";
    db.call("update: remove", "UpdateItem", update(json!({"UpdateExpression": remove, "ReturnValues": "UPDATED_OLD"})))
        .await;
    db.call(
        "update: returned, what has changed",
        "UpdateItem",
        update(json!({"UpdateExpression": "SET n = :v",
        "ExpressionAttributeValues": {":v": {"N": "5"}}, "ReturnValues": "UPDATED_NEW"})),
    )
    .await;
    db.call(
        "update: refused",
        "UpdateItem",
        update(json!({"UpdateExpression": "REMOVE n", "ConditionExpression": "n = :v",
        "ExpressionAttributeValues": {":v": {"N": "6"}}})),
    )
    .await;
    db.call(
        "update: without an expression",
        "UpdateItem",
        json!({"TableName": "$plain", "Key": {"id": {"S": "w"}}, "ReturnValues": "ALL_NEW"}),
    )
    .await;
    db.call("update: syntax error", "UpdateItem", update(json!({"UpdateExpression": "SET n"}))).await;
    db.call(
        "update: in the old form",
        "UpdateItem",
        update(json!({"ReturnValues": "ALL_NEW",
        "AttributeUpdates": {"n": {"Action": "PUT", "Value": {"N": "8"}}}})),
    )
    .await;
}

/// Values that are empty, large, nested or written in an unusual way are stored and read back.
async fn values(db: &mut Table) {
    let nested = |depth: usize| (0..depth).fold(json!({"N": "1"}), |inner, _| json!({"L": [inner]}));
    for (call, value) in [
        ("empty text", json!({"S": ""})),
        ("empty bytes", json!({"B": ""})),
        ("bytes", json!({"B": "AP8="})),
        ("bytes that are not base64", json!({"B": "?"})),
        ("null", json!({"NULL": true})),
        ("null that is false", json!({"NULL": false})),
        ("boolean", json!({"BOOL": false})),
        ("empty list", json!({"L": []})),
        ("empty map", json!({"M": {}})),
        ("empty set", json!({"SS": []})),
        ("set with a text twice", json!({"SS": ["a", "a"]})),
        ("set with an empty text", json!({"SS": ["", "a"]})),
        ("set with a number twice", json!({"NS": ["1", "1.0"]})),
        ("numbers in a set", json!({"NS": ["10", "-0.5", "2e3"]})),
        ("unicode", json!({"S": "Größe 木 🚚 \u{0} \u{301}"})),
        ("number with zeros", json!({"N": "0010.500"})),
        ("number with an exponent", json!({"N": "1.5E+3"})),
        ("number, small", json!({"N": "0.0000001"})),
        ("number, negative zero", json!({"N": "-0"})),
        ("number of 38 digits", json!({"N": "12345678901234567890123456789012345678"})),
        ("number of 39 digits", json!({"N": "123456789012345678901234567890123456789"})),
        ("number, largest", json!({"N": "9.9999999999999999999999999999999999999E+125"})),
        ("number, too large", json!({"N": "1E126"})),
        ("number, smallest", json!({"N": "1E-130"})),
        ("number, too small", json!({"N": "1E-131"})),
        ("number with a plus", json!({"N": "+5"})),
        ("number that is none", json!({"N": "five"})),
        ("number that is empty", json!({"N": ""})),
        ("number with a blank", json!({"N": " 5"})),
        ("not a number", json!({"N": "NaN"})),
        ("two types", json!({"N": "5", "S": "5"})),
        ("no type", json!({})),
        ("unknown type", json!({"X": "5"})),
        ("nested 31 deep", nested(31)),
        ("nested 32 deep", nested(32)),
        ("399 KiB", json!({"S": "x".repeat(399 * 1024)})),
        ("400 KiB", json!({"S": "x".repeat(400 * 1024)})),
    ] {
        let put = json!({"TableName": "$plain", "Item": {"id": {"S": "value"}, "v": value}});
        let get = json!({"TableName": "$plain", "Key": {"id": {"S": "value"}}});
        db.round_trip(&format!("value: {call}"), ("PutItem", put), ("GetItem", get)).await;
    }
}

/// Queries in both directions, by pages, by ranges and with filters.
async fn queries(db: &mut Table) {
    let put = |n: usize| {
        let item = json!({"pk": {"S": "q"}, "sk": {"S": format!("{n:02}")}, "n": {"N": n.to_string()}});
        json!({"PutRequest": {"Item": item}})
    };
    let rows: Vec<Value> = (0..7).map(put).collect();
    db.call("write rows to query", "BatchWriteItem", json!({"RequestItems": {"$rows": rows}})).await;
    let query = |more: Value| {
        let request = json!({"TableName": "$rows", "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": {"S": "q"}}});
        merged(request, more)
    };
    let from = |sk: &str| json!({"pk": {"S": "q"}, "sk": {"S": sk}});
    let range = |condition: &str, value: &str| {
        let values = json!({":p": {"S": "q"}, ":s": {"S": value}});
        json!({"KeyConditionExpression": condition, "ExpressionAttributeValues": values})
    };
    for (call, more) in [
        ("all", json!({})),
        ("backwards", json!({"ScanIndexForward": false, "Limit": 2})),
        ("first page", json!({"Limit": 3})),
        ("next page", json!({"Limit": 3, "ExclusiveStartKey": from("02")})),
        ("last page, full", json!({"Limit": 4, "ExclusiveStartKey": from("02")})),
        ("last page", json!({"Limit": 5, "ExclusiveStartKey": from("02")})),
        ("past the end", json!({"ExclusiveStartKey": from("06")})),
        ("from a key that is not there", json!({"Limit": 1, "ExclusiveStartKey": from("015")})),
        ("from a key of another partition", json!({"ExclusiveStartKey": {"pk": {"S": "z"}, "sk": {"S": "1"}}})),
        ("from half a key", json!({"ExclusiveStartKey": {"pk": {"S": "q"}}})),
        ("count", json!({"Select": "COUNT"})),
        ("no items", json!({"Limit": 0})),
        ("before", range("pk = :p AND sk < :s", "02")),
        ("beginning with", range("pk = :p AND begins_with(sk, :s)", "0")),
        ("unequal", range("pk = :p AND sk <> :s", "02")),
        ("sort key only", range("sk = :s AND n = :p", "02")),
        (
            "filter",
            merged(
                json!({"FilterExpression": "n >= :n", "Limit": 4}),
                json!({"ExpressionAttributeValues": {":p": {"S": "q"}, ":n": {"N": "3"}}}),
            ),
        ),
        ("filter on a key", json!({"FilterExpression": "pk = :p"})),
        ("projection", json!({"ProjectionExpression": "n", "Limit": 1})),
        ("an index that does not exist", json!({"IndexName": "none"})),
        ("without a condition", json!({"KeyConditionExpression": null, "ExpressionAttributeValues": null})),
    ] {
        db.call(&format!("query: {call}"), "Query", query(more)).await;
    }
    db.call("query: nothing", "Query", query(json!({"ExpressionAttributeValues": {":p": {"S": "none"}}}))).await;
    for n in 0..4 {
        let item = json!({"pk": {"S": "large"}, "sk": {"S": n.to_string()}, "v": {"S": "x".repeat(300 * 1024)}});
        db.call(&format!("write large row {n}"), "PutItem", json!({"TableName": "$rows", "Item": item})).await;
    }
    let large = json!({"ExpressionAttributeValues": {":p": {"S": "large"}}, "ProjectionExpression": "sk"});
    db.call("query: a page ends after 1 MiB", "Query", query(large)).await;
}

/// Scans by pages, with filters and in segments.
async fn scans(db: &mut Table) {
    for id in ["u", "value", "w"] {
        let delete = json!({"TableName": "$plain", "Key": {"id": {"S": id}}});
        db.call(&format!("delete {id} before scans"), "DeleteItem", delete).await;
    }
    db.call("scan: nothing", "Scan", json!({"TableName": "$plain"})).await;
    for n in 0..3 {
        let item = json!({"id": {"S": format!("row {n}")}, "n": {"N": n.to_string()}});
        db.call(&format!("write row {n} to scan"), "PutItem", json!({"TableName": "$plain", "Item": item})).await;
    }
    let scan = |more: Value| merged(json!({"TableName": "$plain"}), more);
    for (call, more) in [
        ("all", json!({})),
        ("count", json!({"Select": "COUNT"})),
        ("filter", json!({"FilterExpression": "n > :n", "ExpressionAttributeValues": {":n": {"N": "0"}}})),
        (
            "filter, of a name",
            json!({"FilterExpression": "#n = :n", "ExpressionAttributeNames": {"#n": "n"},
                "ExpressionAttributeValues": {":n": {"N": "2"}}}),
        ),
        ("projection", json!({"ProjectionExpression": "id"})),
        ("one segment of one", json!({"Segment": 0, "TotalSegments": 1})),
        ("a segment past the last", json!({"Segment": 2, "TotalSegments": 2})),
        ("a segment of none", json!({"Segment": 0})),
        ("consistent", json!({"ConsistentRead": true, "ReturnConsumedCapacity": "TOTAL"})),
        ("no items", json!({"Limit": 0})),
    ] {
        db.call(&format!("scan: {call}"), "Scan", scan(more)).await;
    }
    db.call("scan: a table that does not exist", "Scan", json!({"TableName": "$none"})).await;
}

/// What a batch may contain, and how much.
async fn batches(db: &mut Table) {
    let put = |id: &str, v: &str| json!({"PutRequest": {"Item": {"id": {"S": id}, "v": {"S": v}}}});
    let delete = |id: &str| json!({"DeleteRequest": {"Key": {"id": {"S": id}}}});
    let several = |count: usize, v: &str| (0..count).map(|n| put(&format!("batch {n}"), v)).collect::<Vec<_>>();
    for (call, requests) in [
        ("25 items", json!({"$plain": several(25, "x")})),
        ("26 items", json!({"$plain": several(26, "x")})),
        ("no items", json!({"$plain": []})),
        ("no table", json!({})),
        ("a table that does not exist", json!({"$none": [put("a", "x")]})),
        ("a key twice", json!({"$plain": [put("a", "1"), put("a", "2")]})),
        ("put and delete of a key", json!({"$plain": [put("a", "1"), delete("a")]})),
        ("neither put nor delete", json!({"$plain": [{}]})),
        (
            "put and delete in one",
            json!({"$plain": [{"PutRequest": {"Item": {"id": {"S": "a"}}},
                "DeleteRequest": {"Key": {"id": {"S": "b"}}}}]}),
        ),
        ("an item without its key", json!({"$plain": [{"PutRequest": {"Item": {"v": {"S": "x"}}}}]})),
        ("an item with an empty key", json!({"$plain": [put("", "x")]})),
        ("an item that is too large", json!({"$plain": [put("a", &"x".repeat(400 * 1024))]})),
        ("one good, one too large", json!({"$plain": [put("b", "x"), put("a", &"x".repeat(400 * 1024))]})),
        (
            "two tables",
            json!({"$plain": [put("c", "x")],
                "$rows": [{"PutRequest": {"Item": {"pk": {"S": "c"}, "sk": {"S": "1"}}}}]}),
        ),
        ("deletes, also of what is not there", json!({"$plain": [delete("c"), delete("none")]})),
        ("9 MiB", json!({"$plain": several(25, &"x".repeat(380 * 1024))})),
        ("over 16 MiB", json!({"$plain": several(25, &"x".repeat(700 * 1024))})),
    ] {
        db.call(&format!("batch write: {call}"), "BatchWriteItem", json!({"RequestItems": requests})).await;
    }
    db.call(
        "batch write: refused ones wrote nothing",
        "GetItem",
        json!({"TableName": "$plain", "Key": {"id": {"S": "b"}}}),
    )
    .await;
    let keys = |ids: &[&str]| ids.iter().map(|id| json!({"id": {"S": id}})).collect::<Vec<_>>();
    let many: Vec<Value> = (0..101).map(|n| json!({"id": {"S": n.to_string()}})).collect();
    for (call, request) in [
        ("some of which are there", json!({"$plain": {"Keys": keys(&["row 0", "row 1", "none"])}})),
        ("with a projection", json!({"$plain": {"Keys": keys(&["row 0"]), "ProjectionExpression": "n"}})),
        ("a key twice", json!({"$plain": {"Keys": keys(&["row 0", "row 0"])}})),
        ("101 keys", json!({"$plain": {"Keys": many}})),
        ("no keys", json!({"$plain": {"Keys": []}})),
        ("a table that does not exist", json!({"$none": {"Keys": keys(&["row 0"])}})),
    ] {
        db.call(&format!("batch get: {call}"), "BatchGetItem", json!({"RequestItems": request})).await;
    }
}

/// Transactions are carried out as a whole or not at all, and then give the reasons.
async fn transactions(db: &mut Table) {
    let put = |id: &str, condition: Option<&str>| {
        let item = json!({"id": {"S": id}, "n": {"N": "1"}});
        json!({"Put": {"TableName": "$plain", "Item": item, "ConditionExpression": condition}})
    };
    let check = |id: &str| {
        let key = json!({"id": {"S": id}});
        json!({"ConditionCheck": {"TableName": "$plain", "Key": key, "ConditionExpression": "attribute_exists(id)"}})
    };
    let new = Some("attribute_not_exists(id)");
    let update = json!({"Update": {"TableName": "$plain", "Key": {"id": {"S": "t1"}}, "UpdateExpression": "ADD n :v",
        "ExpressionAttributeValues": {":v": {"N": "1"}}}});
    let many: Vec<Value> = (0..101).map(|n| put(&format!("t{n}"), None)).collect();
    for (call, request) in [
        ("two puts", json!([put("t1", new), put("t2", new)])),
        ("one of two refused", json!([put("t3", None), put("t1", new)])),
        ("both refused", json!([put("t1", new), put("t2", new)])),
        ("check and update", json!([check("t2"), update])),
        ("a check that fails", json!([check("none"), put("t4", None)])),
        ("an item twice", json!([put("t1", None), check("t1")])),
        ("an action of none", json!([{}])),
        ("no actions", json!([])),
        ("101 actions", json!(many)),
        ("a table that does not exist", json!([{"Delete": {"TableName": "$none", "Key": {"id": {"S": "a"}}}}])),
        ("an item without its key", json!([{"Put": {"TableName": "$plain", "Item": {"n": {"N": "1"}}}}])),
        ("a delete", json!([{"Delete": {"TableName": "$plain", "Key": {"id": {"S": "t2"}}}}])),
    ] {
        db.call(&format!("transaction: {call}"), "TransactWriteItems", json!({"TransactItems": request})).await;
    }
    let token = |id: &str| json!({"TransactItems": [put(id, new)], "ClientRequestToken": "$one"});
    db.call("transaction: with a token", "TransactWriteItems", token("t5")).await;
    db.call("transaction: again with its token", "TransactWriteItems", token("t5")).await;
    db.call("transaction: another with this token", "TransactWriteItems", token("t6")).await;
    let get = |id: &str| json!({"Get": {"TableName": "$plain", "Key": {"id": {"S": id}}}});
    for (call, request) in [
        ("some of which are there", json!([get("t1"), get("t2"), get("t3")])),
        ("an item twice", json!([get("t1"), get("t1")])),
        ("a table that does not exist", json!([{"Get": {"TableName": "$none", "Key": {"id": {"S": "a"}}}}])),
    ] {
        db.call(&format!("transaction, reading: {call}"), "TransactGetItems", json!({"TransactItems": request})).await;
    }
}

/// The tables are deleted.
async fn ends(db: &mut Table) {
    for name in ["$rows", "$plain"] {
        db.call(&format!("delete table {}", &name[1..]), "DeleteTable", json!({"TableName": name})).await;
    }
    db.call("delete a table that does not exist", "DeleteTable", json!({"TableName": "$none"})).await;
    db.call("read a deleted table", "Scan", json!({"TableName": "$rows"})).await;
}

/// Adds members to a request; a member that is null is left out.
fn merged(request: Value, more: Value) -> Value {
    let (Value::Object(mut request), Value::Object(more)) = (request, more) else { return Value::Null };
    request.extend(more);
    Value::Object(request.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// The client, and the answers so far.
struct Table {
    client: Client,
    wire: Wire,
    namespace: String,
    answers: Answers,
}

impl Table {
    fn new(at: &Endpoints) -> Self {
        let (key, secret) = (at.get("AWS_ACCESS_KEY_ID"), at.get("AWS_SECRET_ACCESS_KEY"));
        let wire = Wire::default();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(at.get("AWS_REGION").to_owned()))
            .credentials_provider(Credentials::new(key, secret, None, None, "parity"))
            .endpoint_url(at.get("AWS_ENDPOINT_URL_DYNAMODB"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .interceptor(wire.clone());
        let client = Client::from_conf(config.build());
        Self { client, wire, namespace: at.namespace.clone(), answers: Answers::new(&at.namespace) }
    }

    async fn call(&mut self, call: &str, operation: &str, request: Value) {
        let answer = self.send(operation, request).await;
        self.answers.add(call, answer);
    }

    /// A write, followed by a read if the write succeeds; both answers together count as one.
    async fn round_trip(&mut self, call: &str, write: (&str, Value), read: (&str, Value)) {
        let mut answer = self.send(write.0, write.1).await;
        if answer.starts_with("ok") {
            answer = self.send(read.0, read.1).await;
        }
        self.answers.add(call, answer);
    }

    async fn send(&self, operation: &str, request: Value) -> String {
        let body = request.to_string().replace('$', &self.namespace);
        let target = format!("DynamoDB_20120810.{operation}");
        let request = self.client.list_tables().customize().mutate_request(move |request| {
            request.headers_mut().insert("x-amz-target", target.clone());
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = SdkBody::from(body.clone());
        });
        let answer = request.send().await;
        let (status, body) = std::mem::take(&mut *self.wire.0.lock().unwrap_or_else(PoisonError::into_inner));
        if status == 0 {
            return format!("no answer: {answer:?}");
        }
        let Ok(mut body) = serde_json::from_slice::<Value>(&body) else {
            return format!("error {status} that is not JSON");
        };
        let code =
            body.get("__type").and_then(Value::as_str).map(|kind| kind.rsplit('#').next().unwrap_or(kind).to_owned());
        canonical(&mut body, operation, &self.namespace);
        let mut text =
            if status == 200 { "ok".to_owned() } else { format!("error {} {status}", code.unwrap_or_default()) };
        if body.as_object().is_none_or(|members| !members.is_empty()) {
            let _ = write!(text, " {}", shortened(&body.to_string()));
        }
        text
    }
}

/// Replaces each long run of `x`, with which large values are filled, by its length.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for piece in text.split_inclusive(|c| c != 'x') {
        let fill = piece.bytes().take_while(|b| *b == b'x').count();
        if fill > 100 {
            let _ = write!(short, "{fill} times x{}", &piece[fill..]);
        } else {
            short.push_str(piece);
        }
    }
    short
}

/// Removes what differs from run to run, the wording of errors, and tables of other runs; sorts what has no defined
/// order.
fn canonical(value: &mut Value, operation: &str, namespace: &str) {
    const VARYING: [&str; 9] = [
        "__type",
        "message",
        "Message",
        "CreationDateTime",
        "TableId",
        "TableArn",
        "LastUpdateToPayPerRequestDateTime",
        "LastIncreaseDateTime",
        "LastDecreaseDateTime",
    ];
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| canonical(element, operation, namespace)),
        Value::Object(members) => {
            let kept = std::mem::take(members).into_iter().filter(|(name, _)| !VARYING.contains(&name.as_str()));
            *members = kept.collect::<Map<_, _>>();
            members.sort_keys();
            for (name, member) in members.iter_mut() {
                canonical(member, operation, namespace);
                let Value::Array(elements) = member else { continue };
                if name == "TableNames" {
                    elements.retain(|table| table.as_str().is_some_and(|table| table.starts_with(namespace)));
                }
                let unordered = matches!(name.as_str(), "SS" | "NS" | "BS" | "TableNames" | "AttributeDefinitions")
                    || (name == "Items" && operation == "Scan")
                    || (operation == "BatchGetItem");
                if unordered {
                    elements.sort_by_key(Value::to_string);
                }
            }
        }
        _ => {}
    }
}

/// The status and the body of the last answer, unchanged.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<Mutex<(u16, Vec<u8>)>>);

impl Intercept for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default().to_vec();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (response.status().as_u16(), body);
        Ok(())
    }
}
