//! What every long-running command here shows over HTTP: routes of its own, served within limits and, if it has to be, by
//! TLS, and the metrics of the process.

mod recorder;
pub mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

pub use metrics_exporter_prometheus::PrometheusHandle;
pub use recorder::{metrics_text, recorder, upkeep};
pub use tls::{ClientAuth, ServerTls, TlsError, TlsFiles};

/// The limits of what clients can take up of the process, whatever they do.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The most connections at a time. One more closes the one that has been open for longest; a client that asks and
    /// reads is done long before that.
    connections: usize,
    /// How long the head of a request may take, and before it the handshake of TLS.
    head: Duration,
    /// How long a connection, which is for one request, may take in all.
    whole: Duration,
    /// The most bytes of a request's body.
    body: usize,
}

const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(5), whole: Duration::from_secs(10), body: 256 << 10 };
/// The pause after the system could not give a connection because it has no descriptor left. Other connections end
/// meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests at this socket by these routes, without end. The socket must not block.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    serve_within(LIMITS, listener, None, router).await
}

/// As [`serve`], where an answer may take as long as `answer`. With `tls`, nothing else is answered.
pub async fn serve_for(
    answer: Duration,
    listener: TcpListener,
    tls: Option<ServerTls>,
    router: Router,
) -> io::Result<()> {
    serve_within(Limits { whole: LIMITS.whole + answer, ..LIMITS }, listener, tls, router).await
}

async fn serve_within(limits: Limits, listener: TcpListener, tls: Option<ServerTls>, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = TowerToHyperService::new(router.layer(DefaultBodyLimit::max(limits.body)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(false);
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the REST interface cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= limits.connections
            && let Some(longest) = connections.pop_front()
        {
            longest.abort();
        }
        let connection = connection(limits, http.clone(), tls.clone(), stream, service.clone());
        let connection = tokio::time::timeout(limits.whole, connection);
        connections.push_back(tokio::spawn(async move { drop(connection.await) }).abort_handle());
    }
}

/// Serves one connection. An error concerns its client only.
async fn connection(
    limits: Limits,
    http: http1::Builder,
    tls: Option<ServerTls>,
    stream: TcpStream,
    service: TowerToHyperService<Router>,
) {
    let Some(ServerTls(acceptor)) = tls else {
        drop(http.serve_connection(TokioIo::new(stream), service).await);
        return;
    };
    match tokio::time::timeout(limits.head, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => drop(http.serve_connection(TokioIo::new(stream), service).await),
        Ok(Err(error)) => debug!(%error, "a client of the REST interface did not come to terms about TLS"),
        Err(_) => debug!("a client of the REST interface did not end the handshake of TLS in time"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use axum::body::Bytes;
    use axum::routing::{get, put};
    use tokio::runtime::Runtime;

    use super::*;

    fn serving(limits: Limits) -> (Runtime, SocketAddr) {
        let router = Router::new().route("/health", get(async || "ok")).route("/echo", put(async |body: Bytes| body));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.spawn(serve_within(limits, listener, None, router));
        (runtime, address)
    }

    fn client(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    /// What comes until the server closes the connection; an error is a connection that was reset.
    fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        match stream.read_to_string(&mut text) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
            _ => text,
        }
    }

    fn status(answer: &str) -> Option<u16> {
        answer.split(' ').nth(1)?.parse().ok()
    }

    const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: w\r\n\r\n";

    #[test]
    fn clients_that_do_not_go_on_are_closed_and_leave_room_for_others_meanwhile() {
        // The times are long, so only the limit on the number of connections can close one.
        let patient = Limits { connections: 8, head: Duration::from_mins(1), whole: Duration::from_mins(1), ..LIMITS };
        let (_runtime, address) = serving(patient);
        let slow: Vec<_> = (0..100).map(|_| client(address, "GET /health HT")).collect();
        assert_eq!(status(&answer(client(address, HEALTH))), Some(200));
        for stream in slow.into_iter().take(100 - patient.connections) {
            assert_eq!(answer(stream), "");
        }
    }

    #[test]
    fn a_connection_has_its_time_for_head_and_body_and_serves_one_request() {
        let limits = Limits { head: Duration::from_millis(200), whole: Duration::from_millis(600), body: 50, ..LIMITS };
        let (_runtime, address) = serving(limits);
        // The answer ends only when the server closes the connection, which HTTP/1.1 would keep open.
        assert_eq!(status(&answer(client(address, HEALTH))), Some(200));
        assert_eq!(answer(client(address, "")), "");
        assert_eq!(answer(client(address, "GET /health HTTP/1.1\r\nhost:")), "");
        let body = "PUT /echo HTTP/1.1\r\nhost: w\r\ncontent-length: 9\r\n\r\n{";
        assert_eq!(answer(client(address, body)), "");
        let large = format!("{}{}", body.replace(": 9", ": 100"), "x".repeat(99));
        assert_eq!(status(&answer(client(address, &large))), Some(413));
    }
}
