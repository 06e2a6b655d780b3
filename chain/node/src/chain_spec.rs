//! Which chain: `dev`, `local`, or a specification file. `staging` becomes a file first.
//!
//! The genesis comes from the runtime's presets and is built by the runtime itself, in WASM; this module only names it. A
//! specification file is whoever's gave it: it chooses the chain, and its genesis hash is what identifies that choice.

use phala_runtime::genesis;
use sc_service::{ChainType, GenericChainSpec, Properties};
use sp_runtime::BuildStorage;
use std::path::{Path, PathBuf};

/// Why there is no specification of the chain that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ChainSpecError {
    /// No `--chain`.
    #[error("say which chain: --chain dev, --chain local or --chain FILE")]
    NoChain,
    /// `--chain staging`.
    #[error(
        "the staging preset has no authorities: make a specification with `phala-node build-staging-spec --genesis FILE \
         --name NAME --id ID > chain.json` and start with --chain chain.json"
    )]
    StagingIsNoChain,
    /// The binary was built with `SKIP_WASM_BUILD`.
    #[error("this binary was built without the runtime's WASM: build it again without SKIP_WASM_BUILD")]
    NoWasm,
    /// The preset is not in the runtime.
    #[error("the runtime has no preset {0}")]
    NoPreset(&'static str),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{path} is not JSON")]
    NotJson {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file is no chain specification.
    #[error("{path} is no chain specification: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What the chain library says.
        reason: String,
    },
    /// A patch of `staging` marks the genesis as a development chain's.
    #[error(
        "network.development marks this genesis: on such a chain the public development root and well-known keys count, \
         and a staging chain takes neither; leave it out"
    )]
    DevelopmentMark,
    /// The runtime refuses the genesis.
    #[error("the runtime refuses this genesis: {0}")]
    GenesisRefused(String),
}

/// The chain that `--chain id` means.
pub fn load(id: &str) -> Result<GenericChainSpec, ChainSpecError> {
    match id {
        "" => Err(ChainSpecError::NoChain),
        genesis::DEV => preset(genesis::DEV, "Phala Development", ChainType::Development),
        genesis::LOCAL => preset(genesis::LOCAL, "Phala Local", ChainType::Local),
        genesis::STAGING => Err(ChainSpecError::StagingIsNoChain),
        path => GenericChainSpec::from_json_file(path.into())
            .map_err(|reason| ChainSpecError::Malformed { path: path.into(), reason }),
    }
}

/// The `staging` preset completed by the JSON patch in `patch_file`, and judged by the runtime before it is given out.
pub fn staging(patch_file: &Path, name: &str, id: &str) -> Result<GenericChainSpec, ChainSpecError> {
    let text =
        std::fs::read(patch_file).map_err(|source| ChainSpecError::Unreadable { path: patch_file.into(), source })?;
    let patch =
        serde_json::from_slice(&text).map_err(|source| ChainSpecError::NotJson { path: patch_file.into(), source })?;

    let mut merged = preset_json(genesis::STAGING)?;
    sc_chain_spec::json_merge(&mut merged, patch);
    // The mark is all that the development root needs, and everything that is refused with it.
    if merged.pointer("/network/development") != Some(&serde_json::Value::Bool(false)) {
        return Err(ChainSpecError::DevelopmentMark);
    }

    let spec = builder(name, id, ChainType::Live)?.with_genesis_config_patch(merged).build();
    spec.build_storage().map_err(ChainSpecError::GenesisRefused)?;
    Ok(spec)
}

/// Whether the chain is a development one, which is what its specification says.
pub fn is_development(spec: &dyn sc_service::ChainSpec) -> bool {
    matches!(spec.chain_type(), ChainType::Development | ChainType::Local)
}

fn preset(id: &'static str, name: &str, kind: ChainType) -> Result<GenericChainSpec, ChainSpecError> {
    // The preset comes from the native runtime: asking the WASM for it would compile it once more.
    Ok(builder(name, id, kind)?.with_genesis_config_patch(preset_json(id)?).build())
}

fn preset_json(id: &'static str) -> Result<serde_json::Value, ChainSpecError> {
    let json = genesis::preset(&id.into()).ok_or(ChainSpecError::NoPreset(id))?;
    serde_json::from_slice(&json).map_err(|_| ChainSpecError::NoPreset(id))
}

fn builder(name: &str, id: &str, kind: ChainType) -> Result<sc_chain_spec::ChainSpecBuilder, ChainSpecError> {
    let wasm = phala_runtime::WASM_BINARY.ok_or(ChainSpecError::NoWasm)?;
    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), "PHA".into());
    properties.insert("tokenDecimals".into(), 12.into());
    properties.insert("ss58Format".into(), 30.into());
    Ok(GenericChainSpec::builder(wasm, None)
        .with_name(name)
        .with_id(id)
        .with_protocol_id(id)
        .with_chain_type(kind)
        .with_properties(properties))
}
