//! The chain's part in ceremonies of identities: the rules of `phala_protocol::identities`, which the pallet applies too, with signatures and
//! blocks.
//!
//! Guarantees: a statement is taken only under the signature of the dealer or holder that it speaks for, for the attempt under way, and by
//! [`take`]; a phase ends after its last block, or after all said what it asks, and what follows is what [`end_phase`] says; the record changes
//! only by [`show`]. Attempts of a set that is elected after a cancelled ceremony are numbered on. Does not: punish, charge, elect by stake, drop
//! complaints of whose registration has lapsed, or say when keys are made.

use crate::{chain::PHASE_BLOCKS, members::GENESIS};
use phala_crypto::signature::ed25519;
use phala_protocol::{
    ceremony::{Attachment, Circumstances, Phase},
    identities::{
        end_phase, is_complete, show, take, IdentityCeremonyRecord, IdentityEnded, IdentityNext, IdentityRecord,
        SignedIdentityStatement,
    },
    ids::BlockNumber,
    WorkerId,
};

/// An attempt: the era whose set receives, and its number.
pub type Place = (u32, u32);

/// The attempt of a ceremony's record.
pub fn place_of(record: &IdentityCeremonyRecord) -> Place {
    (record.era, record.attempt)
}

/// The chain.
#[derive(Default)]
pub struct Chain {
    /// The newest block.
    pub block: BlockNumber,
    /// The network's identities, once they are made.
    pub record: Option<IdentityRecord>,
    /// The ceremony under way.
    pub ceremony: Option<IdentityCeremonyRecord>,
    /// The first attempt of the set that receives.
    pub first_attempt: u32,
    /// How the phases of that set ended, with the record as it was before.
    pub ended: Vec<(IdentityCeremonyRecord, IdentityEnded)>,
    /// What stands on chain beside a statement, with its attempt and the speaker's index.
    pub attached: Vec<(Place, u16, Attachment)>,
}

impl Chain {
    /// A set is elected that receives the keys, or makes them, from the next block on; a ceremony under way is cancelled.
    pub fn elect(&mut self, era: u32, holders: &[WorkerId]) {
        let same = self.ceremony.as_ref().filter(|ceremony| ceremony.era == era);
        self.first_attempt = same.map_or(0, |ceremony| ceremony.attempt + 1);
        let mut ceremony =
            IdentityCeremonyRecord::new(era, self.first_attempt, self.record.as_ref(), holders, |_| true);
        ceremony.begin(Phase::Commit, self.block + 1, PHASE_BLOCKS);
        self.ceremony = Some(ceremony);
        self.ended.clear();
        self.attached.clear();
    }

    /// Governance cancels: whoever has the keys has them on.
    pub fn cancel(&mut self) {
        self.ceremony = None;
    }

    /// Takes a statement with what stands beside it, or says why not.
    pub fn submit(&mut self, signed: &SignedIdentityStatement, beside: Option<&Attachment>) -> Result<(), String> {
        let ceremony = self.ceremony.as_mut().ok_or("no ceremony")?;
        if (signed.era, signed.attempt) != place_of(ceremony) {
            return Err("of another attempt".to_owned());
        }
        let speaker = if signed.statement.is_of_dealer() {
            ceremony.dealer(signed.index).map(|dealer| dealer.gatekeeper)
        } else {
            ceremony.holder(signed.index).map(|holder| holder.gatekeeper)
        };
        let speaker = speaker.ok_or("no such dealer or holder")?;
        ed25519::verify(&speaker.0, &signed.signing_payload(&GENESIS), &signed.signature)
            .map_err(|_| "not signed by whom it is of")?;
        let announced = match beside {
            Some(Attachment::Key(key)) => {
                ed25519::verify(&speaker.0, &key.signing_payload(&GENESIS), &key.signature).is_ok()
            }
            _ => false,
        };
        let circumstances = Circumstances { genesis: GENESIS, now: self.block, announced };
        take(ceremony, signed.index, &signed.statement, beside, &circumstances)
            .map_err(|refused| refused.to_string())?;
        let place = (signed.era, signed.attempt);
        self.attached.extend(beside.map(|beside| (place, signed.index, beside.clone())));
        Ok(())
    }

    /// Takes the record that the holders agreed on, or says why not.
    pub fn show(&mut self, shown: &IdentityRecord) -> Result<(), String> {
        let ceremony = self.ceremony.as_ref().ok_or("no ceremony")?;
        show(ceremony, shown, self.record.as_ref()).map_err(|refused| refused.to_string())?;
        self.record = Some(shown.clone());
        self.ceremony = None;
        Ok(())
    }

    /// The next block. Says whether the ceremony is given up in it.
    pub fn tick(&mut self) -> bool {
        self.block += 1;
        let Some(ceremony) = self.ceremony.as_mut() else { return false };
        if self.block <= ceremony.until && !is_complete(ceremony) {
            return false;
        }
        let before = ceremony.clone();
        let ended = end_phase(ceremony);
        let given_up = match ended.next {
            IdentityNext::Begin(phase) => {
                ceremony.begin(phase, self.block, PHASE_BLOCKS);
                false
            }
            IdentityNext::Agreed(_) => {
                // So long it is awaited.
                ceremony.begin(before.phase, self.block, PHASE_BLOCKS);
                false
            }
            IdentityNext::GivenUp => true,
        };
        if given_up {
            self.ceremony = None;
        }
        self.ended.push((before, ended));
        given_up
    }
}
