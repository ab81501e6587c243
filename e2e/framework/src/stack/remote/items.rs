//! Converts DynamoDB items of the AWS SDK to DynamoDB's own JSON.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// DynamoDB's own JSON for an item, with its attributes sorted by name.
pub(super) fn item(attributes: HashMap<String, AttributeValue>) -> Value {
    let sorted: BTreeMap<String, AttributeValue> = attributes.into_iter().collect();
    Value::Object(sorted.into_iter().map(|(name, value)| (name, attribute(value))).collect())
}

fn attribute(value: AttributeValue) -> Value {
    let binary = |blob: aws_sdk_dynamodb::primitives::Blob| BASE64.encode(blob);
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": canonical(&number)}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Null(value) => json!({"NULL": value}),
        AttributeValue::M(map) => json!({"M": item(map)}),
        AttributeValue::L(list) => json!({"L": list.into_iter().map(attribute).collect::<Vec<_>>()}),
        AttributeValue::B(bytes) => json!({"B": binary(bytes)}),
        AttributeValue::Ss(set) => json!({"SS": set}),
        AttributeValue::Ns(set) => json!({"NS": set}),
        AttributeValue::Bs(set) => json!({"BS": set.into_iter().map(binary).collect::<Vec<_>>()}),
        other => json!({"unknown": format!("{other:?}")}),
    }
}

/// A number as AWS returns it. DynamoDB Local returns the same, except that numbers in maps and lists keep trailing
/// zeros and the sign of 0.
fn canonical(number: &str) -> &str {
    let number = if number.contains('.') && !number.contains(['e', 'E']) {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if number == "-0" { "0" } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_shown_as_aws_gives_them_back() {
        let number = |text: &str| AttributeValue::N(text.to_owned());
        let map =
            AttributeValue::M(HashMap::from([("b".to_owned(), number("62.0")), ("a".to_owned(), number("-0.0"))]));
        let attributes =
            HashMap::from([("m".to_owned(), map), ("l".to_owned(), AttributeValue::L(vec![number("1.50")]))]);
        let expected = r#"{"l":{"L":[{"N":"1.5"}]},"m":{"M":{"a":{"N":"0"},"b":{"N":"62"}}}}"#;
        assert_eq!(item(attributes).to_string(), expected);
        assert_eq!(canonical("1.0E+20"), "1.0E+20");
    }
}
