//! Four holders, one of them hostile in every way that there is: what was authorised is signed, nothing else is, and whoever spoils it is named.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::identity::{open_share, verify_key_record, EdwardsPoint, Group, RistrettoPoint, Scheme};
use codec::Encode;
use curve25519_dalek::scalar::Scalar;
use phala_crypto::egress::{contract_key, verify_egress_signature};
use phala_protocol::{
    egress::{EgressAction, EgressItem},
    ClusterId, ContractId,
};
use std::collections::BTreeSet;

mod nonces;
mod schedules;

const GENESIS: Hash = [7; 32];
/// The block in which items leave.
const LEFT: BlockNumber = 100;
const ATTEMPT: BlockNumber = SIGNING_ATTEMPT_BLOCKS;

/// A key and its sharing by a dealer: in the network nobody ever holds one.
struct Shared<G> {
    record: KeyRecord<G>,
    shares: Vec<Secret<[u8; 32]>>,
}

/// The one key of all tests, shared by the polynomial that `sharing` names. Two of these are what a hand-over leaves behind and makes.
fn insecure_split<G: Group>(sharing: u64, threshold: u16, holders: u16) -> Shared<G> {
    let coefficient = |number: u64| Scalar::from(if number == 0 { 12_345 } else { sharing * 1_000_003 + number });
    let coefficients: Vec<Scalar> = (0..u64::from(threshold)).map(coefficient).collect();
    let value = |index: u16| {
        let at = Scalar::from(index);
        coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient)
    };
    let public: Vec<_> = (1..=holders).map(|index| (index, G::base_times(&value(index)).to_encoding())).collect();
    let key = G::base_times(&coefficients[0]).to_encoding();
    let shares = (1..=holders).map(|index| Secret::new(value(index).to_bytes())).collect();
    Shared { record: verify_key_record(threshold, &key, &public).unwrap(), shares }
}

impl<G: Signs> Shared<G> {
    fn share(&self, index: u16) -> IdentityShare<G> {
        open_share(&self.record, index, &self.shares[usize::from(index) - 1]).unwrap()
    }

    fn sessions(&self, index: u16) -> Sessions<G> {
        Sessions::new(GENESIS, self.record.clone(), self.share(index)).unwrap()
    }
}

fn item(number: u8) -> EgressItem {
    let action = EgressAction::Message { destination: b"there".to_vec(), payload: vec![number] };
    EgressItem { cluster: ClusterId(1), sequence: number.into(), contract: ContractId([3; 32]), action }
}

fn authorised(item: &EgressItem) -> Authorised {
    Authorised::for_a_test(GENESIS, item, LEFT)
}

fn id(item: &EgressItem) -> Hash {
    item.id(&GENESIS)
}

/// The coordinator of an attempt among holders 1 to `holders`.
fn coordinator<G: Group>(item: &EgressItem, attempt: u32, holders: u16) -> u16 {
    let session = SigningSession { scheme: G::SCHEME, sharing: [0; 32], item: id(item), attempt };
    session.coordinator(holders.into()) as u16 + 1
}

/// What becomes of a letter: what arrives in its place.
type Hands<'a> = &'a mut dyn FnMut(u16, u16, SigningMessage) -> Vec<SigningMessage>;

struct Network<G: Signs> {
    shared: Shared<G>,
    holders: BTreeMap<u16, Sessions<G>>,
    head: BlockNumber,
}

impl<G: Signs> Network<G> {
    /// Holders that have seen a head before anything left, and have `item` open.
    fn new(threshold: u16, holders: u16, item: &EgressItem) -> Self {
        let shared = insecure_split::<G>(1, threshold, holders);
        let all = (1..=holders).map(|index| (index, shared.sessions(index))).collect();
        let mut network = Self { shared, holders: all, head: LEFT - 1 };
        network.advance(LEFT - 1);
        network.open(item);
        network
    }

    fn open(&mut self, item: &EgressItem) {
        for sessions in self.holders.values_mut() {
            sessions.begin(authorised(item)).unwrap();
        }
    }

    /// All see a head. Entropy is the same for all and always, which a network never has: nothing may rest on it here.
    fn advance(&mut self, head: BlockNumber) {
        self.head = head;
        for sessions in self.holders.values_mut() {
            sessions.advance(head, &Secret::new([5; 32])).unwrap();
        }
    }

    /// Letters pass until there is nothing new. Returns who refused what of whom.
    fn exchange(&mut self, hands: Hands<'_>) -> Vec<(u16, u16, SigningFault)> {
        let mut faults = Vec::new();
        for _ in 0..4 {
            let posted: Vec<(u16, u16, SigningMessage)> = self
                .holders
                .iter()
                .flat_map(|(from, sessions)| {
                    sessions.outgoing().into_iter().map(|(to, message)| (*from, to, message)).collect::<Vec<_>>()
                })
                .collect();
            for (from, to, message) in posted {
                let Some(sessions) = self.holders.get_mut(&to) else { continue };
                for arrived in hands(from, to, message) {
                    // As it travels.
                    let arrived = SigningMessage::decode_bounded(&arrived.encode()).unwrap();
                    if let Err(fault) = sessions.receive(from, arrived) {
                        faults.push((to, from, fault));
                    }
                }
            }
        }
        faults
    }

    fn signature(&self, item: &EgressItem) -> Option<EgressSignature> {
        let mut made = self.holders.values().flat_map(|sessions| sessions.signatures());
        made.find(|signature| signature.item == id(item)).copied()
    }

    /// Attempts until there is a signature, each with letters at its beginning, and after half of it.
    fn attempts(&mut self, item: &EgressItem, hands: Hands<'_>) -> u32 {
        for attempt in 0..20 {
            for part in [1, ATTEMPT / 2] {
                self.advance(LEFT + attempt * ATTEMPT + part);
                self.exchange(hands);
            }
            if let Some(signature) = self.signature(item) {
                self.verify(item, &signature);
                return attempt + 1;
            }
        }
        panic!("there is no signature");
    }

    fn verify(&self, item: &EgressItem, signature: &EgressSignature) {
        assert_eq!(verify_egress_signature(&GENESIS, &self.shared.record.key(), item, signature), Ok(()));
    }

    fn spoilers(&self) -> BTreeSet<(u16, u16, bool)> {
        let of = |(index, sessions): (&u16, &Sessions<G>)| {
            let found = sessions.spoilers().iter();
            found.map(|(spoiler, how)| (*index, *spoiler, *how == Spoiled::Wrong)).collect::<Vec<_>>()
        };
        self.holders.iter().flat_map(of).collect()
    }
}

fn pass(_: u16, _: u16, message: SigningMessage) -> Vec<SigningMessage> {
    vec![message]
}

/// The first item of which such a holder of four coordinates the first attempt.
fn item_led<G: Group>(by: impl Fn(u16) -> bool) -> EgressItem {
    (0..=255).map(item).find(|item| by(coordinator::<G>(item, 0, 4))).unwrap()
}

#[test]
fn honest_holders_sign_in_the_first_attempt_whoever_coordinates() {
    fn check<G: Signs>() {
        let mut led = BTreeSet::new();
        for number in 0..40 {
            let item = item(number);
            let mut network = Network::<G>::new(3, 4, &item);
            assert_eq!(network.attempts(&item, &mut pass), 1);
            let signature = network.signature(&item).unwrap();
            let key = contract_key(&GENESIS, G::SCHEME, &network.shared.record.key(), &item.contract);
            assert_eq!((Some(signature.key), signature.scheme), (key, G::SCHEME));
            assert!(network.spoilers().is_empty());
            led.insert(coordinator::<G>(&item, 0, 4));
        }
        assert_eq!(led.len(), 4);
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn any_threshold_of_holders_signs_and_fewer_do_not() {
    fn check<G: Signs>() {
        let item = item(1);
        for mask in 1u32..1 << 5 {
            let mut network = Network::<G>::new(3, 5, &item);
            network.holders.retain(|index, _| mask & (1 << (index - 1)) != 0);
            if network.holders.len() >= 3 {
                assert!(network.attempts(&item, &mut pass) <= 10, "{mask:05b}");
                continue;
            }
            for attempt in 0..10 {
                network.advance(LEFT + attempt * ATTEMPT + ATTEMPT / 2);
                assert!(network.exchange(&mut pass).is_empty());
            }
            assert_eq!(network.signature(&item), None, "{mask:05b}");
        }
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

/// A letter with the part of a hostile holder, made wrong.
fn wrong_part(message: SigningMessage) -> SigningMessage {
    match message {
        SigningMessage::Part { session, list, mut part } => {
            part.part[0] ^= 1;
            SigningMessage::Part { session, list, part }
        }
        other => other,
    }
}

#[test]
fn a_wrong_part_names_its_holder_who_is_on_no_list_of_that_coordinator_again() {
    fn check<G: Signs>() {
        for hostile in 1..=4 {
            let item = item_led::<G>(|leader| leader != hostile);
            let mut network = Network::<G>::new(3, 4, &item);
            let mut lists = BTreeMap::new();
            let mut hands = |from: u16, _: u16, message: SigningMessage| {
                if let SigningMessage::List { session, commitments } = &message {
                    let listed = commitments.iter().any(|one| one.index == hostile);
                    lists.insert((from, session.attempt), listed);
                }
                vec![if from == hostile { wrong_part(message) } else { message }]
            };
            assert!(network.attempts(&item, &mut hands) <= 8, "{hostile}");
            let named = network.spoilers();
            assert!(named.iter().all(|(_, spoiler, wrong)| *spoiler == hostile && *wrong), "{named:?}");
            for (finder, _, _) in &named {
                let with_it = lists.iter().filter(|((from, _), listed)| from == finder && **listed).count();
                assert_eq!(with_it, 1, "{hostile}");
            }
        }
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn who_withholds_or_dies_between_the_rounds_delays_and_is_passed_by() {
    fn check<G: Signs>() {
        // It commits and sends no part; it sends no list where it coordinates; it sends nothing at all.
        let silences: [fn(&SigningMessage) -> bool; 3] = [
            |message| matches!(message, SigningMessage::Part { .. }),
            |message| matches!(message, SigningMessage::List { .. }),
            |_| true,
        ];
        for (number, silent) in silences.into_iter().enumerate() {
            for hostile in 1..=4 {
                let item = item(number as u8);
                let mut network = Network::<G>::new(3, 4, &item);
                let mut hands = |from: u16, _: u16, message: SigningMessage| {
                    if from == hostile && silent(&message) {
                        Vec::new()
                    } else {
                        vec![message]
                    }
                };
                assert!(network.attempts(&item, &mut hands) <= 8, "{number} {hostile}");
                let named = network.spoilers();
                // A coordinator without a voice takes those that it does not reach for silent; nobody listens to it.
                let mut honest = named.iter().filter(|(finder, _, _)| *finder != hostile);
                assert!(honest.all(|(_, spoiler, wrong)| *spoiler == hostile && !wrong), "{named:?}");
            }
        }
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn who_was_silent_is_taken_again_when_there_are_not_enough_others() {
    let item = item_led::<EdwardsPoint>(|leader| leader == 1);
    let mut network = Network::<EdwardsPoint>::new(4, 4, &item);
    network.advance(LEFT + 1);
    // One loses its connection after it committed.
    network.exchange(&mut |from, _, message| match (from, &message) {
        (2, SigningMessage::Part { .. }) => Vec::new(),
        _ => vec![message],
    });
    assert_eq!(network.signature(&item), None);
    network.advance(LEFT + ATTEMPT + 1);
    assert_eq!(network.spoilers(), BTreeSet::from([(1, 2, false)]));
    // In the next attempt of that coordinator it is not waited for at once, but from the middle on.
    network.advance(LEFT + 4 * ATTEMPT + 1);
    network.exchange(&mut pass);
    assert_eq!(network.signature(&item), None);
    network.advance(LEFT + 4 * ATTEMPT + ATTEMPT / 2);
    network.exchange(&mut pass);
    network.verify(&item, &network.signature(&item).unwrap());
    assert!(network.spoilers().is_empty(), "it is forgotten");
}

#[test]
fn one_that_is_always_silent_does_not_keep_out_one_that_was_once() {
    let item = item_led::<EdwardsPoint>(|leader| leader == 4);
    let mut network = Network::<EdwardsPoint>::new(3, 4, &item);
    // Letters to the coordinator are lost once: all look silent to it. From then on holder 1 alone commits and says no more.
    for (attempt, loses) in [(0, true), (4, false), (8, false), (12, false)] {
        for part in [1, ATTEMPT / 2] {
            network.advance(LEFT + attempt * ATTEMPT + part);
            network.exchange(&mut |from, _, message| {
                if matches!(message, SigningMessage::Part { .. }) && (loses || from == 1) {
                    Vec::new()
                } else {
                    vec![message]
                }
            });
        }
    }
    network.verify(&item, &network.signature(&item).unwrap());
    assert!(matches!(network.holders[&4].spoilers().get(&1), Some(Spoiled::Silent(2..))));
    assert_eq!(network.holders[&4].spoilers().len(), 1);
}

/// One that answers at other items is forgiven its silence, but not at the item that it wants to keep unsigned.
#[test]
fn one_that_is_silent_at_one_item_alone_does_not_keep_it_unsigned() {
    const HOSTILE: u16 = 1;
    let kept_back = item_led::<EdwardsPoint>(|leader| leader != HOSTILE);
    let leader = coordinator::<EdwardsPoint>(&kept_back, 0, 4);
    let same_turns = |other: &EgressItem| coordinator::<EdwardsPoint>(other, 0, 4) == leader && *other != kept_back;
    let other = (0..=255).map(item).find(same_turns).unwrap();
    let mut network = Network::<EdwardsPoint>::new(3, 4, &kept_back);
    // The other item's attempts have the same coordinators, half an attempt later.
    let (half, mut forgiven) = (ATTEMPT / 2, false);
    for passed in 0..8 * ATTEMPT {
        if passed == half {
            for sessions in network.holders.values_mut() {
                sessions.begin(Authorised::for_a_test(GENESIS, &other, LEFT + half)).unwrap();
            }
        }
        network.advance(LEFT + passed);
        let named = network.spoilers();
        network.exchange(&mut |from: u16, _: u16, message: SigningMessage| {
            let ours = message.session().item == id(&kept_back);
            let withheld = match &message {
                SigningMessage::Commit { .. } => false,
                SigningMessage::List { .. } => ours,
                // Under the other item it comes when its silence has been noted.
                SigningMessage::Part { .. } => ours || passed % ATTEMPT >= half,
            };
            if from == HOSTILE && withheld {
                Vec::new()
            } else {
                vec![message]
            }
        });
        let silent = (leader, HOSTILE, false);
        forgiven |= named.contains(&silent) && !network.spoilers().contains(&silent);
        if let Some(signature) = network.signature(&kept_back) {
            network.verify(&kept_back, &signature);
            assert!(forgiven);
            return;
        }
    }
    panic!("it is never signed");
}

#[test]
fn commitments_that_contradict_are_refused_and_the_first_count() {
    fn check<G: Signs>() {
        let item = item_led::<G>(|leader| leader != 4);
        let mut network = Network::<G>::new(3, 4, &item);
        network.advance(LEFT + 1);
        let leader = coordinator::<G>(&item, 0, 4);
        // The hostile one is the first to commit, and says something else at once; others' names it says too, and what is no point.
        let commit = network.holders[&4].outgoing().remove(0).1;
        let SigningMessage::Commit { session, commitments } = commit else { panic!("a commitment") };
        let say = |index: u16, hiding, binding| SigningMessage::Commit {
            session,
            commitments: NonceCommitments { index, hiding, binding },
        };
        let NonceCommitments { hiding, binding, .. } = commitments;
        let coordinator = network.holders.get_mut(&leader).unwrap();
        let other = if leader == 1 { 2 } else { 1 };
        let spoken = Err(SigningFault::SpeaksForAnother { from: 4, named: other });
        assert_eq!(coordinator.receive(4, say(other, hiding, binding)), spoken);
        assert_eq!(coordinator.receive(4, say(4, hiding, binding)), Ok(()));
        assert_eq!(coordinator.receive(4, say(4, hiding, binding)), Ok(()), "repeated");
        assert_eq!(coordinator.receive(4, say(4, binding, hiding)), Err(SigningFault::Contradicts(4)));
        assert!(network.exchange(&mut pass).is_empty());
        network.verify(&item, &network.signature(&item).unwrap());
        // Who commits to what is no point is left out, and not looked at again.
        let neutral = G::identity().to_encoding();
        for (one, other) in [([0xff; 32], binding), (hiding, [0xff; 32]), (neutral, binding), (hiding, neutral)] {
            let mut network = Network::<G>::new(3, 4, &item);
            network.advance(LEFT + 1);
            let coordinator = network.holders.get_mut(&leader).unwrap();
            let refused = Err(SigningFault::Sign(SignError::Commitment(4)));
            assert_eq!(coordinator.receive(4, say(4, one, other)), refused);
            for (one, other) in [(one, other), (hiding, binding)] {
                assert_eq!(coordinator.receive(4, say(4, one, other)), Err(SigningFault::Excluded(4)));
            }
            assert_eq!(network.attempts(&item, &mut pass), 1);
            assert_eq!(network.spoilers(), BTreeSet::from([(leader, 4, true)]));
        }
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn nothing_of_another_session_counts() {
    fn check<G: Signs>() {
        let (first, second) = (item(1), item(2));
        let mut network = Network::<G>::new(3, 4, &first);
        network.open(&second);
        // A whole attempt is written down; no part arrives.
        let mut seen: Vec<(u16, u16, SigningMessage)> = Vec::new();
        network.advance(LEFT + 1);
        network.exchange(&mut |from, to, message| {
            seen.push((from, to, message.clone()));
            match message {
                SigningMessage::Part { .. } => Vec::new(),
                other => vec![other],
            }
        });
        assert!(seen.iter().any(|(_, _, message)| matches!(message, SigningMessage::Part { .. })));
        network.advance(LEFT + ATTEMPT + 1);
        for (from, to, message) in &seen {
            // As it was, in the next attempt.
            let sessions = network.holders.get_mut(to).unwrap();
            let refused = sessions.receive(*from, message.clone());
            assert_eq!(refused, Err(SigningFault::OtherAttempt { named: 0, current: Some(1) }));
            // In the name of the other item, of the other kind of key, of other holders, of an attempt to come.
            let session = *message.session();
            let scheme = if G::SCHEME == Scheme::Ed25519 { Scheme::Ristretto255 } else { Scheme::Ed25519 };
            for (renamed, fault) in [
                (SigningSession { scheme, ..session }, SigningFault::OtherSharing),
                (SigningSession { sharing: [9; 32], ..session }, SigningFault::OtherSharing),
                (SigningSession { item: [9; 32], ..session }, SigningFault::NotAuthorised),
                (SigningSession { attempt: 2, ..session }, SigningFault::OtherAttempt { named: 2, current: Some(1) }),
            ] {
                assert_eq!(sessions.receive(*from, rename(message.clone(), renamed)), Err(fault));
            }
        }
        // A hostile holder says nothing but its old words, of this item or the other, under the name of the present session.
        let (old, hostile) = (seen, 1);
        let mut hands = |from: u16, _: u16, message: SigningMessage| {
            let session = *message.session();
            let of_kind = |candidate: &&(u16, u16, SigningMessage)| {
                let (author, _, old) = candidate;
                *author == hostile && std::mem::discriminant(old) == std::mem::discriminant(&message)
            };
            match old.iter().find(of_kind) {
                Some((_, _, replayed)) if from == hostile => vec![rename(replayed.clone(), session)],
                _ => vec![message],
            }
        };
        for item in [first, second] {
            assert!(network.attempts(&item, &mut hands) <= 9);
        }
        let named = network.spoilers();
        let wrong: BTreeSet<u16> =
            named.iter().filter(|(_, _, wrong)| *wrong).map(|(_, spoiler, _)| *spoiler).collect();
        assert!(wrong.iter().all(|spoiler| *spoiler == hostile), "{named:?}");
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

/// The same message under another session's name.
fn rename(message: SigningMessage, session: SigningSession) -> SigningMessage {
    match message {
        SigningMessage::Commit { commitments, .. } => SigningMessage::Commit { session, commitments },
        SigningMessage::List { commitments, .. } => SigningMessage::List { session, commitments },
        SigningMessage::Part { list, part, .. } => SigningMessage::Part { session, list, part },
    }
}

#[test]
fn a_coordinator_has_nothing_signed_but_what_the_holders_own_head_authorises() {
    fn check<G: Signs>() {
        let item = item_led::<G>(|leader| leader == 4);
        let mut network = Network::<G>::new(3, 4, &item);
        network.advance(LEFT + 1);
        let commits: Vec<NonceCommitments> = (1..=3)
            .map(|index| match network.holders[&index].outgoing().remove(0) {
                (4, SigningMessage::Commit { commitments, .. }) => commitments,
                other => panic!("{other:?}"),
            })
            .collect();
        let session = *network.holders[&1].outgoing()[0].1.session();
        let list = |session, commitments: Vec<NonceCommitments>| SigningMessage::List { session, commitments };
        let victim = network.holders.get_mut(&1).unwrap();
        // An item that is not open here; a list of one whose turn it is not; one that claims to be this holder.
        let elsewhere = SigningSession { item: id(&self::item(200)), ..session };
        assert_eq!(victim.receive(4, list(elsewhere, commits.clone())), Err(SigningFault::NotAuthorised));
        assert_eq!(victim.receive(2, list(session, commits.clone())), Err(SigningFault::NotCoordinator(2)));
        assert_eq!(victim.receive(1, list(session, commits.clone())), Err(SigningFault::Stranger(1)));
        assert_eq!(victim.receive(5, list(session, commits.clone())), Err(SigningFault::Stranger(5)));
        assert!(victim.receive(4, list(session, commits.clone())).is_ok());
        assert!(matches!(victim.outgoing()[..], [(4, SigningMessage::Part { .. })]));
        // A holder that sees a bad list signs nothing any more in that attempt, and goes on in the next.
        let stranger = NonceCommitments { index: 5, ..commits[2] };
        let moved = NonceCommitments { hiding: commits[1].hiding, ..commits[0] };
        let no_point = NonceCommitments { binding: [0xff; 32], ..commits[2] };
        let bad = [
            (vec![commits[0], commits[1]], SignError::TooFew { have: 2, need: 3 }),
            (Vec::new(), SignError::TooFew { have: 0, need: 3 }),
            (vec![commits[0], commits[1], commits[1]], SignError::Duplicate(2)),
            (vec![commits[0], commits[0], commits[0]], SignError::Duplicate(1)),
            (vec![commits[0], commits[1], stranger], SignError::NoSuchHolder(5)),
            (vec![commits[0], commits[1], no_point], SignError::Commitment(3)),
            (vec![commits[1], commits[2], NonceCommitments { index: 4, ..commits[0] }], SignError::OwnCommitment),
            (vec![moved, commits[1], commits[2]], SignError::OwnCommitment),
        ];
        for (wrong, why) in bad {
            let mut network = Network::<G>::new(3, 4, &item);
            network.advance(LEFT + 1);
            let victim = network.holders.get_mut(&1).unwrap();
            assert_eq!(victim.receive(4, list(session, wrong)), Err(SigningFault::Sign(why.clone())), "{why}");
            assert!(victim.outgoing().is_empty());
            assert_eq!(victim.receive(4, list(session, commits.clone())), Err(SigningFault::SecondList(4)));
            assert!(network.attempts(&item, &mut pass) <= 2, "{why}");
        }
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn what_is_signed_at_once_is_bounded_and_all_of_it_is_signed() {
    let items: Vec<EgressItem> = (0..MOST_SESSIONS as u8).map(item).collect();
    let mut network = Network::<RistrettoPoint>::new(3, 4, &items[0]);
    items.iter().for_each(|item| network.open(item));
    for sessions in network.holders.values_mut() {
        assert_eq!(sessions.begin(authorised(&item(200))), Err(BeginError::Full));
        assert_eq!(sessions.items().count(), MOST_SESSIONS);
        assert_eq!(sessions.begin(authorised(&items[3])), Ok(()), "it is open");
    }
    network.advance(LEFT + 1);
    assert!(network.exchange(&mut pass).is_empty());
    for item in &items {
        network.verify(item, &network.signature(item).unwrap());
    }
    for sessions in network.holders.values_mut() {
        sessions.close(&id(&items[3]));
        assert_eq!(sessions.begin(authorised(&item(200))), Ok(()));
    }
}

#[test]
fn a_flood_of_what_is_no_turn_of_anybody_changes_nothing() {
    let item = item_led::<EdwardsPoint>(|leader| leader == 1);
    let mut network = Network::<EdwardsPoint>::new(3, 4, &item);
    network.advance(LEFT + 1);
    let session = *network.holders[&2].outgoing()[0].1.session();
    let before: Vec<_> = network.holders.values().map(Sessions::outgoing).collect();
    let part = PartialSignature { index: 4, part: [1; 32] };
    for number in 0..=255u8 {
        let commitments = NonceCommitments { index: 4, hiding: [1; 32], binding: [2; 32] };
        let elsewhere = SigningSession { item: [number; 32], ..session };
        let part = SigningMessage::Part { session, list: [number; 32], part };
        let messages = [
            (1, part.clone(), SigningFault::NoSuchList(4)),
            (2, part, SigningFault::NotForUs(4)),
            (1, SigningMessage::Commit { session: elsewhere, commitments }, SigningFault::NotAuthorised),
            (2, SigningMessage::Commit { session, commitments }, SigningFault::NotForUs(4)),
            (1, SigningMessage::List { session, commitments: Vec::new() }, SigningFault::NotCoordinator(4)),
        ];
        for (to, message, fault) in messages {
            assert_eq!(network.holders.get_mut(&to).unwrap().receive(4, message), Err(fault));
        }
    }
    let after: Vec<_> = network.holders.values().map(Sessions::outgoing).collect();
    assert_eq!(before, after);
    assert!(network.exchange(&mut pass).is_empty());
    network.verify(&item, &network.signature(&item).unwrap());
}

#[test]
fn the_same_heads_letters_and_entropy_give_the_same() {
    let run = || {
        let item = item(1);
        let mut network = Network::<RistrettoPoint>::new(3, 4, &item);
        let mut trace = Vec::new();
        network.attempts(&item, &mut |from, to, message| {
            trace.push((from, to, message.encode()));
            vec![message]
        });
        (trace, network.signature(&item))
    };
    assert_eq!(run(), run());
}
