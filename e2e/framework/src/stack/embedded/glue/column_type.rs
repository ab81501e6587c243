//! The types of columns, in Hive's notation: `bigint`, `array<struct<a:int,b:decimal(10,2)>>`.

/// The types without parameters.
const PLAIN: [&str; 15] = [
    "boolean",
    "tinyint",
    "smallint",
    "int",
    "integer",
    "bigint",
    "long",
    "float",
    "double",
    "string",
    "binary",
    "date",
    "timestamp",
    "decimal",
    "numeric",
];

/// How deep types may be nested, so that reading one needs a bounded stack.
const DEEPEST: usize = 200;

/// The types with numbers in brackets.
const SIZED: [&str; 4] = ["decimal", "numeric", "char", "varchar"];

/// Checks that a type can be read. The error says what was expected where.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut rest = Rest { text, at: 0, depth: 0 };
    rest.one()?;
    if rest.at == text.len() { Ok(()) } else { Err(rest.expected("the end")) }
}

/// What is left of a type.
struct Rest<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Rest<'a> {
    fn expected(&self, what: &str) -> String {
        format!("{what} was expected after {} bytes", self.at)
    }

    /// The text up to one of these characters or the end.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn takes(&mut self, next: char) -> bool {
        let found = self.text[self.at..].starts_with(next);
        self.at += if found { next.len_utf8() } else { 0 };
        found
    }

    fn take(&mut self, next: char) -> Result<(), String> {
        if self.takes(next) { Ok(()) } else { Err(self.expected(&format!("`{next}`"))) }
    }

    fn one(&mut self) -> Result<(), String> {
        let start = self.at;
        let word = self.until(&['<', '>', '(', ')', ',', ':']).trim().to_lowercase();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        match word.as_str() {
            "array" => self.list(1..=1, Self::one),
            "map" => self.list(2..=2, Self::one),
            "uniontype" => self.list(1..=usize::MAX, Self::one),
            "struct" => self.list(1..=usize::MAX, Self::field),
            sized if SIZED.contains(&sized) && self.takes('(') => self.size(),
            plain if PLAIN.contains(&plain) => Ok(()),
            _ => {
                self.at = start;
                Err(self.expected("a type"))
            }
        }?;
        self.depth -= 1;
        Ok(())
    }

    /// A list in angle brackets.
    fn list(
        &mut self,
        lengths: std::ops::RangeInclusive<usize>,
        entry: fn(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.take('<')?;
        let mut length = 0;
        loop {
            entry(self)?;
            length += 1;
            if !self.takes(',') {
                break;
            }
        }
        if !lengths.contains(&length) {
            return Err(format!("the list that ends after {} bytes has {length} entries", self.at));
        }
        self.take('>')
    }

    fn field(&mut self) -> Result<(), String> {
        if self.until(&[':', '<', '>', ',']).trim().is_empty() {
            return Err(self.expected("the name of a field"));
        }
        self.take(':')?;
        self.one()
    }

    /// Numbers after an opening bracket.
    fn size(&mut self) -> Result<(), String> {
        loop {
            if self.until(&[',', ')']).trim().parse::<u32>().is_err() {
                return Err(self.expected("a number"));
            }
            if !self.takes(',') {
                return self.take(')');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn types_are_read_at_every_depth() {
        for text in [
            "bigint",
            "STRING",
            "decimal(10,2)",
            "varchar(20)",
            "array<string>",
            "map<string,array<double>>",
            "struct<a:int,B b:struct<c:decimal(38, 0)>,나라:array<map<string,timestamp>>>",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused_with_its_place() {
        for (text, says) in [
            ("", "a type was expected after 0 bytes"),
            ("varchar(x)", "a number was expected"),
            ("array<string", "`>` was expected after 12 bytes"),
            ("array<string,int>", "has 2 entries"),
            ("map<string>", "has 1 entries"),
            ("struct<>", "the name of a field was expected after 7 bytes"),
            ("struct<a int>", "`:` was expected after 12 bytes"),
            ("struct<a:nothing>", "a type was expected after 9 bytes"),
            ("int>", "the end was expected after 3 bytes"),
        ] {
            let problem = check(text).expect_err(text);
            assert!(problem.contains(says), "{text}: {problem}");
        }
        let deep = format!("{}int{}", "array<".repeat(10_000), ">".repeat(10_000));
        assert!(check(&deep).expect_err("too deep").contains("nested"));
    }
}
