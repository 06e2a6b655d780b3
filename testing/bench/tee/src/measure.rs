//! Time and metrics.
//!
//! What a core is busy for is its processor time plus the time it waits for the disk to say that a commit is durable. Both are
//! measured of this process alone, so that another process on the machine makes a figure less exact but not smaller. A wall clock
//! would also count the time that others had the core.

use serde_json::json;
use std::{
    fs,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
    time::Duration,
};

/// Clock ticks of `/proc/self/stat` in a second: 100 on every Linux that Rust supports.
const TICKS: u64 = 100;

/// Nanoseconds that were spent waiting for the disk, and bytes that it was given.
#[derive(Clone, Debug, Default)]
pub struct DiskWait {
    nanoseconds: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl DiskWait {
    pub fn add(&self, waited: Duration) {
        self.nanoseconds.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn written(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Processor time of this process, all threads, user and system. Exact to 10 ms.
pub fn processor_time() -> Duration {
    processor_time_of(std::process::id())
}

/// Processor time of a process, all threads, user and system. Exact to 10 ms.
pub fn processor_time_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux, and a process that lives");
    // The name in parentheses may hold blanks; fields 14 and 15 of the manual page are 12 and 13 behind it.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<u64> =
        rest.split_whitespace().skip(11).take(2).map(|field| field.parse().expect("ticks")).collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 1_000 / TICKS)
}

/// Adds up what parts of a program cost.
#[derive(Clone, Debug, Default)]
pub struct Stopwatch {
    disk: DiskWait,
    pub processor: Duration,
    pub waited: Duration,
}

impl Stopwatch {
    pub fn new(disk: DiskWait) -> Self {
        Self { disk, ..Self::default() }
    }

    /// Runs `work` and adds what it cost.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (processor, waited) = (processor_time(), self.disk.get());
        let result = work();
        self.processor += processor_time().saturating_sub(processor);
        self.waited += self.disk.get().saturating_sub(waited);
        result
    }

    /// Seconds that a core was busy.
    pub fn busy(&self) -> f64 {
        (self.processor + self.waited).as_secs_f64()
    }
}

/// Seconds of processor time that `work` takes once, repeated until at least `least` has passed.
pub fn repeated(least: Duration, mut work: impl FnMut()) -> f64 {
    work();
    let start = processor_time();
    let mut runs = 0u32;
    loop {
        work();
        runs += 1;
        let passed = processor_time().saturating_sub(start);
        if passed >= least {
            return passed.as_secs_f64() / f64::from(runs);
        }
    }
}

/// Prints a metric. `baseline` is what it is compared with, `ratio` the comparison, `n` how many were measured.
pub fn print(metric: &str, value: f64, unit: &str, baseline: Option<f64>, ratio: Option<f64>, n: usize) {
    println!(
        "{}",
        json!({"metric": metric, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "n": n})
    );
}
