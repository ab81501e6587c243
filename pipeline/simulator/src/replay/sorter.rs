//! Messages in the order of their times, however many there are: sorted in memory piece by piece, and merged from disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};

use super::Recorded;

/// How many bytes of messages are sorted in memory.
const MEMORY: usize = 32 << 20;
/// How many files are merged at once.
const FILES: usize = 32;

/// Takes messages in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    memory: usize,
    held: Vec<Recorded>,
    bytes: usize,
    /// Files of sorted messages: those of a level are of about the same size, and each level of larger ones. Earlier
    /// messages are in earlier files, and of a level in a higher one.
    levels: Vec<Vec<File>>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl Sorter {
    fn with_memory(memory: usize) -> Self {
        Self { memory, held: Vec::new(), bytes: 0, levels: Vec::new() }
    }

    pub(super) fn add(&mut self, message: Recorded) -> io::Result<()> {
        self.bytes += size_of::<Recorded>() + message.value.as_ref().map_or(0, Vec::len);
        self.held.push(message);
        if self.bytes >= self.memory { self.write() } else { Ok(()) }
    }

    /// Writes what is held to a file. Files of a level that is full become one of the next.
    fn write(&mut self) -> io::Result<()> {
        self.held.sort_by_key(|message| message.at);
        self.bytes = 0;
        let mut file = written(self.held.drain(..).map(Ok))?;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(file);
            if self.levels[level].len() < FILES {
                break;
            }
            file = written(Merged::of(std::mem::take(&mut self.levels[level]))?)?;
        }
        Ok(())
    }

    /// All messages by their times; those of the same time as they were added.
    pub(super) fn sorted(mut self) -> io::Result<Merged> {
        self.write()?;
        Merged::of(self.levels.into_iter().rev().flatten().collect())
    }
}

/// A file with these messages, to be read from its beginning. Nobody sees it, and it is gone when it is closed.
fn written(messages: impl Iterator<Item = io::Result<Recorded>>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
    for message in messages {
        write(&mut out, &message?)?;
    }
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// Sorted files, merged.
#[derive(Debug)]
pub(super) struct Merged {
    files: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<Head>>,
}

/// The next message of a file. They are ordered by time, and of one time by file.
#[derive(Debug)]
struct Head(i64, usize, Recorded);

impl Merged {
    fn of(files: Vec<File>) -> io::Result<Self> {
        let mut files: Vec<_> = files.into_iter().map(|file| BufReader::with_capacity(1 << 16, file)).collect();
        let mut heads = BinaryHeap::new();
        for (number, file) in files.iter_mut().enumerate() {
            heads.extend(read(file)?.map(|message| Reverse(Head(message.at, number, message))));
        }
        Ok(Self { files, heads })
    }
}

impl Iterator for Merged {
    type Item = io::Result<Recorded>;

    fn next(&mut self) -> Option<io::Result<Recorded>> {
        let mut head = self.heads.peek_mut()?;
        let number = head.0.1;
        Some(match read(&mut self.files[number]) {
            Ok(Some(next)) => Ok(std::mem::replace(&mut *head, Reverse(Head(next.at, number, next))).0.2),
            Ok(None) => Ok(PeekMut::pop(head).0.2),
            Err(error) => Err(error),
        })
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Writes a message: its time, and its other parts, each with its length before it; that of a part that is missing is 0,
/// and the others are one more than they are.
fn write(out: &mut impl Write, message: &Recorded) -> io::Result<()> {
    let Recorded { at, topic, key, value, headers } = message;
    out.write_all(&at.to_le_bytes())?;
    let mut part = |part: Option<&[u8]>| {
        let length = part.map_or(0, |part| part.len() as u64 + 1);
        out.write_all(&length.to_le_bytes())?;
        out.write_all(part.unwrap_or_default())
    };
    part(topic.as_ref().map(String::as_bytes))?;
    part(key.as_deref())?;
    part(value.as_deref())?;
    for (name, value) in headers {
        part(Some(name.as_bytes()))?;
        part(value.as_deref())?;
    }
    part(None)
}

/// Reads what [`write`] has written; `None` at the end.
fn read(file: &mut impl Read) -> io::Result<Option<Recorded>> {
    let mut at = [0; 8];
    match file.read_exact(&mut at) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut part = || -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let Some(length) = u64::from_le_bytes(length).checked_sub(1) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(io::Error::other);
    let (topic, key, value) = (part()?.map(text).transpose()?, part()?, part()?);
    let mut headers = Vec::new();
    while let Some(name) = part()? {
        headers.push((text(name)?, part()?));
    }
    Ok(Some(Recorded { at: i64::from_le_bytes(at), topic, key, value, headers }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever fits in memory, messages come by their times, and those of one time in their order.
        #[test]
        fn messages_come_by_their_times(
            times in proptest::collection::vec(0..20_i64, 0..300),
            memory in 1..4000_usize,
        ) {
            let message = |(number, at): (usize, &i64)| Recorded {
                at: *at,
                topic: (number % 3 == 0).then(|| "t".to_owned()),
                key: (number % 2 == 0).then(|| vec![0xff; number % 5]),
                value: (number % 7 != 0).then(|| number.to_string().into_bytes()),
                headers: vec![("h".to_owned(), None); number % 3],
            };
            let mut messages: Vec<Recorded> = times.iter().enumerate().map(message).collect();
            let mut sorter = Sorter::with_memory(memory);
            for message in &messages {
                sorter.add(message.clone()).expect("added");
            }
            let sorted: Vec<Recorded> = sorter.sorted().expect("sorted").collect::<Result<_, _>>().expect("read");
            messages.sort_by_key(|message| message.at);
            prop_assert_eq!(sorted, messages);
        }
    }
}
