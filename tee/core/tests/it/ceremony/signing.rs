//! Holders of identities that sign together what contracts sent, through deliveries and statuses alone.

use super::{
    count,
    identities::holds,
    play::{message, Play, CONTRACT},
};
use phala_core::Notice;
use phala_crypto::{
    egress::{contract_key, verify_egress_signature},
    signature::ed25519::IdentityKey,
    Secret,
};
use phala_gatekeeper::identity::{authorising_keys, NotAuthorised};
use phala_protocol::{
    egress::{EgressAction, EgressItem},
    identities::signing::SigningLetter,
    relay::{Delivery, Outgoing},
    storage, AccountId, ContractId, Hash,
};

/// Four gatekeepers that hold the keys of era 1, and others beside them.
fn ready(seed: u64, gatekeepers: usize) -> Play {
    let mut play = Play::of(seed, gatekeepers, false);
    play.start_identities(1, &[0, 1, 2, 3]);
    play.receive_identities(1);
    play
}

/// Letters about an item that a gatekeeper has for others.
fn letters(play: &Play, index: usize, item: &EgressItem) -> Vec<SigningLetter> {
    let (outgoing, id) = (play.nodes[index].tee().status().outgoing, item.id(&play.genesis()));
    let letters = outgoing.into_iter().filter_map(|item| match item {
        Outgoing::Sign { letter, .. } if letter.message.session().item == id => Some(letter),
        _ => None,
    });
    letters.collect()
}

fn says_nothing_of_signing(play: &Play, index: usize) -> bool {
    let outgoing = play.nodes[index].tee().status().outgoing;
    !outgoing.iter().any(|item| matches!(item, Outgoing::Sign { .. } | Outgoing::AttachSignature { .. }))
}

fn spoiled(play: &Play, index: usize) -> bool {
    play.nodes[index].notices.iter().any(|notice| matches!(notice, Notice::SignatureSpoiled { .. }))
}

/// INSECURE: a gatekeeper's identity, as its simulated machine keeps it.
fn insecure_identity(play: &Play, index: usize) -> IdentityKey {
    let kept = play.nodes[index].machine.sealed("identity-");
    let key = IdentityKey::from_seed(&Secret::from_slice(&kept[..32]).unwrap());
    assert_eq!(key.public(), play.nodes[index].id().0);
    key
}

/// Nothing that is sent arrives, from now on; goes on until a message is being signed, and says who has letters about it.
fn stopped(play: &mut Play, item: &EgressItem) -> usize {
    play.ledger.hands = Some(Box::new(|_: SigningLetter| None));
    play.run(4);
    let one = (0..4).find(|index| !letters(play, *index, item).is_empty());
    one.expect("nobody commits")
}

#[test]
fn holders_sign_what_has_left_and_the_address_stays_when_others_hold_the_keys() {
    let mut play = ready(960, 6);
    let (genesis, keys) = (play.genesis(), play.ledger.record.as_ref().unwrap().keys);
    let first = play.leave(0);
    let signatures = play.sign_message(&first);
    assert_ne!(signatures[0].scheme, signatures[1].scheme);
    for made in &signatures {
        let network = keys.of(made.scheme);
        assert_eq!(contract_key(&genesis, made.scheme, network, &CONTRACT), Some(made.key));
        assert_eq!(verify_egress_signature(&genesis, network, &first, made), Ok(()));
    }
    assert!((0..4).any(|index| {
        let signed = |scheme| Notice::MessageSigned { cluster: first.cluster, sequence: 0, scheme };
        signatures.iter().all(|made| count(&play, index, &signed(made.scheme)) == 1)
    }));
    play.run(2);
    for index in 0..4 {
        assert_eq!(play.nodes[index].tee().status().signing, Some(vec![]), "the chain has both");
        assert!(says_nothing_of_signing(&play, index));
    }

    play.start_identities(2, &[2, 3, 4, 5]);
    play.receive_identities(2);
    let second = play.leave(1);
    let later = play.sign_message(&second);
    for made in &later {
        let same = signatures.iter().filter(|earlier| (earlier.scheme, earlier.key) == (made.scheme, made.key));
        assert_eq!(same.count(), 1, "the same address");
    }
    let id = second.id(&genesis);
    let about = play.ledger.sent.iter().filter(|(_, letter)| letter.message.session().item == id);
    let former = [play.nodes[0].id(), play.nodes[1].id()];
    assert!(about.clone().count() > 0 && about.clone().all(|(to, _)| !former.contains(to)));
    for index in 0..2 {
        assert_eq!(play.nodes[index].tee().status().signing, None);
        assert!(says_nothing_of_signing(&play, index));
    }
}

#[test]
fn a_gatekeeper_without_shares_wants_nothing_of_what_is_signed() {
    let mut play = ready(961, 5);
    let item = play.leave(0);
    play.run(1);
    let (wanted, id) = (play.nodes[4].tee().status().wanted_keys, item.id(&play.genesis()));
    let other = play.ledger.sent.first().map(|(_, letter)| letter.clone());
    let delivery = play.delivery(4);
    assert!(delivery.messages.is_empty());
    let delivery = Delivery { messages: vec![item.clone(); 3], letters: other.into_iter().collect(), ..delivery };
    play.bring(4, delivery).unwrap();
    let status = play.nodes[4].tee().status();
    assert_eq!((status.signing, status.wanted_keys), (None, wanted));
    assert!(says_nothing_of_signing(&play, 4));
    // Of the others each wants it.
    play.run(1);
    let status = play.nodes[0].tee().status();
    assert_eq!(status.signing, Some(vec![id]));
    assert!(authorising_keys(&item).iter().all(|key| status.wanted_keys.contains(key)));
}

#[test]
fn holders_that_restart_in_the_middle_sign_with_the_next_attempt_and_other_nonces() {
    let mut play = ready(962, 4);
    let item = play.leave(0);
    stopped(&mut play, &item);
    let before: Vec<_> = play.ledger.sent.iter().map(|(_, letter)| letter.clone()).collect();
    assert!(before.iter().all(|letter| letter.message.session().attempt == 0));
    (0..4).for_each(|index| play.restart(index));
    play.ledger.hands = None;
    let sent = play.ledger.sent.len();
    assert_eq!(play.sign_message(&item).len(), 2);
    let after: Vec<_> = play.ledger.sent[sent..].iter().map(|(_, letter)| letter).collect();
    assert!(!after.is_empty() && after.iter().all(|letter| letter.message.session().attempt > 0));
    assert!((0..4).all(|index| holds(&play, index) == Some((1, index as u16 + 1)) && !spoiled(&play, index)));
}

#[test]
fn a_letter_counts_from_the_holder_that_it_names_for_whom_it_is_on_this_chain_alone() {
    let mut play = ready(963, 4);
    // Without the fourth all others are needed, and whatever the third sends is wrong in one way.
    play.asleep.insert(3);
    let key = insecure_identity(&play, 2);
    play.ledger.hands = Some(Box::new(move |mut letter: SigningLetter| {
        match (letter.from, letter.signature[0] % 4) {
            (3, 0) => letter.from = 4,
            (3, 1) => letter.to = letter.to % 2 + 1,
            (3, 2) => letter.signature = key.sign(&letter.signing_payload(&[9; 32])),
            (3, _) => letter.signature[63] ^= 1,
            _ => {}
        }
        Some(letter)
    }));
    let item = play.leave(0);
    play.run(45);
    assert!(play.signatures(&item).is_empty());
    assert!(play.ledger.sent.iter().any(|(_, letter)| letter.from == 3), "it said something");
    assert!((0..3).all(|index| !spoiled(&play, index)), "nobody is blamed for what he did not sign");
    play.ledger.hands = None;
    assert_eq!(play.sign_message(&item).len(), 2);
}

#[test]
fn a_dispute_ends_what_is_being_signed_until_it_is_settled() {
    let mut play = ready(964, 4);
    let item = play.leave(0);
    stopped(&mut play, &item);
    let old: Vec<_> = play.ledger.sent.iter().map(|(_, letter)| letter.clone()).collect();
    play.dispute(true);
    play.run(3);
    let reason = NotAuthorised::Disputed;
    let ended = Notice::SigningEnded { cluster: item.cluster, sequence: 0, reason };
    for index in 0..4 {
        assert_eq!(count(&play, index, &ended), 1);
        assert!(says_nothing_of_signing(&play, index));
        let delivery = play.delivery(index);
        play.bring(index, Delivery { letters: old.clone(), ..delivery }).unwrap();
        assert!(says_nothing_of_signing(&play, index), "what was sent before is answered by nobody");
    }
    play.ledger.hands = None;
    play.run(25);
    assert!(play.signatures(&item).is_empty() && (0..4).all(|index| says_nothing_of_signing(&play, index)));
    play.dispute(false);
    assert_eq!(play.sign_message(&item).len(), 2);
}

#[test]
fn what_a_proof_does_not_show_to_be_authorised_is_not_open() {
    let mut play = ready(965, 4);
    let item = play.leave(0);
    let index = stopped(&mut play, &item);
    let id = item.id(&play.genesis());
    // What became of the message, and whose the keys are.
    for hidden in [storage::egress_fate_key(item.cluster, item.sequence), storage::identity_key()] {
        play.next_block();
        let lacking = play.proved_without(index, &[hidden]);
        play.bring(index, lacking).unwrap();
        assert!(letters(&play, index, &item).is_empty());
        assert_eq!(play.nodes[index].tee().status().signing, Some(vec![id]), "it waits");
        play.deliver(index).unwrap();
        assert!(!letters(&play, index, &item).is_empty(), "it goes on when it is shown");
    }
    // Nor is a letter answered at a head of which nothing is shown.
    let leads = letters(&play, index, &item)[0].to;
    let coordinator = usize::from(leads) - 1;
    let all = (0..4).flat_map(|index| letters(&play, index, &item));
    let commits: Vec<_> = all.filter(|letter| letter.to == leads).collect();
    assert!(commits.len() >= 2 && letters(&play, coordinator, &item).is_empty());
    let best = play.number() - 1;
    let bare = Delivery { proof: Vec::new(), letters: commits, ..play.proved(coordinator, best) };
    play.bring(coordinator, bare).unwrap();
    assert!(letters(&play, coordinator, &item).is_empty());
    play.deliver(coordinator).unwrap();
    assert!(!letters(&play, coordinator, &item).is_empty(), "it has a list for them");
    play.ledger.hands = None;
    assert_eq!(play.sign_message(&item).len(), 2);
}

#[test]
fn what_never_left_is_forgotten_and_old_letters_change_nothing() {
    let mut play = ready(966, 4);
    let item = play.leave(0);
    play.sign_message(&item);
    play.run(2);
    let own = play.nodes[0].id();
    let old: Vec<_> = play.ledger.sent.iter().filter(|(to, _)| *to == own).map(|(_, letter)| letter.clone()).collect();
    assert!(!old.is_empty());
    // More than there is room for: of a sequence that was never taken, of one that another item has, and what is never signed.
    let mut foreign: Vec<EgressItem> = (100..300).map(message).collect();
    foreign.push(EgressItem { contract: ContractId([4; 32]), ..item.clone() });
    let transfer = EgressAction::Transfer { to: AccountId([1; 32]), amount: 1 };
    foreign.extend(vec![EgressItem { action: transfer, ..message(0) }; 40]);
    foreign.reverse();
    let delivery = play.delivery(0);
    let many = old.iter().cycle().take(1_000).cloned().collect();
    play.bring(0, Delivery { messages: foreign, letters: many, ..delivery }).unwrap();
    assert_eq!(play.nodes[0].tee().status().signing.map(|items| items.len()), Some(96));
    assert!(says_nothing_of_signing(&play, 0));
    play.next_block();
    play.deliver(0).unwrap();
    assert_eq!(play.nodes[0].tee().status().signing, Some(vec![]), "none of it has left");
    // Amid what is being signed.
    let next = play.leave(1);
    play.run(2);
    let delivery = play.delivery(0);
    let letters = delivery.letters.iter().cloned().chain(old.iter().cloned()).collect();
    play.bring(0, Delivery { letters, ..delivery }).unwrap();
    assert_eq!(play.sign_message(&next).len(), 2);
    assert!(!spoiled(&play, 0));
}

#[test]
fn of_more_messages_than_there_is_room_for_those_wait_that_left_first_whichever_came_first() {
    let mut play = ready(967, 4);
    let genesis = play.genesis();
    let leave = |play: &mut Play, sequences: std::ops::Range<u64>| -> Vec<EgressItem> {
        let items = sequences.map(|sequence| play.leave(sequence)).collect();
        play.next_block();
        items
    };
    let (early, late) = (leave(&mut play, 0..40), leave(&mut play, 40..160));
    let bring = |play: &mut Play, messages: &[EgressItem]| -> Vec<Hash> {
        let delivery = play.delivery(0);
        play.bring(0, Delivery { messages: messages.to_vec(), ..delivery }).unwrap();
        play.next_block();
        play.nodes[0].tee().status().signing.unwrap()
    };
    assert_eq!(bring(&mut play, &late).len(), 96, "until it is proved what became of them");
    assert_eq!(bring(&mut play, &[]).len(), 64);
    for _ in 0..2 {
        bring(&mut play, &early);
        bring(&mut play, &[]);
    }
    let waiting = bring(&mut play, &late);
    let known = early.iter().filter(|item| waiting.contains(&item.id(&genesis)));
    assert_eq!((waiting.len(), known.count()), (96, 40), "all that left first, and room for more");
    assert_eq!(bring(&mut play, &[]).len(), 64);
}
