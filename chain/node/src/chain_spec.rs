//! Which chain: `dev`, `local`, or a specification file. `staging` becomes a file first.
//!
//! The genesis comes from the runtime's presets and is built by the runtime itself, in WASM; this module only names it. A
//! specification file is whoever's gave it: it chooses the chain, and its genesis hash is what identifies that choice. One with the
//! mark of a development network that does not say it is one is refused, which saves from a mistake, not from whoever wrote it.

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
    /// A specification of another chain than a development one marks its genesis as one's.
    #[error(
        "{path} marks its genesis as a development chain's (network.development), and its chainType is neither Development nor \
         Local: on a marked chain the public development root and well-known keys count; take the mark out, or say what it is"
    )]
    MarkedFile {
        /// Which file.
        path: PathBuf,
    },
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
        path => file(Path::new(path)),
    }
}

/// The specification in `path`, unless it is of no development chain and has the development mark all the same.
fn file(path: &Path) -> Result<GenericChainSpec, ChainSpecError> {
    let malformed = |reason| ChainSpecError::Malformed { path: path.into(), reason };
    let spec = GenericChainSpec::from_json_file(path.into()).map_err(malformed)?;
    if is_development(&spec) {
        return Ok(spec);
    }
    let text = std::fs::read(path).map_err(|source| ChainSpecError::Unreadable { path: path.into(), source })?;
    let json: serde_json::Value =
        serde_json::from_slice(&text).map_err(|source| ChainSpecError::NotJson { path: path.into(), source })?;
    let marked = if json.pointer("/genesis/raw").is_some() {
        // Storage as it is: nothing is executed for it. Whatever is not `false` there is no `false` to the runtime either.
        let storage = spec.build_storage().map_err(malformed)?;
        storage.top.get(&phala_protocol::storage::DEVELOPMENT[..]).is_some_and(|value| value[..] != [0])
    } else {
        ["/genesis/runtimeGenesis/patch", "/genesis/runtimeGenesis/config"].iter().any(|form| {
            let mark = json.pointer(&format!("{form}/network/development"));
            mark.is_some_and(|mark| *mark != serde_json::Value::Bool(false))
        })
    };
    if marked {
        return Err(ChainSpecError::MarkedFile { path: path.into() });
    }
    Ok(spec)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{json, Value};

    /// What `load` says of a specification of this type with this genesis.
    fn loaded(kind: &Value, genesis: Value) -> Result<(), ChainSpecError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.json");
        let spec = json!({
            "name": "Test", "id": "test", "chainType": kind, "bootNodes": [], "telemetryEndpoints": null,
            "protocolId": null, "properties": null, "codeSubstitutes": {}, "genesis": genesis,
        });
        std::fs::write(&path, spec.to_string()).unwrap();
        load(path.to_str().unwrap()).map(|_| ())
    }

    fn plain(form: &str, network: Value) -> Value {
        json!({"runtimeGenesis": {"code": "0x00", form: {"network": network}}})
    }

    fn raw(value: Option<&str>) -> Value {
        let key: String = phala_protocol::storage::DEVELOPMENT.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut top = json!({"0x3a636f6465": "0x00"});
        if let Some(value) = value {
            top[format!("0x{key}")] = value.into();
        }
        json!({"raw": {"top": top, "childrenDefault": {}}})
    }

    #[test]
    fn a_live_specification_with_the_development_mark_is_refused_in_every_form() {
        let forms = || {
            let marks = [json!(true), json!(null), json!("true")];
            let mut forms: Vec<Value> = Vec::new();
            for mark in marks {
                forms.push(plain("patch", json!({"development": mark.clone()})));
                forms.push(plain("config", json!({"development": mark})));
            }
            forms.extend([raw(Some("0x01")), raw(Some("0x02"))]);
            forms
        };
        for kind in [json!("Live"), json!({"Custom": "mine"})] {
            for genesis in forms() {
                let refused = loaded(&kind, genesis.clone());
                assert!(matches!(refused, Err(ChainSpecError::MarkedFile { .. })), "{kind} {genesis}: {refused:?}");
            }
            for genesis in [
                plain("patch", json!({"development": false})),
                plain("config", json!({"development": false})),
                plain("patch", json!({})),
                raw(Some("0x00")),
                raw(None),
            ] {
                let taken = loaded(&kind, genesis.clone());
                assert!(taken.is_ok(), "{kind} {genesis}: {taken:?}");
            }
        }
        for kind in [json!("Development"), json!("Local")] {
            for genesis in forms() {
                assert!(loaded(&kind, genesis).is_ok(), "{kind}: a development chain's own");
            }
        }
    }
}
