//! An HTTP endpoint that answers the sinks' calls to S3 and DynamoDB at the lowest cost: it stores each body unread.
//!
//! Each connection has a thread that blocks. During a run, only the head of a request is parsed.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// The name of the only bucket and of the only table.
pub const STORE: &str = "fms-bench";

const TABLE: &str = r#"{"Table":{"TableName":"fms-bench","TableStatus":"ACTIVE",
"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],
"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}]}}"#;

/// What one call stored, or the last call of a multipart upload.
pub struct StoredBody {
    /// When it was stored.
    pub at: Instant,
    /// The body.
    pub bytes: Vec<u8>,
}

/// Everything that was stored since the contents were taken last.
#[derive(Default)]
pub struct Contents {
    /// Objects by key. As in S3, a later object replaces an earlier one.
    pub objects: HashMap<String, StoredBody>,
    /// The bodies of `BatchWriteItem`.
    pub batches: Vec<StoredBody>,
    uploads: HashMap<String, BTreeMap<u32, Vec<u8>>>,
    last: Option<Instant>,
}

#[derive(Default)]
struct State {
    contents: Mutex<Contents>,
    delay_millis: AtomicU64,
    next_upload: AtomicU64,
}

/// The endpoint. Its threads run as long as the process.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<State>,
}

impl Endpoint {
    /// Starts the endpoint on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening for the endpoint")?;
        let address = listener.local_addr()?;
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::Builder::new().name("endpoint".into()).spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), state) = (stream, Arc::clone(&shared)) else { continue };
                thread::spawn(move || {
                    if let Err(error) = serve(&stream, &state) {
                        eprintln!("endpoint: {error}");
                    }
                });
            }
        })?;
        Ok(Self { address, state })
    }

    /// The URL of the endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Delays every answer by this time from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.state.delay_millis.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When the last call that stores something arrived.
    pub fn last_call(&self) -> Option<Instant> {
        lock(&self.state).last
    }

    /// Takes everything that was stored, which leaves the endpoint empty.
    pub fn take(&self) -> Contents {
        std::mem::take(&mut *lock(&self.state))
    }
}

fn lock(state: &State) -> MutexGuard<'_, Contents> {
    state.contents.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of a request's head that the endpoint needs.
#[derive(Default)]
struct Head {
    method: String,
    path: String,
    query: String,
    length: usize,
    target: String,
    expects: bool,
}

impl Head {
    /// Reads the next head; `None` at the end of the connection.
    fn read(stream: &mut BufReader<&TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut head = Self { method: method.into(), path: path.into(), query: query.into(), ..Self::default() };
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(head)) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().map_err(io::Error::other)?,
                "x-amz-target" => head.target = value.into(),
                "expect" => head.expects = true,
                "transfer-encoding" => return Err(io::Error::other("a body of unknown length is not understood")),
                _ => {}
            }
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(16 * 1024, stream);
    let mut out = stream;
    loop {
        // A subject that is being stopped may close its connection at any point.
        let Ok(Some(head)) = Head::read(&mut reader) else { return Ok(()) };
        if head.expects {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; head.length];
        reader.read_exact(&mut body)?;
        let delay = state.delay_millis.load(Ordering::Relaxed);
        if delay > 0 {
            thread::sleep(Duration::from_millis(delay));
        }
        let (status, answer) = answer(state, &head, body);
        let length = answer.len();
        let answer = format!("HTTP/1.1 {status}\r\nETag: \"0\"\r\nContent-Length: {length}\r\n\r\n{answer}");
        out.write_all(answer.as_bytes())?;
    }
}

fn answer(state: &State, head: &Head, body: Vec<u8>) -> (&'static str, String) {
    const OK: &str = "200 OK";
    let stored = |bytes| StoredBody { at: Instant::now(), bytes };
    let mut contents = lock(state);
    match (head.method.as_str(), head.target.rsplit('.').next().unwrap_or_default()) {
        ("POST", "DescribeTable") => return (OK, TABLE.into()),
        ("POST", "BatchWriteItem") => {
            let stored = stored(body);
            contents.last = Some(stored.at);
            contents.batches.push(stored);
            return (OK, r#"{"UnprocessedItems":{}}"#.into());
        }
        _ => {}
    }
    let upload = head.parameter("uploadId").map(str::to_owned);
    match (head.method.as_str(), upload) {
        ("PUT", None) => {
            let stored = stored(body);
            contents.last = Some(stored.at);
            contents.objects.insert(head.path.clone(), stored);
            (OK, String::new())
        }
        ("POST", None) if head.parameter("uploads").is_some() => {
            let id = state.next_upload.fetch_add(1, Ordering::Relaxed);
            contents.uploads.insert(id.to_string(), BTreeMap::new());
            let xml =
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
            (OK, xml)
        }
        ("PUT", Some(id)) => {
            let number = head.parameter("partNumber").and_then(|number| number.parse().ok()).unwrap_or_default();
            contents.last = Some(Instant::now());
            contents.uploads.entry(id).or_default().insert(number, body);
            (OK, String::new())
        }
        ("POST", Some(id)) => {
            let parts = contents.uploads.remove(&id).unwrap_or_default();
            let stored = stored(parts.into_values().flatten().collect());
            contents.last = Some(stored.at);
            contents.objects.insert(head.path.clone(), stored);
            (OK, "<CompleteMultipartUploadResult><ETag>\"0\"</ETag></CompleteMultipartUploadResult>".into())
        }
        ("HEAD" | "DELETE", _) => (OK, String::new()),
        ("GET", _) if head.parameter("uploads").is_some() => {
            (OK, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>".into())
        }
        ("GET", _) => (OK, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".into()),
        _ => ("501 Not Implemented", String::new()),
    }
}
