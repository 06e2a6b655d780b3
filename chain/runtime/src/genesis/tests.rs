//! What a genesis that is not for development may hold, judged natively by the functions that the blob judges by. That the blob asks them,
//! and that the node heeds what it says, is the node's own test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use frame_support::genesis_builder_helper::{build_state, get_preset};
use serde_json::{json, Value};
use sp_core::{ed25519, sr25519, Pair};

/// A seed that nobody has published.
const SECRET: &str = "0x7c3a1f0e5d9b42688a17c04e2f6b95d3c8e07a1b4f529d6e83b0a7c5f1d2e946";

/// What the node's builder of specifications does with a patch.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

/// Builds the genesis of the staging preset with `patch`, and judges it.
fn judged(patch: &Value) -> Result<(), String> {
    let mut genesis: Value =
        serde_json::from_slice(&get_preset::<RuntimeGenesisConfig>(&None, preset).unwrap()).unwrap();
    merge(&mut genesis, serde_json::from_slice(&preset(&STAGING.into()).unwrap()).unwrap());
    merge(&mut genesis, patch.clone());
    sp_io::TestExternalities::default().execute_with(|| {
        build_state::<RuntimeGenesisConfig>(serde_json::to_vec(&genesis).unwrap())?;
        verify_built()
    })
}

fn refused(patch: &Value) -> String {
    judged(patch).unwrap_err()
}

fn account(seed: &str) -> AccountId {
    AccountId::from(sr25519::Pair::from_string(seed, None).unwrap().public().0)
}

fn keys(seed: &str) -> SessionKeys {
    SessionKeys {
        babe: sr25519::Pair::from_string(seed, None).unwrap().public().into(),
        grandpa: ed25519::Pair::from_string(seed, None).unwrap().public().into(),
    }
}

/// A genesis with so many authorities whose keys and stashes come from `SECRET`.
fn genesis(authorities: usize) -> Value {
    let seeds: Vec<_> = (0..authorities).map(|number| format!("{SECRET}//{number}")).collect();
    let stashes: Vec<_> = seeds.iter().map(|seed| account(&format!("{seed}//stash"))).collect();
    let keys: Vec<_> = seeds.iter().zip(&stashes).map(|(seed, stash)| json!([stash, stash, keys(seed)])).collect();
    let balances: Vec<_> = stashes.iter().map(|stash| json!([stash, 2_000_000_000_000_000_u64])).collect();
    let stakers: Vec<_> =
        stashes.iter().map(|stash| json!([stash, stash, 1_000_000_000_000_000_u64, "Validator"])).collect();
    json!({
        "balances": {"balances": balances},
        "session": {"keys": keys},
        "staking": {"stakers": stakers},
    })
}

#[test]
fn a_genesis_outside_development_needs_authorities_enough_and_a_stake_of_each() {
    assert_eq!(judged(&genesis(4)), Ok(()));
    assert!(refused(&json!({})).contains("no authorities"));
    let few = refused(&genesis(3));
    assert!(few.contains("3 authorities, whose gatekeepers could make no root"), "{few}");
    let mut for_nothing = genesis(4);
    for_nothing["staking"]["minValidatorBond"] = json!(0);
    assert!(refused(&for_nothing).contains("staking.minValidatorBond is 0"));
    let mut for_nothing = genesis(4);
    for_nothing["staking"]["minNominatorBond"] = json!(0);
    assert!(refused(&for_nothing).contains("staking.minNominatorBond is 0"));
}

#[test]
fn a_genesis_outside_development_lets_no_more_stand_and_nominate_than_an_election_reads() {
    let with = |most: &str, number: Value| {
        let mut genesis = genesis(4);
        genesis["staking"][most] = number;
        genesis
    };
    for number in [json!(201), json!(null)] {
        let said = refused(&with("maxValidatorCount", number));
        assert!(said.contains("staking.maxValidatorCount") && said.contains("give 200 at most"), "{said}");
    }
    for number in [json!(801), json!(null)] {
        let said = refused(&with("maxNominatorCount", number));
        assert!(said.contains("staking.maxNominatorCount is not set, or above 800"), "{said}");
    }
    for name in preset_names() {
        let preset: Value = serde_json::from_slice(&preset(&name).unwrap()).unwrap();
        assert_eq!(preset["staking"]["maxValidatorCount"], json!(200), "{name:?}");
    }
    // Fewer validators leave places to nominators.
    let mut fewer = with("maxValidatorCount", json!(100));
    fewer["staking"]["maxNominatorCount"] = json!(900);
    assert_eq!(judged(&fewer), Ok(()));
}

#[test]
fn a_genesis_outside_development_has_no_root_of_one_machine_and_nobody_with_root() {
    let mut lone = genesis(4);
    lone["network"] = json!({"loneRoot": true});
    assert!(refused(&lone).contains("network.loneRoot"));
    let mut with_sudo = genesis(4);
    with_sudo["sudo"] = json!({"key": account(SECRET)});
    assert!(refused(&with_sudo).contains("sudo.key"));
}

#[test]
fn a_well_known_key_is_in_no_role_outside_development() {
    let mut funded = genesis(4);
    let alice = json!([Sr25519Keyring::Alice.to_account_id(), 1_000_000_000_000_u64]);
    funded["balances"]["balances"].as_array_mut().unwrap().push(alice);
    let said = refused(&funded);
    assert!(said.contains("the account of the well-known key"), "{said}");

    let mut authors = genesis(4);
    let babe = SessionKeys { babe: Sr25519Keyring::Bob.public().into(), ..keys(&format!("{SECRET}//0")) };
    authors["session"]["keys"][0][2] = json!(babe);
    let said = refused(&authors);
    assert!(said.contains("authors blocks"), "{said}");

    let mut votes = genesis(4);
    let grandpa = SessionKeys { grandpa: Ed25519Keyring::Dave.public().into(), ..keys(&format!("{SECRET}//0")) };
    votes["session"]["keys"][0][2] = json!(grandpa);
    let said = refused(&votes);
    assert!(said.contains("votes on finality"), "{said}");

    // On a development chain they may.
    let mut marked = votes;
    marked["network"] = json!({"development": true});
    assert_eq!(judged(&marked), Ok(()));
}
