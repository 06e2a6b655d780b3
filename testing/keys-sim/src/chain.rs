//! The chain's part in a ceremony: the rules of `phala_protocol::ceremony`, which the pallet applies too, with signatures and blocks.
//!
//! Guarantees: a statement is taken only under its seat's signature, for the attempt under way, and by [`take`], with what stands
//! beside it, which everybody can read from then on; a phase ends after its
//! last block, or after all that take part said what it asks, and what follows is what [`end_phase`] says; whoever contradicted itself is
//! convicted once somebody shows both statements, also when another set has its seat since. A conviction takes nobody out of the ceremony under
//! way. A statement of whose registration has lapsed is refused, and its complaint dropped at the end of `Deliver` if nothing was delivered on
//! it. A ceremony that governance cancels is followed by one of another set, of the same era, whose attempts are numbered on; only who is
//! registered and not convicted has a seat of it. Does not: verify evidence, punish, charge, elect by stake, or give up after readmissions.

use crate::members::GENESIS;
use phala_crypto::signature::ed25519;
use phala_protocol::{
    ceremony::{
        end_phase, is_complete, take, Attachment, CeremonyRecord, Circumstances, Confirmed, Ended, Next, Phase,
        SignedStatement, LEAST_PHASE_BLOCKS,
    },
    chain_state::RootRecord,
    ids::BlockNumber,
    WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of each phase: a few more than it takes at least.
pub const PHASE_BLOCKS: BlockNumber = 24;

/// The chain.
pub struct Chain {
    /// The newest block.
    pub block: BlockNumber,
    /// The ceremony.
    pub record: CeremonyRecord,
    /// The first attempt of this ceremony.
    pub first_attempt: u32,
    /// Who had the seats of ceremonies that governance cancelled, each with its first attempt, oldest first.
    pub former: Vec<(u32, Vec<WorkerId>)>,
    /// Who is registered as a gatekeeper, and since which block.
    pub registered: BTreeMap<WorkerId, BlockNumber>,
    /// The root, once it is made.
    pub root: Option<RootRecord>,
    /// The keys that all confirmed, of which it is one.
    pub confirmed: Option<Confirmed>,
    /// How the phases ended, with the attempt of each.
    pub ended: Vec<(u32, Ended)>,
    /// Whether the ceremony ended without a root.
    pub abandoned: bool,
    /// Gatekeepers that a threshold rejected, or that were shown to have contradicted themselves.
    pub convicted: BTreeSet<WorkerId>,
    /// Everything that was ever submitted, taken or not: it is public.
    pub public: Vec<(SignedStatement, Option<Attachment>)>,
    /// What stands on chain beside a statement of the seat of this index, with the attempt.
    pub attached: Vec<(u32, u16, Attachment)>,
}

impl Chain {
    /// A chain that elects `seats` for `era` in its next block. They are registered.
    pub fn new(era: u32, seats: Vec<WorkerId>) -> Self {
        let mut record = CeremonyRecord::new(era, 0, &seats);
        record.begin(Phase::Commit, 1, PHASE_BLOCKS);
        Self {
            block: 0,
            record,
            first_attempt: 0,
            former: Vec::new(),
            registered: seats.iter().map(|seat| (*seat, 0)).collect(),
            root: None,
            confirmed: None,
            ended: Vec::new(),
            abandoned: false,
            convicted: BTreeSet::new(),
            public: Vec::new(),
            attached: Vec::new(),
        }
    }

    /// Takes a statement with what stands beside it, or says why not.
    pub fn submit(&mut self, signed: &SignedStatement, beside: Option<&Attachment>) -> Result<(), String> {
        self.public.push((*signed, beside.cloned()));
        if self.is_over() || (signed.era, signed.attempt) != (self.record.era, self.record.attempt) {
            return Err("of another attempt".to_owned());
        }
        let record = &mut self.record;
        let seat = record.seat(signed.index).ok_or("no such seat")?;
        if !self.registered.contains_key(&seat.gatekeeper) {
            return Err("not of an active gatekeeper".to_owned());
        }
        ed25519::verify(&seat.gatekeeper.0, &signed.signing_payload(&GENESIS), &signed.signature)
            .map_err(|_| "not signed by the seat")?;
        let announced = match beside {
            Some(Attachment::Key(key)) => {
                ed25519::verify(&seat.gatekeeper.0, &key.signing_payload(&GENESIS), &key.signature).is_ok()
            }
            _ => false,
        };
        let circumstances = Circumstances { genesis: GENESIS, now: self.block, announced };
        take(record, signed.index, &signed.statement, beside, &circumstances).map_err(|refused| refused.to_string())?;
        self.attached.extend(beside.map(|beside| (signed.attempt, signed.index, beside.clone())));
        Ok(())
    }

    /// Takes the proof that a seat contradicted itself, whether either statement was ever taken or not; or says why it is none.
    pub fn report(&mut self, first: &SignedStatement, second: &SignedStatement) -> Result<(), String> {
        let place = |signed: &SignedStatement| (signed.era, signed.attempt, signed.index);
        if place(first) != place(second) || !first.statement.contradicts(&second.statement) {
            return Err("no contradiction".to_owned());
        }
        let gatekeeper = self.seated(first).ok_or("no such seat")?;
        if self.convicted.contains(&gatekeeper) {
            return Err("convicted already".to_owned());
        }
        for signed in [first, second] {
            ed25519::verify(&gatekeeper.0, &signed.signing_payload(&GENESIS), &signed.signature)
                .map_err(|_| "not signed by the seat")?;
        }
        self.convicted.insert(gatekeeper);
        Ok(())
    }

    /// Who had the seat that this statement names in the attempt that it names, of whichever set.
    pub fn seated(&self, said: &SignedStatement) -> Option<WorkerId> {
        if said.era != self.record.era {
            return None;
        }
        if said.attempt >= self.first_attempt {
            return self.record.seat(said.index).map(|seat| seat.gatekeeper);
        }
        let (_, seats) = self.former.iter().rev().find(|(first, _)| *first <= said.attempt)?;
        seats.get(usize::from(said.index).checked_sub(1)?).copied()
    }

    /// Registers a gatekeeper, for the first time or again.
    pub fn register(&mut self, gatekeeper: WorkerId) {
        self.registered.insert(gatekeeper, self.block);
    }

    /// The registration of a gatekeeper ends.
    pub fn lapse(&mut self, gatekeeper: &WorkerId) {
        self.registered.remove(gatekeeper);
    }

    /// The seats of the ceremony whose registrations have lapsed.
    pub fn away(&self) -> BTreeSet<u16> {
        let seats = (1..).zip(&self.record.seats);
        let lapsed = seats.filter(|(_, seat)| !self.registered.contains_key(&seat.gatekeeper));
        lapsed.map(|(index, _)| index).collect()
    }

    /// Governance cancels the ceremony, and another one begins for the same era among `seats`; or says why not, and then nothing changed.
    pub fn elect_anew(&mut self, seats: &[WorkerId]) -> Result<(), String> {
        if self.is_over() {
            return Err("nothing to cancel".to_owned());
        }
        if seats.iter().any(|seat| !self.registered.contains_key(seat) || self.convicted.contains(seat)) {
            return Err("not an active gatekeeper of a validator".to_owned());
        }
        if seats.iter().collect::<BTreeSet<_>>().len() != seats.len() {
            return Err("one has two seats".to_owned());
        }
        let attempt = self.record.attempt.checked_add(1).ok_or("no attempt is left")?;
        let former = self.record.seats.iter().map(|seat| seat.gatekeeper).collect();
        self.former.push((self.first_attempt, former));
        self.first_attempt = attempt;
        self.record = CeremonyRecord::new(self.record.era, attempt, seats);
        self.record.begin(Phase::Commit, self.block, PHASE_BLOCKS);
        Ok(())
    }

    /// Drops complaints of those to whom nobody could seal, as the pallet does.
    fn drop_undeliverable(&mut self) {
        let in_reach = |gatekeeper: &WorkerId| {
            let since = self.registered.get(gatekeeper);
            since.is_some_and(|since| since.saturating_add(LEAST_PHASE_BLOCKS) <= self.block)
        };
        let accusers = (1u16..).zip(&self.record.seats).filter(|(_, seat)| seat.key.is_some());
        let out_of_reach: BTreeSet<u16> =
            accusers.filter(|(_, seat)| !in_reach(&seat.gatekeeper)).map(|(index, _)| index).collect();
        let complaints = &mut self.record.complaints;
        complaints.retain(|complaint| complaint.delivered.is_some() || !out_of_reach.contains(&complaint.accuser));
    }

    /// The next block.
    pub fn tick(&mut self) {
        self.block += 1;
        if self.is_over() || (self.block <= self.record.until && !is_complete(&self.record)) {
            return;
        }
        let attempt = self.record.attempt;
        if self.record.phase == Phase::Deliver {
            self.drop_undeliverable();
        }
        let ended = end_phase(&mut self.record);
        let wrong = ended.convicted.iter().filter_map(|index| self.record.seat(*index));
        self.convicted.extend(wrong.map(|seat| seat.gatekeeper));
        match ended.next {
            Next::Begin(phase) => self.record.begin(phase, self.block, PHASE_BLOCKS),
            Next::Root(keys) => {
                self.confirmed = Some(keys);
                self.root = Some(RootRecord {
                    era: self.record.era,
                    threshold: self.record.threshold,
                    seats: self.record.seats.iter().map(|seat| seat.gatekeeper).collect(),
                    share_list: keys.share_list,
                });
            }
            Next::Abandoned => self.abandoned = true,
        }
        self.ended.push((attempt, ended));
    }

    /// Whether there is no ceremony any more.
    pub fn is_over(&self) -> bool {
        self.root.is_some() || self.abandoned
    }
}
