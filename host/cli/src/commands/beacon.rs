//! `phala beacon`: the newest value of the beacon, and files that show one.
//!
//! Guarantees: what is printed as a value was checked whole, from the genesis on, by the same code for a node's answer and for a file:
//! authority sets, the finalised block, the era's record and the value in its state, and that the value follows from its partials. What
//! is left to trust is said. Nodes and whoever made a file control every byte of them.

use crate::{
    args::{BeaconCommand, BeaconVerifyArgs, Global},
    commands::verify::pinned,
    error::{io, CliError},
    home, network,
    output::{assurance, assurance_line, Output},
};
use phala_client::{
    beacon::{verify_now, BeaconProof, VerifiedValue, MAX_BEACON_PROOF_BYTES},
    ClientError, ErrorCode,
};
use phala_protocol::{attestation::Assurance, ids::to_hex, Hash};
use serde_json::{json, Value};
use std::{io::Read, path::Path};

/// Runs `phala beacon`.
pub async fn run(global: &Global, command: BeaconCommand, output: Output) -> Result<(), CliError> {
    match command {
        BeaconCommand::Latest { output: file } => latest(global, file.as_deref(), output).await,
        BeaconCommand::Verify(args) => verify(global, &args, output),
    }
}

async fn latest(global: &Global, file: Option<&Path>, output: Output) -> Result<(), CliError> {
    let file = file.map(home::absolute).transpose()?;
    let connected = network::connect(global).await?;
    let (network, is_pinned) = (&connected.network, connected.file.is_some());
    let proof = network.newest_beacon().await?.ok_or_else(|| {
        CliError::new(ErrorCode::NotFound, "the beacon has no value yet").with_hint(
            "values are made when a root that gatekeepers made in a ceremony answers: see `phala gatekeeper status`",
        )
    })?;
    let value = verify_now(&proof, network.genesis())?;
    if let Some(path) = &file {
        home::check_regular(path)?;
        home::write_whole(path, proof.to_json()?.as_bytes())?;
    }
    let shown = Shown { value: &value, genesis: network.genesis(), is_pinned };
    let mut json = shown.json();
    if let (Value::Object(object), Some(path)) = (&mut json, &file) {
        object.insert("file".to_owned(), path.display().to_string().into());
    }
    output.data(&json, || match &file {
        Some(path) => format!("{}\nwritten to {}", shown.text(), path.display()),
        None => shown.text(),
    });
    Ok(())
}

fn verify(global: &Global, args: &BeaconVerifyArgs, output: Output) -> Result<(), CliError> {
    let path = &args.file;
    let file = std::fs::File::open(path).map_err(io("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_BEACON_PROOF_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    let proof = BeaconProof::from_json(&bytes).map_err(|error| {
        CliError::from(ClientError::from(error))
            .with_hint("a value is shown by the file that `phala beacon latest --output FILE` writes")
    })?;
    let genesis = pinned(global, args.genesis.as_deref(), "the value")?;
    let value = verify_now(&proof, &genesis).map_err(|error| {
        CliError::from(error).with_hint("the file shows nothing: ask whoever gave it to you for another")
    })?;
    let shown = Shown { value: &value, genesis: &genesis, is_pinned: true };
    output.data(&shown.json(), || shown.text());
    Ok(())
}

/// A value that holds, as it is shown.
struct Shown<'a> {
    value: &'a VerifiedValue,
    genesis: &'a Hash,
    /// Whether the user named the chain, rather than the node.
    is_pinned: bool,
}

impl Shown<'_> {
    /// What vouches for the gatekeepers' machines. The chain takes simulated ones where its genesis says that it is for development.
    fn assurance(&self) -> Option<Assurance> {
        self.value.development.map(|marked| if marked { Assurance::Simulated } else { Assurance::Hardware })
    }

    /// What is not checked here.
    fn trusted(&self) -> String {
        let chain =
            if self.is_pinned { "the pinned genesis" } else { "the node's word for which chain it is, genesis" };
        format!(
            "{chain} {}; that fewer than a third of each authority set from there on lie; that fewer than {} of the era's {} holders \
             conspire, who would know its values early",
            to_hex(self.genesis),
            self.value.partials.len(),
            self.value.holders
        )
    }

    /// For scripts.
    fn json(&self) -> Value {
        let value = self.value;
        json!({
            "holds": true,
            "era": value.era,
            "period": value.period,
            "value": to_hex(&value.value),
            "opened": value.opened,
            "made": value.made,
            "partials": value.partials,
            "holders": value.holders,
            "key": to_hex(&value.key),
            "block": value.block,
            "block_hash": to_hex(&value.block_hash),
            "newest": value.newest,
            "genesis": to_hex(self.genesis),
            "pinned": self.is_pinned,
            "assurance": self.assurance().map(assurance),
            "trusted": self.trusted(),
        })
    }

    /// For people.
    fn text(&self) -> String {
        let value = self.value;
        let age = if value.newest { "the newest" } else { "not the newest" };
        let indices: Vec<String> = value.partials.iter().map(u16::to_string).collect();
        let mut lines = vec![
            format!("value:   {}", to_hex(&value.value)),
            format!("period:  {} of era {}, opened in block {}", value.period, value.era, value.opened),
            format!(
                "made:    in block {}, of the partials of holders {} ({} of {})",
                value.made,
                indices.join(", "),
                value.partials.len(),
                value.holders
            ),
            format!(
                "checked: it follows from the partials under the era's key {}; key and value are in the state of the finalised block \
                 {} {}, in which it is {age}",
                to_hex(&value.key),
                value.block,
                to_hex(&value.block_hash)
            ),
            format!("trusted: {}", self.trusted()),
        ];
        lines.push(match self.assurance() {
            Some(assurance) => assurance_line(assurance).to_owned(),
            None => "assurance: unknown (whether the network is for development is not shown)".to_owned(),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const GENESIS: Hash = [7; 32];

    fn value(development: Option<bool>) -> VerifiedValue {
        VerifiedValue {
            era: 3,
            period: 9,
            value: [1; 32],
            opened: 100,
            made: 104,
            partials: vec![1, 3, 4],
            holders: 4,
            key: [2; 32],
            block: 110,
            block_hash: [5; 32],
            newest: true,
            development,
        }
    }

    #[test]
    fn a_value_is_shown_with_what_was_checked_and_what_is_trusted() {
        let value = value(Some(true));
        let shown = Shown { value: &value, genesis: &GENESIS, is_pinned: true };
        let json = shown.json();
        assert_eq!((&json["holds"], &json["era"], &json["period"]), (&json!(true), &json!(3), &json!(9)));
        assert_eq!((&json["value"], &json["partials"]), (&json!(to_hex(&[1; 32])), &json!([1, 3, 4])));
        assert_eq!((&json["pinned"], &json["newest"]), (&json!(true), &json!(true)));
        assert_eq!(json["assurance"], "simulated");
        let text = shown.text();
        assert!(text.contains(&to_hex(&[1; 32])) && text.contains("holders 1, 3, 4 (3 of 4)"));
        assert!(text.contains("INSECURE") && text.contains("trusted: the pinned genesis 0x0707"));
        assert!(text.contains("in which it is the newest"));
    }

    #[test]
    fn a_nodes_word_for_the_chain_is_said_to_be_one_and_what_is_not_known_is() {
        let value = VerifiedValue { newest: false, ..value(None) };
        let shown = Shown { value: &value, genesis: &GENESIS, is_pinned: false };
        assert!(shown.text().contains("trusted: the node's word for which chain it is"));
        assert!(shown.text().contains("not the newest") && shown.text().contains("assurance: unknown"));
        assert_eq!((&shown.json()["pinned"], &shown.json()["assurance"]), (&json!(false), &Value::Null));
        let hardware = VerifiedValue { development: Some(false), ..value.clone() };
        assert_eq!(Shown { value: &hardware, ..shown }.json()["assurance"], "hardware");
    }

    #[test]
    fn what_shows_no_value_is_refused_and_has_a_code() {
        let folder = tempfile::tempdir().unwrap();
        let global = Global { json: true, network: None, password_file: None, more_workers: Vec::new() };
        let verify = |content: &str| {
            let path = folder.path().join("b.json");
            std::fs::write(&path, content).unwrap();
            let args = BeaconVerifyArgs { file: path, genesis: Some(to_hex(&GENESIS)) };
            super::verify(&global, &args, Output::new(true)).unwrap_err()
        };
        for none in ["", "{}", "[]", r#"{"format": "phala-receipt/v1"}"#] {
            let error = verify(none);
            assert_eq!((error.code.as_str(), error.exit_code()), ("invalid", 2), "{none}");
            assert!(error.hint.unwrap().contains("phala beacon latest"));
        }
        let empty = phala_protocol::finality::GenesisAnchor { header: Vec::new(), authorities_proof: Vec::new() };
        let proof = |genesis| BeaconProof {
            genesis,
            anchor: empty.clone(),
            finality: Vec::new(),
            proof: Vec::new(),
            era: 1,
            period: 1,
        };
        for (genesis, said) in [(GENESIS, "genesis does not hold"), ([8; 32], "it is of the chain")] {
            let error = verify(&proof(genesis).to_json().unwrap());
            assert_eq!((error.code.as_str(), error.exit_code()), ("unverified", 7));
            assert!(error.message.contains(said), "{}", error.message);
        }
    }
}
