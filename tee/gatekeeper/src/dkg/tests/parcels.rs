//! What seats send each other: to whom it is sealed, which key opens it, and what is refused of it.

use super::*;

#[test]
fn nothing_of_a_package_leaves_before_every_hash_stands() {
    let mut table = Table::new();
    let turn = table.step(1, 1).unwrap();
    assert!(turn.parcels.is_empty() && turn.strangers.is_empty());
    let parcel = table.forge(2, 1, ParcelKind::Package, b"anything");
    assert_eq!(table.accept(&parcel), Err(ParcelRefusal::TooEarly));
}

#[test]
fn nothing_is_sealed_to_a_stranger() {
    let mut table = Table::dealt(SEATS);
    table.peers.remove(&id(2));
    let turn = table.step(1, 1).unwrap();
    assert_eq!(turn.strangers, [id(2)]);
    assert!(turn.parcels.iter().all(|parcel| parcel.header.to != 2) && turn.parcels.len() == 4);
}

#[test]
fn nothing_is_sealed_to_whom_an_earlier_attempt_verified_or_whose_registration_lapsed() {
    let strangers = |change: fn(&mut Table)| {
        let mut table = Table::dealt(SEATS);
        table.complain(2, 1);
        change(&mut table);
        let shared = table.step(1, 1).unwrap();
        table.record.phase = Phase::Deliver;
        let delivered = table.step(1, 1).unwrap();
        assert_eq!(shared.strangers.contains(&id(2)), delivered.attached.is_empty(), "one rule for both");
        (shared.strangers.len(), shared.parcels.len())
    };
    // All were verified at block 100, and are registered for one second more.
    assert_eq!(strangers(|table| table.since = 100), (0, 6));
    assert_eq!(strangers(|table| table.since = 101), (3, 0));
    assert_eq!(strangers(|table| table.now = NOW + 1), (3, 0));
    let mixed_up = |table: &mut Table| {
        let (second, third) = (table.peers.remove(&id(2)).unwrap(), table.peers.remove(&id(3)).unwrap());
        table.peers.insert(id(2), third);
        table.peers.insert(id(3), second);
    };
    assert_eq!(strangers(mixed_up), (2, 2));
}

#[test]
fn nothing_is_sealed_to_a_key_of_another_attempt_or_ceremony() {
    for of in [CeremonyAttempt::root(1, 1), CeremonyAttempt::root(0, 0), CeremonyAttempt::identities(1, 0)] {
        let mut table = Table::dealt(SEATS);
        table.peers.insert(id(2), Case::new(2).announcing(2, of).verified(2));
        let turn = table.step(1, 1).unwrap();
        assert_eq!((turn.strangers, turn.parcels.len()), (vec![id(2)], 4), "{of:?}");
        // Not even if it complains under that key, which the chain does not take.
        table.complain(2, 1);
        table.record.phase = Phase::Deliver;
        let turn = table.step(1, 1).unwrap();
        assert!(turn.attached.is_empty() && turn.strangers.contains(&id(2)));
    }
}

#[test]
fn a_seat_receives_under_one_key_an_attempt_and_has_it_again_after_a_restart() {
    let first = begin(1, &record(0)).unwrap();
    let key = first.receiving();
    assert_eq!((key.of(), key.public_key()), (OF, receiving(1, OF).public_key()));
    let restored = Ceremony::from_secret_bytes(&first.to_secret_bytes()).unwrap();
    assert_eq!(restored.receiving().public_key(), key.public_key());
    let next = first.begin_next(&id(1), &record(1)).unwrap().receiving();
    assert_eq!(next.of(), CeremonyAttempt::root(1, 1));
    assert_ne!(next.public_key(), key.public_key());

    // What an attempt leaves its seat with does not hold what the key follows from.
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    assert!(table.step(1, 2).unwrap().seal_first);
    let holds_seed = |bytes: &Secret<Vec<u8>>| bytes.expose().windows(32).any(|window| window == seed(1).expose());
    assert!(holds_seed(&table.seats[0].to_secret_bytes()));
    assert!(!holds_seed(&table.seats[0].seat().unwrap().to_secret_bytes()));
}

#[test]
fn a_parcel_opens_with_the_key_of_its_attempt_alone() {
    let mut table = Table::dealt(SEATS);
    let parcels = table.step(2, 1).unwrap().parcels;
    let package = parcels.iter().find(|parcel| parcel.header.to == 1).unwrap();
    assert!(table.step(1, 1).unwrap().seal_first);
    for of in [CeremonyAttempt::root(1, 1), CeremonyAttempt::root(0, 0), CeremonyAttempt::identities(1, 0)] {
        let refused = table.seats[0].accept(&receiving(1, of), package);
        assert_eq!(refused, Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)), "{of:?}");
    }
    assert_eq!(table.accept(package), Ok(()));
}

#[test]
fn parcels_that_prove_nothing_change_nothing() {
    let mut table = Table::dealt(3);
    let turns: Vec<Turn> = (1..=3).map(|index| table.step(index, 1).unwrap()).collect();
    let find = |kind| {
        let mut all = turns.iter().flat_map(|turn| &turn.parcels);
        all.find(|parcel| (parcel.header.from, parcel.header.to, parcel.header.kind) == (2, 1, kind)).unwrap().clone()
    };
    let (package, share) = (find(ParcelKind::Package), find(ParcelKind::Share));
    let before = table.seats[0].to_secret_bytes();

    assert_eq!(table.accept(&share), Err(ParcelRefusal::PackageMissing));
    let with = |header: ParcelHeader| Parcel { header, ..package.clone() };
    let header = package.header;
    for header in
        [ParcelHeader { era: 2, ..header }, ParcelHeader { attempt: 1, ..header }, ParcelHeader { from: 1, ..header }]
    {
        assert_eq!(table.accept(&with(header)), Err(ParcelRefusal::WrongAddressee));
    }
    let other = table.seats[0].accept(&receiving(1, OF), &with(ParcelHeader { to: 3, ..header }));
    assert_eq!(other, Err(ParcelRefusal::WrongAddressee));
    let outsider = with(ParcelHeader { from: 4, ..header });
    assert_eq!(table.accept(&outsider), Err(ParcelRefusal::NoParticipant));
    let renamed = with(ParcelHeader { from: 3, ..header });
    assert_eq!(table.accept(&renamed), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    let forged = table.forge(2, 1, ParcelKind::Package, b"not what was committed");
    assert_eq!(table.accept(&forged), Err(ParcelRefusal::WrongHash));
    assert!(table.seats[0].to_secret_bytes().equals(&before));

    assert_eq!(table.accept(&package), Ok(()));
    let (own, other) = (table.share(2, 1), table.share(2, 3));
    for content in [&other[..], &[0xff; 64], &[1; 31], &[], &own[..32]] {
        let wrong = table.forge(2, 1, ParcelKind::Share, content);
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    // Right in one half alone.
    for content in [[&own[..32], &other[32..]].concat(), [&other[..32], &own[32..]].concat()] {
        let wrong = table.forge(2, 1, ParcelKind::Share, &content);
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    assert_eq!((table.accept(&share), table.accept(&share), table.accept(&package)), (Ok(()), Ok(()), Ok(())));
    let late = table.said(1, LAST_CALL);
    assert_eq!(late, [Statement::Complain { dealer: 3 }], "of what is missing, not of what was wrong");
}

#[test]
fn strangers_have_nothing_opened_and_a_dealer_that_sends_wrong_parcels_only_so_many() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    let package = table.forge(2, 1, ParcelKind::Package, &table.package(2));
    let share = table.forge(2, 1, ParcelKind::Share, &table.share(2, 1));
    for _ in 0..20 {
        let forged = table.forge_as(3, package.header, b"in another's name");
        assert_eq!(table.accept(&forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    }
    assert_eq!(table.accept(&package), Ok(()), "which costs the dealer nothing");
    let forged = table.forge_as(3, share.header, &table.share(2, 1));
    assert_eq!(table.accept(&forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)), "not even what is right");
    let wrong = table.forge(2, 1, ParcelKind::Share, b"wrong");
    for _ in 0..8 {
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    assert_eq!(table.accept(&share), Err(ParcelRefusal::TooManyWrong));
    // What it owes comes on chain all the same, and other dealers are not concerned.
    let content = [&table.share(2, 1)[..], &table.package(2)[..]].concat();
    let delivery = table.forge(2, 1, ParcelKind::Delivery, &content);
    table.complain(1, 2);
    table.record.phase = Phase::Deliver;
    table.delivered(0, &delivery);
    assert_eq!(table.said(1, 2), []);
    assert_eq!(table.accept(&delivery), Ok(()));
    for kind in [ParcelKind::Package, ParcelKind::Share] {
        let content = if kind == ParcelKind::Package { table.package(3) } else { table.share(3, 1) };
        let parcel = table.forge(3, 1, kind, &content);
        assert_eq!(table.accept(&parcel), Ok(()));
    }
}
