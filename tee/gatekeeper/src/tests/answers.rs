//! What a worker makes of an answer, and what it refuses of one.

use super::*;
use phala_crypto::{hpke, xwing::EncapsulationKey};
use phala_protocol::keys::{Evaluation, KeyGrant};

/// An answer to `request` with a plaintext that the test chose, sealed as a gatekeeper would.
fn forge(worker: &Worker, request: &KeyRequest, plaintext: &[u8]) -> KeyAnswer {
    let recipient = EncapsulationKey::from_bytes(worker.answers.public_key()).unwrap();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &crate::seat::answer_info(&GENESIS), &[1; 64]);
    let (body, _) = context.seal(&request.signing_payload(), plaintext).unwrap();
    KeyAnswer { encapsulated: encapsulated.to_vec(), body }
}

fn plaintext(worker: &Worker, request: &KeyRequest, answer: &KeyAnswer) -> KeyGrant {
    let encapsulated = answer.encapsulated.as_slice().try_into().unwrap();
    let context = hpke::setup_receiver(&worker.answers, encapsulated, &crate::seat::answer_info(&GENESIS));
    let (plaintext, _) = context.open(&request.signing_payload(), &answer.body).unwrap();
    KeyGrant::decode(&mut plaintext.expose().as_slice()).unwrap()
}

#[test]
fn a_worker_refuses_what_does_not_answer_it() {
    let worker = Worker::new();
    let seat = lone_seat();
    let (request, facts) = (worker.request(5), worker.facts(&seat));
    let root = facts.root.clone().unwrap();
    let answer = ask(&seat, &worker.inquiry(request), &facts).unwrap();
    let open = |request: &KeyRequest, root: &RootRecord, answer: &KeyAnswer| {
        open_grant(&worker.answers, request, root, answer).err()
    };
    assert_eq!(open(&request, &root, &answer), None);

    let newer = KeyRequest { nonce: [6; 32], ..request };
    assert_eq!(open(&newer, &root, &answer), Some(GrantError::Unauthentic), "answers another request");
    let elsewhere = KeyRequest { genesis: [8; 32], ..request };
    assert_eq!(open(&elsewhere, &root, &answer), Some(GrantError::Unauthentic));
    let stranger = DecapsulationKey::from_seed(&Secret::new([3; 32]));
    assert_eq!(open_grant(&stranger, &request, &root, &answer).err(), Some(GrantError::Unauthentic));
    let long_lived = open_grant(&worker.receiving, &request, &root, &answer).err();
    assert_eq!(long_lived, Some(GrantError::Unauthentic), "what the chain registers opens none");
    for position in [0, answer.body.len() / 2, answer.body.len() - 1] {
        let mut altered = answer.clone();
        altered.body[position] ^= 1;
        assert_eq!(open(&request, &root, &altered), Some(GrantError::Unauthentic));
    }
    let cut = KeyAnswer { encapsulated: answer.encapsulated[1..].to_vec(), body: answer.body.clone() };
    assert_eq!(open(&request, &root, &cut), Some(GrantError::Malformed));

    let wrong_root = Some(GrantError::WrongRoot);
    assert_eq!(open(&request, &RootRecord { era: 1, ..root.clone() }, &answer), wrong_root);
    assert_eq!(open(&request, &RootRecord { threshold: 2, ..root.clone() }, &answer), wrong_root);
    assert_eq!(open(&request, &RootRecord { share_list: [0; 32], ..root.clone() }, &answer), wrong_root);
    let others = RootRecord { seats: vec![WorkerId([1; 32])], ..root.clone() };
    assert_eq!(open(&request, &others, &answer), Some(GrantError::NoSuchSeat), "from another seat than was asked");

    let grant = plaintext(&worker, &request, &answer);
    let forged = |change: fn(&mut KeyGrant)| {
        let mut grant = grant.clone();
        change(&mut grant);
        open(&request, &root, &forge(&worker, &request, &grant.encode()))
    };
    assert_eq!(forged(|_| {}), None);
    assert_eq!(forged(|grant| grant.request = [0; 32]), Some(GrantError::Malformed));
    assert_eq!(forged(|grant| grant.era = 1), wrong_root);
    assert_eq!(forged(|grant| grant.shares = Vec::new()), wrong_root);
    assert_eq!(forged(|grant| grant.index = 0), Some(GrantError::NoSuchSeat));
    assert_eq!(forged(|grant| grant.index = 2), Some(GrantError::NoSuchSeat));
    let wrong = Some(GrantError::WrongEvaluation);
    assert_eq!(forged(|grant| grant.evaluations[0].proof[0] ^= 1), wrong);
    assert_eq!(forged(|grant| grant.evaluations[0].point = [0; 32]), wrong);
    assert_eq!(forged(|grant| grant.evaluations.swap(0, 1)), None, "order means nothing");
    let exchanged = |grant: &mut KeyGrant| {
        (grant.evaluations[0].purpose, grant.evaluations[2].purpose) = (KeyPurpose::Commit, KeyPurpose::Envelope);
    };
    assert_eq!(forged(exchanged), wrong, "each is proved for its purpose");
    // Nobody proves anything by what it leaves out, and nobody makes the worker verify more than there is.
    let purposes = Some(GrantError::WrongPurposes);
    assert_eq!(forged(|grant| grant.evaluations.clear()), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(3)), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(2)), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(1)), purposes, "another key than the storage key alone");
    assert_eq!(forged(|grant| grant.evaluations.push(grant.evaluations[0])), purposes, "one twice beside the others");
    assert_eq!(forged(|grant| grant.evaluations[0] = grant.evaluations[1]), purposes, "one twice in another's place");
    assert_eq!(forged(|grant| grant.evaluations = vec![grant.evaluations[1]; 100]), purposes);
    assert_eq!(forged(|grant| grant.evaluations = vec![grant.evaluations[1]]), None, "the storage key alone");
    let storage_of_another = |grant: &mut KeyGrant| {
        grant.evaluations = vec![Evaluation { purpose: KeyPurpose::Storage, ..grant.evaluations[0] }];
    };
    assert_eq!(forged(storage_of_another), wrong);
    let longer = [grant.encode(), vec![0]].concat();
    assert_eq!(open(&request, &root, &forge(&worker, &request, &longer)), Some(GrantError::Malformed));
    assert_eq!(open(&request, &root, &forge(&worker, &request, &[])), Some(GrantError::Malformed));
}

#[test]
fn what_a_seat_gave_is_not_taken_away_by_an_answer_with_less() {
    let worker = Worker::new();
    let seat = lone_seat();
    let (request, facts) = (worker.request(5), worker.facts(&seat));
    let root = facts.root.clone().unwrap();
    let whole = ask(&seat, &worker.inquiry(request), &facts).unwrap();
    let mut grant = plaintext(&worker, &request, &whole);
    grant.evaluations.retain(|evaluation| evaluation.purpose == KeyPurpose::Storage);
    let less = forge(&worker, &request, &grant.encode());
    let opened = |answer: &KeyAnswer| open_grant(&worker.answers, &request, &root, answer).unwrap();
    assert!(opened(&whole).is_whole() && !opened(&less).is_whole());
    let given = |answers: &[&KeyAnswer]| {
        let mut grants = Grants::default();
        for answer in answers {
            grants.add(opened(answer));
        }
        assert_eq!(grants.len(), 1);
        KeyPurpose::ALL.map(|purpose| grants.key(1, purpose).map(|key| *key.expose()))
    };
    let keys = given(&[&whole]);
    assert!(keys.iter().all(Option::is_some));
    assert_eq!(given(&[&less]), [None, keys[1], None, None]);
    for answers in [[&whole, &less], [&less, &whole]] {
        assert_eq!(given(&answers), keys);
    }
    // Only what is not here yet is news, of which keys are made.
    let mut grants = Grants::default();
    let news = [&less, &less, &whole, &less, &whole].map(|answer| grants.add(opened(answer)));
    assert_eq!(news, [true, false, true, false, false]);
}
