//! Runs what may block in a driver, and stops waiting for it in time.
//!
//! A read that blocks in a driver cannot be interrupted without unsafe code. So it runs in a thread of its own, and whoever waits
//! gives up at a deadline; the thread ends when the driver lets it. Guarantees: at most a fixed number of such threads exist, so
//! that a driver that never answers costs a bounded amount of memory and never more; results of a thread that came too late
//! are dropped. The host controls how long a driver takes.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc, Arc,
    },
    thread,
    time::{Duration, Instant},
};

/// How often a free place is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// No result in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

/// The threads that may be in a driver at once.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// Waits for a free place, runs `work` in a thread, and waits for its result: for `timeout` altogether.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let deadline = Instant::now() + timeout;
        let place = loop {
            match self.take() {
                Some(place) => break place,
                None if Instant::now() >= deadline => return Err(Late),
                None => thread::sleep(POLL_INTERVAL),
            }
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let started = thread::Builder::new().name("driver".to_owned()).spawn(move || {
            // Dropped when the driver is done, and not when its caller has gone.
            let _place = place;
            let _ = sender.send(work());
        });
        // A machine without memory for a thread has not answered either.
        started.map_err(|_| Late)?;
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|_| Late)
    }

    fn take(&self) -> Option<Place> {
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            (taken < self.limit).then(|| taken.saturating_add(1))
        });
        taken.ok().map(|_| Place(self.taken.clone()))
    }
}

/// A place, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_never_answers_takes_its_place_and_no_more() {
        let places = Places::new(1);
        let (release, stuck) = mpsc::channel::<()>();
        let short = Duration::from_millis(30);
        assert_eq!(places.run(short, move || stuck.recv().is_ok()), Err(Late));
        assert_eq!(places.run(short, || 1), Err(Late), "its thread is still in the driver");
        release.send(()).unwrap();
        assert_eq!(places.run(Duration::from_secs(20), || 2), Ok(2), "the place is given back");
    }

    #[test]
    fn work_that_panics_is_late_and_gives_its_place_back() {
        let places = Places::new(1);
        assert_eq!(places.run(Duration::from_secs(20), || -> u8 { panic!("on purpose") }), Err(Late));
        assert_eq!(places.run(Duration::from_secs(20), || 3), Ok(3));
    }
}
