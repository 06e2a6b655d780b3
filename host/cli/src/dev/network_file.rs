//! `network.json`: what a network's user needs to know of it. Written by `phala dev`, read by every other command.
//!
//! It pins the genesis and its anchor, which decides what is believed; addresses, names and process ids are for finding things.
//! Whoever may write the folder chooses the network.

use crate::{
    error::{io, CliError},
    home,
};
use phala_client::{network::Pin, ErrorCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The file's name in the network's folder.
pub const NAME: &str = "network.json";
/// Bytes of a file: an anchor and some addresses.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// What to do about a file that is none.
const DAMAGED: &str = "get it again from whoever runs the network; `phala dev` writes its own anew when it starts";
const VERSION: u32 = 1;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFile {
    /// Of this format: 1.
    pub version: u32,
    /// INSECURE: whether TEEs are simulated and keys are published.
    #[serde(default)]
    pub insecure: bool,
    /// The network's folder.
    #[serde(default)]
    pub base_path: PathBuf,
    /// Genesis hash, in hexadecimal.
    pub genesis: String,
    /// SCALE of `GenesisAnchor`, in hexadecimal.
    pub anchor: String,
    /// The first node's WebSocket address.
    pub node_ws: String,
    /// The address of every node.
    #[serde(default)]
    pub node_wss: Vec<String>,
    /// The workers.
    #[serde(default)]
    pub workers: Vec<Machine>,
    /// The gatekeepers.
    #[serde(default)]
    pub gatekeepers: Vec<Machine>,
    /// Contracts by name.
    #[serde(default)]
    pub contracts: BTreeMap<String, String>,
    /// Names of funded accounts.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Blocks of a session, where it is not the chain's usual number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_blocks: Option<u32>,
    /// Milliseconds between two blocks, where they are not the chain's usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_milliseconds: Option<u32>,
    /// Processes by name; empty while the network is stopped.
    #[serde(default)]
    pub pids: BTreeMap<String, u32>,
}

/// A worker or gatekeeper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What its process is called.
    #[serde(default)]
    pub name: String,
    /// Its public address.
    pub http: String,
    /// The address for its relayer.
    #[serde(default)]
    pub operator: String,
    /// The account that operates it, as an address.
    #[serde(default)]
    pub account: String,
    /// Its identity, in hexadecimal.
    #[serde(default)]
    pub identity: String,
    /// The cluster that it serves; a gatekeeper's means nothing.
    #[serde(default)]
    pub cluster: u32,
    /// Where its platform's collateral lies.
    #[serde(default)]
    pub collateral: Option<PathBuf>,
}

impl NetworkFile {
    /// An empty network with this pin.
    pub fn new(base_path: &Path, pin: &Pin) -> Self {
        let json = pin.to_json();
        let text = |name: &str| json.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Self {
            version: VERSION,
            insecure: true,
            base_path: base_path.to_owned(),
            genesis: text("genesisHash"),
            anchor: text("anchor"),
            node_ws: String::new(),
            node_wss: Vec::new(),
            workers: Vec::new(),
            gatekeepers: Vec::new(),
            contracts: BTreeMap::new(),
            accounts: Vec::new(),
            session_blocks: None,
            block_milliseconds: None,
            pids: BTreeMap::new(),
        }
    }

    /// Reads the file in `folder`.
    pub fn read(folder: &Path) -> Result<Self, CliError> {
        let path = folder.join(NAME);
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(CliError::new(ErrorCode::NotFound, format!("there is no network in {}", folder.display()))
                    .with_hint("`phala dev` makes one; --network names another"))
            }
            Err(error) => return Err(io("read", &path)(error)),
        };
        if length > MAX_BYTES {
            return Err(CliError::invalid(format!("{} is no network file: it has {length} bytes", path.display()))
                .with_hint(DAMAGED));
        }
        let bytes = fs::read(&path).map_err(io("read", &path))?;
        let file: Self = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is no network file: {error}", path.display()))
            .map_err(|message| CliError::invalid(message).with_hint(DAMAGED))?;
        if file.version != VERSION {
            return Err(CliError::invalid(format!("{} is of version {}", path.display(), file.version)).with_hint(
                "it was written by another release: use that one, or `phala dev --fresh` to start another network",
            ));
        }
        Ok(file)
    }

    /// Writes the file into `folder`, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| CliError::new(ErrorCode::Internal, format!("cannot write the network file: {error}")))?;
        home::write_whole(&folder.join(NAME), json.as_bytes())
    }

    /// What is pinned.
    pub fn pin(&self) -> Result<Pin, CliError> {
        Ok(Pin::from_json(&serde_json::json!({"genesisHash": self.genesis, "anchor": self.anchor}))?)
    }

    /// Whether it is a network of `phala dev`, and that has ended its processes.
    pub fn is_stopped(&self) -> bool {
        self.insecure && self.pids.is_empty()
    }

    /// The nodes, the first one first.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes = vec![self.node_ws.clone()];
        nodes.extend(self.node_wss.iter().filter(|url| **url != self.node_ws).cloned());
        nodes
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_protocol::finality::GenesisAnchor;

    pub fn pin() -> Pin {
        Pin { genesis: [7; 32], anchor: GenesisAnchor { header: vec![1], authorities_proof: vec![vec![2, 3]] } }
    }

    #[test]
    fn a_written_file_is_read_back_and_pins_the_same_chain() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = NetworkFile::new(folder.path(), &pin());
        file.node_ws = "ws://127.0.0.1:1".to_owned();
        file.node_wss = vec!["ws://127.0.0.1:1".to_owned(), "ws://127.0.0.1:2".to_owned()];
        file.workers.push(Machine {
            name: "worker-0".to_owned(),
            http: "http://127.0.0.1:3".to_owned(),
            ..Machine::default()
        });
        file.pids.insert("worker-0".to_owned(), 42);
        file.write(folder.path()).unwrap();
        let read = NetworkFile::read(folder.path()).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.pin().unwrap(), pin());
        assert_eq!(read.nodes(), ["ws://127.0.0.1:1", "ws://127.0.0.1:2"]);
        assert!(read.insecure);
    }

    #[test]
    fn scripts_find_endpoints_and_pids_by_their_names() {
        let mut file = NetworkFile::new(Path::new("/x"), &pin());
        file.pids.insert("node-0".to_owned(), 7);
        let json = serde_json::to_value(&file).unwrap();
        assert_eq!(json["pids"]["node-0"], 7);
        assert_eq!(json["insecure"], true);
        assert_eq!(json["genesis"], format!("0x{}", "07".repeat(32)));
    }

    #[test]
    fn a_folder_without_a_network_and_a_file_of_another_version_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(NetworkFile::read(folder.path()).unwrap_err().code.as_str(), "not_found");
        let mut file = NetworkFile::new(folder.path(), &pin());
        file.version = 2;
        file.write(folder.path()).unwrap();
        assert_eq!(NetworkFile::read(folder.path()).unwrap_err().code.as_str(), "invalid");
    }
}
