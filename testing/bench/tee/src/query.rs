//! `bench query`: sealed queries a second over HTTP, while commands execute at full rate in the same worker.
//!
//! The worker is the binary that ships, as a process of its own; `feed.rs` keeps it executing, `load.rs` asks it. Commands and questions are
//! sealed and signed before they are counted, as many as the worker's rates alone say that it can use up, and every answer is opened and
//! checked after (`questions.rs`).
//!
//! - `query.per_s` = answers / seconds by the clock, [`CONNECTIONS`] connections each asking again as soon as it was answered.
//! - `query.p50_ms` = median latency at half of that rate, asked at times that do not wait for answers (exponential gaps). Latency
//!   counts from the time at which a question was due, whether or not a connection was free then.
//! - `query.p99_ms_half_load` = the 99th percentile of the same. Aim: at most 20. `baseline` of both is the echo's.
//! - `query.plain_ratio` = `query.per_s` / the rate of a plain echo (`echo.rs`): the same server, bounds and sizes of bodies, asked in the
//!   same way, while the same commands execute. `baseline` is the echo's rate.

mod echo;
mod feed;
mod http;
mod load;
mod outside;
mod questions;

use crate::measure::{print, processor_time_of};
use anyhow::{ensure, Context, Result};
use feed::Feed;
use load::{Load, Taken};
use phala_core::Seen;
use phala_protocol::limits::MAX_QUERY_LIFETIME_BLOCKS;
use questions::Questions;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

pub use echo::serve as serve_echo;

/// Connections that ask at full rate: enough that some always wait for their turn.
const CONNECTIONS: usize = 16;
/// Connections at half of it: as many as one address may have, less a few for whoever looks.
const OPEN_CONNECTIONS: usize = 56;

/// The share of the time in which commands must execute for a figure to be one.
const MIN_BUSY: f64 = 0.8;
/// What is made ahead is so much more than a worker needs that does nothing else beside.
const SPARE: f64 = 1.5;

/// How much is measured.
struct Plan {
    warm: Duration,
    full: Duration,
    half: Duration,
    /// Commands of a block.
    commands: usize,
    /// Blocks, and then questions, that are tried alone: they say how many are needed.
    blocks: usize,
    questions: usize,
    min_busy: f64,
}

impl Plan {
    /// Seconds in which questions are asked, counted as if at full rate.
    fn asking(&self) -> f64 {
        (self.warm + self.full + self.half / 2).as_secs_f64()
    }

    /// Seconds in which commands execute: beside the worker's queries, and then beside the echo.
    fn executing(&self) -> f64 {
        2.0 * (self.warm + self.full + self.half).as_secs_f64()
    }

    /// Blocks to make for a worker that executes so many commands a second.
    fn blocks_needed(&self, commands_alone: f64) -> usize {
        (commands_alone * self.executing() * SPARE / self.commands as f64) as usize + 4
    }

    /// Questions to make for a worker that answers so many a second.
    fn questions_needed(&self, queries_alone: f64) -> usize {
        (queries_alone * self.asking() * SPARE) as usize + 4 * CONNECTIONS
    }

    /// The same in less time, where a machine is so fast that its questions would expire, or the worker forget them, before the end.
    fn fitting(self, commands_alone: f64, queries_alone: f64) -> Self {
        let blocks = (MAX_QUERY_LIFETIME_BLOCKS as usize).saturating_sub(24 + self.blocks);
        let questions = Seen::ROOM.saturating_sub(self.questions + 5 * CONNECTIONS);
        let share = (blocks as f64 / self.blocks_needed(commands_alone) as f64)
            .min(questions as f64 / self.questions_needed(queries_alone) as f64)
            .min(1.0);
        let (warm, full, half) = (self.warm.mul_f64(share), self.full.mul_f64(share), self.half.mul_f64(share));
        Self { warm, full, half, ..self }
    }
}

pub fn run(quick: bool) -> Result<()> {
    let plan = if quick {
        let (warm, part) = (Duration::from_millis(100), Duration::from_millis(500));
        // Small boundaries on a short way: what they wait for each other weighs more.
        Plan { warm, full: part, half: part, commands: 100, blocks: 10, questions: 500, min_busy: 0.5 }
    } else {
        let (warm, full, half) = (Duration::from_secs(1), Duration::from_secs(8), Duration::from_secs(12));
        Plan { warm, full, half, commands: 1_000, blocks: 8, questions: 4_000, min_busy: MIN_BUSY }
    };
    let begun = Instant::now();
    let mut feed = Feed::new(7)?;
    feed.seal(plan.blocks, plan.commands);
    let commands_alone = feed.alone()?;
    let tried = Questions::new(&feed, plan.questions, 1)?;
    let taken = Load { address: tried.worker().0, requests: tried.requests() }.every(CONNECTIONS)?;
    tried.check(taken.iter())?;
    let queries_alone = load::rate(&taken);

    let plan = plan.fitting(commands_alone, queries_alone);
    let (blocks, count) = (plan.blocks_needed(commands_alone), plan.questions_needed(queries_alone));
    feed.seal(blocks, plan.commands);
    let mut questions = Questions::new(&feed, count, 2)?;
    let size = questions.answer_bytes()?;
    let echo = echo::Echo::start(size)?;
    eprintln!(
        "alone: {commands_alone:.0} commands/s, {queries_alone:.0} queries/s; made {} commands and {count} questions in {:.0} s",
        feed.sealed(),
        begun.elapsed().as_secs_f64()
    );

    let (stop, executed) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = thread::scope(|scope| {
        let feeding = scope.spawn(|| feed.run(&stop, &executed));
        let measured = measure(&plan, &questions, &echo, &executed);
        stop.store(true, Ordering::Relaxed);
        let fed = feeding.join().map_err(|_| anyhow::anyhow!("the feed gave up"))?;
        Ok::<_, anyhow::Error>((measured?, fed?))
    });
    let (Measured { warm, full, half, echoed, echoed_half }, fed) = measured?;
    eprintln!(
        "commands: {} in {} boundaries; a delivery was under way {:.0} % of the time",
        fed.commands,
        fed.boundaries,
        fed.busy() * 100.0
    );
    questions.check(warm.iter().chain(&full).chain(&half))?;
    ensure!(!fed.ran_out, "too few commands were made: nothing here is a figure");
    ensure!(fed.busy() > plan.min_busy, "commands did not execute all the time: nothing here is a figure");
    let (rate, echo_rate) = (load::rate(&full), load::rate(&echoed));
    let milliseconds = |taken: &[Taken], share: f64| load::quantile(taken, share).as_secs_f64() * 1e3;
    let (median, echo_median) = (milliseconds(&half, 0.5), milliseconds(&echoed_half, 0.5));
    let (late, echo_late) = (milliseconds(&half, 0.99), milliseconds(&echoed_half, 0.99));
    print("query.per_s", rate, "queries/s", Some(echo_rate), Some(rate / echo_rate), full.len());
    print("query.p50_ms", median, "ms", Some(echo_median), Some(median / echo_median), half.len());
    print("query.p99_ms_half_load", late, "ms", Some(echo_late), Some(late / echo_late), half.len());
    print("query.plain_ratio", rate / echo_rate, "1", Some(echo_rate), Some(rate / echo_rate), full.len());
    if quick {
        eprintln!("--quick: nothing here is a figure");
    }
    Ok(())
}

/// What was taken in each part.
struct Measured {
    warm: Vec<Taken>,
    full: Vec<Taken>,
    half: Vec<Taken>,
    echoed: Vec<Taken>,
    echoed_half: Vec<Taken>,
}

/// The parts, one after the other, while the feed runs beside them.
fn measure(plan: &Plan, questions: &Questions, echo: &echo::Echo, executed: &AtomicU64) -> Result<Measured> {
    let worker = questions.worker();
    let said = |what: &str, load: &mut dyn FnMut() -> Result<Vec<Taken>>| -> Result<Vec<Taken>> {
        let (start, commands, by_worker) =
            (Instant::now(), executed.load(Ordering::Relaxed), processor_time_of(worker.1));
        let taken = load()?;
        let (seconds, by_worker) =
            (start.elapsed().as_secs_f64(), processor_time_of(worker.1).saturating_sub(by_worker));
        eprintln!(
            "{what}: {:.0} answers/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} commands/s beside them, worker's processors {:.2}",
            load::rate(&taken),
            load::quantile(&taken, 0.5).as_secs_f64() * 1e3,
            load::quantile(&taken, 0.99).as_secs_f64() * 1e3,
            (executed.load(Ordering::Relaxed) - commands) as f64 / seconds,
            by_worker.as_secs_f64() / seconds,
        );
        Ok(taken)
    };
    let ask = |address: SocketAddr| Load { address, requests: questions.requests() };
    let mut from = 0;
    // A question is asked once: each part goes on where the one before ended.
    let mut queries = |what: &str, load: &dyn Fn(&Load, usize) -> Result<Vec<Taken>>| -> Result<Vec<Taken>> {
        let taken = said(what, &mut || load(&ask(worker.0), from))?;
        from = taken.iter().map(|taken| taken.index + 1).max().context("nothing was answered")?;
        Ok(taken)
    };
    let warm = queries("warming up", &|load, from| load.closed(from, CONNECTIONS, plan.warm))?;
    let full = queries("queries at full rate", &|load, from| load.closed(from, CONNECTIONS, plan.full))?;
    let arrivals = load::arrivals(load::rate(&full) / 2.0, plan.half);
    let half = queries("queries at half of it", &|load, from| load.open(from, OPEN_CONNECTIONS, &arrivals))?;

    // The echo forgets what it was asked: it gets the same bytes as often as it takes them.
    said("echo, warming up", &mut || ask(echo.address).around().closed(0, CONNECTIONS, plan.warm))?;
    let echoed = said("echo at full rate", &mut || ask(echo.address).around().closed(0, CONNECTIONS, plan.full))?;
    // At the rate that queries were asked at, so that the two differ by what an answer costs.
    let echoed_half =
        said("echo at the queries' rate", &mut || ask(echo.address).around().open(0, OPEN_CONNECTIONS, &arrivals))?;
    ensure!(echoed.iter().chain(&echoed_half).all(|taken| taken.answer.status == 200), "the echo refused");
    Ok(Measured { warm, full, half, echoed, echoed_half })
}
