//! Who reaches REST: TLS with its certificates, and the users with their passwords, under Kafka Connect's names.

use std::path::PathBuf;
use std::sync::Arc;

use fms_serve::{ClientAuth, ServerTls, TlsError, TlsFiles};

use crate::rest::{Users, UsersError};
use crate::settings::variable;
use crate::{Config, Key, ValueType};

/// The class by which Kafka Connect asks for passwords.
const BASIC_AUTH: &str = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";

const EXTENSIONS: &str = "rest.extension.classes";
const USERS_FILE: &str = "rest.basic.auth.users.file";
const KEYSTORE: &str = "ssl.keystore.location";
const TRUSTSTORE: &str = "ssl.truststore.location";
const CLIENT_AUTH: &str = "ssl.client.auth";

/// The keys of the worker about this.
pub const KEYS: &[Key] = &[
    Key::new(
        KEYSTORE,
        ValueType::Text,
        "With `https` in `listeners`, this file in PEM has the certificate, those between it and its authority, and its \
         private key, which must have no password. `listeners.https.ssl.keystore.location` means the same",
    )
    .high()
    .risk("It is read at start, so a certificate that is renewed is shown only after a restart"),
    Key::new(
        "ssl.keystore.type",
        ValueType::OneOf(&["PEM"]),
        "The form of `ssl.keystore.location`. Java's own forms are not read: `keytool -importkeystore -deststoretype \
         PKCS12` and then `openssl pkcs12 -nodes` write PEM",
    )
    .default("PEM"),
    Key::new(
        TRUSTSTORE,
        ValueType::Text,
        "With `ssl.client.auth`, this file in PEM has the authorities whose certificates clients may show. \
         `listeners.https.ssl.truststore.location` means the same",
    ),
    Key::new("ssl.truststore.type", ValueType::OneOf(&["PEM"]), "The form of `ssl.truststore.location`").default("PEM"),
    Key::new(
        CLIENT_AUTH,
        ValueType::OneOf(&["none", "requested", "required"]),
        "With `https` in `listeners`, clients have to show a certificate (`required`), or are asked for one \
         (`requested`), which has to be of an authority in `ssl.truststore.location`. \
         `listeners.https.ssl.client.auth` means the same",
    )
    .default("none")
    .risk("With `requested`, who shows no certificate is let in"),
    Key::new(
        EXTENSIONS,
        ValueType::OneOf(&[BASIC_AUTH]),
        "With this class, every request needs the name and the password of a user, `/health` and `/metrics` too",
    )
    .high()
    .risk("Without `https` in `listeners`, whoever sees the traffic sees the passwords"),
    Key::new(
        USERS_FILE,
        ValueType::Text,
        "This file has a line `user=password` for each user, in the form of Java's properties, as Kafka Connect's \
         PropertyFileLoginModule reads it",
    )
    .risk("It is read at start, so a user who is taken out of it is let in until a restart"),
];

/// What REST asks of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The certificates, if it speaks TLS.
    pub tls: Option<TlsFiles>,
    /// The file of users, if it asks for passwords.
    pub users: Option<PathBuf>,
}

/// Why REST cannot ask of clients what it should.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Certificates are of no use.
    #[error(
        "{0}; CONNECT_SSL_KEYSTORE_LOCATION and CONNECT_SSL_TRUSTSTORE_LOCATION name the files of REST's certificates"
    )]
    Tls(#[from] TlsError),
    /// The users are not known.
    #[error("{0}; CONNECT_REST_BASIC_AUTH_USERS_FILE names the file of REST's users")]
    Users(#[from] UsersError),
}

/// What is needed to let clients in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    pub tls: Option<ServerTls>,
    pub users: Option<Arc<Users>>,
}

impl Access {
    /// The settings, if they go together with each other and with the listener. The error has the keys that do not, and
    /// why.
    pub(crate) fn of(config: &Config, https: bool) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = Vec::new();
        let mut path = |key, needed: Result<bool, String>| match (config.get(key), needed) {
            (Some(_), Err(reason)) => {
                problems.push((key, format!("has no effect without {reason}")));
                None
            }
            (None, Ok(true)) => {
                problems.push((key, "is missing".to_owned()));
                None
            }
            (path, _) => path.map(PathBuf::from),
        };
        let client_auth = match config.get(CLIENT_AUTH) {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        let keystore = path(KEYSTORE, if https { Ok(true) } else { Err("`https` in CONNECT_LISTENERS".into()) });
        let asked = https && client_auth != ClientAuth::None;
        let reason = format!("`https` in CONNECT_LISTENERS and {}", variable(CLIENT_AUTH));
        let truststore = path(TRUSTSTORE, if asked { Ok(true) } else { Err(reason) });
        let extension = config.get(EXTENSIONS).is_some();
        let users = path(USERS_FILE, if extension { Ok(true) } else { Err(variable(EXTENSIONS)) });
        if !https && client_auth != ClientAuth::None {
            problems.push((CLIENT_AUTH, "has no effect without `https` in CONNECT_LISTENERS".into()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let tls = keystore.map(|keystore| TlsFiles { keystore, truststore, client_auth });
        Ok(Self { tls, users })
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Gate, AccessError> {
        let tls = self.tls.as_ref().map(TlsFiles::load).transpose()?;
        let users = self.users.as_deref().map(Users::read).transpose()?.map(Arc::new);
        Ok(Gate { tls, users })
    }
}
