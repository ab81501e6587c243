//! The HTTP client of all AWS calls. It reads the certificates of the operating system, some 140 files, when it is first
//! asked for an https URL: a pipeline at a local endpoint never needs them, and starts in less time.

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// An HTTP client for http and https endpoints that trusts the certificates of the operating system.
pub fn https() -> SharedHttpClient {
    SharedHttpClient::new(ByScheme::new())
}

/// Two clients, each with connections of its own.
#[derive(Debug, Clone)]
struct ByScheme {
    /// For http URLs: it trusts nobody.
    plain: SharedHttpClient,
    /// For https URLs. It reads the certificates when it makes its first connector.
    tls: SharedHttpClient,
}

impl ByScheme {
    fn new() -> Self {
        let tls = || Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        let nobody = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
        let plain = nobody.map_or_else(|_| tls(), |nobody| tls().tls_context(nobody));
        Self { plain: plain.build_https(), tls: tls().build_https() }
    }

    fn of(&self, uri: &str) -> &SharedHttpClient {
        if uri.starts_with("http://") { &self.plain } else { &self.tls }
    }
}

impl HttpClient for ByScheme {
    /// A connector that chooses by the URL of each request. Both clients keep the connectors that they have made.
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (clients, settings, components) = (self.clone(), settings.clone(), components.clone());
        SharedHttpConnector::new(Chooser { clients, settings, components })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.tls.connector_metadata()
    }
}

#[derive(Debug)]
struct Chooser {
    clients: ByScheme,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for Chooser {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.clients.of(request.uri()).http_connector(&self.settings, &self.components).call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_without_tls_go_without_certificates() {
        let clients = ByScheme::new();
        for (uri, is_plain) in
            [("http://127.0.0.1:4566/", true), ("https://s3.eu-west-1.amazonaws.com/", false), ("HTTP://a/", false)]
        {
            assert_eq!(std::ptr::eq(clients.of(uri), &raw const clients.plain), is_plain, "{uri}");
        }
    }
}
