//! Which processes a development network has, with which flags, on which ports.

use super::{folder::Settings, ports::Ports, process::Spec, supervisor::Supervisor};
use crate::{
    args::DevArgs,
    error::{io, CliError},
    home,
    output::note,
};
use phala_client::Account;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The development account that operates and pays for everything, and holds the sudo key.
pub const OPERATOR: &str = "alice";
/// Names of the authorities' development keys, as flags of the node; the validator of each is the account of that name's stash.
const AUTHORITIES: [&str; 4] = ["alice", "bob", "charlie", "dave"];

const NODE_PORT: u16 = 9944;
const PEER_PORT: u16 = 30333;
const WORKER_PORT: u16 = 8100;
const GATEKEEPER_PORT: u16 = 8200;
const OPERATOR_PORT: u16 = 8300;
const MAIL_PORT: u16 = 8400;

/// The programs that are run.
pub struct Programs {
    /// The chain node.
    pub node: PathBuf,
    /// The measured binary, without the links that lead to it.
    pub worker: PathBuf,
    /// INSECURE: the simulated machine.
    pub insecure_tee: PathBuf,
    /// This program.
    pub phala: PathBuf,
}

impl Programs {
    /// Finds them beside this program.
    pub fn find() -> Result<Self, CliError> {
        let real = |name: &str| {
            let path = home::program(name)?;
            std::fs::canonicalize(&path).map_err(io("find", &path))
        };
        Ok(Self {
            node: real("phala-node")?,
            worker: real("phala-worker")?,
            insecure_tee: real("phala-insecure-tee")?,
            phala: std::env::current_exe()
                .map_err(|error| CliError::environment(format!("cannot find this program: {error}")))?,
        })
    }

    /// Makes the network in `folder` run the worker that it was made with: what a TEE seals - its identity, a gatekeeper's root -
    /// opens for the same measurement only, so that a worker that was built anew could not go on from there.
    pub fn keep_worker(&mut self, folder: &Path) -> Result<(), CliError> {
        let kept = folder.join("programs").join("phala-worker");
        if kept.exists() {
            let read = |path: &Path| std::fs::read(path).map_err(io("read", path));
            if read(&kept)? != read(&self.worker)? {
                note("note: phala-worker was built anew; this network goes on with the one that it was made with,");
                note("note: because what is sealed opens for no other. --fresh starts a network with the new one.");
            }
        } else {
            let partial = kept.with_extension("partial");
            let programs = folder.join("programs");
            std::fs::create_dir_all(&programs).map_err(io("make", &programs))?;
            std::fs::copy(&self.worker, &partial).map_err(io("copy", &self.worker))?;
            std::fs::rename(&partial, &kept).map_err(io("write", &kept))?;
        }
        self.worker = kept;
        Ok(())
    }
}

/// A node's place.
pub struct NodePlan {
    /// What it is called.
    pub name: String,
    /// The key it has.
    pub authority: &'static str,
    /// Its WebSocket port.
    pub rpc: u16,
    /// Its port for peers.
    pub peers: u16,
}

/// A worker's or gatekeeper's place.
pub struct TeePlan {
    /// What it is called: `gatekeeper`, `worker-0`.
    pub name: String,
    /// Its role, as the worker's flag.
    pub role: &'static str,
    /// The cluster that it serves.
    pub cluster: u32,
    /// Its public port.
    pub http: u16,
    /// Its relayer's port.
    pub operator: u16,
    /// The development account that operates it.
    pub account: &'static str,
}

/// A relayer's place.
pub struct RelayerPlan {
    /// What it is called: `relayer`, or `relayer-0` where there are several.
    pub name: String,
    /// Where it takes the others' letters, if there are any.
    pub mail: Option<u16>,
}

/// The network's processes.
pub struct Plan {
    /// Its folder.
    pub folder: PathBuf,
    /// What is run.
    pub programs: Programs,
    /// The nodes, the first one with the key of Alice.
    pub nodes: Vec<NodePlan>,
    /// The gatekeepers: the one that holds the whole root, or those that make it together, of the authorities in their order.
    pub gatekeepers: Vec<TeePlan>,
    /// The workers.
    pub workers: Vec<TeePlan>,
    /// The relayers, which share the TEEs out among themselves.
    pub relayers: Vec<RelayerPlan>,
    /// The least length of the clusters' epochs in blocks, if it is to be set.
    pub epoch_blocks: Option<u32>,
}

impl Plan {
    /// Chooses ports.
    pub fn new(folder: &Path, programs: Programs, settings: &Settings, args: &DevArgs) -> Result<Self, CliError> {
        let mut ports = Ports::default();
        let mut nodes = Vec::new();
        for (index, authority) in (0u16..).zip(AUTHORITIES).take(settings.authorities as usize) {
            let named = args.node_port.filter(|_| index == 0);
            let name = format!("node-{index}");
            let rpc = ports.pick(named, NODE_PORT + index, &name)?;
            let peers = ports.preferably(PEER_PORT + index, &format!("peers of {name}"))?;
            nodes.push(NodePlan { name, authority, rpc, peers });
        }
        // Named ports first, so that no default takes one of them.
        let mut http = Vec::new();
        for index in (0u16..).take(settings.workers as usize) {
            let named = args.worker_port.map(|port| port.saturating_add(index));
            http.push(ports.pick(named, WORKER_PORT + index, &format!("worker-{index}"))?);
        }
        let operator = |ports: &mut Ports, index: u16, name: &str| {
            ports.preferably(OPERATOR_PORT + index, &format!("relayer's side of {name}"))
        };
        let lone = settings.gatekeepers <= 1;
        let stashes = Account::development_stashes();
        let operators: &[&'static str] = if lone { &[OPERATOR] } else { &stashes };
        let mut gatekeepers = Vec::new();
        for (index, account) in (0u16..).zip(operators.iter().copied()).take(settings.gatekeepers as usize) {
            let name = if lone { "gatekeeper".to_owned() } else { format!("gatekeeper-{index}") };
            let http = ports.preferably(GATEKEEPER_PORT + index, &name)?;
            let operator = operator(&mut ports, index, &name)?;
            gatekeepers.push(TeePlan { name, role: "gatekeeper", cluster: 0, http, operator, account });
        }
        let before = u16::try_from(gatekeepers.len()).unwrap_or(u16::MAX);
        let mut workers = Vec::new();
        for (index, http) in (0u16..).zip(http) {
            let name = format!("worker-{index}");
            let operator = operator(&mut ports, index + before, &name)?;
            workers.push(TeePlan { name, role: "worker", cluster: index.into(), http, operator, account: OPERATOR });
        }
        let mut relayers = Vec::new();
        // None without a TEE.
        let many = usize::from(args.relayers.unwrap_or(1)).min(gatekeepers.len() + workers.len());
        for index in (0u16..).take(many) {
            let (name, mail) = match many {
                1 => ("relayer".to_owned(), None),
                _ => {
                    let name = format!("relayer-{index}");
                    let mail = ports.preferably(MAIL_PORT + index, &format!("letters to {name}"))?;
                    (name, Some(mail))
                }
            };
            relayers.push(RelayerPlan { name, mail });
        }
        let (folder, epoch_blocks) = (folder.to_owned(), args.epoch_blocks);
        Ok(Self { folder, programs, nodes, gatekeepers, workers, relayers, epoch_blocks })
    }

    /// The chain's specification.
    pub fn chain_file(&self) -> PathBuf {
        self.folder.join("chain.json")
    }

    /// The anchor as workers read it.
    pub fn anchor_file(&self) -> PathBuf {
        self.folder.join("anchor.scale")
    }

    /// The machine's simulated report interface.
    pub fn tee_folder(&self, tee: &TeePlan) -> PathBuf {
        self.folder.join("tee").join(&tee.name)
    }

    /// The collateral that the machine's simulator gives.
    pub fn collateral(&self, tee: &TeePlan) -> PathBuf {
        self.tee_folder(tee).join("collateral")
    }

    /// All TEEs, gatekeepers first.
    pub fn tees(&self) -> impl Iterator<Item = &TeePlan> {
        self.gatekeepers.iter().chain(&self.workers)
    }

    /// Whether one gatekeeper holds the whole root.
    pub fn has_lone_root(&self) -> bool {
        self.gatekeepers.len() <= 1
    }

    /// WebSocket addresses of the nodes.
    pub fn node_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("ws://127.0.0.1:{}", node.rpc)).collect()
    }

    /// The key file of a node's identity among its peers.
    pub fn peer_key(&self, node: &NodePlan) -> PathBuf {
        self.folder.join("nodes").join(format!("{}.key", node.name))
    }

    /// How a node is run; `bootnodes` are the other nodes' addresses.
    pub fn node(&self, supervisor: &Supervisor, node: &NodePlan, bootnodes: &[String]) -> Spec {
        let mut args = words(&["--chain"]);
        args.push(self.chain_file().into());
        args.push("--base-path".into());
        args.push(self.folder.join("nodes").join(&node.name).into());
        args.push(format!("--{}", node.authority).into());
        args.extend(words(&["--rpc-port", &node.rpc.to_string(), "--port", &node.peers.to_string()]));
        args.push("--node-key-file".into());
        args.push(self.peer_key(node).into());
        args.extend(words(&["--no-telemetry", "--no-prometheus", "--no-mdns"]));
        if !bootnodes.is_empty() {
            args.push("--bootnodes".into());
            args.extend(bootnodes.iter().map(OsString::from));
        }
        self.spec(supervisor, &node.name, &self.programs.node, args)
    }

    /// INSECURE: how a simulated machine is run.
    pub fn insecure_tee(&self, supervisor: &Supervisor, tee: &TeePlan) -> Spec {
        let args = vec![
            "--dir".into(),
            self.tee_folder(tee).into(),
            "--measure".into(),
            self.programs.worker.clone().into(),
            "--machine".into(),
            tee.name.clone().into(),
        ];
        self.spec(supervisor, &format!("tee-{}", tee.name), &self.programs.insecure_tee, args)
    }

    /// How a worker or gatekeeper is run.
    pub fn tee(&self, supervisor: &Supervisor, tee: &TeePlan, genesis: &str, operator: &str) -> Spec {
        let mut args = words(&["run", "--role", tee.role, "--genesis", genesis, "--operator", operator]);
        args.push("--anchor".into());
        args.push(self.anchor_file().into());
        args.extend(words(&["--cluster", &tee.cluster.to_string()]));
        args.push("--data".into());
        args.push(self.folder.join("workers").join(&tee.name).into());
        args.extend(words(&["--listen", &format!("127.0.0.1:{}", tee.http)]));
        args.extend(words(&["--operator-listen", &format!("127.0.0.1:{}", tee.operator)]));
        args.extend(self.machine_args(tee));
        if tee.role == "gatekeeper" && !self.has_lone_root() {
            args.push("--without-lone-root".into());
        }
        self.spec(supervisor, &tee.name, &self.programs.worker, args)
    }

    /// The flags by which a worker finds its simulated machine.
    pub fn machine_args(&self, tee: &TeePlan) -> Vec<OsString> {
        let folder = self.tee_folder(tee);
        vec![
            "--tsm".into(),
            folder.join("report").into(),
            "--sealing-key".into(),
            folder.join("keys").join("sealing").into(),
        ]
    }

    /// How the relayers are run. TEEs are theirs in turn, gatekeepers from the first relayer on and workers from the last one back, so that
    /// requests for keys go from one to the other.
    pub fn relayers(&self, supervisor: &Supervisor) -> Vec<Spec> {
        let many = self.relayers.len();
        let turns = (0..many).cycle();
        let gatekeepers = turns.clone().zip(&self.gatekeepers);
        let workers = turns.map(|turn| many - 1 - turn).zip(&self.workers);
        let mut tees: Vec<Vec<&TeePlan>> = vec![Vec::new(); many];
        for (of, tee) in gatekeepers.chain(workers) {
            if let Some(tees) = tees.get_mut(of) {
                tees.push(tee);
            }
        }
        self.relayers.iter().zip(&tees).map(|(relayer, tees)| self.relayer(supervisor, relayer, tees)).collect()
    }

    fn relayer(&self, supervisor: &Supervisor, relayer: &RelayerPlan, tees: &[&TeePlan]) -> Spec {
        let url = self.node_urls().into_iter().next().unwrap_or_default();
        let mut args = words(&["relayer", "run", "--network", &url, "--from", OPERATOR]);
        if self.has_lone_root() {
            // A root that a ceremony made is recorded by the chain itself.
            args.extend(words(&["--sudo", OPERATOR]));
        }
        for tee in tees {
            let url = format!("http://127.0.0.1:{}", tee.operator);
            let tee = if tee.account == OPERATOR { url } else { format!("{url},{}", tee.account) };
            args.extend(words(&["--tee", &tee]));
        }
        // The machines are of one model: one collateral serves all.
        if let Some(tee) = self.tees().next() {
            args.push("--collateral".into());
            args.push(self.collateral(tee).into());
        }
        args.push("--snapshots".into());
        args.push(self.folder.join("snapshots").join(&relayer.name).into());
        if let Some(port) = relayer.mail {
            args.extend(words(&["--listen", &port.to_string()]));
        }
        for port in self.relayers.iter().filter(|other| other.name != relayer.name).filter_map(|other| other.mail) {
            args.extend(words(&["--peer", &format!("http://127.0.0.1:{port}")]));
        }
        self.spec(supervisor, &relayer.name, &self.programs.phala, args)
    }

    fn spec(&self, supervisor: &Supervisor, name: &str, program: &Path, args: Vec<OsString>) -> Spec {
        Spec { name: name.to_owned(), program: program.to_owned(), args, log: supervisor.log(name) }
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    fn plan(authorities: u32, workers: u32, gatekeepers: u32) -> Plan {
        relayed(authorities, workers, gatekeepers, None)
    }

    fn relayed(authorities: u32, workers: u32, gatekeepers: u32, relayers: Option<u16>) -> Plan {
        let programs = Programs { node: "n".into(), worker: "w".into(), insecure_tee: "t".into(), phala: "p".into() };
        let settings =
            Settings { authorities, workers, gatekeepers, session_blocks: None, block_milliseconds: None, token: None };
        Plan::new(Path::new("/x"), programs, &settings, &DevArgs { relayers, ..DevArgs::NONE }).unwrap()
    }

    #[test]
    fn no_two_listeners_share_a_port_and_each_worker_has_its_cluster() {
        let plan = plan(4, 3, 4);
        let mut ports: Vec<u16> = plan.nodes.iter().flat_map(|node| [node.rpc, node.peers]).collect();
        ports.extend(plan.tees().flat_map(|tee| [tee.http, tee.operator]));
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        assert_eq!(plan.workers.iter().map(|tee| tee.cluster).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(plan.nodes.iter().map(|node| node.authority).collect::<Vec<_>>(), AUTHORITIES);
    }

    #[test]
    fn a_network_goes_on_with_the_worker_that_it_was_made_with() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        let programs =
            || Programs { node: "n".into(), worker: built.clone(), insecure_tee: "t".into(), phala: "p".into() };
        std::fs::write(&built, b"old").unwrap();
        let mut first = programs();
        first.keep_worker(folder.path()).unwrap();
        std::fs::write(&built, b"new").unwrap();
        let mut second = programs();
        second.keep_worker(folder.path()).unwrap();
        assert_eq!(second.worker, first.worker);
        assert_eq!(std::fs::read(&second.worker).unwrap(), b"old");
    }

    #[test]
    fn a_process_is_told_where_everything_is() {
        let plan = plan(1, 1, 1);
        let supervisor = Supervisor::new(Path::new("/x"));
        let spec = plan.tee(&supervisor, &plan.workers[0], "0x01", "0x02");
        let text: Vec<_> = spec.args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = text.join(" ");
        assert!(
            line.starts_with("run --role worker --genesis 0x01 --operator 0x02 --anchor /x/anchor.scale --cluster 0")
        );
        assert!(line.ends_with("--tsm /x/tee/worker-0/report --sealing-key /x/tee/worker-0/keys/sealing"));
        assert_eq!(spec.log, Path::new("/x/logs/worker-0.log"));
        let relayers = plan.relayers(&supervisor);
        let [relayer] = &relayers[..] else { panic!("one") };
        assert_eq!(relayer.name, "relayer");
        assert!(relayer.args.windows(2).any(|pair| pair == ["--snapshots", "/x/snapshots/relayer"]));
        assert!(!relayer.args.contains(&"--listen".into()) && !relayer.args.contains(&"--peer".into()));
        assert!(relayer.args.windows(2).any(|pair| pair == ["--sudo", "alice"]));
        assert!(relayer.args.iter().all(|word| !word.to_string_lossy().contains(',')), "alice operates all");
        let lone = plan.tee(&supervisor, &plan.gatekeepers[0], "0x01", "0x02");
        assert_eq!((lone.name.as_str(), plan.gatekeepers.len()), ("gatekeeper", 1));
        assert!(!lone.args.contains(&"--without-lone-root".into()));
    }

    #[test]
    fn gatekeepers_of_a_ceremony_are_the_validators_and_none_makes_a_root_alone() {
        let plan = plan(4, 1, 4);
        let supervisor = Supervisor::new(Path::new("/x"));
        let names: Vec<_> = plan.gatekeepers.iter().map(|tee| (tee.name.as_str(), tee.account)).collect();
        assert_eq!(
            names,
            [
                ("gatekeeper-0", "alice-stash"),
                ("gatekeeper-1", "bob-stash"),
                ("gatekeeper-2", "charlie-stash"),
                ("gatekeeper-3", "dave-stash")
            ]
        );
        let stashes: Vec<String> = AUTHORITIES.iter().map(|name| format!("{name}-stash")).collect();
        assert!(plan.gatekeepers.iter().zip(&stashes).all(|(tee, stash)| tee.account == stash));
        let relayers = plan.relayers(&supervisor);
        let [relayer] = &relayers[..] else { panic!("one") };
        assert!(!relayer.args.contains(&"--sudo".into()), "the chain records the root");
        for tee in &plan.gatekeepers {
            assert!(plan.tee(&supervisor, tee, "0x01", "0x02").args.contains(&"--without-lone-root".into()));
            let told = format!("http://127.0.0.1:{},{}", tee.operator, tee.account);
            assert!(relayer.args.contains(&told.clone().into()), "{told}");
            assert_eq!(plan.insecure_tee(&supervisor, tee).name, format!("tee-{}", tee.name));
        }
        let worker = format!("http://127.0.0.1:{}", plan.workers[0].operator);
        assert!(relayer.args.contains(&worker.into()));
        assert!(!plan.tee(&supervisor, &plan.workers[0], "0x01", "0x02").args.contains(&"--without-lone-root".into()));
    }

    #[test]
    fn several_relayers_share_the_machines_out_and_know_each_other() {
        let plan = relayed(4, 2, 4, Some(2));
        let supervisor = Supervisor::new(Path::new("/x"));
        let relayers = plan.relayers(&supervisor);
        let [first, second] = &relayers[..] else { panic!("two") };
        assert_eq!((first.name.as_str(), second.name.as_str()), ("relayer-0", "relayer-1"));
        let after = |spec: &Spec, flag: &str| -> Vec<String> {
            let pairs = spec.args.windows(2).filter(|pair| pair[0] == *flag);
            pairs.map(|pair| pair[1].to_string_lossy().into_owned()).collect()
        };
        let served = |tees: &[&TeePlan]| -> Vec<String> {
            let of = |tee: &&TeePlan| if tee.account == OPERATOR { String::new() } else { format!(",{}", tee.account) };
            tees.iter().map(|tee| format!("http://127.0.0.1:{}{}", tee.operator, of(tee))).collect()
        };
        let (gatekeepers, workers) = (&plan.gatekeepers, &plan.workers);
        assert_eq!(after(first, "--tee"), served(&[&gatekeepers[0], &gatekeepers[2], &workers[1]]));
        assert_eq!(after(second, "--tee"), served(&[&gatekeepers[1], &gatekeepers[3], &workers[0]]));
        for (one, other) in [(first, second), (second, first)] {
            let port = after(other, "--listen").concat();
            assert_eq!(after(one, "--peer"), [format!("http://127.0.0.1:{port}")]);
            assert_eq!(after(one, "--collateral").len(), 1);
            assert_eq!(
                after(one, "--snapshots"),
                [format!("/x/snapshots/{}", one.name)],
                "each has a folder of its own"
            );
        }
        // None is without a machine.
        let few = relayed(1, 1, 1, Some(4));
        let specs = few.relayers(&supervisor);
        assert_eq!(specs.len(), 2);
        assert!(specs.iter().all(|spec| after(spec, "--tee").len() == 1));
    }
}
