//! What a signer never does: use nonces twice, sign with a share of another set, or as another contract.

use super::*;
use std::cell::RefCell;

#[test]
fn no_public_path_gives_two_parts_for_one_commitment() {
    fn check<G: Signs>() {
        let item = item_led::<G>(|leader| leader == 4);
        let mut network = Network::<G>::new(3, 4, &item);
        // Everything that the victim ever says, by what it had committed to.
        let mut committed: Vec<NonceCommitments> = Vec::new();
        let mut parts: BTreeMap<Vec<u8>, BTreeSet<[u8; 32]>> = BTreeMap::new();
        let mut current = None;
        let mut listen = |sessions: &Sessions<G>| {
            for (_, message) in sessions.outgoing() {
                match message {
                    SigningMessage::Commit { commitments, .. } => {
                        if current != Some(commitments) {
                            let NonceCommitments { hiding, binding, .. } = commitments;
                            assert!(committed.iter().all(|one| one.hiding != hiding && one.binding != binding));
                            committed.push(commitments);
                        }
                        current = Some(commitments);
                    }
                    SigningMessage::Part { part, .. } => {
                        parts.entry(current.unwrap().encode()).or_default().insert(part.part);
                    }
                    SigningMessage::List { .. } => {}
                }
            }
        };
        let lists = |network: &Network<G>| -> Vec<SigningMessage> {
            let commitment = |index: u16| match network.holders[&index].outgoing().first() {
                Some((_, SigningMessage::Commit { commitments, .. })) => Some(*commitments),
                _ => None,
            };
            let own = commitment(1);
            let session = network.holders[&1].outgoing().first().map(|(_, message)| *message.session());
            let others: Vec<NonceCommitments> = (2..=3).filter_map(commitment).collect();
            let fourth = others.first().map(|one| NonceCommitments { index: 4, ..*one });
            let sets = [
                own.into_iter().chain(others.iter().copied()).collect::<Vec<_>>(),
                own.into_iter().chain(others.iter().copied()).chain(fourth).collect(),
                own.into_iter().chain(others.first().copied()).chain(fourth).collect(),
            ];
            let list = |commitments| session.map(|session| SigningMessage::List { session, commitments });
            sets.into_iter().filter_map(list).collect()
        };
        // Attempts with the hostile coordinator, and between them: the item closed and opened, heads repeated and turned back.
        for attempt in [0, 4, 8, 12] {
            for _ in 0..2 {
                network.advance(LEFT + attempt * ATTEMPT + 1);
                let hostile = lists(&network);
                assert_eq!(hostile.len(), 3);
                let victim = network.holders.get_mut(&1).unwrap();
                listen(&*victim);
                for _ in 0..2 {
                    for list in &hostile {
                        let _ = victim.receive(4, list.clone());
                        listen(&*victim);
                        victim.begin(authorised(&item)).unwrap();
                        victim.advance(LEFT, &Secret::new([5; 32])).unwrap();
                        victim.advance(LEFT + attempt * ATTEMPT + 1, &Secret::new([5; 32])).unwrap();
                        listen(&*victim);
                    }
                }
                for sessions in network.holders.values_mut() {
                    sessions.close(&id(&item));
                    assert!(sessions.outgoing().is_empty());
                    sessions.begin(authorised(&item)).unwrap();
                }
            }
        }
        assert_eq!((committed.len(), parts.len()), (8, 8));
        assert!(parts.values().all(|parts| parts.len() == 1));
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn a_holder_that_restarts_begins_with_another_attempt_and_other_nonces() {
    fn check<G: Signs>() {
        let item = item_led::<G>(|leader| leader != 4);
        let mut network = Network::<G>::new(3, 4, &item);
        network.advance(LEFT + 2);
        let before = network.holders[&4].outgoing();
        assert_eq!(before.len(), 1);
        // Killed after it committed. Heads only rise; its entropy is the same again.
        let mut restarted = network.shared.sessions(4);
        restarted.begin(authorised(&item)).unwrap();
        for head in [LEFT + 3, LEFT + ATTEMPT - 1] {
            restarted.advance(head, &Secret::new([5; 32])).unwrap();
            assert!(restarted.outgoing().is_empty(), "not in the attempt that was under way");
        }
        let list = SigningMessage::List { session: *before[0].1.session(), commitments: Vec::new() };
        let leader = coordinator::<G>(&item, 0, 4);
        let refused = Err(SigningFault::OtherAttempt { named: 0, current: None });
        assert_eq!(restarted.receive(leader, list), refused);
        network.holders.insert(4, restarted);
        network.advance(LEFT + ATTEMPT + 1);
        let sessions = &network.holders[&4];
        assert!(sessions.open[&id(&item)].attempt.as_ref().is_some_and(|attempt| attempt.session.attempt == 1));
        let (_, SigningMessage::Commit { commitments: old, .. }) = before[0] else { panic!("a commitment") };
        let Own::Committed(new) = &sessions.open[&id(&item)].attempt.as_ref().unwrap().own else { panic!("committed") };
        assert!(new.commitments.hiding != old.hiding && new.commitments.binding != old.binding);
        assert!(network.attempts(&item, &mut pass) <= 2);
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn what_a_former_holder_has_makes_no_part_after_a_hand_over() {
    fn check<G: Signs>() {
        let item = item_led::<G>(|leader| leader != 2);
        let former = insecure_split::<G>(2, 3, 5);
        let mut network = Network::<G>::new(3, 4, &item);
        assert_eq!(former.record.key(), network.shared.record.key());
        // As it is, it speaks of other holders, and with itself alone it is too few.
        let mut ex = former.sessions(2);
        ex.advance(LEFT - 1, &Secret::new([6; 32])).unwrap();
        ex.begin(authorised(&item)).unwrap();
        ex.advance(LEFT + 1, &Secret::new([6; 32])).unwrap();
        network.advance(LEFT + 1);
        for (_, message) in ex.outgoing() {
            let leader = coordinator::<G>(&item, 0, 4);
            let refused = network.holders.get_mut(&leader).unwrap().receive(2, message);
            assert_eq!(refused, Err(SigningFault::OtherSharing));
        }
        // With a holder of the new set, who lends it its channel: the former share signs in the place of the new one.
        let signer = || Signer::new(&former.record, &former.share(2), &GENESIS, &item.contract).unwrap();
        type Lent<G> = (Signer<G>, Option<Nonces<G>>, NonceCommitments);
        let mut lent: BTreeMap<u32, Lent<G>> = BTreeMap::new();
        let signed: RefCell<Vec<(Vec<NonceCommitments>, PartialSignature)>> = RefCell::default();
        let mut hands = |from: u16, to: u16, message: SigningMessage| match message {
            SigningMessage::Commit { session, .. } if from == 2 => {
                let entropy = Secret::new([session.attempt as u8; 32]);
                let (_, _, commitments) = lent.entry(session.attempt).or_insert_with(|| {
                    let mut signer = signer();
                    let (nonces, commitments) = signer.commit(entropy).unwrap();
                    (signer, Some(nonces), commitments)
                });
                vec![SigningMessage::Commit { session, commitments: *commitments }]
            }
            SigningMessage::List { session, commitments } if to == 2 => {
                let (signer, nonces, _) = lent.get_mut(&session.attempt).unwrap();
                if let Some(nonces) = nonces.take() {
                    let part = signer.sign(nonces, &commitments, &authorised(&item)).unwrap();
                    signed.borrow_mut().push((commitments.clone(), part));
                }
                vec![SigningMessage::List { session, commitments }]
            }
            other => vec![other],
        };
        // Holder 2 itself has no part for such a list; the former share's is brought in its name.
        let mut named = 0;
        for attempt in 0..4 {
            network.advance(LEFT + attempt * ATTEMPT + 1);
            network.exchange(&mut hands);
            let Some((commitments, part)) = signed.borrow_mut().pop() else { continue };
            let leader = coordinator::<G>(&item, attempt, 4);
            let sessions = network.holders.get_mut(&leader).unwrap();
            let session = sessions.open[&id(&item)].attempt.as_ref().unwrap().session;
            let list = session.list_hash(&commitments);
            let answer = sessions.receive(2, SigningMessage::Part { session, list, part });
            assert_eq!(answer, Err(SigningFault::Sign(SignError::Wrong(vec![2]))));
            assert_eq!(sessions.spoilers().get(&2), Some(&Spoiled::Wrong));
            named += 1;
        }
        assert!(named > 0);
        assert!(network.attempts(&item, &mut hands) <= 9);
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn a_signer_signs_as_the_contract_of_the_item_and_on_its_chain_alone() {
    fn check<G: Signs>() {
        let shared = insecure_split::<G>(1, 2, 3);
        let mut signers: Vec<Signer<G>> = (1..=2)
            .map(|index| Signer::new(&shared.record, &shared.share(index), &GENESIS, &ContractId([3; 32])).unwrap())
            .collect();
        let other = EgressItem { contract: ContractId([4; 32]), ..item(1) };
        let elsewhere = Authorised::for_a_test([8; 32], &item(1), LEFT);
        for (message, good) in [(authorised(&item(1)), true), (authorised(&other), false), (elsewhere, false)] {
            let (nonces, commitments): (Vec<_>, Vec<_>) =
                signers.iter_mut().map(|signer| signer.commit(Secret::new([1; 32])).unwrap()).unzip();
            let signed: Vec<_> = signers
                .iter()
                .zip(nonces)
                .map(|(signer, nonces)| signer.sign(nonces, &commitments, &message).err())
                .collect();
            assert_eq!(signed, vec![(!good).then_some(SignError::OtherContract); 2]);
        }
        let mut sessions = shared.sessions(1);
        assert_eq!(sessions.begin(Authorised::for_a_test([8; 32], &item(1), LEFT)), Err(BeginError::OtherChain));
        let stranger = insecure_split::<G>(9, 2, 3);
        let mixed = Sessions::new(GENESIS, shared.record.clone(), stranger.share(1)).err();
        assert_eq!(mixed, Some(SignError::NoSuchHolder(1)));
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

/// `testing/vectors/crypto/derivations.json`, which a second implementation computed.
#[test]
fn entropy_of_a_holders_nonces_follows_its_vector() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../../testing/vectors/crypto/derivations.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let vector = cases.iter().find(|case| case["label"] == domain::IDENTITY_SIGNING.as_str()).unwrap();
    let bytes = |name: &str| -> [u8; 32] { hex::decode(vector[name].as_str().unwrap()).unwrap().try_into().unwrap() };
    let count = |first: u8| -> Hash { core::array::from_fn(|index| first + index as u8) };
    let id = SigningSession { scheme: Scheme::Ristretto255, sharing: count(11), item: count(12), attempt: 3 };
    let entropy = Secret::new(bytes("secret"));
    assert_eq!(*own_entropy(&entropy, &id, 2, 4).expose(), bytes("output"));
    assert_ne!(*own_entropy(&entropy, &id, 2, 5).expose(), bytes("output"));
}
