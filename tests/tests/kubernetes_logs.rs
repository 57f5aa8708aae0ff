//! Whose the lines are that pods write, and which are told.

use serde_json::json;
use tests::api_server::ApiServer;
use tests::cluster::{sensor, to_loki, wait_for_metrics, wait_for_watches};
use tests::logs::{Piped, parse};
use tests::pods::Pod;
use tests::process::program;
use tests::receiver::Lines;
use tests::sensor::Options;
use tests::wait::{patience, wait_until};

/// Standard output and error of a pod's container arrive with its labels, before and after the sensor started; what is
/// executed in it later is none of its output, and what an annotation switches off is not told.
#[test]
fn log_lines_carry_pod_and_workload() {
    const SCRIPT: &str = "echo out; echo err >&2; exec sleep 1000";
    let (api, receiver) = (ApiServer::start(), Lines::start(204));
    let spool = tempfile::TempDir::new().expect("make a directory");
    let (before, after, silent) = (Pod::new("shop-before"), Pod::new("shop-after"), Pod::new("shop-silent"));
    api.put("pods", before.running());
    api.put("pods", after.object.clone());
    let mut off = silent.object.clone();
    off["metadata"]["annotations"] = json!({"sensor.lionpay.io/logs": "off"});
    api.put("pods", off);
    let go = spool.path().join("go");
    let waiting = format!("until [ -e {} ]; do sleep 0.05; done; {SCRIPT}", go.display());
    let shell = |script: &str| {
        let mut command = program("sh");
        command.args(["-c", script]);
        command
    };
    let _old = Piped::start(&mut before.command(&shell(&waiting)));
    let sensor = sensor(&(api.settings() + &to_loki(&receiver, spool.path())));
    wait_for_watches(&sensor);
    let _quiet = Piped::start(&mut silent.command(&shell(SCRIPT)));
    let _new = Piped::start(&mut after.command(&shell(SCRIPT)));
    std::fs::write(&go, "").expect("write a file");
    wait_until("four lines", patience(30), || (receiver.lines().len() >= 4).then_some(()));
    let _executed = Piped::start(&mut after.command(&shell("echo executed; exec sleep 1000")));
    std::fs::remove_file(&go).expect("remove a file");
    let later = Pod::new("shop-later");
    api.put("pods", later.object.clone());
    let _last = Piped::start(&mut later.command(&shell(SCRIPT)));
    wait_until("six lines", patience(30), || (receiver.lines().len() >= 6).then_some(()));
    let mut found = Vec::new();
    for stream in receiver.taken() {
        assert_eq!(
            stream.labels,
            "{cluster=\"test\", container=\"app\", job=\"pay/app\", namespace=\"pay\", \
             service_name=\"shop\", service_namespace=\"pay\"}"
        );
        for entry in stream.entries {
            let pod = entry.metadata("pod").to_owned();
            assert_eq!(entry.metadata("service_instance_id"), format!("pay.{pod}.app"));
            assert_eq!(entry.metadata("k8s_deployment_name"), "shop");
            found.push((pod, entry.metadata("log_iostream").to_owned(), entry.line));
        }
    }
    found.sort();
    let expected: Vec<_> = ["shop-after", "shop-before", "shop-later"]
        .into_iter()
        .flat_map(|pod| [(pod, "stderr", "err"), (pod, "stdout", "out")])
        .map(|(pod, stream, line)| (pod.to_owned(), stream.to_owned(), line.to_owned()))
        .collect();
    assert_eq!(found, expected);
    api.assert_no_faults();
}

/// What is written in namespaces and by services that are not chosen is not told.
#[test]
fn log_lines_are_chosen_by_namespace_and_service() {
    let api = ApiServer::start();
    let logs = "logs:\n  namespaces: [pay, bank]\n  exclude_namespaces: [bank]\n  exclude_services: [till]\n";
    let options = Options::default().yaml(&(api.settings() + logs));
    let sensor = options.argument("--print").argument("logs").start();
    wait_for_watches(&sensor);
    let start = |name: &str, namespace: &str, annotations: serde_json::Value| {
        let pod = Pod::new(name);
        let mut object = pod.running();
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["annotations"] = annotations;
        api.put("pods", object);
        let mut command = program("sh");
        command.args(["-c", "echo \"$0\"", name]);
        let _ = Piped::start(&mut pod.command(&command)).succeed(30);
        pod
    };
    let none = json!({});
    let till = json!({"resource.opentelemetry.io/service.name": "till"});
    let _pods = [
        start("elsewhere", "ops", none.clone()),
        start("left-out", "bank", none.clone()),
        start("till-1", "pay", till),
        start("shop-1", "pay", none),
    ];
    wait_for_metrics(&sensor, "the line", |metrics| metrics.count("sensor_log_records_total", &[]) >= 1);
    // Whatever waits is told when the sensor stops.
    let records = parse(&sensor.stop().stdout);
    let told: Vec<_> = records.iter().map(|record| (&*record.service, &*record.body)).collect();
    assert_eq!(told, [("shop", "shop-1")]);
    api.assert_no_faults();
}
