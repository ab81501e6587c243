//! Calls of services that speak JSON, for those of which a few operations are needed and whose SDK crate would be a long
//! time to compile. They go through the same machinery of the SDK: credentials and their cache, signatures, timeouts, the
//! correction of the clock.

mod endpoint;

use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::user_agent::{ApiMetadata, UserAgentInterceptor};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{AuthSchemeOptionResolverParams, SharedAuthScheme};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// A service that speaks JSON.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its id, such as `Redshift Data`, from which `AWS_ENDPOINT_URL_REDSHIFT_DATA` has its name.
    pub id: &'static str,
    /// How endpoints and signatures call it, such as `redshift-data`.
    pub name: &'static str,
    /// What is before the operation in the header `X-Amz-Target`, such as `RedshiftData`.
    pub target: &'static str,
}

/// A client for a service. Calls are not repeated.
#[derive(Debug, Clone)]
pub struct Json {
    service: Service,
    /// The error of every call if it cannot be known whom to ask.
    operation: Result<Arc<Operation<Request, Value, ErrorMetadata>>, &'static str>,
}

#[derive(Debug)]
struct Request {
    target: String,
    body: Vec<u8>,
}

impl Json {
    /// A client with the HTTP client, credentials, region, endpoint and timeouts of `config`. A region or credentials
    /// that are missing are an error of the first call.
    pub fn new(config: &SdkConfig, service: Service) -> Self {
        Self { service, operation: operation(config, service).map(Arc::new) }
    }

    /// Calls an operation once.
    ///
    /// # Errors
    ///
    /// The service refuses, does not answer, or answers something that is no JSON.
    pub async fn call(&self, operation: &str, body: &Value) -> Result<Value, Error> {
        Ok(self.attempt(operation, body).await?)
    }

    /// The answer as what is expected.
    ///
    /// # Errors
    ///
    /// The answer is something else.
    pub fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Error> {
        serde_json::from_value(answer)
            .map_err(|error| unsent(format!("the answer of {} cannot be understood: {error}", self.service.id)))
    }

    async fn attempt(&self, operation: &str, body: &Value) -> Result<Value, SdkError<ErrorMetadata, HttpResponse>> {
        let machinery = self.operation.as_ref().map_err(|&error| SdkError::construction_failure(error))?;
        let target = format!("{}.{operation}", self.service.target);
        machinery.invoke(Request { target, body: body.to_string().into_bytes() }).await
    }
}

/// An error that no other attempt would change, and that the service did not give.
fn unsent(text: String) -> Error {
    SdkError::<ErrorMetadata, HttpResponse>::construction_failure(text).into()
}

/// The SDK's machinery for the calls of a service.
fn operation(config: &SdkConfig, service: Service) -> Result<Operation<Request, Value, ErrorMetadata>, &'static str> {
    let region = config.region().ok_or("there is no AWS region; set AWS_REGION")?;
    let url = endpoint::url(config, service).ok_or("there is no AWS region; set AWS_REGION")?;
    let credentials =
        config.credentials_provider().ok_or("there are no AWS credentials; set them as for the AWS CLI")?;
    let http = config.http_client().ok_or("the AWS configuration has no HTTP client")?;

    let mut components = RuntimeComponentsBuilder::new(service.name);
    components.set_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])));
    components.push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()));
    components.set_identity_cache(Some(config.identity_cache().unwrap_or_else(|| IdentityCache::lazy().build())));
    components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
    let mut layer = Layer::new(service.name);
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(SigV4OperationSigningConfig {
        region: Some(SigningRegion::from(region.clone())),
        region_set: None,
        name: Some(SigningName::from_static(service.name)),
        signing_options: SigningOptions::default(),
    });
    layer.store_put(ApiMetadata::new(service.name, env!("CARGO_PKG_VERSION")));
    layer.store_or_unset(config.app_name().cloned());

    let mut builder = Operation::builder()
        .service_name(service.id)
        .operation_name("Call")
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(&url)
        .no_retry()
        .interceptor(UserAgentInterceptor::new())
        .with_connection_poisoning()
        .runtime_plugin(StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components));
    if let Some(timeouts) = config.timeout_config() {
        builder = builder.timeout_config(timeouts.clone());
    }
    if let Some(sleep) = config.sleep_impl() {
        builder = builder.sleep_impl(sleep);
    }
    if let Some(time) = config.time_source() {
        builder = builder.time_source(time);
    }
    Ok(builder.serializer(serialize).deserializer(deserialize).build())
}

fn serialize(request: Request) -> Result<HttpRequest, BoxError> {
    let mut http = HttpRequest::new(SdkBody::from(request.body));
    http.set_method("POST")?;
    http.set_uri("/")?;
    let headers = http.headers_mut();
    headers.insert("content-type", "application/x-amz-json-1.1");
    headers.insert("x-amz-target", request.target);
    Ok(http)
}

fn deserialize(response: &HttpResponse) -> Result<Value, OrchestratorError<ErrorMetadata>> {
    let body = response.body().bytes().unwrap_or_default();
    let is_success = response.status().is_success();
    match serde_json::from_slice::<Value>(body) {
        Ok(answer) if is_success => Ok(answer),
        Ok(answer) => Err(refused(response, &answer)),
        Err(_) if is_success && body.is_empty() => Ok(Value::Object(serde_json::Map::new())),
        Err(error) => Err(OrchestratorError::other(format!("the answer is no JSON: {error}"))),
    }
}

/// The error that the service answers with.
fn refused(response: &HttpResponse, answer: &Value) -> OrchestratorError<ErrorMetadata> {
    let header = response.headers().get("x-amzn-errortype");
    let Some(code) = header.or_else(|| answer["__type"].as_str()).or_else(|| answer["code"].as_str()) else {
        return OrchestratorError::other("an error without a code");
    };
    // `com.amazonaws.glue#Code:http://…` is the longest form.
    let code = code.split(':').next().unwrap_or(code);
    let code = code.rsplit('#').next().unwrap_or(code);
    let message = answer["Message"].as_str().or_else(|| answer["message"].as_str());
    let mut error = ErrorMetadata::builder().code(code);
    if let Some(message) = message {
        error = error.message(message);
    }
    OrchestratorError::operation(error.build())
}
