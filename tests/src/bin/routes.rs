//! nginx under load without the sensor and with it by each way in, in alternating rounds: what a request costs.
//!
//! ```text
//! routes <seconds> <rounds> <way>...
//! measured <none|way> <requests> <nginx's ns> <daemon's ns> <elapsed ns>     on standard output, a line a measurement
//! ```

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::time::Instant;

use tests::calls::{Role, counted, total};
use tests::client::wrk_fast;
use tests::sensor::{Options, SETTLE, Sensor};
use tests::server::{Kind, Server};
use tests::wait::{patience, wait_until};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, rounds, ways @ ..] = &arguments[..] else {
        return Err("usage: routes <seconds> <rounds> <way>...".into());
    };
    let (seconds, rounds): (u64, usize) = (seconds.parse()?, rounds.parse()?);
    let server = Server::start(Kind::Nginx);
    // Fills the caches of nginx and the kernel.
    let _ = wrk_fast(&server.url("/fast"), 1);
    let kinds: Vec<Option<&str>> =
        [None].into_iter().chain(ways.iter().map(|way| Some(way.as_str()))).collect();
    for round in 0..rounds {
        for place in 0..kinds.len() {
            let kind = kinds[(round + place) % kinds.len()];
            let line = measure(&server, kind, seconds)?;
            eprintln!("round {}: {line}", round + 1);
            writeln!(std::io::stdout(), "measured {line}")?;
        }
    }
    Ok(())
}

/// One run under load; what was measured, as it is printed.
fn measure(server: &Server, way: Option<&str>, seconds: u64) -> Result<String, Box<dyn Error>> {
    let start = |way| Options::default().capture("route", way).processes(&["nginx"]).start();
    let sensor = way.map(start);
    let daemon =
        |sensor: &Option<Sensor>| sensor.as_ref().map_or(Ok(0), |sensor| processor_time(sensor.id()));
    let before = (Instant::now(), nginx_time(server)?, daemon(&sensor)?);
    let requests = wrk_fast(&server.url("/fast"), seconds);
    let (elapsed, nginx) = (before.0.elapsed().as_nanos(), nginx_time(server)? - before.1);
    // Before the sensor is asked for its metrics, which costs it more than the load.
    let daemon = daemon(&sensor)? - before.2;
    if let Some(sensor) = &sensor {
        // A figure of a way that misses requests would be worth nothing.
        wait_until("all requests to be counted", patience(SETTLE), || {
            (total(&counted(&sensor.metrics(), Role::Server, server.port)) >= requests).then_some(())
        });
    }
    Ok(format!("{} {requests} {nginx} {daemon} {elapsed}", way.unwrap_or("none")))
}

/// Nanoseconds that nginx' workers were on a processor.
fn nginx_time(server: &Server) -> Result<u64, Box<dyn Error>> {
    let id = server.id();
    let workers = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    workers.split_whitespace().map(|worker| processor_time(worker.parse()?)).sum()
}

/// Nanoseconds that the threads of a process were on a processor (`schedstat`, the first number).
fn processor_time(id: u32) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}
