//! What of a boundary's envelopes can be done before their turn, and for all of them at once: opening and reading them, and checking the
//! accounts' signatures as one batch, which costs half of checking each.
//!
//! Guarantees: nothing is decided here. What an envelope holds is read as it would be at its turn, by the same function, and once. A claim
//! is noted as holding only when a batch of claims that it is in holds, which is when each of them does; whoever finds it not noted checks
//! for himself, at his turn. So every verdict is that of a single check, on every replica, and one bad signature costs its pusher's
//! neighbours nothing but time: halves are tried until the bad ones are alone.
//! Whoever pushes controls every byte that is opened here.

use crate::command::Context;
use phala_crypto::{
    envelope::{open_envelope, Opened},
    hpke::Exporter,
    signature::sr25519::{self, Claim},
    xwing::DecapsulationKey,
};
use phala_protocol::{
    call::{session_payload, signing_payload, SessionOpen, SignedCall},
    envelope::{public_key_hash, EnvelopeKind, EnvelopeRef},
    inbox::{Item, ItemKind},
    result::Failure,
    Hash,
};

/// Claims that are not worth a batch.
const FEW: usize = 3;
/// Bytes of opened envelopes that are kept for their turn; what is over is opened then.
const MAX_BYTES: usize = 64 << 20;

/// What was done ahead of an item's turn.
pub(crate) struct Ahead {
    /// What was read of each item's envelope, if it was.
    notes: Vec<Option<Result<Note, Failure>>>,
    /// The sequence of the first item.
    first: u64,
    key_hash: Hash,
}

/// What an envelope holds: a call, and that its account is said to have signed it.
pub(crate) struct Note {
    pub signed: SignedCall,
    /// The key of the session that it opens, and what the session's secret is made of.
    pub opens: Option<([u8; 32], Exporter)>,
    /// What the account signed, if it did.
    payload: Hash,
    /// It did: a batch says so.
    holds: bool,
}

impl Note {
    /// Opens an envelope, and reads what is in it.
    pub(crate) fn read(
        context: &Context<'_>,
        key: &DecapsulationKey,
        key_hash: &Hash,
        envelope: EnvelopeRef<'_>,
    ) -> Result<Self, Failure> {
        let Opened { data, exporter } =
            open_envelope(key, &context.destination(), envelope).map_err(|_| Failure::Undecryptable)?;
        let (signed, payload, opens) = match envelope.header.kind {
            EnvelopeKind::Call => {
                let signed = SignedCall::decode_exact(data.expose()).map_err(|_| Failure::Malformed)?;
                let payload = signing_payload(context.genesis, context.cluster, key_hash, &signed.call);
                (signed, payload, None)
            }
            EnvelopeKind::SessionOpen => {
                let opening = SessionOpen::decode_exact(data.expose()).map_err(|_| Failure::Malformed)?;
                let SessionOpen { signed, session_key } = opening;
                let payload = session_payload(context.genesis, context.cluster, key_hash, &signed.call, &session_key);
                (signed, payload, Some((session_key, exporter)))
            }
            // Which does not open: it is under its session's secret.
            EnvelopeKind::SessionCommand => return Err(Failure::Undecryptable),
        };
        Ok(Self { signed, opens, payload, holds: false })
    }

    /// Whether its account signed it: as noted, or else by looking.
    pub(crate) fn verify(&self) -> bool {
        let SignedCall { account, signature, .. } = &self.signed;
        self.holds || sr25519::verify_wallet(&account.0, &self.payload, signature).is_ok()
    }

    fn claim(&self) -> Claim {
        Claim { public: self.signed.account.0, message: self.payload, signature: self.signed.signature }
    }
}

impl Ahead {
    /// Opens and reads what can be of `items`, and checks the signatures in it. None without the envelope key.
    pub(crate) fn of(context: &Context<'_>, items: &[Item]) -> Option<Self> {
        let key = context.keys.envelope.as_ref()?;
        let key_hash = public_key_hash(key.public_key());
        let first = items.first().map_or(0, |item| item.header.sequence);
        let mut ahead = Self { notes: Vec::with_capacity(items.len()), first, key_hash };
        let (mut claims, mut places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        let mut bytes = 0usize;
        let mut read = |item: &Item| -> Option<Result<Note, Failure>> {
            if !matches!(item.header.kind, ItemKind::Envelope(_)) {
                return None;
            }
            let envelope = EnvelopeRef::decode_exact(&item.message).ok()?;
            bytes = bytes.saturating_add(envelope.body.len());
            if envelope.header.kind == EnvelopeKind::SessionCommand || bytes > MAX_BYTES {
                return None;
            }
            Some(Note::read(context, key, &key_hash, envelope))
        };
        for (place, item) in items.iter().enumerate() {
            // Sequences follow each other. Were it not so, what is read of an item would be taken for another's.
            let note = if ahead.place(item.header.sequence) == Some(place) { read(item) } else { None };
            if let Some(Ok(note)) = &note {
                claims.push(note.claim());
                places.push(place);
            }
            ahead.notes.push(note);
        }
        ahead.check(&claims, &places);
        Some(ahead)
    }

    /// What was read of an item's envelope, if it was: once.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<Result<Note, Failure>> {
        let place = self.place(sequence)?;
        self.notes.get_mut(place)?.take()
    }

    /// Hash of the envelope key.
    pub(crate) fn key_hash(&self) -> &Hash {
        &self.key_hash
    }

    fn place(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.first)?).ok()
    }

    /// Notes which of `claims`, each of the note at one of `places`, hold.
    fn check(&mut self, claims: &[Claim], places: &[usize]) {
        if claims.len() < FEW {
            return;
        }
        if sr25519::verify_all(claims) {
            for place in places {
                if let Some(Some(Ok(note))) = self.notes.get_mut(*place) {
                    note.holds = true;
                }
            }
            return;
        }
        let middle = claims.len() / 2;
        let (first, second) = claims.split_at_checked(middle).unwrap_or_default();
        let (first_places, second_places) = places.split_at_checked(middle).unwrap_or_default();
        self.check(first, first_places);
        self.check(second, second_places);
    }
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
    use phala_protocol::{
        call::{Call, CallPurpose},
        gas::GasClass,
        AccountId, ContractId,
    };

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

    /// A note that makes `claim`.
    fn note_of(claim: &Claim) -> Note {
        let call = Call {
            purpose: CallPurpose::Command,
            contract: ContractId([1; 32]),
            nonce: 2,
            valid_until: 3,
            gas_class: GasClass::Small,
            gas_limit: 4,
            max_fee: 5,
            payload: Vec::new(),
        };
        let signed = SignedCall { account: AccountId(claim.public), call, signature: claim.signature };
        Note { signed, opens: None, payload: claim.message, holds: false }
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
            // Every third item is another kind of one.
            let places: Vec<usize> = (0..claims.len()).map(|place| place + place / 2).collect();
            let mut notes: Vec<_> = (0..=places.last().copied().unwrap_or(0)).map(|_| None).collect();
            for (place, claim) in places.iter().zip(&claims) {
                notes[*place] = Some(Ok(note_of(claim)));
            }
            let mut ahead = Ahead { notes, first: 9, key_hash: [0; 32] };
            ahead.check(&claims, &places);
            let good = |claim: &Claim| sr25519::verify(&claim.public, &claim.message, &claim.signature).is_ok();
            let mut noted = 0;
            for (place, claim) in places.iter().zip(&claims) {
                let Some(Ok(note)) = ahead.take(9 + *place as u64) else { unreachable!("it was put there") };
                assert_eq!(note.claim(), *claim);
                let alone = verify_wallet(&claim.public, &claim.message, &claim.signature).is_ok();
                assert_eq!(note.verify(), alone);
                assert!(!note.holds || good(claim), "a bad one is noted as holding");
                noted += usize::from(note.holds);
                assert!(ahead.take(9 + *place as u64).is_none(), "it is taken once");
            }
            assert!(ahead.notes.iter().all(Option::is_none) && ahead.take(8).is_none());
            let all_good = claims.iter().all(good) && count >= FEW;
            assert!(!all_good || noted == count, "a batch of good ones holds at once");
        }
    }
}
