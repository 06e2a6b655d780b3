//! What must hold of identities after every block, by name; and INSECURE: with all shares in one place, which nobody in the network has.
//!
//! Guarantees: a set of a threshold of the present holders is put together after each block, another one each time, and so are mixtures of two
//! sets' shares, and one share fewer than it takes with whatever was public: all that are there have had their turn before one has it again. Does not: invert a
//! discrete logarithm, or count what else a coalition knows, beyond that honest dealers publish nothing to whoever does not lie.

use super::chain::{place_of, Chain, Place};
use crate::invariants::{subsets, Violation, NAMES};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::Secret;
use phala_gatekeeper::identity::{verify_identities, EdwardsPoint, Group, IdentityShares, RistrettoPoint};
use phala_protocol::{
    ceremony::{tolerated, Phase},
    identities::{IdentityCeremonyRecord, IdentityNext, IdentityPoints, IdentityRecord},
    Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Public keys never change, and any threshold of the holders has what belongs to them.
pub const KEEP_THEIR_KEYS: &str = NAMES[10];
/// Shares of two sets do not add up, nor fewer than it takes with all that was public.
pub const FORMER_CANNOT_SIGN: &str = NAMES[11];
/// While no more lie than may, a ceremony ends with a record.
pub const LIVENESS: &str = NAMES[12];
/// An attempt gives one record.
pub const ONE_RECORD: &str = NAMES[13];

/// Times that the next sets are tried at the end of a ceremony, beside those after each block.
const AT_THE_END: usize = 12;

/// One holder's shares of both keys: of Ed25519, then of sr25519.
pub type Pair = [[u8; 32]; 2];

/// The shares of one record. INSECURE.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The record.
    pub record: IdentityRecord,
    /// Shares, by the holder's index.
    pub shares: BTreeMap<u16, Pair>,
}

impl Sharing {
    fn of(&self, indices: &[u16]) -> Vec<(u16, Pair)> {
        indices.iter().filter_map(|index| Some((*index, *self.shares.get(index)?))).collect()
    }

    fn indices(&self) -> Vec<u16> {
        self.shares.keys().copied().collect()
    }

    fn threshold(&self) -> usize {
        self.record.threshold.into()
    }
}

/// The two points whose secrets the polynomials through these shares have at 0.
pub fn put_together(shares: &[(u16, Pair)]) -> IdentityPoints {
    let (mut ed25519, mut sr25519) = (Scalar::ZERO, Scalar::ZERO);
    for (own, [first, second]) in shares {
        let (mut above, mut below) = (Scalar::ONE, Scalar::ONE);
        for (other, _) in shares.iter().filter(|(other, _)| other != own) {
            let (at, other) = (Scalar::from(*own), Scalar::from(*other));
            above *= other;
            below *= other - at;
        }
        let weight = above * below.invert();
        ed25519 += weight * Scalar::from_bytes_mod_order(*first);
        sr25519 += weight * Scalar::from_bytes_mod_order(*second);
    }
    IdentityPoints {
        ed25519: EdwardsPoint::base_times(&ed25519).to_encoding(),
        sr25519: RistrettoPoint::base_times(&sr25519).to_encoding(),
    }
}

/// Whether either of two pairs of points is the other's.
fn have_one_in_common(one: &IdentityPoints, other: &IdentityPoints) -> bool {
    one.ed25519 == other.ed25519 || one.sr25519 == other.sr25519
}

/// What is known of one network's identities from the beginning.
#[derive(Default)]
pub struct Checks {
    keys: Option<IdentityPoints>,
    present: Option<Sharing>,
    former: Vec<Sharing>,
    records: BTreeMap<Place, Hash>,
    shown: BTreeSet<Place>,
    wire: Vec<Pair>,
    turn: usize,
}

impl Checks {
    /// The shares of the set that has the keys, as far as they were seen.
    pub fn present(&self) -> Option<&Sharing> {
        self.present.as_ref()
    }

    /// Notes what became public of somebody's dealing.
    pub fn note_public(&mut self, shares: Pair) {
        if !self.wire.contains(&shares) {
            self.wire.push(shares);
        }
    }

    /// Notes the record that somebody honest confirms in an attempt.
    pub fn note_confirmed(&mut self, place: Place, record: Hash) -> Result<(), Violation> {
        let first = *self.records.entry(place).or_insert(record);
        if first != record {
            return Err(Violation::new(ONE_RECORD, format!("two records in era {} and attempt {}", place.0, place.1)));
        }
        Ok(())
    }

    /// Notes that the chain took a record, out of an attempt.
    pub fn note_shown(&mut self, place: Place, record: &IdentityRecord) -> Result<(), Violation> {
        self.note_confirmed(place, record.hash())?;
        let again = self.shown.iter().any(|(era, _)| *era == place.0);
        if again || !self.shown.insert(place) || record.era != place.0 {
            return Err(Violation::new(ONE_RECORD, format!("a second record in era {}", place.0)));
        }
        Ok(())
    }

    /// Looks at the chain's record, and at the shares that honest and other machines hold `now` of it. Says how many sets were tried.
    pub fn see(&mut self, record: &IdentityRecord, now: BTreeMap<u16, Pair>) -> Result<u64, Violation> {
        let violated = |what: String| Violation::new(KEEP_THEIR_KEYS, what);
        let keys = *self.keys.get_or_insert(record.keys);
        if keys != record.keys {
            return Err(violated(format!("the record of era {} has other keys than the first", record.era)));
        }
        if self.present.as_ref().is_none_or(|present| present.record != *record) {
            let sharing = Sharing { record: record.clone(), shares: BTreeMap::new() };
            self.former.extend(self.present.replace(sharing));
        }
        let Some(present) = self.present.as_mut() else { return Ok(0) };
        for (index, shares) in now {
            if *present.shares.entry(index).or_insert(shares) != shares {
                return Err(violated(format!("holder {index} holds other shares than before")));
            }
        }
        self.try_next()
    }

    /// Tries the next set of each kind.
    fn try_next(&mut self) -> Result<u64, Violation> {
        self.turn = self.turn.wrapping_add(1);
        let Some(present) = self.present.as_ref() else { return Ok(0) };
        let mut tried = gives_the_keys(present, self.turn)?;
        tried += fewer_give_nothing(present, &self.wire, self.turn)?;
        if let Some(former) = self.turn.checked_rem(self.former.len()).and_then(|place| self.former.get(place)) {
            // Each former set has all its turns.
            let turn = self.turn / self.former.len();
            tried += fewer_give_nothing(former, &self.wire, turn)?;
            tried += mixed_give_nothing(former, present, turn)?;
        }
        Ok(tried)
    }

    /// At the end of a ceremony: no former share is one of the present set, and some more sets. Says how many were tried.
    pub fn audit(&mut self) -> Result<u64, Violation> {
        if let Some(present) = &self.present {
            for former in &self.former {
                no_share_is_of_a_later_set(former, present)?;
            }
        }
        let mut tried = 0;
        for _ in 0..AT_THE_END {
            tried += self.try_next()?;
        }
        Ok(tried)
    }
}

/// The one of these whose turn it is.
fn next<T: Clone>(sets: &[T], turn: usize) -> Option<T> {
    turn.checked_rem(sets.len()).and_then(|place| sets.get(place)).cloned()
}

/// Any threshold of the shares has the recorded keys.
pub fn gives_the_keys(sharing: &Sharing, turn: usize) -> Result<u64, Violation> {
    let set = next(&subsets(&sharing.indices(), sharing.threshold()), turn);
    if let Some(set) = &set {
        if put_together(&sharing.of(set)) != sharing.record.keys {
            let what = format!("holders {set:?} of era {} have other keys than the record", sharing.record.era);
            return Err(Violation::new(KEEP_THEIR_KEYS, what));
        }
    }
    Ok(u64::from(set.is_some()))
}

/// One share fewer than it takes has neither key, alone or with anything that was public in the place of the missing one.
pub fn fewer_give_nothing(sharing: &Sharing, wire: &[Pair], turn: usize) -> Result<u64, Violation> {
    let few = next(&subsets(&sharing.indices(), sharing.threshold().saturating_sub(1)), turn);
    let Some(few) = few.filter(|few| !few.is_empty()) else { return Ok(0) };
    let own = sharing.of(&few);
    let all = sharing.record.holders.iter().map(|holder| holder.index);
    let missing: Vec<u16> = all.filter(|index| !few.contains(index)).collect();
    let public = next(wire, turn).zip(next(&missing, turn));
    let with = public.map(|(shares, index)| [own.clone(), vec![(index, shares)]].concat());
    let mut tried = 0;
    for shares in with.into_iter().chain([own]) {
        if have_one_in_common(&put_together(&shares), &sharing.record.keys) {
            let what = format!("holders {few:?} of era {} have a key, who are too few", sharing.record.era);
            return Err(Violation::new(FORMER_CANNOT_SIGN, what));
        }
        tried += 1;
    }
    Ok(tried)
}

/// Shares of a former set and of the present one, as many together as either takes, have neither key.
pub fn mixed_give_nothing(former: &Sharing, present: &Sharing, turn: usize) -> Result<u64, Violation> {
    let mut tried = 0;
    for threshold in BTreeSet::from([former.threshold(), present.threshold()]) {
        // As many of the former set as it is the turn of, and then each of their sets.
        let Some((round, old)) = turn.checked_div(threshold - 1).zip(turn.checked_rem(threshold - 1)) else { continue };
        let Some(kept) = next(&subsets(&former.indices(), old + 1), round) else { continue };
        let others: Vec<u16> = present.indices().into_iter().filter(|index| !kept.contains(index)).collect();
        let Some(new) = next(&subsets(&others, threshold - old - 1), round) else { continue };
        let shares = [former.of(&kept), present.of(&new)].concat();
        if have_one_in_common(&put_together(&shares), &present.record.keys) {
            let eras = (former.record.era, present.record.era);
            let what = format!("holders {kept:?} and {new:?} of eras {eras:?} have a key together");
            return Err(Violation::new(FORMER_CANNOT_SIGN, what));
        }
        tried += 1;
    }
    Ok(tried)
}

/// No share of a former set is taken as one of the present.
pub fn no_share_is_of_a_later_set(former: &Sharing, present: &Sharing) -> Result<(), Violation> {
    let violated = |what: String| Violation::new(FORMER_CANNOT_SIGN, what);
    let keys = verify_identities(&present.record).map_err(|error| violated(error.to_string()))?;
    for (index, [ed25519, sr25519]) in &former.shares {
        let bytes = Secret::<[u8; 64]>::fill(|bytes| bytes.copy_from_slice(&[*ed25519, *sr25519].concat()));
        if IdentityShares::open(&keys, *index, &bytes).is_ok() {
            return Err(violated(format!("holder {index} of era {} has a share of a later set", former.record.era)));
        }
    }
    Ok(())
}

/// Who lies, and in how many parts, as dealer and as holder.
pub fn lying_parts(ceremony: &IdentityCeremonyRecord, liars: &BTreeSet<WorkerId>) -> (usize, usize) {
    let dealers = ceremony.dealers.iter().filter(|dealer| liars.contains(&dealer.gatekeeper)).count();
    let holders = ceremony.holders.iter().filter(|holder| liars.contains(&holder.gatekeeper)).count();
    (dealers, holders)
}

/// Whether no more lie than a ceremony tolerates, of those that deal and of those that receive.
pub fn is_tolerated(ceremony: &IdentityCeremonyRecord, liars: &BTreeSet<WorkerId>) -> bool {
    let (dealers, holders) = lying_parts(ceremony, liars);
    ceremony.dealers.len().saturating_sub(dealers) >= usize::from(ceremony.deals)
        && holders <= tolerated(ceremony.holders.len())
}

/// Attempts that a ceremony may take after those of the storm: each that fails shows a lying part, once before and once after all that were absent
/// come back.
pub fn attempts_at_most(ceremony: &IdentityCeremonyRecord, liars: &BTreeSet<WorkerId>, storm: u32) -> u32 {
    let (dealers, holders) = lying_parts(ceremony, liars);
    storm + 2 * (dealers + holders + 1) as u32
}

/// While no more lie than may, a ceremony is not given up, and takes no more attempts than that.
pub fn liveness(chain: &Chain, liars: &BTreeSet<WorkerId>, storm: u32) -> Result<(), Violation> {
    let violated = |what: String| Err(Violation::new(LIVENESS, what));
    let of_this_set = |ceremony: &IdentityCeremonyRecord| ceremony.attempt - chain.first_attempt;
    if let Some(ceremony) = chain.ceremony.as_ref().filter(|ceremony| is_tolerated(ceremony, liars)) {
        if of_this_set(ceremony) >= attempts_at_most(ceremony, liars, storm) {
            return violated(format!("attempt {} of era {}", ceremony.attempt, ceremony.era));
        }
    }
    match chain.ended.last() {
        Some((ceremony, ended)) if ended.next == IdentityNext::GivenUp && is_tolerated(ceremony, liars) => {
            violated(format!("era {} is given up after attempt {}", ceremony.era, ceremony.attempt))
        }
        _ => Ok(()),
    }
}

/// Nobody honest is convicted. In a calm, while no more lie than may and nobody honest is left out, nobody honest is at fault, and an attempt that
/// fails shows somebody who is.
pub fn faults_are_the_liars(chain: &Chain, liars: &BTreeSet<WorkerId>, storm: u32) -> Result<(), Violation> {
    for (ceremony, ended) in &chain.ended {
        let (era, attempt) = place_of(ceremony);
        let dealer = |index: &u16| ceremony.dealer(*index).map(|dealer| dealer.gatekeeper);
        let holder = |index: &u16| ceremony.holder(*index).map(|holder| holder.gatekeeper);
        let honest = |gatekeeper: &WorkerId| !liars.contains(gatekeeper);
        if ended.convicted.iter().filter_map(dealer).any(|gatekeeper| honest(&gatekeeper)) {
            return Err(Violation::new(NAMES[4], format!("in era {era}, attempt {attempt}: {ended:?}")));
        }
        let left_out = |absent: Option<_>, gatekeeper: &WorkerId| absent.is_some() && honest(gatekeeper);
        let away = ceremony.dealers.iter().any(|dealer| left_out(dealer.left_out, &dealer.gatekeeper))
            || ceremony.holders.iter().any(|holder| left_out(holder.left_out, &holder.gatekeeper));
        if attempt < chain.first_attempt + storm || away || !is_tolerated(ceremony, liars) {
            continue;
        }
        let dealers = ended.left_out.dealers.keys().filter_map(dealer);
        let mut at_fault = dealers.chain(ended.left_out.holders.keys().filter_map(holder));
        if at_fault.any(|gatekeeper| honest(&gatekeeper)) {
            return Err(Violation::new(NAMES[6], format!("in era {era}, attempt {attempt}: {ended:?}")));
        }
        let nobody = ended.left_out.dealers.is_empty() && ended.left_out.holders.is_empty();
        if nobody && ended.next == IdentityNext::Begin(Phase::Commit) {
            return Err(Violation::new(NAMES[6], format!("era {era}, attempt {attempt} failed: nobody is at fault")));
        }
    }
    Ok(())
}
