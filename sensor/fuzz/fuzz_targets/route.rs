//! Any path has a bounded route, and that is its own route.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::protocol::route_of;

fuzz_target!(|path: &str| {
    let route = route_of(path);
    assert!(route.len() <= 1000, "{} bytes", route.len());
    assert_eq!(route_of(&route), route);
});
