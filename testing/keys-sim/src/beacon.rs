//! The beacon key that a ceremony makes beside the root: one key, whose values a threshold of its shares gives and fewer do not.

use crate::{
    invariants::{subsets, Holder, Violation, NAMES},
    members::GENESIS,
};
use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::Identity,
};
use phala_crypto::{
    beacon::{verify_beacon, verify_beacon_record, BeaconError, BeaconShare, RecordError, VerifiedBeaconPartial},
    prf::KeyShare,
    Secret,
};
use phala_protocol::{
    beacon::{BeaconInput, BeaconPartial, BeaconRecord, Period},
    domain, hash_value, Hash,
};
use std::collections::BTreeSet;

/// The period that is evaluated.
const PERIOD: Period = 11;
/// Pairs of four seats, of which it has more than triples.
const MOST_OF_FOUR: usize = 6;

/// All seats have the record that was confirmed, it is of one key, any t of them make one value, and t-1 make none.
pub fn one_beacon_key_per_era(confirmed: &Hash, holders: &[Holder]) -> Result<(), Violation> {
    let violated = |what: String| Violation::new(NAMES[8], what);
    let mut shares = Vec::new();
    let mut confirmed_record = None;
    for holder in holders {
        let seat = holder.index;
        let Some((scalar, record)) = &holder.beacon else {
            return Err(violated(format!("seat {seat} has no share of the beacon key")));
        };
        if record.hash() != *confirmed || (record.era, record.threshold) != (holder.era, holder.threshold) {
            return Err(violated(format!("seat {seat} has another record than the confirmed one")));
        }
        if record.holders.iter().any(|other| holder.shares.contains(&other.share)) {
            return Err(violated(format!("seat {seat} has a public share of the root in the beacon's record")));
        }
        let share = KeyShare::from_bytes(seat, &Secret::new(*scalar)).map_err(|error| violated(error.to_string()))?;
        shares.push(BeaconShare::new(share));
        confirmed_record = Some(record);
    }
    let record = confirmed_record.ok_or_else(|| violated("nobody holds a share".to_owned()))?;
    let verified = verify_beacon_record(&GENESIS, record).map_err(|error| violated(error.to_string()))?;
    let (threshold, input) = (verified.threshold(), verified.input(PERIOD));

    let partials: Vec<BeaconPartial> = shares.iter().map(|share| share.partial(&input, &[1; 32])).collect();
    let proved = partials.iter().map(|partial| verified.verify_partial(PERIOD, partial));
    let proved: Vec<VerifiedBeaconPartial> =
        proved.collect::<Result<_, _>>().map_err(|error: BeaconError| violated(error.to_string()))?;
    let all: Vec<usize> = (0..proved.len()).collect();
    let proved_of = |subset: &[usize]| subset.iter().map(|position| proved[*position]).collect::<Vec<_>>();
    let points_of = |subset: &[usize]| subset.iter().map(|position| &partials[*position]).collect::<Vec<_>>();
    let mut values = BTreeSet::new();
    for subset in some_of(&subsets(&all, threshold), 3) {
        let travelling = verified.combine(PERIOD, &proved_of(subset)).map_err(|error| violated(error.to_string()))?;
        let value = verify_beacon(&verified, PERIOD, &travelling).map_err(|error| violated(error.to_string()))?;
        if output_of_points(&input, &points_of(subset)) != *value.value() {
            return Err(violated("a value is not what its points give".to_owned()));
        }
        values.insert(*value.value());
    }
    if values.len() != 1 {
        return Err(violated(format!("{} values of one period", values.len())));
    }
    for subset in some_of(&subsets(&all, threshold - 1), 2) {
        let too_few = BeaconError::Count { have: threshold - 1, need: threshold };
        if verified.combine(PERIOD, &proved_of(subset)).err() != Some(too_few) {
            return Err(violated("t-1 partials were combined".to_owned()));
        }
        if values.contains(&output_of_points(&input, &points_of(subset))) {
            return Err(violated("t-1 partials give the value".to_owned()));
        }
    }
    let lower = BeaconRecord { threshold: record.threshold - 1, ..record.clone() };
    if verify_beacon_record(&GENESIS, &lower).err() != Some(RecordError::Inconsistent) {
        return Err(violated("a record with a lower threshold passes".to_owned()));
    }
    Ok(())
}

/// All sets that four seats have, and of more seats every `step`-th.
fn some_of(sets: &[Vec<usize>], step: usize) -> impl Iterator<Item = &Vec<usize>> {
    sets.iter().step_by(if sets.len() <= MOST_OF_FOUR { 1 } else { step })
}

/// The value that these evaluations give by interpolation at 0, however many there are.
fn output_of_points(input: &BeaconInput, partials: &[&BeaconPartial]) -> Hash {
    let mut sum = RistrettoPoint::identity();
    for partial in partials {
        let own = Scalar::from(partial.index);
        let others = partials.iter().filter(|other| other.index != partial.index);
        let coefficient = others
            .map(|other| Scalar::from(other.index))
            .fold(Scalar::ONE, |product, other| product * other * (other - own).invert());
        sum += CompressedRistretto(partial.point).decompress().unwrap() * coefficient;
    }
    hash_value(domain::BEACON_OUTPUT, &(input, sum.compress().to_bytes()))
}
