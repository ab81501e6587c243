//! Values of a column whose type was changed, as values of the new type. A value that the new type does not hold is an
//! error: nothing is changed in silence.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow_schema::{ArrowError, DataType};

use crate::number;
use crate::types::Type;

/// Whether values of one type may become values of another: a wider number, or text.
pub(crate) fn is_castable(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (Type::Int, Type::Bigint) | (Type::Int | Type::Bigint | Type::Float, Type::Double) => true,
        (from, Type::String) => {
            matches!(from, Type::Boolean | Type::Int | Type::Bigint | Type::Float | Type::Double | Type::Date)
        }
        _ => false,
    }
}

/// The same values as another type; `None` if there is no way from one type to the other.
pub(super) fn cast(array: &ArrayRef, to: &DataType, path: &str) -> Result<Option<ArrayRef>, ArrowError> {
    let text = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    Ok(Some(match (array.data_type(), to) {
        (DataType::Int32, DataType::Int64) => {
            Arc::new(array.as_primitive::<Int32Type>().iter().map(|value| value.map(i64::from)).collect::<Int64Array>())
        }
        (DataType::Int32, DataType::Float64) => {
            let values = array.as_primitive::<Int32Type>().iter().map(|value| value.map(f64::from));
            Arc::new(values.collect::<Float64Array>())
        }
        (DataType::Int64, DataType::Float64) => {
            let exact = |value: i64| {
                number::double(&value.to_string()).ok_or_else(|| {
                    ArrowError::CastError(format!("column `{path}` has {value}, which a double does not hold"))
                })
            };
            let values = array.as_primitive::<Int64Type>().iter().map(|value| value.map(exact).transpose());
            Arc::new(values.collect::<Result<Float64Array, _>>()?)
        }
        (DataType::Float32, DataType::Float64) => {
            // As the number was sent: the double nearest to 0.1, not the one nearest to the float nearest to 0.1.
            let nearest = |value: f32| value.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(value));
            let values = array.as_primitive::<Float32Type>().iter().map(|value| value.map(nearest));
            Arc::new(values.collect::<Float64Array>())
        }
        (DataType::Boolean, DataType::Utf8) => {
            text(array.as_boolean().iter().map(|value| value.map(|value| value.to_string())).collect())
        }
        (DataType::Int32, DataType::Utf8) => {
            text(array.as_primitive::<Int32Type>().iter().map(|value| value.map(|value| value.to_string())).collect())
        }
        (DataType::Int64, DataType::Utf8) => {
            text(array.as_primitive::<Int64Type>().iter().map(|value| value.map(|value| value.to_string())).collect())
        }
        (DataType::Float32, DataType::Utf8) => {
            text(array.as_primitive::<Float32Type>().iter().map(|value| value.map(of_float)).collect())
        }
        (DataType::Float64, DataType::Utf8) => {
            text(array.as_primitive::<Float64Type>().iter().map(|value| value.map(of_double)).collect())
        }
        (DataType::Date32, DataType::Utf8) => {
            let dates = array.as_primitive::<Date32Type>();
            let date = |row: usize| {
                let date = dates.is_valid(row).then(|| dates.value_as_date(row)).flatten();
                date.map(|date| date.to_string())
            };
            text((0..dates.len()).map(date).collect())
        }
        _ => return Ok(None),
    }))
}

/// The text that a value had when it was of the type `was`, and became a text: `1` for `1.0`, if that was an integer. A
/// text that was no such value stays.
pub(super) fn same_text(text: &str, was: &Type) -> String {
    let was = match was {
        Type::Int | Type::Bigint => number::integer(text).map(|value| value.to_string()),
        Type::Float => number::float(text).map(of_float),
        Type::Double => number::double(text).map(of_double),
        _ => None,
    };
    was.unwrap_or_else(|| text.to_owned())
}

fn of_float(value: f32) -> String {
    shortest(value.to_string(), f64::from(value), || format!("{value:e}"))
}

fn of_double(value: f64) -> String {
    shortest(value.to_string(), value, || format!("{value:e}"))
}

/// A number as texts have it: with an exponent only where it would be long otherwise.
fn shortest(plain: String, value: f64, with_exponent: impl FnOnce() -> String) -> String {
    let is_plain = value == 0.0 || (1e-6..1e21).contains(&value.abs()) || !value.is_finite();
    if is_plain { plain } else { with_exponent() }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BooleanArray, Date32Array, Float32Array, Int32Array};

    use super::*;

    fn texts(array: impl arrow_array::Array + 'static) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let cast = cast(&array, &DataType::Utf8, "c").expect("held").expect("a way");
        cast.as_string::<i32>().iter().map(|text| text.unwrap_or("null").to_owned()).collect()
    }

    #[test]
    fn scalars_become_the_text_that_a_message_would_have() {
        assert_eq!(texts(Int64Array::from(vec![Some(-7), None])), ["-7", "null"]);
        assert_eq!(texts(Int32Array::from(vec![7])), ["7"]);
        assert_eq!(texts(BooleanArray::from(vec![true])), ["true"]);
        assert_eq!(texts(Float64Array::from(vec![811.0, 812.5, 1e300, -0.1])), ["811", "812.5", "1e300", "-0.1"]);
        assert_eq!(texts(Float32Array::from(vec![0.1, 1e-30])), ["0.1", "1e-30"]);
        assert_eq!(texts(Date32Array::from(vec![Some(19_388), None])), ["2023-01-31", "null"]);
    }

    #[test]
    fn a_text_of_today_is_the_same_as_the_one_that_was_a_number() {
        for (text, was, same) in [
            ("1.0", Type::Bigint, "1"),
            ("x", Type::Bigint, "x"),
            ("812.50", Type::Double, "812.5"),
            ("1e3", Type::Double, "1000"),
            ("0.10", Type::Float, "0.1"),
            ("true", Type::Boolean, "true"),
        ] {
            assert_eq!(same_text(text, &was), same, "{text}");
        }
    }

    #[test]
    fn an_integer_that_a_double_does_not_hold_is_an_error_with_its_column() {
        let doubles = |values: Vec<i64>| {
            let array: ArrayRef = Arc::new(Int64Array::from(values));
            cast(&array, &DataType::Float64, "n").map(|cast| cast.expect("a way"))
        };
        let held = doubles(vec![5, 1 << 53]).expect("held");
        let held = held.as_primitive::<Float64Type>();
        assert_eq!([held.value(0).to_string(), held.value(1).to_string()], ["5", "9007199254740992"]);
        let error = doubles(vec![9_007_199_254_740_993]).expect_err("not held").to_string();
        assert!(error.contains("`n` has 9007199254740993"), "{error}");
    }

    #[test]
    fn a_float_becomes_the_double_of_the_number_that_was_sent() {
        let array: ArrayRef = Arc::new(Float32Array::from(vec![0.1]));
        let cast = cast(&array, &DataType::Float64, "f").expect("held").expect("a way");
        assert_eq!(cast.as_primitive::<Float64Type>().value(0).to_string(), "0.1");
    }

    #[test]
    fn no_type_becomes_a_narrower_one_or_one_whose_texts_are_not_kept() {
        for (from, to) in [
            (Type::Double, Type::Bigint),
            (Type::String, Type::Double),
            (Type::Timestamp, Type::String),
            (Type::Bigint, Type::Float),
            (Type::Array(Box::new(Type::Int)), Type::String),
        ] {
            assert!(!is_castable(&from, &to), "{from} to {to}");
            let array = arrow_array::new_empty_array(&crate::arrow::data_type(&from));
            assert!(cast(&array, &crate::arrow::data_type(&to), "c").expect("no value").is_none(), "{from} to {to}");
        }
    }
}
