//! Roots, ceremonies and seats as the chain proves them, and how they are shown.
//!
//! Guarantees: [`read`] gives what one finalised header's state holds of them, proved; what is shown says when one machine holds a whole
//! root. The chain's governance, validators and gatekeepers decide what the records say. Does not do: judge a ceremony.

use crate::error::CliError;
use phala_client::{chain::map_key, network::Proved, Network};
use phala_protocol::{
    ceremony::{CeremonyRecord, Phase},
    chain_state::RootRecord,
    ids::{to_hex, BlockNumber},
    storage::{self, Prefix},
    AccountId, WorkerId,
};
use serde_json::{json, Value};

/// What a chain has of roots.
#[derive(Clone, Debug)]
pub struct Roots {
    /// The block of the state.
    pub height: BlockNumber,
    /// The root that answers.
    pub present: Option<RootRecord>,
    /// The root to which clusters go over.
    pub next: Option<RootRecord>,
    /// Era of a root that was made and waits, and the first block in which clusters may go over to it.
    pub waiting: Option<(u32, BlockNumber)>,
    /// The ceremony under way.
    pub ceremony: Option<CeremonyRecord>,
}

/// Prefix of an item of the pallet: the key of a value, and what keys of a map begin with.
pub fn prefix(item: &str) -> Prefix {
    let key = map_key("Gatekeepers", item, b"");
    let mut prefix = [0; 32];
    prefix.iter_mut().zip(&key).for_each(|(to, from)| *to = *from);
    prefix
}

/// Where it stands which gatekeeper a validator has.
pub fn seat_key(validator: &AccountId) -> Vec<u8> {
    map_key("Gatekeepers", "Seats", &validator.0)
}

/// Where it stands which validator a gatekeeper is bound to.
pub fn validator_key(gatekeeper: &WorkerId) -> Vec<u8> {
    map_key("Gatekeepers", "Validators", &gatekeeper.0)
}

/// What the newest finalised state has of roots.
pub async fn read(network: &Network) -> Result<Roots, CliError> {
    let keys = [storage::root_key(), storage::next_root_key(), prefix("Next").to_vec(), storage::ceremony_key()];
    let proved = network.read(&keys).await?;
    from(&proved, &keys)
}

fn from(proved: &Proved, [root, next, waiting, ceremony]: &[Vec<u8>; 4]) -> Result<Roots, CliError> {
    let next: Option<RootRecord> = proved.get(next)?;
    let waiting: Option<(u32, BlockNumber)> = proved.get(waiting)?;
    // Until it answers, the chain's note that it was made stays beside the root that clusters go over to.
    let waiting = waiting.filter(|(era, _)| next.as_ref().is_none_or(|next| next.era != *era));
    Ok(Roots { height: proved.height(), present: proved.get(root)?, next, waiting, ceremony: proved.get(ceremony)? })
}

/// How many of its seats open a root.
pub fn opens(root: &RootRecord) -> String {
    format!("{} of {}", root.threshold, root.seats.len())
}

/// A root for scripts.
pub fn json(root: &RootRecord) -> Value {
    json!({
        "era": root.era,
        "threshold": root.threshold,
        "opens": opens(root),
        "lone": is_lone(root),
        "seats": root.seats.iter().map(WorkerId::to_string).collect::<Vec<_>>(),
        "share_list": to_hex(&root.share_list),
    })
}

/// A root for people.
pub fn line(root: &RootRecord) -> String {
    let warning = if is_lone(root) { " (INSECURE: one machine holds the whole root)" } else { "" };
    format!("era {}, opened by {}{warning}", root.era, opens(root))
}

/// Whether one seat alone opens it.
fn is_lone(root: &RootRecord) -> bool {
    root.threshold <= 1
}

/// A phase as scripts read it.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Commit => "commit",
        Phase::Share => "share",
        Phase::Deliver => "deliver",
        Phase::Settle => "settle",
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    pub fn root(threshold: u16, seats: usize) -> RootRecord {
        RootRecord { era: 2, threshold, seats: vec![WorkerId([1; 32]); seats], share_list: [3; 32] }
    }

    #[test]
    fn a_root_that_one_machine_holds_is_said_to_be_one() {
        assert_eq!(line(&root(3, 4)), "era 2, opened by 3 of 4");
        assert!(line(&root(1, 1)).contains("INSECURE: one machine holds the whole root"));
        assert_eq!(json(&root(1, 1))["lone"], true);
        let shown = json(&root(3, 4));
        assert_eq!((&shown["opens"], &shown["lone"]), (&json!("3 of 4"), &json!(false)));
        assert_eq!(shown["seats"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn keys_of_the_pallet_are_those_of_the_protocol() {
        assert_eq!(prefix("Ceremony"), storage::CEREMONY);
        assert_eq!(seat_key(&AccountId([1; 32]))[..32], prefix("Seats"));
        assert_eq!(seat_key(&AccountId([1; 32])).len(), 80);
    }
}
