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
/// What all about certificates needs.
const HTTPS: &str = "`https` in CONNECT_LISTENERS";

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
        let mut path = |key, needed: bool, by: &str| match (config.get(key), needed) {
            (Some(_), false) => {
                problems.push((key, format!("has no effect without {by}")));
                None
            }
            (None, true) => {
                problems.push((key, format!("is missing, and {by} needs it")));
                None
            }
            (path, _) => path.map(PathBuf::from),
        };
        let client_auth = match config.get(CLIENT_AUTH) {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        let keystore = path(KEYSTORE, https, HTTPS);
        let asked = https && client_auth != ClientAuth::None;
        let truststore = path(TRUSTSTORE, asked, &format!("{HTTPS} and {}", variable(CLIENT_AUTH)));
        let users = path(USERS_FILE, config.get(EXTENSIONS).is_some(), &variable(EXTENSIONS));
        if !https && client_auth != ClientAuth::None {
            problems.push((CLIENT_AUTH, format!("has no effect without {HTTPS}")));
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::settings::{SettingError, Settings};

    const BOOTSTRAP: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "a:1");

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
        Settings::from_env(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn problems(variables: &[(&str, &str)]) -> String {
        read(variables).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_rest_asks_of_clients_has_to_go_together() {
        let with = |settings: &[(&str, &str)]| problems(&[&[BOOTSTRAP], settings].concat());
        let https = ("CONNECT_LISTENERS", "https://:8083");
        assert_snapshot!(with(&[https]), @"environment: `CONNECT_SSL_KEYSTORE_LOCATION`: is missing, and `https` in CONNECT_LISTENERS needs it");
        assert_snapshot!(with(&[("CONNECT_SSL_KEYSTORE_LOCATION", "/a.pem"), ("CONNECT_SSL_CLIENT_AUTH", "required")]), @r"
        environment: `CONNECT_SSL_KEYSTORE_LOCATION`: has no effect without `https` in CONNECT_LISTENERS
        environment: `CONNECT_SSL_CLIENT_AUTH`: has no effect without `https` in CONNECT_LISTENERS
        ");
        assert_snapshot!(with(&[https, ("CONNECT_LISTENERS_HTTPS_SSL_KEYSTORE_LOCATION", "/a.pem"), ("CONNECT_SSL_CLIENT_AUTH", "required")]), @"environment: `CONNECT_SSL_TRUSTSTORE_LOCATION`: is missing, and `https` in CONNECT_LISTENERS and CONNECT_SSL_CLIENT_AUTH needs it");
        assert_snapshot!(with(&[https, ("CONNECT_SSL_KEYSTORE_TYPE", "JKS"), ("CONNECT_SSL_KEY_PASSWORD", "x")]), @r"
        environment: `CONNECT_SSL_KEY_PASSWORD`: is not supported: the private key in `ssl.keystore.location` must have no password; remove it
        environment: `CONNECT_SSL_KEYSTORE_TYPE` = `JKS`: is not allowed; allowed: PEM
        ");
        assert_snapshot!(with(&[("CONNECT_SSL_ENABLED_PROTOCOLS", "TLSv1.1")]), @"environment: `CONNECT_SSL_ENABLED_PROTOCOLS`: is not supported: REST speaks TLS 1.2 and 1.3 with the strong ciphers alone; settings of Kafka's clients are `CONNECT_CONSUMER_SSL_…` and `CONNECT_PRODUCER_SSL_…`");
        let class = (
            "CONNECT_REST_EXTENSION_CLASSES",
            "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension",
        );
        assert_snapshot!(with(&[class]), @"environment: `CONNECT_REST_BASIC_AUTH_USERS_FILE`: is missing, and CONNECT_REST_EXTENSION_CLASSES needs it");
        assert_snapshot!(with(&[("CONNECT_REST_BASIC_AUTH_USERS_FILE", "/users")]), @"environment: `CONNECT_REST_BASIC_AUTH_USERS_FILE`: has no effect without CONNECT_REST_EXTENSION_CLASSES");
        assert_snapshot!(with(&[("CONNECT_REST_EXTENSION_CLASSES", "Mine")]), @"environment: `CONNECT_REST_EXTENSION_CLASSES` = `Mine`: is not allowed; allowed: org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension");

        let settings = read(&[
            BOOTSTRAP,
            https,
            class,
            ("CONNECT_SSL_KEYSTORE_LOCATION", "/a.pem"),
            ("CONNECT_SSL_TRUSTSTORE_LOCATION", "/ca.pem"),
            ("CONNECT_SSL_CLIENT_AUTH", "requested"),
            ("CONNECT_REST_BASIC_AUTH_USERS_FILE", "/users"),
        ])
        .unwrap();
        assert_eq!(settings.listener, ("0.0.0.0".into(), 8083));
        let tls = TlsFiles {
            keystore: "/a.pem".into(),
            truststore: Some("/ca.pem".into()),
            client_auth: ClientAuth::Requested,
        };
        assert_eq!(settings.access, Access { tls: Some(tls), users: Some("/users".into()) });
    }
}
