//! Kafka's request `AlterPartitionReassignments` (number 45, version 0, of KIP-455), which librdkafka does not have. It says
//! on which brokers partitions are to be.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const KEY: i16 = 45;
const VERSION: i16 = 0;
const CLIENT: &[u8] = b"e2e";

/// How long the brokers may take to accept the request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;
/// What a message of the protocol has after its fields when it has no tagged ones.
const NO_TAGS: u8 = 0;

/// The only broker on which a partition is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replica<'t> {
    pub topic: &'t str,
    pub partition: i32,
    pub broker: i32,
}

/// Asks the broker at this address for this, which passes it on to the controller. When it returns, the move has begun.
pub(super) fn reassign(at: SocketAddr, replicas: &[Replica<'_>]) -> io::Result<()> {
    let mut broker = TcpStream::connect_timeout(&at, TIMEOUT)?;
    broker.set_read_timeout(Some(TIMEOUT))?;
    let request = request(replicas)?;
    broker.write_all(&i32::try_from(request.len()).map_err(io::Error::other)?.to_be_bytes())?;
    broker.write_all(&request)?;
    let mut length = [0; 4];
    broker.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= MAX_ANSWER);
    let mut answer = vec![0; length.ok_or_else(|| io::Error::other("the answer has an impossible length"))?];
    broker.read_exact(&mut answer)?;
    check(&answer)
}

fn request(replicas: &[Replica<'_>]) -> io::Result<Vec<u8>> {
    let mut topics: BTreeMap<&str, Vec<(i32, i32)>> = BTreeMap::new();
    for Replica { topic, partition, broker } in replicas {
        topics.entry(topic).or_default().push((*partition, *broker));
    }
    let mut bytes = Vec::new();
    bytes.extend(KEY.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    // The number by which the answer is told apart; there is one request on the connection.
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend(i16::try_from(CLIENT.len()).map_err(io::Error::other)?.to_be_bytes());
    bytes.extend(CLIENT);
    bytes.push(NO_TAGS);
    bytes.extend(i32::try_from(TIMEOUT.as_millis()).map_err(io::Error::other)?.to_be_bytes());
    put_length(&mut bytes, topics.len());
    for (topic, partitions) in topics {
        put_length(&mut bytes, topic.len());
        bytes.extend(topic.as_bytes());
        put_length(&mut bytes, partitions.len());
        for (partition, broker) in partitions {
            bytes.extend(partition.to_be_bytes());
            put_length(&mut bytes, 1);
            bytes.extend(broker.to_be_bytes());
            bytes.push(NO_TAGS);
        }
        bytes.push(NO_TAGS);
    }
    bytes.push(NO_TAGS);
    Ok(bytes)
}

/// Puts the length of an array or a text: one more than it is, in groups of seven bits.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let mut left = length + 1;
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7f).unwrap_or_default() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap_or_default());
}

/// An error if the answer says that the request as a whole, or a partition of it, was refused.
fn check(answer: &[u8]) -> io::Result<()> {
    let mut answer = Answer(answer);
    // The number of the request, and the tags of the head.
    answer.take(4)?;
    answer.skip_tags()?;
    // For how long the client is throttled.
    answer.take(4)?;
    answer.code("the request")?;
    for _ in 0..answer.length()? {
        let length = answer.length()?;
        let topic = String::from_utf8_lossy(answer.take(length)?).into_owned();
        for _ in 0..answer.length()? {
            let partition = answer.number()?;
            answer.code(&format!("{topic}-{partition}"))?;
            answer.skip_tags()?;
        }
        answer.skip_tags()?;
    }
    Ok(())
}

/// The rest of an answer.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(io::Error::other)
    }

    fn number(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn varint(&mut self) -> io::Result<usize> {
        let mut number = 0;
        for shift in (0..28).step_by(7) {
            let [byte] = self.array()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(io::Error::other("the answer has a number that is too long"))
    }

    /// The length of an array or a text; one that is null has none.
    fn length(&mut self) -> io::Result<usize> {
        self.varint().map(|number| number.saturating_sub(1))
    }

    fn skip_tags(&mut self) -> io::Result<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Ok(())
    }

    /// Reads an error code and its text.
    fn code(&mut self, of: &str) -> io::Result<()> {
        let code = self.array().map(i16::from_be_bytes)?;
        let length = self.length()?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        if code == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!("Kafka refuses {of} with its error {code}: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_bytes_of_the_protocol() {
        let replicas =
            [("t", 0, 2), ("t", 1, 1)].map(|(topic, partition, broker)| Replica { topic, partition, broker });
        let bytes = request(&replicas).expect("a request");
        let head = [&[0, 45, 0, 0, 0, 0, 0, 0, 0, 3][..], b"e2e", &[0, 0, 0, 0x75, 0x30]].concat();
        let topic = [2, 2, b't', 3, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(bytes, [head, topic.to_vec()].concat());
    }

    #[test]
    fn long_texts_have_lengths_of_more_than_one_byte() {
        let mut bytes = Vec::new();
        put_length(&mut bytes, 299);
        assert_eq!(bytes, [0xac, 2]);
        assert_eq!(Answer(&bytes).length().expect("a length"), 299);
    }

    #[test]
    fn a_partition_that_is_refused_is_named() {
        let accepted = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
        check(&accepted).expect("accepted");
        let refused = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 7, 0, 39, 3, b'n', b'o', 0, 0, 0];
        let error = check(&refused).expect_err("refused").to_string();
        assert_eq!(error, "Kafka refuses t-7 with its error 39: no");
        assert!(check(&accepted[..20]).is_err(), "it is cut");
    }
}
