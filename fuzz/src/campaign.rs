//! A long search: one process a target, so that what ends a process is a finding like any other.
//!
//! Guided by what the checks say: an input whose [`Verdict`] is new joins the pool that further inputs are made from, beside the samples that
//! are accepted, which half of them are made from. Seeded: the same seed tries the same inputs in the same order, as long as the machine's
//! speed lets it. A finding is made smaller, written into `findings/TARGET/`, and replayed by the tests from then on.

use crate::{engine, targets::TARGETS, Target, Verdict};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    panic::{catch_unwind, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Inputs in the pool beside samples and findings; more of them are tried less often each.
const POOL: usize = 4096;
/// Findings after which a target has said enough.
const ENOUGH: usize = 20;

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Inputs tried.
    pub executions: u64,
    /// Of these, taken by the decoder.
    pub accepted: u64,
    /// Kinds of verdict that were seen.
    pub kinds: usize,
    /// The slowest input, in milliseconds.
    pub slowest_ms: u64,
    /// Seconds of a core that the process had: fewer than it took, where others ran beside it.
    #[serde(default)]
    pub core_seconds: u64,
    /// What the properties that do not hold said, without repetitions.
    pub findings: Vec<String>,
}

/// A generator that depends on its seed alone: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Where findings are kept.
pub fn findings_of(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("findings").join(target.name)
}

/// The committed findings of a target: inputs of its check.
pub fn committed(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(findings_of(target)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter().filter_map(|path| Some((path.clone(), fs::read(&path).ok()?))).collect()
}

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// The file of the input that is tried: whoever started this process finds it there if the process ends early.
///
/// It is written over in place. A file system that is given a truncated file again writes it out at once, and a search that made a new
/// file of each input waited for the disk most of its time.
struct Current(Option<File>);

impl Current {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().write(true).create(true).truncate(true).open(path).ok())
    }

    /// Its length in the first eight bytes, and the input behind them: what is left of a longer one counts no more.
    fn is(&self, input: &[u8]) {
        let Some(file) = &self.0 else { return };
        let bytes = [&(input.len() as u64).to_le_bytes(), input].concat();
        let _ = file.write_all_at(&bytes, 0);
    }
}

/// The input that a process was trying when it ended; `None` before its first.
pub fn last_tried(current: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(current).ok()?;
    let (length, rest) = bytes.split_first_chunk()?;
    Some(rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?.to_vec())
}

/// Searches for `duration`. Before each input it is written to `current`, where [`last_tried`] finds it.
pub fn search(target: &Target, seed: u64, duration: Duration, current: &Path) -> Report {
    static MESSAGE: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let mut message = MESSAGE.lock().unwrap();
        // The first panic is the cause; others may follow it on the way out.
        if message.is_empty() {
            *message = format!("{place}: {}", panic.payload_as_str().unwrap_or("a panic"));
        }
    }));
    let check = |input: &[u8]| -> Result<Verdict, String> {
        MESSAGE.lock().unwrap().clear();
        catch_unwind(AssertUnwindSafe(|| (target.check)(input))).map_err(|_| MESSAGE.lock().unwrap().clone())
    };

    let (mut random, current) = (Random(seed), Current::open(current));
    let (mut kinds, mut places, mut report) = (BTreeSet::new(), BTreeSet::new(), Report::default());
    let mut pool: Vec<Vec<u8>> = target.samples.clone();
    // What samples say is no news.
    let mut is_valid = |sample: &Vec<u8>| {
        current.is(sample);
        check(sample).is_ok_and(|verdict| {
            kinds.insert(verdict);
            verdict.accepted
        })
    };
    let valid: Vec<Vec<u8>> = pool.iter().filter(|sample| is_valid(sample)).cloned().collect();
    pool.extend(committed(target).into_iter().map(|(_, input)| input));
    let own = pool.len();
    // Of the search: samples may take long.
    let begun = Instant::now();
    while begun.elapsed() < duration && report.findings.len() < ENOUGH {
        let length = 4 + random.next() as usize % 120;
        let input = engine::build(&valid, &pool, &random.bytes(length));
        current.is(&input);
        let started = Instant::now();
        let seen = check(&input);
        report.slowest_ms = report.slowest_ms.max(started.elapsed().as_millis() as u64);
        report.executions += 1;
        match seen {
            Ok(verdict) => {
                report.accepted += u64::from(verdict.accepted);
                if kinds.insert(verdict) {
                    join(&mut pool, own, input, &mut random);
                }
            }
            Err(message) => {
                let place: String = message.chars().filter(|letter| !letter.is_ascii_digit()).take(160).collect();
                if places.insert(place) {
                    let smaller = shrink(&input, |input| check(input).is_err());
                    keep(target, &smaller);
                    report.findings.push(message);
                }
            }
        }
    }
    report.kinds = kinds.len();
    report.core_seconds = core_seconds();
    report
}

/// Adds an input to a pool. When that is full, it takes the place of another that joined, not of the first `own`.
fn join(pool: &mut Vec<Vec<u8>>, own: usize, input: Vec<u8>, random: &mut Random) {
    if pool.len() < own + POOL {
        pool.push(input);
    } else {
        pool[own + random.next() as usize % POOL] = input;
    }
}

/// Seconds that this process's first thread, which searches, has run on a core, as Linux counts them; 0 elsewhere.
fn core_seconds() -> u64 {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse::<u64>().ok()).unwrap_or_default()
        / 1_000_000_000
}

/// Leaves out whatever can be left out, for some seconds.
fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let (begun, mut smallest) = (Instant::now(), input.to_vec());
    let mut piece = smallest.len().next_power_of_two() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < smallest.len() && begun.elapsed() < Duration::from_secs(10) {
            let end = (at + piece).min(smallest.len());
            let without = [&smallest[..at], &smallest[end..]].concat();
            if fails(&without) {
                smallest = without;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    smallest
}

/// Keeps an input among the findings, under the hash of its bytes.
pub fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let name = hex::encode(&phala_protocol::hash::blake2_256(input)[..8]);
    let path = findings_of(target).join(format!("{name}.bin"));
    let _ = fs::create_dir_all(findings_of(target)).and_then(|()| fs::write(&path, input));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_input_is_found_whatever_was_tried_before() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("input");
        assert_eq!(last_tried(&path), None);
        let current = Current::open(&path);
        assert_eq!(last_tried(&path), None, "nothing was tried");
        for input in [&b"a long one"[..], b"short", b"", b"again"] {
            current.is(input);
            assert_eq!(last_tried(&path).as_deref(), Some(input));
        }
    }

    #[test]
    fn a_full_pool_takes_what_is_new_and_keeps_the_samples() {
        let samples = vec![vec![1], vec![2]];
        let (mut pool, mut random) = (samples.clone(), Random(1));
        for number in 0..POOL {
            join(&mut pool, samples.len(), number.to_le_bytes().to_vec(), &mut random);
        }
        assert_eq!(pool.len(), samples.len() + POOL);
        for number in 0..100 {
            let newest = vec![3, number];
            join(&mut pool, samples.len(), newest.clone(), &mut random);
            assert!(pool.contains(&newest));
        }
        assert_eq!((pool.len(), &pool[..samples.len()]), (samples.len() + POOL, &samples[..]));
    }
}
