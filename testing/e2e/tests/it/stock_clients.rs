//! Clients that nobody of this project wrote, as their authors publish them, against one node that `phala node run` started: subxt, and
//! polkadot.js in `testing/stock/story.mjs`. Neither is told a type, an extension or a call of ours: they read the chain's metadata.

use phala_e2e::{alone, binary, repository, signal, wait_until};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use subxt::{
    config::DefaultExtrinsicParamsBuilder,
    dynamic::{self, At, Value},
    OnlineClient, PolkadotConfig,
};
use subxt_signer::sr25519::{dev, Keypair};

const PHA: u128 = 1_000_000_000_000;

/// A development chain of one authority and blocks of half a second, run by hand; ended when dropped.
struct Node {
    process: Child,
    url: String,
}

impl Node {
    fn start(folder: &Path) -> Self {
        let [rpc, peers] = [free_port(), free_port()];
        let chain = folder.join("chain.json");
        fs::write(&chain, fast_chain()).unwrap();
        let process = Command::new(binary("phala"))
            .args(["node", "run", "--alice", "--no-telemetry", "--no-prometheus", "--no-mdns"])
            .args(["--rpc-port", &rpc.to_string(), "--port", &peers.to_string(), "--base-path"])
            .arg(folder)
            .arg("--chain")
            .arg(chain)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("node.log")).unwrap())
            .spawn()
            .unwrap();
        let node = Self { process, url: format!("ws://127.0.0.1:{rpc}") };
        wait_until("the node answers", Duration::from_secs(120), || TcpStream::connect(("127.0.0.1", rpc)).is_ok());
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        signal(self.process.id(), "-TERM");
        let _ = self.process.wait();
    }
}

/// The development chain, twice as fast: clients wait for blocks.
fn fast_chain() -> Vec<u8> {
    let exported = Command::new(binary("phala-node")).args(["export-chain-spec", "--chain", "dev"]).output().unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let mut chain: serde_json::Value = serde_json::from_slice(&exported.stdout).unwrap();
    let genesis = chain["genesis"]["runtimeGenesis"].as_object_mut().unwrap();
    let (_, genesis) = genesis.iter_mut().find(|(form, _)| *form == "patch" || *form == "config").unwrap();
    genesis["network"]["slotMilliseconds"] = 500.into();
    serde_json::to_vec(&chain).unwrap()
}

/// A loopback port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The fields of the one event of this name that the transaction deposited, once it is final.
async fn send(
    api: &OnlineClient<PolkadotConfig>,
    signer: &Keypair,
    call: (&str, &str, Vec<Value>),
    event: (&str, &str),
) -> Value {
    let (pallet, name, arguments) = call;
    let transaction = dynamic::transaction(pallet, name, arguments);
    let options = DefaultExtrinsicParamsBuilder::new().mortal(64).build();
    let at_block = api.at_current_block().await.unwrap();
    let mut transactions = at_block.transactions();
    let progress = transactions.sign_and_submit_then_watch(&transaction, signer, options).await.unwrap();
    let events = progress.wait_for_finalized_success().await.unwrap();
    let mut found = Vec::new();
    for deposited in events.iter() {
        let deposited = deposited.unwrap();
        if (deposited.pallet_name(), deposited.event_name()) == event {
            found.push(deposited.decode_fields_unchecked_as::<Value>().unwrap());
        }
    }
    assert_eq!(found.len(), 1, "{event:?} among the events of {pallet}.{name}");
    found.remove(0)
}

async fn state(api: &OnlineClient<PolkadotConfig>, pallet: &str, item: &str, key: [u8; 32]) -> Value {
    let at_block = api.at_current_block().await.unwrap();
    let address = dynamic::storage::<([u8; 32],), Value>(pallet, item);
    at_block.storage().fetch(address, (key,)).await.unwrap().decode().unwrap()
}

fn number(value: &Value, path: &[&str]) -> u128 {
    let found =
        path.iter().fold(value, |value, name| value.at(*name).unwrap_or_else(|| panic!("no {name} in {value}")));
    found.as_u128().unwrap_or_else(|| panic!("{path:?} of {value} is no number"))
}

#[test]
fn unmodified_subxt_and_polkadot_js_transfer_bond_read_events_and_share_keys() {
    let _turn = alone();
    let client = installed();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    subxt_transfers_bonds_and_reads_events(&node);
    polkadot_js_transfers_bonds_reads_events_and_shares_keys(&node, &client, &folder.path().join("keys"));
}

fn subxt_transfers_bonds_and_reads_events(node: &Node) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let api = OnlineClient::<PolkadotConfig>::from_insecure_url(&node.url).await.unwrap();
        let mut heads = api.stream_blocks().await.unwrap();
        let (alice, eve) = (dev::alice(), dev::eve());

        let stranger = [7; 32];
        let to = Value::unnamed_variant("Id", [Value::from_bytes(stranger)]);
        let arguments = vec![to, Value::u128(3 * PHA)];
        let event = send(&api, &alice, ("Balances", "transfer_keep_alive", arguments), ("Balances", "Transfer")).await;
        assert_eq!(number(&event, &["amount"]), 3 * PHA);
        assert_eq!(number(&state(&api, "System", "Account", stranger).await, &["data", "free"]), 3 * PHA);

        let arguments = vec![Value::u128(1000 * PHA), Value::unnamed_variant("Staked", [])];
        let event = send(&api, &eve, ("Staking", "bond", arguments), ("Staking", "Bonded")).await;
        assert_eq!(number(&event, &["amount"]), 1000 * PHA);
        let ledger = state(&api, "Staking", "Ledger", eve.public_key().0).await;
        assert_eq!(number(&ledger, &["active"]), 1000 * PHA);

        // Finalised blocks came in order meanwhile.
        let mut last = None;
        for _ in 0..3 {
            let height = heads.next().await.unwrap().unwrap().number();
            assert!(last.is_none_or(|last| height == last + 1), "{height} after {last:?}");
            last = Some(height);
        }
    });
}

/// Where `scripts/stock` installs polkadot.js: outside the checkout.
fn installed() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let folder = target.join("stock");
    assert!(folder.join("node_modules/@polkadot/api").exists(), "polkadot.js is missing: run scripts/stock first");
    folder
}

fn polkadot_js_transfers_bonds_reads_events_and_shares_keys(node: &Node, client: &Path, keys: &Path) {
    // Node looks for packages beside the script.
    let script = client.join("story.mjs");
    fs::copy(repository().join("testing/stock/story.mjs"), &script).unwrap();
    fs::create_dir(keys).unwrap();
    let story = Command::new("node").arg(&script).arg(&node.url).arg(binary("phala")).arg(keys).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&story.stdout), String::from_utf8_lossy(&story.stderr));
    assert!(story.status.success(), "{said}{errors}");
    let said: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(said["client"], "@polkadot/api v16.5.4");
    // A client that does not understand the chain warns before it fails.
    assert!(!errors.contains("Unknown signed extensions") && !errors.contains("Unable to decode"), "{errors}");
}
