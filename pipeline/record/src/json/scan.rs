//! A strict JSON scanner: it finds where a value ends, or where the text stops being JSON by RFC 8259. It builds
//! nothing and never recurses.
//!
//! Every function takes the text and a position, and returns the position after what it scanned. The text is known to
//! be UTF-8. All tokens begin and end with ASCII characters, so positions are always on character boundaries. Reading
//! behind the end gives NUL, which is part of no token.

/// Where the text stops being JSON, and what would have been right there. A fault at the end of the text means that it
/// was cut off.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) expected: &'static str,
}

/// The position after what was scanned. The fault is boxed so that the result fits into two registers.
pub(crate) type Scan = Result<usize, Box<Fault>>;

#[cold]
#[expect(clippy::unnecessary_box_returns, reason = "see Scan")]
pub(crate) fn fault(at: usize, expected: &'static str) -> Box<Fault> {
    Box::new(Fault { at, expected })
}

/// The byte at a position, and NUL at the end of the text.
#[inline]
pub(crate) fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The position of the next token, after any white space.
#[inline]
pub(crate) fn white_space(text: &[u8], at: usize) -> usize {
    if byte(text, at) > b' ' { at } else { white_space_run(text, at) }
}

#[inline(never)]
fn white_space_run(text: &[u8], mut at: usize) -> usize {
    while matches!(byte(text, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

/// Scans the value at `at`.
#[inline]
pub(crate) fn value(text: &[u8], at: usize) -> Scan {
    match byte(text, at) {
        b'{' | b'[' => container(text, at),
        _ => scalar(text, at),
    }
}

/// Scans the string, number, boolean or null at `at`.
#[inline]
pub(crate) fn scalar(text: &[u8], at: usize) -> Scan {
    match byte(text, at) {
        b'"' => string(text, at + 1),
        b'-' | b'0'..=b'9' => number(text, at),
        b't' => literal(text, at, b"true"),
        b'f' => literal(text, at, b"false"),
        b'n' => literal(text, at, b"null"),
        _ => Err(fault(at, "a value")),
    }
}

/// Scans the object or array at `at`, however deep it is.
fn container(text: &[u8], mut at: usize) -> Scan {
    let mut nesting = Nesting::default();
    loop {
        // A value begins at `at`.
        match byte(text, at) {
            b'{' => {
                at = white_space(text, at + 1);
                if byte(text, at) == b'}' {
                    at += 1;
                } else {
                    nesting.push(true);
                    at = name(text, at)?;
                    continue;
                }
            }
            b'[' => {
                at = white_space(text, at + 1);
                if byte(text, at) == b']' {
                    at += 1;
                } else {
                    nesting.push(false);
                    continue;
                }
            }
            _ => at = scalar(text, at)?,
        }
        // A value has ended before `at`. Containers are closed until one has another value.
        loop {
            let Some(in_object) = nesting.innermost() else { return Ok(at) };
            at = white_space(text, at);
            match (byte(text, at), in_object) {
                (b',', true) => {
                    at = name(text, white_space(text, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at = white_space(text, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    nesting.pop();
                    at += 1;
                }
                (_, true) => return Err(fault(at, "`,` or `}`")),
                (_, false) => return Err(fault(at, "`,` or `]`")),
            }
        }
    }
}

/// Scans the name of a field at `at` and its colon. Returns the position of the value.
fn name(text: &[u8], at: usize) -> Scan {
    if byte(text, at) != b'"' {
        return Err(fault(at, "a field name in double quotes"));
    }
    after_colon(text, string(text, at + 1)?)
}

/// Scans the colon after a name that ended before `at`. Returns the position of the value.
#[inline]
pub(crate) fn after_colon(text: &[u8], at: usize) -> Scan {
    let at = white_space(text, at);
    if byte(text, at) != b':' {
        return Err(fault(at, "`:`"));
    }
    Ok(white_space(text, at + 1))
}

/// Scans the rest of a string whose opening quote is before `at`.
#[inline]
pub(crate) fn string(text: &[u8], at: usize) -> Scan {
    string_noting(text, at, &mut false)
}

/// Does what [`string`] does, and sets `escapes` if the string has any.
#[inline]
pub(crate) fn string_noting(text: &[u8], mut at: usize, escapes: &mut bool) -> Scan {
    loop {
        while let Some(word) = word(text, at) {
            let stops = string_stops(word);
            if stops != 0 {
                at += first_byte(stops);
                break;
            }
            at += 8;
        }
        match byte(text, at) {
            b'"' => return Ok(at + 1),
            b'\\' => {
                *escapes = true;
                at = escape(text, at + 1)?;
            }
            0..=0x1f if at >= text.len() => return Err(fault(at, "`\"` to close a string")),
            0..=0x1f => return Err(fault(at, "an escape, such as \\n, for a control character")),
            _ => at += 1,
        }
    }
}

/// Scans what follows a backslash. Any four hexadecimal digits are right: that surrogates have to be pairs is checked
/// only when a string is decoded.
fn escape(text: &[u8], at: usize) -> Scan {
    match byte(text, at) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => match (at + 1..at + 5).find(|&digit| !byte(text, digit).is_ascii_hexdigit()) {
            None => Ok(at + 5),
            Some(digit) => Err(fault(digit, "a hexadecimal digit of \\uXXXX")),
        },
        _ => Err(fault(at, "one of \" \\ / b f n r t u after a backslash")),
    }
}

#[inline]
fn number(text: &[u8], mut at: usize) -> Scan {
    if byte(text, at) == b'-' {
        at += 1;
    }
    at = match byte(text, at) {
        b'0' => at + 1,
        b'1'..=b'9' => digits(text, at + 1),
        _ => return Err(fault(at, "a digit")),
    };
    if byte(text, at) == b'.' {
        at = some_digits(text, at + 1)?;
    }
    if byte(text, at) | 0x20 == b'e' {
        at += 1;
        if matches!(byte(text, at), b'+' | b'-') {
            at += 1;
        }
        at = some_digits(text, at)?;
    }
    Ok(at)
}

#[inline]
fn some_digits(text: &[u8], at: usize) -> Scan {
    let end = digits(text, at);
    if end == at { Err(fault(at, "a digit")) } else { Ok(end) }
}

/// The position after a run of digits, which may be empty.
#[inline]
fn digits(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(text, at) {
        let others = non_digits(word);
        if others != 0 {
            return at + first_byte(others);
        }
        at += 8;
    }
    while byte(text, at).is_ascii_digit() {
        at += 1;
    }
    at
}

#[inline]
fn literal(text: &[u8], at: usize, word: &'static [u8]) -> Scan {
    if text.get(at..at + word.len()) == Some(word) {
        return Ok(at + word.len());
    }
    let right = word.iter().zip(at..).take_while(|&(&wanted, at)| byte(text, at) == wanted).count();
    Err(fault(at + right, "true, false or null"))
}

// The functions below look at eight bytes at a time, as one word. Each marks the bytes that it looks for by setting
// their highest bit. Arithmetic carries only upwards, so the lowest mark, which is that of the first such byte in the
// text, is always right.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[inline]
fn word(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[inline]
fn first_byte(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// Marks quotes, backslashes and control characters.
#[inline]
fn string_stops(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    (zeros(quote) | zeros(backslash) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGH
}

/// Marks all bytes but `0` to `9`.
#[inline]
fn non_digits(word: u64) -> u64 {
    let value = word ^ (ONES * u64::from(b'0'));
    ((value & !HIGH).wrapping_add(ONES * (0x80 - 10)) | value) & HIGH
}

/// Which arrays and objects are open: one bit each, which is set for an object, the innermost lowest. Full words are
/// put aside.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    bits: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl Nesting {
    pub(crate) fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    pub(crate) fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0
            && self.depth.is_multiple_of(64)
            && let Some(bits) = self.outer.pop()
        {
            self.bits = bits;
        }
    }

    /// How many are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the innermost is an object; `None` if none is open.
    pub(crate) fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_find_the_first_byte_of_their_kind() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for filler in [b'5', b'a'] {
                    let mut bytes = [filler; 8];
                    bytes[place] = byte;
                    let word = u64::from_le_bytes(bytes);
                    let stop = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
                    let marks = string_stops(word);
                    assert_eq!((marks != 0).then(|| first_byte(marks)), stop, "{bytes:?}");
                    let other = bytes.iter().position(|b| !b.is_ascii_digit());
                    let marks = non_digits(word);
                    assert_eq!((marks != 0).then(|| first_byte(marks)), other, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn nesting_remembers_every_level() {
        let mut nesting = Nesting::default();
        let object = |level: usize| level.is_multiple_of(3);
        for level in 0..300 {
            nesting.push(object(level));
        }
        for level in (0..300).rev() {
            assert_eq!(nesting.innermost(), Some(object(level)));
            nesting.pop();
        }
        assert_eq!(nesting.innermost(), None);
    }
}
