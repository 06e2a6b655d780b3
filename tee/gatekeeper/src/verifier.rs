//! What was verified of machines, kept: signatures over the same bytes are verified once.
//!
//! A machine shows the same evidence and the same collateral epoch after epoch, and machines of one model the same collateral. What is
//! costly in judging them - some ten ECDSA signatures - is a function of those bytes alone; everything else is not, and is asked anew for
//! every inquiry: time, terms, advisories, bans, caps, the allow-list, the records.
//!
//! Guarantees: [`Verifier::verify`] holds exactly when it would with an empty memory, and refuses with the same refusal. What is kept is
//! found by hashes of the bytes that are shown now, and never by what a machine says of itself. A verdict, and the collateral with it, is
//! kept only once everything about its machine held, so that strangers push nothing out; of each identity there is one of either, so that
//! a machine with many quotes, or with one collateral in many encodings, pushes out its own. Both memories are bounded, and neither leaves
//! the process.
//!
//! The asker controls evidence and collateral, the host what reaches this and when it begins empty again. Does not: keep many registered
//! machines together from pushing out others, which are then verified anew, as at first contact. Nor hide, from whoever times answers,
//! whether a machine was verified before.

use crate::{
    policy::{Facts, Presented, Refusal},
    recent::Recent,
};
use codec::{DecodeAll, Encode};
use phala_attest::{
    verify_collateral, Collateral, Evidence, Policy, Root, TrustAnchor, Verdict, VerifiedCollateral, VerifiedReport,
};
use phala_protocol::{hash::blake2_256, ids::WorkerId, Hash};

/// Verified collaterals that are kept at most: a network has one for each model of processor, and for each time that it was fetched.
pub const MOST_COLLATERALS: usize = 16;
/// Verdicts that are kept at most. All workers of a network ask each gatekeeper once an epoch, in about the same order: a memory for fewer
/// of them would have forgotten each before its turn. This is for more than 100,000.
pub const MOST_VERDICTS: usize = 1 << 17;
/// Bytes of memory that verdicts take at most, without what the maps around them add.
pub const MOST_VERDICT_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of memory that collaterals take at most, counted by their encoding.
const MOST_COLLATERAL_BYTES: usize = 4 * 1024 * 1024;

/// Which bytes a verdict is of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shown {
    evidence: Hash,
    collateral: Hash,
}

/// A verdict, and what it is of.
struct Known {
    shown: Shown,
    verdict: Verdict,
}

/// A collateral, kept for whoever shows the same bytes.
struct Held {
    /// Of its bytes.
    hash: Hash,
    collateral: VerifiedCollateral,
}

/// How often something was verified from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verifications {
    /// Collaterals.
    pub collaterals: u64,
    /// Evidence.
    pub evidence: u64,
}

/// Verifies machines, and keeps what it verified.
pub struct Verifier {
    /// By the machine that brought it.
    collaterals: Recent<WorkerId, Held>,
    verdicts: Recent<WorkerId, Known>,
    done: Verifications,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::with_room(MOST_VERDICTS, MOST_VERDICT_BYTES)
    }
}

impl Verifier {
    /// One that has seen nothing, with room for so many verdicts of so many bytes together.
    pub fn with_room(verdicts: usize, bytes: usize) -> Self {
        Self {
            collaterals: Recent::new(MOST_COLLATERALS, MOST_COLLATERAL_BYTES),
            verdicts: Recent::new(verdicts, bytes),
            done: Verifications::default(),
        }
    }

    /// How often it verified something from its first byte.
    pub fn verifications(&self) -> Verifications {
        self.done
    }

    /// How many machines' verdicts it keeps.
    pub fn machines(&self) -> usize {
        self.verdicts.len()
    }

    /// Bytes of memory that those verdicts take, without what the maps around them add.
    pub fn verdict_bytes(&self) -> usize {
        self.verdicts.bytes()
    }

    /// Judges a machine's evidence, then `the_rest` about it, and keeps the verdict if all holds.
    pub(crate) fn verify(
        &mut self,
        machine: &Presented<'_>,
        facts: &Facts,
        the_rest: impl FnOnce(&Verdict, &VerifiedReport) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let shown = Shown { evidence: blake2_256(machine.evidence), collateral: blake2_256(machine.collateral) };
        let known = self.verdicts.get(&machine.identity).filter(|known| known.shown == shown);
        // Collateral out of its time is refused as collateral, by whoever verifies it.
        if let Some(known) = known.filter(|known| known.verdict.documents_are_good_at(facts.now)) {
            return the_rest(&known.verdict, judge(&known.verdict, facts)?);
        }
        let held = self.collaterals.find(|held| held.hash == shown.collateral);
        let (fresh, verdict) = match held.filter(|held| held.collateral.is_good_at(facts.now)) {
            Some(held) => {
                // Where its root counts no more nothing is verified, as if the collateral had just been shown.
                policy_for(held.collateral.root(), facts)?;
                (None, verdict_of(machine.evidence, &held.collateral, facts))
            }
            None => {
                self.done.collaterals = self.done.collaterals.saturating_add(1);
                let fresh = collateral_of(machine.collateral, facts)?;
                let verdict = verdict_of(machine.evidence, &fresh, facts);
                (Some(fresh), verdict)
            }
        };
        self.done.evidence = self.done.evidence.saturating_add(1);
        let verdict = verdict?;
        the_rest(&verdict, judge(&verdict, facts)?)?;
        if let Some(collateral) = fresh {
            let bytes = collateral.encoded_size();
            self.collaterals.put(machine.identity, Held { hash: shown.collateral, collateral }, bytes);
        }
        let bytes = size_of::<Known>().saturating_sub(size_of::<Verdict>()).saturating_add(verdict.memory_bytes());
        self.verdicts.put(machine.identity, Known { shown, verdict }, bytes);
        Ok(())
    }
}

/// What a verdict says by the facts' time and terms.
fn judge<'a>(verdict: &'a Verdict, facts: &Facts) -> Result<&'a VerifiedReport, Refusal> {
    verdict.holds(&policy_for(verdict.origin().root, facts)?, facts.now).map_err(|_| Refusal::Evidence)
}

/// The policy for what ends in `root`: the development root is one on a development network alone.
fn policy_for(root: Root, facts: &Facts) -> Result<Policy, Refusal> {
    let anchor = match root {
        Root::Intel => TrustAnchor::Intel,
        Root::InsecureDevelopment => {
            facts.development.map(TrustAnchor::InsecureDevelopment).ok_or(Refusal::Collateral)?
        }
    };
    Ok(Policy { anchor, terms: facts.terms })
}

/// Verifies collateral from its first byte.
fn collateral_of(bytes: &[u8], facts: &Facts) -> Result<VerifiedCollateral, Refusal> {
    let raw = Collateral::decode_all(&mut &bytes[..]).map_err(|_| Refusal::Collateral)?;
    let anchor = facts.development.map_or(TrustAnchor::Intel, TrustAnchor::InsecureDevelopment);
    verify_collateral(&raw, &anchor, facts.now)
        .or_else(|_| verify_collateral(&raw, &TrustAnchor::Intel, facts.now))
        .map_err(|_| Refusal::Collateral)
}

/// Verifies evidence from its first byte.
fn verdict_of(bytes: &[u8], collateral: &VerifiedCollateral, facts: &Facts) -> Result<Verdict, Refusal> {
    let policy = policy_for(collateral.root(), facts)?;
    let evidence = Evidence::decode_all(&mut &bytes[..]).map_err(|_| Refusal::Evidence)?;
    Verdict::of(&evidence, collateral, &policy, facts.now).map_err(|_| Refusal::Evidence)
}
