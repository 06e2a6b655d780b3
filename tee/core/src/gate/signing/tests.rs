//! What is taken of messages and letters, and what is refused by its reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use phala_crypto::signature::ed25519::IdentityKey;
use phala_protocol::{
    ceremony::MAX_SEATS,
    identities::{
        signing::{NonceCommitments, PartialSignature, SigningSession},
        IdentityHolder, IdentityPoints,
    },
    AccountId, ClusterId, ContractId, WorkerId,
};

const GENESIS: Hash = [7; 32];
const OWN: u16 = 1;

fn key(index: u16) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index as u8; 32]))
}

/// Holders 1, 2 and 4; the third seat has none.
fn record() -> IdentityRecord {
    let points = IdentityPoints { ed25519: [0; 32], sr25519: [0; 32] };
    let holder = |index| IdentityHolder { index, gatekeeper: WorkerId(key(index).public()), shares: points };
    IdentityRecord { era: 1, threshold: 2, keys: points, holders: [1, 2, 4].map(holder).to_vec() }
}

fn session() -> SigningSession {
    SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [2; 32], attempt: 3 }
}

fn part(index: u16) -> SigningMessage {
    let part = PartialSignature { index, part: [5; 32] };
    SigningMessage::Part { session: session(), list: [4; 32], part }
}

fn signed(signer: u16, genesis: &Hash, letter: SigningLetter) -> SigningLetter {
    let signature = key(signer).sign(&letter.signing_payload(genesis));
    SigningLetter { signature, ..letter }
}

fn letter(from: u16, to: u16, message: SigningMessage) -> SigningLetter {
    SigningLetter { from, to, message, signature: [0; 64] }
}

fn verdict(letter: &SigningLetter) -> Result<(), LetterFault> {
    verify_letter(letter, &record(), OWN, &GENESIS)
}

#[test]
fn a_letter_is_of_the_holder_that_it_names_for_this_one_on_this_chain_as_it_was_signed() {
    let good = signed(2, &GENESIS, letter(2, OWN, part(2)));
    assert_eq!(verdict(&good), Ok(()));
    // As another, by another, of nobody, and of itself.
    let named = SigningLetter { from: 4, ..good.clone() };
    assert_eq!(verdict(&named), Err(LetterFault::Signature));
    assert_eq!(verdict(&signed(4, &GENESIS, letter(2, OWN, part(2)))), Err(LetterFault::Signature));
    for stranger in [0, 3, 5, OWN] {
        let letter = signed(stranger, &GENESIS, letter(stranger, OWN, part(stranger)));
        assert_eq!(verdict(&letter), Err(LetterFault::Stranger(stranger)));
    }
    // For another, and what was for another.
    let elsewhere = signed(2, &GENESIS, letter(2, 4, part(2)));
    assert_eq!(verdict(&elsewhere), Err(LetterFault::Addressee(4)));
    assert_eq!(verdict(&SigningLetter { to: OWN, ..elsewhere }), Err(LetterFault::Signature));
    assert_eq!(verdict(&signed(2, &[8; 32], letter(2, OWN, part(2)))), Err(LetterFault::Signature));
    let mut altered = good.clone();
    altered.message = part(4);
    assert_eq!(verdict(&altered), Err(LetterFault::Signature));
    for byte in [0, 31, 32, 63] {
        let mut altered = good.clone();
        altered.signature[byte] ^= 1;
        assert_eq!(verdict(&altered), Err(LetterFault::Signature));
    }
    let one = NonceCommitments { index: 1, hiding: [0; 32], binding: [0; 32] };
    let list = |count| SigningMessage::List { session: session(), commitments: vec![one; count] };
    assert_eq!(verdict(&signed(2, &GENESIS, letter(2, OWN, list(100)))), Ok(()));
    assert_eq!(verdict(&signed(2, &GENESIS, letter(2, OWN, list(101)))), Err(LetterFault::TooLong));
}

fn message(sequence: u64, bytes: usize) -> EgressItem {
    let action = EgressAction::Message { destination: Vec::new(), payload: vec![1; bytes] };
    EgressItem { cluster: ClusterId(1), sequence, contract: ContractId([3; 32]), action }
}

#[test]
fn what_waits_is_bounded_and_each_message_waits_once() {
    let mut signing = Signing::default();
    let transfer = EgressAction::Transfer { to: AccountId([1; 32]), amount: 1 };
    let never = vec![EgressItem { action: transfer, ..message(0, 0) }, message(0, MAX_EGRESS_BYTES)];
    signing.receive(never, Vec::new(), &GENESIS);
    assert_eq!((signing.len(), signing.wanted_keys().len()), (0, 0), "neither is ever signed");
    signing.receive(vec![message(7, 5); 9], Vec::new(), &GENESIS);
    assert_eq!(signing.items(), [message(7, 5).id(&GENESIS)]);
    // The three that authorise it, and a signature of each scheme.
    assert_eq!(signing.wanted_keys().len(), 5);
    signing.receive((0..1_000).map(|sequence| message(sequence, 5)).collect(), Vec::new(), &GENESIS);
    assert_eq!(signing.len(), MOST_WITH_NEW);
    assert!(signing.items().contains(&message(7, 5).id(&GENESIS)));

    let one = NonceCommitments { index: 1, hiding: [0; 32], binding: [0; 32] };
    let endless = SigningMessage::List { session: session(), commitments: vec![one; 1_000] };
    for _ in 0..3 {
        let letters = [vec![letter(2, OWN, endless.clone()); 9], vec![letter(2, OWN, part(2)); 9_000]].concat();
        signing.receive(Vec::new(), letters, &GENESIS);
    }
    let bytes = |signing: &Signing| signing.letters.iter().map(Encode::encoded_size).sum::<usize>();
    assert!((MAX_WAITING_BYTES - 1_024..=MAX_WAITING_BYTES).contains(&bytes(&signing)));
    assert_eq!(signing.letter_bytes, bytes(&signing));
    assert!(
        signing.letters.iter().all(|letter| letter.message == part(2)),
        "what is longer than one may be has no room"
    );
}

#[test]
fn a_coordinator_of_all_that_is_signed_has_room_for_all_holders_until_the_next_proof() {
    let mut signing = Signing::default();
    let signatures = SCHEMES.into_iter().flat_map(|scheme| (0..MOST_SESSIONS as u8).map(move |item| (scheme, item)));
    let of_all = |kind: &dyn Fn(u16, SigningSession) -> SigningMessage| -> Vec<SigningLetter> {
        let sessions =
            signatures.clone().map(|(scheme, item)| SigningSession { scheme, item: [item; 32], ..session() });
        let each = sessions.flat_map(|session| (2..=MAX_SEATS as u16).map(move |from| (from, session)));
        each.map(|(from, session)| letter(from, OWN, kind(from, session))).collect()
    };
    let commits = of_all(&|index, session| {
        let commitments = NonceCommitments { index, hiding: [1; 32], binding: [2; 32] };
        SigningMessage::Commit { session, commitments }
    });
    let parts = of_all(&|index, session| {
        let part = PartialSignature { index, part: [5; 32] };
        SigningMessage::Part { session, list: [4; 32], part }
    });
    assert_eq!((commits.len(), parts.len()), (6_336, 6_336));
    let all = [commits, parts].concat();
    signing.receive(Vec::new(), all.clone(), &GENESIS);
    assert_eq!(signing.letters, all);
}
