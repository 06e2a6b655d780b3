//! The beacon key that a ceremony makes beside the root: what its shares give, and how it is sealed.

use super::*;
use crate::{Seat, SeatError};
use phala_crypto::beacon::verify_beacon;

#[test]
fn a_threshold_of_seats_makes_one_value_of_the_beacon_and_its_key_is_not_the_roots() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    for index in 1..=SEATS {
        assert!(table.step(index, 2).unwrap().seal_first);
    }
    let beacons: Vec<_> = table.seats.iter().map(|seat| seat.seat().unwrap().beacon().unwrap()).collect();
    let record = verify_beacon_record(&GENESIS, beacons[0].record()).unwrap();
    let partials: Vec<_> = beacons
        .iter()
        .map(|beacon| record.verify_partial(7, &beacon.partial(&GENESIS, 7, &[1; 32])).unwrap())
        .collect();
    assert_eq!(partials.iter().map(|partial| partial.index()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let value = |partials: &[_]| *verify_beacon(&record, 7, &record.combine(7, partials).unwrap()).unwrap().value();
    assert_eq!(value(&partials[..3]), value(&partials[1..]));
    assert!(record.combine(7, &partials[..2]).is_err());
    // Of another chain or period it is no partial.
    for wrong in [beacons[0].partial(&[8; 32], 7, &[1; 32]), beacons[0].partial(&GENESIS, 8, &[1; 32])] {
        assert!(record.verify_partial(7, &wrong).is_err());
    }
    let sealed = table.seats[0].seat().unwrap().to_secret_bytes();
    let of_root: Vec<[u8; 32]> = codec::Decode::decode(&mut &sealed.expose()[8 + 4 + 2 + 2 + 32..]).unwrap();
    assert!(beacons[0].record().holders.iter().all(|holder| !of_root.contains(&holder.share)));
}

#[test]
fn a_seat_is_sealed_with_its_beacon_share_and_refuses_one_that_is_not_its_own() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    let sealed: Vec<Vec<u8>> = (1..=2)
        .map(|index| {
            assert!(table.step(index, 2).unwrap().seal_first);
            table.seats[usize::from(index) - 1].seat().unwrap().to_secret_bytes().expose().clone()
        })
        .collect();
    let restored = |bytes: &[u8]| Seat::from_secret_bytes(&Secret::new(bytes.to_vec()));
    let seat = restored(&sealed[0]).unwrap();
    let kept = table.seats[0].seat().unwrap();
    assert_eq!((seat.keys(), seat.era()), (kept.keys(), 1));
    let partial = |seat: &Seat| seat.beacon().unwrap().partial(&GENESIS, 3, &[0; 32]);
    assert_eq!(partial(&seat), partial(kept));
    assert_eq!(seat.beacon().unwrap().index(), 1);

    // After form, era, threshold, index, share, four public shares with their number, and a mark: share, era, threshold.
    let beacon = 8 + 4 + 2 + 2 + 32 + 1 + 4 * 32 + 1;
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sealed[0].clone();
        change(&mut bytes);
        restored(&bytes).err()
    };
    assert_eq!(altered(&|_| ()), None);
    assert_eq!(altered(&|bytes| bytes[beacon] ^= 1), Some(SeatError::Malformed), "another share");
    let of_the_second = &sealed[1][beacon..beacon + 32];
    let swapped = |bytes: &mut Vec<u8>| bytes[beacon..beacon + 32].copy_from_slice(of_the_second);
    assert_eq!(altered(&swapped), Some(SeatError::Malformed), "another holder's");
    assert_eq!(altered(&|bytes| bytes[beacon + 32] ^= 1), Some(SeatError::Malformed), "of another era");
    assert_eq!(altered(&|bytes| bytes[beacon + 36] ^= 1), Some(SeatError::Malformed), "of another threshold");
}
