//! The parts of a JSON value, as texts: the members of an object and the elements of an array.

use std::borrow::Cow;

use fms_record::json::{Error, Event, Events};

/// How deep a row's values may be nested.
pub(crate) const MAX_DEPTH: usize = 64;

/// The names, with their escapes decoded, and the values of an object.
pub(crate) fn members(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, Error> {
    let mut members = Vec::new();
    let mut name = None;
    split(object, |event, value| match event {
        Event::Name(next) => name = Some(next),
        _ => members.extend(name.take().map(|name| (name, value))),
    })?;
    Ok(members)
}

/// The elements of an array.
pub(crate) fn elements(array: &str) -> Result<Vec<&str>, Error> {
    let mut elements = Vec::new();
    split(array, |_, value| elements.push(value))?;
    Ok(elements)
}

/// Gives every name and every value of an object or array, the values with their text. Values within values are not
/// given, but checked.
fn split<'t>(text: &'t str, mut part: impl FnMut(Event<'t>, &'t str)) -> Result<(), Error> {
    let mut events = Events::new(text, MAX_DEPTH);
    let mut start = 0;
    while let Some(event) = events.next() {
        let event = event?;
        let is_start = matches!(event, Event::ObjectStart | Event::ArrayStart);
        let is_end = matches!(event, Event::ObjectEnd | Event::ArrayEnd);
        match events.depth() {
            1 if is_end => part(event, &text[start..events.position()]),
            1 if !is_start => part(event, &text[events.start()..events.position()]),
            2 if is_start => start = events.start(),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_the_texts_of_values() {
        let text = r#" {"a" : 1.50, "\u00e4":{"x":[1,{}]},"n":null, "e":[] } "#;
        let members = members(text).expect("an object");
        let expected = [("a", "1.50"), ("ä", r#"{"x":[1,{}]}"#), ("n", "null"), ("e", "[]")];
        assert_eq!(members.iter().map(|(name, value)| (&**name, *value)).collect::<Vec<_>>(), expected);
        assert_eq!(elements(r#"[1,"a",[[2]],{"b":3}, null]"#), Ok(vec!["1", "\"a\"", "[[2]]", "{\"b\":3}", "null"]));
        assert_eq!(elements("[ ]"), Ok(vec![]));
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("[{}1{}]", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(elements(&deep), Err(Error::Depth { limit: MAX_DEPTH }));
    }
}
