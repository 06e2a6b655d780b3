//! A relayer that alters what it brings.
//!
//! Guarantees: [`tamper`] changes an honest delivery in one way, or leaves it alone where there is nothing to change. What comes
//! out is what a host can make; no key of anybody is used.

use crate::random::Random;
use codec::{Decode, Encode};
use phala_light_client::testing::Justification;
use phala_protocol::{
    finality::FinalityProof,
    inbox::{Item, ItemOrigin},
    relay::{Delivery, Outgoing},
    AccountId, ClusterId,
};

/// Ways of altering a delivery.
pub const TAMPER_KINDS: u32 = 26;
/// The first of them, which alter items.
pub const ITEM_KINDS: u32 = 12;

/// The delivery's bytes after change number `kind`.
pub fn tamper(honest: &Delivery, kind: u32, chance: &mut Random) -> Vec<u8> {
    let mut delivery = honest.clone();
    match kind % TAMPER_KINDS {
        0 => items(&mut delivery, |items, _| drop(items.remove(0)), chance),
        1 => items(&mut delivery, |items, _| drop(items.pop()), chance),
        2 => items(&mut delivery, |items, chance| drop(items.remove(pick(items, chance))), chance),
        3 => items(
            &mut delivery,
            |items, _| {
                let last = items.len() - 1;
                items.swap(0, last);
            },
            chance,
        ),
        4 => items(
            &mut delivery,
            |items, chance| {
                let index = pick(items, chance);
                items.insert(index, items[index].clone());
            },
            chance,
        ),
        5 => items(
            &mut delivery,
            |items, chance| {
                let index = pick(items, chance);
                flip(&mut items[index].message, chance);
            },
            chance,
        ),
        6 => one_item(&mut delivery, |item| item.header.fee -= 1, chance),
        7 => one_item(&mut delivery, |item| item.header.origin = ItemOrigin::Account(AccountId([0; 32])), chance),
        8 => one_item(&mut delivery, |item| item.header.time_ms += 1, chance),
        9 => one_item(&mut delivery, |item| item.previous[0] ^= 1, chance),
        10 => one_item(&mut delivery, |item| item.header.sequence += 1, chance),
        11 => one_item(&mut delivery, |item| item.header.block += 1, chance),
        12 => delivery.proof.clear(),
        13 => {
            let index = chance.below(delivery.proof.len() as u32) as usize;
            if index < delivery.proof.len() {
                delivery.proof.remove(index);
            }
        }
        14 => {
            let index = chance.below(delivery.proof.len() as u32) as usize;
            if let Some(node) = delivery.proof.get_mut(index) {
                flip(node, chance);
            }
        }
        15 => delivery.finality.truncate(chance.below(delivery.finality.len() as u32) as usize),
        16 => flip(&mut delivery.finality, chance),
        17 => fewer_votes(&mut delivery),
        18 => delivery.finality.clear(),
        19 => delivery.items.iter_mut().for_each(|inbox| inbox.items.insert(0, vec![0xff; 40])),
        20 => delivery.codes = vec![vec![0; 100], b"\0asm\x01\0\0\0".to_vec()],
        21 => delivery.answers.iter_mut().for_each(|(_, answer)| flip(&mut answer.body, chance)),
        22 => delivery.answers.iter_mut().for_each(|(request, _)| request[0] ^= 1),
        23 => delivery.inquiries.iter_mut().for_each(|inquiry| match chance.below(6) {
            0 => flip(&mut inquiry.evidence, chance),
            1 => flip(&mut inquiry.collateral, chance),
            2 => inquiry.request.request.epoch += 1,
            3 => inquiry.request.request.cluster = ClusterId(1),
            4 => inquiry.request.request.era += 1,
            _ => flip(&mut inquiry.request.public_key, chance),
        }),
        24 => delivery.items.iter_mut().for_each(|inbox| inbox.cluster = ClusterId(7)),
        _ => {
            let mut bytes = delivery.encode();
            bytes.truncate(chance.below(bytes.len() as u32) as usize);
            return bytes;
        }
    }
    delivery.encode()
}

/// Alters what a TEE has for the chain; signatures are over everything, so nothing may come of it.
pub fn alter(outgoing: &mut Outgoing) {
    match outgoing {
        Outgoing::Register { registration, .. } => registration.block_hash[0] ^= 1,
        Outgoing::RecordRoot { root, .. } => root.share_list[0] ^= 1,
        Outgoing::AnnounceKey { public_key, .. } => {
            if let Some(byte) = public_key.first_mut() {
                *byte ^= 1;
            }
        }
        Outgoing::Result(signed) => signed.result.next[0] ^= 1,
        Outgoing::Rekey(signed) => signed.rekey.new[0] ^= 1,
        Outgoing::AskKeys(inquiry) => inquiry.request.request.nonce[0] ^= 1,
        Outgoing::AnswerKeys { answer, .. } => {
            if let Some(byte) = answer.body.first_mut() {
                *byte ^= 1;
            }
        }
        Outgoing::Egress(proved) => proved.item.sequence ^= 1,
        // Of key ceremonies, identities and the beacon, in which no TEE takes part here.
        Outgoing::State(_)
        | Outgoing::StateWith { .. }
        | Outgoing::Introduce { .. }
        | Outgoing::Post { .. }
        | Outgoing::BeaconKey(_)
        | Outgoing::BeaconPartial { .. }
        | Outgoing::StateIdentity { .. }
        | Outgoing::ShowIdentities(_)
        | Outgoing::Sign { .. }
        | Outgoing::AttachSignature { .. }
        | Outgoing::Heartbeat(_) => {}
    }
}

fn pick<T>(list: &[T], chance: &mut Random) -> usize {
    chance.below(list.len() as u32) as usize
}

fn flip(bytes: &mut [u8], chance: &mut Random) {
    let index = chance.below(bytes.len() as u32) as usize;
    if let Some(byte) = bytes.get_mut(index) {
        *byte ^= 1 << chance.below(8);
    }
}

fn items(delivery: &mut Delivery, change: impl Fn(&mut Vec<Item>, &mut Random), chance: &mut Random) {
    for inbox in &mut delivery.items {
        let mut decoded: Vec<Item> =
            inbox.items.iter().filter_map(|bytes| Item::decode(&mut bytes.as_slice()).ok()).collect();
        if !decoded.is_empty() {
            change(&mut decoded, chance);
        }
        inbox.items = decoded.iter().map(Encode::encode).collect();
    }
}

fn one_item(delivery: &mut Delivery, change: impl Fn(&mut Item), chance: &mut Random) {
    items(
        delivery,
        |items, chance| {
            let index = pick(items, chance);
            change(&mut items[index]);
        },
        chance,
    );
}

/// The last justification with half of its votes.
fn fewer_votes(delivery: &mut Delivery) {
    let Ok(mut proof) = FinalityProof::decode(&mut delivery.finality.as_slice()) else { return };
    let Some(fragment) = proof.fragments.last_mut() else { return };
    let Ok(mut justification) = Justification::decode(&mut fragment.justification.as_slice()) else { return };
    let half = justification.commit.precommits.len() / 2;
    justification.commit.precommits.truncate(half);
    fragment.justification = justification.encode();
    delivery.finality = proof.encode();
}
