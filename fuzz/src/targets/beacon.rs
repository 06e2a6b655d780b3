//! The beacon: hostile records, values and partials before whoever verifies them.
//!
//! INSECURE: the key is anybody's; the network's come of a key generation of all seats.

use crate::{decoded, Target, Verdict};
use codec::Encode;
use phala_crypto::{
    beacon::{
        verify_beacon, verify_beacon_record, verify_partial_of, BeaconError, BeaconShare, RecordError,
        VerifiedBeaconRecord,
    },
    prf::KeyShare,
    Secret,
};
use phala_gatekeeper::identity::{verify_key_record, RistrettoPoint};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconPartial, BeaconRecord, BeaconValue, Period},
    ceremony::MAX_SEATS,
    Hash,
};
use std::sync::LazyLock;

const GENESIS: Hash = [7; 32];
const PERIOD: Period = 40;
/// Of the polynomial behind [`insecure_value`].
const THRESHOLD: u16 = 3;
/// Those who hold a share; others were left out.
const INDICES: [u16; 5] = [1, 2, 4, 5, 9];

/// The value of a polynomial of degree 2 with small coefficients: the share of `index`, or with 0 the key.
pub(super) fn insecure_value(index: u16) -> u64 {
    let at = u64::from(index);
    1_000_003 + 7_919 * at + 104_729 * at * at
}

/// A number as a scalar's 32 bytes, little-endian.
pub(super) fn scalar(value: u64) -> Secret<[u8; 32]> {
    Secret::fill(|bytes| bytes[..8].copy_from_slice(&value.to_le_bytes()))
}

/// A key, what all its holders gave for one period, and what that makes.
struct World {
    record: BeaconRecord,
    verified: VerifiedBeaconRecord,
    partials: Vec<BeaconPartial>,
    /// Of different holders.
    travelling: [BeaconValue; 2],
    value: Hash,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let share = |index: u16| BeaconShare::new(KeyShare::from_bytes(index, &scalar(insecure_value(index))).unwrap());
        let shares = INDICES.map(share);
        let holder =
            |share: &BeaconShare| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() };
        let record = BeaconRecord { era: 5, threshold: THRESHOLD, holders: shares.iter().map(holder).collect() };
        let verified = verify_beacon_record(&GENESIS, &record).unwrap();
        let input = verified.input(PERIOD);
        let partials: Vec<BeaconPartial> = shares.iter().map(|share| share.partial(&input, &[4; 32])).collect();
        let travelling = [[0, 1, 2], [4, 1, 3]].map(|positions: [usize; 3]| {
            let proved = positions.map(|position| verified.verify_partial(PERIOD, &partials[position]).unwrap());
            verified.combine(PERIOD, &proved).unwrap()
        });
        let value = *verify_beacon(&verified, PERIOD, &travelling[0]).unwrap().value();
        Self { record, verified, partials, travelling, value }
    }
}

/// The first byte says what the others are: a record, a value or a partial.
pub static BEACON: Target = Target {
    name: "beacon",
    covers: &[
        "common/crypto/src/beacon.rs::verify_beacon_record",
        "common/crypto/src/beacon.rs::verify_beacon",
        "common/crypto/src/beacon.rs::verify_partial",
        "common/crypto/src/beacon.rs::verify_partial_of",
    ],
    samples: LazyLock::new(|| {
        let mut samples = vec![[vec![0], WORLD.record.encode()].concat()];
        samples.extend(WORLD.travelling.iter().map(|value| [vec![1], value.encode()].concat()));
        samples.extend(WORLD.partials.iter().map(|partial| [vec![2], partial.encode()].concat()));
        samples
    }),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let shape = Verdict::refused("shape");
        match which % 3 {
            0 => decoded::<BeaconRecord>(bytes).map_or(shape, |record| check_record(&record)).of("record"),
            1 => decoded::<BeaconValue>(bytes).map_or(shape, |value| check_value(&value)).of("value"),
            _ => decoded::<BeaconPartial>(bytes).map_or(shape, |partial| check_partial(&partial)).of("partial"),
        }
    },
    iterations: 700,
};

/// Oracle: the records of identities, which interpolate each share where this one checks all of them at once.
fn check_record(record: &BeaconRecord) -> Verdict {
    let holders: Vec<(u16, [u8; 32])> = record.holders.iter().map(|holder| (holder.index, holder.share)).collect();
    let is_of = |key: &[u8; 32]| verify_key_record::<RistrettoPoint>(record.threshold, key, &holders).is_ok();
    match verify_beacon_record(&GENESIS, record) {
        Ok(verified) => {
            assert!(holders.len() <= MAX_SEATS);
            assert_eq!((verified.era(), verified.threshold()), (record.era, usize::from(record.threshold)));
            assert!(is_of(&verified.key()), "shares that are not of one key");
            // A threshold of the genuine shares is of the genuine key, whatever the record says beside them.
            let genuine = record.holders.iter().all(|holder| WORLD.record.holders.contains(holder));
            if genuine && holders.len() >= usize::from(THRESHOLD) {
                assert_eq!(verified.key(), WORLD.verified.key(), "another key out of the same shares");
            }
            Verdict::accepted("x".repeat(holders.len()))
        }
        Err(error) => {
            if error == RecordError::Inconsistent {
                assert!(!is_of(&WORLD.verified.key()), "shares of one key are refused");
            }
            Verdict::refused(error)
        }
    }
}

fn check_value(value: &BeaconValue) -> Verdict {
    match verify_beacon(&WORLD.verified, PERIOD, value) {
        Ok(verified) => {
            assert_eq!((verified.era(), verified.period()), (WORLD.record.era, PERIOD));
            assert_eq!(verified.value(), &WORLD.value, "a second value of one period");
            assert!(value.partials.iter().all(|partial| WORLD.partials.contains(partial)), "an altered partial");
            let later = BeaconValue { period: PERIOD + 1, ..value.clone() };
            assert!(verify_beacon(&WORLD.verified, PERIOD + 1, &later).is_err(), "a value of two periods");
            Verdict::accepted("")
        }
        Err(error) => Verdict::refused(error),
    }
}

fn check_partial(partial: &BeaconPartial) -> Verdict {
    // By the holder's share alone it is judged the same.
    let of = |holder| verify_partial_of(&GENESIS, WORLD.record.era, holder, PERIOD, partial).is_ok();
    let by_share = WORLD.record.holders.iter().filter(|holder| of(holder)).count();
    assert_eq!(by_share == 1, WORLD.verified.verify_partial(PERIOD, partial).is_ok());
    match WORLD.verified.verify_partial(PERIOD, partial) {
        Ok(verified) => {
            assert!(WORLD.partials.contains(partial), "an altered partial");
            assert_eq!(verified.index(), partial.index);
            assert!(WORLD.verified.verify_partial(PERIOD + 1, partial).is_err(), "a partial of two periods");
            let twice = WORLD.verified.combine(PERIOD, &[verified; 3]).err();
            assert_eq!(twice, Some(BeaconError::Duplicate(partial.index)));
            assert!(!WORLD.verified.absent(&[verified]).contains(&partial.index));
            Verdict::accepted("")
        }
        Err(error) => Verdict::refused(error),
    }
}
