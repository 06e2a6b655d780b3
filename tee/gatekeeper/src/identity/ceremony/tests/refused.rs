//! What a dealer or holder of identities refuses, case by case: to answer, to take, and to seal.

use super::*;

#[test]
fn a_dealer_answers_as_many_as_may_lie_whatever_forks_and_restarts_show_it() {
    let mut network = Network::with_keys(11);
    network.elect(&[5, 6, 7, 8, 9, 10, 11]);
    for dealer in 1..=3 {
        let package = network.machines[&dealer].dealer.as_ref().unwrap().package_hash();
        let position = usize::from(dealer) - 1;
        network.record.dealers[position].package = Some(package);
    }
    network.record.begin(Phase::Settle, 1, LENGTH);
    network.head = 1;
    let dispute = |accuser| Complaint { delivered: Some([9; 32]), disputed: true, ..Complaint::new(accuser, 1) };
    let answered = |network: &mut Network| -> Vec<u16> {
        let said = network.step(1).into_iter().flat_map(|turn| turn.statements).map(|(said, _)| said.statement);
        said.filter_map(|statement| match statement {
            IdentityStatement::Answer { accuser, .. } => Some(accuser),
            _ => None,
        })
        .collect()
    };
    assert_eq!(tolerated(7), 2);
    network.record.complaints = [1, 2, 3].map(dispute).to_vec();
    assert_eq!(answered(&mut network), [1, 2]);
    network.restarts = true;
    network.record.complaints = [3, 4, 2].map(dispute).to_vec();
    assert_eq!(answered(&mut network), [2], "of a fork");
    assert_eq!(answered(&mut network), [2]);
    // Nothing in the last call, nor of what is not disputed, nor to one that has confirmed.
    network.head = network.record.until;
    assert!(answered(&mut network).is_empty());
    network.head = 1;
    network.record.complaints[2].disputed = false;
    assert!(answered(&mut network).is_empty());
    network.record.complaints[2].disputed = true;
    network.record.holders[1].confirmed = Some([1; 32]);
    assert!(answered(&mut network).is_empty());
}

#[test]
fn what_is_of_another_attempt_set_or_seed_is_refused() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 1]);
    let (record, former) = (network.record.clone(), network.former.clone());
    let shares = network.machines[&1].shares.as_ref();
    let deal = |record: &IdentityCeremonyRecord, seed_of: u16| {
        Dealer::begin(&GENESIS, &id(1), &seed(seed_of), record, former.as_ref(), shares)
    };
    let dealer = deal(&record, 1).unwrap();
    let other = |change: fn(&mut IdentityCeremonyRecord)| {
        let mut record = record.clone();
        change(&mut record);
        record
    };
    let next = other(|record| record.attempt = 1);
    assert_ne!(deal(&next, 1).unwrap().package_hash(), dealer.package_hash());
    let set = other(|record| record.holders[2].gatekeeper = id(8));
    assert_ne!(deal(&set, 1).unwrap().dealt.package, dealer.dealt.package, "a fork elects others");
    assert_ne!(deal(&record, 2).unwrap().dealt.package, dealer.dealt.package);
    for unsound in [
        other(|record| record.threshold = 2),
        other(|record| record.deals = 2),
        other(|record| record.dealers.truncate(record.dealers.len() - 1)),
        other(|record| record.dealers[1].index = 9),
        other(|record| record.holders[1].gatekeeper = id(5)),
        other(|record| record.holders.clear()),
    ] {
        assert_eq!(deal(&unsound, 1).err(), Some(CeremonyError::Unsound));
    }
    let unknown = other(|record| record.former = None);
    assert_eq!(deal(&unknown, 1).err(), Some(CeremonyError::OtherFormer));
    assert_eq!(Holder::begin(&GENESIS, &id(1), &record, None).err(), Some(CeremonyError::OtherFormer));
    let none = Dealer::begin(&GENESIS, &id(1), &seed(1), &record, former.as_ref(), None).err();
    assert_eq!(none, Some(CeremonyError::NoShares));
    let anothers = network.machines[&2].shares.as_ref();
    let wrong = Dealer::begin(&GENESIS, &id(1), &seed(1), &record, former.as_ref(), anothers).err();
    assert_eq!(wrong, Some(CeremonyError::NoShares));
    let stranger = Dealer::begin(&GENESIS, &id(8), &seed(8), &record, former.as_ref(), None).err();
    assert_eq!(stranger, Some(CeremonyError::NoSeat));

    // What was sealed is restored into its own attempt alone, and as what it was.
    let bytes = dealer.to_secret_bytes();
    let restore = |bytes: &Secret<Vec<u8>>, record: &IdentityCeremonyRecord| {
        Dealer::from_secret_bytes(bytes, &GENESIS, &id(1), record, former.as_ref(), shares)
    };
    assert_eq!(restore(&bytes, &record).unwrap().package_hash(), dealer.package_hash());
    assert_eq!(restore(&bytes, &next).err(), Some(CeremonyError::Malformed));
    let holder = Holder::begin(&GENESIS, &id(1), &record, former.as_ref()).unwrap();
    let held = holder.to_secret_bytes();
    assert_eq!(restore(&held, &record).err(), Some(CeremonyError::Malformed));
    let restored = Holder::from_secret_bytes(&held, &GENESIS, &id(1), &next, former.as_ref()).err();
    assert_eq!(restored, Some(CeremonyError::Malformed));
    let cut = Secret::new(bytes.expose()[1..].to_vec());
    assert_eq!(restore(&cut, &record).err(), Some(CeremonyError::Malformed));
    assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");

    // The chain holds a package that this machine did not make: its seed is another one.
    network.record.dealers[0].package = Some([1; 32]);
    let (identity, receiving, entropy) = (identity(1), receiving(1, of(&network.record)), Secret::new([9; 32]));
    let mut dealer = dealer;
    let view = View {
        record: &network.record,
        head: 1,
        now: NOW,
        since: 0,
        identity: &identity,
        receiving: &receiving,
        peers: &network.peers,
        entropy: &entropy,
    };
    assert_eq!(dealer.step(&view).err(), Some(CeremonyError::Foreign));
    assert_eq!(dealer.step(&View { record: &next, ..view }).err(), Some(CeremonyError::OtherAttempt));
}

#[test]
fn parcels_change_nothing_unless_they_are_their_dealers_and_of_this_attempt() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 8]);
    network.round(lost_everywhere);
    assert!(is_complete(&network.record));
    network.record.begin(Phase::Share, network.head, LENGTH);
    // Before the holder has seen the hashes, and then.
    let parcels: Vec<Parcel> = network.step(1).into_iter().flat_map(|turn| turn.parcels).collect();
    assert_eq!(parcels.len(), 4);
    let own = receiving(5, of(&network.record));
    // With the key of another attempt, or of the root's ceremony, nothing opens.
    let others = [CeremonyAttempt::identities(2, 1), CeremonyAttempt::root(2, 0)].map(|of| receiving(5, of));
    let accept = |network: &mut Network, parcel: &Parcel| {
        network.machines.get_mut(&5).unwrap().holder.as_mut().unwrap().accept(&own, parcel)
    };
    assert_eq!(accept(&mut network, &parcels[0]), Err(ParcelRefusal::TooEarly));
    network.step(5);
    for other in &others {
        let holder = network.machines.get_mut(&5).unwrap().holder.as_mut().unwrap();
        assert_eq!(holder.accept(other, &parcels[0]), Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)));
    }
    for parcel in &parcels[1..] {
        assert_eq!(accept(&mut network, parcel), Err(ParcelRefusal::WrongAddressee));
    }
    let signed_by = |number: u16, change: fn(&mut Parcel)| {
        let mut parcel = parcels[0].clone();
        change(&mut parcel);
        let signature = identity(number).sign(&parcel.signing_payload(&GENESIS));
        Parcel { signature, ..parcel }
    };
    for kind in [ParcelKind::Package, ParcelKind::Share, ParcelKind::Delivery] {
        let mut parcel = parcels[0].clone();
        parcel.header.kind = kind;
        assert_eq!(accept(&mut network, &parcel), Err(ParcelRefusal::WrongAddressee));
    }
    let later = signed_by(1, |parcel| parcel.header.attempt = 1);
    assert_eq!(accept(&mut network, &later), Err(ParcelRefusal::WrongAddressee));
    let unknown = signed_by(4, |parcel| parcel.header.from = 4);
    assert_eq!(accept(&mut network, &unknown), Err(ParcelRefusal::NoDealer), "it committed, and does not deal");
    let forged = signed_by(2, |_| {});
    assert_eq!(accept(&mut network, &forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    let useless = signed_by(1, |parcel| parcel.body[0] ^= 1);
    // With the two above.
    for _ in 0..6 {
        assert_eq!(accept(&mut network, &useless), Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)));
    }
    assert_eq!(accept(&mut network, &useless), Err(ParcelRefusal::TooManyWrong));
    // It is delivered on chain then, and taken from there whoever brings it.
    assert_eq!(accept(&mut network, &parcels[0]), Err(ParcelRefusal::TooManyWrong));
    let delivered = Some(delivery_hash(&own.hash(), &parcels[0]));
    network.record.complaints.push(Complaint { delivered, ..Complaint::new(1, 1) });
    network.step(5);
    assert_eq!(accept(&mut network, &parcels[0]), Ok(()));
    assert_eq!(accept(&mut network, &useless), Ok(()), "there is nothing more to take");
}

#[test]
fn the_longest_parcel_is_not_too_long_for_the_chain() {
    use phala_crypto::{aead::TAG_BYTES, xwing::CIPHERTEXT_BYTES};
    use phala_protocol::ceremony::{threshold_of, MAX_ATTACHMENT_BYTES, MAX_SEATS};
    let mut network = Network::new(4);
    network.elect(&[1, 2, 3, 4]);
    let package = network.machines[&1].dealer.as_ref().unwrap().dealt.package.len();
    // Two keys of a threshold of points and a proof each.
    let bytes = |threshold: usize| 2 * (threshold * 32 + 64);
    assert_eq!(package, bytes(3));
    let longest = 64 + bytes(threshold_of(MAX_SEATS)) + TAG_BYTES + CIPHERTEXT_BYTES;
    assert_eq!(longest, 5_616);
    // With header, lengths and signature too; and no longer than a delivery of the root, above which none is opened.
    assert!(longest + 32 + 64 <= MAX_ATTACHMENT_BYTES);
    assert!(64 + bytes(67) <= SHARE_BYTES + package_bytes(67));
}

#[test]
fn nothing_is_dealt_under_a_key_of_another_attempt_or_ceremony() {
    let mut network = Network::with_keys(8);
    network.elect(&[5, 6, 7, 8]);
    network.round(lost_everywhere);
    network.record.begin(Phase::Share, network.head, LENGTH);
    let dealt = |network: &mut Network| {
        let turns = network.step(1);
        let strangers = turns.iter().flat_map(|turn| turn.strangers.clone()).collect::<Vec<_>>();
        (strangers, turns.iter().map(|turn| turn.parcels.len()).sum::<usize>())
    };
    assert_eq!(dealt(&mut network), (Vec::new(), 4));
    for of in [CeremonyAttempt::identities(2, 1), CeremonyAttempt::identities(1, 0), CeremonyAttempt::root(2, 0)] {
        network.peers.insert(id(5), Case::new(5).announcing(5, of).verified(5));
        assert_eq!(dealt(&mut network), (vec![id(5)], 3), "{of:?}");
    }
}
