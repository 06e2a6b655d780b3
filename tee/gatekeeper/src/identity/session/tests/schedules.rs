//! Seeded schedules: letters that are lost, late, doubled and in any order, restarts, and one holder that says anything.

use super::*;
use phala_light_client::testing::TestRandom;

/// What honest holders said in each session.
#[derive(Default)]
struct Said {
    commitments: BTreeMap<(u16, SigningSession), NonceCommitments>,
    parts: BTreeMap<(u16, SigningSession), PartialSignature>,
}

impl Said {
    /// In one session a holder has one commitment and one part, whatever became of it in between.
    fn listen(&mut self, holder: u16, outgoing: Vec<(u16, SigningMessage)>) {
        for (_, message) in outgoing {
            let key = (holder, *message.session());
            match message {
                SigningMessage::Commit { commitments, .. } => {
                    assert_eq!(*self.commitments.entry(key).or_insert(commitments), commitments, "{key:?}");
                }
                SigningMessage::Part { part, .. } => {
                    assert_eq!(*self.parts.entry(key).or_insert(part), part, "{key:?}");
                }
                SigningMessage::List { .. } => {}
            }
        }
    }
}

/// What a hostile holder sends in place of a message: altered, or what somebody said before.
fn altered(message: SigningMessage, heard: &[SigningMessage], random: &mut TestRandom) -> SigningMessage {
    let session = *message.session();
    match (random.below(8), message) {
        (0, SigningMessage::Commit { mut commitments, .. }) => {
            std::mem::swap(&mut commitments.hiding, &mut commitments.binding);
            SigningMessage::Commit { session, commitments }
        }
        (0, SigningMessage::Part { list, mut part, .. }) => {
            part.part[random.below(31)] ^= 1;
            SigningMessage::Part { session, list, part }
        }
        (0, SigningMessage::List { mut commitments, .. }) => {
            let place = random.below(commitments.len());
            commitments.swap_remove(place);
            SigningMessage::List { session, commitments }
        }
        (1, SigningMessage::List { mut commitments, .. }) => {
            commitments.reverse();
            SigningMessage::List { session, commitments }
        }
        (1, message) => {
            let attempt = session.attempt.wrapping_add(random.below(3) as u32).wrapping_sub(1);
            rename(message, SigningSession { attempt, ..session })
        }
        (2, _) if !heard.is_empty() => heard[random.below(heard.len())].clone(),
        (3, _) if !heard.is_empty() => rename(heard[random.below(heard.len())].clone(), session),
        (_, message) => message,
    }
}

fn run<G: Signs>(seed: u64) {
    let mut random = TestRandom::new(seed);
    let hostile = random.below(4) as u16 + 1;
    let item = item(seed as u8);
    let mut network = Network::<G>::new(3, 4, &item);
    let (mut said, mut heard) = (Said::default(), Vec::new());
    let mut late: Vec<(u16, u16, SigningMessage)> = Vec::new();
    for step in 0..6 * ATTEMPT {
        network.advance(LEFT + step);
        let mut posted = std::mem::take(&mut late);
        for (from, sessions) in &network.holders {
            posted.extend(sessions.outgoing().into_iter().map(|(to, message)| (*from, to, message)));
        }
        while !posted.is_empty() {
            let (from, to, message) = posted.swap_remove(random.below(posted.len()));
            match random.below(8) {
                0 => continue,
                1 => {
                    late.push((from, to, message));
                    continue;
                }
                2 => late.push((from, to, message.clone())),
                _ => {}
            }
            let message = if from == hostile { altered(message, &heard, &mut random) } else { message };
            let _ = network.holders.get_mut(&to).unwrap().receive(from, message.clone());
            heard.push(message);
            let sessions = &network.holders[&to];
            if to != hostile {
                said.listen(to, sessions.outgoing());
            }
        }
        if random.below(20) == 0 {
            let index = random.below(4) as u16 + 1;
            let mut sessions = network.shared.sessions(index);
            sessions.begin(authorised(&item)).unwrap();
            sessions.advance(LEFT + step, &Secret::new([5; 32])).unwrap();
            network.holders.insert(index, sessions);
        }
        for (index, sessions) in network.holders.iter().filter(|(index, _)| **index != hostile) {
            said.listen(*index, sessions.outgoing());
        }
        if let Some(signature) = network.signature(&item) {
            network.verify(&item, &signature);
        }
        let named = network.spoilers();
        assert!(named.iter().all(|(_, spoiler, wrong)| !wrong || *spoiler == hostile), "{seed}: {named:?}");
    }
    // When letters of the others arrive again, there is a signature, whatever was before.
    let mut hands = |from: u16, _: u16, message: SigningMessage| {
        if from == hostile {
            Vec::new()
        } else {
            vec![message]
        }
    };
    assert!(network.attempts(&item, &mut hands) <= 20, "{seed}");
    assert!(!said.parts.is_empty());
}

#[test]
fn under_any_schedule_no_honest_holder_says_two_things_or_is_named_and_a_signature_comes() {
    for seed in 0..16 {
        run::<EdwardsPoint>(seed);
        run::<RistrettoPoint>(seed);
    }
}
