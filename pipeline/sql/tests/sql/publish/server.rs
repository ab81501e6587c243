//! Servers of `PostgreSQL` and `MariaDB` in temporary folders, reached on loopback by one user with a password. They are
//! started as somebody who is not root, because they refuse that.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Row};
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub const PASSWORD: &str = "very-secret";
/// The user `nobody`.
const NOBODY: u32 = 65_534;
/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    MariaDb,
}

/// A server that runs.
pub struct Server {
    pub kind: Kind,
    pub port: u16,
    child: Child,
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is in `PATH`, or where Debian has those that are not.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A command of somebody who is not root, in the folder that is theirs.
fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.output().expect("a program");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// A certificate of the server, which is also the one to trust, and its key.
fn certify(openssl: &Path, folder: &Path) {
    let config = "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n[name]\nCN = fleet\n\
        [more]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";
    fs::write(folder.join("openssl.cnf"), config).expect("written");
    let mut command = Command::new(openssl);
    command.current_dir(folder).args(["req", "-x509", "-config", "openssl.cnf", "-days", "2", "-nodes"]);
    done(command.args(["-newkey", "rsa:2048", "-keyout", "key.pem", "-out", "server.pem"]));
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).expect("allowed");
}

impl Server {
    /// Starts a server. `None` if it is not installed, which is said.
    pub fn start(kind: Kind) -> Option<Self> {
        let names: &[&str] = match kind {
            Kind::Postgres => &["postgres", "initdb", "openssl"],
            Kind::MariaDb => &["mariadbd", "mariadb-install-db", "openssl", "my_print_defaults"],
        };
        let found: Vec<PathBuf> = names.iter().filter_map(|name| find(name)).collect();
        let (true, [program, initial, openssl, ..]) = (found.len() == names.len(), &found[..]) else {
            println!("SKIPPED: one of {} is not installed, so that nothing is proved", names.join(", "));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        certify(openssl, folder.path());
        fs::write(folder.path().join("password"), PASSWORD).expect("written");
        let user = format!("create user fleet identified by '{PASSWORD}';\ngrant all on *.* to fleet;\n");
        fs::write(folder.path().join("user.sql"), user).expect("written");
        if is_root() {
            let files = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
            for path in files.chain([folder.path().to_owned()]) {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
        }
        let mut begin = unprivileged(initial, folder.path());
        done(match kind {
            Kind::Postgres => begin
                .args(["-D", "data", "-U", "fleet", "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8"])
                .args(["--locale=C", "--no-sync", "--no-instructions"]),
            Kind::MariaDb => begin
                .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
                .arg(format!("--datadir={}", folder.path().join("data").display())),
        });
        // Another program may take the port before the server does.
        let started = (0..5).find_map(|_| launch(kind, program, folder.path()));
        let (port, child) = started.unwrap_or_else(|| panic!("it does not start: {}", log(folder.path())));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Some(Self { kind, port, child, folder, runtime: runtime.expect("a runtime") })
    }

    /// The certificate by which the server can be trusted.
    pub fn certificate(&self) -> String {
        self.folder.path().join("server.pem").display().to_string()
    }

    /// The URL of a database, at another port than the server's if there is a proxy.
    pub fn url(&self, database: &str, port: u16) -> String {
        let scheme = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        format!("{scheme}://fleet:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// A new database.
    pub fn create(&self, database: &str) {
        let first = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        self.query(first, &format!("create database {database}"));
    }

    /// The rows of a query, each as the texts of its values with `|` between them.
    #[track_caller]
    pub fn query(&self, database: &str, sql: &str) -> Vec<String> {
        let url = self.url(database, self.port);
        let values: Vec<Vec<Option<String>>> = self.runtime.block_on(async {
            match self.kind {
                Kind::Postgres => {
                    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connected");
                    tokio::spawn(connection);
                    let answers = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                    let row = |answer| {
                        let SimpleQueryMessage::Row(row) = answer else { return None };
                        Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                    };
                    answers.into_iter().filter_map(row).collect()
                }
                Kind::MariaDb => {
                    let mut client = Conn::new(Opts::from_url(&url).expect("a URL")).await.expect("connected");
                    let rows: Vec<Row> = client.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                    client.disconnect().await.expect("disconnected");
                    rows.iter().map(|row| (0..row.len()).map(|at| row.get(at).expect("a text")).collect()).collect()
                }
            }
        });
        let shown = |row: &Vec<Option<String>>| {
            row.iter().map(|value| value.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("|")
        };
        values.iter().map(shown).collect()
    }
}

/// Starts the server at a free port, and waits until it answers there; `None` if somebody else has taken the port.
fn launch(kind: Kind, program: &Path, folder: &Path) -> Option<(u16, Child)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = unprivileged(program, folder);
    match kind {
        Kind::Postgres => {
            command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
            command.args(["-c", &format!("unix_socket_directories={}", folder.display()), "-c", "fsync=off"]);
            command.args(["-c", "ssl=on", "-c", "ssl_cert_file=../server.pem", "-c", "ssl_key_file=../key.pem"]);
        }
        Kind::MariaDb => {
            command.arg("--no-defaults").arg(format!("--datadir={}", path("data"))).arg(format!("--port={port}"));
            command.arg(format!("--socket={}", path("socket"))).arg(format!("--init-file={}", path("user.sql")));
            command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"]);
            command.arg(format!("--ssl-cert={}", path("server.pem"))).arg(format!("--ssl-key={}", path("key.pem")));
        }
    }
    let file = File::create(folder.join("log")).expect("a file");
    let mut child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the server starts");
    let deadline = Instant::now() + PATIENCE;
    let ready = match kind {
        Kind::Postgres => "ready to accept connections",
        Kind::MariaDb => "ready for connections",
    };
    while !log(folder).contains(ready) {
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "it does not start: {}", log(folder));
        thread::sleep(Duration::from_millis(20));
    }
    Some((port, child))
}

fn log(folder: &Path) -> String {
    String::from_utf8_lossy(&fs::read(folder.join("log")).unwrap_or_default()).into_owned()
}
