//! What waits for whom, how much of it, and what is carried when.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    attestation::{Registration, Role},
    ceremony::{CeremonyAttempt, ParcelHeader, ParcelKind},
    identities::{
        signing::{NonceCommitments, PartialSignature, SigningSession, MAX_SIGNING_MESSAGE_BYTES},
        Scheme,
    },
    keys::{KeyRequest, SignedKeyRequest},
    AccountId, ClusterId,
};

const WORKER: WorkerId = WorkerId([1; 32]);
const GATEKEEPER: WorkerId = WorkerId([2; 32]);
const CHAIN: Hash = [3; 32];
const OF: CeremonyAttempt = CeremonyAttempt::root(1, 1);

fn registration(role: Role, identity: WorkerId) -> Registration {
    let operator = AccountId([0; 32]);
    Registration { role, identity, encryption_key: [0; 32], operator, block: 0, block_hash: [0; 32] }
}

fn inquiry(nonce: u8, evidence: u8) -> Letter {
    let request = KeyRequest {
        genesis: [0; 32],
        worker: WORKER,
        gatekeeper: GATEKEEPER,
        cluster: ClusterId(0),
        era: 0,
        epoch: 1,
        nonce: [nonce; 32],
        answer_key: [0; 32],
        at: 0,
    };
    Letter::Inquiry(Box::new(KeyInquiry {
        request: SignedKeyRequest { request, public_key: vec![], signature: [0; 64] },
        registration: registration(Role::Worker, WORKER),
        evidence: vec![evidence],
        collateral: vec![7],
    }))
}

fn introduction(of: WorkerId, evidence: Vec<u8>) -> Introduction {
    Introduction {
        registration: registration(Role::Gatekeeper, of),
        announced: AnnouncedKey { of: OF, key: vec![4], signature: [0; 64] },
        evidence,
        collateral: vec![],
    }
}

fn parcel(from: u16, attempt: u32) -> Parcel {
    let header = ParcelHeader { era: 1, attempt, from, to: 1, kind: ParcelKind::Share };
    Parcel { header, encapsulated: vec![1], body: vec![2], signature: [3; 64] }
}

fn gatekeeper(number: u16) -> WorkerId {
    let [low, high] = number.to_le_bytes();
    let mut id = [9; 32];
    (id[0], id[1]) = (low, high);
    WorkerId(id)
}

#[test]
fn carries_each_letter_once_until_it_is_lost() {
    let mail = Mail::default();
    let ask = || mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 1));
    assert_eq!(ask(), Posted::Unserved);
    mail.open(GATEKEEPER, CHAIN);
    assert_eq!(ask(), Posted::New);
    assert_eq!(ask(), Posted::Known);
    let letters = mail.take(&GATEKEEPER);
    assert_eq!((letters.inquiries.len(), &letters.inquiries[0].collateral), (1, &vec![7]));
    assert_eq!(ask(), Posted::Known);
    assert!(mail.take(&GATEKEEPER).is_empty(), "it is on its way");
    mail.lost(&GATEKEEPER);
    assert_eq!(ask(), Posted::New);
    assert!(!mail.take(&GATEKEEPER).is_empty());
}

#[tokio::test]
async fn answers_wake_the_worker_that_asked() {
    let mail = Mail::default();
    let arrived = mail.open(WORKER, CHAIN);
    let answer = KeyAnswer { encapsulated: vec![1], body: vec![2] };
    let letter = || Letter::Answer([9; 32], answer.clone());
    assert_eq!(mail.post(Sender::Tee(GATEKEEPER), &WORKER, letter()), Posted::New);
    tokio::time::timeout(Duration::from_secs(1), arrived.notified()).await.unwrap();
    assert_eq!(mail.take(&WORKER).answers, vec![([9; 32], answer.clone())]);
    assert_eq!(mail.post(Sender::Tee(GATEKEEPER), &GATEKEEPER, letter()), Posted::Unserved);
}

#[test]
fn copies_of_one_request_with_other_evidence_are_carried_each() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 1)), Posted::New);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 2)), Posted::New);
    let evidence: Vec<_> = mail.take(&GATEKEEPER).inquiries.into_iter().map(|inquiry| inquiry.evidence).collect();
    assert_eq!(evidence, [vec![1], vec![2]]);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 3)), Posted::New, "others being on their way");
}

#[test]
fn a_ceremonys_letters_arrive_and_only_the_latest_introduction_of_each() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let (one, other) = (gatekeeper(1), gatekeeper(2));
    let introduce = |from: WorkerId, evidence| {
        mail.post(Sender::Tee(from), &GATEKEEPER, Letter::Introduction(introduction(from, vec![evidence])))
    };
    assert_eq!([introduce(one, 1), introduce(other, 1), introduce(one, 2)], [Posted::New; 3]);
    assert_eq!(introduce(one, 2), Posted::Known);
    assert_eq!(mail.post(Sender::Tee(one), &GATEKEEPER, Letter::Parcel(parcel(1, 0))), Posted::New);
    let mut delivery = Delivery::default();
    let letters = mail.take(&GATEKEEPER);
    assert!(!letters.is_empty());
    letters.put_into(&mut delivery);
    assert_eq!(delivery.introductions, [introduction(one, vec![2]), introduction(other, vec![1])]);
    assert_eq!(delivery.parcels, [parcel(1, 0)]);
    assert_eq!(introduce(one, 2), Posted::Known, "on its way");
    assert_eq!(introduce(one, 3), Posted::New);
    assert_eq!(mail.post(Sender::Tee(one), &GATEKEEPER, Letter::Parcel(parcel(1, 0))), Posted::Known);
    assert_eq!(mail.post(Sender::Tee(one), &GATEKEEPER, Letter::Parcel(parcel(1, 1))), Posted::New);
}

#[test]
fn a_sender_has_its_room_and_a_mailbox_has_its_own() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let asked: Vec<_> = (0..10).map(|nonce| mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(nonce, 1))).collect();
    assert_eq!(asked, [[Posted::New; 8].as_slice(), &[Posted::Full; 2]].concat());
    let send = |from: u16, attempt| {
        mail.post(Sender::Tee(gatekeeper(from)), &GATEKEEPER, Letter::Parcel(parcel(from, attempt)))
    };
    let seats = MAX_SEATS as u16;
    for from in 0..seats {
        let sent: Vec<_> = (0..5).map(|attempt| send(from, attempt)).collect();
        assert_eq!(sent, [[Posted::New; 4].as_slice(), &[Posted::Full]].concat());
    }
    assert_eq!(send(seats, 0), Posted::Full);
    let letters = mail.take(&GATEKEEPER);
    assert_eq!((letters.inquiries.len(), letters.parcels.len()), (8, 4 * MAX_SEATS));
    assert_eq!(send(0, 4), Posted::New, "what was carried makes room");
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_what_does_not_fit_waits() {
    let mail = Mail::default();
    let arrived = mail.open(GATEKEEPER, CHAIN);
    let introduce = |from: u16, bytes| {
        let from = gatekeeper(from);
        mail.post(Sender::Tee(from), &GATEKEEPER, Letter::Introduction(introduction(from, vec![0; bytes])))
    };
    assert_eq!(introduce(0, MAX_LETTER_BYTES), Posted::TooLong);
    let long = MAX_LETTER_BYTES - 1_000;
    for from in 0..MAX_SEATS as u16 {
        assert_eq!(introduce(from, long), Posted::New);
    }
    arrived.notified().await;
    let first = mail.take(&GATEKEEPER).introductions;
    assert!(first.len() * MAX_LETTER_BYTES >= MAX_MAIL_BYTES && first.len() * long <= MAX_MAIL_BYTES);
    tokio::time::timeout(Duration::from_secs(1), arrived.notified()).await.unwrap();
    let mut all = first;
    loop {
        let more = mail.take(&GATEKEEPER).introductions;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    let senders: Vec<_> = all.iter().map(|introduction| introduction.registration.identity).collect();
    assert_eq!(senders, (0..MAX_SEATS as u16).map(gatekeeper).collect::<Vec<_>>(), "oldest first");
}

#[test]
fn other_relayers_have_room_of_their_own_and_replace_nobodys_introduction() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let from = |last: u8| Sender::Address(IpAddr::from([10, 0, 0, last]));
    let bring = |last, number: u16| mail.post(from(last), &GATEKEEPER, Letter::Parcel(parcel(number, 0)));
    let most = Letter::Parcel(parcel(0, 0)).room().all;
    for last in 0..5 {
        let brought = (0..most as u16).filter(|number| bring(last, u16::from(last) * 1_000 + number) == Posted::New);
        assert_eq!(brought.count(), if last < 4 { most / 4 } else { 0 });
    }
    let own = mail.post(Sender::Tee(gatekeeper(1)), &GATEKEEPER, Letter::Parcel(parcel(1, 9)));
    assert_eq!(own, Posted::New, "whoever is served here has its room all the same");
    let introduce = |sender, evidence| {
        mail.post(sender, &GATEKEEPER, Letter::Introduction(introduction(gatekeeper(1), vec![evidence])))
    };
    assert_eq!(
        [introduce(Sender::Tee(gatekeeper(1)), 1), introduce(from(1), 2), introduce(from(1), 3)],
        [Posted::New; 3]
    );
    let evidence: Vec<_> =
        mail.take(&GATEKEEPER).introductions.into_iter().map(|introduction| introduction.evidence).collect();
    assert_eq!(evidence, [vec![1], vec![3]]);
}

#[test]
fn letters_of_tees_that_are_served_here_come_first_and_requests_are_no_more_than_are_looked_at() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let bring =
        |last: u8, nonce| mail.receive(IpAddr::from([10, 0, 0, last]), &CHAIN, &GATEKEEPER, inquiry(nonce, last));
    // As many as four addresses may have waiting, and only then the worker's own.
    let brought: usize = (1..=4).map(|last| (0..64).filter(|nonce| bring(last, *nonce) == Posted::New).count()).sum();
    assert_eq!(brought, MOST_INQUIRIES);
    for nonce in 100..108 {
        assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(nonce, 9)), Posted::New);
    }
    assert_eq!(
        mail.receive(IpAddr::from([10, 0, 0, 1]), &CHAIN, &GATEKEEPER, Letter::Parcel(parcel(1, 0))),
        Posted::New
    );
    let first = mail.take(&GATEKEEPER);
    assert_eq!(first.inquiries.len(), MOST_INQUIRIES);
    assert_eq!(first.parcels.len(), 1, "other letters are not held up");
    assert!(first.inquiries[..8].iter().all(|inquiry| inquiry.evidence == [9]), "its own come first");
    assert!(first.inquiries[8..].iter().all(|inquiry| inquiry.evidence != [9]));
    assert_eq!(mail.take(&GATEKEEPER).inquiries.len(), 8, "the rest comes next");
    assert!(mail.take(&GATEKEEPER).is_empty());
}

#[test]
fn a_copy_that_came_first_puts_a_letter_of_ours_behind_nothing() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let from = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(mail.receive(from, &CHAIN, &GATEKEEPER, inquiry(1, 1)), Posted::New);
    assert_eq!(mail.receive(from, &CHAIN, &GATEKEEPER, inquiry(2, 2)), Posted::New);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(2, 2)), Posted::Known);
    let evidence: Vec<_> = mail.take(&GATEKEEPER).inquiries.into_iter().map(|inquiry| inquiry.evidence).collect();
    assert_eq!(evidence, [vec![2], vec![1]]);
}

#[test]
fn nobody_is_said_to_be_elsewhere_before_all_tees_were_heard_from() {
    let from = IpAddr::from([10, 0, 0, 1]);
    let bring = |mail: &Mail| mail.receive(from, &CHAIN, &GATEKEEPER, inquiry(1, 1));
    let mail = Mail::default().expecting(2, Instant::now());
    assert_eq!(bring(&mail), Posted::NotYet);
    mail.open(WORKER, CHAIN);
    mail.open(WORKER, CHAIN);
    assert_eq!(bring(&mail), Posted::NotYet, "the other may be it");
    mail.open(gatekeeper(1), CHAIN);
    assert_eq!(bring(&mail), Posted::Unserved);
    mail.open(GATEKEEPER, CHAIN);
    assert_eq!(bring(&mail), Posted::New);
    // A TEE that is never heard from keeps nobody waiting for ever.
    let mail = Mail { expected: Some((2, Instant::now())), ..Mail::default() };
    assert_eq!(bring(&mail), Posted::Unserved);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 1)), Posted::Unserved);
}

#[test]
fn a_mailbox_is_of_one_chain() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let (from, other) = (IpAddr::from([10, 0, 0, 1]), [4; 32]);
    assert_eq!(mail.receive(from, &other, &GATEKEEPER, inquiry(1, 1)), Posted::Foreign);
    assert_eq!(mail.receive(from, &CHAIN, &GATEKEEPER, inquiry(1, 1)), Posted::New);
    mail.open(GATEKEEPER, other);
    assert!(mail.take(&GATEKEEPER).is_empty(), "what waited was of the former chain");
    assert_eq!(mail.receive(from, &other, &GATEKEEPER, inquiry(1, 1)), Posted::New);
}

/// A gatekeeper that announces keys.
fn announcer() -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([9; 32]))
}

fn seat() -> WorkerId {
    WorkerId(announcer().public())
}

/// Its key of an attempt.
fn announced(of: CeremonyAttempt) -> AnnouncedKey {
    let unsigned = AnnouncedKey { of, key: vec![0; 1_216], signature: [0; 64] };
    AnnouncedKey { signature: announcer().sign(&unsigned.signing_payload(&CHAIN)), ..unsigned }
}

/// What the chain holds of a gatekeeper.
fn registered(identity: WorkerId, collateral: &[u8]) -> Registered {
    let registration = registration(Role::Gatekeeper, identity);
    Registered { registration, evidence: vec![1, 2, 3], collateral: collateral.to_vec() }
}

#[test]
fn an_introduction_that_the_chain_vouches_for_comes_before_any_number_of_forged_ones() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let seat = seat();
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b"ours"))])), vec![OF]);
    let bring = |last: u8, introduction| {
        mail.receive(IpAddr::from([10, 0, 0, last]), &CHAIN, &GATEKEEPER, Letter::Introduction(introduction))
    };
    // Forged under other keys, as many as four addresses have room for.
    for (last, number) in (1..=4).flat_map(|last| (0..40).map(move |number| (last, number))) {
        bring(last, introduction(gatekeeper(1_000 + number), vec![last]));
    }
    assert_eq!(bring(5, introduction(gatekeeper(5_000), vec![5])), Posted::Full);
    bring(1, introduction(seat, vec![66]));
    // Under a key that it announced: evidence and collateral are the chain's and ours, whatever was sent.
    let sent = |evidence, collateral: &[u8]| Introduction {
        announced: announced(OF),
        collateral: collateral.to_vec(),
        ..introduction(seat, evidence)
    };
    assert_eq!(bring(5, sent(vec![7], b"theirs")), Posted::New, "it has room of its own");
    assert_eq!(bring(6, sent(vec![8], b"others")), Posted::Known, "all under the key are one");
    let own =
        mail.post(Sender::Tee(gatekeeper(2)), &GATEKEEPER, Letter::Introduction(introduction(gatekeeper(2), vec![])));
    assert_eq!(own, Posted::New);
    let introductions = mail.take(&GATEKEEPER).introductions;
    let true_one = registered(seat, b"ours").introduce(&CHAIN, &announced(OF)).unwrap();
    assert_eq!(introductions[0].registration.identity, gatekeeper(2), "what is served here comes first");
    assert_eq!(introductions[1], true_one);
    assert_eq!(introductions.len(), 2 + MAX_SEATS);
}

#[test]
fn without_collateral_of_our_own_the_senders_is_brought_beside_what_the_chain_holds() {
    let named = IpAddr::from([10, 0, 0, 3]);
    let mail = Mail::new(BTreeMap::from([(named, 1)]));
    mail.open(GATEKEEPER, CHAIN);
    let seat = seat();
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b""))])), vec![OF]);
    let sent = |collateral: u8| Introduction {
        announced: announced(OF),
        collateral: vec![collateral],
        ..introduction(seat, vec![collateral])
    };
    for last in [1, 2, 3] {
        let from = IpAddr::from([10, 0, 0, last]);
        assert_eq!(mail.receive(from, &CHAIN, &GATEKEEPER, Letter::Introduction(sent(last))), Posted::New);
    }
    let brought = mail.take(&GATEKEEPER).introductions;
    let collateral: Vec<_> = brought.iter().map(|introduction| introduction.collateral.clone()).collect();
    assert_eq!(collateral, [vec![3], vec![1], vec![2]], "of a relayer that the operator named first");
    assert!(brought.iter().all(|introduction| introduction.evidence == [1, 2, 3]));
}

#[test]
fn a_strangers_collateral_beside_what_the_chain_holds_comes_behind_what_named_relayers_bring() {
    let (named, stranger) = (IpAddr::from([10, 0, 0, 3]), IpAddr::from([10, 0, 0, 1]));
    let mail = Mail::new(BTreeMap::from([(named, 1)]));
    mail.open(GATEKEEPER, CHAIN);
    let (seat, other) = (seat(), gatekeeper(2));
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b""))])), vec![OF]);
    let own = announced(OF);
    let under = |key: &[u8]| Introduction {
        announced: AnnouncedKey { key: key.to_vec(), ..own.clone() },
        ..introduction(seat, vec![9])
    };
    let bring = |from, introduction| mail.receive(from, &CHAIN, &GATEKEEPER, Letter::Introduction(introduction));
    assert_eq!(bring(stranger, under(&own.key)), Posted::New);
    assert_eq!(bring(stranger, under(b"another")), Posted::New, "it replaces nothing under another key");
    assert_eq!(bring(named, introduction(other, vec![1])), Posted::New);
    let brought = mail.take(&GATEKEEPER).introductions;
    let keys: Vec<_> = brought.iter().map(|introduction| introduction.announced.key.as_slice()).collect();
    assert_eq!(keys, [&[4u8][..], &own.key[..], &b"another"[..]]);
    assert_eq!(brought[1].evidence, [1, 2, 3], "the chain's");
}

#[test]
fn what_a_gatekeeper_announced_before_keeps_nothing_out_and_what_it_did_not_announce_vouches_for_nothing() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let seat = seat();
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b"ours"))])), vec![OF]);
    let bring = |announced: AnnouncedKey| {
        let sent = Introduction { announced, ..introduction(seat, vec![9]) };
        mail.receive(IpAddr::from([10, 0, 0, 1]), &CHAIN, &GATEKEEPER, Letter::Introduction(sent))
    };
    // What it announced for an earlier attempt, which anybody may bring again, or announces for later ones is a stranger's letter.
    for of in
        [CeremonyAttempt::root(1, 0), CeremonyAttempt::root(u32::MAX, u32::MAX), CeremonyAttempt::identities(1, 1)]
    {
        assert_eq!(bring(announced(of)), Posted::New);
    }
    assert_eq!(bring(announced(OF)), Posted::New);
    // The next attempt begins, and what nobody needs any more makes room.
    let next = CeremonyAttempt::root(1, 2);
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b"ours"))])), vec![next]);
    assert_eq!(bring(announced(next)), Posted::New);
    assert_eq!(bring(announced(OF)), Posted::New);
    let brought = mail.take(&GATEKEEPER).introductions;
    assert_eq!(brought[0], registered(seat, b"ours").announcing(&announced(next)));
    assert_eq!(brought[1..], [Introduction { announced: announced(OF), ..introduction(seat, vec![9]) }]);
    // For another attempt, under another key, on another chain, or in another's name: it is a stranger's.
    let own = announced(OF);
    let elsewhere = AnnouncedKey { signature: announcer().sign(&own.signing_payload(&[4; 32])), ..own.clone() };
    let mut another_key = own.clone();
    another_key.key[1_200] = 1;
    for forged in [
        AnnouncedKey { of: CeremonyAttempt::root(1, 2), ..own.clone() },
        another_key,
        elsewhere,
        AnnouncedKey { signature: [0; 64], ..own.clone() },
    ] {
        assert_eq!(registered(seat, b"ours").introduce(&CHAIN, &forged), None);
    }
    assert_eq!(registered(gatekeeper(1), b"ours").introduce(&CHAIN, &own), None);
    assert!(registered(seat, b"ours").introduce(&CHAIN, &own).is_some());
}

#[test]
fn whoever_complained_keeps_out_what_the_chain_has_of_it_with_nothing_else_that_it_announces() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let seat = seat();
    mail.note_registered(&GATEKEEPER, Arc::new(BTreeMap::from([(seat, registered(seat, b"ours"))])), vec![OF]);
    let other = |number: u8| {
        let mut unsigned = announced(OF);
        unsigned.key[1_200] = number;
        AnnouncedKey { signature: announcer().sign(&unsigned.signing_payload(&CHAIN)), ..unsigned }
    };
    let bring = |announced: AnnouncedKey| {
        let sent = Introduction { announced, ..introduction(seat, vec![9]) };
        mail.receive(IpAddr::from([10, 0, 0, 1]), &CHAIN, &GATEKEEPER, Letter::Introduction(sent))
    };
    assert_eq!(bring(other(1)), Posted::New);
    assert_eq!(bring(other(2)), Posted::Full, "of one attempt the first waits");
    let complained = registered(seat, b"ours").announcing(&announced(OF));
    let post = || mail.post(Sender::Complaint(seat), &GATEKEEPER, Letter::Introduction(complained.clone()));
    assert_eq!((post(), post()), (Posted::New, Posted::Known));
    assert_eq!(bring(other(3)), Posted::Full);
    let first = registered(seat, b"ours").announcing(&other(1));
    assert_eq!(mail.take(&GATEKEEPER).introductions, [complained.clone(), first]);
}

#[test]
fn letters_without_evidence_are_short() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let answer = |bytes| Letter::Answer([1; 32], KeyAnswer { encapsulated: vec![], body: vec![0; bytes] });
    let sealed = |bytes| Letter::Parcel(Parcel { body: vec![0; bytes], ..parcel(1, 0) });
    let (peers, _waiting) = crate::peers::Peers::new(&["http://10.0.0.1:1".to_owned()]).unwrap();
    for (short, long) in [(answer(5_000), answer(MAX_PLAIN_BYTES)), (sealed(6_000), sealed(MAX_PLAIN_BYTES))] {
        assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, long.clone()), Posted::TooLong);
        let from = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(mail.receive(from, &CHAIN, &GATEKEEPER, long.clone()), Posted::TooLong);
        assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, short.clone()), Posted::New);
        assert_eq!(peers.post(&CHAIN, &WORKER, long), Posted::TooLong);
        assert_eq!(peers.post(&CHAIN, &WORKER, short), Posted::New);
    }
}

#[test]
fn strangers_leave_relayers_that_the_operator_named_their_room_and_come_behind_them() {
    let named = IpAddr::from([10, 1, 0, 1]);
    let mail = Mail::new(BTreeMap::from([(named, 1)]));
    mail.open(GATEKEEPER, CHAIN);
    let bring = |from: IpAddr, nonce, evidence| mail.receive(from, &CHAIN, &GATEKEEPER, inquiry(nonce, evidence));
    let strangers: usize = (0..=255)
        .map(|last| (0..8).filter(|nonce| bring(IpAddr::from([10, 0, 0, last]), *nonce, last) == Posted::New).count())
        .sum();
    assert_eq!(strangers, MOST_INQUIRIES);
    let brought = (0..64).filter(|nonce| bring(named, 100 + nonce, 7) == Posted::New).count();
    assert_eq!(brought, MOST_INQUIRIES / 2);
    let taken = mail.take(&GATEKEEPER).inquiries;
    assert!(taken[..brought].iter().all(|inquiry| inquiry.request.request.nonce[0] >= 100));
    assert_eq!(taken.len(), MOST_INQUIRIES);
}

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Ristretto255];

fn session(item: u8, scheme: Scheme, attempt: u32) -> SigningSession {
    SigningSession { scheme, sharing: [5; 32], item: [item; 32], attempt }
}

/// A message of holder `from`, which says `byte`, to the gatekeeper.
fn signing(from: u16, message: SigningMessage) -> Letter {
    Letter::Signing(SigningLetter { from, to: 1, message, signature: [7; 64] })
}

fn commitments(index: u16, byte: u8) -> NonceCommitments {
    NonceCommitments { index, hiding: [byte; 32], binding: [byte; 32] }
}

fn commit(from: u16, session: SigningSession, byte: u8) -> Letter {
    signing(from, SigningMessage::Commit { session, commitments: commitments(from, byte) })
}

fn list(from: u16, session: SigningSession, signers: u16) -> Letter {
    let commitments = (1..=signers).map(|index| commitments(index, 1)).collect();
    signing(from, SigningMessage::List { session, commitments })
}

fn part(from: u16, session: SigningSession) -> Letter {
    signing(
        from,
        SigningMessage::Part { session, list: [8; 32], part: PartialSignature { index: from, part: [9; 32] } },
    )
}

fn sessions(attempt: u32) -> impl Iterator<Item = SigningSession> {
    (0..32).flat_map(move |item| SCHEMES.map(|scheme| session(item, scheme, attempt)))
}

#[test]
fn a_coordinator_of_all_that_is_signed_at_once_hears_all_holders_in_one_delivery() {
    let named = IpAddr::from([10, 1, 0, 1]);
    let mail = Mail::new(BTreeMap::from([(named, 1)]));
    mail.open(GATEKEEPER, CHAIN);
    let holders = 2..=MAX_SEATS as u16;
    // Half of them are served here, and the others by a relayer that the operator named; and once more all of them by that one.
    let is_here = |from: u16| from.is_multiple_of(2);
    for from in holders.clone() {
        for session in sessions(3) {
            let posted = match is_here(from) {
                true => mail.post(Sender::Tee(gatekeeper(from)), &GATEKEEPER, commit(from, session, 1)),
                false => mail.receive(named, &CHAIN, &GATEKEEPER, commit(from, session, 1)),
            };
            assert_eq!(posted, Posted::New, "{from} {session:?}");
        }
    }
    let letters = mail.take(&GATEKEEPER).signing;
    assert_eq!(letters.len(), 64 * (MAX_SEATS - 1), "all of one way come at once");
    assert!(is_here(letters[0].from), "of TEEs that are served here first");
    assert!(mail.take(&GATEKEEPER).is_empty());
    for from in holders {
        for session in sessions(3) {
            assert_eq!(mail.receive(named, &CHAIN, &GATEKEEPER, part(from, session)), Posted::New);
        }
    }
    assert_eq!(mail.take(&GATEKEEPER).signing.len(), 64 * (MAX_SEATS - 1));
    // And a holder hears of the lists of one who coordinates all, whoever brings them.
    let stranger = IpAddr::from([10, 0, 0, 1]);
    for session in sessions(3) {
        assert_eq!(mail.receive(stranger, &CHAIN, &GATEKEEPER, list(9, session, MAX_SEATS as u16)), Posted::New);
    }
    assert_eq!(mail.take(&GATEKEEPER).signing.len(), 64);
}

#[test]
fn of_a_session_the_newest_of_each_kind_waits_and_nothing_of_an_attempt_that_is_over() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    let [one, other] = SCHEMES.map(|scheme| session(1, scheme, 3));
    let next = SigningSession { attempt: 4, ..one };
    let of_another_set = SigningSession { sharing: [6; 32], ..one };
    let (own, peer) = (Sender::Tee(gatekeeper(2)), Sender::Peer(IpAddr::from([10, 1, 0, 1])));
    let post = |from: Sender, letter| mail.post(from, &GATEKEEPER, letter);
    let all = [
        commit(2, one, 1),
        commit(2, other, 1),
        part(2, one),
        commit(2, of_another_set, 1),
        commit(2, session(2, Scheme::Ed25519, 3), 1),
    ];
    for letter in all.clone() {
        assert_eq!(post(own, letter), Posted::New);
    }
    assert_eq!(post(Sender::Tee(gatekeeper(3)), commit(2, one, 2)), Posted::New, "another says that it is the second");
    assert_eq!(post(peer, commit(2, one, 3)), Posted::New);
    assert_eq!(post(peer, commit(2, one, 4)), Posted::New, "of relayers it is not known who speaks");
    assert_eq!(post(own, commit(2, one, 5)), Posted::New);
    let taken: Vec<Letter> = mail.take(&GATEKEEPER).signing.into_iter().map(Letter::Signing).collect();
    let [_, rest @ ..] = all.clone();
    let others = [commit(2, one, 2), commit(2, one, 3), commit(2, one, 4)];
    assert_eq!(taken, [&[commit(2, one, 5)][..], &rest, &others].concat(), "at the place of what it said before");
    mail.lost(&GATEKEEPER);
    // The next attempt's letter ends all that waits of the former, and of nothing else; a late one of the former ends nothing.
    for letter in all.clone() {
        assert_eq!(post(own, letter), Posted::New);
    }
    assert_eq!(post(own, list(2, next, 3)), Posted::New);
    assert_eq!(post(own, commit(2, one, 6)), Posted::New);
    let taken: Vec<Letter> = mail.take(&GATEKEEPER).signing.into_iter().map(Letter::Signing).collect();
    let [_, of_other, _, of_set, of_item] = all;
    assert_eq!(taken, [list(2, next, 3), of_other, of_set, of_item, commit(2, one, 6)]);
}

#[test]
fn what_is_signed_crowds_out_neither_itself_nor_other_letters() {
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    // One TEE that says more than there can be to say.
    let own = Sender::Tee(gatekeeper(2));
    let said = (0..100u8)
        .filter(|item| mail.post(own, &GATEKEEPER, commit(2, session(*item, Scheme::Ed25519, 3), 1)) == Posted::New);
    assert_eq!(said.count(), MOST_SIGNED);
    assert_eq!(mail.post(own, &GATEKEEPER, part(2, session(1, Scheme::Ed25519, 3))), Posted::New, "counted apart");
    assert_eq!(mail.post(own, &GATEKEEPER, list(2, session(2, Scheme::Ed25519, 3), 3)), Posted::New);
    assert_eq!(mail.post(own, &GATEKEEPER, Letter::Parcel(parcel(1, 0))), Posted::New);
    // Strangers have room of their own, and less.
    let brought = |last: u8| {
        let from = IpAddr::from([10, 0, 0, last]);
        let numbers = 0..MOST_OF_STRANGERS as u16;
        numbers
            .filter(|number| {
                let letter = commit(*number, session(last, Scheme::Ed25519, 3), 9);
                mail.receive(from, &CHAIN, &GATEKEEPER, letter) == Posted::New
            })
            .count()
    };
    let all: Vec<_> = (1..=5).map(brought).collect();
    assert_eq!(all, [256, 256, 256, 256, 0]);
    assert_eq!(
        mail.post(Sender::Tee(gatekeeper(3)), &GATEKEEPER, commit(3, session(1, SCHEMES[0], 3), 1)),
        Posted::New
    );
    let letters = mail.take(&GATEKEEPER);
    assert_eq!((letters.parcels.len(), letters.signing.len()), (1, MOST_SIGNED + 2 + MOST_OF_STRANGERS + 1));
    let mut delivery = Delivery::default();
    letters.put_into(&mut delivery);
    assert_eq!(delivery.letters.len(), MOST_SIGNED + 2 + MOST_OF_STRANGERS + 1);
    assert!(delivery.letters[..MOST_SIGNED + 3].iter().all(|letter| letter.from <= 3), "ours come first");
}

#[test]
fn the_longest_list_is_carried_and_the_subject_is_the_session_the_kind_and_who_speaks() {
    let longest = list(1, session(1, Scheme::Ed25519, u32::MAX), MAX_SEATS as u16);
    let (_, bytes) = longest.name();
    assert!(bytes > MAX_SIGNING_MESSAGE_BYTES - 4 && bytes < MAX_PLAIN_BYTES / 2);
    let mail = Mail::default();
    mail.open(GATEKEEPER, CHAIN);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, longest), Posted::New);
    let too_long = list(1, session(1, Scheme::Ed25519, 0), 300);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, too_long), Posted::TooLong);
    let one = session(1, Scheme::Ed25519, 3);
    let subject = commit(2, one, 1).subject();
    assert_eq!(commit(2, one, 2).subject(), subject, "said again with other bytes");
    for other in [commit(3, one, 1), part(2, one), list(2, one, 1), commit(2, session(1, Scheme::Ed25519, 4), 1)] {
        assert_ne!(other.subject(), subject);
    }
    assert!(!commit(2, one, 1).lacks_collateral());
}
