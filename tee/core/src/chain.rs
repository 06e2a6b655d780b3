//! What a TEE believes of the chain: a verified head, and records out of storage proofs against it.
//!
//! Guarantees: starts from a pinned genesis hash; whether this is a development network is read from the *genesis* state, where no
//! later write reaches it; every [`Records`] is of the head it was verified against. The host controls which proofs arrive and when.

use codec::DecodeAll;
use phala_attest::{AdvisoryPolicy, Bans, DevelopmentGenesis, PolicyTerms};
use phala_gatekeeper::identity::{verify_authorised, Authorised, NotAuthorised};
use phala_light_client::{
    encode_proof, verify_anchor, verify_storage, AnchorError, FinalityError, GenesisAnchor, LightClient, ProofError,
    VerifiedStorage,
};
use phala_protocol::{
    chain_state::AllowedMeasurement,
    egress::EgressItem,
    ids::{to_hex, BlockNumber},
    storage, Hash,
};

/// The chain as a TEE knows it.
pub struct Chain {
    client: LightClient,
    development: Option<DevelopmentGenesis>,
}

/// Why the chain's side of a delivery was refused; the relayer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The finality proof was refused.
    #[error("finality proof is refused")]
    Finality(#[from] FinalityError),
    /// The storage proof was refused.
    #[error("storage proof is refused")]
    Proof(#[from] ProofError),
    /// A proved record is not what this version of the binary reads.
    #[error("chain state is of another version than this binary; upgrade it")]
    Record,
}

impl Chain {
    /// Begins at a pinned genesis.
    pub fn at_genesis(pinned: &Hash, anchor: &GenesisAnchor) -> Result<Self, AnchorError> {
        let client = verify_anchor(pinned, anchor)?;
        let proof = encode_proof(&anchor.authorities_proof);
        let marked = verify_storage(client.head(), &proof)?.get(&storage::DEVELOPMENT)? == Some(&[1]);
        let token = marked.then(|| DevelopmentGenesis::for_genesis(*pinned, &[*pinned])).flatten();
        Ok(Self { client, development: token })
    }

    /// Moves the head; a proof that shows nothing newer is no error, for relayers repeat themselves.
    pub fn advance(&mut self, finality: &[u8], entropy: &[u8; 32]) -> Result<(), ChainError> {
        match self.client.advance(finality, entropy) {
            Ok(_) | Err(FinalityError::NothingNewer(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Verifies a storage proof against the head.
    pub fn records<'a>(&self, proof: &'a [u8]) -> Result<Records<'a>, ChainError> {
        Ok(Records(verify_storage(self.client.head(), proof)?))
    }

    /// Whether `item` may be signed as its contract, by the head's `records`.
    pub(crate) fn authorise(&self, records: &Records<'_>, item: &EgressItem) -> Result<Authorised, NotAuthorised> {
        verify_authorised(&self.client, &records.0, item)
    }

    /// Hash of the genesis block.
    pub fn genesis(&self) -> &Hash {
        self.client.genesis()
    }

    /// What names this chain in what a machine keeps.
    pub(crate) fn name(&self) -> String {
        to_hex(self.genesis().get(..8).unwrap_or_default())
    }

    /// Number and hash of the head.
    pub fn head(&self) -> (BlockNumber, Hash) {
        (self.client.head().number(), *self.client.head().hash())
    }

    /// Proof that this is a development network, if its genesis says so.
    pub fn development(&self) -> Option<DevelopmentGenesis> {
        self.development
    }
}

/// The part of the head's state that a proof shows.
pub struct Records<'a>(VerifiedStorage<'a>);

/// What a proof says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown<T> {
    /// The proof does not cover the key.
    Nothing,
    /// The state has no such entry.
    Absent,
    /// The entry.
    Value(T),
}

impl<T> Shown<T> {
    /// The value, when there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Absent => None,
        }
    }
}

impl Records<'_> {
    /// Decodes the entry at `key`.
    pub fn get<T: DecodeAll>(&self, key: &[u8]) -> Result<Shown<T>, ChainError> {
        match self.0.get(key) {
            Err(ProofError::NotCovered) => Ok(Shown::Nothing),
            Err(error) => Err(error.into()),
            Ok(None) => Ok(Shown::Absent),
            Ok(Some(bytes)) => T::decode_all(&mut &bytes[..]).map(Shown::Value).map_err(|_| ChainError::Record),
        }
    }

    /// Chain time in Unix seconds, if shown.
    pub fn now(&self) -> Result<Option<u64>, ChainError> {
        Ok(self.get::<u64>(&storage::TIMESTAMP_NOW)?.value().map(|milliseconds| milliseconds / 1_000))
    }

    /// The evidence policy's terms, if shown; strict ones when governance set none.
    pub fn terms(&self) -> Result<Option<PolicyTerms>, ChainError> {
        Ok(match self.get::<PolicyTerms>(&storage::TERMS)? {
            Shown::Nothing => None,
            Shown::Absent => Some(PolicyTerms::STRICT),
            Shown::Value(terms) => Some(terms),
        })
    }

    /// Whom governance or the brake has shut out, if shown.
    pub fn bans(&self) -> Result<Option<Bans>, ChainError> {
        self.or_empty(&storage::BANS)
    }

    /// The entries of the measurement allow-list that the proof happens to show. What it does not show may be there.
    pub fn listed(&self) -> Result<Vec<(Hash, AllowedMeasurement)>, ChainError> {
        let shown = self.0.shown_under(&storage::MEASUREMENTS).into_iter();
        shown
            .map(|(key, mut value)| {
                let measurement = key.last_chunk::<32>().copied().ok_or(ChainError::Record)?;
                if storage::measurement_key(&measurement) != key {
                    return Err(ChainError::Record);
                }
                let entry = AllowedMeasurement::decode_all(&mut value).map_err(|_| ChainError::Record)?;
                Ok((measurement, entry))
            })
            .collect()
    }

    /// The policy on advisories, if shown.
    pub fn advisories(&self) -> Result<Option<AdvisoryPolicy>, ChainError> {
        self.or_empty(&storage::ADVISORIES)
    }

    /// The entry at `key`, or the type's empty value where the state has none; nothing when the proof does not cover it.
    fn or_empty<T: DecodeAll + Default>(&self, key: &[u8]) -> Result<Option<T>, ChainError> {
        Ok(match self.get::<T>(key)? {
            Shown::Nothing => None,
            Shown::Absent => Some(T::default()),
            Shown::Value(value) => Some(value),
        })
    }
}
