//! What the kernel hides from the sensor: programs that it did not run.

use std::collections::BTreeMap;

use tests::sensor::{Sensor, lost};

/// How often the kernel skipped each of a process's eBPF programs, by the programs' numbers, in its own words
/// (`recursion_misses`, since 5.12).
fn misses(pid: u32) -> BTreeMap<u32, u64> {
    let directory = format!("/proc/{pid}/fdinfo");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("list {directory}: {error}"));
    let infos = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    let of = |info: &str, name: &str| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    infos
        .filter_map(|info| {
            let id = u32::try_from(of(&info, "prog_id:")?).expect("a program's number");
            Some((id, of(&info, "recursion_misses:")?))
        })
        .collect()
}

/// Each program has its own series, their sum is a cause of loss, and both are what the kernel counts.
#[test]
fn programs_that_did_not_run_are_counted() {
    let sensor = Sensor::start();
    sensor.barrier();
    let before = misses(sensor.id());
    // Brings the sensor's own figures up to date.
    let cause = sensor.lost().get("program_missed").copied().unwrap_or_default();
    let metrics = sensor.metrics();
    let after = misses(sensor.id());

    let series: Vec<_> = metrics.select("sensor_program_missed_total", &[]).collect();
    assert_eq!(series.len(), before.len(), "one series a program: {series:?}, {before:?}");
    let told = metrics.count("sensor_program_missed_total", &[]);
    assert!(
        (before.values().sum()..=after.values().sum()).contains(&told),
        "the kernel counts {before:?}, then {after:?}; the sensor {told}"
    );
    assert_eq!(lost(&metrics).get("program_missed").copied().unwrap_or_default(), told);
    assert!(cause <= told, "{cause} of {told}");
}
