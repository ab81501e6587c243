//! An HTTP/1.1 server on a listener that is already bound, so that no other process can take the port before it is
//! used.

use std::error::Error;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Any error of a body or of a service.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Serves every connection until its client closes it. This future never returns. When it is dropped, all connections
/// end.
pub(crate) async fn serve<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without this option, Nagle's algorithm may delay the end of an answer until its beginning is
                    // acknowledged. A socket refuses the option only if its client has closed the connection.
                    let _ = stream.set_nodelay(true);
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                    // An error of a connection is caused by its client, which closed it, or did not speak HTTP and has
                    // been told so.
                    connections.spawn(async move { drop(connection.await) });
                }
                // The process has no file descriptor left, or a client closed its connection before it was accepted.
                // Connections that are already accepted continue.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
