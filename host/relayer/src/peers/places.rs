//! Which peers a letter is offered to, and in which order: what they said before decides it.
//!
//! Guarantees: what a TEE says again is offered to all, first to whoever took nothing for its recipient yet, and whoever took something
//! for that TEE gets all that is new: a peer that takes what it does not carry costs one repetition, and then its copies. Whoever failed,
//! or was slow, rests for a time that doubles from [`SHORTEST`] to [`LONGEST`], and then has one letter to prove itself with; a good answer
//! ends that, but only time makes the next rest short again. Bounded memory. Without I/O and without a clock of its own. Peers control
//! what they say and when.

use phala_protocol::{Hash, WorkerId};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a TEE that no peer serves is not asked for again.
const NOWHERE: Duration = Duration::from_secs(15);
/// How long a peer that does not serve a TEE is not asked for it again while another says that it does.
const ELSEWHERE: Duration = Duration::from_secs(60);
/// How long it is remembered that a letter was taken, and who took any for a TEE.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How long a peer rests after its first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a peer rests at most.
const LONGEST: Duration = Duration::from_secs(64);
/// What makes up for one failure: as long without another.
const FORGIVEN: Duration = Duration::from_secs(60);
/// An answer that took longer is a failure, whatever it says.
pub(crate) const SLOW: Duration = Duration::from_secs(2);
/// How long the one letter may be on its way with which a peer proves itself.
const PROBING: Duration = Duration::from_secs(10);
/// TEEs of which it is remembered where they are, or are not.
const MOST_TEES: usize = 4_096;
/// Letters of which it is remembered that they were taken.
const MOST_LETTERS: usize = 16_384;

/// What is known of peers, by their index.
pub(crate) struct Places {
    peers: Vec<Health>,
    tees: BTreeMap<WorkerId, Tee>,
    /// When somebody took what is said of a subject to a TEE.
    taken: BTreeMap<(WorkerId, Hash), Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// It failed, and rests until then.
    Down(Instant),
    /// One letter is on its way to it; until then, no other.
    Probed(Instant),
}

struct Health {
    state: State,
    /// How often it failed, less what was forgiven.
    failures: u32,
    failed_at: Option<Instant>,
}

#[derive(Default)]
struct Tee {
    /// Peers that took letters for it, and when last.
    with: BTreeMap<usize, Instant>,
    /// Peers that do not serve it, and when they said so.
    elsewhere: BTreeMap<usize, Instant>,
}

impl Tee {
    fn is_with(&self, peer: usize, now: Instant) -> bool {
        self.with.get(&peer).is_some_and(|took| now.saturating_duration_since(*took) < REMEMBERED)
    }
}

/// A peer to offer a letter to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub peer: usize,
    /// Also when another has taken the letter.
    pub always: bool,
}

impl Places {
    pub(crate) fn new(peers: usize) -> Self {
        let up = || Health { state: State::Up, failures: 0, failed_at: None };
        Self { peers: std::iter::repeat_with(up).take(peers).collect(), tees: BTreeMap::new(), taken: BTreeMap::new() }
    }

    /// Whether nobody is to be asked for this TEE now: none serves it, or those that may are down.
    pub(crate) fn is_nowhere(&self, to: &WorkerId, now: Instant) -> bool {
        !(0..self.peers.len()).any(|peer| self.may_ask(to, peer, now))
    }

    /// Whether a peer may be offered a letter now: it answers, as far as is known, or it has rested and proves itself with this one.
    pub(crate) fn admits(&mut self, peer: usize, now: Instant) -> bool {
        let Some(health) = self.peers.get_mut(peer) else { return false };
        match health.state {
            State::Up => true,
            State::Down(until) | State::Probed(until) if now < until => false,
            State::Down(_) | State::Probed(_) => {
                health.state = State::Probed(now + PROBING);
                true
            }
        }
    }

    /// Whom to offer a letter about `subject` to, in this order.
    pub(crate) fn route(&self, to: &WorkerId, subject: &Hash, now: Instant) -> Vec<Step> {
        let count = self.peers.len();
        let before = self.taken.get(&(*to, *subject));
        let is_repeated = before.is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED);
        // So that no peer is the first for all.
        let first = to.0.first().copied().map_or(0, usize::from);
        let mut steps = Vec::new();
        for peer in (0..count).map(|step| first.wrapping_add(step) % count) {
            if !self.may_ask(to, peer, now) {
                continue;
            }
            let is_up = self.peers.get(peer).is_some_and(|health| health.state == State::Up);
            let is_with = self.tees.get(to).is_some_and(|tee| tee.is_with(peer, now));
            // Whoever has to prove itself holds up nobody else.
            let place = (!is_up, is_with == is_repeated);
            steps.push((place, Step { peer, always: is_with || is_repeated }));
        }
        steps.sort_by_key(|(place, _)| *place);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// A peer took a letter.
    pub(crate) fn took(&mut self, to: &WorkerId, subject: &Hash, peer: usize, now: Instant) {
        let tee = self.tee(to);
        tee.with.insert(peer, now);
        tee.elsewhere.remove(&peer);
        if self.taken.len() >= MOST_LETTERS && !self.taken.contains_key(&(*to, *subject)) {
            self.taken.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
            if self.taken.len() >= MOST_LETTERS {
                // A repetition of what is forgotten counts as said for the first time.
                self.taken.clear();
            }
        }
        self.taken.insert((*to, *subject), now);
    }

    /// A peer does not serve the TEE.
    pub(crate) fn elsewhere(&mut self, to: &WorkerId, peer: usize, now: Instant) {
        let tee = self.tee(to);
        tee.with.remove(&peer);
        tee.elsewhere.insert(peer, now);
    }

    /// A peer answered, or did not, within `took`.
    pub(crate) fn answered(&mut self, peer: usize, is_good: bool, took: Duration, now: Instant) {
        let Some(health) = self.peers.get_mut(peer) else { return };
        if is_good && took < SLOW {
            health.state = State::Up;
            return;
        }
        // Letters that left together fail together: once.
        if matches!(health.state, State::Down(until) if now < until) {
            return;
        }
        let quiet = health.failed_at.map_or(Duration::ZERO, |failed| now.saturating_duration_since(failed));
        let forgiven = u32::try_from(quiet.as_secs() / FORGIVEN.as_secs()).unwrap_or(u32::MAX);
        let failures = health.failures.saturating_sub(forgiven);
        let rest = SHORTEST.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST);
        health.state = State::Down(now + rest);
        health.failures = failures.saturating_add(1).min(16);
        health.failed_at = Some(now);
    }

    fn may_ask(&self, to: &WorkerId, peer: usize, now: Instant) -> bool {
        let is_ready = match self.peers.get(peer).map(|health| health.state) {
            None => false,
            Some(State::Up) => true,
            Some(State::Down(until) | State::Probed(until)) => now >= until,
        };
        let Some(tee) = self.tees.get(to) else { return is_ready };
        let patience = if tee.with.is_empty() { NOWHERE } else { ELSEWHERE };
        is_ready && tee.elsewhere.get(&peer).is_none_or(|said| now.saturating_duration_since(*said) >= patience)
    }

    fn tee(&mut self, tee: &WorkerId) -> &mut Tee {
        if self.tees.len() >= MOST_TEES && !self.tees.contains_key(tee) {
            // Costs a question to each peer for each that is forgotten.
            self.tees.clear();
        }
        self.tees.entry(*tee).or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Its first byte makes the first peer the first to ask.
    const TEE: WorkerId = WorkerId([0; 32]);
    const ONE: Hash = [1; 32];
    const OTHER: Hash = [2; 32];
    const QUICK: Duration = Duration::from_millis(5);

    fn asked(route: &[Step]) -> Vec<usize> {
        route.iter().map(|step| step.peer).collect()
    }

    /// Whom the letter is offered to also when another has taken it.
    fn always(route: &[Step]) -> Vec<usize> {
        route.iter().filter(|step| step.always).map(|step| step.peer).collect()
    }

    #[test]
    fn what_is_said_again_is_offered_to_all_and_what_is_new_to_whoever_took_any() {
        let (mut places, now) = (Places::new(3), Instant::now());
        let first = places.route(&TEE, &ONE, now);
        assert_eq!((asked(&first), always(&first)), (vec![0, 1, 2], vec![]));
        // The first takes it, and the TEE says it again.
        places.took(&TEE, &ONE, 0, now);
        assert_eq!(always(&places.route(&TEE, &OTHER, now)), [0]);
        let again = places.route(&TEE, &ONE, now);
        assert_eq!((asked(&again), always(&again)), (vec![1, 2, 0], vec![1, 2, 0]));
        places.elsewhere(&TEE, 1, now);
        places.took(&TEE, &ONE, 2, now);
        let new = places.route(&TEE, &OTHER, now);
        assert_eq!((asked(&new), always(&new)), (vec![0, 2], vec![0, 2]), "one of the two carries it");
        let later = now + ELSEWHERE;
        assert_eq!(asked(&places.route(&TEE, &ONE, later)), [1, 0, 2], "somebody may serve it since");
        assert_eq!(always(&places.route(&TEE, &OTHER, later)), [0, 2]);
        // Whoever does not serve it any more gets none.
        places.elsewhere(&TEE, 0, later);
        assert_eq!(always(&places.route(&TEE, &OTHER, later)), [2]);
        assert!(always(&places.route(&TEE, &ONE, now + REMEMBERED)).is_empty(), "forgotten");
    }

    #[test]
    fn whom_nobody_serves_is_nowhere_for_a_while() {
        let (mut places, now) = (Places::new(2), Instant::now());
        places.elsewhere(&TEE, 0, now);
        assert!(!places.is_nowhere(&TEE, now));
        places.elsewhere(&TEE, 1, now);
        assert!(places.is_nowhere(&TEE, now) && !places.is_nowhere(&WorkerId([9; 32]), now));
        assert!(places.route(&TEE, &ONE, now).is_empty());
        assert!(!places.is_nowhere(&TEE, now + NOWHERE));
        assert!(Places::new(0).is_nowhere(&TEE, now) && Places::new(0).route(&TEE, &ONE, now).is_empty());
    }

    #[test]
    fn whoever_fails_rests_twice_as_long_each_time_and_then_has_one_letter() {
        let (mut places, mut now) = (Places::new(2), Instant::now());
        let mut rests = Vec::new();
        for _ in 0..9 {
            places.answered(0, false, SLOW, now);
            places.answered(0, false, SLOW, now);
            assert_eq!(asked(&places.route(&TEE, &ONE, now)), [1]);
            let State::Down(until) = places.peers[0].state else { panic!() };
            rests.push(until.duration_since(now).as_secs());
            now = until;
            // Behind whoever is up, and with one letter.
            assert_eq!(asked(&places.route(&TEE, &ONE, now)), [1, 0]);
            assert!(places.admits(1, now) && places.admits(1, now));
            assert!(places.admits(0, now) && !places.admits(0, now));
            assert_eq!(asked(&places.route(&TEE, &OTHER, now)), [1]);
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        places.answered(0, true, QUICK, now);
        assert!(places.admits(0, now) && places.admits(0, now));
        assert_eq!(asked(&places.route(&TEE, &ONE, now)), [0, 1]);
        // One good answer does not make up for all of that; time does.
        places.answered(0, true, SLOW, now);
        let State::Down(until) = places.peers[0].state else { panic!() };
        assert!(until.duration_since(now) >= LONGEST, "slow is failed");
        now += FORGIVEN * 20;
        places.answered(0, false, QUICK, now);
        assert_eq!(places.peers[0].state, State::Down(now + SHORTEST));
    }

    #[test]
    fn a_proof_that_never_came_is_asked_for_again() {
        let (mut places, now) = (Places::new(1), Instant::now());
        places.answered(0, false, QUICK, now);
        let after = now + SHORTEST;
        assert!(!places.admits(0, now) && !places.is_nowhere(&TEE, after), "looking for it is no proof yet");
        assert!(places.admits(0, after));
        assert!(places.is_nowhere(&TEE, after) && !places.admits(0, after));
        assert_eq!(asked(&places.route(&TEE, &ONE, after + PROBING)), [0]);
        assert!(places.admits(0, after + PROBING) && !Places::new(1).admits(1, now));
    }

    #[test]
    fn what_is_remembered_of_peers_is_bounded() {
        let (mut places, now) = (Places::new(1), Instant::now());
        for number in 0..(MOST_LETTERS + 10) as u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_le_bytes());
            places.took(&WorkerId(id), &ONE, 0, now);
            assert!(places.taken.len() <= MOST_LETTERS && places.tees.len() <= MOST_TEES);
        }
    }
}
