//! `phala contract egress`, and what a command sent: items that leave their cluster, what the chain did with them, and messages'
//! signatures.
//!
//! Guarantees: a fate is what a storage proof against a finalised head shows, and so is a signature, which is shown only if it holds under
//! the key of the contract that sent the message. Contracts control what they send; its bytes are shown as digits.

use super::address;
use crate::{
    accounts,
    args::Global,
    error::CliError,
    network::{self, Connected},
    output::{pha, Output},
};
use phala_client::ErrorCode;
use phala_protocol::{
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::signing::EgressSignature,
    ids::to_hex,
    limits::EGRESS_FATES_KEPT,
    storage, AccountId, ClusterId, Hash,
};
use serde_json::{json, Value};

/// What is known of an item's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The chain has not taken it.
    Waits,
    /// It did, and this came of it.
    Taken(EgressFate),
    /// It did, so long ago that it does not say any more what came of it.
    Forgotten,
}

impl Known {
    fn of(sequence: u64, next: Option<u64>, fate: Option<EgressFate>) -> Self {
        match fate {
            Some(fate) => Self::Taken(fate),
            None if sequence < next.unwrap_or_default() => Self::Forgotten,
            None => Self::Waits,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Forgotten => "forgotten",
            Self::Taken(EgressFate { outcome, .. }) => match outcome {
                EgressOutcome::Paid => "paid",
                EgressOutcome::Left => "left",
                EgressOutcome::Failed(_) => "failed",
            },
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Taken(fate) => {
                let reason = match fate.outcome {
                    EgressOutcome::Failed(failure) => Some(failure.to_string()),
                    EgressOutcome::Paid | EgressOutcome::Left => None,
                };
                json!({"state": self.word(), "block": fate.block, "id": to_hex(&fate.id), "reason": reason})
            }
            Self::Waits | Self::Forgotten => json!({"state": self.word()}),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Waits => "waits for the chain, which takes it some blocks after its result is final".to_owned(),
            Self::Forgotten => format!("was taken; the chain keeps what came of the newest {EGRESS_FATES_KEPT} only"),
            Self::Taken(EgressFate { block, outcome, .. }) => match outcome {
                EgressOutcome::Paid => format!("paid in block {block}"),
                EgressOutcome::Left => format!("left in block {block}, for whoever carries it on"),
                EgressOutcome::Failed(failure) => format!("failed for good in block {block}: {failure}"),
            },
        }
    }
}

/// The fates of items of one cluster, in their order, as proved at the finalised head.
pub async fn fates(connected: &Connected, cluster: ClusterId, sequences: &[u64]) -> Result<Vec<Known>, CliError> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let next_key = storage::egress_next_key(cluster);
    let keys = sequences.iter().map(|sequence| storage::egress_fate_key(cluster, *sequence));
    let keys: Vec<_> = keys.chain([next_key.clone()]).collect();
    let proved = connected.network.read(&keys).await?;
    let next: Option<u64> = proved.get(&next_key)?;
    let mut fates = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        fates.push(Known::of(*sequence, next, proved.get(&storage::egress_fate_key(cluster, *sequence))?));
    }
    Ok(fates)
}

/// An item for programs.
pub fn json(item: &EgressItem, known: &Known) -> Value {
    let action = match &item.action {
        EgressAction::Transfer { to, amount } => {
            json!({"kind": "transfer", "to": accounts::address(to), "amount": amount.to_string()})
        }
        EgressAction::Message { destination, payload } => {
            json!({"kind": "message", "destination": to_hex(destination), "payload": to_hex(payload)})
        }
    };
    json!({
        "cluster": item.cluster.0,
        "sequence": item.sequence,
        "contract": item.contract.to_string(),
        "action": action,
        "fate": known.json(),
    })
}

/// An item as a line for people.
pub fn line(item: &EgressItem, known: &Known) -> String {
    let what = match &item.action {
        EgressAction::Transfer { to, amount } => format!("{} to {}", pha(*amount), accounts::address(to)),
        EgressAction::Message { destination, payload } => {
            format!("a message of {} bytes to {}", payload.len(), to_hex(destination))
        }
    };
    format!("sends {what} as item {} of cluster {}: {}", item.sequence, item.cluster, known.line())
}

/// Runs `phala contract egress`.
pub async fn run(global: &Global, sequence: u64, cluster: u32, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let known = fates(&connected, ClusterId(cluster), &[sequence]).await?;
    let known = known.first().copied().ok_or_else(|| CliError::new(ErrorCode::Internal, "an item has no fate"))?;
    let has_left = matches!(&known, Known::Taken(EgressFate { outcome: EgressOutcome::Left, .. }));
    let signatures = match has_left {
        true => phala_client::egress::signatures(&connected.network, ClusterId(cluster), sequence).await?,
        false => Vec::new(),
    };
    let mut json = json!({"cluster": cluster, "sequence": sequence, "fate": known.json()});
    if let (true, Value::Object(object)) = (has_left, &mut json) {
        object.insert("signatures".to_owned(), signed(connected.network.genesis(), &signatures));
    }
    output.data(&json, || {
        let fate = format!("item {sequence} of cluster {cluster} {}", known.line());
        let lines = has_left.then(|| signed_lines(&signatures));
        [fate].into_iter().chain(lines.into_iter().flatten()).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Signatures under a message for programs: whoever has one needs nothing else to verify it.
fn signed(genesis: &Hash, signatures: &[EgressSignature]) -> Value {
    let list = signatures.iter().map(|signature| {
        let EgressSignature { item, scheme, key, signature } = signature;
        json!({
            "scheme": address::scheme(*scheme),
            "key": to_hex(key),
            "address": accounts::address(&AccountId(*key)),
            "signed": to_hex(&EgressSignature::payload(genesis, *scheme, item)),
            "signature": to_hex(signature),
        })
    });
    list.collect()
}

/// Signatures under a message for people.
fn signed_lines(signatures: &[EgressSignature]) -> Vec<String> {
    if signatures.is_empty() {
        return vec![
            "it has no signature yet: gatekeepers make them where the network has identities, see `phala gatekeeper identities`"
                .to_owned(),
        ];
    }
    let line = |signature: &EgressSignature| {
        let (scheme, address) = (address::scheme(signature.scheme), accounts::address(&AccountId(signature.key)));
        format!("signed ({scheme}) by its contract, {address}: {}", to_hex(&signature.signature))
    };
    signatures.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{egress::EgressFailure, identities::Scheme, ContractId};

    fn item() -> EgressItem {
        let action = EgressAction::Transfer { to: AccountId([2; 32]), amount: 1_500_000_000_000 };
        EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action }
    }

    #[test]
    fn what_waits_what_was_taken_and_what_is_forgotten_are_told_apart() {
        let fate = EgressFate { id: [1; 32], block: 9, outcome: EgressOutcome::Paid };
        assert_eq!(Known::of(7, None, None), Known::Waits);
        assert_eq!(Known::of(7, Some(7), None), Known::Waits);
        assert_eq!(Known::of(7, Some(8), None), Known::Forgotten);
        assert_eq!(Known::of(7, Some(8), Some(fate)), Known::Taken(fate));
    }

    #[test]
    fn a_message_that_has_left_is_shown_with_the_signatures_that_it_has() {
        let of = |scheme| EgressSignature { item: [1; 32], scheme, key: [2; 32], signature: [3; 64] };
        let both = [of(Scheme::Ed25519), of(Scheme::Ristretto255)];
        let shown = signed(&[7; 32], &both);
        for (place, (name, signature)) in ["ed25519", "sr25519"].into_iter().zip(&both).enumerate() {
            let shown = &shown[place];
            assert_eq!((&shown["scheme"], &shown["key"]), (&json!(name), &json!(to_hex(&[2; 32]))));
            assert_eq!(shown["signature"], to_hex(&[3; 64]));
            assert_eq!(shown["signed"], to_hex(&EgressSignature::payload(&[7; 32], signature.scheme, &[1; 32])));
            assert_eq!(shown["address"], accounts::address(&AccountId([2; 32])));
        }
        assert_ne!(shown[0]["signed"], shown[1]["signed"]);
        let lines = signed_lines(&both);
        assert!(lines.len() == 2 && lines[1].contains("sr25519") && lines[1].contains(&to_hex(&[3; 64])));
        assert_eq!(signed(&[7; 32], &[]), json!([]));
        assert!(signed_lines(&[])[0].contains("no signature yet"));
    }

    #[test]
    fn an_item_says_what_it_is_and_what_came_of_it() {
        let outcome = EgressOutcome::Failed(EgressFailure::InsufficientFunds);
        let failed = Known::Taken(EgressFate { id: [1; 32], block: 9, outcome });
        let text = line(&item(), &failed);
        for part in ["1.5 PHA", "item 7 of cluster 1", "failed for good in block 9", "account has less"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let shown = json(&item(), &failed);
        assert_eq!(shown["action"]["amount"], "1500000000000");
        assert_eq!(shown["fate"]["state"], "failed");
        assert_eq!(json(&item(), &Known::Waits)["fate"], serde_json::json!({"state": "waits"}));
    }
}
