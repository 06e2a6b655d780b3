//! `phala gatekeeper identities`, `start-identities` and `cancel-identities`: who holds the network's two keys, from which contracts' own
//! keys follow, and the ceremony in which they are made or handed over.
//!
//! Guarantees: what is shown comes with proofs against one finalised header. Governance starts and cancels, which on a development chain is
//! its sudo key. The chain's gatekeepers decide what the records say. Does not do: judge a ceremony.

use super::status::{complained_of, complaints, fault};
use crate::{
    accounts,
    args::Global,
    error::CliError,
    network,
    output::{assurance, assurance_line, table, Output},
    roots,
};
use phala_client::{chain::ChainCall, ClientError, Network, Until};
use phala_protocol::{
    attestation::Assurance,
    ceremony::Fault,
    identities::{IdentityCeremonyRecord, IdentityRecord, Scheme},
    ids::{to_hex, BlockNumber},
    storage, WorkerId,
};
use serde_json::{json, Value};

/// What a chain has of identities.
#[derive(Clone, Debug)]
struct Identities {
    /// The block of the state.
    height: BlockNumber,
    /// Who holds them.
    record: Option<IdentityRecord>,
    /// The ceremony under way.
    ceremony: Option<IdentityCeremonyRecord>,
}

async fn read(network: &Network) -> Result<Identities, CliError> {
    let [record, ceremony] = [storage::identity_key(), storage::identity_ceremony_key()];
    let proved = network.read(&[record.clone(), ceremony.clone()]).await?;
    Ok(Identities { height: proved.height(), record: proved.get(&record)?, ceremony: proved.get(&ceremony)? })
}

/// Runs `phala gatekeeper identities`.
pub async fn run(global: &Global, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let seen = read(&connected.network).await?;
    let insecure = connected.insecure();
    output.data(&shown(&seen, insecure), || text(&seen, insecure));
    Ok(())
}

/// Runs `phala gatekeeper start-identities`.
pub async fn start(global: &Global, from: &str, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let sudo = accounts::signer(global, &connected.network, from).await?;
    let chain = connected.network.chain();
    let done =
        chain.submit_sudo(&sudo, &ChainCall::start_identities(), Until::Finalised).await.map_err(ClientError::from)?;
    // It may have ended since, which is no failure.
    let now = read(&connected.network).await?;
    let ceremony = now.ceremony.as_ref();
    let (era, attempt) = (ceremony.map(|record| record.era), ceremony.map(|record| record.attempt));
    let made = ceremony.map(|record| record.former.is_none());
    output.data(&json!({"block": done.block, "era": era, "attempt": attempt, "made": made}), || {
        let of = era.map(|era| format!(" of era {era}")).unwrap_or_default();
        format!(
            "started the ceremony of identities{of} in block {}; `phala gatekeeper identities` follows it",
            done.block
        )
    });
    Ok(())
}

/// Runs `phala gatekeeper cancel-identities`.
pub async fn cancel(global: &Global, from: &str, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let sudo = accounts::signer(global, &connected.network, from).await?;
    let chain = connected.network.chain();
    let done =
        chain.submit_sudo(&sudo, &ChainCall::cancel_identities(), Until::Finalised).await.map_err(ClientError::from)?;
    output.data(&json!({"block": done.block}), || {
        format!("cancelled the ceremony of identities in block {}: whoever held the keys holds them", done.block)
    });
    Ok(())
}

fn shown(seen: &Identities, insecure: bool) -> Value {
    json!({
        "insecure": insecure,
        "assurance": assurance(if insecure { Assurance::Simulated } else { Assurance::Hardware }),
        "height": seen.height,
        "identities": seen.record.as_ref().map(record_json),
        "ceremony": seen.ceremony.as_ref().map(ceremony_json),
    })
}

/// A record for scripts.
pub(super) fn record_json(record: &IdentityRecord) -> Value {
    let holders: Vec<Value> = record
        .holders
        .iter()
        .map(|holder| json!({"index": holder.index, "gatekeeper": holder.gatekeeper.to_string()}))
        .collect();
    json!({
        "era": record.era,
        "threshold": record.threshold,
        "signs": signs(record),
        "ed25519": to_hex(record.keys.of(Scheme::Ed25519)),
        "sr25519": to_hex(record.keys.of(Scheme::Ristretto255)),
        "holders": holders,
    })
}

/// How many of its holders sign.
fn signs(record: &IdentityRecord) -> String {
    format!("{} of {}", record.threshold, record.holders.len())
}

/// A ceremony for scripts.
fn ceremony_json(record: &IdentityCeremonyRecord) -> Value {
    let dealers: Vec<Value> = record
        .dealers
        .iter()
        .map(|dealer| {
            json!({
                "index": dealer.index,
                "gatekeeper": dealer.gatekeeper.to_string(),
                "deals": record.deals(dealer.index),
                "left_out": dealer.left_out.map(fault),
                "committed": dealer.package.is_some(),
            })
        })
        .collect();
    let holders: Vec<Value> = (1u16..)
        .zip(&record.holders)
        .map(|(index, holder)| {
            json!({
                "index": index,
                "gatekeeper": holder.gatekeeper.to_string(),
                "left_out": holder.left_out.map(fault),
                "confirmed": holder.confirmed.map(|record| to_hex(&record)),
                "complained_of": complained_of(&record.complaints, index),
                "rejected": holder.rejected,
            })
        })
        .collect();
    json!({
        "era": record.era,
        "attempt": record.attempt,
        "made": record.former.is_none(),
        "phase": roots::phase(record.phase),
        "until": record.until,
        "threshold": record.threshold,
        "agreed": record.agreed.map(|hash| to_hex(&hash)),
        "dealers": dealers,
        "holders": holders,
        "complaints": complaints(&record.complaints),
    })
}

fn text(seen: &Identities, insecure: bool) -> String {
    let mut parts = Vec::new();
    if insecure {
        parts.push(format!("INSECURE: TEEs of this network are simulated\n{}", assurance_line(Assurance::Simulated)));
    }
    match &seen.record {
        Some(record) => {
            parts.push(format!(
                "identities: held by the set of era {}, {} sign\ned25519     {}\nsr25519     {}",
                record.era,
                signs(record),
                to_hex(record.keys.of(Scheme::Ed25519)),
                to_hex(record.keys.of(Scheme::Ristretto255))
            ));
            let rows = record.holders.iter().map(|holder| vec![holder.index.to_string(), holder.gatekeeper.to_string()]);
            parts.push(table(&["HOLDER", "GATEKEEPER"], &rows.collect::<Vec<_>>()));
        }
        None => parts.push(
            "identities: none yet; no contract has an address elsewhere. Governance has them made: `phala gatekeeper start-identities`"
                .to_owned(),
        ),
    }
    match &seen.ceremony {
        Some(record) => {
            parts.push(ceremony_line(record, seen.height));
            let dealers = record.dealers.iter().map(|dealer| {
                let done = if dealer.package.is_some() { "committed" } else { "has not committed" };
                row(dealer.index, "dealer", &dealer.gatekeeper, dealer.left_out, &[done.to_owned()])
            });
            let holders = (1u16..).zip(&record.holders).map(|(index, holder)| {
                let mut done = Vec::new();
                let missing = complained_of(&record.complaints, index);
                if !missing.is_empty() {
                    done.push(format!("complains of {missing:?}"));
                }
                if !holder.rejected.is_empty() {
                    done.push(format!("rejects {:?}", holder.rejected));
                }
                done.push(if holder.confirmed.is_some() { "confirmed" } else { "has not confirmed" }.to_owned());
                row(index, "holder", &holder.gatekeeper, holder.left_out, &done)
            });
            let rows: Vec<Vec<String>> = dealers.chain(holders).collect();
            parts.push(table(&["INDEX", "AS", "GATEKEEPER", "IN THE CEREMONY"], &rows));
        }
        None => parts.push("ceremony of identities: none under way".to_owned()),
    }
    parts.join("\n\n")
}

fn ceremony_line(record: &IdentityCeremonyRecord, height: BlockNumber) -> String {
    let what = if record.former.is_none() { "made" } else { "handed over" };
    let stands = match record.agreed {
        Some(_) => "agreed, and the record is waited for".to_owned(),
        None => format!("phase {}", roots::phase(record.phase)),
    };
    format!(
        "ceremony of identities: they are {what}; era {}, attempt {}, {stands}, until block {} at the latest; it is block {height}",
        record.era, record.attempt, record.until
    )
}

fn row(index: u16, role: &str, gatekeeper: &WorkerId, left_out: Option<Fault>, done: &[String]) -> Vec<String> {
    let left_out = left_out.map(|why| format!("left out ({})", fault(why)));
    let said: Vec<String> = left_out.into_iter().chain(done.iter().cloned()).collect();
    vec![index.to_string(), role.to_owned(), gatekeeper.to_string(), said.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{
        ceremony::{Complaint, Phase},
        identities::{IdentityHolder, IdentityPoints},
    };

    const KEYS: IdentityPoints = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };

    fn record() -> IdentityRecord {
        let holder = |index: u16| IdentityHolder { index, gatekeeper: WorkerId([index as u8; 32]), shares: KEYS };
        IdentityRecord { era: 2, threshold: 3, keys: KEYS, holders: [1, 2, 4].map(holder).to_vec() }
    }

    /// The set of era 2 hands over to that of era 3, of which the fourth is left out.
    fn handed_over() -> IdentityCeremonyRecord {
        let holders = [11, 12, 13, 14].map(|byte| WorkerId([byte; 32]));
        let absent = holders[3];
        let mut record = IdentityCeremonyRecord::new(3, 1, Some(&record()), &holders, |holder| *holder != absent);
        record.begin(Phase::Share, 100, 50);
        for dealer in &mut record.dealers[..2] {
            dealer.package = Some([5; 32]);
        }
        record.holders[0].confirmed = Some([6; 32]);
        record.complaints.push(Complaint::new(2, 4));
        record
    }

    #[test]
    fn who_holds_identities_and_how_far_their_hand_over_is_are_shown() {
        let seen = Identities { height: 120, record: Some(record()), ceremony: Some(handed_over()) };
        let json = shown(&seen, true);
        let identities = &json["identities"];
        assert_eq!((&identities["signs"], &identities["ed25519"]), (&json!("3 of 3"), &json!(to_hex(&[1; 32]))));
        assert_eq!(identities["holders"][2], json!({"index": 4, "gatekeeper": WorkerId([4; 32]).to_string()}));
        let ceremony = &json["ceremony"];
        assert_eq!((&ceremony["made"], &ceremony["phase"]), (&json!(false), &json!("share")));
        assert_eq!((&ceremony["until"], &ceremony["agreed"]), (&json!(149), &Value::Null));
        let dealers = &ceremony["dealers"];
        assert_eq!((&dealers[0]["deals"], &dealers[0]["committed"]), (&json!(true), &json!(true)));
        assert_eq!((&dealers[2]["index"], &dealers[2]["deals"]), (&json!(4), &json!(false)));
        let holders = &ceremony["holders"];
        assert_eq!(holders[0]["confirmed"], to_hex(&[6; 32]));
        assert_eq!((&holders[1]["confirmed"], &holders[1]["complained_of"]), (&Value::Null, &json!([4])));
        assert_eq!(holders[3]["left_out"], "absent");
        let text = text(&seen, true);
        for said in [
            "INSECURE",
            "held by the set of era 2, 3 of 3 sign",
            &to_hex(&[2; 32]),
            "they are handed over; era 3, attempt 1, phase share, until block 149",
            "complains of [4], has not confirmed",
            "left out (absent), has not confirmed",
            "has not committed",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn without_identities_it_is_said_who_has_them_made() {
        let seen = Identities { height: 9, record: None, ceremony: None };
        let json = shown(&seen, false);
        assert_eq!((&json["identities"], &json["ceremony"]), (&Value::Null, &Value::Null));
        assert_eq!((&json["insecure"], &json["assurance"]), (&json!(false), &json!("hardware")));
        let told = text(&seen, false);
        assert!(told.contains("start-identities") && told.contains("none under way") && !told.contains("INSECURE"));
        let mut made =
            IdentityCeremonyRecord::new(1, 0, None, &[1, 2, 3, 4].map(|byte| WorkerId([byte; 32])), |_| true);
        made.agreed = Some([7; 32]);
        let line = ceremony_line(&made, 9);
        assert!(line.contains("they are made") && line.contains("the record is waited for"), "{line}");
        assert_eq!(ceremony_json(&made)["made"], true);
    }
}
