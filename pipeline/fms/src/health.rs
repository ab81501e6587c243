//! `fms health`: asks a worker for its health, so that an image without a shell needs no other program for its health
//! check.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// How much of the answer is read. The problems of a worker are described in less.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Asks for this `http://host:port/path`. If the answer's status is not 200, the error has the answer's text.
/// Connecting, and each read after that, may take as long as `timeout`.
pub fn probe(url: &str, timeout: Duration) -> anyhow::Result<()> {
    let (authority, path) = parse(url).with_context(|| format!("{url}: allowed: `http://host:port/path`"))?;
    let answer = ask(authority, path, timeout).with_context(|| format!("{url}: no answer; is the worker running?"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    let mut words = status.split(' ');
    ensure!(words.next().is_some_and(|version| version.starts_with("HTTP/1.")), "{url}: the answer is not HTTP");
    ensure!(words.next() == Some("200"), "{url}: {status}: {}", body.trim());
    Ok(())
}

/// The host and port of a URL, and its path.
fn parse(url: &str) -> anyhow::Result<(&str, &str)> {
    let address = url.strip_prefix("http://").context("is not HTTP")?;
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let port = authority.rsplit_once(':').context("has no port")?.1;
    ensure!(port.parse::<u16>().is_ok(), "has no port from 0 to 65535");
    // With a line break in the path, one request could become two.
    ensure!(!path.contains(|c: char| c.is_whitespace() || c.is_control()), "has a blank in its path");
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

/// Reads the whole answer. With HTTP/1.0 it has no chunks and ends with the connection.
fn ask(authority: &str, path: &str, timeout: Duration) -> anyhow::Result<String> {
    let mut stream = connect(authority, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects to the first of the host's addresses that accepts.
fn connect(authority: &str, timeout: Duration) -> anyhow::Result<TcpStream> {
    let mut failure = None;
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error.into()),
        None => bail!("the host has no address"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::BufRead;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// The first line of the request, and what `probe` makes of this answer.
    fn answered(answer: &'static str) -> (String, Result<(), String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = std::io::BufReader::new(&stream).lines().map(Result::unwrap);
            let request = lines.next().unwrap();
            assert!(lines.any(|line| line.is_empty()));
            (&stream).write_all(answer.as_bytes()).unwrap();
            request
        });
        let result = probe(&format!("http://localhost:{port}/health"), LONG);
        let text = result.map_err(|error| format!("{error:#}").replace(&port.to_string(), "PORT"));
        (server.join().unwrap(), text)
    }

    #[test]
    fn status_200_is_healthy() {
        let (request, result) = answered("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(request, "GET /health HTTP/1.0");
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn any_other_answer_is_shown() {
        let (_, result) = answered("HTTP/1.1 503 Service Unavailable\r\n\r\ns3-0: no bucket\n");
        assert_eq!(
            result.unwrap_err(),
            "http://localhost:PORT/health: HTTP/1.1 503 Service Unavailable: s3-0: no bucket"
        );
        let (_, result) = answered("200 OK");
        assert_eq!(result.unwrap_err(), "http://localhost:PORT/health: the answer is not HTTP");
    }

    #[test]
    fn no_answer_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        // Connected by the operating system, answered by nobody.
        let silent = format!("{:#}", probe(&url, Duration::from_millis(20)).unwrap_err());
        assert!(silent.starts_with(&format!("{url}: no answer; is the worker running?: ")), "{silent}");
        drop(listener);
        let refused = format!("{:#}", probe(&url, LONG).unwrap_err());
        assert!(refused.contains("no answer") && refused.contains("refused"), "{refused}");
    }

    #[test]
    fn a_url_of_another_form_is_refused() {
        for (url, problem) in [
            ("https://localhost:8083/health", "is not HTTP"),
            ("http://localhost/health", "has no port"),
            ("http://localhost:port/health", "has no port from 0 to 65535"),
            ("http://localhost:8083/health HTTP/1.0\r\n", "has a blank in its path"),
        ] {
            let error = format!("{:#}", probe(url, LONG).unwrap_err());
            assert_eq!(error, format!("{url}: allowed: `http://host:port/path`: {problem}"));
        }
        assert_eq!(parse("http://[::1]:8083").unwrap(), ("[::1]:8083", "/"));
    }
}
