//! The brake, as operators pull it: parts of a suspension that their gatekeepers sign, joined and submitted, and what the chain shows of it.
//!
//! Guarantees: what is shown is what the command line proves. Gatekeepers and the chain decide what they sign and take.

use crate::{Network, Run};
use serde_json::Value;

/// Blocks in which the chain takes the parts.
const TAKEN_FOR: &str = "600";

/// Has the gatekeepers at `tees` - names in network.json, or operators' addresses - sign that `subject` is suspended. The files of their
/// parts, in that order.
///
/// # Panics
/// When one of them does not sign.
pub fn signed(network: &Network, subject: &str, tees: &[&str]) -> Vec<String> {
    let mut until: Option<String> = None;
    let mut files = Vec::new();
    for (number, tee) in tees.iter().enumerate() {
        let file = network.base.join(format!("part-{number}.json"));
        let path = file.to_str().expect("a path of text").to_owned();
        // The first names the block, and the others say the same.
        let last = match &until {
            None => ["--for", TAKEN_FOR],
            Some(until) => ["--until", until.as_str()],
        };
        let suspend = ["gatekeeper", "suspend", subject];
        let part = network.phala(&[&suspend[..], &last, &["--tee", *tee, "--out", path.as_str()]].concat()).data();
        until = Some(part["until"].as_u64().expect("a part names its last block").to_string());
        files.push(path);
    }
    files
}

/// Somebody submits these parts.
pub fn pull(network: &Network, files: &[String]) -> Run {
    let mut words = vec!["brake", "pull"];
    words.extend(files.iter().map(String::as_str));
    words.extend(["--from", "alice"]);
    network.phala(&words)
}

/// What the chain shows of the brake, and of `subject`, if that is suspended or was.
///
/// # Panics
/// When the chain cannot be asked.
pub fn shown(network: &Network, subject: &str) -> (Value, Option<Value>) {
    let status = network.phala(&["brake", "status"]).data();
    let bans = status["bans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ban = bans.iter().find(|ban| ban["subject"] == subject).cloned();
    (status, ban)
}
