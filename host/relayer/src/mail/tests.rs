//! What waits for whom, how much of it, and what is carried when.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_protocol::{
    attestation::{Registration, Role},
    ceremony::{ParcelHeader, ParcelKind},
    keys::{KeyRequest, SignedKeyRequest},
    AccountId, ClusterId,
};

const WORKER: WorkerId = WorkerId([1; 32]);
const GATEKEEPER: WorkerId = WorkerId([2; 32]);

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
    };
    Letter::Inquiry(Box::new(KeyInquiry {
        request: SignedKeyRequest { request, encryption_key: vec![], signature: [0; 64] },
        registration: registration(Role::Worker, WORKER),
        evidence: vec![evidence],
        collateral: vec![7],
    }))
}

fn introduction(of: WorkerId, evidence: Vec<u8>) -> Introduction {
    Introduction {
        registration: registration(Role::Gatekeeper, of),
        encryption_key: vec![4],
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
    mail.open(GATEKEEPER);
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
    let arrived = mail.open(WORKER);
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
    mail.open(GATEKEEPER);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 1)), Posted::New);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 2)), Posted::New);
    let evidence: Vec<_> = mail.take(&GATEKEEPER).inquiries.into_iter().map(|inquiry| inquiry.evidence).collect();
    assert_eq!(evidence, [vec![1], vec![2]]);
    assert_eq!(mail.post(Sender::Tee(WORKER), &GATEKEEPER, inquiry(1, 3)), Posted::New, "others being on their way");
}

#[test]
fn a_ceremonys_letters_arrive_and_only_the_latest_introduction_of_each() {
    let mail = Mail::default();
    mail.open(GATEKEEPER);
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
    mail.open(GATEKEEPER);
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
    let arrived = mail.open(GATEKEEPER);
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
    mail.open(GATEKEEPER);
    let from = |last: u8| Sender::Address(IpAddr::from([10, 0, 0, last]));
    let bring = |last, number: u16| mail.post(from(last), &GATEKEEPER, Letter::Parcel(parcel(number, 0)));
    let (most, _) = Letter::Parcel(parcel(0, 0)).bounds();
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
