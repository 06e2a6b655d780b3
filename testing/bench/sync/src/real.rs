//! The same on a real node: a `phala dev` network of its own, started, left alone for so many blocks, asked, and stopped.
//!
//! Sessions are [`SESSION_BLOCKS`] long, so that the authorities change as a set about ten times in a thousand blocks, and blocks come as fast
//! as the genesis may say. The set is of one authority, the same each time: what a light client is shown for that is what it would be shown
//! for another one.
//!
//! On the same network a worker is started afterwards (`worker.rs`).
//!
//! INSECURE, as every development network. Listens on loopback; its folder is removed afterwards. The node is asked over plain HTTP, in a
//! page of code (`http.rs`), so that this program links no client library.

use crate::{builds::binary, http::ask, print, processes::Running, worker, ENTROPY};
use anyhow::{ensure, Context, Result};
use codec::Encode;
use phala_light_client::{testing::Header, verify_anchor, FinalityProof, GenesisAnchor};
use phala_protocol::{ids::to_hex, storage::GRANDPA_AUTHORITIES};
use serde_json::{json, Value};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Blocks of a session. After every six of them the authorities change as a set, the same ones under another id: every 96 blocks.
const SESSION_BLOCKS: &str = "16";
/// Milliseconds between two blocks: the fewest that a development chain takes.
const BLOCK_MILLISECONDS: &str = "500";
/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(500);
/// Without another finalised block for so long the chain stands.
const STALLED: Duration = Duration::from_secs(120);

/// What the node's answers were.
pub struct Real {
    /// SCALE bytes of its answers.
    pub bytes: usize,
    /// Changes of the authority set among them.
    pub changes: usize,
    /// Authorities of the set at the end.
    pub authorities: usize,
    /// The block that they led to.
    pub blocks: u32,
    /// Seconds that it took to ask for them and to believe them.
    pub seconds: f64,
}

/// Measures once `blocks` blocks are final. More may be: the figure is of the block that the node led to.
pub fn measure(blocks: u32) -> Result<Real> {
    let folder = tempfile::tempdir()?;
    let base = folder.path().join("network");
    let phala = binary("phala")?;
    let mut child = Command::new(&phala)
        .args(["dev", "--fresh", "--json", "--authorities", "1", "--session-blocks", SESSION_BLOCKS])
        .args(["--block-milliseconds", BLOCK_MILLISECONDS, "--base-path"])
        .arg(&base)
        // Which network was started last is the user's own affair.
        .env("PHALA_HOME", base.join("home"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", phala.display()))?;
    let out = child.stdout.take().context("its output is a pipe")?;
    let _network = Running::of(child);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).context("`phala dev` did not become ready")?;
    let url = ready.get("node_ws").and_then(Value::as_str).context("no node_ws")?;
    let address = url.strip_prefix("ws://").context("node_ws is no ws:// URL")?.trim_end_matches('/');
    wait_for(address, blocks)?;
    let real = follow(address)?;
    worker::measure(&base, address, &real)?;
    Ok(real)
}

/// Until block `blocks` is final.
fn wait_for(address: &str, blocks: u32) -> Result<()> {
    let (mut reached, mut since) = (0, Instant::now());
    while reached < blocks {
        ensure!(since.elapsed() < STALLED, "no block after {reached} became final within {} s", STALLED.as_secs());
        std::thread::sleep(POLL);
        let newest = finalised(address)?;
        if newest > reached {
            (reached, since) = (newest, Instant::now());
        }
    }
    Ok(())
}

/// The newest final block of the node at `HOST:PORT`.
///
/// # Errors
/// It does not answer.
pub fn finalised(address: &str) -> Result<u32> {
    let newest = call(address, "chain_getFinalizedHead", json!([]))?;
    let header: Header = serde_json::from_value(call(address, "chain_getHeader", json!([newest]))?)?;
    Ok(header.number)
}

/// One call of JSON-RPC 2.0 over HTTP/1.1.
fn call(address: &str, method: &str, parameters: Value) -> Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).to_string();
    let answer = ask(address, "POST", "/", body.as_bytes())?;
    let answer: Value =
        serde_json::from_slice(&answer.body).with_context(|| format!("{method} was not answered in JSON"))?;
    answer.get("result").cloned().with_context(|| format!("{method}: {answer}"))
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x")).context("not hexadecimal")?;
    Ok(hex::decode(text)?)
}

fn follow(address: &str) -> Result<Real> {
    let genesis = call(address, "chain_getBlockHash", json!([0]))?;
    let header: Header = serde_json::from_value(call(address, "chain_getHeader", json!([genesis]))?)?;
    let keys = json!([[to_hex(&GRANDPA_AUTHORITIES)], genesis]);
    let nodes = call(address, "state_getReadProof", keys)?;
    let nodes = nodes.get("proof").and_then(Value::as_array).context("no proof")?;
    let anchor =
        GenesisAnchor { header: header.encode(), authorities_proof: nodes.iter().map(bytes).collect::<Result<_>>()? };
    let pinned = bytes(&genesis)?.try_into().map_err(|_| anyhow::anyhow!("the genesis hash has another length"))?;
    let (mut total, mut changes, begun) = (0, 0, Instant::now());
    let mut client = verify_anchor(&pinned, &anchor)?;
    loop {
        let answer = bytes(&call(address, "phala_finalityProof", json!([client.head().number()]))?)?;
        let proof = FinalityProof::decode_bounded(&answer)?;
        if proof.fragments.is_empty() {
            break;
        }
        total += answer.len();
        changes += client.advance(&answer, &ENTROPY)?.set_changes;
        if proof.complete {
            break;
        }
    }
    let (seconds, blocks) = (begun.elapsed().as_secs_f64(), client.head().number());
    ensure!(blocks > 0, "the node finalised nothing");
    print("sync.real_seconds", seconds, "s", None, blocks.into());
    print("sync.real_bytes", f64::from(u32::try_from(total)?), "B", None, blocks.into());
    print("sync.real_set_changes", f64::from(u32::try_from(changes)?), "", None, blocks.into());
    let authorities = client.authorities().keys().len();
    Ok(Real { bytes: total, changes: usize::try_from(changes)?, authorities, blocks, seconds })
}
