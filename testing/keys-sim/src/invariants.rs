//! What must hold after every block, by name.
//!
//! Secrecy is tried with everything that the coalition has: its shares, and the answers that became public. What it lacks is
//! counted per dealer: a polynomial of degree t-1 of which t-1 points are known may have any constant term.

use crate::{chain::Chain, members::GENESIS};
use codec::{Decode, Encode};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{
    prf::{combine, verify_partial, CombineError, Input, KeyShare, PublicShare, VerifiedPartial},
    Secret,
};
use phala_protocol::{
    beacon::BeaconRecord,
    ceremony::{tolerated, Next, Phase, SignedStatement, Statement},
    chain_state::RootRecord,
    domain,
    keys::{share_list_hash, KeyPurpose, PrfInput},
    ClusterId,
};
use std::collections::BTreeSet;

/// The invariants.
pub const NAMES: [&str; 9] = [
    "invariant_t_minus_1_learn_nothing",
    "invariant_one_key_per_era",
    "invariant_liveness_with_t_honest",
    "invariant_no_commitment_in_public",
    "invariant_no_honest_seat_is_convicted",
    "invariant_honest_seats_meet_no_contradiction",
    "invariant_only_liars_are_at_fault_in_a_calm",
    "invariant_old_era_opens_nothing_newer",
    "invariant_one_beacon_key_per_era",
];

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of [`NAMES`].
    pub invariant: &'static str,
    /// In words.
    pub what: String,
}

impl Violation {
    /// A violation.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// A seat's shares, taken out of what it seals. INSECURE: nobody in the network does this.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Holder {
    /// What the sealed form begins with.
    pub form: [u8; 8],
    /// The era.
    pub era: u32,
    /// The threshold.
    pub threshold: u16,
    /// The seat's index.
    pub index: u16,
    /// Its share of the root.
    pub share: [u8; 32],
    /// All public shares of the root.
    pub shares: Vec<[u8; 32]>,
    /// Its share of the beacon key, and the record of that key.
    pub beacon: Option<([u8; 32], BeaconRecord)>,
}

impl Holder {
    /// Its verified evaluation at the input of `epoch`.
    pub fn evaluate(&self, epoch: u32) -> Result<VerifiedPartial, String> {
        self.evaluate_as_of(self, epoch)
    }

    /// Its evaluation, verified under the public share that `root` has of the same index.
    pub fn evaluate_as_of(&self, root: &Holder, epoch: u32) -> Result<VerifiedPartial, String> {
        let input = input(root.era, epoch);
        let share = KeyShare::from_bytes(self.index, &Secret::new(self.share)).map_err(|error| error.to_string())?;
        let point = root.shares.get(usize::from(self.index) - 1).ok_or("no public share")?;
        let public = PublicShare::from_bytes(self.index, point).map_err(|error| error.to_string())?;
        verify_partial(&public, &input, &share.partial(&input, &[1; 32])).map_err(|error| error.to_string())
    }
}

fn input(era: u32, epoch: u32) -> Input {
    let named = PrfInput { genesis: GENESIS, era, cluster: ClusterId(1), epoch, purpose: KeyPurpose::Storage };
    Input::of(domain::PRF_INPUT, &named)
}

/// The value at 0 of the polynomial through `holders`' shares.
pub fn interpolate(holders: &[&Holder]) -> [u8; 32] {
    let mut sum = Scalar::ZERO;
    for holder in holders {
        let own = Scalar::from(holder.index);
        let mut term = Scalar::from_canonical_bytes(holder.share).unwrap();
        for other in holders.iter().filter(|other| other.index != holder.index) {
            let other = Scalar::from(other.index);
            term *= other * (other - own).invert();
        }
        sum += term;
    }
    sum.to_bytes()
}

/// Every subset of `size` out of `items`.
pub fn subsets<T: Copy>(items: &[T], size: usize) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first().filter(|_| size > 0) else {
        return if size == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    let mut with: Vec<Vec<T>> = subsets(rest, size - 1);
    with.iter_mut().for_each(|subset| subset.insert(0, *first));
    with.extend(subsets(rest, size));
    with
}

fn output(holders: &[&Holder], threshold: usize) -> Result<[u8; 32], String> {
    let partials = holders.iter().map(|holder| holder.evaluate(3)).collect::<Result<Vec<_>, _>>()?;
    combine(threshold, &partials).map(|key| *key.expose()).map_err(|error| error.to_string())
}

/// Whoever confirmed has the recorded list, and any t give one key, under the list's public shares.
pub fn one_key_per_era(root: &RootRecord, holders: &[Holder]) -> Result<(), Violation> {
    let violated = |what: String| Violation::new(NAMES[1], what);
    for holder in holders {
        if share_list_hash(holder.era, holder.threshold, &holder.shares) != root.share_list {
            return Err(violated(format!("seat {} has another list than the recorded one", holder.index)));
        }
    }
    let all: Vec<&Holder> = holders.iter().collect();
    let threshold = usize::from(root.threshold);
    let mut keys = BTreeSet::new();
    for subset in subsets(&all, threshold).iter().step_by(3) {
        keys.insert((output(subset, threshold).map_err(violated)?, interpolate(subset)));
    }
    if keys.len() != 1 {
        return Err(violated(format!("{} keys from {} seats", keys.len(), holders.len())));
    }
    Ok(())
}

/// One share too few gives neither output nor key, and of some honest dealer a coalition of the liars and others knows too little.
pub fn t_minus_1_learn_nothing(
    chain: &Chain,
    root: &RootRecord,
    holders: &[Holder],
    liars: &BTreeSet<u16>,
) -> Result<(), Violation> {
    let violated = |what: String| Violation::new(NAMES[0], what);
    let threshold = usize::from(root.threshold);
    let all: Vec<&Holder> = holders.iter().collect();
    let enough = all.get(..threshold).ok_or_else(|| violated("fewer shares than the threshold".to_owned()))?;
    let (key, right) = (interpolate(enough), output(enough, threshold).map_err(violated)?);
    for subset in subsets(&all, threshold - 1).iter().step_by(4) {
        let partials =
            subset.iter().map(|holder| holder.evaluate(3)).collect::<Result<Vec<_>, _>>().map_err(violated)?;
        let too_few = CombineError::TooFew { have: threshold - 1, need: threshold };
        if combine(threshold, &partials).err() != Some(too_few) {
            return Err(violated("t-1 partials were combined".to_owned()));
        }
        if interpolate(subset) == key || output(subset, threshold - 1) == Ok(right) {
            return Err(violated("t-1 shares give the key".to_owned()));
        }
    }

    let seats: Vec<u16> = (1..=root.seats.len() as u16).collect();
    let attempt = chain.record.attempt;
    // Whatever was ever submitted is public, also what the chain refused.
    let made_public = |dealer: u16| -> BTreeSet<u16> {
        let said = chain.public.iter().map(|(said, _)| said);
        said.filter(|said| (said.attempt, said.index) == (attempt, dealer))
            .filter_map(|said| match said.statement {
                Statement::Answer { accuser, .. } => Some(accuser),
                _ => None,
            })
            .collect()
    };
    for coalition in subsets(&seats, threshold - 1) {
        if !liars.iter().all(|liar| coalition.contains(liar)) {
            continue;
        }
        let safe = chain.record.participants().filter(|dealer| !coalition.contains(dealer)).any(|dealer| {
            let known: BTreeSet<u16> = coalition.iter().copied().chain(made_public(dealer)).collect();
            known.len() < threshold
        });
        if !safe {
            return Err(violated(format!("seats {coalition:?} know every polynomial, with what is public")));
        }
    }
    Ok(())
}

/// No honest seat disputes what an honest dealer delivered, and no honest dealer publishes a share of an honest seat: whatever of the
/// network is dropped.
pub fn no_dispute_among_the_honest(said: &SignedStatement, liars: &BTreeSet<u16>) -> Result<(), Violation> {
    let other = match said.statement {
        Statement::Dispute { dealer, .. } => dealer,
        Statement::Answer { accuser, .. } => accuser,
        _ => return Ok(()),
    };
    if liars.contains(&said.index) || liars.contains(&other) {
        return Ok(());
    }
    Err(Violation::new(NAMES[0], format!("seat {} said of seat {other}: {:?}", said.index, said.statement)))
}

/// No part of a package and no public share is in anything that went on chain, but for packages that a liar disputed.
pub fn no_commitment_in_public(
    statements: &[Vec<u8>],
    record: &[u8],
    hidden: &BTreeSet<[u8; 32]>,
) -> Result<(), Violation> {
    for bytes in statements.iter().map(Vec::as_slice).chain([record]) {
        if bytes.windows(32).any(|window| <&[u8; 32]>::try_from(window).is_ok_and(|window| hidden.contains(window))) {
            return Err(Violation::new(NAMES[3], "a commitment or a public share is on chain"));
        }
    }
    Ok(())
}

/// Attempts that a ceremony may take: those of the storm, then each that fails shuts one liar out - and if honest seats were
/// left out in the storm, all come back once.
pub fn attempts_at_most(seats: usize, storm: u32) -> u32 {
    storm + 2 * (tolerated(seats) as u32 + 1)
}

/// No honest seat is convicted of a wrong share, also not where a root is made.
pub fn no_honest_seat_is_convicted(chain: &Chain, liars: &BTreeSet<u16>) -> Result<(), Violation> {
    for (attempt, ended) in &chain.ended {
        if let Some(index) = ended.convicted.iter().find(|index| !liars.contains(*index)) {
            return Err(Violation::new(NAMES[4], format!("seat {index} in attempt {attempt}")));
        }
    }
    Ok(())
}

/// Once the network is calm and all honest seats take part, none is at fault, and an attempt that fails shows somebody who is.
pub fn faults_are_the_liars(chain: &Chain, liars: &BTreeSet<u16>, storm: u32) -> Result<(), Violation> {
    let mut absent = BTreeSet::new();
    for (attempt, ended) in &chain.ended {
        let was_absent = !absent.is_empty();
        absent.extend(ended.left_out.keys().copied().filter(|index| !liars.contains(index)));
        if ended.readmitted > 0 {
            absent.clear();
        }
        if *attempt < storm || was_absent {
            continue;
        }
        if let Some((index, reason)) = ended.left_out.iter().find(|(index, _)| !liars.contains(*index)) {
            return Err(Violation::new(NAMES[6], format!("seat {index} in attempt {attempt}: {reason:?}")));
        }
        if ended.next == Next::Begin(Phase::Commit) && ended.left_out.is_empty() {
            return Err(Violation::new(NAMES[6], format!("attempt {attempt} failed, and nobody is at fault")));
        }
    }
    Ok(())
}
