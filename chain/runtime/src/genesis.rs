//! The genesis presets, and the checks that every genesis has to pass.
//!
//! - `dev`: one authority (Alice), 1 s slots, epochs of 60 slots; Alice to Ferdie funded; Alice holds the sudo key. One gatekeeper may hold
//!   the whole root.
//! - `local`: the same with four authorities (Alice, Bob, Charlie, Dave), each with a stake of its own, and a root of four seats or more.
//! - `staging`: no authorities, no accounts, no sudo key, 6 s slots, epochs of 600 slots. It is a starting point and not a
//!   chain: whoever founds the chain adds `session.keys`, `staking.stakers` and `balances` to it, and until they do,
//!   [`verify_built`] refuses to build a state from it.
//!
//! What a genesis contains is up to the chain's founders. What this module guarantees is that a chain which is not marked
//! as a development chain has no well-known key in any role, nobody with root, and authorities enough for a root of its gatekeepers.

use crate::{
    configs::staking::{ElectionTargets, ElectionVoters},
    currency::UNIT,
    network, AccountId, BabeConfig, Balance, BalancesConfig, NetworkConfig, Runtime, RuntimeGenesisConfig, Session,
    SessionConfig, SessionKeys, StakingConfig, SudoConfig, System,
};
use alloc::{format, string::String, vec, vec::Vec};
use frame_support::build_struct_json_patch;
use pallet_staking::StakerStatus;
use phala_pallet_gatekeepers::LEAST_SEATS;
use phala_protocol::ceremony::threshold_of;
use sp_core::Get;
use sp_genesis_builder::PresetId;
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use sp_runtime::Perbill;

/// The preset with one authority.
pub const DEV: &str = "dev";
/// The preset with four authorities.
pub const LOCAL: &str = "local";
/// The preset without development keys, to be completed by the founders of a chain.
pub const STAGING: &str = "staging";

/// What each development account starts with.
const ENDOWMENT: Balance = 10_000_000 * UNIT;
/// What each development authority has at stake.
const STAKE: Balance = 1_000_000 * UNIT;

/// What a validator of `staging` has at stake at least, so that a seat that is silent has something to lose.
const MIN_VALIDATOR_BOND: Balance = 1_000 * UNIT;
/// Who may nominate in `staging`: as many as an election hears beside all validators. It hears the first of its map, and whoever grinds
/// accounts could be among them in the place of whoever nominates already.
const MAX_NOMINATORS: u32 = ElectionVoters::get() - ElectionTargets::get();

/// A stash and the keys of the authority it stands behind.
type Authority = (AccountId, SessionKeys);

fn authority(stash: Sr25519Keyring, babe: Sr25519Keyring, grandpa: Ed25519Keyring) -> Authority {
    (stash.to_account_id(), SessionKeys { babe: babe.public().into(), grandpa: grandpa.public().into() })
}

fn development_authorities() -> [Authority; 4] {
    use Ed25519Keyring as Ed;
    use Sr25519Keyring as Sr;
    [
        authority(Sr::AliceStash, Sr::Alice, Ed::Alice),
        authority(Sr::BobStash, Sr::Bob, Ed::Bob),
        authority(Sr::CharlieStash, Sr::Charlie, Ed::Charlie),
        authority(Sr::DaveStash, Sr::Dave, Ed::Dave),
    ]
}

fn development(authorities: &[Authority]) -> serde_json::Value {
    let count = u32::try_from(authorities.len()).unwrap_or(u32::MAX);
    build_struct_json_patch!(RuntimeGenesisConfig {
        network: NetworkConfig { slot_milliseconds: 1_000, epoch_slots: 60, development: true, lone_root: count == 1 },
        balances: BalancesConfig {
            balances: Sr25519Keyring::well_known().map(|key| (key.to_account_id(), ENDOWMENT)).collect::<Vec<_>>(),
        },
        babe: BabeConfig { epoch_config: sp_consensus_babe::BabeEpochConfiguration::default() },
        staking: StakingConfig {
            validator_count: count,
            minimum_validator_count: 1,
            max_validator_count: Some(ElectionTargets::get()),
            slash_reward_fraction: Perbill::from_percent(10),
            stakers: authorities
                .iter()
                .map(|(stash, _)| (stash.clone(), stash.clone(), STAKE, StakerStatus::<AccountId>::Validator))
                .collect::<Vec<_>>(),
        },
        session: SessionConfig {
            keys: authorities
                .iter()
                .map(|(stash, keys)| (stash.clone(), stash.clone(), keys.clone()))
                .collect::<Vec<_>>(),
        },
        sudo: SudoConfig { key: Some(Sr25519Keyring::Alice.to_account_id()) },
    })
}

fn staging() -> serde_json::Value {
    // Of the fewest that make a root, as many as that needs may begin an era: one that withdraws stops no election.
    let least = threshold_of(LEAST_SEATS) as u32;
    build_struct_json_patch!(RuntimeGenesisConfig {
        network: NetworkConfig { slot_milliseconds: 6_000, epoch_slots: 600, development: false, lone_root: false },
        babe: BabeConfig { epoch_config: sp_consensus_babe::BabeEpochConfiguration::default() },
        staking: StakingConfig {
            validator_count: 4,
            minimum_validator_count: least,
            min_validator_bond: MIN_VALIDATOR_BOND,
            // The places to nominate are few: whoever would take all of them puts as much at stake as as many validators.
            min_nominator_bond: MIN_VALIDATOR_BOND,
            max_validator_count: Some(ElectionTargets::get()),
            max_nominator_count: Some(MAX_NOMINATORS),
            slash_reward_fraction: Perbill::from_percent(10),
        },
        sudo: SudoConfig { key: None },
    })
}

/// The preset called `name` as the JSON patch of a [`RuntimeGenesisConfig`], if there is one.
pub fn preset(name: &PresetId) -> Option<Vec<u8>> {
    let [alice, bob, charlie, dave] = development_authorities();
    let patch = match name.as_str() {
        DEV => development(&[alice]),
        LOCAL => development(&[alice, bob, charlie, dave]),
        STAGING => staging(),
        _ => return None,
    };
    serde_json::to_vec(&patch).ok()
}

/// The names of all presets.
pub fn preset_names() -> Vec<PresetId> {
    vec![PresetId::from(DEV), PresetId::from(LOCAL), PresetId::from(STAGING)]
}

/// Judges the state that a genesis has just built, before it becomes a chain.
///
/// # Errors
/// A sentence naming what is wrong with the genesis: timing out of range, no authorities, or, outside a development
/// chain, a sudo key, a well-known key, fewer authorities than a root has seats, seats or places to nominate for no
/// stake, or more validators or nominators than an election reads.
pub fn verify_built() -> Result<(), String> {
    let slot: u64 = network::SlotDuration::get();
    if slot < 500 || !slot.is_multiple_of(2) {
        return Err(format!("network.slotMilliseconds is {slot}: give an even number, 500 or more"));
    }
    if network::EpochDuration::get() < 10 {
        return Err(String::from("network.epochSlots is below 10: sessions could not rotate in time"));
    }
    let authorities = pallet_session::QueuedKeys::<Runtime>::get();
    if authorities.is_empty() || Session::validators().is_empty() {
        return Err(String::from(
            "no authorities: put each one's keys into session.keys and its stake into staking.stakers and balances",
        ));
    }
    if network::IsDevelopment::get() {
        return Ok(());
    }
    if network::LoneRoot::<Runtime>::get() {
        return Err(String::from(
            "network.loneRoot is true: one machine would hold the whole root, which only a development chain may have",
        ));
    }
    if pallet_sudo::Key::<Runtime>::exists() {
        return Err(String::from("sudo.key is set, which only a development chain may have"));
    }
    for key in Sr25519Keyring::iter() {
        if System::account_exists(&key.to_account_id()) {
            return Err(format!(
                "the account of the well-known key {key} is in it, which only a development chain may have"
            ));
        }
        if authorities.iter().any(|(_, keys)| keys.babe == key.public().into()) {
            return Err(format!("the well-known key {key} authors blocks, which only a development chain may have"));
        }
    }
    for key in Ed25519Keyring::iter() {
        if authorities.iter().any(|(_, keys)| keys.grandpa == key.public().into()) {
            return Err(format!("the well-known key {key} votes on finality, which only a development chain may have"));
        }
    }
    if authorities.len() < LEAST_SEATS {
        return Err(format!(
            "{} authorities, whose gatekeepers could make no root: give {LEAST_SEATS} or more, each with a stake",
            authorities.len()
        ));
    }
    if pallet_staking::MinValidatorBond::<Runtime>::get() == 0 {
        return Err(String::from(
            "staking.minValidatorBond is 0: seats for no stake could be taken, and fail, for nothing",
        ));
    }
    if pallet_staking::MinNominatorBond::<Runtime>::get() == 0 {
        return Err(String::from("staking.minNominatorBond is 0: all places to nominate could be taken for nothing"));
    }
    let Some(validators) =
        pallet_staking::MaxValidatorsCount::<Runtime>::get().filter(|most| *most <= ElectionTargets::get())
    else {
        return Err(format!(
            "staking.maxValidatorCount is not set, or above {0}: give {0} at most, for with more who stand every election fails",
            ElectionTargets::get()
        ));
    };
    let heard = ElectionVoters::get();
    let nominators = pallet_staking::MaxNominatorsCount::<Runtime>::get();
    if nominators.is_none_or(|most| most.saturating_add(validators) > heard) {
        return Err(format!(
            "staking.maxNominatorCount is not set, or above {0}: give {0} at most, for an election hears {heard} voters, validators \
             among them, and with more anybody could take a nominator's place in it",
            heard.saturating_sub(validators)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
