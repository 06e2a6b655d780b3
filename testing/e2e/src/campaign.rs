//! Kills parts of a running network under load and checks that nothing is lost, doubled or told in two ways.
//!
//! A real `phala dev` runs; accounts send each other tokens on both of its clusters; a plan made of a seed says what is killed with SIGKILL
//! and when. `phala dev` starts again what died. After each step a *probe* - one more transfer, handed over right after the kill - measures
//! the recovery: until its reply, proved under a final result, has come back from every replica. Then the [`audit`] checks everything so far.
//!
//! Guarantees: only processes that the network's own file names are killed, by their ids; all waits are bounded; the end of the value ends
//! the network. INSECURE: simulated machines and published keys, on loopback.

pub mod audit;
pub mod plan;
pub mod record;
pub mod witness;

use crate::{
    load::{
        link::{Link, NetworkFile},
        Load, Token,
    },
    signal, Network,
};
use anyhow::{ensure, Context, Result};
use audit::{Audit, Counts, Violation};
use phala_client::{chain::ChainCall, Account, Until};
use phala_protocol::ClusterId;
use plan::{Action, Step};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use witness::Witness;

/// How long a network may take to recover: the longest pause of `phala dev` between two starts, and a slow start.
const RECOVERED_WITHIN: Duration = Duration::from_secs(150);
/// How long checking may wait for what was sent before.
const AUDITED_WITHIN: Duration = Duration::from_secs(150);
/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What a deployer of the second token receives.
const SUPPLY: &str = "1000000000000";

/// What to run.
pub struct Options {
    /// Decides the steps, and what is sent.
    pub seed: u64,
    /// The steps.
    pub steps: Vec<Step>,
    /// Where the network lives.
    pub base: PathBuf,
    /// Whether cluster 0 gets a second replica that is never killed.
    pub witness: bool,
    /// Whether cluster 1 has a token and a load, too.
    pub both_clusters: bool,
    /// Probes before the first step, to know what a round trip takes when nothing is killed.
    pub calm_probes: usize,
    /// The least length of clusters' epochs in blocks, 10 or more.
    pub epoch_blocks: u32,
    /// More words for `phala dev`.
    pub network: Vec<&'static str>,
    /// The longest pause between two transfers of an account.
    pub pause: Duration,
    /// Since when no further step is begun, if the time is bounded.
    pub until: Option<Instant>,
}

/// How long the network took after one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The step's name.
    pub action: String,
    /// Until the process was there again, of the last that was killed.
    pub started: Duration,
    /// From the last kill to the probe's proved reply.
    pub recovered: Duration,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Signals sent to living processes, by role.
    pub kills: BTreeMap<String, usize>,
    /// One a step.
    pub recoveries: Vec<Recovery>,
    /// Round trips of probes while nothing was killed.
    pub calm: Vec<Duration>,
    /// Transfers that the load and the probes wanted.
    pub transfers: usize,
    /// Of them, sent more than once.
    pub resent: usize,
    /// What the audit looked at.
    pub counts: Counts,
    /// What was found; empty when everything holds.
    pub violations: Vec<Violation>,
    /// How long it took, with start and end.
    pub took: Duration,
}

impl Report {
    /// All kills.
    pub fn killed(&self) -> usize {
        self.kills.values().sum()
    }

    /// Adds what another run came to.
    pub fn add(&mut self, other: &Self) {
        for (role, kills) in &other.kills {
            *self.kills.entry(role.clone()).or_default() += kills;
        }
        self.recoveries.extend_from_slice(&other.recoveries);
        self.calm.extend_from_slice(&other.calm);
        self.transfers += other.transfers;
        self.resent += other.resent;
        self.counts.add(&other.counts);
        self.violations.extend_from_slice(&other.violations);
        self.took += other.took;
    }
}

struct Campaign {
    file: NetworkFile,
    load: Arc<Load>,
    audit: Audit,
    report: Report,
    epoch_blocks: u32,
    /// Where workers answer, by cluster.
    workers: BTreeMap<u32, Vec<String>>,
}

/// Starts a network, carries the steps out and checks what became of everything.
///
/// # Errors
/// When the campaign itself cannot go on: the network did not start, or did not recover in time. What was found until then stands on
/// standard error.
pub fn run(options: &Options) -> Result<Report> {
    let started = Instant::now();
    let network = Network::start(&options.base, &[&["--fresh"][..], &options.network[..]].concat());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut report = runtime.block_on(run_on(&network, options))?;
    drop(runtime);
    let ended = network.stop();
    if ended != Some(0) {
        let detail = format!("`phala dev` ended with {ended:?}");
        report.violations.push(Violation { invariant: "clean_end".into(), detail });
    }
    report.took = started.elapsed();
    Ok(report)
}

async fn run_on(network: &Network, options: &Options) -> Result<Report> {
    let file = NetworkFile::read(&network.base)?;
    let link = Arc::new(Link::new(file.node()?, file.pin()?));
    let first = network.ready["contracts"]["token"].as_str().context("no token was deployed")?;
    let mut tokens = vec![Token::find(&link, first).await?];
    if options.both_clusters {
        tokens.push(Token::find(&link, &second_token(network)?).await?);
    }
    let mut workers: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for machine in file.machines("workers") {
        let (cluster, http) = (machine["cluster"].as_u64(), machine["http"].as_str());
        let (cluster, http) = cluster.zip(http).context("a worker has no address")?;
        workers.entry(cluster as u32).or_default().push(http.to_owned());
    }
    let witness = if options.witness { Some(Witness::join(&network.base, &link).await?) } else { None };
    if let Some(witness) = &witness {
        workers.entry(0).or_default().push(witness.url.clone());
    }
    for token in &tokens {
        let call = ChainCall::set_epoch_length(token.cluster, options.epoch_blocks);
        let governance = Account::development("alice")?;
        link.network().await.chain().submit_sudo(&governance, &call, Until::InBlock).await?;
    }

    let load = Arc::new(Load::new(link, tokens)?);
    let audit = Audit::begin(load.clone(), &workers).await?;
    let report = Report::default();
    let mut campaign =
        Campaign { file, load: load.clone(), audit, report, epoch_blocks: options.epoch_blocks, workers };
    let mut senders = load.start(options.seed, options.pause);
    let carried_out = campaign.carry_out(options, &mut senders).await;
    drop(witness);
    match carried_out {
        Ok(()) => Ok(campaign.report),
        // What was found before it broke off must not be lost with it.
        Err(error) => {
            Err(campaign.audit.violations.iter().fold(error, |error, found| error.context(found.to_string())))
        }
    }
}

impl Campaign {
    /// Probes, steps, and everything that has to hold at the end.
    async fn carry_out(&mut self, options: &Options, senders: &mut JoinSet<Result<()>>) -> Result<()> {
        for _ in 0..options.calm_probes {
            let calm = self.probe(0, Instant::now()).await?;
            self.report.calm.push(calm);
        }
        for (number, step) in options.steps.iter().enumerate() {
            if options.until.is_some_and(|until| Instant::now() > until) {
                eprintln!("the time is over after {number} of {} steps", options.steps.len());
                break;
            }
            self.step(number, step).await?;
        }
        self.load.stop();
        let ended = tokio::time::timeout(RECOVERED_WITHIN, async {
            while let Some(sender) = senders.join_next().await {
                sender.context("a sender panicked")??;
            }
            anyhow::Ok(())
        });
        ended.await.context("transfers that were begun do not end")??;
        self.finish().await
    }

    async fn step(&mut self, number: usize, step: &Step) -> Result<()> {
        tokio::time::sleep(step.after).await;
        let (killed, roles) = match &step.action {
            Action::Kill(roles) => (self.kill_all(roles).await?, roles.clone()),
            Action::Twice(first, pause, second) => {
                self.kill_all(&[first]).await?;
                tokio::time::sleep(*pause).await;
                (self.kill_all(&[second]).await?, vec![*first, *second])
            }
            Action::Down(role, pause) => (self.keep_down(role, *pause).await?, vec![*role]),
        };
        let mut recovered = Duration::ZERO;
        let mut started = Duration::ZERO;
        for role in roles {
            started = started.max(self.there_again(role, killed).await?);
        }
        for token in 0..self.load.tokens.len() {
            if step.action.hits(self.load.tokens[token].cluster.0) {
                recovered = recovered.max(self.probe(token, killed).await?);
            }
        }
        let action = step.action.name();
        eprintln!(
            "step {number}: {action} after {:.1} s: process again after {:.1} s, recovered after {:.1} s",
            step.after.as_secs_f64(),
            started.as_secs_f64(),
            recovered.as_secs_f64()
        );
        self.report.recoveries.push(Recovery { action, started, recovered });
        self.audit.catch_up(AUDITED_WITHIN).await
    }

    /// Kills processes that live, all before anything else is done; waits for those that are just being started again.
    async fn kill_all(&mut self, roles: &[&str]) -> Result<Instant> {
        let mut pids = Vec::new();
        for role in roles {
            pids.push(self.living(role).await?);
        }
        for pid in &pids {
            signal(*pid, "-KILL");
        }
        for role in roles {
            *self.report.kills.entry((*role).to_owned()).or_default() += 1;
        }
        let killed = Instant::now();
        for pid in pids {
            while Path::new(&format!("/proc/{pid}")).exists() {
                ensure!(killed.elapsed() < RECOVERED_WITHIN, "process {pid} was killed and is still there");
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(killed)
    }

    /// The id of a process of the network that runs.
    async fn living(&self, role: &str) -> Result<u32> {
        let started = Instant::now();
        loop {
            if let Some(pid) = self.file.pids().get(role).copied() {
                if Path::new(&format!("/proc/{pid}")).exists() {
                    return Ok(pid);
                }
            }
            ensure!(started.elapsed() < RECOVERED_WITHIN, "{role} is not started again in time");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn there_again(&self, role: &str, killed: Instant) -> Result<Duration> {
        self.living(role).await?;
        Ok(killed.elapsed())
    }

    /// Kills a worker again and again until more than an epoch's blocks have passed without it.
    async fn keep_down(&mut self, role: &'static str, pause: Duration) -> Result<Instant> {
        let mut killed = self.kill_all(&[role]).await?;
        let until = self.height().await? + self.epoch_blocks + 2;
        let started = Instant::now();
        while self.height().await? < until {
            ensure!(started.elapsed() < RECOVERED_WITHIN, "the chain does not go on");
            if self.file.pids().contains_key(role) {
                tokio::time::sleep(pause).await;
                killed = self.kill_all(&[role]).await?;
            }
            tokio::time::sleep(LOOK * 4).await;
        }
        Ok(killed)
    }

    async fn height(&self) -> Result<u32> {
        Ok(self.load.link.answer(|network| async move { Ok(network.sync().await?.number()) }).await?)
    }

    /// Sends one more transfer and waits for its proved reply. How long that took since `since`.
    async fn probe(&mut self, token: usize, since: Instant) -> Result<Duration> {
        let ferdie = self.load.accounts.len() - 1;
        let within = RECOVERED_WITHIN;
        let load = self.load.clone();
        let recovered = async {
            let intent = load.transfer(token, ferdie, 0, 1).await?;
            self.audit.replied(token, intent, within).await
        };
        tokio::time::timeout(within, recovered).await.context("the network does not recover in time")??;
        Ok(since.elapsed())
    }

    async fn finish(&mut self) -> Result<()> {
        self.audit.finish(AUDITED_WITHIN).await?;
        let mut executed: BTreeMap<u32, Vec<(String, u64)>> = BTreeMap::new();
        for token in &self.load.tokens {
            let ClusterId(cluster) = token.cluster;
            for url in self.workers.get(&cluster).into_iter().flatten() {
                let health = witness::health(url).await.with_context(|| format!("{url} does not answer"))?;
                if !health["cluster"]["diverged_at"].is_null() {
                    let detail = format!("{url} says that it diverged: {health}");
                    self.audit.violations.push(Violation { invariant: "no_divergence".into(), detail });
                }
                let count = health["cluster"]["executed"].as_u64().context("a worker does not say how far it is")?;
                executed.entry(cluster).or_default().push((url.clone(), count));
            }
        }
        for (cluster, counts) in executed {
            if counts.iter().any(|(_, count)| Some(count) != counts.first().map(|(_, first)| first)) {
                let detail = format!("replicas of cluster {cluster} have executed unequally: {counts:?}");
                self.audit.violations.push(Violation { invariant: "no_divergence".into(), detail });
            }
        }
        let intents = self.load.ledger.intents();
        if intents.is_empty() || self.audit.counts.replies == 0 {
            let detail = "nothing was sent, or nothing was answered: the rest says nothing".to_owned();
            self.audit.violations.push(Violation { invariant: "something_to_look_at".into(), detail });
        }
        self.report.transfers = intents.len();
        self.report.resent = intents.iter().filter(|intent| intent.sent > 1).count();
        self.report.counts = self.audit.counts.clone();
        self.report.violations = self.audit.violations.clone();
        Ok(())
    }
}

/// Deploys another token, on cluster 1, by the command line as anybody would.
fn second_token(network: &Network) -> Result<String> {
    let wasm = crate::binary("token.wasm");
    let wasm = wasm.to_str().context("the folder of the binaries has a name that is no text")?;
    let deployed = network.phala(&["contract", "deploy", wasm, SUPPLY, "--from", "alice", "--cluster", "1"]).data();
    Ok(deployed["contract"].as_str().context("`phala contract deploy` names no contract")?.to_owned())
}
