//! What is between a client and its server: it passes bytes on, counts those of the client, and stops at one of them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

/// A port that leads to another one, for one connection.
pub struct Proxy {
    pub port: u16,
    sent: Arc<AtomicU64>,
    /// Is told once, when as many bytes as were asked for have been passed on.
    pub reached: mpsc::Receiver<()>,
}

impl Proxy {
    /// Passes on what a client sends, up to its byte of this number, and no more.
    pub fn start(to: u16, most: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let sent = Arc::new(AtomicU64::new(0));
        let (reach, reached) = mpsc::channel();
        let counted = Arc::clone(&sent);
        thread::spawn(move || {
            let (client, _) = listener.accept().expect("a connection");
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("the server");
            let (mut answers, mut client_again) =
                (server.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
            thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut client_again);
                let _ = client_again.shutdown(Shutdown::Both);
            });
            forward(client, &server, most, &counted);
            let _ = reach.send(());
            // What was passed on has its effect, whoever is dead by then.
            let _ = server.shutdown(Shutdown::Write);
        });
        Self { port, sent, reached }
    }

    /// How many bytes the client has sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn forward(mut client: TcpStream, mut server: &TcpStream, most: u64, sent: &AtomicU64) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let left = usize::try_from(most - sent.load(Ordering::SeqCst)).unwrap_or(usize::MAX).min(bytes.len());
        if left == 0 {
            return;
        }
        match client.read(&mut bytes[..left]) {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if server.write_all(&bytes[..read]).is_err() {
                    return;
                }
                sent.fetch_add(read as u64, Ordering::SeqCst);
            }
        }
    }
}
