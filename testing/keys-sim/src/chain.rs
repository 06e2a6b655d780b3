//! The chain's part in a ceremony: the rules of `phala_protocol::ceremony`, which the pallet applies too, with signatures and blocks.
//!
//! Guarantees: a statement is taken only under its seat's signature, for the attempt under way, and by [`take`], with what stands
//! beside it, which everybody can read from then on; a phase ends after its
//! last block, or after all that take part said what it asks, and what follows is what [`end_phase`] says. Does not: register, punish,
//! charge, or cancel.

use crate::members::GENESIS;
use phala_crypto::signature::ed25519;
use phala_protocol::{
    ceremony::{
        end_phase, is_complete, take, Attachment, CeremonyRecord, Circumstances, Confirmed, Ended, Next, Phase,
        SignedStatement,
    },
    chain_state::RootRecord,
    ids::BlockNumber,
    WorkerId,
};

/// Blocks of each phase: a few more than it takes at least.
pub const PHASE_BLOCKS: BlockNumber = 24;

/// The chain.
pub struct Chain {
    /// The newest block.
    pub block: BlockNumber,
    /// The ceremony.
    pub record: CeremonyRecord,
    /// The root, once it is made.
    pub root: Option<RootRecord>,
    /// The keys that all confirmed, of which it is one.
    pub confirmed: Option<Confirmed>,
    /// How the phases ended, with the attempt of each.
    pub ended: Vec<(u32, Ended)>,
    /// Whether the ceremony ended without a root.
    pub abandoned: bool,
    /// Everything that was ever submitted, taken or not: it is public.
    pub public: Vec<(SignedStatement, Option<Attachment>)>,
    /// What stands on chain beside a statement of the seat of this index, with the attempt.
    pub attached: Vec<(u32, u16, Attachment)>,
}

impl Chain {
    /// A chain that elects `seats` for `era` in its next block.
    pub fn new(era: u32, seats: Vec<WorkerId>) -> Self {
        let mut record = CeremonyRecord::new(era, 0, &seats);
        record.begin(Phase::Commit, 1, PHASE_BLOCKS);
        Self {
            block: 0,
            record,
            root: None,
            confirmed: None,
            ended: Vec::new(),
            abandoned: false,
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

    /// The next block.
    pub fn tick(&mut self) {
        self.block += 1;
        if self.is_over() || (self.block <= self.record.until && !is_complete(&self.record)) {
            return;
        }
        let attempt = self.record.attempt;
        let ended = end_phase(&mut self.record);
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

    fn is_over(&self) -> bool {
        self.root.is_some() || self.abandoned
    }
}
