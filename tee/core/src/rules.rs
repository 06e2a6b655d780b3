//! What the head's state says about evidence: the rules that hold whosoever it is, and what it says of one measurement.
//!
//! Guarantees: each is whole or absent; what a proof does not show is never taken for empty. The host decides when a proof shows them.

use crate::chain::{ChainError, Records, Shown};
use phala_attest::{AdvisoryPolicy, Bans, PolicyTerms};
use phala_protocol::{attestation::Listing, chain_state::AllowedMeasurement, storage, Hash};

/// The rules.
pub(crate) struct Rules {
    /// Chain time in Unix seconds.
    pub(crate) now: u64,
    pub(crate) terms: PolicyTerms,
    pub(crate) advisories: AdvisoryPolicy,
    pub(crate) bans: Bans,
    /// The highest evaluation number of collateral; none where governance has set none.
    pub(crate) evaluation_cap: Option<u32>,
}

impl Rules {
    /// Nothing unless the proof shows all of them: what is not shown is not empty.
    pub(crate) fn of(records: &Records<'_>) -> Result<Option<Self>, ChainError> {
        let shown = (records.now()?, records.terms()?, records.advisories()?, records.bans()?);
        let (Some(now), Some(terms), Some(advisories), Some(bans)) = shown else { return Ok(None) };
        let evaluation_cap = match records.get::<u32>(&storage::EVALUATION_CAP)? {
            Shown::Nothing => return Ok(None),
            shown => shown.value(),
        };
        Ok(Some(Self { now, terms, advisories, bans, evaluation_cap }))
    }

    /// The keys under which they stand, beside chain time.
    pub(crate) fn wanted_keys() -> [Vec<u8>; 4] {
        [storage::TERMS, storage::BANS, storage::ADVISORIES, storage::EVALUATION_CAP].map(|key| key.to_vec())
    }
}

/// What the allow-list says of a measurement: its entry, and what governance said when it listed it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    pub(crate) entry: Option<AllowedMeasurement>,
    pub(crate) listing: Option<Listing>,
}

impl Allowance {
    /// Nothing unless the proof shows both, or that there is none.
    pub(crate) fn of(records: &Records<'_>, measurement: &Hash) -> Result<Option<Self>, ChainError> {
        let entry = records.get::<AllowedMeasurement>(&storage::measurement_key(measurement))?;
        let listing = records.get::<Listing>(&storage::listing_key(measurement))?;
        if entry == Shown::Nothing || listing == Shown::Nothing {
            return Ok(None);
        }
        Ok(Some(Self { entry: entry.value(), listing: listing.value() }))
    }

    /// The keys under which it stands.
    pub(crate) fn wanted_keys(measurement: &Hash) -> [Vec<u8>; 2] {
        [storage::measurement_key(measurement), storage::listing_key(measurement)]
    }
}
