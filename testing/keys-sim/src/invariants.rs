//! What must hold after every block, by name.
//!
//! Secrecy is tried with everything that the coalition has: its shares, by `shares.rs`, and the answers that became public. What it lacks is
//! counted per dealer: a polynomial of degree t-1 of which t-1 points are known may have any constant term.

use crate::{chain::Chain, members::GENESIS, shares::Shares};
use codec::{Decode, Encode};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{
    prf::{verify_partial, Input, KeyShare, PublicShare, VerifiedPartial},
    Secret,
};
use phala_protocol::{
    beacon::BeaconRecord,
    ceremony::{
        package_hash, tolerated, CeremonyRecord, Confirmed, Next, ParcelHeader, Phase, SignedStatement, Statement,
    },
    chain_state::RootRecord,
    domain,
    keys::{share_list_hash, KeyPurpose, PrfInput},
    ClusterId, Epoch, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// The invariants.
pub const NAMES: [&str; 16] = [
    "invariant_t_minus_1_learn_nothing",
    "invariant_one_key_per_era",
    "invariant_liveness_with_t_honest",
    "invariant_no_commitment_in_public",
    "invariant_no_honest_seat_is_convicted",
    "invariant_honest_seats_meet_no_contradiction",
    "invariant_only_liars_are_at_fault_in_a_calm",
    "invariant_old_era_opens_nothing_newer",
    "invariant_one_beacon_key_per_era",
    "invariant_whoever_contradicts_itself_is_convicted",
    "invariant_identities_keep_their_keys",
    "invariant_former_holders_cannot_sign",
    "invariant_identity_liveness_with_t_honest",
    "invariant_one_record_per_attempt",
    "invariant_no_nonce_serves_two_messages",
    "invariant_one_key_per_epoch",
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

/// Where a share is evaluated: the storage key of one cluster, in an epoch.
pub(crate) fn input(era: u32, epoch: Epoch) -> Input {
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

/// Whoever confirmed has the recorded list, as many as the threshold hold their share now, and any t give one key, under the list's public
/// shares. Returns how many sets were tried.
pub fn one_key_per_era(root: &RootRecord, shares: &mut Shares) -> Result<u64, Violation> {
    let violated = |what: String| Violation::new(NAMES[1], what);
    for holder in shares.holders() {
        if share_list_hash(holder.era, holder.threshold, &holder.shares) != root.share_list {
            return Err(violated(format!("seat {} has another list than the recorded one", holder.index)));
        }
    }
    if shares.present() < usize::from(root.threshold) {
        return Err(violated("fewer shares than the threshold".to_owned()));
    }
    shares.try_all()
}

/// The accusers whose shares of each dealer's polynomials became public in an attempt, by the dealer: also in what the chain refused.
pub type Answered = BTreeMap<u16, BTreeSet<u16>>;

/// Of no honest dealer a coalition of t-1 seats, all liars among them, knows t points: its own, and those that became public.
pub fn t_minus_1_learn_nothing(
    record: &CeremonyRecord,
    answered: &Answered,
    liars: &BTreeSet<u16>,
) -> Result<(), Violation> {
    let threshold = usize::from(record.threshold);
    let seats: Vec<u16> = (1..=record.seats.len() as u16).collect();
    let honest = answered.iter().filter(|(dealer, _)| !liars.contains(*dealer));
    let honest: Vec<(&u16, &BTreeSet<u16>)> = honest.collect();
    for coalition in subsets(&seats, threshold - 1) {
        if honest.is_empty() || !liars.iter().all(|liar| coalition.contains(liar)) {
            continue;
        }
        for (dealer, accusers) in honest.iter().filter(|(dealer, _)| !coalition.contains(dealer)) {
            let known: BTreeSet<u16> = coalition.iter().chain(accusers.iter()).copied().collect();
            if known.len() >= threshold {
                let what = format!("seats {coalition:?} know what seat {dealer} dealt, with what is public");
                return Err(Violation::new(NAMES[0], what));
            }
        }
    }
    Ok(())
}

/// What is submitted gives away no more than a coalition may know, and no honest seat gives another away. What a coalition knows is looked
/// at first: after the other nothing would be left to find. Says whether a share that an honest dealer dealt became public by it.
pub fn what_is_said_gives_nothing_away(
    said: &SignedStatement,
    record: &CeremonyRecord,
    answered: &mut Answered,
    liars: &BTreeSet<u16>,
) -> Result<bool, Violation> {
    let mut is_news = false;
    if let Statement::Answer { accuser, .. } = said.statement {
        is_news = answered.entry(said.index).or_default().insert(accuser);
        if is_news {
            t_minus_1_learn_nothing(record, answered, liars)?;
        }
    }
    no_dispute_among_the_honest(said, liars)?;
    Ok(is_news && !liars.contains(&said.index))
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

/// What an honest seat said of what it owes once, by attempt and index: the hash of its package, and the keys that it confirmed.
pub type Owed = BTreeMap<(u32, u16), (Option<Hash>, Option<Confirmed>)>;

/// An honest seat makes one package in an attempt, and confirms once, whatever disk it comes back from; it may repeat both.
pub fn what_is_owed_once_is_said_once(said: &SignedStatement, owed: &mut Owed) -> Result<(), Violation> {
    let (package, confirmed) = owed.entry((said.attempt, said.index)).or_default();
    let what = match said.statement {
        Statement::Commit { package: now } if *package.get_or_insert(now) != now => "a second package",
        Statement::Confirm(now) if *confirmed.get_or_insert(now) != now => "a second confirmation",
        _ => return Ok(()),
    };
    Err(Violation::new(NAMES[5], format!("seat {} made {what} in attempt {}", said.index, said.attempt)))
}

/// An honest seat sends the package that it committed to.
pub fn package_is_what_was_committed_to(header: &ParcelHeader, package: &[u8], owed: &Owed) -> Result<(), Violation> {
    let hash = package_hash(&GENESIS, header.era, header.attempt, header.from, package);
    if owed.get(&(header.attempt, header.from)).is_some_and(|(committed, _)| *committed == Some(hash)) {
        return Ok(());
    }
    let what = format!("seat {} sent another package than it committed to in attempt {}", header.from, header.attempt);
    Err(Violation::new(NAMES[5], what))
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

/// Seats that were cut off from the chain, by attempt: what they had to say in time the chain may not have, through no fault of theirs.
pub type CutOff = BTreeMap<u32, BTreeSet<u16>>;

/// The first attempt after those in which more were cut off or lied than may be missing. These show no more than a storm does.
pub fn first_after_cut(cut_off: &CutOff, liars: &BTreeSet<u16>, seats: usize) -> u32 {
    let too_many = cut_off.iter().filter(|(_, cut)| liars.union(cut).count() > tolerated(seats));
    too_many.map(|(attempt, _)| attempt + 1).max().unwrap_or(0)
}

/// No honest seat is convicted, of a wrong share or of a contradiction, also not where a root is made.
pub fn no_honest_seat_is_convicted(chain: &Chain, liars: &BTreeSet<u16>) -> Result<(), Violation> {
    for (attempt, ended) in &chain.ended {
        if let Some(index) = ended.convicted.iter().find(|index| !liars.contains(*index)) {
            return Err(Violation::new(NAMES[4], format!("seat {index} in attempt {attempt}")));
        }
    }
    let present: Vec<WorkerId> = chain.record.seats.iter().map(|seat| seat.gatekeeper).collect();
    for set in chain.former.iter().map(|(_, seats)| seats).chain([&present]) {
        let mut honest = (1..).zip(set).filter(|(index, _)| !liars.contains(index));
        if let Some((index, _)) = honest.find(|(_, gatekeeper)| chain.convicted.contains(*gatekeeper)) {
            return Err(Violation::new(NAMES[4], format!("seat {index}, by what it was shown to have said")));
        }
    }
    Ok(())
}

/// Whoever said what contradicts what it `said` before is convicted as soon as both are shown, whatever they are of, and whichever set has the
/// seat since.
pub fn whoever_contradicts_itself_is_convicted(chain: &Chain, said: &SignedStatement) -> Result<(), Violation> {
    if chain.seated(said).is_some_and(|gatekeeper| !chain.convicted.contains(&gatekeeper)) {
        return Err(Violation::new(NAMES[9], format!("seat {} is not: {:?}", said.index, said.statement)));
    }
    Ok(())
}

/// Once the network is calm and all honest seats take part, none is at fault, and an attempt that fails shows somebody who is. Of the ceremony
/// under way. Whoever was cut off in an attempt may be at fault in it, if no more are than may be missing; if more are, anybody may.
pub fn faults_are_the_liars(
    chain: &Chain,
    liars: &BTreeSet<u16>,
    cut_off: &CutOff,
    storm: u32,
) -> Result<(), Violation> {
    let (seats, nobody) = (chain.record.seats.len(), BTreeSet::new());
    let mut absent = BTreeSet::new();
    for (attempt, ended) in chain.ended.iter().filter(|(attempt, _)| *attempt >= chain.first_attempt) {
        let was_absent = !absent.is_empty();
        let cut = cut_off.get(attempt).unwrap_or(&nobody);
        let may_fail: BTreeSet<u16> = liars.union(cut).copied().collect();
        let too_many = !cut.is_empty() && may_fail.len() > tolerated(seats);
        // Where no more are than may be missing, an attempt can do without them.
        let missed = |index: &u16| !liars.contains(index) && (too_many || !cut.contains(index));
        absent.extend(ended.left_out.keys().copied().filter(missed));
        if ended.readmitted > 0 {
            absent.clear();
        }
        if *attempt < storm || was_absent || too_many {
            continue;
        }
        if let Some((index, reason)) = ended.left_out.iter().find(|(index, _)| !may_fail.contains(*index)) {
            return Err(Violation::new(NAMES[6], format!("seat {index} in attempt {attempt}: {reason:?}")));
        }
        if ended.next == Next::Begin(Phase::Commit) && ended.left_out.is_empty() {
            return Err(Violation::new(NAMES[6], format!("attempt {attempt} failed, and nobody is at fault")));
        }
    }
    Ok(())
}
