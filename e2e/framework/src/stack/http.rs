//! An HTTP/1.1 server on a listener that is already bound: no port is lost between choosing it and using it.

use std::error::Error;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Any error of a body or a service.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Serves every connection until its client leaves. Never returns; dropped, it ends all connections.
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
                    // Without this, Nagle's algorithm may hold back the end of an answer until its beginning is acknowledged. A socket that
                    // refuses the option is one whose client has left.
                    let _ = stream.set_nodelay(true);
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                    // An error of a connection is its client's: it left, or did not speak HTTP and has been told so.
                    connections.spawn(async move { drop(connection.await) });
                }
                // The process is out of file descriptors, or the client left in the queue: what is accepted already goes on.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
