//! What a gatekeeper's parts in a ceremony of identities are in memory, and as its machine keeps them.
//!
//! Guarantees: what stands between the parts and what is sealed is wiped, and never grows out of a buffer that is not. A part that was
//! sealed is restored with the record of its attempt, and not begun anew if that fails: what it had made public is in it. The host
//! decides which of its sealed states is there; bytes that are none, or of another form, are nothing.

use codec::{Decode, DecodeAll, Encode};
use phala_crypto::Secret;
use phala_gatekeeper::{
    identity::ceremony::{CeremonyError, Dealer, Holder},
    ReceivingKey,
};
use phala_protocol::{ceremony::CeremonyAttempt, ids::BlockNumber, Hash};
use std::mem::take;
use zeroize::Zeroize;

/// What sealed bytes of this form begin with.
const FORM: [u8; 8] = *b"gateid/2";

/// The attempt that this gatekeeper took part in last.
pub(super) struct Own {
    /// Era and attempt.
    pub(super) place: (u32, u32),
    /// The head at which it first saw the attempt.
    pub(super) since: BlockNumber,
    /// What it deals follows from it, in each attempt of the era; none if it deals in none.
    pub(super) seed: Option<Secret<[u8; 32]>>,
    /// Under which it receives.
    pub(super) receiving: ReceivingSeed,
    pub(super) dealer: Part<Dealer>,
    pub(super) holder: Part<Holder>,
}

impl Own {
    /// What is on the disk is what is in memory.
    pub(super) fn mark_sealed(&mut self) {
        if let Some(dealer) = self.dealer.live_mut() {
            dealer.mark_sealed();
        }
        if let Some(holder) = self.holder.live_mut() {
            holder.mark_sealed();
        }
    }
}

/// What a gatekeeper receives under in one attempt: the seed, and the key pair that follows from it.
pub(super) struct ReceivingSeed {
    seed: Secret<[u8; 32]>,
    key: ReceivingKey,
}

impl ReceivingSeed {
    /// Of the attempt `of` on this chain; the seed is drawn for it.
    pub(super) fn new(seed: Secret<[u8; 32]>, genesis: &Hash, of: CeremonyAttempt) -> Self {
        Self { key: ReceivingKey::derive(&seed, genesis, of), seed }
    }

    pub(super) fn key(&self) -> &ReceivingKey {
        &self.key
    }
}

/// A dealer or a holder.
pub(super) enum Part<T> {
    /// There is none, or none yet.
    None,
    /// As it was sealed: a process that starts restores it when it sees the record.
    Sealed(Secret<Vec<u8>>),
    /// It takes part.
    Live(T),
}

impl<T> Part<T> {
    pub(super) fn live(&self) -> Option<&T> {
        match self {
            Self::Live(part) => Some(part),
            Self::None | Self::Sealed(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Live(part) => Some(part),
            Self::None | Self::Sealed(_) => None,
        }
    }

    /// Begins it, or restores what was sealed of it, unless it is there.
    pub(super) fn wake(
        &mut self,
        begin: impl FnOnce() -> Result<T, CeremonyError>,
        restore: impl FnOnce(&Secret<Vec<u8>>) -> Result<T, CeremonyError>,
    ) -> Result<(), CeremonyError> {
        let woken = match self {
            Self::Live(_) => return Ok(()),
            Self::None => begin()?,
            Self::Sealed(bytes) => restore(bytes)?,
        };
        *self = Self::Live(woken);
        Ok(())
    }

    /// A copy of the bytes to seal, which the caller wipes.
    fn bytes(&self, seal: impl FnOnce(&T) -> Secret<Vec<u8>>) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Sealed(bytes) => Some(bytes.expose().clone()),
            Self::Live(part) => Some(seal(part).expose().clone()),
        }
    }

    fn sealed(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::None, |bytes| Self::Sealed(Secret::new(bytes)))
    }
}

/// What a machine kept.
#[derive(Default)]
pub(super) struct Kept {
    /// The newest era whose record was seen.
    pub(super) over: Option<u32>,
    /// Era and attempt of the newest that this gatekeeper took part in.
    pub(super) newest: Option<(u32, u32)>,
    /// That attempt, unless it is over.
    pub(super) own: Option<Own>,
}

#[derive(Encode, Decode)]
struct Stored {
    form: [u8; 8],
    over: Option<u32>,
    newest: Option<(u32, u32)>,
    own: Option<StoredOwn>,
}

#[derive(Encode, Decode)]
struct StoredOwn {
    since: BlockNumber,
    seed: Option<[u8; 32]>,
    receiving: [u8; 32],
    dealer: Option<Vec<u8>>,
    holder: Option<Vec<u8>>,
}

impl Drop for StoredOwn {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.receiving.zeroize();
        self.dealer.zeroize();
        self.holder.zeroize();
    }
}

/// The bytes to seal.
pub(super) fn written(over: Option<u32>, newest: Option<(u32, u32)>, own: Option<&Own>) -> Secret<Vec<u8>> {
    let own = own.map(|own| StoredOwn {
        since: own.since,
        seed: own.seed.as_ref().map(|seed| *seed.expose()),
        receiving: *own.receiving.seed.expose(),
        dealer: own.dealer.bytes(Dealer::to_secret_bytes),
        holder: own.holder.bytes(Holder::to_secret_bytes),
    });
    let stored = Stored { form: FORM, over, newest, own };
    let mut bytes = Vec::with_capacity(stored.encoded_size());
    stored.encode_to(&mut bytes);
    Secret::new(bytes)
}

/// What was sealed of ceremonies on this chain; nothing where there is none, or of another form.
pub(super) fn read(bytes: Option<Secret<Vec<u8>>>, genesis: &Hash) -> Kept {
    let stored = bytes.and_then(|bytes| Stored::decode_all(&mut bytes.expose().as_slice()).ok());
    let Some(stored) = stored.filter(|stored| stored.form == FORM) else { return Kept::default() };
    let Stored { over, newest, own, .. } = stored;
    let own = newest.zip(own).map(|(place, mut own)| Own {
        place,
        since: own.since,
        seed: own.seed.as_ref().map(|seed| Secret::fill(|bytes| bytes.copy_from_slice(seed))),
        receiving: ReceivingSeed::new(
            Secret::fill(|bytes| bytes.copy_from_slice(&own.receiving)),
            genesis,
            CeremonyAttempt::identities(place.0, place.1),
        ),
        dealer: Part::sealed(take(&mut own.dealer)),
        holder: Part::sealed(take(&mut own.holder)),
    });
    Kept { over, newest, own }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: Hash = [7; 32];

    fn own() -> Own {
        let bytes = |byte| Part::Sealed(Secret::new(vec![byte; 9]));
        let receiving = ReceivingSeed::new(Secret::new([4; 32]), &GENESIS, CeremonyAttempt::identities(3, 2));
        Own {
            place: (3, 2),
            since: 77,
            seed: Some(Secret::new([5; 32])),
            receiving,
            dealer: bytes(6),
            holder: Part::None,
        }
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_and_anything_else_is_nothing() {
        let bytes = written(Some(1), None, Some(&own()));
        assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");
        let bytes = written(Some(1), Some((3, 2)), Some(&own())).expose().clone();
        let kept = read(Some(Secret::new(bytes.clone())), &GENESIS);
        let own = kept.own.unwrap();
        assert_eq!((kept.over, kept.newest, own.place, own.since), (Some(1), Some((3, 2)), (3, 2), 77));
        assert_eq!(own.seed.as_ref().map(|seed| *seed.expose()), Some([5; 32]));
        // It has the key that it announced before.
        let key = own.receiving.key();
        assert_eq!(
            (key.of(), key.public_key()),
            (CeremonyAttempt::identities(3, 2), self::own().receiving.key().public_key())
        );
        assert!(matches!(&own.dealer, Part::Sealed(bytes) if *bytes.expose() == [6; 9]));
        assert!(matches!(own.holder, Part::None));
        // Sealed again before it is restored, it stays what it was.
        assert_eq!(*written(Some(1), Some((3, 2)), Some(&own)).expose(), bytes);
        let mut other = bytes.clone();
        other[0] ^= 1;
        for nothing in [Vec::new(), bytes[1..].to_vec(), [&bytes[..], &[0]].concat(), other] {
            let kept = read(Some(Secret::new(nothing)), &GENESIS);
            assert!(kept.over.is_none() && kept.newest.is_none() && kept.own.is_none());
        }
        assert!(read(None, &GENESIS).own.is_none());
    }

    #[test]
    fn a_part_that_cannot_be_restored_is_not_begun_anew() {
        let mut part = Part::Sealed(Secret::new(vec![1; 4]));
        let begin = || -> Result<u8, CeremonyError> { panic!("it is begun anew") };
        assert_eq!(part.wake(begin, |_| Err(CeremonyError::Malformed)), Err(CeremonyError::Malformed));
        assert!(part.live().is_none() && part.bytes(|_| Secret::new(Vec::new())) == Some(vec![1; 4]));
        assert_eq!(part.wake(begin, |bytes| Ok(bytes.expose()[0])), Ok(()));
        assert_eq!((part.wake(begin, |_| Err(CeremonyError::Failed)), part.live().copied()), (Ok(()), Some(1)));
        let mut none: Part<u8> = Part::None;
        assert_eq!((none.wake(|| Ok(7), |_| Err(CeremonyError::Failed)), none.live_mut().copied()), (Ok(()), Some(7)));
    }
}
