//! One era's ceremony in a hostile network, block by block. What happens to the set of its seats meanwhile is in `world/changes.rs`, what to a
//! network that is cut in two in `world/cut.rs`, and what hosts do to machines in `world/hosts.rs`.

mod changes;
mod cut;
mod hosts;

use self::changes::Changes;
use crate::{
    beacon::one_beacon_key_per_era,
    chain::Chain,
    invariants::{self, Answered, Holder, Owed, Violation, NAMES},
    machine::Machine,
    malice::{Liar, Malice, Twice},
    members::{Members, GENESIS},
    random::Random,
    rotation::Former,
    seating::Seating,
    shares::Shares,
};
use codec::{Decode, Encode};
use phala_gatekeeper::{
    dkg::{open_parcel, CeremonyError, Transcript, Turn},
    Seat,
};
use phala_protocol::{
    ceremony::{
        threshold_of, tolerated, Attachment, CeremonyRecord, Confirmed, Parcel, ParcelKind, SignedStatement, Statement,
    },
    chain_state::RootRecord,
    domain, hash_value,
    ids::BlockNumber,
    Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// In one of so many seeds more seats lie than a ceremony tolerates, though fewer than open a root: what is safe stays safe.
pub const BEYOND: u32 = 8;
/// Attempts in which the network drops what it likes.
const STORM_ATTEMPTS: u32 = 2;
/// Blocks after which an attempt that never ends is a violation.
const MAX_BLOCKS: BlockNumber = 2_000;
/// Tells a stream of chance apart from that of the network.
const APART: u64 = 0x6170_6172_745f_6f66;

/// What happened how often.
pub type Counts = BTreeMap<String, u64>;

/// How a ceremony ended.
pub struct Ran {
    /// Hash over everything that happened.
    pub trace: Hash,
    /// The root, if one was made.
    pub root: Option<RootRecord>,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// Attempts that it took.
    pub attempts: u32,
    /// What happened how often.
    pub counts: Counts,
    /// INSECURE: every seat's share.
    pub holders: Vec<Holder>,
    /// What each honest seat saw and said.
    pub transcripts: Vec<Transcript>,
    /// The seats that lied.
    pub liars: BTreeSet<u16>,
    /// Whether that is more than a ceremony tolerates: then it may end without a root.
    pub beyond: bool,
    /// Sets that were elected: more than one if governance cancelled the first one's ceremony.
    pub sets: usize,
    /// INSECURE: all that each machine sealed at any time, and what it had in memory at the end, by index.
    pub kept: BTreeMap<u16, Vec<Vec<u8>>>,
    /// Every parcel that was handed to the network, carried or not.
    pub parcels: Vec<Parcel>,
    /// Everything that was submitted to the chain, taken or not.
    pub public: Vec<(SignedStatement, Option<Attachment>)>,
    /// The seats that were restored, in the last attempt, to before a confirmation that went out.
    pub forgot: BTreeSet<u16>,
}

struct World<'a> {
    seating: Seating<'a>,
    changes: Changes,
    random: Random,
    /// What is drawn of it changes nothing of what `random` gives: of cuts of the network, and of old disks after a confirmation. A seed in
    /// which nothing comes of that goes as it would without.
    apart: Random,
    chain: Chain,
    machines: Vec<Machine>,
    liars: Vec<Liar>,
    /// The record after each block, and which of its seats were not registered.
    history: Vec<(CeremonyRecord, BTreeSet<u16>)>,
    statements: Vec<(BlockNumber, (SignedStatement, Option<Attachment>))>,
    parcels: Vec<(BlockNumber, Parcel)>,
    /// All parcels of all time, by signature: a seat repeats them.
    posted: BTreeMap<[u8; 64], Parcel>,
    /// From whom to whom no parcel ever arrives, calm or not.
    severed: BTreeSet<(u16, u16)>,
    /// What each honest seat said of what it owes once.
    owed: Owed,
    /// The keys that honest seats confirmed, by attempt.
    confirmed: BTreeMap<u32, Confirmed>,
    /// What must not be public: parts of honest packages, and public shares.
    hidden: BTreeSet<[u8; 32]>,
    /// What of it an honest dealer published because a liar disputed its delivery.
    published: BTreeSet<[u8; 32]>,
    /// Honest dealers of whose packages one was opened, by attempt; once more of whoever was restored to before its confirmation.
    opened: BTreeSet<(u32, u16, bool)>,
    shown: Vec<Vec<u8>>,
    /// What each seat was heard to say in an attempt of what it owes once, by attempt and index: somebody compares.
    heard: BTreeMap<(u32, u16), Vec<SignedStatement>>,
    /// Whose shares became public, by attempt.
    answered: BTreeMap<u32, Answered>,
    /// The attempt whose shares these are.
    shares: (u32, Shares),
    /// What every liar says twice in every attempt, unless chance decides.
    twice: Option<Twice>,
    /// The era before, if its shares are tried on this one.
    former: Option<Former>,
    trace: Hash,
    counts: Counts,
}

/// Runs the ceremony of `era` among the first `seats` members, with as many liars as chance will: at most `n-t`, but in one of [`BEYOND`]
/// seeds more than that and at most `t-1`. Such a ceremony is given up after as many attempts as one of fewer liars takes at most.
///
/// The machines' sealed seeds follow from `seed` alone: two eras under one seed are two ceremonies of the same machines.
pub fn run(members: &Members, seed: u64, era: u32, seats: u16) -> Ran {
    run_in(members, seed, era, seats, Terms::default())
}

/// The same of the era after one whose root and shares are known: these are tried on what machines come to hold, after each block.
pub fn run_next(members: &Members, seed: u64, era: u32, seats: u16, former: (&RootRecord, &[Holder])) -> Ran {
    let former = Some(Former::new(former, era));
    run_in(members, seed, era, seats, Terms { former, ..Terms::default() })
}

/// The same with more liars than a ceremony tolerates, whatever the seed says of that.
pub fn run_beyond(members: &Members, seed: u64, era: u32, seats: u16) -> Ran {
    run_in(members, seed, era, seats, Terms { beyond: true, ..Terms::default() })
}

/// The same, and all of them contradict themselves in every attempt, by what they say `twice`.
pub fn run_contradicting(members: &Members, seed: u64, era: u32, seats: u16, twice: Twice) -> Ran {
    run_in(members, seed, era, seats, Terms { beyond: true, twice: Some(twice), ..Terms::default() })
}

/// What is not left to chance.
#[derive(Default)]
struct Terms {
    /// Whether more lie than may, whatever the seed says.
    beyond: bool,
    /// What all of them say twice, unless chance decides.
    twice: Option<Twice>,
    /// The era before, if its shares are tried on this one.
    former: Option<Former>,
}

fn run_in(members: &Members, seed: u64, era: u32, seats: u16, Terms { beyond, twice, former }: Terms) -> Ran {
    let mut random = Random::new(seed);
    let seating = Seating::new(members, seats);
    let seated = (1..).zip(seating.ids(0));
    let machines = seated.map(|(index, id)| Machine::new(id, index, random.bytes())).collect();
    let mut order: Vec<u16> = (1..=seats).collect();
    random.shuffle(&mut order);
    let (most, needed) = (tolerated(usize::from(seats)) as u32, threshold_of(usize::from(seats)) as u32);
    let beyond = random.below(BEYOND) == 0 || beyond;
    let liars = if beyond { most + 1 + random.below(needed - 1 - most) } else { random.below(most + 1) };
    let (liars, honest) = order.split_at(liars as usize);
    let liar = |index: &u16| Liar {
        index: *index,
        malice: Malice::None,
        twice: Twice::Commit,
        victim: 0,
        sent: Vec::new(),
        dealt: None,
    };
    let liars: Vec<Liar> = liars.iter().map(liar).collect();
    // Another network for another era.
    let mut random = Random::new(random.number() ^ u64::from(era));
    let cut = if random.percent(50) { random.below(101) } else { 0 };
    let pairs = (1..=seats).flat_map(|from| (1..=seats).map(move |to| (from, to)));
    let severed = pairs.filter(|_| random.percent(cut)).collect();
    let mut apart = Random::new(random.clone().number() ^ APART);
    let changes = Changes::draw(&mut random, &mut apart, honest, (most as usize).saturating_sub(liars.len()));
    let mut world = World {
        chain: Chain::new(era, seating.ids(0)),
        seating,
        changes,
        random,
        apart,
        machines,
        liars,
        history: Vec::new(),
        statements: Vec::new(),
        parcels: Vec::new(),
        posted: BTreeMap::new(),
        severed,
        owed: Owed::new(),
        confirmed: BTreeMap::new(),
        hidden: BTreeSet::new(),
        published: BTreeSet::new(),
        opened: BTreeSet::new(),
        shown: Vec::new(),
        heard: BTreeMap::new(),
        answered: BTreeMap::new(),
        shares: (0, Shares::new(needed as usize)),
        twice,
        former,
        trace: [0; 32],
        counts: Counts::new(),
    };
    let violation = world.live().err();
    let liars = world.liar_indices();
    let machines = || world.machines.iter().chain(&world.changes.retired);
    let honest = machines().filter(|machine| !liars.contains(&machine.index));
    let mut kept = BTreeMap::<u16, Vec<Vec<u8>>>::new();
    for machine in machines() {
        kept.entry(machine.index).or_default().extend(machine.kept());
    }
    let attempt = world.chain.record.attempt;
    let forgot = world.machines.iter().filter(|machine| machine.forgot.contains(&attempt));
    Ran {
        forgot: forgot.map(|machine| machine.index).collect(),
        trace: world.trace,
        root: world.chain.root.clone(),
        violation,
        attempts: world.chain.record.attempt + 1,
        holders: world.holders(),
        transcripts: honest.map(|machine| machine.transcript.clone()).collect(),
        kept,
        sets: world.seating.sets(),
        parcels: world.posted.values().cloned().collect(),
        public: world.chain.public.clone(),
        counts: world.counts,
        beyond,
        liars,
    }
}

impl World<'_> {
    fn live(&mut self) -> Result<(), Violation> {
        let mut attempt = None;
        for _ in 0..MAX_BLOCKS {
            self.chain.tick();
            self.change_set();
            if attempt != Some(self.chain.record.attempt) {
                attempt = Some(self.chain.record.attempt);
                let seats = self.machines.len() as u16;
                for liar in &mut self.liars {
                    liar.choose(&mut self.random, seats);
                    if let Some(twice) = self.twice {
                        (liar.malice, liar.twice) = (Malice::Equivocate, twice);
                    }
                    *self.counts.entry(format!("malice {:?}", liar.malice)).or_default() += 1;
                }
            }
            self.include_statements()?;
            self.deliver_parcels();
            self.history.push((self.chain.record.clone(), self.chain.away()));
            self.disturb();
            for position in 0..self.machines.len() {
                self.act(position)?;
            }
            self.check()?;
            if self.is_done() {
                return self.audit();
            }
            // More lie than may: a root need not come of it.
            let out = self.chain.abandoned || self.chain.record.attempt >= self.attempts_at_most();
            if self.beyond() && self.chain.root.is_none() && out {
                return Ok(());
            }
        }
        Err(Violation::new(NAMES[2], "no root"))
    }

    /// Whether more seats lie than a ceremony tolerates.
    fn beyond(&self) -> bool {
        self.liars.len() > tolerated(self.machines.len())
    }

    fn attempts_at_most(&self) -> u32 {
        let (seats, liars) = (self.machines.len(), self.liar_indices());
        let cut = invariants::first_after_cut(&self.changes.cut_off, &liars, seats);
        invariants::attempts_at_most(seats, STORM_ATTEMPTS.max(self.chain.first_attempt).max(cut))
    }

    fn calm(&self) -> bool {
        self.chain.record.attempt >= STORM_ATTEMPTS
    }

    fn liar_indices(&self) -> BTreeSet<u16> {
        self.liars.iter().map(|liar| liar.index).collect()
    }

    fn happened(&mut self, event: &impl Encode) {
        self.trace = hash_value(domain::MERKLE_NODE, &(self.trace, self.chain.block, event));
    }

    fn include_statements(&mut self) -> Result<(), Violation> {
        let liars = self.liar_indices();
        let due = take_due(&mut self.statements, self.chain.block, &mut self.random);
        for (statement, beside) in due {
            self.happened(&(statement, &beside));
            self.shown.push((statement, &beside).encode());
            let answered = self.answered.entry(statement.attempt).or_default();
            let record = &self.chain.record;
            if invariants::what_is_said_gives_nothing_away(&statement, record, answered, &liars)? {
                *self.counts.entry("share of an honest dealer made public".to_owned()).or_default() += 1;
            }
            if let Some(Attachment::Package(bytes)) = beside.as_ref().filter(|_| !liars.contains(&statement.index)) {
                self.published.extend(parts(bytes));
            }
            let taken = self.chain.submit(&statement, beside.as_ref()).is_ok();
            self.compare(statement)?;
            let kind = match statement.statement {
                Statement::Commit { .. } => "commit",
                Statement::Complain { .. } => "complain",
                Statement::Deliver { .. } => "deliver",
                Statement::Dispute { .. } => "dispute",
                Statement::Answer { .. } => "answer",
                Statement::Reject { .. } => "reject",
                Statement::Confirm(_) => "confirm",
            };
            let verdict = if taken { "taken" } else { "refused" };
            *self.counts.entry(format!("{kind} {verdict}")).or_default() += 1;
        }
        Ok(())
    }

    /// Whoever reads all that is submitted reports a seat that contradicts what it said before.
    fn compare(&mut self, statement: SignedStatement) -> Result<(), Violation> {
        let heard = self.heard.entry((statement.attempt, statement.index)).or_default();
        if heard.contains(&statement) {
            return Ok(());
        }
        let contradicts = |earlier: &&SignedStatement| earlier.statement.contradicts(&statement.statement);
        let contradicted = heard.iter().find(contradicts).copied();
        heard.push(statement);
        if let Some(earlier) = contradicted {
            let what = match statement.statement {
                Statement::Commit { .. } => "commitments",
                Statement::Answer { .. } => "answers",
                _ => "confirmations",
            };
            let reported = self.chain.report(&earlier, &statement);
            let verdict = reported.map_or_else(|reason| format!("refused, {reason}"), |()| "taken".to_owned());
            *self.counts.entry(format!("report of two {what} {verdict}")).or_default() += 1;
            invariants::whoever_contradicts_itself_is_convicted(&self.chain, &statement)?;
        }
        Ok(())
    }

    fn deliver_parcels(&mut self) {
        for parcel in take_due(&mut self.parcels, self.chain.block, &mut self.random) {
            let position = usize::from(parcel.header.to) - 1;
            let taken = self.machines[position].receive(&self.seating, &parcel);
            self.happened(&(parcel.header, taken));
            *self.counts.entry(format!("parcel {}", if taken { "taken" } else { "refused" })).or_default() += 1;
        }
    }

    /// One machine's turn, every second block.
    fn act(&mut self, position: usize) -> Result<(), Violation> {
        let block = self.chain.block;
        let (calm, beyond) = (self.calm(), self.beyond());
        let machine = &mut self.machines[position];
        if !machine.up || !(block + u32::from(machine.index)).is_multiple_of(2) {
            return Ok(());
        }
        machine.behind &= !calm && machine.head < block;
        let newest = block.saturating_sub(self.random.below(if calm { 2 } else { 5 }));
        let cut_off = self.changes.newest_head(machine.index, block);
        let newest = cut_off.map_or(newest, |head| head.min(newest));
        let step = self.random.below(8);
        let shown = if machine.behind { newest.min(machine.head + step) } else { newest };
        let head = shown.max(machine.head).max(1);
        let (record, away) = self.history[head as usize - 1].clone();
        if !machine.has_seat_in(&record) {
            machine.head = head;
            return Ok(());
        }
        let looked = machine.look(&self.seating, head, &record, &away, self.random.bytes());
        // Its host shows it what stands on chain: when it is calm, all of it.
        for (attempt, from, beside) in &self.chain.attached {
            if *attempt == record.attempt && cut_off.is_none() && (calm || self.random.percent(70)) {
                machine.read(&self.seating, *from, beside);
            }
        }
        let liar = self.liars.iter_mut().find(|liar| liar.index == machine.index);
        let honest = liar.is_none();
        let turn = match (looked, liar) {
            (turn, Some(liar)) => {
                let dealt = |seed, entropy| machine.dealt(&self.seating, &record, seed, entropy);
                liar.corrupt(&self.seating, &record, turn.ok(), &mut self.random, dealt)
            }
            (Ok(turn), None) => turn,
            (Err(CeremonyError::LeftOut(_) | CeremonyError::NotCommitted), None) => Turn::default(),
            // So many lie, and are left out, that an attempt gives no root.
            (Err(CeremonyError::TooFew), None) if beyond => Turn::default(),
            (Err(error), None) => {
                let what = format!("seat {} in attempt {}: {error}", machine.index, record.attempt);
                return Err(Violation::new(NAMES[5], what));
            }
        };
        // A crash between sealing and sending.
        if !calm && self.random.percent(3) {
            machine.crash();
            return Ok(());
        }
        if honest {
            for said in turn.statements.iter().chain(turn.attached.iter().map(|(said, _)| said)) {
                machine.transcript.note(said);
                if matches!(said.statement, Statement::Confirm(_)) {
                    machine.confirmed.insert(said.attempt);
                }
            }
            let forgot = machine.forgot.contains(&record.attempt);
            self.inspect(&turn, forgot)?;
        }
        let bare = turn.statements.into_iter().map(|said| (said, None));
        let attached = turn.attached.into_iter().map(|(said, beside)| (said, Some(beside)));
        for statement in bare.chain(attached) {
            for due in self.statement_arrivals(&statement.0, calm) {
                self.statements.push((due, statement.clone()));
            }
        }
        for parcel in turn.parcels {
            self.posted.entry(parcel.signature).or_insert_with(|| parcel.clone());
            if self.severed.contains(&(parcel.header.from, parcel.header.to)) {
                *self.counts.entry("parcel severed".to_owned()).or_default() += 1;
                continue;
            }
            for due in self.parcel_arrivals(&parcel, calm) {
                self.parcels.push((due, parcel.clone()));
            }
        }
        Ok(())
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

    /// An honest seat's turn: one package an attempt, the same keys as all other honest seats, and what must stay hidden is noted. Whether it
    /// was restored to before its confirmation changes nothing of that.
    fn inspect(&mut self, turn: &Turn, forgot: bool) -> Result<(), Violation> {
        for said in &turn.statements {
            invariants::what_is_owed_once_is_said_once(said, &mut self.owed)?;
            if let Statement::Confirm(keys) = said.statement {
                let first = *self.confirmed.entry(said.attempt).or_insert(keys);
                if first != keys {
                    let which = if first.beacon == keys.beacon { 1 } else { 8 };
                    return Err(Violation::new(NAMES[which], format!("seat {} confirmed other keys", said.index)));
                }
            }
        }
        for parcel in &turn.parcels {
            let header = parcel.header;
            let liars = self.liar_indices();
            let known = (header.attempt, header.from, forgot);
            if header.kind != ParcelKind::Package || liars.contains(&header.from) || !self.opened.insert(known) {
                continue;
            }
            let content = open_parcel(&GENESIS, self.seating.opener(parcel).secret(), parcel).unwrap();
            invariants::package_is_what_was_committed_to(&header, content.expose(), &self.owed)?;
            self.hidden.extend(parts(content.expose()));
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Violation> {
        // All is looked at once more at the end, when everything hidden is known.
        let shown = std::mem::take(&mut self.shown);
        invariants::no_commitment_in_public(&shown, &self.chain.record.encode(), &self.still_hidden())?;
        self.try_shares()?;
        self.try_former()?;
        let liars = self.liar_indices();
        invariants::no_honest_seat_is_convicted(&self.chain, &liars)?;
        if self.beyond() {
            return Ok(());
        }
        if self.chain.record.attempt >= self.attempts_at_most() {
            return Err(Violation::new(NAMES[2], format!("attempt {}", self.chain.record.attempt)));
        }
        let may_fail: BTreeSet<u16> = liars.union(&self.changes.excused).copied().collect();
        invariants::faults_are_the_liars(&self.chain, &may_fail, &self.changes.cut_off, STORM_ATTEMPTS)
    }

    /// What the shares give that machines hold by now, whether the attempt makes a root or not.
    fn try_shares(&mut self) -> Result<(), Violation> {
        let attempt = self.chain.record.attempt;
        if self.shares.0 != attempt {
            self.shares = (attempt, Shares::new(usize::from(self.chain.record.threshold)));
        }
        // All of them, not only the news: a seat that was restarted made its share anew.
        let now = self.holders();
        let again = self.shares.1.see(now)?;
        *self.counts.entry("share held again after a restart".to_owned()).or_default() += again;
        let tried = self.shares.1.try_next()?;
        *self.counts.entry("sets of shares tried".to_owned()).or_default() += tried;
        Ok(())
    }

    /// What the shares of the era before give, where that is known.
    fn try_former(&mut self) -> Result<(), Violation> {
        let Some(former) = &mut self.former else { return Ok(()) };
        let tried = former.try_on(self.chain.block, self.chain.root.as_ref(), &self.shares.1)?;
        for (what, tried) in tried {
            *self.counts.entry(what.to_owned()).or_default() += tried;
        }
        Ok(())
    }

    fn still_hidden(&self) -> BTreeSet<[u8; 32]> {
        self.hidden.difference(&self.published).copied().collect()
    }

    /// A root is made, and each machine that takes part holds its share, but for those that were restored to before they confirmed it.
    fn is_done(&self) -> bool {
        let complete = |index: u16| {
            let machine = &self.machines[usize::from(index) - 1];
            self.outcome(machine).is_some() || machine.forgot.contains(&self.chain.record.attempt)
        };
        self.chain.root.is_some() && self.chain.record.participants().all(complete)
    }

    fn outcome<'a>(&self, machine: &'a Machine) -> Option<&'a Seat> {
        let current = (self.chain.record.era, self.chain.record.attempt);
        machine.ceremony.as_ref().filter(|ceremony| ceremony.attempt() == current)?.seat()
    }

    fn holders(&self) -> Vec<Holder> {
        self.machines.iter().filter_map(|machine| self.outcome(machine)).map(holder).collect()
    }

    fn audit(&mut self) -> Result<(), Violation> {
        let (Some(root), Some(keys)) = (self.chain.root.clone(), self.chain.confirmed) else { return Ok(()) };
        let holders = self.holders();
        self.happened(&keys);
        self.note_root_after_cut();
        if self.chain.record.participants().count() > holders.len() {
            *self.counts.entry("root made without the share of a restored machine".to_owned()).or_default() += 1;
        }
        self.replaced_open_nothing()?;
        // These are what the machines hold: `check` saw all of them in this block.
        let tried = invariants::one_key_per_era(&root, &mut self.shares.1)? + self.shares.1.one_key_per_epoch()?;
        *self.counts.entry("sets of shares tried".to_owned()).or_default() += tried;
        one_beacon_key_per_era(&keys.beacon, &holders)?;
        let none = [0; 32];
        self.hidden.extend(holders.iter().flat_map(|holder| &holder.shares).filter(|share| **share != none));
        let all: Vec<Vec<u8>> = self.chain.public.iter().map(Encode::encode).collect();
        invariants::no_commitment_in_public(&all, &root.encode(), &self.still_hidden())
    }
}

/// The shares of a seat, out of what it seals.
fn holder(seat: &Seat) -> Holder {
    Holder::decode(&mut seat.to_secret_bytes().expose().as_slice()).unwrap()
}

/// The points and scalars of a package: in each half, after the length, 32 bytes each.
fn parts(package: &[u8]) -> Vec<[u8; 32]> {
    let (root, beacon) = package.split_at(package.len() / 2);
    let parts = [root, beacon].into_iter().flat_map(|half| half.get(1..).unwrap_or_default().chunks_exact(32));
    parts.map(|part| part.try_into().unwrap()).collect()
}

/// Takes what is due out of a queue, in an order of chance.
fn take_due<T>(queue: &mut Vec<(BlockNumber, T)>, block: BlockNumber, random: &mut Random) -> Vec<T> {
    let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(queue).into_iter().partition(|(when, _)| *when <= block);
    *queue = later;
    random.shuffle(&mut due);
    due.into_iter().map(|(_, message)| message).collect()
}
