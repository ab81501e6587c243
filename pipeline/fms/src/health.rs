//! `fms health`: asks a worker for its health, so that an image without a shell needs no other program for its health
//! check.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use fms_connect::providers::properties;
use fms_serve::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How much of the answer is read. The problems of a worker are described in less.
const ANSWER_LIMIT: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the worker listens, and `/health`.
    #[arg(long, env = "FMS_HEALTH_URL", value_name = "URL", default_value = "http://127.0.0.1:8083/health")]
    url: String,
    /// With `https`: a file in PEM with the authority of the worker's certificate.
    #[arg(long, env = "FMS_HEALTH_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// If the worker asks for certificates: a file in PEM with that to show and its private key.
    #[arg(long, env = "FMS_HEALTH_CERTIFICATE_FILE", value_name = "FILE", requires = "ca_file")]
    certificate_file: Option<PathBuf>,
    /// If the worker asks for passwords: the user whose password to send.
    #[arg(long, env = "FMS_HEALTH_USER", value_name = "NAME", requires = "users_file")]
    user: Option<String>,
    /// The file with the password of the user: that of the worker, or another one of the same form.
    #[arg(long, env = "FMS_HEALTH_USERS_FILE", value_name = "FILE", requires = "user")]
    users_file: Option<PathBuf>,
}

/// Asks for the URL. If the answer's status is not 200, the error has the answer's text. Connecting, and each read after
/// that, may take as long as `timeout`.
pub(crate) fn probe(arguments: &Arguments, timeout: Duration) -> anyhow::Result<()> {
    let url = &arguments.url;
    let target = parse(url).with_context(|| format!("{url}: allowed: `http://host:port/path`, and with `https`"))?;
    let request = target.request(arguments)?;
    let tls = target.https.then(|| arguments.tls()).transpose().with_context(|| format!("{url}: asking by TLS"))?;
    let answer = target.ask(&request, tls, timeout);
    let answer = answer.with_context(|| format!("{url}: no answer; is the worker running?"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    let mut words = status.split(' ');
    ensure!(words.next().is_some_and(|version| version.starts_with("HTTP/1.")), "{url}: the answer is not HTTP");
    ensure!(words.next() == Some("200"), "{url}: {status}: {}", body.trim());
    Ok(())
}

impl Arguments {
    /// What is trusted and shown in a handshake of TLS.
    fn tls(&self) -> anyhow::Result<ClientConfig> {
        let ca = self.ca_file.as_deref();
        let authorities = tls::authorities(ca.context("`https` needs --ca-file or FMS_HEALTH_CA_FILE")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(authorities);
        let Some(file) = &self.certificate_file else { return Ok(config.with_no_client_auth()) };
        let (chain, key) = tls::identity(file)?;
        config.with_client_auth_cert(chain, key).with_context(|| format!("{}", file.display()))
    }

    /// The name of the user, and the user's password.
    fn credentials(&self) -> anyhow::Result<Option<String>> {
        let (Some(user), Some(file)) = (&self.user, &self.users_file) else { return Ok(None) };
        Ok(Some(format!("{user}:{}", password(file, user)?)))
    }
}

fn password(file: &Path, user: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    properties(&text).remove(user).with_context(|| format!("{}: has no user `{user}`", file.display()))
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Target<'u> {
    https: bool,
    /// The host and the port.
    authority: &'u str,
    /// The host alone, without the brackets of an IPv6 address.
    host: &'u str,
    path: &'u str,
}

fn parse(url: &str) -> anyhow::Result<Target<'_>> {
    let (https, address) = match url.split_once("://") {
        Some(("http", address)) => (false, address),
        Some(("https", address)) => (true, address),
        _ => bail!("is not HTTP"),
    };
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let (host, port) = authority.rsplit_once(':').context("has no port")?;
    ensure!(port.parse::<u16>().is_ok(), "has no port from 0 to 65535");
    // With a line break in the path, one request could become two.
    ensure!(!path.contains(|c: char| c.is_whitespace() || c.is_control()), "has a blank in its path");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Target { https, authority, host, path: if path.is_empty() { "/" } else { path } })
}

impl Target<'_> {
    /// The request. With HTTP/1.0 the answer has no chunks and ends with the connection.
    fn request(&self, arguments: &Arguments) -> anyhow::Result<String> {
        let Self { path, authority, .. } = self;
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n");
        if let Some(credentials) = arguments.credentials()? {
            request.extend(["Authorization: Basic ", &BASE64_STANDARD.encode(credentials), "\r\n"]);
        }
        Ok(request + "\r\n")
    }

    /// Reads the whole answer.
    fn ask(&self, request: &str, tls: Option<ClientConfig>, timeout: Duration) -> anyhow::Result<String> {
        let mut stream = connect(self.authority, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        match tls {
            None => exchange(&mut stream, request),
            Some(config) => {
                let name = ServerName::try_from(self.host.to_owned())?;
                let connection = ClientConnection::new(Arc::new(config), name)?;
                exchange(&mut StreamOwned::new(connection, stream), request)
            }
        }
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> anyhow::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_LIMIT).read_to_end(&mut answer) {
        // A server may close a connection without a farewell of TLS; what is missing then is missed below.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
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

    fn probe(url: &str, timeout: Duration) -> anyhow::Result<()> {
        let plain = Arguments { url: url.into(), ca_file: None, certificate_file: None, user: None, users_file: None };
        super::probe(&plain, timeout)
    }

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
            ("ftp://localhost:8083/health", "is not HTTP"),
            ("http://localhost/health", "has no port"),
            ("http://localhost:port/health", "has no port from 0 to 65535"),
            ("http://localhost:8083/health HTTP/1.0\r\n", "has a blank in its path"),
        ] {
            let error = format!("{:#}", probe(url, LONG).unwrap_err());
            assert_eq!(error, format!("{url}: allowed: `http://host:port/path`, and with `https`: {problem}"));
        }
        let target = parse("https://[::1]:8083").unwrap();
        assert_eq!(target, Target { https: true, authority: "[::1]:8083", host: "::1", path: "/" });
        let error = format!("{:#}", probe("https://localhost:8083/health", LONG).unwrap_err());
        assert!(error.ends_with("asking by TLS: `https` needs --ca-file or FMS_HEALTH_CA_FILE"), "{error}");
    }
}
