//! How often whom was given which keys: a bound on it, counters, and the numbers of the audit.
//!
//! Guarantees: at most [`MOST_IN_WINDOW`] different requests of one worker for one epoch of a cluster are answered in any [`WINDOW_BLOCKS`]
//! blocks of this gatekeeper's own head; whoever is refused is told from which block on it may ask. What counts are requests that the
//! worker signed and that were answered, each once: whoever brings one again that is still good for this head uses up nothing, and one worker's
//! requests use up nothing of another's. Answers and refusals are numbered together, without a gap. What counts is forgotten when it leaves the
//! window and at no other time. Memory is bounded by [`Room`]: where as many workers' epochs have answers in the window as are counted, those
//! that have none are refused until one of them leaves it, and all others have what is theirs. A request costs searches in ordered
//! maps, and what leaves the window, once.
//!
//! Requests that are too old for this gatekeeper's head get here never (`inquiries.rs`): whoever recorded what was not answered can have counted
//! what the worker itself asked in the last [`KEY_REQUEST_BLOCKS`], and nothing of before.
//!
//! Workers control how often they ask, hosts how often that arrives. Does not: outlive the process, so that a host that starts it again has it
//! count anew, or write the audit down, which is whoever logs notices; nor count what the worker's other gatekeepers give it.

use crate::tee::Notice;
use codec::Encode;
use phala_gatekeeper::Refusal;
use phala_protocol::{hash::blake2_256, ids::BlockNumber, keys::KeyRequest, limits::KEY_REQUEST_BLOCKS, Hash};
use std::collections::{BTreeMap, BTreeSet};

/// Different requests of one worker for one epoch that are answered in [`WINDOW_BLOCKS`]. A worker that lacks other seats' answers asks each
/// seat anew every 20 blocks, 30 times in a window, and each start of its process asks once: this leaves room for a start every 18 blocks.
pub(super) const MOST_IN_WINDOW: usize = 64;
/// An hour of blocks of 6 seconds.
pub(super) const WINDOW_BLOCKS: BlockNumber = 600;

/// What is remembered at most.
struct Room {
    /// Workers' epochs that have answers in the window.
    askers: usize,
    /// Requests that were answered and may be brought again. Of more, those that name the latest blocks are forgotten first, and count anew:
    /// a worker that names blocks of the far future makes room with its own.
    requests: usize,
}

impl Default for Room {
    /// For a network of 100,000 workers, each of which asks for two epochs in a window: some 120 bytes for each asker that was answered a few
    /// times, and 55 for each request, 46 MB if all is full. An asker that was answered as often as any has 240 bytes more.
    fn default() -> Self {
        Self { askers: 262_144, requests: 262_144 }
    }
}

/// Who asks for what: of worker, cluster and epoch the first half of a hash, for there are many. Two that are alike would share a bound.
type Asker = [u8; 16];

/// What became of requests for keys, since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysHealth {
    /// Answers that were made.
    pub given: u64,
    /// Refusals, by [`Refusal::kind`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that found no room to wait.
    pub left_out: u64,
}

/// What was given.
#[derive(Default)]
pub(super) struct Granted {
    room: Room,
    /// Blocks of the answers that count, of whoever has one in the window, oldest first. Never empty, and [`MOST_IN_WINDOW`] at most.
    answered: BTreeMap<Asker, Vec<BlockNumber>>,
    /// The same askers, by the block of the last answer: who leaves the window next.
    last: BTreeSet<(BlockNumber, Asker)>,
    /// Requests that were answered and are not too old yet, by the block that they name.
    known: BTreeSet<(BlockNumber, Hash)>,
    /// The number of the last line of the audit.
    number: u64,
    health: KeysHealth,
}

impl Granted {
    /// Whether another answer may be given at block `now`.
    ///
    /// # Errors
    /// [`Refusal::TooOften`]; [`Refusal::Crowded`] for whoever has no answer in the window, while as many have as are counted.
    pub(super) fn permit(&self, request: &KeyRequest, payload: &Hash, now: BlockNumber) -> Result<(), Refusal> {
        if self.known.contains(&(request.at, *payload)) {
            return Ok(());
        }
        match self.answered.get(&asker(request)) {
            Some(blocks) => {
                // The one that has to be past before another one is in the window.
                let last = blocks.len().checked_sub(MOST_IN_WINDOW).and_then(|index| blocks.get(index));
                match last.map(|at| at.saturating_add(WINDOW_BLOCKS)) {
                    Some(from) if now < from => Err(Refusal::TooOften { from }),
                    _ => Ok(()),
                }
            }
            None if self.answered.len() < self.room.askers => Ok(()),
            None => match self.last.first().map(|(at, _)| at.saturating_add(WINDOW_BLOCKS)) {
                Some(from) if now < from => Err(Refusal::Crowded { from }),
                _ => Ok(()),
            },
        }
    }

    /// Notes an answer that was permitted at this block, with keys for so many purposes.
    pub(super) fn give(&mut self, request: &KeyRequest, payload: Hash, purposes: usize, now: BlockNumber) -> Notice {
        self.forget(now);
        let asker = asker(request);
        if self.known.insert((request.at, payload)) {
            self.count(asker, now);
        }
        while self.known.len() > self.room.requests {
            self.known.pop_last();
        }
        let blocks = self.answered.get(&asker).map(Vec::as_slice).unwrap_or_default();
        let recent = blocks.iter().filter(|at| is_recent(**at, now)).count();
        self.health.given = self.health.given.saturating_add(1);
        let KeyRequest { worker, cluster, era, epoch, .. } = *request;
        Notice::KeysGiven { number: self.next(), worker, cluster, era, epoch, request: payload, purposes, recent }
    }

    /// Notes a refusal.
    pub(super) fn refuse(&mut self, request: &KeyRequest, refusal: Refusal) -> Notice {
        let counter = self.health.refused.entry(refusal.kind()).or_default();
        *counter = counter.saturating_add(1);
        let KeyRequest { worker, cluster, era, epoch, .. } = *request;
        let request = request.signing_payload();
        Notice::KeysRefused { number: self.next(), worker, cluster, era, epoch, request, refusal }
    }

    /// Notes a request that found no room.
    pub(super) fn leave_out(&mut self) {
        self.health.left_out = self.health.left_out.saturating_add(1);
    }

    pub(super) fn health(&self) -> KeysHealth {
        self.health.clone()
    }

    fn next(&mut self) -> u64 {
        self.number = self.number.saturating_add(1);
        self.number
    }

    fn count(&mut self, asker: Asker, now: BlockNumber) {
        let blocks = self.answered.entry(asker).or_default();
        if let Some(last) = blocks.last() {
            self.last.remove(&(*last, asker));
        }
        blocks.retain(|at| is_recent(*at, now));
        blocks.push(now);
        self.last.insert((now, asker));
    }

    /// Forgets what has left the window, and requests that are too old to be brought again.
    fn forget(&mut self, now: BlockNumber) {
        while let Some((_, asker)) = self.last.first().copied().filter(|(at, _)| !is_recent(*at, now)) {
            self.last.pop_first();
            self.answered.remove(&asker);
        }
        let is_stale = |at: BlockNumber| now > at.saturating_add(KEY_REQUEST_BLOCKS);
        while self.known.first().is_some_and(|(at, _)| is_stale(*at)) {
            self.known.pop_first();
        }
    }
}

/// Whether an answer of block `at` is in the window that ends with block `now`.
fn is_recent(at: BlockNumber, now: BlockNumber) -> bool {
    now < at.saturating_add(WINDOW_BLOCKS)
}

fn asker(request: &KeyRequest) -> Asker {
    let hash = blake2_256(&(request.worker, request.cluster, request.epoch).encode());
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{ids::Epoch, ClusterId, WorkerId};

    /// A request that names a block.
    fn request(worker: u32, epoch: Epoch, nonce: u32, at: BlockNumber) -> KeyRequest {
        let number = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            bytes
        };
        KeyRequest {
            genesis: [1; 32],
            worker: WorkerId(number(worker)),
            gatekeeper: WorkerId([2; 32]),
            cluster: ClusterId(0),
            era: 0,
            epoch,
            nonce: number(nonce),
            answer_key: [3; 32],
            at,
        }
    }

    /// Asks, and is answered unless it is refused.
    fn ask(granted: &mut Granted, request: &KeyRequest, now: BlockNumber) -> Result<usize, Refusal> {
        let payload = request.signing_payload();
        granted.permit(request, &payload, now)?;
        match granted.give(request, payload, 4, now) {
            Notice::KeysGiven { recent, .. } => Ok(recent),
            other => panic!("{other:?}"),
        }
    }

    /// With room for so many askers and requests.
    fn with_room(askers: usize, requests: usize) -> Granted {
        Granted { room: Room { askers, requests }, ..Granted::default() }
    }

    #[test]
    fn no_more_than_the_bound_is_answered_in_any_window() {
        let mut granted = Granted::default();
        let (mut blocks, mut nonce) = (Vec::new(), 0);
        // A worker that asks twice in each block as long as it can, over three windows.
        for now in 100..100 + 3 * WINDOW_BLOCKS {
            for _ in 0..2 {
                nonce += 1;
                match ask(&mut granted, &request(1, 5, nonce, now), now) {
                    Ok(_) => blocks.push(now),
                    Err(refusal) => {
                        let Refusal::TooOften { from } = refusal else { panic!("{refusal:?}") };
                        assert!(from > now && from <= now + WINDOW_BLOCKS);
                        // It says from when on, to the block.
                        let next = request(1, 5, 0, now);
                        let payload = next.signing_payload();
                        assert!(granted.permit(&next, &payload, from).is_ok());
                        assert!(granted.permit(&next, &payload, from - 1).is_err());
                    }
                }
            }
        }
        assert_eq!(blocks.len(), 3 * MOST_IN_WINDOW, "and no fewer");
        assert!(blocks.windows(MOST_IN_WINDOW + 1).all(|few| few[MOST_IN_WINDOW] - few[0] >= WINDOW_BLOCKS));
        let now = 100 + 3 * WINDOW_BLOCKS - 1;
        assert!(ask(&mut granted, &request(1, 5, 0, now), now).is_err());
        assert_eq!(ask(&mut granted, &request(1, 6, 0, now), now), Ok(1), "of another epoch");
        assert_eq!(ask(&mut granted, &request(2, 5, 0, now), now), Ok(1), "of another worker");
    }

    #[test]
    fn what_counts_is_not_forgotten_however_many_others_are_answered() {
        let mut granted = Granted::default();
        for nonce in 0..MOST_IN_WINDOW as u32 {
            assert!(ask(&mut granted, &request(0, 5, nonce, 1_000), 1_000).is_ok());
        }
        let from = 1_000 + WINDOW_BLOCKS;
        let refused = Err(Refusal::TooOften { from });
        assert_eq!(ask(&mut granted, &request(0, 5, 100, 1_000), 1_000), refused);
        // A network of workers asks after it, again and again, while it is refused all the time.
        for (now, workers) in [(1_100, 1..5_000), (1_300, 5_000..10_000), (from - 1, 1..10_000)] {
            for worker in workers {
                assert!(ask(&mut granted, &request(worker, 5, now, now), now).is_ok());
            }
            assert_eq!(ask(&mut granted, &request(0, 5, now, now), now), refused, "in block {now}");
        }
        assert_eq!(ask(&mut granted, &request(0, 5, 0, from), from), Ok(1));
    }

    #[test]
    fn requests_that_were_answered_before_use_up_nothing() {
        let mut granted = Granted::default();
        for nonce in 0..10 {
            assert!(ask(&mut granted, &request(1, 5, nonce, 100), 100).is_ok());
        }
        // Somebody brings them again, as often as he likes, while they are good.
        for now in 101..=100 + KEY_REQUEST_BLOCKS {
            assert_eq!(ask(&mut granted, &request(1, 5, now % 10, 100), now), Ok(10));
        }
        // Also long after they have left the window, where this gatekeeper is far behind the worker.
        let later = 100 + 2 * WINDOW_BLOCKS;
        assert_eq!(ask(&mut granted, &request(1, 5, 20, later), 200), Ok(11));
        assert_eq!(ask(&mut granted, &request(1, 5, 20, later), later), Ok(0));
        assert_eq!(ask(&mut granted, &request(1, 5, 21, later), later), Ok(1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_goes_with_the_window() {
        let mut granted = Granted::default();
        let at_most = |granted: &Granted| {
            assert_eq!(granted.answered.len(), granted.last.len());
            assert!(granted.answered.values().all(|blocks| (1..=MOST_IN_WINDOW).contains(&blocks.len())));
            (granted.answered.len(), granted.known.len())
        };
        // As fast as may be, over several windows, of one; and of others, each of which asks once.
        for now in 0..3 * WINDOW_BLOCKS {
            let _ = ask(&mut granted, &request(0, 5, now, now), now);
            assert_eq!(ask(&mut granted, &request(1 + now, 5, 0, now), now), Ok(1));
            let (askers, requests) = at_most(&granted);
            assert!(askers <= WINDOW_BLOCKS as usize + 1 && requests <= 2 * (KEY_REQUEST_BLOCKS as usize + 1));
        }
        // What is not asked for a window leaves nothing.
        let now = 5 * WINDOW_BLOCKS;
        assert_eq!(ask(&mut granted, &request(0, 6, 0, now), now), Ok(1));
        assert_eq!(at_most(&granted), (1, 1));
    }

    #[test]
    fn where_no_more_can_be_counted_strangers_are_refused_and_nobody_is_forgotten() {
        let mut granted = with_room(3, 100);
        for worker in 0..3 {
            assert_eq!(ask(&mut granted, &request(worker, 5, 0, 10), 10 + worker), Ok(1));
        }
        // It says from when on, to the block; whoever has answers has the others, too.
        let from = 11 + WINDOW_BLOCKS;
        assert_eq!(ask(&mut granted, &request(0, 5, 1, 20), 20), Ok(2));
        for now in [20, from - 1] {
            assert_eq!(ask(&mut granted, &request(9, 5, 0, now), now), Err(Refusal::Crowded { from }));
            assert_eq!(ask(&mut granted, &request(0, 6, 0, now), now), Err(Refusal::Crowded { from }), "another epoch");
        }
        for nonce in 2..MOST_IN_WINDOW as u32 {
            assert!(ask(&mut granted, &request(0, 5, nonce, 30), 30).is_ok());
        }
        let too_often = Err(Refusal::TooOften { from: 10 + WINDOW_BLOCKS });
        assert_eq!(ask(&mut granted, &request(0, 5, 100, 30), 30), too_often);
        assert_eq!(ask(&mut granted, &request(9, 5, 0, from), from), Ok(1));
        assert_eq!(ask(&mut granted, &request(8, 5, 0, from), from), Err(Refusal::Crowded { from: from + 1 }));
        assert_eq!(ask(&mut granted, &request(8, 5, 0, from + 1), from + 1), Ok(1));
        assert_eq!(granted.answered.len(), 3);
    }

    #[test]
    fn of_too_many_requests_those_of_the_farthest_future_are_forgotten_and_count_anew() {
        let mut granted = with_room(100, 4);
        assert_eq!(ask(&mut granted, &request(1, 5, 0, 10), 10), Ok(1));
        for nonce in 0..20 {
            assert!(ask(&mut granted, &request(2, 5, nonce, 1_000_000 + nonce), 10).is_ok());
        }
        assert_eq!(granted.known.len(), 4);
        assert_eq!(ask(&mut granted, &request(1, 5, 0, 10), 11), Ok(1), "it is still known");
        assert_eq!(ask(&mut granted, &request(2, 5, 0, 1_000_000), 11), Ok(20), "known, too");
        assert_eq!(ask(&mut granted, &request(2, 5, 19, 1_000_019), 11), Ok(21), "forgotten");
    }

    #[test]
    fn answers_and_refusals_are_numbered_together_and_counted_by_kind() {
        let mut granted = Granted::default();
        let asked = request(1, 5, 0, 7);
        let numbers: Vec<u64> = (0..6)
            .map(|turn| match turn % 3 {
                0 => granted.give(&asked, asked.signing_payload(), 4, 7),
                1 => granted.refuse(&asked, Refusal::NotAssigned),
                _ => granted.refuse(&asked, Refusal::TooOften { from: turn }),
            })
            .map(|notice| match notice {
                Notice::KeysGiven { number, .. } | Notice::KeysRefused { number, .. } => number,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        granted.leave_out();
        let refused = BTreeMap::from([("not_assigned", 2), ("too_often", 2)]);
        assert_eq!(granted.health(), KeysHealth { given: 2, refused, left_out: 1 });
    }
}
