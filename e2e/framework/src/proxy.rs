//! The recording proxy: every AWS call of the subject passes it, is written down in [`Calls`], and meets the faults injected there.
//!
//! Requests are passed on byte for byte, `Host` included, so that their signatures stay valid. Where they would not count all the same, for
//! the service is AWS or wants credentials that the subject does not have, they are signed anew: see [`crate::resign`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as _;
use std::future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::calls::{Calls, Hook, InFlight, Moment, Plan};
use crate::resign::{Content, Signer, Unsigned};
use crate::stack::http::{self, BoxError};
use crate::tls::Trust;
use crate::upstream::Upstream;

/// The services behind the proxy.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// DynamoDB.
    pub dynamodb: Upstream,
    /// S3.
    pub s3: Upstream,
    /// SQS, where the stack has it.
    pub sqs: Option<Upstream>,
    /// Who signs requests anew; `None`: they are passed on byte for byte.
    pub signer: Option<Signer>,
    /// Whose certificates services at `https://` may have.
    pub trust: Trust,
}

/// Where the proxy listens: one address a service, and one for all.
#[derive(Debug, Clone, Copy)]
pub struct Proxy {
    /// For `AWS_ENDPOINT_URL`: tells the services apart by `X-Amz-Target`.
    pub any: SocketAddr,
    /// For `AWS_ENDPOINT_URL_DYNAMODB`.
    pub dynamodb: SocketAddr,
    /// For `AWS_ENDPOINT_URL_S3`.
    pub s3: SocketAddr,
}

impl Proxy {
    /// Listens on ports of 127.0.0.1 that the kernel picks, for as long as `runtime` lives.
    pub fn start(runtime: &Handle, upstreams: &Upstreams, calls: &Calls) -> io::Result<Self> {
        let _context = runtime.enter();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let tls = upstreams.trust.client_config().map_err(io::Error::other)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(https.wrap_connector(connector));
        let listen = |only: Option<Service>| -> io::Result<SocketAddr> {
            let (listener, address) = bind()?;
            let route = Route { only, upstreams: upstreams.clone(), calls: calls.clone(), client: client.clone() };
            let service = service_fn(move |request| {
                let route = route.clone();
                async move { Ok::<_, Infallible>(route.answer(request).await) }
            });
            runtime.spawn(http::serve(listener, service));
            Ok(address)
        };
        Ok(Self { any: listen(None)?, dynamodb: listen(Some(Service::DynamoDb))?, s3: listen(Some(Service::S3))? })
    }

    /// What leads an AWS SDK to the proxy.
    pub fn environment(&self, region: &str, access_key: &str, secret_key: &str) -> BTreeMap<String, String> {
        let url = |address: SocketAddr| format!("http://{address}");
        [
            ("AWS_ENDPOINT_URL", url(self.any)),
            ("AWS_ENDPOINT_URL_S3", url(self.s3)),
            ("AWS_ENDPOINT_URL_DYNAMODB", url(self.dynamodb)),
            ("AWS_REGION", region.to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A listener on a port of 127.0.0.1 that the kernel picks. Called within a runtime.
pub(crate) fn bind() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    DynamoDb,
    S3,
    Sqs,
    Other,
}

impl Service {
    /// S3 is the one service that does not name its operation in `X-Amz-Target`.
    fn of(headers: &HeaderMap) -> Self {
        match headers.get("x-amz-target") {
            None => Self::S3,
            Some(target) if target.as_bytes().starts_with(b"DynamoDB") => Self::DynamoDb,
            Some(target) if target.as_bytes().starts_with(b"AmazonSQS") => Self::Sqs,
            Some(_) => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::S3 => "s3",
            Self::Sqs => "sqs",
            Self::Other => "other",
        }
    }

    /// How the service itself refuses a call for its rate.
    fn throttled(self) -> Response<Payload> {
        let (status, kind, body) = match self {
            Self::S3 => (
                StatusCode::SERVICE_UNAVAILABLE,
                "application/xml",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
            ),
            Self::Sqs => (
                StatusCode::BAD_REQUEST,
                "application/x-amz-json-1.0",
                "{\"__type\":\"com.amazonaws.sqs#RequestThrottled\",\"message\":\"The request was denied due to request throttling.\"}",
            ),
            Self::DynamoDb | Self::Other => (
                StatusCode::BAD_REQUEST,
                "application/x-amz-json-1.0",
                "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException\",\
                 \"message\":\"The level of configured provisioned throughput for the table was exceeded.\"}",
            ),
        };
        response(status, kind, body.into())
    }
}

/// A body on its way through.
type Payload = UnsyncBoxBody<Bytes, BoxError>;

fn whole(bytes: Bytes) -> Payload {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Payload> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// One listener's way to the services.
#[derive(Clone)]
struct Route {
    /// The service of this listener; `None` for all of them.
    only: Option<Service>,
    upstreams: Upstreams,
    calls: Calls,
    client: Client<HttpsConnector<HttpConnector>, Payload>,
}

impl Route {
    async fn answer(self, request: Request<Incoming>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let service = self.only.unwrap_or_else(|| Service::of(&head.headers));
        // DynamoDB names its table in the body, which is small; S3's bodies are large and stream through.
        if service == Service::S3 {
            let (operation, target) = s3_operation(&head.method, &head.uri, &head.headers);
            let (call, plan) = self.calls.begin(service.name(), operation.into(), target);
            let (calls, number) = (self.calls.clone(), call.number());
            let counted = body.map_frame(move |frame| {
                calls.add_request_bytes(number, frame.data_ref().map_or(0, Bytes::len));
                frame
            });
            return self.carry_out(service, plan, call, head, counted.map_err(Into::into).boxed_unsync()).await;
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            // The client left while it was sending: nobody has been asked anything, and nobody reads this.
            Err(error) => return Answer::untracked(bad_gateway(&error.to_string())),
        };
        let operation = dynamodb_operation(&head.headers);
        let (call, plan) = self.calls.begin(service.name(), operation, dynamodb_tables(&body));
        self.calls.add_request_bytes(call.number(), body.len());
        if let Plan::Unprocessed = plan {
            return self.leave_one_unprocessed(call, head, body).await;
        }
        self.carry_out(service, plan, call, head, whole(body)).await
    }

    async fn carry_out(
        &self,
        service: Service,
        plan: Plan,
        call: InFlight,
        head: Parts,
        body: Payload,
    ) -> Response<Answer> {
        match plan {
            Plan::Forward | Plan::Unprocessed => {
                let (response, call) = self.forward(service, call, head, body).await;
                Answer::tracked(response, call)
            }
            Plan::Throttle => {
                drain(body).await;
                Answer::tracked(service.throttled(), Some(call))
            }
            Plan::Hold(Moment::Before, hook) => {
                drain(body).await;
                hold(call, hook).await
            }
            Plan::Hold(Moment::After, hook) => {
                let (response, call) = self.forward(service, call, head, body).await;
                drain(response.into_body()).await;
                hold(call, hook).await
            }
        }
    }

    /// The service's answer. The call is `None` if it has ended already, which happens only when its client has gone.
    ///
    /// The service's work is not cut short when the client leaves, so that a call which has ended has no effects to come.
    async fn forward(
        &self,
        service: Service,
        call: InFlight,
        mut head: Parts,
        body: Payload,
    ) -> (Response<Payload>, Option<InFlight>) {
        let upstream = match service {
            Service::DynamoDb => Some(&self.upstreams.dynamodb),
            Service::S3 => Some(&self.upstreams.s3),
            Service::Sqs => self.upstreams.sqs.as_ref(),
            Service::Other => None,
        };
        let Some(upstream) = upstream else {
            let target = head.headers.get("x-amz-target").map(|t| String::from_utf8_lossy(t.as_bytes()).into_owned());
            let problem = format!("this stack has no service for {}", target.unwrap_or_default());
            let body = Value::from(problem).to_string();
            return (response(StatusCode::NOT_IMPLEMENTED, "application/json", body.into()), Some(call));
        };
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(upstream.scheme.clone());
        uri.authority = Some(upstream.authority.clone());
        uri.path_and_query = uri.path_and_query.or_else(|| Some(PathAndQuery::from_static("/")));
        head.uri = match Uri::from_parts(uri) {
            Ok(uri) => uri,
            Err(error) => return (bad_gateway(&error.to_string()), Some(call)),
        };
        strip_hop_by_hop(&mut head.headers);
        let body = match self.sign(service, &mut head, body).await {
            Ok(body) => body,
            Err(problem) => return (unsigned(&problem), Some(call)),
        };
        let (upstream, client) = (upstream.clone(), self.client.clone());
        let (deliver, delivered) = oneshot::channel();
        tokio::spawn(async move {
            let answer = client.request(Request::from_parts(head, body)).await;
            // Refused when the client has gone; the call then ends here, as such.
            let _ = deliver.send((answer, call));
        });
        match delivered.await {
            Ok((Ok(answer), call)) => {
                let mut answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
                strip_hop_by_hop(answer.headers_mut());
                (answer, Some(call))
            }
            Ok((Err(error), call)) => {
                let cause = error.source();
                if cause.and_then(|cause| cause.downcast_ref::<hyper::Error>()).is_some_and(hyper::Error::is_user) {
                    // It is the request's body that failed: the client left before it had sent all of it.
                    return (bad_gateway("the request ended early"), None);
                }
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                (bad_gateway(&format!("no answer from {} at {upstream}: {cause}", service.name())), Some(call))
            }
            Err(_) => (bad_gateway("the call was abandoned"), None),
        }
    }

    /// Signs a request anew, where that is wanted, and gives its body back; of one that cannot be signed the body has been read then.
    async fn sign(&self, service: Service, head: &mut Parts, body: Payload) -> Result<Payload, Unsigned> {
        let Some(signer) = &self.upstreams.signer else { return Ok(body) };
        let (outcome, body) = if service == Service::S3 {
            (signer.sign(service.name(), head, Content::Declared).await, body)
        } else {
            // It has been received already, and may have been changed here.
            let bytes = body.collect().await.map_err(|error| Unsigned::Request(error.to_string()))?.to_bytes();
            (signer.sign(service.name(), head, Content::Whole(&bytes)).await, whole(bytes))
        };
        match outcome {
            Ok(()) => Ok(body),
            Err(problem) => {
                drain(body).await;
                Err(problem)
            }
        }
    }

    /// Passes a `BatchWriteItem` on without its last item, and adds that one to the answer's `UnprocessedItems`.
    async fn leave_one_unprocessed(&self, call: InFlight, mut head: Parts, body: Bytes) -> Response<Answer> {
        let Some(batch) = shorten(&body) else {
            return self.carry_out(Service::DynamoDb, Plan::Forward, call, head, whole(body)).await;
        };
        let Some(rest) = &batch.rest else {
            let answer = response(StatusCode::OK, "application/x-amz-json-1.0", batch.add_to(json!({})));
            return Answer::tracked(answer, Some(call));
        };
        head.headers.insert(CONTENT_LENGTH, rest.len().into());
        let (answer, call) = self.forward(Service::DynamoDb, call, head, whole(rest.clone())).await;
        if answer.status() != StatusCode::OK {
            return Answer::tracked(answer, call);
        }
        let (mut head, body) = answer.into_parts();
        let answer = body.collect().await.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        let Some(answer) = answer else {
            return Answer::tracked(bad_gateway("DynamoDB's answer to BatchWriteItem is not JSON"), call);
        };
        // Both describe the body that is replaced.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove("x-amz-crc32");
        Answer::tracked(Response::from_parts(head, whole(batch.add_to(answer))), call)
    }
}

/// Runs the hook, then keeps the call in flight until its client leaves: hyper drops this future when it sees that.
async fn hold(call: impl Send, hook: Hook) -> Response<Answer> {
    // A hook that panics has failed its test on a thread of its own; the call is held all the same.
    let _ = tokio::task::spawn_blocking(hook).await;
    let response = future::pending().await;
    drop(call);
    response
}

/// Reads a body to its end, so that the connection can carry the next request and the client's leaving is noticed.
async fn drain(mut body: Payload) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn bad_gateway(problem: &str) -> Response<Payload> {
    refusal(StatusCode::BAD_GATEWAY, problem)
}

fn unsigned(problem: &Unsigned) -> Response<Payload> {
    let status = match problem {
        Unsigned::Chunks(_) | Unsigned::Presigned => StatusCode::NOT_IMPLEMENTED,
        Unsigned::Credentials(_) | Unsigned::Request(_) => StatusCode::BAD_GATEWAY,
    };
    refusal(status, &problem.to_string())
}

fn refusal(status: StatusCode, problem: &str) -> Response<Payload> {
    response(status, "text/plain", format!("recording proxy: {problem}").into())
}

/// These concern one connection, and there are two.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(HeaderName::from_static("keep-alive"));
}

/// An answer on its way to the client; its call has finished once the last byte is handed to the connection.
struct Answer {
    body: Payload,
    status: u16,
    call: Option<InFlight>,
}

impl Answer {
    fn tracked(response: Response<Payload>, call: Option<InFlight>) -> Response<Self> {
        let status = response.status().as_u16();
        response.map(|body| Self { body, status, call })
    }

    fn untracked(response: Response<Payload>) -> Response<Self> {
        Self::tracked(response, None)
    }

    fn finish(&mut self) {
        if let Some(call) = self.call.take() {
            call.finish(self.status);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // An empty body is never polled. Any other that is dropped before its end has lost its client, which the call's own drop records.
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}

fn dynamodb_operation(headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").map(|target| String::from_utf8_lossy(target.as_bytes()));
    let target = target.as_deref().unwrap_or("unknown");
    target.rsplit('.').next().unwrap_or(target).to_owned()
}

/// The tables that a DynamoDB request names, without reading its items.
#[expect(clippy::zero_sized_map_values, reason = "a set would not read past the values of a JSON object")]
fn dynamodb_tables(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "TableName")]
        table: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "RequestItems")]
        batch: Option<BTreeMap<Cow<'a, str>, IgnoredAny>>,
        #[serde(borrow, rename = "TransactItems")]
        transaction: Option<Vec<BTreeMap<Cow<'a, str>, Named<'a>>>>,
    }
    fn collect<'a>(named: Named<'a>, tables: &mut Vec<Cow<'a, str>>) {
        tables.extend(named.table);
        tables.extend(named.batch.into_iter().flat_map(BTreeMap::into_keys));
        for action in named.transaction.into_iter().flatten().flat_map(BTreeMap::into_values) {
            collect(action, tables);
        }
    }
    let mut tables = Vec::new();
    if let Ok(named) = serde_json::from_slice(body) {
        collect(named, &mut tables);
    }
    tables.sort_unstable();
    tables.dedup();
    tables.join(",")
}

/// A `BatchWriteItem` of which the last item is left out.
struct Shortened {
    /// The request without it; `None` if it was the only one.
    rest: Option<Bytes>,
    table: String,
    item: Value,
}

/// `None` if it is no batch of items.
fn shorten(body: &[u8]) -> Option<Shortened> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let tables = request.get_mut("RequestItems")?.as_object_mut()?;
    let table = tables.iter().rfind(|(_, items)| items.as_array().is_some_and(|items| !items.is_empty()))?.0.clone();
    let items = tables.get_mut(&table)?.as_array_mut()?;
    let item = items.pop()?;
    if items.is_empty() {
        tables.remove(&table);
    }
    let rest = (!tables.is_empty()).then(|| request.to_string().into());
    Some(Shortened { rest, table, item })
}

impl Shortened {
    /// The service's answer to the rest, with the item that was left out among its own unprocessed ones.
    fn add_to(&self, mut answer: Value) -> Bytes {
        if let Some(answer) = answer.as_object_mut() {
            let tables = answer.entry("UnprocessedItems").or_insert_with(|| json!({}));
            if let Some(tables) = tables.as_object_mut() {
                let items = tables.entry(self.table.as_str()).or_insert_with(|| json!([]));
                if let Some(items) = items.as_array_mut() {
                    items.push(self.item.clone());
                }
            }
        }
        answer.to_string().into()
    }
}

/// Operation and target of an S3 request in path style: `PutObject` and `bucket/key`.
fn s3_operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> (&'static str, String) {
    let target = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy().into_owned();
    let (bucket, key) = target.split_once('/').unwrap_or((&target, ""));
    let has = |name: &str| {
        let query = uri.query().unwrap_or("");
        query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(name, _)| name) == name)
    };
    let copies = headers.contains_key("x-amz-copy-source");
    let operation = match (method, bucket, key) {
        (&Method::GET, "", _) => "ListBuckets",
        (&Method::GET, _, "") if has("uploads") => "ListMultipartUploads",
        (&Method::GET, _, "") if has("list-type") => "ListObjectsV2",
        (&Method::GET, _, "") if has("location") => "GetBucketLocation",
        (&Method::GET, _, "") => "ListObjects",
        (&Method::HEAD, _, "") => "HeadBucket",
        (&Method::PUT, _, "") => "CreateBucket",
        (&Method::DELETE, _, "") => "DeleteBucket",
        (&Method::POST, _, "") => "DeleteObjects",
        (&Method::GET, ..) if has("uploadId") => "ListParts",
        (&Method::GET, ..) => "GetObject",
        (&Method::HEAD, ..) => "HeadObject",
        (&Method::PUT, ..) if has("uploadId") && copies => "UploadPartCopy",
        (&Method::PUT, ..) if has("uploadId") => "UploadPart",
        (&Method::PUT, ..) if copies => "CopyObject",
        (&Method::PUT, ..) => "PutObject",
        (&Method::POST, ..) if has("uploads") => "CreateMultipartUpload",
        (&Method::POST, ..) if has("uploadId") => "CompleteMultipartUpload",
        (&Method::DELETE, ..) if has("uploadId") => "AbortMultipartUpload",
        (&Method::DELETE, ..) => "DeleteObject",
        _ => "Unknown",
    };
    let target = target.strip_suffix('/').filter(|_| key.is_empty()).map_or(target.clone(), ToOwned::to_owned);
    (operation, target)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn s3_operations_are_told_by_method_path_and_query() {
        let cases = [
            ("GET", "/", "ListBuckets", ""),
            ("PUT", "/lake", "CreateBucket", "lake"),
            ("HEAD", "/lake/", "HeadBucket", "lake"),
            ("GET", "/lake/?list-type=2&prefix=a%2Fb", "ListObjectsV2", "lake"),
            ("GET", "/lake?uploads&prefix=x", "ListMultipartUploads", "lake"),
            ("POST", "/lake?delete", "DeleteObjects", "lake"),
            ("PUT", "/lake/a/b%20c.json?x-id=PutObject", "PutObject", "lake/a/b c.json"),
            ("PUT", "/lake/k?partNumber=1&uploadId=7", "UploadPart", "lake/k"),
            ("POST", "/lake/k?uploads", "CreateMultipartUpload", "lake/k"),
            ("POST", "/lake/k?uploadId=7", "CompleteMultipartUpload", "lake/k"),
            ("DELETE", "/lake/k?uploadId=7", "AbortMultipartUpload", "lake/k"),
            ("DELETE", "/lake/k", "DeleteObject", "lake/k"),
            ("GET", "/lake/k?uploadId=7", "ListParts", "lake/k"),
            ("GET", "/lake/folder/", "GetObject", "lake/folder/"),
            ("HEAD", "/lake/k", "HeadObject", "lake/k"),
        ];
        for (method, uri, operation, target) in cases {
            let found = s3_operation(&method.parse().unwrap(), &uri.parse().unwrap(), &HeaderMap::new());
            assert_eq!(found, (operation, target.to_owned()), "{method} {uri}");
        }
    }

    #[test]
    fn tables_are_named_in_three_ways() {
        let tables = |body: Value| dynamodb_tables(body.to_string().as_bytes());
        assert_eq!(tables(json!({"TableName": "rows", "Item": {"pk": {"S": "TableName"}}})), "rows");
        assert_eq!(tables(json!({"RequestItems": {"b": [], "a": []}})), "a,b");
        let transaction = json!({"TransactItems": [{"Put": {"TableName": "b"}}, {"Delete": {"TableName": "a"}}, {"Put": {"TableName": "b"}}]});
        assert_eq!(tables(transaction), "a,b");
        assert_eq!(dynamodb_tables(b"not JSON"), "");
    }

    #[test]
    fn the_last_item_of_a_batch_is_taken_out_and_nothing_else() {
        let put = |id: &str| json!({"PutRequest": {"Item": {"pk": {"S": id}}}});
        let batch = json!({"RequestItems": {"rows": [put("1"), put("2")]}, "ReturnConsumedCapacity": "NONE"});
        let shortened = shorten(batch.to_string().as_bytes()).unwrap();
        let rest: Value = serde_json::from_slice(shortened.rest.as_deref().unwrap()).unwrap();
        assert_eq!(rest, json!({"RequestItems": {"rows": [put("1")]}, "ReturnConsumedCapacity": "NONE"}));
        let answer = shortened.add_to(json!({"UnprocessedItems": {"rows": [put("1")]}, "ConsumedCapacity": []}));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, json!({"UnprocessedItems": {"rows": [put("1"), put("2")]}, "ConsumedCapacity": []}));

        let single = json!({"RequestItems": {"rows": [put("1")]}});
        let shortened = shorten(single.to_string().as_bytes()).unwrap();
        assert_eq!((shortened.rest, shortened.item), (None, put("1")));
        assert!(shorten(b"{\"RequestItems\": {\"rows\": []}}").is_none());
    }
}
