//! The key pair under which a gatekeeper receives in one attempt of a ceremony.
//!
//! Guarantees: deterministic - a machine that starts again from the seed that it sealed has the same one -, and another for each chain,
//! ceremony, era, attempt and seed. Nothing of a ceremony is opened with any other key: what takes parcels takes a [`ReceivingKey`], never the
//! one that evidence binds. An announcement counts only under the identity of whom it is of. The secret is wiped when the value is
//! dropped; that the seed goes too, from memory and disk, when the ceremony is over, its owner sees to. Peers control announcements.
//!
//! Does not: keep a host that kept the sealed seed, and gets the key that it is sealed under, from opening what it recorded.

use crate::policy::Refusal;
use codec::Encode;
use phala_crypto::{
    entropy::EntropyBuilder,
    signature::ed25519::{self, IdentityKey},
    xwing::{DecapsulationKey, EncapsulationKey, PUBLIC_KEY_BYTES},
    Secret,
};
use phala_protocol::{
    attestation::encryption_key_hash,
    ceremony::{AnnouncedKey, CeremonyAttempt},
    domain, Hash, WorkerId,
};

/// A gatekeeper's key pair in one attempt.
pub struct ReceivingKey {
    genesis: Hash,
    of: CeremonyAttempt,
    key: DecapsulationKey,
}

impl ReceivingKey {
    /// The key pair of the attempt `of` on this chain. `seed` is unpredictable, and sealed before this is called: what is sealed to the key
    /// opens for whoever has it.
    pub fn derive(seed: &Secret<[u8; 32]>, genesis: &Hash, of: CeremonyAttempt) -> Self {
        let stream = EntropyBuilder::new(domain::CEREMONY_RECEIVING_SEED, seed.expose());
        let drawn = stream.bind(&(genesis, of).encode()).finish().secret::<32>();
        Self { genesis: *genesis, of, key: DecapsulationKey::from_seed(&drawn) }
    }

    /// The attempt.
    pub fn of(&self) -> CeremonyAttempt {
        self.of
    }

    /// The public key's bytes.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        self.key.public_key()
    }

    /// [`encryption_key_hash`] of the public key, as the chain has it of one that complained.
    pub fn hash(&self) -> Hash {
        encryption_key_hash(self.key.public_key())
    }

    /// What opens.
    pub fn secret(&self) -> &DecapsulationKey {
        &self.key
    }

    /// The public key for those who seal to it, signed.
    pub fn announce(&self, identity: &IdentityKey) -> AnnouncedKey {
        let key = self.key.public_key().to_vec();
        let signature = identity.sign(&self.of.announcing_payload(&self.genesis, &key));
        AnnouncedKey { of: self.of, key, signature }
    }
}

/// The key that `gatekeeper` announces, if it does, on this chain.
pub(crate) fn verify_announced(
    genesis: &Hash,
    gatekeeper: &WorkerId,
    announced: &AnnouncedKey,
) -> Result<EncapsulationKey, Refusal> {
    // First: what is longer than a key is not hashed.
    let key = EncapsulationKey::from_bytes(&announced.key).map_err(|_| Refusal::BadEncryptionKey)?;
    ed25519::verify(&gatekeeper.0, &announced.signing_payload(genesis), &announced.signature)
        .map_err(|_| Refusal::BadAnnouncement)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: Hash = [7; 32];
    const OF: CeremonyAttempt = CeremonyAttempt::root(1, 2);

    fn derived(seed: u8, genesis: u8, of: CeremonyAttempt) -> ReceivingKey {
        ReceivingKey::derive(&Secret::new([seed; 32]), &[genesis; 32], of)
    }

    #[test]
    fn a_seed_gives_one_key_pair_for_each_chain_ceremony_era_and_attempt() {
        let key = derived(1, 7, OF);
        assert_eq!((key.of(), key.public_key()), (OF, derived(1, 7, OF).public_key()));
        assert_eq!(key.hash(), encryption_key_hash(key.public_key()));
        for other in [
            derived(2, 7, OF),
            derived(1, 8, OF),
            derived(1, 7, CeremonyAttempt::identities(1, 2)),
            derived(1, 7, CeremonyAttempt::root(2, 2)),
            derived(1, 7, CeremonyAttempt::root(1, 3)),
        ] {
            assert_ne!(other.public_key(), key.public_key());
        }
        // Nor is it the seed's own, which a machine may use otherwise.
        assert_ne!(DecapsulationKey::from_seed(&Secret::new([1; 32])).public_key(), key.public_key());
    }

    #[test]
    fn a_key_is_taken_as_its_gatekeeper_announces_it_and_no_otherwise() {
        let [identity, other] = [3, 4].map(|seed| IdentityKey::from_seed(&Secret::new([seed; 32])));
        let own = derived(1, 7, OF);
        let good = own.announce(&identity);
        assert!(good.is_well_formed());
        let refused = |genesis: &Hash, by: &IdentityKey, announced: &AnnouncedKey| {
            verify_announced(genesis, &WorkerId(by.public()), announced).err()
        };
        assert_eq!(refused(&GENESIS, &identity, &good), None);
        let wrong = Some(Refusal::BadAnnouncement);
        assert_eq!(refused(&[8; 32], &identity, &good), wrong, "on another chain");
        assert_eq!(refused(&GENESIS, &other, &good), wrong, "of another");
        for altered in [
            AnnouncedKey { of: CeremonyAttempt::root(1, 3), ..good.clone() },
            AnnouncedKey { of: CeremonyAttempt::root(2, 2), ..good.clone() },
            AnnouncedKey { of: CeremonyAttempt::identities(1, 2), ..good.clone() },
            AnnouncedKey { key: derived(2, 7, OF).public_key().to_vec(), ..good.clone() },
            AnnouncedKey { signature: [0; 64], ..good.clone() },
        ] {
            assert_eq!(refused(&GENESIS, &identity, &altered), wrong);
        }
        let none = AnnouncedKey { key: vec![1, 2, 3], ..good };
        assert_eq!(refused(&GENESIS, &identity, &none), Some(Refusal::BadEncryptionKey));
    }

    #[test]
    fn the_chain_takes_a_key_if_and_only_if_anybody_can_seal_to_it() {
        let identity = IdentityKey::from_seed(&Secret::new([3; 32]));
        for seed in 0..8 {
            let good = derived(seed, 7, OF).announce(&identity);
            assert!(good.is_well_formed() && EncapsulationKey::from_bytes(&good.key).is_ok());
            for (position, byte) in
                (0..1_216).step_by(7).flat_map(|position| [0x0d, 0xd0, 0xff].map(|byte| (position, byte)))
            {
                let mut altered = good.clone();
                altered.key[position] = byte;
                let is_key = EncapsulationKey::from_bytes(&altered.key).is_ok();
                assert_eq!(altered.is_well_formed(), is_key, "{position} {byte}");
            }
        }
    }
}
