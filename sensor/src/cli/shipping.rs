//! Sending, beside the pipeline: its figures once a second, and new settings on SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::args::Run;
use crate::config::Config;
use crate::identity::kubernetes;
use crate::metric::endpoint::Status;
use crate::ship::Shipper;

/// The shipper, and the task that looks after it. Whoever holds it may wait for a disk: the pipeline never does.
pub(super) struct Shipping {
    shipper: Arc<Mutex<Option<Shipper>>>,
    report: JoinHandle<()>,
}

impl Shipping {
    pub(super) fn start(shipper: Shipper) -> Self {
        let shipper = Arc::new(Mutex::new(Some(shipper)));
        let reported = Arc::clone(&shipper);
        let report = tokio::spawn(async move {
            let mut second = interval(Duration::from_secs(1));
            second.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                second.tick().await;
                if let Some(shipper) = &*reported.lock().await {
                    tokio::task::block_in_place(|| shipper.report());
                }
            }
        });
        Self { shipper, report }
    }

    /// What `/status` shows.
    pub(super) fn status(&self, kubernetes: Option<kubernetes::Report>) -> Status {
        let shipper = Arc::clone(&self.shipper);
        Arc::new(move || {
            let mut status = match shipper.try_lock() {
                Ok(shipper) => {
                    let ship = shipper.as_ref().map(Shipper::status);
                    json!({ "version": env!("CARGO_PKG_VERSION"), "ship": ship })
                }
                Err(_) => json!({ "version": env!("CARGO_PKG_VERSION"), "ship": null, "busy": true }),
            };
            status["kubernetes"] = json!(kubernetes.as_ref().map(kubernetes::Report::status));
            status
        })
    }

    /// Reads the settings again and goes on by them, in a task of its own.
    pub(super) fn reload(&self, args: &Run, running: &Config) {
        let Some(path) = &args.config else {
            tracing::warn!("SIGHUP: there is no configuration file to read again");
            return;
        };
        let config = match Config::load(Some(path)) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!("SIGHUP: the new configuration is refused, the old one goes on: {error}");
                return;
            }
        };
        let mut but_ship = Config { ship: running.ship.clone(), listen: running.listen, ..config.clone() };
        but_ship.logs.add(&args.logs);
        if but_ship != *running {
            tracing::warn!("SIGHUP: settings outside of `ship` changed; they need a restart");
        }
        let shipper = Arc::clone(&self.shipper);
        tokio::spawn(async move {
            let mut shipper = shipper.lock().await;
            let Some(shipper) = &mut *shipper else { return };
            match shipper.reload(&config.ship).await {
                Ok(()) => tracing::info!("SIGHUP: sending by the new settings"),
                Err(error) => tracing::error!("SIGHUP: the new settings can't be used: {error}"),
            }
        });
    }

    /// Ends the sending.
    pub(super) async fn stop(self) {
        self.report.abort();
        let shipper = self.shipper.lock().await.take();
        if let Some(shipper) = shipper {
            shipper.stop().await;
        }
    }
}
