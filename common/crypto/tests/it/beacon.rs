//! One value a period whichever holders make it, and whoever gives something else is named.

use crate::{bytes, seeded};
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::Identity};
use phala_crypto::{
    beacon::{
        verify_beacon, verify_beacon_record, verify_partial_of, BeaconError, BeaconShare, RecordError,
        VerifiedBeaconPartial, VerifiedBeaconRecord,
    },
    prf::{self, Input, KeyShare, PartialError, ShareError},
    Secret,
};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconPartial, BeaconRecord, BeaconValue},
    domain, Hash,
};

const GENESIS: Hash = [7; 32];
const ERA: u32 = 5;
const PERIOD: u32 = 40;

/// A beacon key with a dealer: for tests only.
struct InsecureKey {
    root: Scalar,
    shares: Vec<BeaconShare>,
    record: BeaconRecord,
}

fn scalars(seed: u64, count: usize) -> Vec<Scalar> {
    let random = &mut seeded(seed);
    (0..count).map(|_| Scalar::from_bytes_mod_order_wide(&bytes(random))).collect()
}

fn key_share(coefficients: &[Scalar], index: u16) -> KeyShare {
    let at = Scalar::from(index);
    let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
    KeyShare::from_bytes(index, &Secret::new(value.to_bytes())).unwrap()
}

/// A key of threshold 3, held by `indices`.
fn insecure_key(seed: u64, indices: &[u16]) -> InsecureKey {
    let coefficients = scalars(seed, 3);
    let shares: Vec<_> = indices.iter().map(|index| BeaconShare::new(key_share(&coefficients, *index))).collect();
    let holders = shares
        .iter()
        .map(|share| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() })
        .collect();
    InsecureKey { root: coefficients[0], shares, record: BeaconRecord { era: ERA, threshold: 3, holders } }
}

fn verified(key: &InsecureKey) -> VerifiedBeaconRecord {
    verify_beacon_record(&GENESIS, &key.record).unwrap()
}

fn partials(key: &InsecureKey, record: &VerifiedBeaconRecord, period: u32) -> Vec<VerifiedBeaconPartial> {
    let input = record.input(period);
    key.shares.iter().map(|share| record.verify_partial(period, &share.partial(&input, &[9; 32])).unwrap()).collect()
}

fn value(record: &VerifiedBeaconRecord, period: u32, partials: &[VerifiedBeaconPartial]) -> Hash {
    *verify_beacon(record, period, &record.combine(period, partials).unwrap()).unwrap().value()
}

#[test]
fn a_period_has_one_value_whichever_holders_make_it() {
    let key = insecure_key(1, &[1, 2, 4, 5, 9]);
    let record = verified(&key);
    assert_eq!(record.key(), RistrettoPoint::mul_base(&key.root).compress().to_bytes());
    let all = partials(&key, &record, PERIOD);
    let expected = value(&record, PERIOD, &all);
    for mask in 0u32..1 << 5 {
        let chosen: Vec<_> = (0..5).rev().filter(|bit| mask & (1 << bit) != 0).map(|bit| all[bit]).collect();
        if chosen.len() < 3 {
            let refusal = record.combine(PERIOD, &chosen).err();
            assert_eq!(refusal, Some(BeaconError::Count { have: chosen.len(), need: 3 }));
        } else {
            assert_eq!(value(&record, PERIOD, &chosen), expected);
        }
    }
    // Who has the whole key, as nobody does, gets the same.
    let lone = BeaconShare::new(KeyShare::from_bytes(1, &Secret::new(key.root.to_bytes())).unwrap());
    let holder = BeaconHolder { index: 1, share: lone.public_share().to_bytes() };
    let lone_record = BeaconRecord { era: ERA, threshold: 1, holders: vec![holder] };
    let lone_record = verify_beacon_record(&GENESIS, &lone_record).unwrap();
    let partial = lone_record.verify_partial(PERIOD, &lone.partial(&lone_record.input(PERIOD), &[0; 32])).unwrap();
    assert_eq!(value(&lone_record, PERIOD, &[partial]), expected);
}

#[test]
fn one_holder_fewer_finds_neither_value_nor_record_that_passes() {
    let key = insecure_key(2, &[1, 2, 3, 4]);
    let record = verified(&key);
    let all = partials(&key, &record, PERIOD);
    let expected = value(&record, PERIOD, &all);
    // A record that claims a lower threshold is not of the same key's shares.
    let lowered = BeaconRecord { threshold: 2, ..key.record.clone() };
    assert_eq!(verify_beacon_record(&GENESIS, &lowered).err(), Some(RecordError::Inconsistent));
    // Cut down to the two that conspire, it is of some key, but not of this one.
    let two = BeaconRecord { holders: key.record.holders[..2].to_vec(), ..lowered };
    let two = verify_beacon_record(&GENESIS, &two).unwrap();
    assert_ne!(two.key(), record.key());
    let found: Vec<_> = key.shares[..2]
        .iter()
        .map(|share| two.verify_partial(PERIOD, &share.partial(&two.input(PERIOD), &[1; 32])).unwrap())
        .collect();
    assert_ne!(value(&two, PERIOD, &found), expected);
}

#[test]
fn values_differ_by_key_genesis_era_and_period_and_by_nothing_else() {
    let key = insecure_key(3, &[1, 2, 3]);
    let record = verified(&key);
    let at = |record: &VerifiedBeaconRecord, key: &InsecureKey, period: u32| {
        value(record, period, &partials(key, record, period))
    };
    let expected = at(&record, &key, PERIOD);
    assert_eq!(expected, at(&record, &key, PERIOD));
    assert_ne!(expected, at(&record, &key, PERIOD + 1));
    let other = insecure_key(4, &[1, 2, 3]);
    assert_ne!(expected, at(&verified(&other), &other, PERIOD));
    let elsewhere = verify_beacon_record(&[8; 32], &key.record).unwrap();
    assert_ne!(expected, at(&elsewhere, &key, PERIOD));
    let later = verify_beacon_record(&GENESIS, &BeaconRecord { era: ERA + 1, ..key.record.clone() }).unwrap();
    assert_ne!(expected, at(&later, &key, PERIOD));
}

#[test]
fn forged_withheld_and_repeated_partials_are_refused_by_name() {
    let key = insecure_key(5, &[1, 2, 4, 5]);
    let record = verified(&key);
    let input = record.input(PERIOD);
    let honest: Vec<BeaconPartial> = key.shares.iter().map(|share| share.partial(&input, &[3; 32])).collect();
    let refusal = |partial: &BeaconPartial| record.verify_partial(PERIOD, partial).err();
    let wrong = |index, reason| Some(BeaconError::Partial { index, reason });
    assert_eq!(refusal(&honest[2]), None);

    // Another holder's answer under one's own index, another period's, a changed point, and an index that holds nothing.
    assert_eq!(refusal(&BeaconPartial { index: 4, ..honest[1] }), wrong(4, PartialError::Proof));
    let late = key.shares[2].partial(&record.input(PERIOD + 1), &[3; 32]);
    assert_eq!(refusal(&late), wrong(4, PartialError::Proof));
    assert_eq!(refusal(&BeaconPartial { point: [0; 32], ..honest[2] }), wrong(4, PartialError::Point));
    assert_eq!(refusal(&BeaconPartial { proof: [0xff; 64], ..honest[2] }), wrong(4, PartialError::Scalar));
    assert_eq!(refusal(&BeaconPartial { index: 3, ..honest[2] }), Some(BeaconError::NoSuchHolder(3)));

    let all: Vec<_> = honest.iter().map(|partial| record.verify_partial(PERIOD, partial).unwrap()).collect();
    assert_eq!(record.absent(&all[1..3]), [1, 5]);
    let combine = |partials: &[VerifiedBeaconPartial]| record.combine(PERIOD, partials).err();
    assert_eq!(combine(&[all[0], all[2], all[0]]), Some(BeaconError::Duplicate(1)));
    assert_eq!(combine(&all[1..3]), Some(BeaconError::Count { have: 2, need: 3 }));
    let stale = record.verify_partial(PERIOD + 1, &late).unwrap();
    assert_eq!(combine(&[all[0], all[1], stale]), Some(BeaconError::OtherPeriod(4)));
}

#[test]
fn a_value_has_one_encoding_and_each_part_of_it_is_checked() {
    let key = insecure_key(6, &[1, 2, 3, 4]);
    let record = verified(&key);
    let honest = record.combine(PERIOD, &partials(&key, &record, PERIOD)).unwrap();
    assert_eq!(honest.partials.iter().map(|partial| partial.index).collect::<Vec<_>>(), [1, 2, 3]);
    let refusal = |change: &dyn Fn(&mut BeaconValue)| {
        let mut value = honest.clone();
        change(&mut value);
        verify_beacon(&record, PERIOD, &value).err()
    };
    assert_eq!(refusal(&|_| {}), None);
    assert_eq!(refusal(&|value| value.era += 1), Some(BeaconError::Misplaced { era: ERA + 1, period: PERIOD }));
    assert_eq!(refusal(&|value| value.period += 1), Some(BeaconError::Misplaced { era: ERA, period: PERIOD + 1 }));
    assert_eq!(refusal(&|value| value.partials.truncate(2)), Some(BeaconError::Count { have: 2, need: 3 }));
    let fourth = key.shares[3].partial(&record.input(PERIOD), &[0; 32]);
    assert_eq!(refusal(&|value| value.partials.push(fourth)), Some(BeaconError::Count { have: 4, need: 3 }));
    assert_eq!(refusal(&|value| value.partials.swap(0, 1)), Some(BeaconError::Order(1)));
    assert_eq!(refusal(&|value| value.partials[1] = value.partials[0]), Some(BeaconError::Duplicate(1)));
    assert_eq!(refusal(&|value| value.partials[0].index = 0), Some(BeaconError::NoSuchHolder(0)));
    for bit in 0..768 {
        let flipped = refusal(&|value| {
            let partial = &mut value.partials[1];
            let bytes: &mut [u8] = if bit < 256 { &mut partial.point } else { &mut partial.proof };
            bytes[bit % 256 / 8 + if bit >= 512 { 32 } else { 0 }] ^= 1 << (bit % 8);
        });
        assert!(matches!(flipped, Some(BeaconError::Partial { index: 2, .. })), "{bit}");
    }
}

#[test]
fn a_record_of_shares_that_are_not_of_one_key_is_refused() {
    let key = insecure_key(7, &[1, 2, 3, 4, 5, 7]);
    let refusal = |change: &dyn Fn(&mut BeaconRecord)| {
        let mut record = key.record.clone();
        change(&mut record);
        verify_beacon_record(&GENESIS, &record).err()
    };
    assert_eq!(refusal(&|_| {}), None);
    // Two keys, of one of which each subset would be: every single share counts.
    let other = insecure_key(8, &[1, 2, 3, 4, 5, 7]);
    for position in 0..6 {
        let stranger = other.record.holders[position];
        assert_eq!(refusal(&|record| record.holders[position] = stranger), Some(RecordError::Inconsistent));
    }
    // A threshold above the shares' own is nothing but caution.
    assert_eq!(refusal(&|record| record.threshold = 4), None);
    assert_eq!(refusal(&|record| record.threshold = 0), Some(RecordError::Size { threshold: 0, holders: 6 }));
    assert_eq!(refusal(&|record| record.threshold = 7), Some(RecordError::Size { threshold: 7, holders: 6 }));
    assert_eq!(refusal(&|record| record.holders.swap(1, 2)), Some(RecordError::Order(2)));
    assert_eq!(refusal(&|record| record.holders[2].index = 2), Some(RecordError::Order(2)));
    let identity = RistrettoPoint::identity().compress().to_bytes();
    let refused = RecordError::Share { index: 3, reason: ShareError::Point };
    assert_eq!(refusal(&|record| record.holders[2].share = identity), Some(refused));
    assert_eq!(
        refusal(&|record| record.holders[0].index = 0),
        Some(RecordError::Share { index: 0, reason: ShareError::Index })
    );
    let many = |record: &mut BeaconRecord| {
        record.holders = (1..=101).map(|index| BeaconHolder { index, ..record.holders[0] }).collect();
    };
    assert_eq!(refusal(&many), Some(RecordError::Size { threshold: 3, holders: 101 }));
    // Shares of a key of 0, at which every value would be the same: on the line with the root 0.
    let line = [Scalar::ZERO, Scalar::from(5u8)];
    let holders =
        (1..=3).map(|index| BeaconHolder { index, share: key_share(&line, index).public_share().to_bytes() }).collect();
    let record = BeaconRecord { era: ERA, threshold: 2, holders };
    assert_eq!(verify_beacon_record(&GENESIS, &record).err(), Some(RecordError::Identity));
}

#[test]
fn an_answer_for_an_epoch_key_is_no_partial_of_the_beacon_and_the_other_way_round() {
    let coefficients = scalars(9, 1);
    let (share, beacon) = (key_share(&coefficients, 1), BeaconShare::new(key_share(&coefficients, 1)));
    let holder = BeaconHolder { index: 1, share: share.public_share().to_bytes() };
    let record = BeaconRecord { era: ERA, threshold: 1, holders: vec![holder] };
    let record = verify_beacon_record(&GENESIS, &record).unwrap();
    // The same share at the same point: only the labels of the proofs differ.
    let point = Input::of(domain::BEACON_INPUT, &record.input(PERIOD));
    let answer = share.partial(&point, &[1; 32]);
    let passed_off = BeaconPartial { index: 1, point: answer.point, proof: answer.proof };
    let refusal = record.verify_partial(PERIOD, &passed_off).err();
    assert_eq!(refusal, Some(BeaconError::Partial { index: 1, reason: PartialError::Proof }));
    let BeaconPartial { index, point: evaluated, proof } = beacon.partial(&record.input(PERIOD), &[1; 32]);
    assert_eq!(evaluated, answer.point);
    let passed_off = prf::PartialEvaluation { index, point: evaluated, proof };
    let refusal = prf::verify_partial(&share.public_share(), &point, &passed_off).err();
    assert_eq!(refusal, Some(PartialError::Proof));
}

#[test]
fn a_partial_is_judged_the_same_by_its_holders_share_alone() {
    let key = insecure_key(12, &[1, 2, 4]);
    let record = verified(&key);
    let honest = key.shares[2].partial(&record.input(PERIOD), &[9; 32]);
    let holder = key.record.holders[2];
    let alone = |holder: &BeaconHolder, era, period, partial: &BeaconPartial| {
        verify_partial_of(&GENESIS, era, holder, period, partial).map(|verified| verified.index())
    };
    assert_eq!(alone(&holder, ERA, PERIOD, &honest), Ok(4));
    let wrong = Err(BeaconError::Partial { index: 4, reason: PartialError::Proof });
    assert_eq!(alone(&holder, ERA + 1, PERIOD, &honest), wrong);
    assert_eq!(alone(&holder, ERA, PERIOD + 1, &honest), wrong);
    assert_eq!(alone(&BeaconHolder { index: 4, ..key.record.holders[0] }, ERA, PERIOD, &honest), wrong);
    assert_eq!(alone(&key.record.holders[0], ERA, PERIOD, &honest), Err(BeaconError::NoSuchHolder(4)));
    for byte in 0..64 {
        let mut flipped = honest;
        flipped.proof[byte] ^= 1;
        assert!(alone(&holder, ERA, PERIOD, &flipped).is_err(), "byte {byte} of the proof");
    }
    let none = BeaconHolder { share: [0xff; 32], ..holder };
    let refused = Err(BeaconError::Share { index: 4, reason: ShareError::Point });
    assert_eq!(alone(&none, ERA, PERIOD, &honest), refused);
    // What was verified alone combines with what was verified under the record.
    let mut all = partials(&key, &record, PERIOD);
    let expected = value(&record, PERIOD, &all);
    all[2] = verify_partial_of(&GENESIS, ERA, &holder, PERIOD, &honest).unwrap();
    assert_eq!(value(&record, PERIOD, &all), expected);
}
