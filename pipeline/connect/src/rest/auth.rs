//! Passwords: every request has to name a user and the user's password, as with Kafka Connect's basic authentication.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::providers::properties;

/// What a client is told that has named no user with the right password. RFC 9110 asks for the header, Kafka Connect leaves
/// it out; the text is Kafka Connect's.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"fms connect\", charset=\"UTF-8\"");
const REFUSAL: &str = "User cannot access the resource.";

type Hash = [u8; 32];

/// The users, and what their passwords hash to.
pub struct Users(HashMap<String, Hash>);

/// Why the users are not known.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// There are none, so nobody could be let in. Kafka Connect lets in everybody then.
    #[error("{}: there is no user in it; a line `user=password` is one", file.display())]
    None {
        /// The file.
        file: PathBuf,
    },
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Users {
    /// Reads a properties file of users and passwords.
    pub(crate) fn read(file: &Path) -> Result<Self, UsersError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| UsersError::Read { file: file.to_owned(), source })?;
        let users = Self::of(&text);
        if users.0.is_empty() { Err(UsersError::None { file: file.to_owned() }) } else { Ok(users) }
    }

    fn of(text: &str) -> Self {
        Self(properties(text).into_iter().map(|(user, password)| (user, hash(&password))).collect())
    }

    /// Whether the request names a user and the user's password.
    fn admit(&self, headers: &HeaderMap) -> bool {
        credentials(headers).is_some_and(|(user, password)| {
            // Hashes are compared, so the time that it takes tells nothing of the password.
            self.0.get(&user) == Some(&hash(&password))
        })
    }
}

fn hash(password: &str) -> Hash {
    Sha256::digest(password).into()
}

/// The user and the password that a request names.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Lets requests of users pass.
pub(super) async fn check(State(users): State<Arc<Users>>, request: Request, next: Next) -> Response {
    if users.admit(request.headers()) {
        return next.run(request).await;
    }
    tracing::debug!(path = request.uri().path(), "a request to REST has no user's name and password");
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, CHALLENGE)], REFUSAL).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_let_in_with_the_whole_password_alone() {
        let users = Users::of("# users\nann=a:b=c\nbob : s\\u00e9cret\n");
        let admits = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a header");
            users.admit(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
        };
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(admits(&basic("ann:a:b=c")) && admits(&basic("bob:sécret").replace("Basic", "bAsIc")));
        for wrong in ["ann:", "ann:a:b", "ann:a:b=c ", "Ann:a:b=c", ":a:b=c", "ann", "eve:a:b=c", "bob:a:b=c"] {
            assert!(!admits(&basic(wrong)), "{wrong}");
        }
        for wrong in
            ["", "Basic", "Basic !", "Bearer YW5uOmE6Yj1j", &format!("Basic {}", BASE64_STANDARD.encode(b"\xff:a"))]
        {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!users.admit(&HeaderMap::new()));
        assert_eq!(format!("{:?}", Users::of("ann=secret")), r#"{"ann"}"#);
    }

    #[test]
    fn a_file_without_users_lets_nobody_in_and_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users.properties");
        assert!(matches!(Users::read(&file), Err(UsersError::Read { .. })));
        std::fs::write(&file, "# nobody\n").expect("a file");
        let error = Users::read(&file).expect_err("no users").to_string();
        assert!(error.ends_with("users.properties: there is no user in it; a line `user=password` is one"), "{error}");
    }
}
