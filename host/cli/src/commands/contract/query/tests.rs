//! Hosts that refuse, and nodes that withhold.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use codec::Encode;
use jsonrpsee::{server::Server, types::ErrorObjectOwned, RpcModule};
use phala_client::network::Pin;
use phala_light_client::testing::TestChain;
use phala_protocol::{ids::to_hex, storage, AccountId, ClusterId, CodeHash};
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const QUESTION: &[u8] = b"a sealed question";
const SEALED: &str = "a sealed answer";
const CONTRACT: ContractId = ContractId([3; 32]);

/// A host that answers one question so.
async fn host(status: &str, body: &str) -> WorkerEndpoint {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(QUESTION) {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "the question was not heard to its end");
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    WorkerEndpoint::new(&url).unwrap()
}

async fn ask(endpoint: WorkerEndpoint) -> Result<Vec<u8>, ClientError> {
    endpoint.query(QUESTION.to_vec()).await
}

#[tokio::test]
async fn what_a_host_says_unsealed_keeps_nobody_from_the_next_worker_and_is_never_that_nothing_is_there() {
    let coded = ErrorCode::ALL.map(|code| format!(r#"{{"error":{{"code":"{}","message":"no"}}}}"#, code.as_str()));
    let mut refusals: Vec<(&str, &str)> = coded.iter().map(|body| ("404 Not Found", body.as_str())).collect();
    refusals.extend([("404 Not Found", ""), ("403 Forbidden", "<html>"), ("413 Content Too Large", "{}")]);
    for (status, body) in refusals {
        let alone = first_answer(vec![host(status, body).await], ask).await.unwrap_err();
        assert_eq!(alone.code.exit_code(), 6, "{status} {body}: {alone:?}");
        let both = vec![host(status, body).await, host("200 OK", SEALED).await];
        assert_eq!(first_answer(both, ask).await.unwrap(), SEALED.as_bytes(), "{status} {body}");
    }
}

#[tokio::test]
async fn what_an_attested_worker_refuses_is_asked_of_no_other_unless_its_host_brought_it_about() {
    for (refusal, expected) in [
        (QueryRefusal::NotFound, 1),
        (QueryRefusal::NotReadOnly, 1),
        (QueryRefusal::Trapped, 1),
        (QueryRefusal::Stale, 2),
        (QueryRefusal::Replayed, 2),
    ] {
        let workers = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(|url| WorkerEndpoint::new(url).unwrap());
        let mut asked = 0;
        let refused = first_answer(workers.to_vec(), |_| {
            asked += 1;
            std::future::ready(Err::<(), _>(refusal_error(refusal)))
        });
        assert_eq!(refused.await, Err(refusal_error(refusal)));
        assert_eq!(asked, expected, "{refusal:?}");
    }
}

/// What is known of the contract by a node of a chain that has this record of it, and no code. With `refuses` the node proves nothing, and
/// says that nothing is there.
async fn known_by_a_node(record: Option<ContractRecord>, refuses: bool) -> CliError {
    let key = storage::contract_key(&CONTRACT);
    let mut chain = TestChain::new(7, 4, []);
    chain.build_block(record.map(|record| (key.clone(), Some(record.encode()))));
    let nodes: Vec<String> = chain.read_proof(1, &[key.as_slice()]).iter().map(|node| to_hex(node)).collect();
    let pin = Pin { genesis: chain.genesis_hash(), anchor: chain.anchor() };
    let (genesis, proof) = (json!(to_hex(&pin.genesis)), json!(to_hex(&chain.proof(0, 1).encode())));
    let head = genesis.clone();
    let nodes = json!({"at": genesis, "proof": nodes});
    let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let said = |value: &Value| Ok::<_, ErrorObjectOwned>(value.clone());
    let mut module = RpcModule::new(());
    module.register_method("chain_getBlockHash", move |_, _, _| said(&genesis)).unwrap();
    module.register_method("chain_getFinalizedHead", move |_, _, _| said(&head)).unwrap();
    module.register_method("phala_finalityProof", move |_, _, _| said(&proof)).unwrap();
    module.register_method("state_getStorage", move |_, _, _| said(&Value::Null)).unwrap();
    module
        .register_method("state_getReadProof", move |_, _, _| {
            if refuses {
                return Err(ErrorObjectOwned::owned(7005, "there is no such thing", None::<()>));
            }
            said(&nodes)
        })
        .unwrap();
    let _running = server.start(module);
    known(&Network::connect(&url, pin).await.unwrap(), &CONTRACT).await.unwrap_err()
}

#[tokio::test]
async fn a_node_that_withholds_a_contracts_code_does_not_pass_for_a_chain_without_the_contract() {
    let record = ContractRecord {
        cluster: ClusterId(0),
        code: CodeHash::of(b"code"),
        deployer: AccountId([1; 32]),
        created_at: 1,
    };
    let absent = known_by_a_node(None, false).await;
    assert_eq!((absent.code.as_str(), absent.message), ("not_found", QueryRefusal::NotFound.to_string()));
    let withheld = known_by_a_node(Some(record), false).await;
    assert_eq!((withheld.code.as_str(), withheld.exit_code()), ("unverified", 7), "{}", withheld.message);
    assert!(withheld.message.contains("code of a contract that the chain has"), "{}", withheld.message);
    let unproved = known_by_a_node(Some(record), true).await;
    assert_eq!((unproved.code.as_str(), unproved.exit_code()), ("unreachable", 6), "{}", unproved.message);
}
