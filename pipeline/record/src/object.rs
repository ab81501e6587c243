//! Scanning one object into its fields.

use crate::field::Field;
use crate::json::scan::{self, Fault, Scan, byte, fault, white_space};

/// Scans the rest of an object after its opening brace and appends its fields. Gives the position after the object, and
/// whether `again` knew every name.
///
/// `again` is called once for each field, with the fields so far and the position of the name; it returns the field if
/// the name that it expects next is there. `value` scans the value of a field.
#[inline]
pub(crate) fn object(
    text: &str,
    at: usize,
    fields: &mut Vec<Field>,
    mut again: impl FnMut(&[Field], usize) -> Option<Field>,
    mut value: impl FnMut(Field, usize) -> Scan,
) -> Result<(usize, bool), Box<Fault>> {
    let bytes = text.as_bytes();
    let mut alike = true;
    let mut at = white_space(bytes, at);
    if byte(bytes, at) == b'}' {
        return Ok((at + 1, true));
    }
    loop {
        if byte(bytes, at) != b'"' {
            return Err(fault(at, "a field name in double quotes"));
        }
        let name = at + 1;
        let field = if let Some(field) = again(fields, name) {
            field
        } else {
            alike = false;
            Field::scan(bytes, name)?
        };
        at = scan::after_colon(bytes, field.quote() + 1)?;
        let end = value(field, at)?;
        fields.push(field.with_value(at, end));
        at = white_space(bytes, end);
        match byte(bytes, at) {
            b',' => at = white_space(bytes, at + 1),
            b'}' => return Ok((at + 1, alike)),
            _ => return Err(fault(at, "`,` or `}`")),
        }
    }
}
