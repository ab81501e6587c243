//! A site on this machine: it shows a page that can be changed, and keeps what is posted to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

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
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let mut answer = "ok".to_owned();
        if head.starts_with("POST ") {
            self.posts.lock().expect("no panic").push(String::from_utf8(body).ok()?);
        } else {
            self.page.lock().expect("no panic").clone_into(&mut answer);
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{answer}", answer.len()).ok()
    }
}
