//! The programs take the command lines, variables and files of the chart: they are started with them, with no service to be
//! reached, and have to get as far as that.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_norway::Value;

use super::chart::{VALUES, at, container, environment, has_helm, name, pod, rendered, root, text, words};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

/// A folder that stands for `/etc/fms` and `/tmp` of a container.
struct Container {
    folder: tempfile::TempDir,
}

impl Container {
    /// With what the image has, and with these `ConfigMap`s and secrets where the pod mounts them.
    fn of(pod: &Value, objects: &[Value]) -> Self {
        let own = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir_all(own.path("/tmp")).expect("a folder");
        // What an earlier call of a script has written.
        std::fs::write(own.path("/tmp/results.json"), "").expect("a file");
        std::fs::create_dir_all(own.path("/etc/fms")).expect("a folder");
        for folder in ["mart", "quality"] {
            let place = own.path(&format!("/etc/fms/{folder}"));
            std::os::unix::fs::symlink(root().join("deploy").join(folder), place).expect("a link");
        }
        let volumes = at(pod, &["spec", "volumes"]).as_sequence().cloned().unwrap_or_default();
        for mount in at(container(pod), &["volumeMounts"]).as_sequence().into_iter().flatten() {
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("the volume of a mount");
            let folder = own.path(text(mount, &["mountPath"]));
            std::fs::create_dir_all(&folder).expect("a folder");
            let map = text(volume, &["configMap", "name"]);
            for object in objects.iter().filter(|object| name(object) == format!("ConfigMap {map}")) {
                for (file, content) in object["data"].as_mapping().expect("files") {
                    let content = content.as_str().expect("a file");
                    std::fs::write(folder.join(file.as_str().expect("a name")), content).expect("a file");
                }
            }
            if volume.get("secret").is_some() {
                let pem = root().join("pipeline/serve/src/testdata");
                std::fs::copy(pem.join("server.pem"), folder.join("tls-combined.pem")).expect("a file");
                std::fs::copy(pem.join("ca.pem"), folder.join("ca.crt")).expect("a file");
                std::fs::write(folder.join("users.properties"), "kubelet=secret\n").expect("a file");
            }
        }
        own
    }

    /// Where a path of the container is.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// The text, with paths of the container where they are.
    fn placed(&self, text: &str) -> String {
        let folder = self.folder.path().display();
        ["/tmp/", "/etc/fms/"].iter().fold(text.to_owned(), |text, path| text.replace(path, &format!("{folder}{path}")))
    }
}

/// The arguments of every call of a program in a container, without the program's name, and those of its probes.
fn calls(container: &Value) -> Vec<Vec<String>> {
    let args = words(&container["args"]);
    let mut calls = if container.get("command").is_some() {
        // A script, of which each call is a line.
        let lines = args.iter().flat_map(|script| script.lines());
        let lines =
            lines.filter_map(|line| line.strip_prefix("fms ")).map(|line| line.split("||").next().unwrap_or(line));
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    } else {
        vec![args]
    };
    assert!(!calls.is_empty());
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = words(at(container, &[probe, "exec", "command"]));
        calls.extend(command.split_first().map(|(fms, arguments)| {
            assert_eq!(fms, "fms");
            arguments.to_vec()
        }));
    }
    calls
}

/// The command of a call: `lake poll`, `connect`.
fn command(call: &[String]) -> Vec<&str> {
    let words = call.iter().map(String::as_str).skip_while(|word| *word == "--log-format" || *word == "json");
    let mut words: Vec<&str> = words.take_while(|word| !word.starts_with('-')).collect();
    words.truncate(2);
    words
}

fn fms(arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut fms = Command::new(env!("CARGO_BIN_EXE_fms"));
    fms.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    fms.envs(variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    fms
}

/// What the program says until it has found that a service is not there, after which it is ended; or the error with all
/// that it said, if it ends before.
fn until_a_service_is_missed(mut program: Command) -> Result<(), String> {
    const MISSED: [&str; 4] = ["Connection refused", "cannot reach Kafka", "Address already in use", "no answer"];
    let mut process = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("fms starts");
    let lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    let mut said = String::new();
    let missed = lines.map_while(Result::ok).any(|line| {
        said.extend([line.as_str(), "\n"]);
        MISSED.iter().any(|words| line.contains(words))
    });
    // It may have ended by itself.
    let _ = process.kill();
    process.wait().expect("its end");
    if missed { Ok(()) } else { Err(said) }
}

/// What has no meaning to a program is refused by it, or is among its variables.
#[test]
fn the_programs_take_every_command_line_variable_and_file() {
    if !has_helm() {
        return;
    }
    let sql = Path::new(env!("CARGO_BIN_EXE_fms")).with_file_name("fms-sql").is_file();
    if !sql {
        println!("SKIPPED for the mart and the checks: there is no fms-sql; `cargo build --bin fms-sql` makes it");
    }
    // The poller is refused this address, which it tries once it knows everything else.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let (mut tried, help) = (BTreeSet::new(), help());
    for (_, file) in VALUES {
        let (_, objects) = rendered(file);
        for object in &objects {
            let Some(pod) = pod(object) else { continue };
            let folder = Container::of(pod, &objects);
            let variables: Vec<_> = environment(container(pod));
            let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name, folder.placed(&value))).collect();
            check_names(object, &variables, &help, &objects);
            for call in calls(container(pod)) {
                let command = command(&call);
                if !sql && ["mart", "quality", "alerts"].contains(&command[0]) {
                    continue;
                }
                let mut variables = variables.clone();
                variables.retain(|(name, _)| name != "KAFKA_BOOTSTRAP_SERVERS" && name != "FMS_LAKE_LISTEN");
                let nowhere = [
                    ("KAFKA_BOOTSTRAP_SERVERS", NOWHERE),
                    ("FMS_LAKE_LISTEN", &taken),
                    ("AWS_ENDPOINT_URL", &format!("http://{NOWHERE}")),
                    ("AWS_ACCESS_KEY_ID", "none"),
                    ("AWS_SECRET_ACCESS_KEY", "none"),
                    ("SLACK_BOT_TOKEN", "none"),
                ];
                let nowhere = nowhere.map(|(name, value)| (name.to_owned(), value.to_owned()));
                variables.extend(
                    nowhere.into_iter().filter(|(name, _)| name != "FMS_LAKE_LISTEN" || command.contains(&"poll")),
                );
                let call: Vec<_> = call.iter().map(|word| folder.placed(word)).collect();
                let call: Vec<_> = call.iter().map(String::as_str).collect();
                if let Err(said) = until_a_service_is_missed(fms(&call, &variables)) {
                    panic!("{}: {call:?}: {said}", name(object));
                }
                tried.insert(command.join(" "));
            }
        }
    }
    let mut expected =
        vec!["connect", "health", "lake compact", "lake expire", "lake poll", "lake redrive", "simulate"];
    if sql {
        expected.extend(["alerts send", "mart apply", "mart expire", "quality run"]);
    }
    assert_eq!(tried, expected.into_iter().map(str::to_owned).collect());
}

/// The commands whose variables the chart may set.
const COMMANDS: [&str; 9] = [
    "health",
    "lake poll",
    "lake compact",
    "lake expire",
    "lake redrive",
    "mart apply",
    "mart expire",
    "quality run",
    "alerts send",
];

/// The help of all commands, which names their variables.
fn help() -> String {
    let help = |command: &&'static str| {
        let output = fms(&[&words_of(command)[..], &["--help"]].concat(), &[]).output().expect("fms starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    COMMANDS.iter().map(help).collect()
}

fn words_of(command: &'static str) -> Vec<&'static str> {
    command.split(' ').collect()
}

/// Refuses variables that mean nothing: to no command, to no connector, and not to the worker, which refuses unknown ones
/// itself.
fn check_names(object: &Value, variables: &[(String, String)], help: &str, objects: &[Value]) {
    const EVERYWHERE: [&str; 3] = ["AWS_REGION", "RUST_LOG", "KAFKA_BOOTSTRAP_SERVERS"];
    let maps = objects.iter().filter(|object| name(object).ends_with("connectors"));
    let mut connectors: String = maps.map(|map| serde_norway::to_string(map).expect("YAML")).collect();
    // The variables of the connectors that ship have values, and are there if other connectors take their place.
    for shipped in ["dynamodb", "s3"] {
        let file = root().join(format!("deploy/connectors/{shipped}.json"));
        connectors += &std::fs::read_to_string(file).expect("a file");
    }
    for (variable, _) in variables {
        let of_worker = variable.starts_with("CONNECT_") || connectors.contains(&format!("${{env:{variable}}}"));
        let known = EVERYWHERE.contains(&variable.as_str())
            || help.contains(&format!("[env: {variable}="))
            || name(object).ends_with("-worker") && of_worker;
        assert!(known, "{}: nothing knows the variable {variable}", name(object));
    }
}
