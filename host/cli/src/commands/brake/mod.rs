//! `phala brake`: shows the brake, joins gatekeepers' parts of a suspension, and votes for its committee.

mod pull;
mod status;

use crate::{
    accounts,
    args::{BrakeCommand, Global},
    error::CliError,
    network,
    output::Output,
};
use phala_client::{
    chain::{map_key, ChainCall},
    ClientError, Until,
};
use phala_protocol::chain_state::RootRecord;
use serde_json::json;

/// Runs `phala brake`.
pub async fn run(global: &Global, command: BrakeCommand, output: Output) -> Result<(), CliError> {
    match command {
        BrakeCommand::Status => status::run(global, output).await,
        BrakeCommand::Pull(args) => pull::run(global, &args, output).await,
        BrakeCommand::Elect { members, from } => elect(global, &members, &from, output).await,
    }
}

/// Votes for a committee.
async fn elect(global: &Global, names: &[String], from: &str, output: Output) -> Result<(), CliError> {
    let members = names.iter().map(|name| accounts::find(name)).collect::<Result<Vec<_>, _>>()?;
    let connected = network::connect(global).await?;
    let validator = accounts::signer(global, &connected.network, from).await?;
    let call = ChainCall::vote_for_committee(&members);
    let chain = connected.network.chain();
    let done = chain.submit(&validator, &call, Until::Finalised).await.map_err(ClientError::from)?;
    let addresses: Vec<String> = members.iter().map(accounts::address).collect();
    output.data(&json!({"block": done.block, "members": addresses}), || {
        let wanted = if addresses.is_empty() { "no committee".to_owned() } else { addresses.join(", ") };
        format!("voted in block {} for {wanted}; `phala brake status` shows the committee that serves", done.block)
    });
    Ok(())
}

/// Key of a value of the attestation pallet.
fn value_key(item: &str) -> Vec<u8> {
    map_key("Attestation", item, b"").into_iter().take(32).collect()
}

/// Seats that have to sign: the fewest without whom no key is given.
fn needed(root: &RootRecord) -> usize {
    root.seats.len().saturating_add(1).saturating_sub(root.threshold.into()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{storage, WorkerId};

    #[test]
    fn as_many_seats_are_needed_as_can_withhold_a_key() {
        let root = |threshold, seats| RootRecord {
            era: 0,
            threshold,
            seats: vec![WorkerId([1; 32]); seats],
            share_list: [0; 32],
        };
        assert_eq!([(1, 1), (3, 4), (5, 7), (67, 100)].map(|(t, n)| needed(&root(t, n))), [1, 2, 3, 34]);
        assert_eq!(needed(&root(4, 1)), 1, "never none");
    }

    #[test]
    fn keys_of_the_pallet_are_those_of_the_protocol() {
        assert_eq!(value_key("Bans"), storage::BANS);
        assert_eq!(value_key("Root"), storage::root_key());
    }
}
