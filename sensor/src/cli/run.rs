//! `sensor run`.

use std::{
    io::IsTerminal,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    args::{Print, Run},
    log as messages,
    output::Output,
    shipping::Shipping,
};
use crate::{
    capture::{Capture, priority},
    config::Config,
    identity::Kubernetes,
    log::{self, Followed, Reader, Sink},
    mask::Masker,
    metric::{Registry, Shared, endpoint, family, room::Room},
    pipeline::{Pace, Pipeline, Sinks},
    rpc::Names,
    ship::Shipper,
};

/// Observes this host until a signal, the end of `--duration`, or the end of who reads the output.
///
/// # Errors
/// When the address cannot be bound or the capture cannot start.
pub async fn run(args: &Run, mut config: Config) -> anyhow::Result<()> {
    config.logs.add(&args.logs);
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    // Signals first: one that comes while the programs are loaded must not kill a half-attached sensor.
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;

    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;

    let kubernetes = Kubernetes::start(&config.kubernetes)?;
    let registry = Registry::new(config.metric.max_series)
        .span_metrics(config.metric.span_metrics)
        .rpc_names(config.http.rpc_names)
        .within(&Room::new(config.metric.max_active_series).native(config.metric.native_histograms));
    let registry = Shared::new(registry);
    let shipper =
        tokio::task::block_in_place(|| Shipper::start(&config.ship, registry.clone(), &super::host_name()))?;
    let listener = endpoint::listen(config.listen).await?;
    let address = listener.local_addr().context("cannot tell the address of the metrics endpoint")?;
    let mut capture = Capture::start(&config.capture_settings(), messages::ebpf_level())?;
    let kernel = super::kernel_release();
    announce(&capture, &kernel, address, &registry);
    capture.forward_messages();

    let route = capture.route().name();
    let sinks = sinks(&args.print, config.http.rpc_names, &kernel, route).shipping(shipper.sink());
    let mut log_sinks: Vec<Box<dyn Sink>> = vec![Box::new(log::Loki::new(shipper.log_sink()))];
    let shipping = Shipping::start(shipper);
    let masker = Arc::new(
        Masker::new(&config.mask).map_err(|error| anyhow::anyhow!("{}: {}", error.name, error.allowed))?,
    );
    let log_capture = capture.take_logs();
    let mut pipeline =
        Pipeline::new(capture, &config, registry.clone(), sinks, Arc::clone(&masker), kubernetes.as_ref());
    if let Some(log_capture) = log_capture {
        if args.print.contains(&Print::Logs) {
            log_sinks.push(Box::new(log::Print::new(Output::new(std::io::stdout()))));
        }
        let logs = &config.logs;
        let containers = kubernetes.as_ref().filter(|_| logs.containers).map(Kubernetes::directory);
        let followed = Followed { choices: logs.choices(), containers, pods: logs.pods() };
        let requests = pipeline.requests();
        let reader =
            Reader::start(log_capture, logs, followed, log_sinks, requests, masker, registry.clone())?;
        pipeline.serve_logs(reader);
    }
    let (stop, stopped) = watch::channel(());
    let serve = endpoint::serve(
        listener,
        registry,
        shipping.status(kubernetes.as_ref().map(Kubernetes::report)),
        wait_for_drop(stopped),
    );
    let server = tokio::spawn(serve);

    priority::raise();
    let end = args.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut pace = Pace::default();
    let poll = tokio::time::sleep(pace.wait());
    tokio::pin!(poll);
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => shipping.reload(args, &config),
            () = until(end) => break "the duration is over",
            _ = second.tick() => pipeline.second(now_ns()),
            result = pipeline.capture().filling() => {
                result.context("cannot watch the ring buffer")?;
                pipeline.turn(now_ns());
            }
            () = &mut poll => {
                let turn = pipeline.turn(now_ns());
                pace = pace.after(turn.records);
                // Where more waits than one turn takes, come again at once.
                let wait = if turn.more { Duration::ZERO } else { pace.wait() };
                poll.as_mut().reset(tokio::time::Instant::now() + wait);
            }
        }
        if pipeline.is_closed() {
            break "nobody reads the output";
        }
    };
    tracing::info!("stopping: {reason}");
    tokio::task::block_in_place(|| pipeline.finish(now_ns()));
    shipping.stop().await;
    drop(stop);
    server.await.context("the metrics endpoint failed")?;
    Ok(())
}

fn announce(capture: &Capture, kernel: &str, address: std::net::SocketAddr, registry: &Shared) {
    for (route, error) in capture.refused() {
        tracing::warn!("the {} route is not available: {}", route.name(), error.brief());
    }
    let route = capture.route().name();
    tracing::info!(
        "capturing by the {route} route on kernel {kernel}, which masks card numbers; metrics at http://{address}/metrics"
    );
    registry.lock().own().set(&family::INFO, &[route, kernel], 1.0);
}

fn sinks(print: &[Print], names: Names, kernel: &str, route: &'static str) -> Sinks {
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let output = Output::new(stdout);
    if print.contains(&Print::Spans) {
        Sinks::spans(output, names)
    } else if !print.is_empty() {
        Sinks::nothing(output)
    } else if terminal {
        Sinks::table(output, kernel.to_owned(), route)
    } else {
        Sinks::lines(output)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel side.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

async fn wait_for_drop(mut stopped: watch::Receiver<()>) {
    // The sender never sends: an error says that it is gone.
    let _ = stopped.changed().await;
}
