//! Threads that contracts are executed on, started once.
//!
//! A contract needs a stack of a known size, and a thread that is started for a query costs more than most queries compute. So whoever
//! answers queries starts a few threads with that stack and hands them whole jobs: to open a question, to execute and to seal, without
//! another change of threads in between.
//!
//! Guarantees: every job runs, in the order in which jobs came, on one of so many threads, and [`crate::execute`] in it runs there; a
//! job that panics ends alone. Commands do not run here, so a job that takes long holds up jobs only. Does not bound how many jobs
//! wait: whoever submits them does. Whoever submits controls the jobs.

use crate::execute::{on_stack, CONTRACT_STACK_BYTES};
use std::{
    collections::VecDeque,
    io,
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

type Job = Box<dyn FnOnce() + Send>;

/// Threads with the stack that contracts need. They end when this is dropped, each after the job that it is at.
pub struct Executors {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl Executors {
    /// Starts `count` threads, each with the stack that contracts need; none if one of them does not start.
    pub fn start(count: usize) -> io::Result<Self> {
        // Made first: if a thread does not start, dropping it ends those that did.
        let executors = Self { queue: Arc::default() };
        for _ in 0..count {
            let queue = executors.queue.clone();
            std::thread::Builder::new()
                .name("query".to_owned())
                .stack_size(CONTRACT_STACK_BYTES)
                .spawn(move || on_stack(|| queue.work()))?;
        }
        Ok(executors)
    }

    /// Hands `job` to the next thread that is free. Does not wait for it.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.queue.waiting().jobs.push_back(Box::new(job));
        self.queue.changed.notify_one();
    }
}

impl Drop for Executors {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.ended = true;
        // Nobody runs them any more; whoever waits for one of them is told so by what it holds.
        let jobs = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        self.queue.changed.notify_all();
        drop(jobs);
    }
}

impl Queue {
    /// Runs jobs until there will be no more.
    fn work(&self) {
        while let Some(job) = self.next() {
            // What a job may leave half changed is its own, or behind a lock that says so.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if waiting.ended {
                return None;
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A poisoned lock is taken all the same: jobs run outside of it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use std::{
        sync::mpsc::{self, RecvTimeoutError},
        thread::{self, ThreadId},
        time::Duration,
    };

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn every_job_runs_on_one_of_so_many_threads_that_stay() {
        let executors = Executors::start(3).unwrap();
        let (done, all_done) = mpsc::channel::<ThreadId>();
        for _ in 0..200 {
            let done = done.clone();
            executors.submit(move || done.send(thread::current().id()).unwrap());
        }
        let mut threads: Vec<_> = (0..200).map(|_| all_done.recv_timeout(PATIENCE).unwrap()).collect();
        threads.sort_unstable_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert!(threads.len() <= 3, "{threads:?}");
        assert!(!threads.contains(&thread::current().id()));
    }

    #[test]
    fn a_job_that_panics_or_is_stuck_leaves_the_other_threads_and_itself_for_the_next() {
        let executors = Executors::start(2).unwrap();
        let (release, stuck) = mpsc::channel::<()>();
        executors.submit(move || {
            let _ = stuck.recv();
        });
        let (done, answers) = mpsc::channel();
        for number in 0..10 {
            let done = done.clone();
            executors.submit(move || {
                if number % 2 == 0 {
                    panic!("a defect of the job");
                }
                done.send(number).unwrap();
            });
        }
        drop(done);
        let answered: Vec<_> = (0..5).map(|_| answers.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(answered, [1, 3, 5, 7, 9], "in the order of their coming, beside a job that is stuck");
        assert_eq!(
            answers.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected),
            "whoever panicked let go of all it held"
        );
        drop(release);
    }

    #[test]
    fn jobs_that_wait_when_it_ends_are_let_go_of() {
        let executors = Executors::start(1).unwrap();
        let ((release, stuck), (begun, has_begun)) = (mpsc::channel::<()>(), mpsc::channel());
        executors.submit(move || {
            begun.send(()).unwrap();
            let _ = stuck.recv();
        });
        has_begun.recv_timeout(PATIENCE).unwrap();
        let (done, answer) = mpsc::channel::<()>();
        executors.submit(move || done.send(()).unwrap());
        drop(executors);
        assert_eq!(answer.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        drop(release);
    }
}
