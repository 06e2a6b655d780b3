//! Asks one server many questions, at full rate or at times of its own.
//!
//! Every loop is bounded, by a time or by the questions there are, and whatever fails ends all of it.

use super::http::{Answer, Connection};
use anyhow::{anyhow, ensure, Result};
use phala_light_client::testing::TestRandom;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// One answer.
pub struct Taken {
    /// Which question it is to.
    pub index: usize,
    /// When it was there, from the start of its part.
    pub at: Duration,
    /// From when it was sent or, at times of its own, was due.
    pub latency: Duration,
    pub answer: Answer,
}

/// Whom to ask what.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub requests: &'a [Vec<u8>],
}

/// The same, with the first question after the last.
pub struct Around<'a>(Load<'a>);

impl<'a> Load<'a> {
    pub fn around(self) -> Around<'a> {
        Around(self)
    }

    /// Asks on every connection as soon as it was answered, for `time`.
    pub fn closed(&self, from: usize, connections: usize, time: Duration) -> Result<Vec<Taken>> {
        closed(self.address, connections, time, &|index| self.requests.get(from + index).map(Vec::as_slice))
            .map(|taken| renumbered(taken, from))
    }

    /// Asks every question once, on every connection as soon as it was answered.
    pub fn every(&self, connections: usize) -> Result<Vec<Taken>> {
        let next = AtomicUsize::new(0);
        on_connections(self.address, connections, &|connection, start| {
            let mut taken = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = self.requests.get(index) else { return Ok(taken) };
                taken.push(asked(connection, request, index, start)?);
            }
        })
    }

    /// Asks at `arrivals`, whether or not what was asked before is answered.
    pub fn open(&self, from: usize, connections: usize, arrivals: &[Duration]) -> Result<Vec<Taken>> {
        open(self.address, connections, arrivals, &|index| self.requests.get(from + index).map(Vec::as_slice))
            .map(|taken| renumbered(taken, from))
    }
}

impl Around<'_> {
    pub fn closed(&self, from: usize, connections: usize, time: Duration) -> Result<Vec<Taken>> {
        closed(self.0.address, connections, time, &|index| self.request(from + index))
    }

    pub fn open(&self, from: usize, connections: usize, arrivals: &[Duration]) -> Result<Vec<Taken>> {
        open(self.0.address, connections, arrivals, &|index| self.request(from + index))
    }

    fn request(&self, index: usize) -> Option<&[u8]> {
        self.0.requests.get(index % self.0.requests.len()).map(Vec::as_slice)
    }
}

fn renumbered(mut taken: Vec<Taken>, from: usize) -> Vec<Taken> {
    taken.iter_mut().for_each(|taken| taken.index += from);
    taken
}

/// The question with a number, counted from the start of a part.
type Requests<'a> = dyn Fn(usize) -> Option<&'a [u8]> + Sync + 'a;

fn closed<'a>(address: SocketAddr, connections: usize, time: Duration, requests: &Requests<'a>) -> Result<Vec<Taken>> {
    let next = AtomicUsize::new(0);
    on_connections(address, connections, &|connection, start| {
        let mut taken = Vec::new();
        while start.elapsed() < time {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let request =
                requests(index).ok_or_else(|| anyhow!("too few questions were made for so fast a machine"))?;
            taken.push(asked(connection, request, index, start)?);
        }
        Ok(taken)
    })
}

/// Asks now.
fn asked(connection: &mut Connection, request: &[u8], index: usize, start: Instant) -> Result<Taken> {
    let sent = start.elapsed();
    let answer = connection.ask(request)?;
    let at = start.elapsed();
    Ok(Taken { index, at, latency: at.saturating_sub(sent), answer })
}

fn open<'a>(
    address: SocketAddr,
    connections: usize,
    arrivals: &[Duration],
    requests: &Requests<'a>,
) -> Result<Vec<Taken>> {
    let next = AtomicUsize::new(0);
    on_connections(address, connections, &|connection, start| {
        let mut taken = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(due) = arrivals.get(index) else { return Ok(taken) };
            let request =
                requests(index).ok_or_else(|| anyhow!("too few questions were made for so fast a machine"))?;
            // Nothing where it is due already: then it is late by as long as no connection was free.
            thread::sleep(due.saturating_sub(start.elapsed()));
            let answer = connection.ask(request)?;
            let at = start.elapsed();
            taken.push(Taken { index, at, latency: at.saturating_sub(*due), answer });
        }
    })
}

fn on_connections(
    address: SocketAddr,
    connections: usize,
    each: &(dyn Fn(&mut Connection, Instant) -> Result<Vec<Taken>> + Sync),
) -> Result<Vec<Taken>> {
    let mut opened: Vec<_> = (0..connections).map(|_| Connection::open(address)).collect::<Result<_>>()?;
    let start = Instant::now();
    let parts: Vec<Result<Vec<Taken>>> = thread::scope(|scope| {
        let threads: Vec<_> =
            opened.iter_mut().map(|connection| scope.spawn(move || each(connection, start))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a connection gave up"))))
            .collect()
    });
    let taken: Vec<Taken> = parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    ensure!(!taken.is_empty(), "nothing was answered");
    Ok(taken)
}

/// Times at which questions are due for `time`, at `rate` a second on average: a Poisson process, as independent askers make it.
pub fn arrivals(rate: f64, time: Duration) -> Vec<Duration> {
    const STEPS: usize = 1 << 30;
    let (mut random, mut at, mut arrivals) = (TestRandom::new(11), 0.0, Vec::new());
    loop {
        let uniform = (random.below(STEPS) as f64 + 0.5) / STEPS as f64;
        at -= uniform.ln() / rate;
        if at >= time.as_secs_f64() {
            return arrivals;
        }
        arrivals.push(Duration::from_secs_f64(at));
    }
}

/// Answers a second, until the last one.
pub fn rate(taken: &[Taken]) -> f64 {
    let last = taken.iter().map(|taken| taken.at).max().unwrap_or(Duration::MAX);
    taken.len() as f64 / last.as_secs_f64()
}

/// The latency that this share of the answers does not exceed.
pub fn quantile(taken: &[Taken], share: f64) -> Duration {
    let mut latencies: Vec<_> = taken.iter().map(|taken| taken.latency).collect();
    latencies.sort_unstable();
    let index = ((latencies.len() as f64 * share).ceil() as usize).clamp(1, latencies.len()) - 1;
    latencies[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(milliseconds: u64) -> Taken {
        let latency = Duration::from_millis(milliseconds);
        Taken { index: 0, at: latency, latency, answer: Answer { status: 200, body: Vec::new() } }
    }

    #[test]
    fn a_quantile_is_the_smallest_latency_that_so_many_do_not_exceed() {
        let all: Vec<_> = (1..=200).map(taken).collect();
        assert_eq!(quantile(&all, 0.5), Duration::from_millis(100));
        assert_eq!(quantile(&all, 0.99), Duration::from_millis(198));
        assert_eq!(quantile(&all[..1], 0.99), Duration::from_millis(1));
    }

    #[test]
    fn arrivals_have_the_rate_that_was_asked_for_and_do_not_wait_for_each_other() {
        let times = arrivals(1_000.0, Duration::from_secs(10));
        assert!((9_500..10_500).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted());
        let gaps: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution, the standard deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1);
    }
}
