//! Many requests at once, each in a trace of its own.

use std::sync::atomic::{AtomicU32, Ordering};

/// The span that the traces begin with.
pub const CALLER: &str = "00000000000000aa";

/// Makes `requests` requests, `parallel` of them at a time, each on a connection of its own, to what `url` gives for their
/// numbers, and in the traces named after these.
///
/// # Panics
/// When one is not answered with 200.
pub fn ask(parallel: u32, requests: u32, url: impl Fn(u32) -> String + Sync) {
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        break;
                    }
                    let agent = ureq::Agent::config_builder().max_idle_connections(0).build();
                    let parent = format!("00-{}-{CALLER}-01", trace(number));
                    let request = ureq::Agent::from(agent).get(url(number)).header("traceparent", parent);
                    let mut response = request.call().expect("ask");
                    assert_eq!(response.status(), 200);
                    response.body_mut().read_to_vec().expect("a body");
                }
            });
        }
    });
}

/// The trace of a request.
#[must_use]
pub fn trace(number: u32) -> String {
    format!("{:032x}", u128::from(number) + 1)
}
