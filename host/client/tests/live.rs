//! Against a running development node: `PHALA_TEST_NODE=ws://127.0.0.1:9944 cargo test -p phala-client --test live -- --ignored`.
#![allow(clippy::unwrap_used, reason = "tests")]

use phala_client::{chain::ChainCall, network::Pin, Account, Chain, ErrorCode, Network, Until};
use phala_protocol::{storage, ClusterId};
use std::sync::Arc;

fn url() -> String {
    std::env::var("PHALA_TEST_NODE").unwrap()
}

#[tokio::test]
#[ignore = "needs a development node in PHALA_TEST_NODE"]
async fn heads_are_verified_and_state_is_proved() {
    let network = Network::connect_unpinned(&url()).await.unwrap();
    let first = network.sync().await.unwrap();
    let key = storage::TIMESTAMP_NOW.to_vec();
    let absent = storage::cluster_key(ClusterId(77));
    let proved = network.read(&[key.clone(), absent.clone()]).await.unwrap();
    assert!(proved.height() >= first.number());
    let time: u64 = proved.get(&key).unwrap().unwrap();
    assert!(time > 1_700_000_000_000);
    assert_eq!(proved.get::<u64>(&absent).unwrap(), None);
    assert_eq!(network.cluster(ClusterId(77)).await.unwrap_err().code, ErrorCode::NotFound);

    let pin = Pin { genesis: [9; 32], ..network.pin().clone() };
    assert_eq!(Network::connect(&url(), pin).await.err().unwrap().code, ErrorCode::Unverified);
    let again = Network::connect(&url(), network.pin().clone()).await.unwrap();
    assert!(again.sync().await.unwrap().number() >= first.number());
}

#[tokio::test]
#[ignore = "needs a development node in PHALA_TEST_NODE"]
async fn parallel_submitters_of_one_account_lose_nothing() {
    let alice = Arc::new(Account::development("alice").unwrap());
    let to = Account::generate("new").unwrap().id();
    // Two connections, as two processes have them.
    let chains = [Chain::connect(&url()).await.unwrap(), Chain::connect(&url()).await.unwrap()];
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..8 {
        let (chain, alice) = (chains[index % 2].clone(), alice.clone());
        tasks.spawn(async move {
            chain.submit(&alice, &ChainCall::transfer(&to, 1_000_000_000_000), Until::Finalised).await.unwrap()
        });
    }
    while let Some(included) = tasks.join_next().await {
        assert!(included.unwrap().event("Balances", "Transfer").is_some());
    }
    assert_eq!(chains[0].balance(&to).await.unwrap(), 8_000_000_000_000);
}

#[tokio::test]
#[ignore = "needs a development node in PHALA_TEST_NODE"]
async fn refusals_have_codes() {
    let chain = Chain::connect(&url()).await.unwrap();
    let poor = Account::generate("poor").unwrap();
    let alice = Account::development("alice").unwrap();
    let transfer = |amount| ChainCall::transfer(&poor.id(), amount);
    let code = |error: phala_client::chain::SubmitError| phala_client::ClientError::from(error).code;
    let error = chain.submit(&poor, &transfer(1), Until::InBlock).await.unwrap_err();
    assert_eq!(code(error), ErrorCode::InsufficientFunds);
    let error = chain.submit(&alice, &transfer(20_000_000_000_000_000_000), Until::InBlock).await.unwrap_err();
    assert_eq!(code(error), ErrorCode::InsufficientFunds);
    let remark = ChainCall::raw("System", "set_heap_pages", 64_u64.to_le_bytes().to_vec());
    let error = chain.submit(&alice, &remark, Until::InBlock).await.unwrap_err();
    assert_eq!(code(error), ErrorCode::Unauthorised);
    let included = chain.submit_sudo(&alice, &remark, Until::InBlock).await.unwrap();
    assert!(included.block > 0);
    let bob = Account::development("bob").unwrap();
    let error = chain.submit_sudo(&bob, &remark, Until::InBlock).await.unwrap_err();
    assert_eq!(code(error), ErrorCode::Unauthorised);
    let failing = ChainCall::raw("System", "kill_storage", vec![0]);
    chain.submit_sudo(&alice, &failing, Until::InBlock).await.unwrap();
}
