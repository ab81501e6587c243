//! A site on this machine: it shows a page that can be changed, and keeps what is posted to it.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::request::request;

#[derive(Clone)]
pub struct Site {
    port: u16,
    page: Arc<Mutex<String>>,
    posts: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let site = Self { port, page: Arc::new(Mutex::new(page.to_owned())), posts: Arc::default() };
        let serving = site.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let site = serving.clone();
                // Who asked may be gone by now.
                thread::spawn(move || site.serve(&stream.expect("a connection")));
            }
        });
        site
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn show(&self, page: &str) {
        page.clone_into(&mut self.page.lock().expect("no panic"));
    }

    pub fn posts(&self) -> Vec<String> {
        self.posts.lock().expect("no panic").clone()
    }

    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let (head, body) = request(stream)?;
        let mut answer = "ok".to_owned();
        if head.starts_with("POST ") {
            self.posts.lock().expect("no panic").push(body);
        } else {
            self.page.lock().expect("no panic").clone_into(&mut answer);
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{answer}", answer.len()).ok()
    }
}
