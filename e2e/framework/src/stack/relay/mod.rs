//! A TCP relay before the embedded broker, which can break all connections and refuse new ones.
//!
//! librdkafka's mock cluster can do this itself, but only by closing its listening socket and binding the port again. This
//! fails, and ends the whole process, when another thread is just starting a child, which has a copy of the socket until
//! it executes its program.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::proxy::bind;

/// A relay on a port that the kernel picks. It ends with its runtime.
pub(super) struct Relay {
    pub address: SocketAddr,
    /// Whether connections are accepted. All of them are broken whenever this value is set, to whatever.
    is_up: watch::Sender<bool>,
}

impl Relay {
    /// Relays connections to `broker`.
    pub(super) fn start(runtime: &Handle, broker: SocketAddr) -> io::Result<Self> {
        let _context = runtime.enter();
        let (listener, address) = bind()?;
        let (is_up, state) = watch::channel(true);
        runtime.spawn(serve(listener, broker, state));
        Ok(Self { address, is_up })
    }

    /// Breaks all connections. New ones are refused from now on unless `up`.
    pub(super) fn set(&self, up: bool) {
        // It fails only when nobody relays any more.
        let _ = self.is_up.send(up);
    }
}

async fn serve(listener: TcpListener, broker: SocketAddr, state: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let mut state = state.clone();
                // A connection that is refused is closed before it has carried anything.
                if *state.borrow_and_update() {
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = relay(client, broker) => {}
                            _ = state.changed() => {}
                        }
                    });
                }
            }
            // The process has no file descriptor left, or a client closed its connection before it was accepted.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Relays a connection until one side closes it.
async fn relay(mut client: TcpStream, broker: SocketAddr) -> io::Result<()> {
    let mut broker = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}
