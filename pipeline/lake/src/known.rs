//! What was found out about objects with certain names, so that it is found out once: the rows of a table mostly have the
//! same few sets of names, each in the same order.

use std::borrow::Cow;

/// How many sets of names are kept.
const KEPT: usize = 16;

/// What is known of objects by their names.
#[derive(Debug, Clone)]
pub(crate) struct Known<T>(Vec<(Vec<String>, T)>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Known<T> {
    /// What is known of objects with the names of this one, in the same order.
    pub fn find(&mut self, object: &[(Cow<'_, str>, &str)]) -> Option<&T> {
        let is_same = |(names, _): &(Vec<String>, T)| {
            names.len() == object.len() && names.iter().zip(object).all(|(known, (name, _))| known == name)
        };
        let place = self.0.iter().position(is_same)?;
        // The next object mostly has the names of this one.
        self.0.swap(0, place);
        self.0.first().map(|(_, known)| known)
    }

    /// Keeps what is known of objects with the names of this one.
    pub fn keep(&mut self, object: &[(Cow<'_, str>, &str)], known: T) {
        self.0.truncate(KEPT - 1);
        self.0.insert(0, (object.iter().map(|(name, _)| name.clone().into_owned()).collect(), known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(names: &[&'static str]) -> Vec<(Cow<'static, str>, &'static str)> {
        names.iter().map(|name| (Cow::Borrowed(*name), "1")).collect()
    }

    #[test]
    fn objects_are_the_same_by_their_names_and_the_order_of_these() {
        let mut known = Known::default();
        known.keep(&object(&["a", "b"]), 1);
        known.keep(&object(&["b", "a"]), 2);
        for _ in 0..2 {
            assert_eq!(known.find(&object(&["a", "b"])), Some(&1));
            assert_eq!(known.find(&object(&["b", "a"])), Some(&2));
        }
        assert_eq!(known.find(&object(&["a"])), None);
        assert_eq!(known.find(&object(&["a", "b", "c"])), None);
    }

    #[test]
    fn the_set_that_was_not_needed_for_longest_is_forgotten() {
        let mut known = Known::default();
        let names: Vec<String> = (0..=KEPT).map(|n| n.to_string()).collect();
        let objects: Vec<Vec<(Cow<'_, str>, &str)>> =
            names.iter().map(|name| vec![(name.as_str().into(), "1")]).collect();
        for (n, object) in objects.iter().enumerate() {
            known.keep(object, n);
        }
        assert_eq!(known.find(&objects[0]), None);
        assert_eq!(known.find(&objects[1]), Some(&1));
        assert_eq!(known.find(&objects[KEPT]), Some(&KEPT));
    }
}
