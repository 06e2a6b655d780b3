//! What a light client pins of a chain: its genesis header and the proof of its first GRANDPA authorities.
//!
//! Made from the specification alone, without a node: the genesis state is built, its trie root goes into the header, and
//! the trie nodes on the way to `Grandpa::Authorities` and to the mark of a development network are the proof. Whoever makes the anchor chooses the chain; a light
//! client that was given the wrong one follows the wrong chain, so it is compared by its genesis hash.

use codec::{Decode, Encode};
use phala_protocol::{
    finality::GenesisAnchor,
    storage::{DEVELOPMENT, GRANDPA_AUTHORITIES},
};
use phala_runtime::OpaqueBlock as Block;
use sc_chain_spec::construct_genesis_block;
use sc_executor::read_embedded_version;
use sc_executor_common::runtime_blob::RuntimeBlob;
use sp_core::{
    storage::{well_known_keys, StateVersion, Storage},
    H256,
};
use sp_runtime::{
    traits::{Block as _, HashingFor},
    BuildStorage,
};
use sp_state_machine::{prove_read, InMemoryBackend};

/// How an [`Anchor`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// An object with `genesisHash`, `anchor` (SCALE in hex), and for people `authorities` and `authoritiesKey`.
    Json,
    /// The bare SCALE encoding of [`GenesisAnchor`].
    Scale,
}

/// A [`GenesisAnchor`] with what people want to see of it.
pub struct Anchor {
    genesis_hash: H256,
    authorities: sp_consensus_grandpa::AuthorityList,
    anchor: GenesisAnchor,
}

/// Why a specification has no anchor.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The genesis state could not be built.
    #[error("cannot build the genesis state: {0}")]
    Genesis(String),
    /// There is no runtime in the genesis state, or one that does not say its version.
    #[error("the genesis runtime does not say its version; build it with substrate-wasm-builder")]
    Version,
    /// The proof could not be made.
    #[error("cannot prove the authorities: {0}")]
    Proof(String),
    /// There is no authority list in the genesis state.
    #[error("the genesis state has no GRANDPA authorities")]
    NoAuthorities,
}

impl Anchor {
    /// The anchor of the chain that `spec` describes.
    pub fn of(spec: &dyn BuildStorage) -> Result<Self, AnchorError> {
        let storage = spec.build_storage().map_err(AnchorError::Genesis)?;
        let version = state_version(&storage)?;
        let encoded = storage.top.get(&GRANDPA_AUTHORITIES[..]).ok_or(AnchorError::NoAuthorities)?;
        let authorities =
            sp_consensus_grandpa::AuthorityList::decode(&mut &encoded[..]).map_err(|_| AnchorError::NoAuthorities)?;
        if authorities.is_empty() {
            return Err(AnchorError::NoAuthorities);
        }

        let state = InMemoryBackend::<HashingFor<Block>>::from((storage, version));
        let root = *state.root();
        let header = construct_genesis_block::<Block>(root, version).header().clone();
        let proof = prove_read(state, [&GRANDPA_AUTHORITIES[..], &DEVELOPMENT[..]])
            .map_err(|error| AnchorError::Proof(error.to_string()))?;
        Ok(Self {
            genesis_hash: header.hash(),
            authorities,
            anchor: GenesisAnchor { header: header.encode(), authorities_proof: proof.into_iter_nodes().collect() },
        })
    }

    /// The anchor as bytes to write.
    pub fn render(&self, format: Format) -> Vec<u8> {
        let scale = self.anchor.encode();
        match format {
            Format::Scale => scale,
            Format::Json => {
                let object = serde_json::json!({
                    "genesisHash": self.genesis_hash,
                    "authoritiesKey": format!("0x{}", hex::encode(GRANDPA_AUTHORITIES)),
                    "authorities": self.authorities.iter().map(|(key, weight)| serde_json::json!({
                        "key": format!("0x{}", hex::encode(key)), "weight": weight,
                    })).collect::<Vec<_>>(),
                    "anchor": format!("0x{}", hex::encode(scale)),
                });
                format!("{object:#}\n").into_bytes()
            }
        }
    }
}

/// How the genesis runtime wants its trie, read from the WASM without compiling it, which would take seconds.
fn state_version(storage: &Storage) -> Result<StateVersion, AnchorError> {
    let code = storage.top.get(well_known_keys::CODE).ok_or(AnchorError::Version)?;
    let blob = RuntimeBlob::uncompress_if_needed(code).map_err(|_| AnchorError::Version)?;
    let version = read_embedded_version(&blob).map_err(|_| AnchorError::Version)?;
    Ok(version.ok_or(AnchorError::Version)?.state_version())
}
