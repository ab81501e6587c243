//! Which certificate authorities are trusted for HTTPS endpoints: the system's, and those in the file `AWS_CA_BUNDLE`.

use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::stack::StackError;

/// The certificate authorities that are trusted.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    /// Whether authorities of the system are among `roots`.
    system: bool,
    /// The authorities that are not the system's, as PEM. Each of them is also among `roots`.
    bundle: Option<Vec<u8>>,
}

impl Trust {
    /// Trusts no authority. This is enough for services that are reached by plain HTTP.
    pub(crate) fn none() -> Self {
        Self { roots: Arc::new(RootCertStore::empty()), system: false, bundle: None }
    }

    /// Trusts the system's authorities and, if a PEM file is given, the authorities in that file.
    pub(crate) fn system(bundle: Option<&Path>) -> Result<Self, StackError> {
        let mut roots = RootCertStore::empty();
        // A certificate of the system that cannot be read is left out. A connection that needs it fails and says so.
        let (found, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let bundle = bundle.map(|path| add(&mut roots, path)).transpose()?;
        if roots.is_empty() {
            let problem = "there is none; install the system's ca-certificates, or set AWS_CA_BUNDLE to a file of certificates in PEM";
            return Err(StackError::infrastructure("looking for certificate authorities, for HTTPS", problem));
        }
        Ok(Self { roots: Arc::new(roots), system: found > 0, bundle })
    }

    /// The configuration of connections that rustls makes.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth())
    }

    /// The HTTP client for the AWS SDK's clients. It serves HTTPS and plain HTTP.
    pub(crate) fn http_client(&self) -> Result<SharedHttpClient, StackError> {
        let mut store = TrustStore::empty().with_native_roots(self.system);
        if let Some(bundle) = &self.bundle {
            store.add_pem_certificate(bundle.as_slice());
        }
        let context = TlsContext::builder().with_trust_store(store).build();
        let context = context.map_err(|error| StackError::new("setting up HTTPS", error))?;
        let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        Ok(builder.tls_context(context).build_https())
    }
}

/// Adds all certificates of a PEM file to `roots`, and returns the content of the file.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<Vec<u8>, StackError> {
    let action = || format!("reading AWS_CA_BUNDLE, certificates in PEM, from {}", path.display());
    let pem = std::fs::read(path).map_err(|error| StackError::infrastructure(action(), error))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| StackError::infrastructure(action(), error))?;
        roots.add(certificate).map_err(|error| StackError::infrastructure(action(), error))?;
        count += 1;
    }
    if count == 0 {
        return Err(StackError::infrastructure(action(), "there is no certificate in it"));
    }
    Ok(pem)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// The authority that issued the certificate of [`terminate`].
    pub(crate) fn authority() -> PathBuf {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest set it");
        Path::new(&package).join("src/testdata/ca.pem")
    }

    /// Accepts TLS connections as `localhost` and 127.0.0.1, and forwards them to a service that speaks plain TCP. It
    /// never returns.
    pub(crate) async fn terminate(listener: TcpListener, service: SocketAddr) {
        let pem = include_bytes!("testdata/localhost.pem");
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(pem).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let config = config.with_no_client_auth().with_single_cert(chain, key).expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (client, _) = listener.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut service = TcpStream::connect(service).await.expect("the service");
                let _ = copy_bidirectional(&mut client, &mut service).await;
            });
        }
    }

    #[test]
    fn a_bundle_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let refused = || Trust::system(Some(&file)).expect_err("nothing to trust");
        assert!(refused().to_string().contains("ca.pem"), "{}", refused());
        for (text, says) in [
            ("no certificate", "there is no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.pem: "),
        ] {
            std::fs::write(&file, text).expect("a file");
            let error = refused();
            assert!(error.to_string().contains(says) && error.infrastructure, "{error}");
        }
        assert!(Trust::system(Some(&authority())).is_ok());
    }
}
