//! A file that is being written: in memory while it is small, then on disk.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::SpooledTempFile;

/// How much of a file is held in memory. An object may have a thousand files open, one for each hour of its rows.
const MEMORY: usize = 1 << 20;

/// A file that nobody sees. It is gone when it is dropped.
#[derive(Debug)]
pub struct Spool {
    file: SpooledTempFile,
    hash: Sha256,
    length: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self::new()
    }
}

impl Spool {
    /// A file without bytes.
    pub fn new() -> Self {
        Self { file: SpooledTempFile::new(MEMORY), hash: Sha256::new(), length: 0 }
    }

    /// How many bytes were written.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of the bytes, in hexadecimal digits.
    pub fn digest(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// At most `length` bytes from `start` on.
    pub(super) fn read(&mut self, start: u64, length: u64) -> io::Result<Bytes> {
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_pieces_from_memory_and_from_disk() {
        for length in [10, 2 * MEMORY] {
            let content: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
            let mut spool = Spool::new();
            spool.write_all(&content).expect("written");
            assert_eq!((spool.length(), spool.digest()), (length as u64, hex::encode(Sha256::digest(&content))));
            let half = length as u64 / 2;
            let halves = [spool.read(0, half), spool.read(half, length as u64)].map(|half| half.expect("read"));
            assert_eq!(halves.concat(), content);
        }
    }
}
