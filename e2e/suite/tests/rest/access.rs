//! Who is let in: a worker that speaks TLS, asks for passwords and asks for certificates, and `fms health` as its client.

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::internals::Embedded;
use fms_e2e::PROGRAM;
use libtest_mimic::Failed;

use super::worker::Worker;

/// A user of the worker, and the user's password.
pub const CREDENTIALS: &str = "ann:b=c";

const CLASS: &str = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";

/// A file of certificates that tests have: `server` and `client` of the authority `ca`, and `stranger` of `other-ca`.
pub fn pem(name: &str) -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join(format!("../../pipeline/serve/src/testdata/{name}.pem")).display().to_string()
}

/// The file of users.
fn users() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest/users.properties").display().to_string()
}

/// A worker that speaks TLS and asks for a password, with these settings besides.
pub fn closed(settings: &[(&str, &str)]) -> Result<Worker, String> {
    let stack = Embedded::start().map_err(|error| error.to_string())?;
    let (keystore, users) = (pem("server"), users());
    let own = [
        // librdkafka's mock cluster lets nobody into a group of the other protocol again once it was empty.
        ("CONNECT_CONSUMER_GROUP_PROTOCOL", "consumer"),
        ("CONNECT_LISTENERS", "https://127.0.0.1:0"),
        ("CONNECT_SSL_KEYSTORE_TYPE", "PEM"),
        ("CONNECT_SSL_KEYSTORE_LOCATION", &keystore),
        ("CONNECT_REST_EXTENSION_CLASSES", CLASS),
        ("CONNECT_REST_BASIC_AUTH_USERS_FILE", &users),
    ];
    Worker::start_on(Box::new(stack), &[&own, settings].concat())
}

/// Whether `fms health` says that the worker is well, and what it says otherwise.
fn health(url: &str, options: &[(&str, &str)]) -> Result<(), Failed> {
    let e2e::Program::Itself { role: (variable, role), .. } = PROGRAM else {
        return Err("the suite does not start itself as the pipeline".into());
    };
    let mut health = Command::new(std::env::current_exe()?);
    health.args(["health", "--url", url]).env(variable, role).stdin(Stdio::null());
    for (option, value) in options {
        health.arg(option).arg(value);
    }
    let output = health.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

/// Only who trusts the worker's authority, shows a certificate that the worker trusts and names a user with the user's
/// password is let in; everybody else is refused, and told why where that is safe.
pub fn kept_out() -> Result<(), Failed> {
    let (ca, other, client, stranger, users) = (pem("ca"), pem("other-ca"), pem("client"), pem("stranger"), users());
    let folder = tempfile::tempdir()?;
    let wrong = folder.path().join("wrong.properties");
    std::fs::write(&wrong, "ann=wrong\n")?;
    let wrong = wrong.display().to_string();
    let authority = ca.as_str();
    for (client_auth, needed) in [("none", false), ("requested", false), ("required", true)] {
        let mut settings = vec![("CONNECT_SSL_CLIENT_AUTH", client_auth)];
        if client_auth != "none" {
            // The other name of the same setting.
            settings.push(("CONNECT_LISTENERS_HTTPS_SSL_TRUSTSTORE_LOCATION", authority));
        }
        let worker = closed(&settings)?;
        let url = format!("https://{}/health", worker.address);
        let right =
            [("--ca-file", authority), ("--user", "ann"), ("--users-file", &users), ("--certificate-file", &client)];
        let with = |option: &str, value: &str| {
            let changed =
                right.map(|(own, right)| (own, if own == option { value.to_owned() } else { right.to_owned() }));
            let changed: Vec<_> =
                changed.iter().filter(|(_, value)| !value.is_empty()).map(|(o, v)| (*o, v.as_str())).collect();
            health(&url, &changed)
        };
        with("", "").map_err(|error| format!("{client_auth}: {error:?}"))?;
        let refused = |what: &str, result: Result<(), Failed>, says: &str| match result {
            Err(error) if error.message().is_some_and(|text| text.contains(says)) => Ok(()),
            other => Err(Failed::from(format!("{client_auth}, {what}: {other:?}, expected {says}"))),
        };
        refused("an authority that is not trusted", with("--ca-file", &other), "UnknownIssuer")?;
        refused(
            "a wrong password",
            with("--users-file", &wrong),
            "401 Unauthorized: User cannot access the resource.",
        )?;
        refused("no user", health(&url, &[right[0], right[3]]), "401 Unauthorized")?;
        let plain = health(&url.replace("https", "http"), &[]);
        refused("no TLS", plain, "")?;
        let without = with("--certificate-file", "");
        if needed {
            refused("no certificate", without, "no answer")?;
        } else {
            without?;
        }
        if client_auth != "none" {
            refused("a certificate of another authority", with("--certificate-file", &stranger), "no answer")?;
        }
    }
    Ok(())
}
