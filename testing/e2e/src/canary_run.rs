//! The canary's way through a running network, and the search of everything that could have seen it.

use crate::{
    canary::{chain, marker, prove_the_search, witness, Search, Tapped},
    core_dumps,
    inbox::items,
    processes,
    raw_http::host_of,
    skipped, Network,
};
use serde_json::json;
use std::path::Path;

/// Who calls: an account that operates nothing and pays for nothing else.
pub const CALLER: &str = "charlie";
/// The cluster that executes, and the worker that serves it.
const WORKER: &str = "worker-0";

/// What the run leaves behind.
pub struct Canary {
    /// What was searched, and what was found.
    pub search: Search,
    /// The texts that went in and came out.
    pub markers: Vec<String>,
    /// The contract that heard them.
    pub contract: String,
    /// The relayer, still run by hand.
    pub tapped: Tapped,
    /// What could not be searched on this machine, and why.
    pub not_searched: Vec<String>,
    /// TEEs that crashed and left no core dump.
    pub forbidden: Vec<String>,
    /// TEEs that left one.
    left: Vec<String>,
}

impl Canary {
    /// Deploys the probe, lets the markers through the real path, and searches. `folder` is for controls.
    ///
    /// # Panics
    /// When the path does not work, or the search misses what is there.
    pub fn run(network: &Network, wasm: &Path, folder: &Path) -> Self {
        let wasm = wasm.to_str().expect("a path in UTF-8");
        let deployed = network.phala(&["contract", "deploy", wasm, "--from", CALLER]).data();
        let contract = deployed["contract"].as_str().expect("the contract's id").to_owned();
        let tapped = Tapped::start(network, &network.base.join("logs").join("relayer-by-hand.log"));

        let (kept, emitted, asked) = (marker(), marker(), marker());
        let backwards = |text: &str| text.chars().rev().collect::<String>();
        let arguments = json!([kept, emitted]).to_string();
        let said =
            network.phala(&["contract", "call", &contract, "say", &arguments, "--from", CALLER, "--wait"]).data();
        assert_eq!(said["value"], backwards(&kept));
        let sealed = {
            let items = items(host_of(network.node()), 0, 0).expect("the node gives the inbox's items");
            witness(items.last().expect("the command is in the inbox"))
        };
        let arguments = json!([asked]).to_string();
        let refused = network.phala(&["contract", "call", &contract, "refuse", &arguments, "--from", CALLER, "--wait"]);
        assert_eq!(refused.json["error"]["code"], "contract_error", "{}", refused.text);
        assert!(refused.text.contains(&backwards(&asked)), "{}", refused.text);
        let read = network.phala(&["contract", "query", &contract, "read", "--from", CALLER]).data();
        assert_eq!(read["value"], kept.as_str());
        let echoed = network.phala(&["contract", "query", &contract, "echo", &arguments, "--from", CALLER]).data();
        assert_eq!(echoed["value"], asked.as_str());

        let markers = vec![kept.clone(), emitted, asked.clone(), backwards(&kept), backwards(&asked)];
        let texts: Vec<&str> = markers.iter().map(String::as_str).collect();
        let mut search = Search::new(&texts, &sealed);
        prove_the_search(&mut search, &texts, folder);
        let mut canary = Self {
            search,
            markers,
            contract,
            tapped,
            not_searched: Vec::new(),
            forbidden: Vec::new(),
            left: Vec::new(),
        };
        canary.search_all(network);
        canary
    }

    fn search_all(&mut self, network: &Network) {
        let search = &mut self.search;
        let base = &network.base;
        let node = host_of(network.node());
        let blocks = chain(node, 1).expect("the node answers");
        search.bytes("block bodies, events and headers, by RPC", blocks.iter().map(Vec::as_slice));
        let inbox = items(node, 0, 0).expect("the node gives the inbox's items");
        search.bytes("inbox items, by RPC", inbox.iter().map(|item| item.message.as_slice()));
        for (place, folder) in [
            ("chain database", "nodes"),
            ("disks of workers and gatekeeper", "workers"),
            ("folders of the simulated machines", "tee"),
            ("logs of all processes", "logs"),
            (COMMAND_LINE, "home"),
        ] {
            search.files(place, &base.join(folder));
        }
        search.bytes("what `phala dev` says, its log", [network.notes().as_bytes()]);
        let records = ["network.json", "pids.json", "settings.json", "chain.json"].map(|name| base.join(name));
        let records: Vec<Vec<u8>> = records.iter().filter_map(|path| std::fs::read(path).ok()).collect();
        search.bytes("the network's own files", records.iter().map(Vec::as_slice));
        search.bytes("relayer's traffic with the node", [self.tapped.node.recorded().as_slice()]);
        for (tap, name) in self.tapped.tees.iter().zip(["gatekeeper", WORKER, "worker-1", "worker-2"]) {
            search.bytes(&format!("relayer's traffic with {name}"), [tap.recorded().as_slice()]);
        }

        let mut processes = processes::ids(base);
        let own = processes.remove(WORKER);
        processes.insert("relayer, run by hand".to_owned(), self.tapped.relayer.id());
        processes.insert("phala dev".to_owned(), network.id());
        for (name, id) in &processes {
            if let Err(error) = search.memory(&format!("memory of {name}"), *id) {
                let what = format!("the memory of {name}: {error}; this needs root, or the same user and no Yama");
                skipped(&what);
                self.not_searched.push(what);
            }
        }
        if let Some(id) = own {
            // It may hold them: it is the TEE. Here it is simulated, and so open.
            if let Err(error) = search.memory(&format!("{OWN} {WORKER}"), id) {
                self.not_searched.push(format!("the worker's own memory, a control: {error}"));
            }
        }
    }

    /// Crashes every process but `phala dev`, which starts them again, and searches what they leave on the disk. TEEs may leave nothing.
    /// The network's own relayer stands still beside the one that is run by hand, and is left alone.
    ///
    /// # Panics
    /// When the network does not come back.
    pub fn search_core_dumps(&mut self, network: &Network) {
        let mut processes = processes::ids(&network.base);
        processes.remove("relayer");
        processes.insert("relayer, run by hand".to_owned(), self.tapped.relayer.id());
        for (name, id) in processes {
            let is_tee = name.starts_with("worker-") || name.starts_with("gatekeeper");
            let place = format!("core dump of {name}");
            match core_dumps::crash(id) {
                Some(file) => {
                    if is_tee {
                        self.left.push(format!("{name} left a core dump, which a TEE has to forbid"));
                    }
                    if let Err(error) = self.search.file(&place, &file) {
                        self.not_searched.push(format!("{place}: {error}"));
                    }
                    let _ = std::fs::remove_file(file);
                }
                None if is_tee => self.forbidden.push(name),
                None => {
                    let what = format!("{place}: it left none");
                    skipped(&what);
                    self.not_searched.push(what);
                }
            }
        }
    }

    /// What was found where nothing may be, and what was not found where it must be.
    pub fn faults(&self) -> Vec<String> {
        let rows = || self.search.rows.iter().filter(|row| !row.place.starts_with("control: "));
        let mut faults: Vec<String> = rows()
            .filter(|row| row.hits() > 0 && !row.place.starts_with(OWN))
            .map(|row| format!("{} holds plaintext: {:?}", row.place, row.plaintext))
            .collect();
        faults.extend(self.left.iter().cloned());
        faults.extend(
            rows()
                .filter(|row| row.bytes == 0 && row.place != COMMAND_LINE)
                .map(|row| format!("{} was empty", row.place)),
        );
        for must in [
            "block bodies",
            "inbox items",
            "chain database",
            "relayer's traffic with the node",
            "relayer's traffic with worker-0",
        ] {
            if !rows().any(|row| row.place.starts_with(must) && row.sealed > 0) {
                faults.push(format!("the sealed command was not seen in {must}: the search looks at the wrong thing"));
            }
        }
        // A core dump is searched as the node's memory was, which holds it.
        if rows().any(|row| row.place == "core dump of node-0" && row.sealed == 0) {
            faults.push(
                "the sealed command was not seen in the node's core dump: the search looks at the wrong thing"
                    .to_owned(),
            );
        }
        faults
    }
}

/// How the row of the folder with keys and names is called: it is empty for who uses development accounts.
const COMMAND_LINE: &str = "folder of the command line";
/// How the row of the worker's own memory is called.
const OWN: &str = "the TEE itself: memory of";
