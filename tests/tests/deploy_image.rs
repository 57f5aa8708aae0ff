//! The image under runc, as the DaemonSet runs it: its capabilities and no others, a root that can't be written, a network
//! namespace of its own, the host's processes. It has to be ready, to name what it sees, and to end when asked.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::curl;
use tests::deploy::directory;
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::process::{Process, program, unique};
use tests::sensor::{SETTLE, exclusive, require_root};
use tests::server::{Kind, Server};
use tests::wait::{patience, wait_until};

const METRICS: &str = "http://127.0.0.1:9464/metrics";

/// The archive of `cargo xtask image`: `SENSOR_IMAGE`, else where it puts it.
fn image() -> PathBuf {
    if let Some(path) = std::env::var_os("SENSOR_IMAGE") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let found =
        test.ancestors().map(|target| target.join("image/lionpay-sensor.tar")).find(|path| path.is_file());
    found.expect("no image to test; hint: cargo xtask image, or name one in SENSOR_IMAGE")
}

/// The entries of a tar file by path.
fn entry(archive: &[u8], path: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path") == Path::new(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read an entry");
            return bytes;
        }
    }
    panic!("no {path} in the archive");
}

/// Unpacks the layers; the entry point.
fn unpack(root: &Path) -> Vec<String> {
    let archive = std::fs::read(image()).expect("read the image");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        entry(&archive, &format!("blobs/{}", digest.replace(':', "/")))
    };
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("JSON") };
    let index = json(&blob(&json(&entry(&archive, "index.json"))["manifests"][0]));
    let manifest = json(&blob(&index["manifests"][0]));
    for layer in manifest["layers"].as_array().expect("layers") {
        tar::Archive::new(GzDecoder::new(blob(layer).as_slice())).unpack(root).expect("unpack a layer");
    }
    let config = json(&blob(&manifest["config"]));
    texts(&config["config"]["Entrypoint"])
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

fn yaml(path: &str) -> Value {
    let text =
        std::fs::read_to_string(directory().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A bundle (OCI runtime specification 1.0.2) of the pod that the DaemonSet describes, in this network namespace.
fn bundle(directory: &Path, netns: &str) {
    let root = directory.join("rootfs");
    let daemon_set = yaml("base/daemonset.yaml");
    let pod = &daemon_set["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    let capabilities: Vec<String> =
        texts(&security["capabilities"]["add"]).iter().map(|name| format!("CAP_{name}")).collect();
    let arguments: Vec<String> = unpack(&root).into_iter().chain(texts(&container["args"])).collect();
    let mount = |destination: &str, source: &str, kind: &str, options: &[&str]| json!({"destination": destination, "source": source, "type": kind, "options": options});
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    for wanted in container["volumeMounts"].as_array().expect("volumeMounts") {
        let name = wanted["name"].as_str().expect("a name");
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volume =
            volumes.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        // What the host has is the host's; the spool, the configuration and the credentials are the test's.
        let source = match volume["hostPath"]["path"].as_str() {
            Some(path) if path.starts_with("/sys") => PathBuf::from(path),
            _ => directory.join(name),
        };
        std::fs::create_dir_all(&source).expect("make a directory");
        let access = if wanted["readOnly"] == true { "ro" } else { "rw" };
        let destination = wanted["mountPath"].as_str().expect("a path");
        mounts.push(mount(destination, &source.to_string_lossy(), "bind", &["rbind", access]));
    }
    std::fs::copy(self::directory().join("base/sensor.yaml"), directory.join("config/sensor.yaml"))
        .expect("copy");
    std::fs::write(directory.join("grafana-cloud/token"), "none").expect("write a token");
    let users = ["METRICS", "LOGS", "TRACES"].map(|signal| format!("GRAFANA_CLOUD_{signal}_USER=1"));
    let environment: Vec<String> = users.into_iter().chain(variables()).collect();
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": arguments,
            "env": environment,
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
        },
        "root": {"path": "rootfs", "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "pod",
        "mounts": mounts,
        "linux": {
            "namespaces": [
                {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network", "path": netns},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    std::fs::write(directory.join("config.json"), config.to_string()).expect("write the bundle");
}

/// `NAME=value` of a cluster and of the node.
fn variables() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(directory().join(path)).expect("read variables");
    // The last of a name counts, as in an overlay.
    let text = read("base/cluster.env") + &read("overlays/service-seoul/cluster.env");
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains('='));
    lines.map(str::to_owned).chain(["NODE_NAME=node-1".to_owned()]).collect()
}

fn scrape(netns: &Netns) -> Option<Metrics> {
    let text = netns.run(|| ureq::get(METRICS).call().ok()?.body_mut().read_to_string().ok())?;
    Some(Metrics::parse(&text))
}

#[test]
fn it_captures_with_the_capabilities_of_the_manifest() {
    const REQUESTS: usize = 20;
    require_root();
    let _lock = exclusive();
    let (directory, netns) = (TempDir::new().expect("make a directory"), Netns::new());
    bundle(directory.path(), &netns.path());
    let server = Server::start(Kind::Nginx);
    let id = unique("lionpay-sensor");
    let runc = |arguments: &[&str]| -> Command {
        let mut command = program("runc");
        command.arg("--root").arg(directory.path().join("state")).args(arguments);
        command
    };
    let mut container = Process::start(runc(&["run", "--bundle"]).arg(directory.path()).arg(&id));
    wait_until("the sensor to be ready", patience(60), || {
        if let Some(status) = container.ended() {
            panic!("the container ended with {status}\n{}", container.report());
        }
        scrape(&netns).map(drop)
    });
    for _ in 0..REQUESTS {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    // Names are of executables of the host, connections of its namespaces: that takes more than loading programs.
    let port = server.port.to_string();
    let wanted = [
        (
            "http_server_request_duration_seconds_count",
            [("service_name", "nginx"), ("server_port", port.as_str())],
        ),
        (
            "http_client_request_duration_seconds_count",
            [("service_name", "curl"), ("server_port", port.as_str())],
        ),
    ];
    wait_until("the requests and the names of both ends", patience(SETTLE), || {
        let metrics = scrape(&netns)?;
        wanted.iter().all(|(name, labels)| metrics.count(name, labels) == REQUESTS as u64).then_some(())
    });
    wait_until("the listener of another namespace", patience(SETTLE), || {
        let metrics = scrape(&netns)?;
        (metrics.count("tcp_listen_queue_limit", &[("service_name", "nginx")]) > 0).then_some(())
    });
    // Which connections are tracked can be asked wherever they are.
    let tracks = Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists();
    let metrics = scrape(&netns).expect("an answer");
    assert_eq!(metrics.count("sensor_capability", &[("name", "conntrack")]), u64::from(tracks));
    let spool = directory.path().join("spool");
    assert!(
        std::fs::read_dir(&spool).expect("the spool").next().is_some(),
        "nothing was written to the spool"
    );

    let killed = runc(&["kill", &id, Signal::SIGTERM.as_str()]).status().expect("start runc");
    assert!(killed.success());
    let status = container.wait(30);
    assert!(status.success(), "{status}\n{}", container.report());
}
