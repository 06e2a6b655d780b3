//! Processor time, and one line of JSON a metric.

use rustix::time::{clock_gettime, ClockId};
use serde_json::json;

/// Prints one metric.
pub fn print(metric: &str, value: f64, unit: &str, baseline: Option<f64>, n: usize) {
    let ratio = baseline.map(|baseline| value / baseline);
    let line = json!({ "metric": metric, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "n": n });
    println!("{line}");
}

/// Processor time of this thread, in seconds: another process on the machine makes a figure less exact, and not smaller.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Does `work`, and adds the seconds of processor time that it takes to `spent`.
pub fn timed<T>(spent: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = processor_seconds();
    let done = work();
    *spent += processor_seconds() - start;
    done
}

/// Seconds of processor time that `work` takes each time, out of `n` times after a tenth of them unmeasured.
pub fn seconds(n: usize, mut work: impl FnMut()) -> f64 {
    let n = n.max(1);
    (0..n.div_ceil(10)).for_each(|_| work());
    let mut spent = 0.0;
    timed(&mut spent, || (0..n).for_each(|_| work()));
    spent / n as f64
}

/// The middle one of `values`; not a number if there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
