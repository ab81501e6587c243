//! A backend on this machine, of `OpenLineage` or a Pushgateway, which keeps what it is sent.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::request::request;

/// A request that was taken.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: String,
    pub body: String,
}

/// The backend. It answers with these statuses, one after the other, and then with 201. What it has not taken comes
/// again.
#[derive(Clone)]
pub struct Backend {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Backend {
    pub fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let backend = Self { url, received: Arc::default() };
        let (serving, mut statuses) = (backend.clone(), VecDeque::from(statuses.to_vec()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some((head, body)) = request(&stream) else { continue };
                let status = statuses.pop_front().unwrap_or(201);
                if status < 300 {
                    serving.received.lock().unwrap_or_else(PoisonError::into_inner).push(Received { head, body });
                }
                let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
                // A client that is killed has closed its connection.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        backend
    }

    /// What it has taken, in the order in which that came.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The address of a backend that is down.
pub fn down() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}
