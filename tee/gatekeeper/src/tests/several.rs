//! Seats of a root that several hold: any threshold of them gives the same keys.

use super::*;
use curve25519_dalek::scalar::Scalar;

/// INSECURE: deals a root to four seats with a threshold of three. In the network nobody ever holds `root`.
fn insecure_deal(era: u32) -> (Vec<Seat>, Vec<WorkerId>) {
    let coefficients = [0x31u8, 0x32, 0x33].map(|byte| Scalar::from_bytes_mod_order([byte; 32]));
    let dealt: Vec<KeyShare> = (1..=4u16)
        .map(|index| {
            let at = Scalar::from(index);
            let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
            KeyShare::from_bytes(index, &Secret::new(value.to_bytes())).unwrap()
        })
        .collect();
    let public: Vec<[u8; 32]> = dealt.iter().map(|share| share.public_share().to_bytes()).collect();
    let seats = dealt
        .iter()
        .map(|share| {
            let form = *b"seat/v2\0";
            let stored =
                (form, era, 3u16, share.index(), *share.to_bytes().expose(), public.clone(), None::<u8>).encode();
            Seat::from_secret_bytes(&Secret::new(stored)).unwrap()
        })
        .collect();
    (seats, (1..=4).map(|index| WorkerId([index; 32])).collect())
}

#[test]
fn any_three_of_four_seats_give_the_same_keys_and_two_give_none() {
    let worker = Worker::new();
    let (seats, ids) = insecure_deal(0);
    let root = seats[0].root_record(ids.clone());
    let opened = |seat: usize| {
        let request = KeyRequest { gatekeeper: ids[seat], ..worker.request(5) };
        let facts = Facts { gatekeeper: ids[seat], root: Some(root.clone()), ..worker.facts(&seats[seat]) };
        let answer = ask(&seats[seat], &worker.inquiry(request), &facts).unwrap();
        // The same answer is worth nothing as another seat's.
        let other = KeyRequest { gatekeeper: ids[(seat + 1) % 4], ..request };
        assert_eq!(open_grant(&worker.answers, &other, &root, &answer).err(), Some(GrantError::Unauthentic));
        open_grant(&worker.answers, &request, &root, &answer).unwrap()
    };
    let mut first = None;
    for left_out in 0..4 {
        let mut grants = Grants::default();
        for seat in (0..4).filter(|seat| *seat != left_out) {
            assert!(grants.key(root.threshold, KeyPurpose::Envelope).is_none(), "{} are too few", grants.len());
            assert!(grants.add(opened(seat)));
            // A seat that answers twice counts once, and says nothing new.
            assert!(!grants.add(opened(seat)));
        }
        let keys = all(KeyPurpose::ALL.map(|purpose| grants.key(root.threshold, purpose)));
        assert_eq!(*first.get_or_insert(keys), keys, "without seat {left_out}");
    }
}
