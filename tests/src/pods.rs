//! Pods on this machine: control groups as the kubelet and a runtime lay them out, and programs in them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::api_server::object;
use crate::process::program;
use crate::wait::{patience, wait_for};

/// A pod: its object, and the control group of its only container. Dropping it removes the group, once it is empty.
pub struct Pod {
    /// As the API server has it.
    pub object: Value,
    /// Id of its container.
    pub container: String,
    group: PathBuf,
}

impl Pod {
    /// A pod of the Deployment `shop` in the namespace `pay`, laid out by the kubelet with the systemd driver and containerd.
    ///
    /// # Panics
    /// When its group can't be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::of(name, &format!("{:08x}-3a9b-4a52-8f7d-1c2d3e4f5a6b", number()))
    }

    /// The same with a uid.
    ///
    /// # Panics
    /// When its group can't be made.
    #[must_use]
    pub fn of(name: &str, uid: &str) -> Self {
        let mut object = object("pod.json");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(uid);
        let container = format!("{:064x}", u128::from(number()) << 64 | u128::from(std::process::id()));
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        let group = unified()
            .join("kubepods.slice/kubepods-burstable.slice")
            .join(slice)
            .join(format!("cri-containerd-{container}.scope"));
        std::fs::create_dir_all(&group).unwrap_or_else(|error| panic!("make {}: {error}", group.display()));
        Self { object, container, group }
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> String {
        self.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    }

    /// The pod of another workload: its controller's version, kind and name.
    #[must_use]
    pub fn owned_by(&self, version: &str, kind: &str, name: &str) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "x", "controller": true}]);
        object
    }

    /// The pod once the kubelet has told that its container runs.
    #[must_use]
    pub fn running(&self) -> Value {
        let mut object = self.object.clone();
        object["status"] = json!({
            "phase": "Running",
            "containerStatuses": [{
                "name": "app", "ready": true, "restartCount": 0, "started": true,
                "containerID": format!("containerd://{}", self.container),
                "image": "registry.example/pay/shop:1.4.2", "imageID": "", "lastState": {},
                "state": { "running": { "startedAt": "2026-08-01T00:00:01Z" } }
            }],
            "qosClass": "Burstable"
        });
        object
    }

    /// A command that starts a program in its container, as a runtime does: a process moves into the group and then
    /// replaces itself.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut wrapped = program("sh");
        wrapped.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.group);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Its processes may take a moment to end.
        wait_for(patience(5), || std::fs::remove_dir(&self.group).ok());
        if let Some(pod) = self.group.parent() {
            // Where it can't be removed it harms nobody.
            let _ = std::fs::remove_dir(pod);
        }
    }
}

/// A number that no other pod of this test has.
fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Where version 2 of control groups is mounted.
fn unified() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("read /proc/mounts");
    let place = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| Path::new(place).to_owned())
    });
    place.expect("control groups of version 2 are mounted nowhere")
}
