//! Tests of how the environment variables are read; of requests that are signed again for an S3 and a DynamoDB that
//! check signatures; and of both by HTTPS.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_s3::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use s3s::crypto::{Checksum as _, Sha256};
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::calls::{Calls, Fault, Hits};
use crate::proxy::service::{GLUE, SQS};
use crate::proxy::{self, Proxy, Upstreams};
use crate::resign::Signer;
use crate::stack::embedded::dynamodb::{self, Tables};
use crate::stack::embedded::kafka::Kafka;
use crate::stack::embedded::s3::{self, Store};
use crate::stack::http;
use crate::stack::{Resources, Table};
use crate::tls;

const KAFKA: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");

fn set<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
}

fn found(variables: &[(&str, &str)]) -> Result<Services, StackError> {
    Services::find(set(variables))
}

/// The endpoints in the region that is set, with a key that does not matter.
fn endpoints(variables: &[(&str, &str)]) -> Result<Endpoints, String> {
    let services = found(variables).map_err(|error| error.to_string())?;
    let region = services.region(None).map_err(|error| error.to_string())?;
    let access = Access::Key { access_key: String::new(), secret_key: String::new() };
    services.at(region, access).map_err(|error| error.to_string())
}

fn at(endpoints: &Endpoints, service: &Service) -> String {
    endpoints.of(service).unwrap().to_string()
}

#[test]
fn a_services_own_endpoint_wins() {
    let all = ("AWS_ENDPOINT_URL", "http://localhost:4566/");
    let endpoints = endpoints(&[KAFKA, all, ("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.example")]).unwrap();
    assert_eq!(at(&endpoints, &DYNAMODB), "https://dynamodb.example");
    assert_eq!([&S3, &SQS].map(|service| at(&endpoints, service)), ["http://localhost:4566", "http://localhost:4566"]);
    assert_eq!(endpoints.region, "us-east-1");
}

#[test]
fn a_service_without_an_endpoint_is_awss_own_in_the_region_that_is_set() {
    for (region, domain) in
        [("eu-central-1", "eu-central-1.amazonaws.com"), ("cn-north-1", "cn-north-1.amazonaws.com.cn")]
    {
        for variable in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            let endpoints = endpoints(&[KAFKA, (variable, region)]).unwrap();
            for service in service::ALL {
                assert_eq!(at(&endpoints, service), format!("https://{}.{domain}", service.name));
            }
            assert_eq!(endpoints.region, region);
        }
    }
    let s3 = ("AWS_ENDPOINT_URL_S3", "http://localhost:4566");
    let endpoints = endpoints(&[KAFKA, s3, ("AWS_REGION", "eu-central-1")]).unwrap();
    assert_eq!(at(&endpoints, &DYNAMODB), "https://dynamodb.eu-central-1.amazonaws.com");
    assert_eq!(at(&endpoints, &SQS), "http://localhost:4566", "SQS is where S3 is");
}

#[test]
fn credentials_of_the_chain_are_for_aws_and_https() {
    let wanted = |variables: &[(&str, &str)]| found(&[&[KAFKA], variables].concat()).unwrap().want_credentials();
    assert!(!wanted(&[("AWS_ENDPOINT_URL", "http://localhost:4566")]));
    assert!(wanted(&[]));
    assert!(wanted(&[("AWS_ENDPOINT_URL", "https://localhost:4566")]));
    assert!(wanted(&[("AWS_ENDPOINT_URL", "http://localhost:4566"), ("AWS_ENDPOINT_URL_S3", "https://minio.example")]));
    assert!(wanted(&[("AWS_ENDPOINT_URL", "http://dynamodb.us-east-1.amazonaws.com")]));
}

#[tokio::test]
async fn services_by_plain_http_take_the_key_that_is_set_or_a_default() {
    let local = ("AWS_ENDPOINT_URL", "http://localhost:4566");
    for (variables, expected) in [
        (vec![KAFKA, local], ("us-east-1", "e2e", "e2e")),
        (
            vec![KAFKA, local, ("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")],
            ("eu-west-1", "a", "b"),
        ),
    ] {
        let endpoints = found(&variables).unwrap().endpoints(set(&variables)).await.unwrap();
        let Access::Key { access_key, secret_key } = &endpoints.access else { panic!("{endpoints:?}") };
        assert_eq!((endpoints.region.as_str(), access_key.as_str(), secret_key.as_str()), expected);
    }
}

#[test]
fn the_region_of_the_profile_counts_after_the_environments() {
    let region = |variables: &[(&str, &str)]| found(variables).unwrap().region(Some("eu-north-1".to_owned())).unwrap();
    assert_eq!(region(&[KAFKA]), "eu-north-1");
    assert_eq!(region(&[KAFKA, ("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")]), "eu-west-1");
}

#[test]
fn what_is_missing_or_wrong_is_said_by_name() {
    let local = ("AWS_ENDPOINT_URL", "http://localhost:4566");
    for (variables, says) in [
        (&[][..], "KAFKA_BOOTSTRAP_SERVERS is not set"),
        (
            &[KAFKA],
            "neither AWS_ENDPOINT_URL_DYNAMODB nor AWS_ENDPOINT_URL is set, so DynamoDB is AWS's own, and its region",
        ),
        (&[KAFKA, ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8000")], "neither AWS_ENDPOINT_URL_S3 nor"),
        (&[KAFKA, local, ("AWS_ENDPOINT_URL_S3", "https://s3.eu-west-1.amazonaws.com")], "set AWS_REGION"),
        (&[KAFKA, ("AWS_REGION", "eu west")], "`eu west` is not the name of an AWS region"),
        (&[KAFKA, ("AWS_ENDPOINT_URL", "localhost:4566")], "AWS_ENDPOINT_URL: `localhost:4566` is not of the form"),
        (&[KAFKA, local, ("AWS_ENDPOINT_URL_SQS", "http://q/1")], "AWS_ENDPOINT_URL_SQS: `http://q/1` is not"),
    ] {
        let error = endpoints(variables).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}

/// A test on AWS would empty tables that somebody may need.
#[test]
fn a_pipeline_that_runs_already_is_not_tested_on_aws() {
    for (variables, says) in [
        (&[KAFKA, ("AWS_REGION", "eu-west-1")][..], "so DynamoDB is AWS's own"),
        (&[KAFKA, ("AWS_ENDPOINT_URL", "https://dynamodb.eu-west-1.amazonaws.com")], "is AWS's own"),
        (&[KAFKA, ("AWS_ENDPOINT_URL", "https://localhost:4566")], "an endpoint is https://"),
    ] {
        let error = found(variables).unwrap().may_be_emptied().expect_err(says).to_string();
        assert!(error.contains("emptied") && error.contains(says), "{error}");
    }
    found(&[KAFKA, ("AWS_ENDPOINT_URL", "http://localhost:4566")]).unwrap().may_be_emptied().unwrap();
}

const REGION: &str = "eu-central-1";
const REAL: (&str, &str) = ("AKIDREAL", "real-secret");
const TOKEN: &str = "a session's token";
const MIB: usize = 1024 * 1024;

/// A DynamoDB and an S3 that accept only the real key. Each has a port for HTTP and one for HTTPS.
struct Cloud {
    tables: Tables,
    store: Store,
    dynamodb: [Upstream; 2],
    s3: [Upstream; 2],
    runtime: Runtime,
}

const HTTP: usize = 0;
const HTTPS: usize = 1;

impl Cloud {
    fn start() -> Self {
        let runtime = remote::threads().unwrap();
        let (tables, store) = (Tables::new().unwrap(), Store::default());
        let context = runtime.enter();
        let (listener, inner) = proxy::bind().unwrap();
        runtime.spawn(dynamodb::serve(listener, tables.clone()));
        let (listener, at) = proxy::bind().unwrap();
        runtime.spawn(http::serve(listener, service_fn(move |request| checked(request, inner))));
        let dynamodb = Self::upstreams(&runtime, at);
        let (listener, at) = proxy::bind().unwrap();
        runtime.spawn(s3::serve(listener, store.clone(), REAL.0, REAL.1));
        let s3 = Self::upstreams(&runtime, at);
        drop(context);
        Self { tables, store, dynamodb, s3, runtime }
    }

    fn upstreams(runtime: &Runtime, at: SocketAddr) -> [Upstream; 2] {
        let (listener, secure) = proxy::bind().unwrap();
        runtime.spawn(tls::tests::terminate(listener, at));
        [format!("http://{at}"), format!("https://{secure}")].map(|url| url.parse().unwrap())
    }

    /// A proxy in front of S3, and a client of it as a subject has it, with a key that S3 does not know.
    fn proxied(&self, protocol: usize, signer: Option<Signer>) -> (Proxy, aws_sdk_s3::Client) {
        let upstreams = Upstreams {
            services: vec![(&DYNAMODB, self.dynamodb[protocol].clone()), (&S3, self.s3[protocol].clone())],
            signs_all: signer.is_some(),
            signer: signer.unwrap_or_else(self::signer),
            trust: Trust::system(Some(&tls::tests::authority())).unwrap(),
        };
        let proxy = Proxy::start(self.runtime.handle(), &upstreams, &Calls::default()).unwrap();
        let client = subject_s3(&format!("http://{}", proxy.address(&S3).unwrap()));
        (proxy, client)
    }

    /// A stack that uses the HTTPS ports.
    fn stack(&self, kafka: &Kafka, provider: SharedCredentialsProvider, bundle: Option<&Path>) -> Remote {
        let endpoints = Endpoints {
            kafka: kafka.client().bootstrap().to_owned(),
            // As where S3 is, if nothing else is said of the others.
            services: [(&DYNAMODB, &self.dynamodb), (&S3, &self.s3), (&SQS, &self.s3), (&GLUE, &self.s3)]
                .map(|(service, at): (&'static Service, _)| (service, at[HTTPS].clone()))
                .into(),
            region: REGION.to_owned(),
            access: Access::Credentials { provider, trust: Trust::system(bundle).unwrap() },
        };
        Remote::connect(remote::threads().unwrap(), &endpoints, namespace::new(), Box::new(RunningServices)).unwrap()
    }
}

fn credentials(secret: &str) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(REAL.0, secret, Some(TOKEN.to_owned()), None, "test"))
}

fn signer() -> Signer {
    Signer::new(credentials(REAL.1), REGION)
}

/// Checks a signature as DynamoDB does. The embedded DynamoDB does not do this. The canonical request is composed by
/// hand here.
async fn checked(
    request: Request<Incoming>,
    service: SocketAddr,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, http::BoxError> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let hash = |bytes: &[u8]| s3::hex(&Sha256::checksum(bytes));
    let part = |name: &str| {
        let rest = text(AUTHORIZATION.as_str()).split_once(name).map_or("", |(_, rest)| rest);
        rest.split(',').next().unwrap_or_default().to_owned()
    };
    let (names, scope) = (part("SignedHeaders="), part("Credential="));
    let headers: String = names.split(';').map(|name| [name, ":", text(name), "\n"].concat()).collect();
    let canonical = format!("{}\n{}\n\n{headers}\n{names}\n{}", head.method, head.uri.path(), hash(&body));
    let date = text("x-amz-date").to_owned();
    let expected_scope = format!("{}/{}/{REGION}/dynamodb/aws4_request", REAL.0, &date[..date.len().min(8)]);
    let scope_alone = scope.split_once('/').map_or("", |(_, scope)| scope);
    let signed = format!("AWS4-HMAC-SHA256\n{date}\n{scope_alone}\n{}", hash(canonical.as_bytes()));
    // The date is that of today, or of yesterday if the test runs at midnight.
    let days = [SystemTime::now(), SystemTime::now() - Duration::from_hours(24)];
    let genuine = days.into_iter().any(|day| {
        let key = generate_signing_key(REAL.1, day, REGION, "dynamodb");
        calculate_signature(key, signed.as_bytes()) == part("Signature=")
    });
    let covered = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    let covers = covered.iter().all(|name| names.split(';').any(|signed| signed == *name));
    if !genuine || !covers || scope != expected_scope || text("x-amz-security-token") != TOKEN {
        let refusal =
            json!({"__type": "com.amazon.coral.service#InvalidSignatureException", "message": canonical}).to_string();
        let mut response = Response::new(Full::from(refusal).map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    head.uri = format!("http://{service}/").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    Ok(client.request(Request::from_parts(head, Full::new(body))).await?.map(BodyExt::boxed))
}

fn subject_s3(url: &str) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::new(&subject(url))
}

fn subject_dynamodb(url: &str) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&subject(url))
}

/// The settings of a subject's clients: a key that no service knows, and one attempt for each call.
fn subject(url: &str) -> aws_config::SdkConfig {
    let nobody = Credentials::new("e2e", "e2e", None, None, "test");
    aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(nobody))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build()
}

fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    result: Result<T, SdkError<E, R>>,
) -> String {
    let error = result.unwrap_err();
    error.code().map_or_else(|| format!("{error:?}"), ToOwned::to_owned)
}

fn put(id: &str) -> WriteRequest {
    let item = HashMap::from([("pk".to_owned(), AttributeValue::S(id.to_owned()))]);
    WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
}

fn rows() -> Table {
    Table {
        name: "rows".to_owned(),
        partition_key: ("pk".to_owned(), "S".to_owned()),
        sort_key: None,
        indexes: Vec::new(),
    }
}

const KEYS: [&str; 7] =
    ["a b/c+d%2F e", "hour=07/x.json", "é/日本/🚚", "(1)!*'~;:@&$,?#", "a//b", "dots/../kept/./", "plain"];

#[test]
fn keys_are_signed_as_s3_reads_them_and_nothing_works_without() {
    let cloud = Cloud::start();
    cloud.store.create_bucket("lake");
    let (_, unsigned) = cloud.proxied(HTTP, None);
    let (_, client) = cloud.proxied(HTTP, Some(signer()));
    cloud.runtime.block_on(async {
        for key in KEYS {
            let put = |client: &aws_sdk_s3::Client| {
                client.put_object().bucket("lake").key(key).body(key.as_bytes().to_vec().into()).send()
            };
            assert_eq!(code(put(&unsigned).await), "NotSignedUp", "{key}");
            put(&client).await.unwrap_or_else(|error| panic!("{key}: {error:?}"));
            let got = client.get_object().bucket("lake").key(key).send().await.unwrap();
            assert_eq!(got.body.collect().await.unwrap().into_bytes(), key);
        }
    });
    let found: Vec<String> = cloud.store.objects("lake").unwrap().into_iter().map(|(key, _)| key).collect();
    let mut expected = KEYS;
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn queries_uploads_in_parts_and_conditions_pass_a_proxy_that_signs() {
    let cloud = Cloud::start();
    cloud.store.create_bucket("lake");
    let (_, client) = cloud.proxied(HTTP, Some(signer()));
    cloud.runtime.block_on(async {
        let put = |key: &str| client.put_object().bucket("lake").key(key).body(b"1".to_vec().into());
        for key in KEYS {
            put(key).if_none_match("*").send().await.unwrap();
            assert_eq!(code(put(key).if_none_match("*").send().await), "PreconditionFailed");
        }
        put("plain").customize().disable_payload_signing().send().await.unwrap();

        let listed = client.list_objects_v2().bucket("lake").prefix("a b/c+d%").delimiter("&").send().await.unwrap();
        assert_eq!(listed.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), [KEYS[0]]);
        // The continuation tokens between pages are base64.
        let mut pages = client.list_objects_v2().bucket("lake").into_paginator().page_size(1).send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.unwrap().contents().len();
        }
        assert_eq!(count, KEYS.len());

        let key = "in parts/é +%";
        let begun = client.create_multipart_upload().bucket("lake").key(key).send().await.unwrap();
        let mut parts = Vec::new();
        for (number, body) in [(1, vec![b'a'; 5 * MIB]), (2, b"end".to_vec())] {
            let upload = client.upload_part().bucket("lake").key(key).part_number(number).body(body.into());
            let etag = upload.set_upload_id(begun.upload_id.clone()).send().await.unwrap().e_tag;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = client.complete_multipart_upload().bucket("lake").key(key).multipart_upload(parts);
        complete.set_upload_id(begun.upload_id).send().await.unwrap();
        let got = client.head_object().bucket("lake").key(key).send().await.unwrap();
        assert_eq!(got.content_length(), Some(5 * 1024 * 1024 + 3));
    });
}

/// Sends a request exactly as it is written, and returns the answer.
fn answer(at: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_body_with_its_checksum_behind_it_passes_and_one_that_is_signed_in_chunks_is_refused_and_told_why() {
    let cloud = Cloud::start();
    cloud.store.create_bucket("lake");
    let (proxy, client) = cloud.proxied(HTTP, Some(signer()));
    let request = "PUT /lake/trailer HTTP/1.1\r\nHost: s3\r\nAuthorization: AWS4-HMAC-SHA256 any\r\nConnection: close\r\n\
                   X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nContent-Encoding: aws-chunked\r\n\
                   X-Amz-Decoded-Content-Length: 5\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\nContent-Length: 46\r\n\r\n\
                   5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let answer = answer(proxy.address(&S3).unwrap(), request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(cloud.store.objects("lake").unwrap(), [("trailer".to_owned(), Bytes::from_static(b"hello"))]);

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![b'x'; 3 * MIB]).unwrap();
    let refused = cloud.runtime.block_on(async {
        // If the body comes from a file and is sent by plain HTTP, the SDK signs every chunk.
        let body = ByteStream::from_path(file.path()).await.unwrap();
        client.put_object().bucket("lake").key("chunks").body(body).send().await.unwrap_err()
    });
    let response = refused.raw_response().unwrap();
    assert_eq!(response.status().as_u16(), 501);
    let text = String::from_utf8_lossy(response.body().bytes().unwrap());
    assert!(text.contains("signed chunk by chunk (STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER)"), "{text}");
    assert_eq!(cloud.store.objects("lake").unwrap().len(), 1);
}

#[test]
fn a_test_on_services_by_https_has_real_credentials_and_its_subject_has_not() {
    let (cloud, kafka) = (Cloud::start(), Kafka::start(1).unwrap());
    let stack = cloud.stack(&kafka, credentials(REAL.1), Some(&tls::tests::authority()));
    let resources = Resources { tables: vec![rows()], ..Resources::bucket("lake") };
    stack.provide(&resources).unwrap();
    let environment = stack.environment();
    assert_eq!(
        (environment["AWS_ACCESS_KEY_ID"].as_str(), environment["AWS_SECRET_ACCESS_KEY"].as_str()),
        ("e2e", "e2e")
    );
    assert_eq!(environment["AWS_REGION"], REGION);
    assert!(!environment.values().any(|value| value.contains(REAL.1) || value.contains(TOKEN)));

    let (table, bucket) = (format!("{}rows", stack.namespace()), format!("{}lake", stack.namespace()));
    // The body that is passed on is then not the body that the subject has signed.
    stack.calls().inject(Fault::Unprocessed(Hits::First(1)));
    cloud.runtime.block_on(async {
        let dynamodb = subject_dynamodb(&environment["AWS_ENDPOINT_URL_DYNAMODB"]);
        let batch = dynamodb.batch_write_item().request_items(&table, vec![put("1"), put("2")]);
        let answer = batch.send().await.unwrap();
        assert_eq!(answer.unprocessed_items().unwrap()[&table], [put("2")]);
        let any = subject_dynamodb(&environment["AWS_ENDPOINT_URL"]);
        any.batch_write_item().request_items(&table, vec![put("3")]).send().await.unwrap();
        let s3 = subject_s3(&environment["AWS_ENDPOINT_URL_S3"]);
        for key in KEYS {
            s3.put_object().bucket(&bucket).key(key).body(b"1".to_vec().into()).send().await.unwrap();
        }
        s3.create_multipart_upload().bucket(&bucket).key("left open").send().await.unwrap();
    });
    let mut items = stack.scan("rows").unwrap();
    items.sort_by_key(ToString::to_string);
    assert_eq!(items, [json!({"pk": {"S": "1"}}), json!({"pk": {"S": "3"}})]);
    assert_eq!(stack.objects("lake").unwrap().len(), KEYS.len());
    assert_eq!(stack.open_uploads("lake").unwrap(), ["left open"]);

    cloud.store.create_bucket("another's");
    drop(stack);
    assert_eq!(cloud.store.objects(&bucket), None, "the bucket is taken away");
    assert!(cloud.tables.scan(&table).is_err(), "the table is taken away");
    assert!(cloud.store.objects("another's").is_some(), "and nothing else");
}

#[test]
fn credentials_that_the_services_do_not_know_are_refused_by_them() {
    let (cloud, kafka) = (Cloud::start(), Kafka::start(1).unwrap());
    let stack = cloud.stack(&kafka, credentials("not the secret"), Some(&tls::tests::authority()));
    let error = stack.provide(&Resources::bucket("lake")).unwrap_err().to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    let error = stack.provide(&Resources::table(rows())).unwrap_err().to_string();
    assert!(error.contains("InvalidSignatureException"), "{error}");
}

#[test]
fn a_certificate_of_an_authority_that_is_not_trusted_is_refused() {
    let (cloud, kafka) = (Cloud::start(), Kafka::start(1).unwrap());
    let stack = cloud.stack(&kafka, credentials(REAL.1), None);
    let error = stack.provide(&Resources::bucket("lake")).unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let request = "GET /lake HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n";
    let proxy = stack.environment()["AWS_ENDPOINT_URL_S3"].replace("http://", "");
    let answer = answer(proxy.parse().unwrap(), request);
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("UnknownIssuer"), "{answer}");
}

#[test]
fn a_bucket_whose_name_is_too_long_for_s3_is_named_with_what_to_do() {
    let (cloud, kafka) = (Cloud::start(), Kafka::start(1).unwrap());
    let stack = cloud.stack(&kafka, credentials(REAL.1), Some(&tls::tests::authority()));
    let longest = "x".repeat(63 - stack.namespace().len());
    stack.provide(&Resources::bucket(&longest)).unwrap();
    let error = stack.provide(&Resources::bucket(&format!("{longest}yy"))).unwrap_err().to_string();
    assert!(error.contains("up to 63 characters") && error.contains("shorten it by 2"), "{error}");
}

#[test]
fn a_table_that_was_there_before_is_not_taken_away_whatever_its_name() {
    let (cloud, kafka) = (Cloud::start(), Kafka::start(1).unwrap());
    let stack = cloud.stack(&kafka, credentials(REAL.1), Some(&tls::tests::authority()));
    let theirs = Table { name: format!("{}rows", stack.namespace()), ..rows() };
    cloud.tables.create(&theirs).unwrap();
    let error = stack.provide(&Resources::table(rows())).unwrap_err().to_string();
    assert!(error.contains("ResourceInUseException"), "{error}");
    drop(stack);
    assert!(cloud.tables.scan(&theirs.name).is_ok());
}
