//! Which shares of identities this gatekeeper has, in memory and in the machine's sealed store: `phala_gatekeeper::identity::Custody`
//! between the chain's record and the disk.
//!
//! Guarantees: what a ceremony gives is sealed when [`Custodian::expect`] returns without an error, which is before a confirmation of it
//! may leave. What the head's record leaves no use for is out of memory in the same step, whether or not the disk obeys, and so is what
//! an attempt gave that is given up ([`Custodian::give_up`]); the disk is tried until it does. Where nothing is left the machine forgets
//! all of it. What another version kept, or nobody can read, is none.
//!
//! The host controls the disk and when records arrive: it can put former shares back, which are dropped again at a head whose record is
//! another's, and sign nothing before that (`signing.rs`). It can lose shares, which then count among those that may be missing.

use super::Sight;
use crate::{
    chain::{Chain, ChainError, Records, Shown},
    machine::{Machine, MachineFault},
    tee::{DeliveryError, Notice},
};
use phala_gatekeeper::identity::{ceremony::Outcome, Change, Custody, CustodyError, Held};
use phala_protocol::{identities::IdentityRecord, storage};

/// How a gatekeeper stands as a holder of identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustodyHealth {
    /// The era of the set that holds them.
    pub era: u32,
    /// The gatekeeper's index among its holders.
    pub index: u16,
}

/// Keeps the shares.
pub(super) struct Custodian {
    name: String,
    custody: Custody,
    /// The machine keeps something else.
    unsealed: bool,
    /// It keeps what was given up.
    given_up: bool,
    /// The era of which it was said that its shares are not here.
    lost: Option<u32>,
}

impl Custodian {
    /// What this machine keeps for `chain`.
    pub(super) fn open(chain: &Chain, machine: &dyn Machine) -> Result<Self, MachineFault> {
        let name = format!("custody-{}", chain.name());
        let kept = machine.kept(&name)?;
        let custody = kept.and_then(|bytes| Custody::from_secret_bytes(&bytes).ok()).unwrap_or_default();
        Ok(Self { name, custody, unsealed: false, given_up: false, lost: None })
    }

    /// What signs, and hands over.
    pub(super) fn held(&self) -> Option<&Held> {
        self.custody.held()
    }

    pub(super) fn health(&self) -> Option<CustodyHealth> {
        let held = self.held()?;
        Some(CustodyHealth { era: held.record().era, index: held.shares().index() })
    }

    /// Looks at the chain's record, if the proof shows it. Without one there is nothing to be dropped for: there are no identities, or
    /// the head is of the time before.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let seen = self.look(records, sight, notices).map_err(DeliveryError::from);
        // Whatever was seen: what an earlier head had dropped may still be on the disk.
        let settled = self.settle(sight.machine).map_err(DeliveryError::from);
        seen.and(settled)
    }

    fn look(&mut self, records: &Records<'_>, sight: &Sight<'_>, notices: &mut Vec<Notice>) -> Result<(), ChainError> {
        let Shown::Value(record) = records.get::<IdentityRecord>(&storage::identity_key())? else { return Ok(()) };
        let (era, had) = (record.era, !self.custody.is_empty());
        match self.custody.observe(&sight.identity.id(), &record) {
            Change::None => {}
            Change::Received => {
                self.unsealed = true;
                notices.push(Notice::IdentitiesReceived { era });
            }
            Change::Dropped => {
                self.unsealed = true;
                notices.push(Notice::IdentitiesDropped { era });
            }
            // The library says so at each head.
            Change::Lost => {
                self.unsealed |= had;
                if self.lost.replace(era) != Some(era) {
                    notices.push(Notice::IdentitiesLost { era });
                }
            }
        }
        Ok(())
    }

    /// Keeps what a ceremony gave until the chain has its record. Sealed when this returns without an error.
    pub(super) fn expect(
        &mut self,
        outcome: &Outcome,
        machine: &dyn Machine,
    ) -> Result<Result<(), CustodyError>, MachineFault> {
        if !self.custody.expects(&outcome.record) {
            if let Err(error) = self.custody.expect(outcome) {
                return Ok(Err(error));
            }
            self.unsealed = true;
        }
        self.settle(machine).map(Ok)
    }

    /// Drops what an attempt gave that is given up: the chain never has its record.
    pub(super) fn give_up(&mut self) {
        if self.custody.give_up() {
            (self.unsealed, self.given_up) = (true, true);
        }
    }

    /// What was given up is gone from the machine too when this returns without an error.
    pub(super) fn settle_given_up(&mut self, machine: &dyn Machine) -> Result<(), MachineFault> {
        if self.given_up {
            self.settle(machine)?;
        }
        Ok(())
    }

    /// Brings the machine in line with the memory.
    fn settle(&mut self, machine: &dyn Machine) -> Result<(), MachineFault> {
        if !self.unsealed {
            return Ok(());
        }
        if self.custody.is_empty() {
            machine.forget(&self.name)?;
        } else {
            machine.keep(&self.name, &self.custody.to_secret_bytes())?;
        }
        (self.unsealed, self.given_up) = (false, false);
        Ok(())
    }
}
