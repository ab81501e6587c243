//! Paths: `position.fixTime` is the field of exactly this name, or else the field `fixTime` of the object `position`,
//! and so on at every depth.
//!
//! At every level the longest name is tried first, so a field that is really called `a.b` wins over `b` in `a`. If an
//! object has a name twice, the last one counts, as for most readers of JSON. A path that leads through something other
//! than an object has no value.

use crate::field::{self, Field};
use crate::json::scan::{self, byte};
use crate::object::object;

/// The value at `path`. `get` gives the fields of the outermost object, which has no field of exactly this name.
///
/// This is a function of its own so that looking up a name that exists stays cheap.
#[inline(never)]
pub(crate) fn find_below<'t>(path: &str, get: &dyn Fn(&str) -> Option<&'t str>) -> Option<&'t str> {
    splits(path).find_map(|(name, rest)| {
        let json = get(name)?;
        let (fields, place) = locate(json, 0, rest)?;
        Some(fields[place].value(json))
    })
}

/// Looks `path` up in the `fields` of an object. Gives the place of the field that leads on, and what [`locate`] gives
/// for it.
pub(crate) fn locate_below(text: &str, fields: &[Field], path: &str) -> Option<(usize, Vec<Field>, usize)> {
    splits(path).find_map(|(name, rest)| {
        let outer = field::find(text, fields, name)?;
        let (fields, place) = locate(text, fields[outer].value_start(), rest)?;
        Some((outer, fields, place))
    })
}

/// The fields of the object that `path` ends in, and the place of its last step among them. `at` is where the value
/// begins in which the path is looked up.
pub(crate) fn locate(text: &str, at: usize, path: &str) -> Option<(Vec<Field>, usize)> {
    let fields = fields_of(text, at)?;
    let place = |name| fields.iter().rposition(|field| field.is(text, name));
    match place(path) {
        Some(place) => Some((fields, place)),
        None => splits(path).find_map(|(name, rest)| locate(text, fields[place(name)?].value_start(), rest)),
    }
}

/// The splits of a path into a name and the rest, one at every dot, the longest name first.
fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    path.rmatch_indices('.').map(|(dot, _)| (&path[..dot], &path[dot + 1..]))
}

/// The fields of the object at `at`; `None` if there is another value. The text has to be valid.
fn fields_of(text: &str, at: usize) -> Option<Vec<Field>> {
    let bytes = text.as_bytes();
    if byte(bytes, at) != b'{' {
        return None;
    }
    let mut fields = Vec::new();
    object(text, at + 1, &mut fields, |_, _| None, |_, at| scan::value(bytes, at)).ok()?;
    Some(fields)
}
