//! Keeps the network's processes running: starts them, says when one dies, starts it again, ends all of them in order.
//!
//! Guarantees: only processes that it started are ended; what dies is named with the end of its log, and started again after a pause
//! that doubles up to ten seconds; the list of processes on the disk is that of those that run, so that a successor finds them even if
//! we are killed.

use super::process::{self, Identity, Spec};
use crate::{error::CliError, home, output::note};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};

/// The list of processes in the network's folder.
pub const PIDS: &str = "pids.json";

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Short enough to wait for: what ails a process of this network, such as a full disk, is mended by the person who watches it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that lived so long was well: what cannot start dies sooner.
const WELL: Duration = Duration::from_secs(10);
/// Deaths one soon after another from which nothing good is expected while the network starts.
const HOPELESS: u32 = 4;
/// In this order processes end, each group at once: first who speaks to others, last who is spoken to.
const ENDING: [&str; 5] = ["relayer", "worker", "gatekeeper", "tee", "node"];

/// The processes.
pub struct Supervisor {
    folder: PathBuf,
    shared: Arc<Shared>,
    managed: Vec<Managed>,
}

struct Managed {
    name: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    file: PathBuf,
    running: Mutex<BTreeMap<String, Identity>>,
    failing: Mutex<BTreeMap<String, CliError>>,
    changed: watch::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it protects is whole between any two lines.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    /// Of the network in `folder`.
    pub fn new(folder: &Path) -> Self {
        let shared = Shared {
            file: folder.join(PIDS),
            running: Mutex::default(),
            failing: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Self { folder: folder.to_owned(), shared: Arc::new(shared), managed: Vec::new() }
    }

    /// The log of the process called `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Starts a process and keeps it running.
    pub fn start(&mut self, spec: Spec) {
        let (stop, stopped) = watch::channel(false);
        let name = spec.name.clone();
        let task = tokio::spawn(keep_running(spec, Arc::clone(&self.shared), stopped));
        self.managed.push(Managed { name, stop, task });
    }

    /// Ids of the running processes by name.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        lock(&self.shared.running).iter().map(|(name, process)| (name.clone(), process.pid)).collect()
    }

    /// Writes the list of processes, which a full disk may have prevented when it changed.
    pub fn write_list(&self) -> Result<(), CliError> {
        self.shared.write()
    }

    /// Tells when the list changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// A process that dies again and again, as an error that shows why.
    pub fn failing(&self) -> Option<CliError> {
        lock(&self.shared.failing).values().next().cloned()
    }

    /// Ends all processes.
    pub async fn stop(&mut self) {
        for group in ENDING {
            let (now, later) = std::mem::take(&mut self.managed)
                .into_iter()
                .partition::<Vec<_>, _>(|managed| managed.name.starts_with(group));
            self.managed = later;
            end(now).await;
        }
        end(std::mem::take(&mut self.managed)).await;
        let _ = std::fs::remove_file(&self.shared.file);
    }
}

async fn end(managed: Vec<Managed>) {
    for managed in &managed {
        let _ = managed.stop.send(true);
    }
    for managed in managed {
        let _ = managed.task.await;
    }
}

/// Ready when the process is to end, or nobody is left to say so.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn keep_running(spec: Spec, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    let mut deaths = 0;
    loop {
        let started = Instant::now();
        let why = match spec.spawn() {
            Ok(mut child) => {
                shared.runs(&spec.name, child.id());
                tokio::select! {
                    status = child.wait() => {
                        shared.ended(&spec.name);
                        match status {
                            Ok(status) => format!("ended with {status}"),
                            Err(error) => format!("is lost: {error}"),
                        }
                    }
                    () = asked(&mut stop) => {
                        process::end(&mut child).await;
                        shared.ended(&spec.name);
                        return;
                    }
                }
            }
            Err(error) => error.message,
        };
        if started.elapsed() > WELL {
            (pause, deaths) = (FIRST_PAUSE, 0);
            shared.recovered(&spec.name);
        }
        deaths += 1;
        let lines = spec.last_lines(8);
        note(&format!("{} {why}; the end of {}:\n{lines}", spec.name, spec.log.display()));
        if deaths >= HOPELESS {
            shared.fails(&spec, &why);
        }
        note(&format!("{} starts again in {} s", spec.name, pause.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked(&mut stop) => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Shared {
    fn runs(&self, name: &str, pid: Option<u32>) {
        if let Some(process) = pid.and_then(Identity::of) {
            lock(&self.running).insert(name.to_owned(), process);
        }
        self.save();
    }

    fn ended(&self, name: &str) {
        lock(&self.running).remove(name);
        self.save();
    }

    fn fails(&self, spec: &Spec, why: &str) {
        let error = CliError::environment(format!("{} does not run: it {why}: {}", spec.name, spec.last_lines(1)))
            .with_hint(format!("see the whole log in {}", spec.log.display()));
        lock(&self.failing).insert(spec.name.clone(), error);
    }

    fn recovered(&self, name: &str) {
        lock(&self.failing).remove(name);
    }

    fn save(&self) {
        // Whoever waits for changes writes it again if that failed.
        let _ = self.write();
        self.changed.send_modify(|count| *count += 1);
    }

    /// Only a successor of a killed `phala dev` reads it; what is not on it, that one leaves alone.
    fn write(&self) -> Result<(), CliError> {
        let running = lock(&self.running);
        let json = serde_json::to_vec_pretty(&*running)
            .map_err(|error| CliError::environment(format!("cannot list the processes: {error}")))?;
        home::write_whole(&self.file, &json)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn spec(supervisor: &Supervisor, name: &str, script: &str) -> Spec {
        std::fs::create_dir_all(supervisor.folder.join("logs")).unwrap();
        Spec {
            name: name.to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            log: supervisor.log(name),
        }
    }

    async fn until(supervisor: &Supervisor, what: impl Fn(&BTreeMap<String, u32>) -> bool) {
        let mut changes = supervisor.changes();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !what(&supervisor.pids()) {
                changes.changed().await.unwrap();
            }
        });
        waited.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_killed_runs_again_under_another_id_and_the_list_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut supervisor = Supervisor::new(folder.path());
        let spec = spec(&supervisor, "worker-0", "exec sleep 60");
        supervisor.start(spec);
        until(&supervisor, |pids| !pids.is_empty()).await;
        let first = supervisor.pids()["worker-0"];
        process::signal(first, rustix::process::Signal::KILL);
        until(&supervisor, |pids| pids.get("worker-0").is_some_and(|pid| *pid != first)).await;
        let second = supervisor.pids()["worker-0"];
        let listed: BTreeMap<String, Identity> =
            serde_json::from_slice(&std::fs::read(folder.path().join(PIDS)).unwrap()).unwrap();
        assert_eq!(listed["worker-0"].pid, second);
        supervisor.stop().await;
        assert_eq!(Identity::of(second), None);
        assert!(!folder.path().join(PIDS).exists());
    }

    #[tokio::test]
    async fn a_list_that_could_not_be_written_ends_nothing_and_is_written_when_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join(PIDS);
        std::fs::create_dir(&list).unwrap();
        let mut supervisor = Supervisor::new(folder.path());
        let spec = spec(&supervisor, "worker-0", "exec sleep 60");
        supervisor.start(spec);
        until(&supervisor, |pids| !pids.is_empty()).await;
        assert_eq!(supervisor.write_list().unwrap_err().code, crate::error::Code::Environment);
        std::fs::remove_dir(&list).unwrap();
        supervisor.write_list().unwrap();
        let listed: BTreeMap<String, Identity> = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
        assert_eq!(listed["worker-0"].pid, supervisor.pids()["worker-0"]);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn relayer_ends_before_workers_and_nodes_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut supervisor = Supervisor::new(folder.path());
        let order = folder.path().join("order");
        for name in ["node-0", "tee-worker-0", "worker-0", "gatekeeper", "relayer"] {
            let script = format!(
                "trap 'echo {name} >> {}; exit 0' TERM; echo up; while :; do sleep 0.02; done",
                order.display()
            );
            let spec = spec(&supervisor, name, &script);
            supervisor.start(spec);
        }
        let started = Instant::now();
        let up = |name: &str| process::last_lines(&supervisor.log(name), 1).is_ok_and(|text| text == "up");
        while !["node-0", "tee-worker-0", "worker-0", "gatekeeper", "relayer"].into_iter().all(up) {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        supervisor.stop().await;
        let ended = std::fs::read_to_string(order).unwrap();
        assert_eq!(ended.lines().collect::<Vec<_>>(), ["relayer", "worker-0", "gatekeeper", "tee-worker-0", "node-0"]);
        assert!(supervisor.pids().is_empty());
    }
}
