//! The messages of Kafka's protocol on one connection. Each begins with its length; a request then has its kind, the
//! version of the kind and a number, and an answer has the number of its request. Nothing more of them is understood but
//! the addresses of brokers in some answers, and the members of groups in some requests.

use std::collections::HashMap;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};

use super::members::{Members, is_of_group};
use super::requests::{Fate, Requests};
use super::{Absent, Place, Route};

/// The kinds of requests whose answers have addresses of brokers: `Metadata`, `FindCoordinator` and
/// `DescribeCluster`.
const WITH_ADDRESSES: [i16; 3] = [3, 10, 60];

/// The longest message that is read into memory.
const MAX_READ: usize = 64 << 20;

/// What is done with an answer, apart from relaying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The relay's address is put into it.
    Readdress,
    /// It is not relayed, nor is anything after it.
    Hold,
}

/// A connection of a client to a broker.
pub(super) struct Connection {
    number: usize,
    route: Route,
    /// The requests whose answers are treated specially, by their number.
    answers: Mutex<HashMap<i32, Then>>,
    members: Mutex<Members>,
}

impl Connection {
    pub(super) fn new(route: Route) -> Self {
        let number = route.with_requests(Requests::connect);
        Self { number, route, answers: Mutex::default(), members: Mutex::default() }
    }

    /// Relays requests until the client closes the connection.
    pub(super) async fn requests(
        &self,
        mut client: impl AsyncRead + Unpin,
        mut broker: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        loop {
            let Some((head, rest)) = head::<12>(&mut client).await? else { return Ok(()) };
            let [_, _, _, _, k0, k1, v0, v1, number @ ..] = head;
            let (key, number) = (i16::from_be_bytes([k0, k1]), i32::from_be_bytes(number));
            let then = match self.route.with_requests(|requests| requests.arrived(self.number, key)) {
                Fate::Pass => WITH_ADDRESSES.contains(&key).then_some(Then::Readdress),
                Fate::HoldAnswer => Some(Then::Hold),
                Fate::Hold => {
                    // The broker gets no part of this request, and nothing of what the client sends after it.
                    copy(&mut client, &mut sink()).await?;
                    return Ok(());
                }
            };
            if let Some(then) = then {
                self.with_answers(|answers| answers.insert(number, then));
            }
            if self.route.absent == Absent::Leave && is_of_group(key) {
                let request = whole(&mut client, rest).await?;
                let version = i16::from_be_bytes([v0, v1]);
                self.with_members(|members| members.requested(key, version, number, &request));
                broker.write_all(&head).await?;
                broker.write_all(&request).await?;
                continue;
            }
            broker.write_all(&head).await?;
            relay_rest(&mut client, &mut broker, rest).await?;
        }
    }

    /// Relays answers until the broker closes the connection.
    pub(super) async fn answers(
        &self,
        mut broker: impl AsyncRead + Unpin,
        mut client: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        loop {
            let Some((head, rest)) = head::<8>(&mut broker).await? else { return Ok(()) };
            let [_, _, _, _, number @ ..] = head;
            let number = i32::from_be_bytes(number);
            self.with_members(|members| members.answered(number));
            match self.with_answers(|answers| answers.remove(&number)) {
                None => {
                    client.write_all(&head).await?;
                    relay_rest(&mut broker, &mut client, rest).await?;
                }
                Some(Then::Readdress) => {
                    let mut answer = whole(&mut broker, rest).await?;
                    for place in self.route.places.iter() {
                        readdress(&mut answer, *place);
                    }
                    client.write_all(&head).await?;
                    client.write_all(&answer).await?;
                }
                Some(Then::Hold) => {
                    self.route.with_requests(Requests::answered);
                    pending::<()>().await;
                }
            }
        }
    }

    /// The requests by which the members of this connection leave that have not left, and whether one of them still waits for
    /// the others of its group to join. Until then, librdkafka's mock cluster reads nothing from the connection.
    pub(super) fn leave(&self) -> (Vec<u8>, bool) {
        self.with_members(|members| (members.leave(), members.wait()))
    }

    fn with_members<T>(&self, change: impl FnOnce(&mut Members) -> T) -> T {
        change(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_answers<T>(&self, change: impl FnOnce(&mut HashMap<i32, Then>) -> T) -> T {
        change(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The first bytes of the next message, its length among them, and how many bytes follow. `None` if the connection was
/// closed before it.
async fn head<const N: usize>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<([u8; N], usize)>> {
    let (mut head, mut length) = ([0; N], [0; 4]);
    if from.read_exact(&mut length).await.is_err() {
        return Ok(None);
    }
    head[..4].copy_from_slice(&length);
    from.read_exact(&mut head[4..]).await?;
    Ok(Some((head, rest(length, N - 4)?)))
}

/// How many bytes follow the first `read` bytes after the length.
fn rest(length: [u8; 4], read: usize) -> io::Result<usize> {
    let length = usize::try_from(i32::from_be_bytes(length)).ok();
    length
        .and_then(|length| length.checked_sub(read))
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "this is not Kafka's protocol without encryption"))
}

/// The rest of a message.
async fn whole(from: &mut (impl AsyncRead + Unpin), rest: usize) -> io::Result<Vec<u8>> {
    if rest > MAX_READ {
        return Err(io::Error::new(ErrorKind::InvalidData, "a message that has to be read is too long"));
    }
    let mut message = vec![0; rest];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn relay_rest(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    rest: usize,
) -> io::Result<()> {
    let copied = copy(&mut from.take(rest as u64), to).await?;
    if copied < rest as u64 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    to.flush().await
}

/// Puts the relay's port where the broker's address is. In all versions of the protocol a broker's host is text, and its
/// port is the four bytes after it. Both hosts are the same, so that nothing becomes longer. No broker has the port of a
/// relay, so what was put in for one broker is not found for another.
fn readdress(answer: &mut [u8], Place { broker, relay }: Place) {
    let host = broker.ip().to_string();
    let address = |port: u16| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
    let (of_broker, of_relay) = (address(broker.port()), address(relay.port()));
    let mut at = 0;
    while let Some(found) = answer[at..].windows(of_broker.len()).position(|bytes| bytes == of_broker) {
        at += found;
        answer[at..at + of_relay.len()].copy_from_slice(&of_relay);
        at += of_relay.len();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_relays_port_takes_the_place_of_the_brokers() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = |port: u16| [&b"\x0a127.0.0.1"[..], &u32::from(port).to_be_bytes()].concat();
        let mut answer = [text(9092), text(9093), text(9092)].concat();
        readdress(&mut answer, Place { broker: address(9092), relay: address(40_000) });
        assert_eq!(answer, [text(40_000), text(9093), text(40_000)].concat());
    }

    #[test]
    fn what_is_shorter_than_its_own_head_is_not_kafkas() {
        assert_eq!(rest([0, 0, 0, 12], 8).expect("a length"), 4);
        assert!(rest([0, 0, 0, 7], 8).is_err());
        assert!(rest(*b"\xff\xff\xff\xff", 4).is_err());
    }
}
