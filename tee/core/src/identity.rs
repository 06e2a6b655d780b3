//! Who a TEE is: an Ed25519 identity that signs, an X-Wing key that its evidence binds, and a secret of the machine for its disk.
//!
//! Guarantees: made once inside the TEE, kept only sealed; signing and receiving never share a key. It is all that a TEE keeps:
//! network keys are asked for again after every start. Nothing of the network is sealed to the X-Wing key: answers to a worker are sealed to
//! a key of one request (`epochs.rs`), and parcels of ceremonies to one of one attempt, so that this one, which lives as long as the machine,
//! opens no letter that was recorded. The host controls whether sealed bytes come back, not what they are.

use crate::machine::{draw_secret, Machine, MachineFault};
use phala_crypto::{signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_protocol::{attestation::encryption_key_hash, Hash, WorkerId};

/// Name of the sealed identity.
const NAME: &str = "identity";
const SEED_BYTES: usize = 96;

/// A TEE's identity.
pub struct Identity {
    signing: IdentityKey,
    receiving: DecapsulationKey,
    machine: Secret<[u8; 32]>,
}

impl Identity {
    /// The identity that this machine keeps for `genesis`, or a new one. An identity belongs to one network.
    pub fn open(machine: &dyn Machine, genesis: &Hash) -> Result<Self, MachineFault> {
        let name = format!("{NAME}-{}", phala_protocol::ids::to_hex(genesis.get(..8).unwrap_or_default()));
        if let Some(kept) = machine.kept(&name)? {
            if let Some(seed) = Secret::<[u8; SEED_BYTES]>::from_slice(kept.expose()) {
                return Ok(Self::from_seed(&seed));
            }
        }
        let seed = draw_secret::<SEED_BYTES>(machine)?;
        machine.keep(&name, &Secret::new(seed.expose().to_vec()))?;
        Ok(Self::from_seed(&seed))
    }

    fn from_seed(seed: &Secret<[u8; SEED_BYTES]>) -> Self {
        let part = |from: usize| {
            Secret::fill(|bytes: &mut [u8; 32]| {
                for (target, byte) in bytes.iter_mut().zip(seed.expose().iter().skip(from)) {
                    *target = *byte;
                }
            })
        };
        Self {
            signing: IdentityKey::from_seed(&part(0)),
            receiving: DecapsulationKey::from_seed(&part(32)),
            machine: part(64),
        }
    }

    /// The public identity.
    pub fn id(&self) -> WorkerId {
        WorkerId(self.signing.public())
    }

    /// The key that signs.
    pub(crate) fn signing(&self) -> &IdentityKey {
        &self.signing
    }

    /// Signs one of the network's 32-byte payloads.
    pub fn sign(&self, payload: &Hash) -> [u8; 64] {
        self.signing.sign(payload)
    }

    /// The key that the chain registers. Nothing is sealed to it.
    pub fn receiving(&self) -> &DecapsulationKey {
        &self.receiving
    }

    /// Hash of [`Self::receiving`]'s public half, as the chain registers it.
    pub fn receiving_hash(&self) -> Hash {
        encryption_key_hash(self.receiving.public_key())
    }

    /// What separates this machine's disk from every other's.
    pub(crate) fn machine_secret(&self) -> &Secret<[u8; 32]> {
        &self.machine
    }
}
