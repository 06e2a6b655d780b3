//! `phala contract address`: a contract's own public keys, which are its addresses elsewhere.
//!
//! Guarantees: the keys follow from the network's, which a storage proof against a finalised head shows, and from the contract's id; they
//! stay as long as the network has its keys. Does not say where there is anything under an address, nor move it: contracts send messages,
//! which gatekeepers sign and somebody carries.

use crate::{
    accounts,
    args::Global,
    error::CliError,
    network,
    output::{assurance_line, Output},
};
use phala_client::{egress::contract_keys, ErrorCode};
use phala_protocol::{
    attestation::Assurance,
    chain_state::ContractRecord,
    identities::{IdentityPoints, IdentityRecord, Scheme},
    ids::to_hex,
    storage, AccountId, ContractId, Hash,
};
use serde_json::{json, Value};

/// A scheme in the words that scripts look for.
pub const fn scheme(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Ed25519 => "ed25519",
        Scheme::Ristretto255 => "sr25519",
    }
}

/// A public key, as itself and as Substrate wallets write it.
pub fn key(key: &[u8; 32]) -> Value {
    json!({"key": to_hex(key), "address": accounts::address(&AccountId(*key))})
}

/// Runs `phala contract address`.
pub async fn run(global: &Global, contract: &str, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let id = connected.contract(contract)?;
    let (record_key, contract_key) = (storage::identity_key(), storage::contract_key(&id));
    let proved = connected.network.read(&[record_key.clone(), contract_key.clone()]).await?;
    if proved.get::<ContractRecord>(&contract_key)?.is_none() {
        return Err(CliError::new(ErrorCode::NotFound, format!("there is no contract {id}"))
            .with_hint("`phala contract list` shows what there is on this network"));
    }
    let record: Option<IdentityRecord> = proved.get(&record_key)?;
    let keys = keys(connected.network.genesis(), record.as_ref(), &id)?;
    let insecure = connected.insecure();
    output.data(&shown(&id, &keys, proved.height(), insecure), || text(&id, &keys, insecure));
    Ok(())
}

/// The contract's keys, by the network's identities.
fn keys(genesis: &Hash, record: Option<&IdentityRecord>, id: &ContractId) -> Result<IdentityPoints, CliError> {
    let record = record.ok_or_else(|| {
        CliError::new(
            ErrorCode::NotFound,
            "the network has no identities yet, of which contracts' addresses would follow",
        )
        .with_hint("governance has them made, once, by the seats of a root: see `phala gatekeeper identities`")
    })?;
    contract_keys(genesis, &record.keys, id).ok_or_else(|| {
        CliError::new(ErrorCode::Unverified, "what the chain keeps as the network's identities are no public keys")
            .with_hint("no address follows from them: do not send anything to one")
    })
}

fn shown(id: &ContractId, keys: &IdentityPoints, height: u32, insecure: bool) -> Value {
    json!({
        "contract": id.to_string(),
        "insecure": insecure,
        "height": height,
        "ed25519": key(&keys.ed25519),
        "sr25519": key(&keys.sr25519),
    })
}

fn text(id: &ContractId, keys: &IdentityPoints, insecure: bool) -> String {
    let line = |scheme: Scheme| {
        let of = keys.of(scheme);
        format!("{}   {}  {}", self::scheme(scheme), to_hex(of), accounts::address(&AccountId(*of)))
    };
    let mut lines = vec![format!("contract  {id}"), line(Scheme::Ed25519), line(Scheme::Ristretto255)];
    lines.push("what it pays on this chain it pays out of another account: see `phala contract info`".to_owned());
    if insecure {
        lines.push(assurance_line(Assurance::Simulated).to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The base points, which are keys whose secret everybody knows: 1.
    fn record() -> IdentityRecord {
        let point = |text: &str| network::hash(text).unwrap();
        let keys = IdentityPoints {
            ed25519: point("0x5866666666666666666666666666666666666666666666666666666666666666"),
            sr25519: point("0xe2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"),
        };
        IdentityRecord { era: 1, threshold: 3, keys, holders: Vec::new() }
    }

    #[test]
    fn a_contract_has_an_address_of_each_scheme_which_is_its_own() {
        let (one, other) = (ContractId([1; 32]), ContractId([2; 32]));
        let of = |genesis: &Hash, id: &ContractId| keys(genesis, Some(&record()), id).unwrap();
        let own = of(&[7; 32], &one);
        for others in [of(&[7; 32], &other), of(&[8; 32], &one), record().keys] {
            assert!(others.ed25519 != own.ed25519 && others.sr25519 != own.sr25519);
        }
        let json = shown(&one, &own, 9, true);
        for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
            let (name, account) = (super::scheme(scheme), AccountId(*own.of(scheme)));
            assert_eq!(json[name]["key"], to_hex(&account.0));
            assert_eq!(json[name]["address"], accounts::address(&account));
            let text = text(&one, &own, true);
            assert!(text.contains(name) && text.contains(&to_hex(&account.0)) && text.contains("INSECURE"));
        }
        assert_eq!((&json["height"], &json["insecure"]), (&json!(9), &json!(true)));
    }

    #[test]
    fn without_identities_or_with_what_is_no_key_there_is_no_address() {
        let id = ContractId([1; 32]);
        let none = keys(&[7; 32], None, &id).unwrap_err();
        assert_eq!(none.code.as_str(), "not_found");
        assert!(none.hint.unwrap().contains("phala gatekeeper identities"));
        let broken = IdentityPoints { sr25519: [0xff; 32], ..record().keys };
        let error = keys(&[7; 32], Some(&IdentityRecord { keys: broken, ..record() }), &id).unwrap_err();
        assert_eq!(error.code.as_str(), "unverified");
    }
}
