//! The container engine, Docker or Podman: how it is found, and the requests that the framework makes besides starting
//! containers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use futures_util::StreamExt;
use futures_util::future::join_all;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::ContainerPort;
use testcontainers::core::client::docker_client_instance;
use tokio::runtime::{Builder, Runtime};

use crate::stack::StackError;

/// How many of the last lines of a container's log an error shows.
pub(crate) const LAST_LINES: usize = 20;

/// The text that an error shows if a container printed nothing.
pub(super) const NOTHING: &str = "(it printed nothing)";

/// The runtime for everything that talks to the engine. The one client of the engine belongs to it.
pub fn runtime() -> Result<&'static Runtime, StackError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("e2e-docker").enable_all().build();
        runtime.map_err(|error| error.to_string())
    });
    runtime
        .as_ref()
        .map_err(|error| StackError::infrastructure("starting threads for the Docker engine", error.as_str()))
}

/// The sockets of engines that run without root, for which Testcontainers does not look; see [`find`].
fn sockets(runtime_dir: Option<&Path>) -> Vec<PathBuf> {
    let of_user = |name: &str| runtime_dir.map(|folder| folder.join(name));
    let all = [of_user("docker.sock"), of_user("podman/podman.sock"), Some(PathBuf::from("/run/podman/podman.sock"))];
    all.into_iter().flatten().collect()
}

/// Sets `DOCKER_HOST` to the socket of a rootless Docker or of Podman, if no setting names the engine and Docker's own
/// socket does not exist.
///
/// This function has to be called before the process has a second thread.
#[allow(unsafe_code, reason = "Testcontainers reads the variable, and setting one is unsafe beside other threads")]
pub(crate) fn find() {
    if std::env::var_os("DOCKER_HOST").is_some() || Path::new("/var/run/docker.sock").exists() {
        return;
    }
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(socket) = sockets(runtime_dir.as_deref()).into_iter().find(|socket| socket.exists()) {
        // SAFETY: the callers, the harness and the runner, do this before anything else, while the process has one
        // thread.
        unsafe { std::env::set_var("DOCKER_HOST", format!("unix://{}", socket.display())) };
    }
}

/// The client of the engine. It is returned after the engine has answered.
pub(crate) async fn client() -> Result<Docker, StackError> {
    let missing = |error: &dyn std::fmt::Display| {
        let place = match std::env::var("DOCKER_HOST") {
            Ok(host) => format!("DOCKER_HOST={host}"),
            Err(_) => "the usual sockets of Docker and Podman".to_owned(),
        };
        StackError::infrastructure(
            "looking for a Docker engine",
            format!(
                "none answers at {place} ({error}); start Docker or `podman system service`, or set DOCKER_HOST, or use the embedded stack, \
                 which needs none"
            ),
        )
    };
    let docker = docker_client_instance().await.map_err(|error| missing(&error))?;
    docker.ping().await.map_err(|error| missing(&error))?;
    Ok(docker)
}

/// Returns an error if no engine answers.
pub(crate) fn check() -> Result<(), StackError> {
    runtime()?.block_on(client()).map(drop)
}

/// The last lines of a container's log, standard output and error together. If there are none, the text says why.
pub(crate) async fn last_lines(docker: &Docker, id: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LAST_LINES.to_string()).build();
    let mut logs = docker.logs(id, Some(options));
    let mut text = String::new();
    while let Some(line) = logs.next().await {
        match line {
            Ok(line) => text.push_str(&String::from_utf8_lossy(&line.into_bytes())),
            Err(error) => return format!("(its log cannot be read: {error})"),
        }
    }
    if text.is_empty() { NOTHING.to_owned() } else { text.trim_end().to_owned() }
}

/// The IPv4 port of the engine's host that is mapped to this port of a container.
///
/// Testcontainers' own search requires an address with the port. Podman before version 5 leaves this address empty,
/// while Docker says `0.0.0.0`.
pub(crate) async fn published(docker: &Docker, id: &str, port: ContainerPort) -> Result<u16, String> {
    let found = docker.inspect_container(id, None).await.map_err(|error| error.to_string())?;
    let mut ports = found.network_settings.and_then(|network| network.ports).unwrap_or_default();
    let bindings = ports.remove(&port.to_string()).flatten().unwrap_or_default();
    by_ipv4(&bindings).ok_or_else(|| format!("no port of the engine's host leads to its port {port}: {bindings:?}"))
}

/// The address of a container in the network of containers.
pub(super) async fn address(docker: &Docker, id: &str) -> Result<String, String> {
    let found = docker.inspect_container(id, None).await.map_err(|error| error.to_string())?;
    let networks = found.network_settings.and_then(|network| network.networks).unwrap_or_default();
    let mut addresses = networks.into_values().filter_map(|network| network.ip_address);
    addresses.find(|address| !address.is_empty()).ok_or_else(|| {
        "containers have no address in a network of their own; the engine has to connect them by a bridge".to_owned()
    })
}

fn by_ipv4(bindings: &[PortBinding]) -> Option<u16> {
    let mut found = bindings.iter().filter(|binding| !binding.host_ip.as_ref().is_some_and(|ip| ip.contains(':')));
    found.find_map(|binding| binding.host_port.as_ref()?.parse().ok())
}

/// The ids and labels of the containers that have this label, whether they run or not.
pub(crate) async fn labelled(docker: &Docker, label: &str) -> Result<Vec<(String, HashMap<String, String>)>, Error> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = docker.list_containers(Some(options)).await?;
    Ok(found.into_iter().filter_map(|c| Some((c.id?, c.labels.unwrap_or_default()))).collect())
}

/// Removes containers at once, with their anonymous volumes. It is no error if a container does not exist any more or
/// is being removed.
pub(crate) async fn remove<'a>(docker: &Docker, ids: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let removals = ids.into_iter().map(|id| {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        docker.remove_container(id, Some(options))
    });
    let gone = |error: &Error| matches!(error, Error::DockerResponseServerError { status_code: 404 | 409, .. });
    join_all(removals).await.into_iter().filter(|result| !result.as_ref().is_err_and(gone)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_by_ipv4_is_found_with_docker_and_podman() {
        let of = |ip: Option<&str>, port: &str| PortBinding {
            host_ip: ip.map(str::to_owned),
            host_port: Some(port.to_owned()),
        };
        assert_eq!(by_ipv4(&[of(Some("::"), "2"), of(Some("0.0.0.0"), "1")]), Some(1), "Docker");
        assert_eq!(by_ipv4(&[of(Some(""), "1")]), Some(1), "Podman 4");
        assert_eq!(by_ipv4(&[of(None, "1")]), Some(1));
        assert_eq!(by_ipv4(&[of(Some("::"), "2")]), None);
        assert_eq!(by_ipv4(&[]), None);
    }

    #[test]
    fn rootless_docker_is_looked_for_before_podman() {
        let found: Vec<String> =
            sockets(Some(Path::new("/run/user/7"))).iter().map(|p| p.display().to_string()).collect();
        assert_eq!(found, ["/run/user/7/docker.sock", "/run/user/7/podman/podman.sock", "/run/podman/podman.sock"]);
        assert_eq!(sockets(None), [PathBuf::from("/run/podman/podman.sock")]);
    }
}
