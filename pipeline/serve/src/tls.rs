//! TLS of the interface: a certificate with its key, and which clients have to show one, from files in PEM.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They may show one, which then has to be of a trusted authority.
    Requested,
    /// They have to show one of a trusted authority.
    Required,
}

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, those between it and its authority, and its private key without a password.
    pub keystore: PathBuf,
    /// The authorities of the clients' certificates. Needed unless clients are not asked for one.
    pub truststore: Option<PathBuf>,
    /// Whether clients have to show a certificate.
    pub client_auth: ClientAuth,
}

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read, or is no PEM.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Something is not in it.
    #[error("{}: there is no {what} in it", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// What is in it does not fit together, or is of a kind that is not supported.
    #[error("{}: {problem}", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// TLS as the interface speaks it: versions 1.2 and 1.3.
#[derive(Clone)]
pub struct ServerTls(pub(crate) TlsAcceptor);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl TlsFiles {
    /// Reads the files.
    pub fn load(&self) -> Result<ServerTls, TlsError> {
        let unfit = |file: &Path, problem: String| TlsError::Unfit { file: file.to_owned(), problem };
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.map_err(|error| unfit(&self.keystore, error.to_string()))?;
        let config = match (self.client_auth, &self.truststore) {
            (ClientAuth::Requested | ClientAuth::Required, Some(truststore)) => {
                let authorities = Arc::new(authorities(truststore)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider);
                let verifier = match self.client_auth {
                    ClientAuth::Requested => verifier.allow_unauthenticated(),
                    ClientAuth::None | ClientAuth::Required => verifier,
                };
                let verifier = verifier.build().map_err(|error| unfit(truststore, error.to_string()))?;
                config.with_client_cert_verifier(verifier)
            }
            (ClientAuth::None, _) => config.with_no_client_auth(),
            (ClientAuth::Requested | ClientAuth::Required, None) => {
                let problem = "clients are asked for certificates, but there is no file of the authorities to trust";
                return Err(unfit(&self.keystore, problem.into()));
            }
        };
        let (chain, key) = identity(&self.keystore)?;
        let config = config.with_single_cert(chain, key).map_err(|error| unfit(&self.keystore, error.to_string()))?;
        Ok(ServerTls(TlsAcceptor::from(Arc::new(config))))
    }
}

/// The certificates of a file, of which the first is the owner's, and the owner's private key.
pub fn identity(file: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(file)?;
    let key = PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::Missing {
            file: file.to_owned(),
            what: "private key without a password (`openssl pkcs8 -topk8 -nocrypt` makes one of a key with a password)",
        },
        source => TlsError::Read { file: file.to_owned(), source },
    })?;
    Ok((chain, key))
}

/// The authorities of a file.
pub fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added.map_err(|error| TlsError::Unfit { file: file.to_owned(), problem: error.to_string() })?;
    }
    Ok(roots)
}

/// The certificates of a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { file: file.to_owned(), source };
    let found = CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if found.is_empty() {
        return Err(TlsError::Missing { file: file.to_owned(), what: "certificate" });
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let pem = include_str!("testdata/server.pem");
        let (key, chain) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
        let good = file("good.pem", pem);
        let none = ClientAuth::None;
        let wrong = |keystore: PathBuf, truststore: Option<PathBuf>, client_auth| {
            let error = TlsFiles { keystore, truststore, client_auth }.load().unwrap_err().to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };
        let missing = wrong(folder.path().join("none.pem"), None, none);
        assert!(missing.starts_with("none.pem: cannot be read: "), "{missing}");
        assert_eq!(wrong(file("key.pem", key), None, none), "key.pem: there is no certificate in it");
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY") + chain;
        let encrypted = wrong(file("encrypted.pem", &encrypted), None, none);
        assert!(encrypted.starts_with("encrypted.pem: there is no private key without a password ("), "{encrypted}");
        let authority = include_str!("testdata/ca.pem");
        let other = wrong(file("other.pem", &format!("{key}{authority}")), None, none);
        assert!(other.starts_with("other.pem: "), "{other}");
        assert_eq!(
            wrong(good.clone(), Some(file("empty.pem", "")), ClientAuth::Required),
            "empty.pem: there is no certificate in it"
        );
        assert!(wrong(good.clone(), None, ClientAuth::Requested).contains("no file of the authorities"));
        let truststore = Some(file("ca.pem", authority));
        assert!(TlsFiles { keystore: good, truststore, client_auth: ClientAuth::Required }.load().is_ok());
    }
}
