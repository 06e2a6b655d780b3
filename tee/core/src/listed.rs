//! A gatekeeper's sealed memory of the measurement allow-list, fed from proofs against its own finalised heads.
//!
//! Guarantees: what stands in it was proved; what it forgets only lengthens a delay. It is kept when it says something new, and from time to
//! time while nothing changes, so that a restart is no longer absence than it was. A development network needs no memory: there is no delay
//! on it. The host chooses which entries it shows beside those that are asked for, and whether sealing succeeds.

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    machine::{Machine, MachineFault},
    rules::Allowance,
};
use phala_crypto::Secret;
use phala_gatekeeper::Sightings;
use phala_protocol::{attestation::Listing, chain_state::AllowedMeasurement, ids::BlockNumber, storage, Hash};

/// Name of the sealed memory.
const NAME: &str = "listed";
/// Blocks after which it is kept although nothing changed: a part of the gap that counts as absence.
const KEEP_BLOCKS: BlockNumber = 600;

/// The memory, and whether it is kept.
#[derive(Default)]
pub(crate) struct Listed {
    name: String,
    sightings: Sightings,
    kept_at: BlockNumber,
    /// It says something that is not kept yet.
    due: bool,
}

impl Listed {
    /// What this machine remembers of `chain`; nothing, if it keeps nothing or what another version kept.
    pub(crate) fn open(chain: &Chain, machine: &dyn Machine) -> Result<Self, MachineFault> {
        let name = format!("{NAME}-{}", chain.name());
        let kept = machine.kept(&name)?;
        let sightings = kept.and_then(|bytes| Sightings::from_bytes(bytes.expose())).unwrap_or_default();
        Ok(Self { name, sightings, ..Self::default() })
    }

    /// Keys of the entries that it remembers, to see whether they still stand.
    pub(crate) fn wanted_keys(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.sightings.measurements().flat_map(Allowance::wanted_keys)
    }

    /// Takes what the head's state shows of the allow-list.
    pub(crate) fn observe(
        &mut self,
        records: &Records<'_>,
        chain: &Chain,
        machine: &dyn Machine,
    ) -> Result<(), ChainError> {
        if chain.development().is_some() {
            return Ok(());
        }
        let (head, _) = chain.head();
        let remembered: Vec<Hash> = self.sightings.measurements().copied().collect();
        for measurement in remembered {
            let shown = records.get::<AllowedMeasurement>(&storage::measurement_key(&measurement))?;
            if matches!(shown, Shown::Absent) {
                self.due |= self.sightings.observe(&measurement, None, head);
            }
        }
        for (measurement, entry) in records.listed()? {
            // For which role it is listed is part of what is seen: an entry without its listing shows nothing.
            let listing = match records.get::<Listing>(&storage::listing_key(&measurement))? {
                Shown::Nothing => continue,
                shown => shown.value(),
            };
            self.due |= self.sightings.observe(&measurement, listing.as_ref().map(|listing| (&entry, listing)), head);
        }
        let stale = !self.sightings.is_empty() && head.saturating_sub(self.kept_at) >= KEEP_BLOCKS;
        // A disk that fails is tried again with the next delivery; until then a restart forgets, which only lengthens delays.
        if (self.due || stale) && machine.keep(&self.name, &Secret::new(self.sightings.to_bytes())).is_ok() {
            self.due = false;
            self.kept_at = head;
        }
        Ok(())
    }

    /// Since which finalised block this gatekeeper has seen what is allowed.
    pub(crate) fn since(&self, measurement: &Hash, allowance: &Allowance) -> Option<BlockNumber> {
        self.sightings.since(measurement, allowance.entry.as_ref()?, allowance.listing.as_ref()?)
    }
}
