//! The life of one network's identities, block by block: they are made, and handed over to other sets, in a hostile network. What is
//! looked at is in `life/judge.rs`, and what becomes of a network that is cut in two in `life/cut.rs`.

mod cut;
mod judge;
#[cfg(test)]
mod tests;

use super::{
    chain::{place_of, Chain, Place},
    checks::{self, Checks, FORMER_CANNOT_SIGN, LIVENESS},
    lies::{Liar, Said, Scene, Stated},
    machine::{Machine, Sight},
    signing::NonceLog,
    Lived,
};
use crate::{
    invariants::{Violation, NAMES},
    members::{Members, Peers},
    partition::Partition,
    random::Random,
    Counts,
};
use codec::Encode;
use phala_gatekeeper::identity::ceremony::CeremonyError;
use phala_protocol::{
    ceremony::{threshold_of, tolerated, CeremonyAttempt, Parcel},
    domain, hash_value,
    identities::{IdentityCeremonyRecord, IdentityRecord, IdentityStatement, SignedIdentityStatement},
    ids::BlockNumber,
    Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    sync::Arc,
};

/// In one of so many ceremonies more lie than it tolerates, though fewer than a threshold of either set.
const BEYOND: u32 = 8;
/// Attempts of each set in which the network drops what it likes.
const STORM_ATTEMPTS: u32 = 2;
/// Blocks after which a ceremony that never ends is a violation.
const MAX_BLOCKS: BlockNumber = 2_000;
/// Blocks within which governance cancels, if it does.
const WITHIN: u32 = 60;
/// Seats of the smallest set.
const LEAST_SEATS: u32 = 4;
/// Tells the stream of chance of cuts apart from the other.
const APART: u64 = 0x7477_6f5f_7061_7274;

/// Counted where a gatekeeper that lies no more is shown an attempt in which it did.
const MET_ITS_LIE: &str = "identities: met what it said as a liar";

/// What the chain shows at a head.
type Shown = (Option<IdentityRecord>, Option<IdentityCeremonyRecord>);

pub(super) struct Life<'a> {
    members: &'a Members,
    numbers: BTreeMap<WorkerId, u16>,
    random: Random,
    /// What is drawn of it, of cuts of the network, changes nothing of what `random` gives: a life without one goes as it would without.
    apart: Random,
    chain: Chain,
    machines: Vec<Machine>,
    liars: Vec<Liar>,
    /// Who, by number, lied in which attempt so that the chain may hold as its own what its machine did not say.
    misspoke: BTreeSet<(Place, u16)>,
    /// What the chain showed after each block.
    history: Vec<Shown>,
    statements: Vec<(BlockNumber, Stated)>,
    /// With the recipient's number.
    parcels: Vec<(BlockNumber, (u16, Parcel))>,
    /// From whom to whom no parcel ever arrives, calm or not, by number.
    severed: BTreeSet<(u16, u16)>,
    /// The cut of this set's ceremony, by number: in a storm only.
    partition: Option<Partition>,
    /// Records that somebody confirms: whoever carries them shows them.
    known: BTreeMap<Hash, IdentityRecord>,
    /// What each was heard to say, by attempt, index, and whether it deals: somebody compares.
    heard: BTreeMap<(Place, u16, bool), Vec<SignedIdentityStatement>>,
    checks: Checks,
    log: NonceLog,
    trace: Hash,
    counts: Counts,
}

/// How a ceremony ended.
#[derive(PartialEq, Eq)]
enum End {
    Record,
    GivenUp,
}

/// Makes identities among the gatekeepers `first`, and hands them over once or twice.
pub(super) fn live(members: &Members, seed: u64, first: &[WorkerId]) -> Lived {
    let mut life = Life::new(members, seed);
    let violation = life.run(first).err();
    let Life { trace, chain, counts, checks, .. } = life;
    Lived { trace, record: chain.record, sharing: checks.present().cloned(), violation, counts }
}

impl<'a> Life<'a> {
    fn new(members: &'a Members, seed: u64) -> Self {
        let count = 2 * members.seats();
        let numbers = (1..=count).map(|number| (WorkerId(members.identity(number).public()), number)).collect();
        Self {
            members,
            numbers,
            random: Random::new(seed),
            apart: Random::new(seed ^ APART),
            chain: Chain::default(),
            machines: (1..=count).map(|number| Machine::new(members, number)).collect(),
            liars: Vec::new(),
            misspoke: BTreeSet::new(),
            history: Vec::new(),
            statements: Vec::new(),
            parcels: Vec::new(),
            severed: BTreeSet::new(),
            partition: None,
            known: BTreeMap::new(),
            heard: BTreeMap::new(),
            checks: Checks::default(),
            log: NonceLog::default(),
            trace: [0; 32],
            counts: Counts::new(),
        }
    }

    fn run(&mut self, first: &[WorkerId]) -> Result<(), Violation> {
        let mut set: Vec<u16> = first.iter().map(|id| self.numbers[id]).collect();
        let ceremonies = 2 + self.random.below(2);
        for era in 1..=ceremonies {
            let former = self.chain.record.clone();
            let end = self.ceremony(era, &set)?;
            self.audit()?;
            match (end, former) {
                (End::GivenUp, _) => self.count("ceremony of identities given up"),
                (End::Record, None) => self.count("identities made"),
                (End::Record, Some(_)) => self.count("identities handed over"),
            }
            if self.chain.record.is_some() && self.random.percent(60) {
                self.sign()?;
            }
            // Where nobody has keys yet the seats of the root try again.
            if self.chain.record.is_some() {
                set = self.elect(&set);
            }
        }
        Ok(())
    }

    /// Another set, of another size where there is one.
    fn elect(&mut self, before: &[u16]) -> Vec<u16> {
        let most = (u32::from(self.members.seats()) + 3).min(self.machines.len() as u32);
        let mut set: Vec<u16> = (1..=self.machines.len() as u16).collect();
        loop {
            let size = LEAST_SEATS + self.random.below(most - LEAST_SEATS + 1);
            self.random.shuffle(&mut set);
            let elected = &set[..size as usize];
            let others = elected.iter().any(|number| !before.contains(number));
            if others && threshold_of(elected.len()) != threshold_of(before.len()) {
                return elected.to_vec();
            }
        }
    }

    /// One ceremony, until all machines have seen how it ended.
    fn ceremony(&mut self, era: u32, set: &[u16]) -> Result<End, Violation> {
        self.count("ceremony of identities");
        self.begin(era, set);
        let (is_cancelled, within) = (self.random.percent(20), self.random.below(WITHIN));
        let mut cancelled = is_cancelled.then_some(self.chain.block + 2 + within);
        let (mut attempt, mut ended) = (None, None);
        for _ in 0..MAX_BLOCKS {
            let given_up = self.chain.tick();
            if cancelled.is_some_and(|at| at <= self.chain.block) {
                cancelled = None;
                if self.chain.ceremony.is_some() && !self.calm() {
                    self.count("ceremony of identities cancelled");
                    let set = if self.chain.record.is_some() { self.elect(set) } else { set.to_vec() };
                    self.begin(era, &set);
                }
            }
            self.note_cut();
            self.choose_lies(&mut attempt);
            self.include_statements();
            self.deliver_parcels();
            let shown = self.show()?;
            if given_up || shown {
                ended = Some((self.chain.block, if shown { End::Record } else { End::GivenUp }));
            }
            self.history.push((self.chain.record.clone(), self.chain.ceremony.clone()));
            self.disturb();
            for position in 0..self.machines.len() {
                self.act(position)?;
            }
            self.check()?;
            if let Some((block, _)) = &ended {
                if self.machines.iter().all(|machine| machine.up && machine.head >= *block) {
                    return Ok(ended.take().map_or(End::GivenUp, |(_, end)| end));
                }
            }
        }
        if self.beyond() {
            self.chain.cancel();
            return Ok(End::GivenUp);
        }
        Err(Violation::new(LIVENESS, format!("era {era} does not end")))
    }

    /// A set is elected; who lies from now on, and what never arrives, is drawn.
    fn begin(&mut self, era: u32, set: &[u16]) {
        let ids: Vec<WorkerId> = set.iter().map(|number| WorkerId(self.members.identity(*number).public())).collect();
        self.chain.elect(era, &ids);
        self.draw_liars(set);
        let cut = if self.random.percent(50) { self.random.below(101) } else { 0 };
        let count = self.machines.len() as u16;
        let pairs = (1..=count).flat_map(|from| (1..=count).map(move |to| (from, to)));
        self.severed = pairs.filter(|_| self.random.percent(cut)).collect();
        self.partition = self.plan_cut(set);
        self.happened(&(era, set.to_vec()));
    }

    fn draw_liars(&mut self, set: &[u16]) {
        let Some(ceremony) = &self.chain.ceremony else { return };
        let (deals, threshold) = (usize::from(ceremony.deals), usize::from(ceremony.threshold));
        let dealers: BTreeSet<u16> = ceremony.dealers.iter().map(|dealer| self.numbers[&dealer.gatekeeper]).collect();
        let (most_dealers, most_holders) = if self.random.below(BEYOND) == 0 {
            (deals - 1, threshold - 1)
        } else {
            (dealers.len().saturating_sub(deals), tolerated(set.len()))
        };
        let mut order: Vec<u16> = dealers.iter().copied().chain(set.iter().copied()).collect();
        order.sort_unstable();
        order.dedup();
        self.random.shuffle(&mut order);
        let wanted = self.random.below((most_dealers + most_holders + 1) as u32) as usize;
        let (mut lying_dealers, mut lying_holders) = (0, 0);
        let mut before: BTreeMap<u16, Liar> =
            take(&mut self.liars).into_iter().map(|liar| (liar.number, liar)).collect();
        for number in order {
            let (deals, receives) = (usize::from(dealers.contains(&number)), usize::from(set.contains(&number)));
            let room = lying_dealers + deals <= most_dealers && lying_holders + receives <= most_holders;
            if room && self.liars.len() < wanted {
                (lying_dealers, lying_holders) = (lying_dealers + deals, lying_holders + receives);
                // One that lied before has what it sent then.
                self.liars.push(before.remove(&number).unwrap_or_else(|| Liar::new(number)));
            }
        }
        let liars = self.liars.len() as u64;
        *self.counts.entry("liars in ceremonies of identities".to_owned()).or_default() += liars;
        if self.beyond() {
            self.count("ceremony of identities in which more lie than may");
        }
    }

    /// In each attempt every liar lies in another way.
    fn choose_lies(&mut self, attempt: &mut Option<Place>) {
        let Some(ceremony) = &self.chain.ceremony else { return };
        let (place, holders) = (place_of(ceremony), ceremony.holders.len());
        if *attempt == Some(place) {
            return;
        }
        *attempt = Some(place);
        if place.1 != self.chain.first_attempt {
            self.count("attempts of identities that failed");
        }
        for liar in &mut self.liars {
            liar.choose(&mut self.random, holders);
            if liar.lie.misspeaks() {
                self.misspoke.insert((place, liar.number));
            }
            *self.counts.entry(format!("lie {:?} about identities", liar.lie)).or_default() += 1;
        }
        self.count("attempts of identities");
    }

    fn liar_ids(&self) -> BTreeSet<WorkerId> {
        self.liars.iter().map(|liar| WorkerId(self.members.identity(liar.number).public())).collect()
    }

    fn is_liar(&self, number: u16) -> bool {
        self.liars.iter().any(|liar| liar.number == number)
    }

    /// Whether more lie than the ceremony tolerates.
    fn beyond(&self) -> bool {
        self.chain.ceremony.as_ref().is_some_and(|ceremony| !checks::is_tolerated(ceremony, &self.liar_ids()))
    }

    fn calm(&self) -> bool {
        let storm = self.chain.first_attempt + STORM_ATTEMPTS;
        self.chain.ceremony.as_ref().is_none_or(|ceremony| ceremony.attempt >= storm)
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn happened(&mut self, event: &impl Encode) {
        self.trace = hash_value(domain::MERKLE_NODE, &(self.trace, self.chain.block, event));
    }

    fn include_statements(&mut self) {
        for (said, beside) in take_due(&mut self.statements, self.chain.block, &mut self.random) {
            let taken = self.chain.submit(&said, beside.as_ref()).is_ok();
            self.happened(&(said, &beside, taken));
            let kind = match said.statement {
                IdentityStatement::Commit { .. } => "commit",
                IdentityStatement::Complain { .. } => "complain",
                IdentityStatement::Deliver { .. } => "deliver",
                IdentityStatement::Dispute { .. } => "dispute",
                IdentityStatement::Answer { .. } => "answer",
                IdentityStatement::Reject { .. } => "reject",
                IdentityStatement::Confirm { .. } => "confirm",
            };
            self.count(&format!("identities: {kind} {}", if taken { "taken" } else { "refused" }));
            if let IdentityStatement::Answer { shares, .. } = said.statement {
                self.checks.note_public(shares);
            }
        }
    }

    fn deliver_parcels(&mut self) {
        for (to, parcel) in take_due(&mut self.parcels, self.chain.block, &mut self.random) {
            let taken = self.machines[usize::from(to) - 1].receive(self.members, &parcel);
            self.happened(&(parcel.header, taken));
            self.count(if taken { "identities: parcel taken" } else { "identities: parcel refused" });
        }
    }

    /// Somebody shows the record that all confirmed: when it is calm at once. Says whether the chain has it now.
    fn show(&mut self) -> Result<bool, Violation> {
        let calm = self.calm();
        let Some((place, agreed)) = self.chain.ceremony.as_ref().and_then(|one| Some((place_of(one), one.agreed?)))
        else {
            return Ok(false);
        };
        if !calm && !self.random.percent(10) {
            return Ok(false);
        }
        let record = self.known.get(&agreed).cloned();
        let shown = record.ok_or("nobody has the record that all confirmed".to_owned());
        let shown = shown.and_then(|record| self.chain.show(&record).map(|()| record));
        let record = shown.map_err(|refused| Violation::new(checks::ONE_RECORD, refused))?;
        self.checks.note_shown(place, &record)?;
        self.happened(&record);
        Ok(true)
    }

    /// Crashes, restarts, and old disks.
    fn disturb(&mut self) {
        let calm = self.calm();
        let place = self.chain.ceremony.as_ref().map(place_of);
        for position in 0..self.machines.len() {
            let honest = !self.is_liar(self.machines[position].number);
            let has_part = self.has_part(&self.machines[position].id);
            let machine = &mut self.machines[position];
            let may_rewind = honest && !calm && (machine.confirmed != place || place.is_none());
            let mut what = None;
            if !machine.up && (calm || self.random.percent(30)) {
                // Not after a confirmation, which would only cost it its own shares.
                let back = if may_rewind && self.random.percent(40) { self.random.below(6) as usize } else { 0 };
                what = Some(if machine.start(back) {
                    "identities: started from an old disk"
                } else {
                    "identities: started"
                });
            } else if machine.up && !calm {
                if self.random.percent(10) {
                    machine.seal();
                }
                if self.random.percent(3) {
                    machine.crash();
                } else if honest && !has_part && self.random.percent(5) {
                    let back = self.random.below(1_000) as usize;
                    what = machine.put_back_custody(back).then_some("former shares put back");
                }
            }
            if let Some(what) = what {
                self.count(what);
            }
        }
    }

    /// Whether a gatekeeper holds, deals or receives.
    fn has_part(&self, id: &WorkerId) -> bool {
        let holds = self.chain.record.as_ref().is_some_and(|record| record.holder(id).is_some());
        holds
            || self
                .chain
                .ceremony
                .as_ref()
                .is_some_and(|ceremony| ceremony.dealer_index(id).is_some() || ceremony.holder_index(id).is_some())
    }

    /// One machine's turn, every second block.
    fn act(&mut self, position: usize) -> Result<(), Violation> {
        let (block, calm) = (self.chain.block, self.calm());
        let number = self.machines[position].number;
        let cut_off = self.newest_head(number);
        let machine = &mut self.machines[position];
        if !machine.up || !(block + u32::from(number)).is_multiple_of(2) {
            return Ok(());
        }
        machine.behind &= !calm && machine.head < block;
        let newest = block.saturating_sub(self.random.below(if calm { 2 } else { 5 }));
        let newest = cut_off.map_or(newest, |head| head.min(newest));
        let step = self.random.below(8);
        let shown = if machine.behind { newest.min(machine.head + step) } else { newest };
        let head = shown.max(machine.head).max(1);
        let (identities, ceremony) = self.history[head as usize - 1].clone();
        let peers = match &ceremony {
            Some(record) => {
                let of = CeremonyAttempt::identities(record.era, record.attempt);
                self.members.peers_among(of, (1..=2 * self.members.seats()).collect())
            }
            None => Arc::new(Peers::new()),
        };
        let drawn = [self.random.bytes(), self.random.bytes()];
        let sight = Sight {
            members: self.members,
            peers: &peers,
            head,
            identities: identities.as_ref(),
            ceremony: ceremony.as_ref(),
            drawn,
        };
        let looked = machine.look(&sight);
        if let (Some(held), Some(record)) = (machine.custody.held(), &identities) {
            if held.record() != record && held.record().era <= record.era {
                let what = format!("machine {number} has shares of era {} still", held.record().era);
                return Err(Violation::new(FORMER_CANNOT_SIGN, what));
            }
        }
        let Some(record) = ceremony else { return Ok(()) };
        for (place, speaker, beside) in &self.chain.attached {
            if cut_off.is_none() && (calm || self.random.percent(70)) {
                machine.read(self.members, *place, *speaker, beside);
            }
        }
        // A crash between sealing and sending.
        if !calm && self.random.percent(3) {
            machine.crash();
            return Ok(());
        }
        let lying = self.liars.iter().position(|liar| liar.number == number);
        let (turns, confirms) = match looked {
            Ok(looked) => (looked.turns, looked.record),
            Err(_) if lying.is_some() => (Vec::new(), None),
            // A head of the past: it lied in that attempt, which was cancelled, and does no more in the set elected since. What the chain
            // holds there is what it said as a liar, and its machine, which keeps its seed, is right to refuse that.
            Err(CeremonyError::Foreign) if self.misspoke.contains(&(place_of(&record), number)) => {
                self.count(MET_ITS_LIE);
                (Vec::new(), None)
            }
            Err(error) => {
                let what = format!("machine {number} in attempt {:?} of identities: {error}", place_of(&record));
                return Err(Violation::new(NAMES[5], what));
            }
        };
        if let Some(confirms) = confirms {
            self.known.insert(confirms.hash(), confirms);
        }
        let said = Said::of(turns);
        let said = match lying {
            Some(lying) => {
                let numbers = &self.numbers;
                let number = |id: &WorkerId| numbers[id];
                let scene = Scene { members: self.members, peers: &peers, record: &record, number: &number };
                self.liars[lying].corrupt(&scene, said, &mut self.random)
            }
            None => {
                self.inspect(position, &record, &said)?;
                said
            }
        };
        self.post(&record, number, said, calm);
        Ok(())
    }

    /// Hands everything to the network.
    fn post(&mut self, record: &IdentityCeremonyRecord, number: u16, said: Said, calm: bool) {
        for stated in said.statements {
            for due in self.statement_arrivals(number, &stated.0, calm) {
                self.statements.push((due, stated.clone()));
            }
        }
        for parcel in said.parcels {
            let Some(holder) = record.holder(parcel.header.to) else { continue };
            let to = self.numbers[&holder.gatekeeper];
            if self.severed.contains(&(number, to)) {
                self.count("identities: parcel severed");
                continue;
            }
            for due in self.parcel_arrivals(&parcel, (number, to), calm) {
                self.parcels.push((due, (to, parcel.clone())));
            }
        }
    }

    /// When a message arrives: once, not at all, or more than once.
    fn arrivals(&mut self, calm: bool) -> Vec<BlockNumber> {
        let block = self.chain.block;
        if calm {
            return vec![block + 1];
        }
        if self.random.percent(35) {
            return Vec::new();
        }
        let times = if self.random.percent(10) { 2 } else { 1 };
        (0..times).map(|_| block + 1 + self.random.below(8)).collect()
    }
}

/// Takes what is due out of a queue, in an order of chance.
fn take_due<T>(queue: &mut Vec<(BlockNumber, T)>, block: BlockNumber, random: &mut Random) -> Vec<T> {
    let (mut due, later): (Vec<_>, Vec<_>) = take(queue).into_iter().partition(|(when, _)| *when <= block);
    *queue = later;
    random.shuffle(&mut due);
    due.into_iter().map(|(_, message)| message).collect()
}
