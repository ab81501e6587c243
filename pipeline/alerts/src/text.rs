//! Texts as Slack takes them: escaped, and no longer than they may be.

/// How long Slack takes a text to be, which counts what JavaScript counts.
pub(crate) fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A text of one line in which nothing is a mention, a link or formatting of a block, cut to a length with its escapes.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    cut(text, limit, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        // They would begin or end what is in monospace.
        '`' => Some("'"),
        control if control.is_control() => Some(" "),
        _ => None,
    })
}

/// A text of one line for a place where Slack escapes by itself, cut to a length.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    cut(text, limit, |character| character.is_control().then_some(" "))
}

fn cut(text: &str, limit: usize, replace: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::new();
    let mut used = 0;
    // Where a text that does not fit ends, so that there is room for the sign that it is cut.
    let mut end = 0;
    for character in text.trim().chars() {
        let replaced = replace(character);
        let size = replaced.map_or(character.len_utf16(), length);
        if used + size > limit {
            out.truncate(end);
            out.push('…');
            return out;
        }
        match replaced {
            Some(text) => out.push_str(text),
            None => out.push(character),
        }
        used += size;
        if used < limit {
            end = out.len();
        }
    }
    out
}

/// A text as a shell takes it.
pub(crate) fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("'{}'", line.replace('\'', r"'\''"))
}

/// A query with the values of parameters, which are words after a `$`. One without a value stays as it is.
pub(crate) fn with_parameters(query: &str, values: &[(&str, &str)]) -> String {
    let mut parts = query.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.extend([value, rest]),
            None => out.extend(["$", part]),
        }
    }
    out
}

/// A number and its noun.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_the_data_becomes_a_mention_or_ends_a_block() {
        assert_eq!(escaped("<!channel> a & b\n```", 100), "&lt;!channel&gt; a &amp; b '''");
        assert_eq!(escaped("<<<<", 9), "&lt;&lt;…");
        assert_eq!(escaped("abcd", 4), "abcd");
        assert_eq!(escaped("abcde", 4), "abc…");
    }

    #[test]
    fn a_shell_takes_a_query_as_one_argument() {
        assert_eq!(quoted("select 'a'\n  from t"), r"'select '\''a'\'' from t'");
    }

    #[test]
    fn a_parameter_is_a_whole_word() {
        let query = "ymd between $from and $to and a < $today || '$'";
        assert_eq!(with_parameters(query, &[("from", "1"), ("to", "2")]), "ymd between 1 and 2 and a < $today || '$'");
    }

    proptest! {
        #[test]
        fn a_text_is_never_longer_than_it_may_be(text in any::<String>(), limit in 1..60_usize) {
            prop_assert!(length(&escaped(&text, limit)) <= limit);
            prop_assert!(length(&plain(&text, limit)) <= limit);
        }
    }
}
