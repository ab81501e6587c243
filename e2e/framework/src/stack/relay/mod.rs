//! A relay before the brokers of a Kafka cluster: it can break all connections and refuse new ones, knows which requests there were, and
//! can hold one of them, at which a subject can be killed.
//!
//! librdkafka's mock cluster can break connections itself, but only by closing its listening socket and binding the port
//! again. This fails, and ends the whole process, when another thread is just starting a child, which has a copy of the
//! socket until it executes its program. Other brokers can do none of this.

mod frames;
mod members;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::requests::Requests;
use crate::calls::Moment;
use crate::proxy::bind;

/// What becomes of the members of a consumer group whose client has closed its connection, as happens when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The broker waits for their sessions to end.
    Stay,
    /// The relay tells the broker that they leave.
    Leave,
}

/// How often it is looked whether all connections are broken.
const LOOK: Duration = Duration::from_millis(1);

/// A relay on a port that the kernel picks, for each broker. It ends with its runtime.
pub(super) struct Relay {
    /// Whether connections are accepted. All of them are broken whenever this value is set.
    is_up: watch::Sender<bool>,
    route: Route,
}

impl Relay {
    /// Relays connections to these brokers. Where a broker tells clients the address of one of them, the relay tells them
    /// its own.
    pub(super) fn start(runtime: &Handle, brokers: &[SocketAddr], absent: Absent) -> io::Result<Self> {
        let _context = runtime.enter();
        let mut listeners = Vec::new();
        let mut places = Vec::new();
        for broker in brokers {
            let (listener, relay) = bind()?;
            listeners.push(listener);
            places.push(Place { broker: *broker, relay });
        }
        let (is_up, state) = watch::channel(true);
        let route = Route { places: places.into(), requests: Arc::default(), alive: Arc::default(), absent };
        for (listener, broker) in listeners.into_iter().zip(brokers) {
            runtime.spawn(serve(listener, *broker, route.clone(), state.clone()));
        }
        Ok(Self { is_up, route })
    }

    /// The addresses of the brokers, without the relay.
    pub(super) fn brokers(&self) -> impl Iterator<Item = SocketAddr> {
        self.route.places.iter().map(|place| place.broker)
    }

    /// The addresses at which the brokers are relayed, in the same order.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.route.places.iter().map(|place| place.relay)
    }

    /// Breaks all connections. New ones are refused from now on unless `up`. When it returns, the brokers know of no
    /// connection any more that was broken.
    pub(super) fn set(&self, up: bool) {
        // It fails only when nobody relays any more.
        let _ = self.is_up.send(false);
        while self.route.alive.load(Ordering::SeqCst) > 0 && self.is_up.receiver_count() > 0 {
            std::thread::sleep(LOOK);
        }
        if up {
            let _ = self.is_up.send(true);
        }
    }

    /// The names of the requests so far that can be held, in the order of their arrival.
    pub(super) fn requests(&self) -> Vec<&'static str> {
        self.route.with_requests(|requests| requests.names().to_vec())
    }

    /// How many requests for committed offsets there were so far.
    pub(super) fn offset_fetches(&self) -> usize {
        self.route.with_requests(|requests| requests.offset_fetches())
    }

    /// Holds the n-th request of this name from now on. False if there is no such request.
    pub(super) fn hold(&self, name: &str, nth: usize, moment: Moment) -> bool {
        self.route.with_requests(|requests| requests.hold(name, nth, moment))
    }

    /// Whether the request that [`Self::hold`] was asked to hold has come, and has taken effect if it was to.
    pub(super) fn holds(&self) -> bool {
        self.route.with_requests(|requests| requests.holds())
    }

    /// How many connections have asked for committed offsets so far.
    pub(super) fn fetching_connections(&self) -> usize {
        self.route.with_requests(|requests| requests.fetching_connections())
    }
}

/// A broker, and the address at which it is relayed.
#[derive(Clone, Copy)]
struct Place {
    broker: SocketAddr,
    relay: SocketAddr,
}

/// What the connections of a relay have in common.
#[derive(Clone)]
struct Route {
    places: Arc<[Place]>,
    requests: Arc<Mutex<Requests>>,
    /// How many connections there are.
    alive: Arc<AtomicUsize>,
    absent: Absent,
}

impl Route {
    fn with_requests<T>(&self, change: impl FnOnce(&mut Requests) -> T) -> T {
        change(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(listener: TcpListener, broker: SocketAddr, route: Route, state: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let (mut state, route) = (state.clone(), route.clone());
                // Counted before the state is looked at, so that who breaks connections does not miss this one.
                let alive = Alive::new(&route);
                // A connection that is refused is closed before it has carried anything.
                if *state.borrow_and_update() {
                    tokio::spawn(async move {
                        // It fails when a side is gone, and then the other one is told by the end of its connection.
                        let _ = relay(client, broker, route, state).await;
                        drop(alive);
                    });
                }
            }
            // The process has no file descriptor left, or a client closed its connection before it was accepted.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A connection that is relayed, as long as this value exists.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(route: &Route) -> Self {
        route.alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&route.alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Relays a connection until one side closes it, or it is broken.
async fn relay(
    mut client: TcpStream,
    address: SocketAddr,
    route: Route,
    mut state: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut broker = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_broker, to_broker) = broker.split();
    let connection = frames::Connection::new(route.clone());
    // A side that has closed its half of the connection sends nothing any more, and the other half is of no use then.
    let (ended, is_whole) = tokio::select! {
        ended = connection.requests(from_client, to_broker) => {
            let is_whole = ended.is_ok();
            (ended, is_whole)
        }
        // What was to be answered to a client that is gone ends here as well.
        ended = connection.answers(from_broker, to_client) => (ended, false),
        // librdkafka's mock cluster does not read from a connection on which a member waits to join, and so it would not see
        // an orderly end of it. It would still take the member for one that waits, and ends the process when the member
        // asks again on another connection.
        _ = state.changed() => return broker.set_zero_linger(),
    };
    match route.absent {
        Absent::Stay => ended,
        Absent::Leave => leave(&connection, broker, address, is_whole).await,
    }
}

/// Tells the broker that the members whose client has closed its connection leave: on what is left of this connection, after
/// all that the client has sent, if the broker still reads from it; `is_whole` says whether the client has sent whole
/// requests only.
async fn leave(
    connection: &frames::Connection,
    mut broker: TcpStream,
    address: SocketAddr,
    is_whole: bool,
) -> io::Result<()> {
    let (requests, wait) = connection.leave();
    // The broker reads nothing from it any more, and would not see its orderly end.
    let is_left = wait || !is_whole;
    if is_left {
        broker.set_zero_linger()?;
    }
    if requests.is_empty() {
        return Ok(());
    }
    if is_left {
        broker = TcpStream::connect(address).await?;
    }
    broker.write_all(&requests).await?;
    broker.shutdown().await?;
    // A connection that is closed before its answers are read may end before the broker has read the requests.
    tokio::io::copy(&mut broker, &mut tokio::io::sink()).await.map(drop)
}
