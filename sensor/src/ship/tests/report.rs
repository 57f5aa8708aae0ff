//! What is told of the sending.

use std::net::TcpListener;

use tokio::sync::oneshot;

use super::PATIENCE;
use crate::config::Config;
use crate::metric::{Registry, Shared, text};
use crate::ship::Shipper;

/// Receivers of every signal that take no connection.
fn settings(spool: &std::path::Path, port: u16) -> Config {
    let spool = spool.display();
    let text = format!(
        "ship:\n  spool: {{directory: {spool}}}\n  receivers:\n  \
         - {{name: metrics, protocol: remote_write, url: 'http://127.0.0.1:{port}/'}}\n  \
         - {{name: logs, protocol: loki, url: 'http://127.0.0.1:{port}/'}}\n  \
         - {{name: traces, protocol: otlp_http, url: 'http://127.0.0.1:{port}/'}}\n"
    );
    Config::parse(&text, "test").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_has_every_cause() {
    let directory = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let registry = Shared::new(Registry::new(1_000));
    let config = settings(directory.path(), closed);
    let shipper = Shipper::start(&config.ship, registry.clone(), "node").unwrap();

    // In a thread that nobody waits for: a lock that waits for itself would hold it for ever.
    let (done, told) = oneshot::channel();
    std::thread::spawn(move || {
        shipper.report();
        done.send((shipper.status(), shipper)).map_err(drop)
    });
    let (status, shipper) = tokio::time::timeout(PATIENCE, told).await.expect("a report").unwrap();
    shipper.stop().await;

    let causes = ["spool_full", "spool_age", "spool_damaged", "refused", "refused_in_part", "undecodable"];
    let page = text::exposition(&registry.lock());
    for (signal, causes) in [
        ("metrics", &["disk_full", "disk_error"][..]),
        ("logs", &["disk_full", "disk_error", "busy", "day_budget"]),
        ("traces", &["disk_full", "disk_error", "busy", "day_budget", "keep_budget", "tail_full"]),
    ] {
        let lost = status["signals"][signal]["lost_for_all_receivers"].as_object().unwrap();
        assert_eq!(lost.len(), causes.len(), "{lost:?}");
        for cause in causes {
            assert_eq!(lost[*cause], 0, "{lost:?}");
            let series = format!("sensor_ship_lost_total{{cause=\"{cause}\",signal=\"{signal}\"}} 0");
            assert!(page.contains(&series), "no {series} in {page}");
        }
    }
    for (name, signal) in [("metrics", "metrics"), ("logs", "logs"), ("traces", "traces")] {
        let shown = status["receivers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(shown["lost"].as_object().unwrap().len(), causes.len(), "{shown}");
        for cause in causes {
            assert_eq!(shown["lost"][cause], 0, "{cause} of {shown}");
            let series = format!(
                "sensor_ship_lost_total{{cause=\"{cause}\",receiver=\"{name}\",signal=\"{signal}\"}} 0"
            );
            assert!(page.contains(&series), "no {series} in {page}");
        }
    }
}
