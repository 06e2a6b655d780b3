//! How often whom was given which keys: a bound on it, counters, and the numbers of the audit.
//!
//! Guarantees: at most [`MOST_IN_WINDOW`] different requests of one worker for one epoch of a cluster are answered in any [`WINDOW_BLOCKS`]
//! blocks of this gatekeeper's own head; whoever is refused is told from which block on it may ask. What counts are requests that the
//! worker signed and that were answered: one that was answered before, and is remembered, does not count again when somebody brings it, and
//! one worker's requests use up nothing of another's. Answers and refusals are numbered together, without a gap. Memory is bounded: of the
//! [`MOST_ASKERS`] workers' epochs that were answered last, [`MOST_REMEMBERED`] requests each; what is forgotten counts anew, and nothing bounds it.
//!
//! Requests that are too old for this gatekeeper's head get here never (`inquiries.rs`): whoever recorded what was not answered can have counted
//! what the worker itself asked in the last [`KEY_REQUEST_BLOCKS`], and nothing of before.
//!
//! Workers control how often they ask, hosts how often that arrives. Does not: outlive the process, so that a host that starts it again has it
//! count anew, or write the audit down, which is whoever logs notices; nor count what the worker's other gatekeepers give it.

use crate::tee::Notice;
use phala_gatekeeper::Refusal;
use phala_protocol::{
    ids::BlockNumber, keys::KeyRequest, limits::KEY_REQUEST_BLOCKS, ClusterId, Epoch, Hash, WorkerId,
};
use std::collections::{BTreeMap, VecDeque};

/// Different requests of one worker for one epoch that are answered in [`WINDOW_BLOCKS`]. A worker that lacks other seats' answers asks each
/// seat anew every 20 blocks, 30 times in a window, and each start of its process asks once: this leaves room for a start every 18 blocks.
pub(super) const MOST_IN_WINDOW: usize = 64;
/// An hour of blocks of 6 seconds.
pub(super) const WINDOW_BLOCKS: BlockNumber = 600;
// What is remembered for a window covers all that is young enough to be brought again, of a worker that is not ahead by more than the window.
const _: () = assert!(KEY_REQUEST_BLOCKS < WINDOW_BLOCKS);
/// Requests that are remembered of one worker and epoch: those that count, and as many of before, which do not count when they are brought
/// again: a gatekeeper that is far behind finds them young for longer than a window.
const MOST_REMEMBERED: usize = 2 * MOST_IN_WINDOW;
/// Workers' epochs of which something is remembered; about 20 MB if each has all that it may.
const MOST_ASKERS: usize = 4_096;

/// Who asks for what.
type Asker = (WorkerId, ClusterId, Epoch);

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
    /// Requests that were answered, with the block of the first answer, oldest first. Never empty.
    answered: BTreeMap<Asker, VecDeque<(Hash, BlockNumber)>>,
    /// The number of the last line of the audit.
    number: u64,
    health: KeysHealth,
}

impl Granted {
    /// Whether another answer may be given at block `now`.
    ///
    /// # Errors
    /// [`Refusal::TooOften`].
    pub(super) fn permit(&self, request: &KeyRequest, payload: &Hash, now: BlockNumber) -> Result<(), Refusal> {
        let Some(answered) = self.answered.get(&asker(request)) else { return Ok(()) };
        if answered.iter().any(|(known, _)| known == payload) {
            return Ok(());
        }
        // The one that has to be past before another one is in the window.
        let last = answered.len().checked_sub(MOST_IN_WINDOW).and_then(|index| answered.get(index));
        let from = last.map_or(0, |(_, at)| at.saturating_add(WINDOW_BLOCKS));
        if now < from {
            return Err(Refusal::TooOften { from });
        }
        Ok(())
    }

    /// Notes an answer, with keys for so many purposes.
    pub(super) fn give(&mut self, request: &KeyRequest, payload: Hash, purposes: usize, now: BlockNumber) -> Notice {
        let asker = asker(request);
        self.make_room(&asker);
        let answered = self.answered.entry(asker).or_default();
        if !answered.iter().any(|(known, _)| *known == payload) {
            answered.push_back((payload, now));
        }
        while answered.len() > MOST_REMEMBERED {
            answered.pop_front();
        }
        let recent = answered.iter().filter(|(_, at)| now < at.saturating_add(WINDOW_BLOCKS)).count();
        self.health.given = self.health.given.saturating_add(1);
        let (number, (worker, cluster, epoch)) = (self.next(), asker);
        Notice::KeysGiven { number, worker, cluster, era: request.era, epoch, request: payload, purposes, recent }
    }

    /// Notes a refusal.
    pub(super) fn refuse(&mut self, request: &KeyRequest, refusal: Refusal) -> Notice {
        let counter = self.health.refused.entry(refusal.kind()).or_default();
        *counter = counter.saturating_add(1);
        let (number, (worker, cluster, epoch)) = (self.next(), asker(request));
        let (era, request) = (request.era, request.signing_payload());
        Notice::KeysRefused { number, worker, cluster, era, epoch, request, refusal }
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

    /// Forgets whoever was not answered for the longest time, if there is no room for `asker`.
    fn make_room(&mut self, asker: &Asker) {
        if self.answered.len() < MOST_ASKERS || self.answered.contains_key(asker) {
            return;
        }
        let last = self.answered.iter().map(|(asker, answered)| (answered.back().map(|(_, at)| *at), *asker));
        if let Some((_, oldest)) = last.min() {
            self.answered.remove(&oldest);
        }
    }
}

fn asker(request: &KeyRequest) -> Asker {
    (request.worker, request.cluster, request.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(worker: u32, epoch: Epoch, nonce: u32) -> KeyRequest {
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
            at: 0,
        }
    }

    /// Asks, and is answered unless it is too often.
    fn ask(granted: &mut Granted, request: &KeyRequest, now: BlockNumber) -> Result<usize, Refusal> {
        let payload = request.signing_payload();
        granted.permit(request, &payload, now)?;
        match granted.give(request, payload, 4, now) {
            Notice::KeysGiven { recent, .. } => Ok(recent),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_more_than_the_bound_is_answered_in_any_window() {
        let mut granted = Granted::default();
        let (mut blocks, mut nonce) = (Vec::new(), 0);
        // A worker that asks twice in each block as long as it can, over three windows.
        for now in 100..100 + 3 * WINDOW_BLOCKS {
            for _ in 0..2 {
                nonce += 1;
                match ask(&mut granted, &request(1, 5, nonce), now) {
                    Ok(_) => blocks.push(now),
                    Err(refusal) => {
                        let Refusal::TooOften { from } = refusal else { panic!("{refusal:?}") };
                        assert!(from > now && from <= now + WINDOW_BLOCKS);
                        // It says from when on, to the block.
                        let (next, payload) = (request(1, 5, 0), request(1, 5, 0).signing_payload());
                        assert!(granted.permit(&next, &payload, from).is_ok());
                        assert!(granted.permit(&next, &payload, from - 1).is_err());
                    }
                }
            }
        }
        assert_eq!(blocks.len(), 3 * MOST_IN_WINDOW, "and no fewer");
        assert!(blocks.windows(MOST_IN_WINDOW + 1).all(|few| few[MOST_IN_WINDOW] - few[0] >= WINDOW_BLOCKS));
        let now = 100 + 3 * WINDOW_BLOCKS - 1;
        assert!(ask(&mut granted, &request(1, 5, 0), now).is_err());
        assert_eq!(ask(&mut granted, &request(1, 6, 0), now), Ok(1), "of another epoch");
        assert_eq!(ask(&mut granted, &request(2, 5, 0), now), Ok(1), "of another worker");
    }

    #[test]
    fn requests_that_were_answered_before_use_up_nothing() {
        let mut granted = Granted::default();
        for nonce in 0..10 {
            assert!(ask(&mut granted, &request(1, 5, nonce), 100).is_ok());
        }
        // Somebody brings them again, as often as he likes.
        for now in 101..101 + WINDOW_BLOCKS / 2 {
            assert_eq!(ask(&mut granted, &request(1, 5, now % 10), now), Ok(10));
        }
        // Also when they have left the window: what was remembered stays what it was.
        let later = 100 + 2 * WINDOW_BLOCKS;
        assert_eq!(ask(&mut granted, &request(1, 5, 3), later), Ok(0));
        assert_eq!(ask(&mut granted, &request(1, 5, 10), later), Ok(1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_quiet_goes_first() {
        let mut granted = Granted::default();
        for nonce in 0..3 * MOST_REMEMBERED as u32 {
            assert!(ask(&mut granted, &request(0, 5, nonce), 1_000 * nonce).is_ok());
        }
        assert!(granted.answered.values().all(|answered| answered.len() == MOST_REMEMBERED));
        let now = 3_000_000;
        for worker in 1..MOST_ASKERS as u32 + 2 {
            assert!(ask(&mut granted, &request(worker, 5, 0), now + worker).is_ok());
        }
        assert_eq!(granted.answered.len(), MOST_ASKERS);
        let known = |worker| granted.answered.contains_key(&asker(&request(worker, 5, 0)));
        assert!(!known(0) && !known(1) && known(2) && known(MOST_ASKERS as u32 + 1));
    }

    #[test]
    fn answers_and_refusals_are_numbered_together_and_counted_by_kind() {
        let mut granted = Granted::default();
        let asked = request(1, 5, 0);
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
