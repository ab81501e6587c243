//! What is around a function in AWS Lambda: the runtime API, and the mapping that hands the messages of a queue to it.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use e2e::internals::{Embedded, Queue, Resources, Stack as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

pub const PATIENCE: Duration = Duration::from_mins(1);

/// The time that an invocation has if nothing is said: never used up.
pub const LONG: Duration = Duration::from_mins(10);

/// What a function answered to an invocation: its response, or its error.
pub type Answer = Result<Value, Value>;

/// S3, SQS and Glue, the runtime API, and a client for the queues.
pub struct World {
    pub stack: Embedded,
    runtime: Runtime,
    sqs: aws_sdk_sqs::Client,
    api: Arc<Api>,
    api_address: SocketAddr,
    answers: mpsc::Receiver<(String, Answer)>,
}

/// The runtime API of one function: `GET …/invocation/next` waits for an event, and the answer is posted to
/// `…/invocation/<id>/response` or `…/error`.
struct Api {
    events: Mutex<VecDeque<(String, Duration, Value)>>,
    more: Notify,
    answers: mpsc::Sender<(String, Answer)>,
}

impl Api {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let api = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&api).answer(request));
            // A process that is killed breaks its connections.
            tokio::spawn(
                async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) },
            );
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let path = path.strip_prefix("/2018-06-01/runtime/invocation/").expect("the version that AWS documents");
        if path == "next" {
            assert_eq!(request.method(), Method::GET);
            return Ok(self.next().await);
        }
        let (id, kind) = path.split_once('/').expect("an id and a kind");
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).expect("JSON");
        let answer = match kind {
            "response" => Ok(body),
            "error" => Err(body),
            other => panic!("{other} is no path of the runtime API"),
        };
        self.answers.send((id.to_owned(), answer)).expect("the test is not over");
        Ok(Response::builder().status(202).body(Full::default()).expect("a response"))
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        loop {
            let more = self.more.notified();
            let event = self.events.lock().expect("no panic").pop_front();
            let Some((id, time, event)) = event else {
                more.await;
                continue;
            };
            let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + time;
            return Response::builder()
                .header("lambda-runtime-aws-request-id", id)
                .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
                .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:lake")
                .header("lambda-runtime-trace-id", "Root=1-5e1b4151-5ac6c58f3f0c5f4f3f0c5f4f")
                .body(Full::from(event.to_string()))
                .expect("a response");
        }
    }
}

impl World {
    /// The buckets `raw-data` and `lake`, the queues `events` and `failed`, and the database `fleet`.
    pub fn new() -> Self {
        let stack = Embedded::start().expect("the services");
        let queue = |name: &str| (name.to_owned(), Queue { visibility_timeout: 30, dead_letters: None });
        let resources = Resources {
            queues: [queue("events"), queue("failed")].into(),
            buckets: ["raw-data", "lake"].map(ToOwned::to_owned).into(),
            databases: vec!["fleet".to_owned()],
            ..Resources::default()
        };
        stack.provide(&resources).expect("what a lake needs");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let api_address = listener.local_addr().expect("an address");
        let (sender, answers) = mpsc::channel();
        let api = Arc::new(Api { events: Mutex::default(), more: Notify::new(), answers: sender });
        runtime.spawn(Arc::clone(&api).serve(listener));
        let sqs = aws_sdk_sqs::Client::new(&config(&stack));
        Self { stack, runtime, sqs, api, api_address, answers }
    }

    /// The function, with some variables of the environment other than usual.
    pub fn command(&self, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.env_clear().envs(self.stack.environment());
        command.env("AWS_LAMBDA_RUNTIME_API", self.api_address.to_string());
        command.env("AWS_LAMBDA_FUNCTION_NAME", "lake").env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
        command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024").env("TMPDIR", std::env::temp_dir());
        command.env("FMS_LAKE_TO", "s3://lake/v1").env("FMS_LAKE_DATABASE", "fleet");
        command.env("FMS_LAKE_FALLBACK_QUEUE_URL", url("failed")).envs(environment.iter().copied());
        command
    }

    pub fn start(&self, environment: &[(&str, &str)]) -> Function {
        let mut command = self.command(environment);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the function starts");
        let metrics = lines(child.stdout.take().expect("it is piped"));
        let log = lines(child.stderr.take().expect("it is piped"));
        Function { child, metrics, log }
    }

    pub fn put(&self, key: &str, body: &[u8]) {
        self.stack.put_object("raw-data", key, body).expect("an object");
    }

    pub fn send(&self, body: &str) {
        let sent = self.sqs.send_message().queue_url(url("events")).message_body(body).send();
        self.runtime.block_on(sent).expect("sent");
    }

    /// Receives what is in the queue, as one batch.
    pub fn receive(&self) -> Invocation {
        let received = self.sqs.receive_message().queue_url(url("events")).max_number_of_messages(10);
        let received = received.message_system_attribute_names(MessageSystemAttributeName::All).send();
        let messages = self.runtime.block_on(received).expect("received").messages.unwrap_or_default();
        let id = format!("request-{}", messages.first().and_then(Message::message_id).expect("a message"));
        Invocation { id, messages }
    }

    /// Receives what is in the queue and hands it to the function, which has this long.
    pub fn invoke(&self, time: Duration) -> Invocation {
        let batch = self.receive();
        let event = json!({ "Records": batch.messages.iter().map(record).collect::<Vec<_>>() });
        self.api.events.lock().expect("no panic").push_back((batch.id.clone(), time, event));
        self.api.more.notify_one();
        batch
    }

    /// Hands an event to the function as it is, and gives the answer.
    pub fn invoke_with(&self, event: Value) -> Answer {
        self.api.events.lock().expect("no panic").push_back(("request".to_owned(), LONG, event));
        self.api.more.notify_one();
        self.answers.recv_timeout(PATIENCE).expect("an answer").1
    }

    /// Waits for the answer, deletes the messages that it does not report, and makes the others visible. Gives the
    /// texts of the latter.
    pub fn finish(&self, invocation: &Invocation) -> Vec<String> {
        let (id, answer) = self.answers.recv_timeout(PATIENCE).expect("an answer");
        assert_eq!(id, invocation.id);
        let answer = answer.expect("no error of the function");
        let failures = answer["batchItemFailures"].as_array().expect("the report of failures");
        let failed: Vec<&str> = failures.iter().map(|one| one["itemIdentifier"].as_str().expect("an id")).collect();
        let again = |message: &&Message| failed.contains(&message.message_id().expect("an id"));
        for message in invocation.messages.iter().filter(|message| !again(message)) {
            let receipt = message.receipt_handle().expect("a receipt");
            let deleted = self.sqs.delete_message().queue_url(url("events")).receipt_handle(receipt).send();
            self.runtime.block_on(deleted).expect("deleted");
        }
        self.put_back(invocation);
        let again = invocation.messages.iter().filter(again);
        again.map(|message| message.body().expect("a text").to_owned()).collect()
    }

    /// Makes the messages that are left visible, as they would be after the visibility timeout.
    pub fn put_back(&self, invocation: &Invocation) {
        for message in &invocation.messages {
            let change = self.sqs.change_message_visibility().queue_url(url("events")).visibility_timeout(0);
            // A message that is deleted cannot be changed.
            drop(self.runtime.block_on(change.receipt_handle(message.receipt_handle().expect("a receipt")).send()));
        }
    }

    /// The letters in the fallback queue.
    pub fn letters(&self) -> Vec<Value> {
        let letters = self.stack.messages("failed").expect("a queue");
        letters.iter().map(|letter| serde_json::from_str(letter).expect("a letter")).collect()
    }

    pub fn left(&self) -> u64 {
        let depth = self.stack.queue("events").expect("a queue");
        depth.visible + depth.in_flight + depth.delayed
    }

    /// How many files of tables the lake has.
    pub fn files(&self) -> usize {
        let objects = self.stack.objects("lake").expect("the bucket");
        objects.iter().filter(|(key, _)| key.starts_with("v1/formatted/")).count()
    }

    /// Another address for that of this variable, at which requests with `text` in their heads wait until the gate is
    /// opened.
    pub fn gate(&self, variable: &str, text: &'static str) -> Gate {
        let upstream = self.stack.environment()[variable].trim_start_matches("http://").to_owned();
        let upstream = upstream.trim_end_matches('/').to_owned();
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (open, opened) = watch::channel(false);
        let (reached, waiting) = mpsc::channel();
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, opened, reached) = (upstream.clone(), opened.clone(), reached.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(upstream).await.expect("S3");
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    tokio::spawn(async move { drop(copy(&mut from_server, &mut to_client).await) });
                    forward(&mut from_client, &mut to_server, text, opened, &reached).await;
                });
            }
        });
        Gate { address, open, waiting }
    }
}

/// Hands bytes on. The head of a request comes in one piece, for clients write it so.
async fn forward(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    text: &str,
    mut opened: watch::Receiver<bool>,
    reached: &mpsc::Sender<()>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if String::from_utf8_lossy(&buffer[..length]).contains(text) && !*opened.borrow() {
            // Nobody waits for it if the test is over.
            let _ = reached.send(());
            drop(opened.wait_for(|open| *open).await);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Holds requests up.
pub struct Gate {
    pub address: String,
    open: watch::Sender<bool>,
    waiting: mpsc::Receiver<()>,
}

impl Gate {
    /// Waits until a request is held up.
    pub fn reached(&self) {
        self.waiting.recv_timeout(PATIENCE).expect("a request that is held up");
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Messages that a function was given.
pub struct Invocation {
    pub id: String,
    messages: Vec<Message>,
}

/// The process of a function.
pub struct Function {
    child: Child,
    metrics: mpsc::Receiver<Value>,
    log: mpsc::Receiver<Value>,
}

impl Function {
    /// The next lines of metrics, until one has this metric.
    pub fn metric(&self, name: &str) -> Value {
        next(&self.metrics, name, |line| !line[name].is_null())
    }

    /// The next line of the log that has this text.
    pub fn said(&self, text: &str) -> Value {
        next(&self.log, text, |line| line.to_string().contains(text))
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// The most memory that the process has had, KiB.
    pub fn peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // A function ends when Lambda ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(lines: &mpsc::Receiver<Value>, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {what}: {seen:#?}"));
        if is_it(&line) {
            return line;
        }
        seen.push(line);
    }
}

/// The lines of a stream, each of which is JSON.
fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Value> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or_else(|_| Value::from(line));
            // The test may be over.
            let _ = sender.send(value);
        }
    });
    lines
}

pub fn url(queue: &str) -> String {
    format!("http://sqs.invalid/000000000000/{queue}")
}

/// The event of S3 that names these objects.
pub fn event(keys: &[&str]) -> String {
    let record = |key: &&str| {
        let object = json!({"bucket": {"name": "raw-data"}, "object": {"key": key, "size": 100}});
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": object})
    };
    json!({ "Records": keys.iter().map(record).collect::<Vec<_>>() }).to_string()
}

/// A message as the mapping of Lambda gives it.
fn record(message: &Message) -> Value {
    let attributes: HashMap<&str, &String> =
        message.attributes().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
    json!({
        "messageId": message.message_id(), "receiptHandle": message.receipt_handle(), "body": message.body(),
        "attributes": attributes, "messageAttributes": {}, "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:events",
        "awsRegion": "us-east-1",
    })
}

fn config(stack: &Embedded) -> SdkConfig {
    let environment = stack.environment();
    let (id, secret) = (&environment["AWS_ACCESS_KEY_ID"], &environment["AWS_SECRET_ACCESS_KEY"]);
    SdkConfig::builder()
        .endpoint_url(&environment["AWS_ENDPOINT_URL"])
        .region(Region::new("us-east-1"))
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "test")))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

/// What a process that does not start says, and its exit status.
pub fn refused(command: &mut Command) -> (Option<i32>, Value) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the function starts");
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("UTF-8");
    let status = child.wait().expect("it ends").code();
    (status, serde_json::from_str(said.lines().last().expect("a line")).expect("JSON"))
}
