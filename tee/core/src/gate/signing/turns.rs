//! Which lists of commitments are in one status, where all of them would be more than it may have.
//!
//! A coordinator has a list for each signer. Of 32 messages in both schemes, among a hundred holders, that is 20 MB, and a relayer takes no
//! status of more than 16: such a coordinator would be cut off from its chain.
//!
//! Guarantees: what is taken has a bounded number of bytes; every list that stays to be said is taken within as many turns as all of them
//! fill, whatever goes and comes meanwhile; commitments and parts, of which there are few, are there each time. Other holders control how
//! long a list is to be said: until its part is there, or its attempt is over.

use codec::Encode;
use phala_protocol::{
    identities::signing::{SigningMessage, SigningSession},
    relay::MAX_DELIVERY_BYTES,
};

/// Bytes of lists in one status. The rest of it is for parcels, introductions and answers, of which a hundred each have less than 5 MB.
const MAX_LIST_BYTES: usize = MAX_DELIVERY_BYTES / 2;
/// Bytes that a letter has beside its message, in an item of a status.
const BYTES_BESIDE: usize = 128;

/// For which holder a message is, and what it says.
type Addressed = (u16, SigningMessage);

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    /// The list that was taken last.
    last: Option<(SigningSession, u16)>,
}

impl Turns {
    /// Of everything that is to be said, what has its turn now.
    pub(super) fn take(&mut self, said: impl Iterator<Item = Addressed>) -> Vec<Addressed> {
        let (mut lists, mut taken): (Vec<Addressed>, Vec<Addressed>) =
            said.partition(|(_, message)| matches!(message, SigningMessage::List { .. }));
        let place = |(to, message): &Addressed| (*message.session(), *to);
        lists.sort_by_key(place);
        let last = self.last;
        let next = lists.partition_point(|list| last.is_some_and(|last| place(list) <= last));
        lists.rotate_left(next);
        let mut bytes = 0usize;
        for list in lists {
            bytes = bytes.saturating_add(list.1.encoded_size()).saturating_add(BYTES_BESIDE);
            if bytes > MAX_LIST_BYTES {
                break;
            }
            self.last = Some(place(&list));
            taken.push(list);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{
        ceremony::MAX_SEATS,
        identities::{
            signing::{NonceCommitments, SigningLetter, MAX_SIGNING_MESSAGE_BYTES},
            Scheme,
        },
        relay::Outgoing,
        WorkerId,
    };
    use std::collections::BTreeSet;

    const SIGNED: u8 = 64;

    fn session(number: u8) -> SigningSession {
        let scheme = if number.is_multiple_of(2) { Scheme::Ed25519 } else { Scheme::Ristretto255 };
        SigningSession { scheme, sharing: [1; 32], item: [number; 32], attempt: 3 }
    }

    /// What a coordinator of all that is signed has for the others of a hundred holders, and a commitment of its own.
    fn said() -> Vec<Addressed> {
        let one = NonceCommitments { index: 1, hiding: [2; 32], binding: [3; 32] };
        let list = |number| SigningMessage::List { session: session(number), commitments: vec![one; MAX_SEATS] };
        let lists = (0..SIGNED).flat_map(|number| (2..=MAX_SEATS as u16).map(move |to| (to, list(number))));
        lists.chain([(2, SigningMessage::Commit { session: session(0), commitments: one })]).collect()
    }

    fn places(taken: &[Addressed]) -> BTreeSet<(SigningSession, u16)> {
        let lists = taken.iter().filter(|(_, message)| matches!(message, SigningMessage::List { .. }));
        lists.map(|(to, message)| (*message.session(), *to)).collect()
    }

    fn bytes(taken: Vec<Addressed>) -> usize {
        let item = |(to, message)| {
            let letter = SigningLetter { from: 1, to, message, signature: [4; 64] };
            Outgoing::Sign { to: WorkerId([5; 32]), letter }.encoded_size()
        };
        taken.into_iter().map(item).sum()
    }

    #[test]
    fn all_lists_of_a_coordinator_get_out_and_no_status_has_more_than_a_relayer_takes() {
        let said = said();
        assert_eq!(said[0].1.encoded_size(), MAX_SIGNING_MESSAGE_BYTES);
        assert!(bytes(said.clone()) > 2 * MAX_DELIVERY_BYTES, "all of it in one status would cut it off");
        let (mut turns, mut seen) = (Turns::default(), BTreeSet::new());
        let all = usize::from(SIGNED) * (MAX_SEATS - 1);
        for _ in 0..6 {
            let taken = turns.take(said.clone().into_iter());
            let lists = places(&taken);
            assert_eq!(taken.len(), lists.len() + 1, "its own commitment is there each time");
            assert!(
                seen.len() + lists.len() > all || lists.is_disjoint(&seen),
                "none twice before all were there once"
            );
            assert!(bytes(taken) <= MAX_LIST_BYTES + 1_024);
            seen.extend(lists);
        }
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn a_list_gets_out_though_others_go_and_come() {
        let (said, mut turns) = (said(), Turns::default());
        // The last one stays; all that had a turn are answered, and there again for the next.
        let (last, mut gone) = ((session(SIGNED - 1), MAX_SEATS as u16), BTreeSet::new());
        let turn = (1..).find(|_| {
            let stays = |(to, message): &&Addressed| !gone.contains(&(*message.session(), *to));
            let taken = turns.take(said.iter().filter(stays).cloned());
            gone = places(&taken);
            gone.contains(&last)
        });
        assert!(turn.unwrap() <= 6);
        // What all fits is there in each.
        let few: Vec<_> = said.into_iter().take(9).collect();
        for _ in 0..3 {
            assert_eq!(places(&turns.take(few.clone().into_iter())).len(), 9);
        }
    }
}
