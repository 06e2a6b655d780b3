//! What of a boundary's envelopes can be done before their turn, and for all of them at once: opening them, and checking the accounts'
//! signatures as one batch, which costs half of checking each.
//!
//! Guarantees: nothing is decided here. A claim is noted as holding only when a batch of claims that it is in holds, which is when each
//! of them does; whoever finds no note checks for himself, at his turn. So every verdict is that of a single check, on every replica,
//! and one bad signature costs its pusher's neighbours nothing but time: halves are tried until the bad ones are alone.
//! Whoever pushes controls every byte that is opened here.

use crate::command::Context;
use phala_crypto::{
    envelope::{open_envelope, Destination, Opened},
    signature::sr25519::{self, Claim},
};
use phala_protocol::{
    call::{session_payload, signing_payload, SessionOpen, SignedCall},
    envelope::{public_key_hash, Envelope, EnvelopeKind},
    inbox::{Item, ItemKind},
    Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// Claims that are not worth a batch.
const FEW: usize = 3;
/// Bytes of opened envelopes that are kept for their turn; what is over is opened then.
const MAX_BYTES: usize = 64 << 20;

/// What was done ahead of an item's turn.
pub(crate) struct Ahead {
    opened: BTreeMap<u64, Opened>,
    holding: BTreeSet<Claim>,
    key_hash: Hash,
}

impl Ahead {
    /// Opens what can be opened of `items`, and checks the signatures in it. None without the envelope key.
    pub(crate) fn of(context: &Context<'_>, items: &[Item]) -> Option<Self> {
        let key = context.keys.envelope.as_ref()?;
        let destination = Destination { genesis: *context.genesis, cluster: context.cluster, epoch: context.epoch };
        let key_hash = public_key_hash(key.public_key());
        let (mut opened, mut claims, mut bytes) = (BTreeMap::new(), Vec::new(), 0usize);
        for item in items.iter().filter(|item| matches!(item.header.kind, ItemKind::Envelope(_))) {
            let Ok(envelope) = Envelope::decode_exact(&item.message) else { continue };
            bytes = bytes.saturating_add(envelope.body.len());
            if envelope.header.kind == EnvelopeKind::SessionCommand || bytes > MAX_BYTES {
                continue;
            }
            let Ok(content) = open_envelope(key, &destination, &envelope) else { continue };
            claims.extend(claim(context, &key_hash, envelope.header.kind, content.data.expose()));
            opened.insert(item.header.sequence, content);
        }
        let mut ahead = Self { opened, holding: BTreeSet::new(), key_hash };
        ahead.check(&claims);
        Some(ahead)
    }

    /// The content of an item's envelope, if it was opened.
    pub(crate) fn opened(&self, sequence: u64) -> Option<&Opened> {
        self.opened.get(&sequence)
    }

    /// Hash of the envelope key.
    pub(crate) fn key_hash(&self) -> &Hash {
        &self.key_hash
    }

    /// Whether an account signed `message`: as noted, or else by looking.
    pub(crate) fn verify(&self, public: &[u8; 32], message: &Hash, signature: &[u8; 64]) -> bool {
        self.holding.contains(&Claim { public: *public, message: *message, signature: *signature })
            || sr25519::verify_wallet(public, message, signature).is_ok()
    }

    fn check(&mut self, claims: &[Claim]) {
        if claims.len() < FEW {
            return;
        }
        if sr25519::verify_all(claims) {
            self.holding.extend(claims);
            return;
        }
        let (first, second) = claims.split_at_checked(claims.len() / 2).unwrap_or_default();
        self.check(first);
        self.check(second);
    }
}

/// What the account in an opened envelope is said to have signed.
fn claim(context: &Context<'_>, key_hash: &Hash, kind: EnvelopeKind, data: &[u8]) -> Option<Claim> {
    let (signed, message) = match kind {
        EnvelopeKind::Call => {
            let signed = SignedCall::decode_exact(data).ok()?;
            let message = signing_payload(context.genesis, context.cluster, key_hash, &signed.call);
            (signed, message)
        }
        EnvelopeKind::SessionOpen => {
            let SessionOpen { signed, session_key } = SessionOpen::decode_exact(data).ok()?;
            let message = session_payload(context.genesis, context.cluster, key_hash, &signed.call, &session_key);
            (signed, message)
        }
        EnvelopeKind::SessionCommand => return None,
    };
    Some(Claim { public: signed.account.0, message, signature: signed.signature })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use phala_crypto::{
        signature::sr25519::{verify_wallet, wrap, AccountKey},
        Secret,
    };
    use phala_light_client::testing::TestRandom;

    /// A claim of some kind: good, wrapped by a wallet, or bad in one of five ways.
    fn claim(random: &mut TestRandom, kind: usize) -> Claim {
        let key = AccountKey::from_mini_secret(&Secret::new(random.bytes())).unwrap();
        let message = random.bytes();
        let signature = match kind {
            1 => key.sign(&wrap(&message), &[0; 32]),
            2 => key.sign(&random.bytes(), &[0; 32]),
            _ => key.sign(&message, &[0; 32]),
        };
        let mut claim = Claim { public: key.public(), message, signature };
        match kind {
            3 => claim.signature[random.below(64)] ^= 1 << random.below(8),
            4 => claim.public = random.bytes(),
            5 => claim.signature = [0; 64],
            6 => claim.message[31] ^= 1,
            _ => {}
        }
        claim
    }

    #[test]
    fn every_verdict_is_that_of_a_single_check_whoever_else_is_in_the_boundary() {
        let mut random = TestRandom::new(7);
        for (count, one_in) in [(1, 1), (2, 2), (40, 1), (60, 2), (60, 7), (64, 64), (50, 1_000)] {
            let mut claims = Vec::new();
            for _ in 0..count {
                let kind = if random.below(one_in) == 0 { 1 + random.below(6) } else { 0 };
                claims.push(claim(&mut random, kind));
            }
            let mut ahead = Ahead { opened: BTreeMap::new(), holding: BTreeSet::new(), key_hash: [0; 32] };
            ahead.check(&claims);
            for Claim { public, message, signature } in &claims {
                let alone = verify_wallet(public, message, signature).is_ok();
                assert_eq!(ahead.verify(public, message, signature), alone);
            }
            let good = |claim: &Claim| sr25519::verify(&claim.public, &claim.message, &claim.signature).is_ok();
            assert!(ahead.holding.iter().all(good), "a bad one is noted as holding");
            let noted = claims.iter().filter(|claim| ahead.holding.contains(claim)).count();
            let all_good = claims.iter().all(good) && count >= FEW;
            assert!(!all_good || noted == count, "a batch of good ones holds at once");
        }
    }
}
