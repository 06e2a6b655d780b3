//! Collateral out of provisioning services: fetched before what is here ends, and when a service has newer.
//!
//! For each platform model that a TEE which is served here says or is known to be, and for each of which the chain holds collateral and a
//! machine is registered: every service is asked, in turn, and the newest that verifies is kept, in memory and in the relayer's folder,
//! and submitted if the chain has none, or what is there says something else or ends sooner by a day, or soon. Intel's service issues every
//! document anew by the hour: without that, each relayer would pay at each question. The operator names the services; none is trusted.
//!
//! Guarantees: what a service gives is bounded in bytes and time and counts for nothing before it verifies, for this very model, under
//! Intel's root - under the development root only where the chain itself holds such collateral of the model -; a service that gives
//! nothing, garbage, collateral of another platform, older than what is here or ahead of what governance lets in changes nothing; where
//! none gives anything, all are asked again after a wait that doubles to an hour; at most [`ASKED_AT_ONCE`] models are asked for in a
//! round, one request at a time; [`MOST_MODELS`] are looked after; the folder holds [`MOST_FILES`] files, each replaced whole. What the
//! chain refuses of it is tried again after a wait of its model, whatever bytes a service gives: nobody can have the operator pay for
//! refusals one after the other.
//!
//! Services control what they answer and when; whoever is served, what he says that he runs on. Does not: judge a platform, or renew
//! what nobody is registered with.

use super::{
    alarm::name,
    development, is_newer,
    ledger::{Ledger, OnChain},
    standing, unix_now, Collaterals, Own, Platform, Standing,
};
use crate::{
    provisioning::{PckAuthority, Service, Wanted},
    refusal::Whose,
    Shared,
};
use codec::Encode;
use phala_attest::{verify_collateral, Collateral, PlatformModel, Root, TrustAnchor, VerifiedCollateral};
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{hash::blake2_256, Hash};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(30);
/// Models that services are asked for in a round.
const ASKED_AT_ONCE: usize = 2;
/// Models that are looked after; those that are served here come first.
pub(crate) const MOST_MODELS: usize = 64;
/// Files in the folder.
pub(crate) const MOST_FILES: usize = 128;
/// Bytes of a file that is read: collateral of 136 KiB at its limits, and more.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The end of the files' names.
const EXTENSION: &str = "collateral";

/// How often services are asked for newer while nothing is urgent. What they give is of the last hour and holds for 30 days; what it says
/// changes with revocations and security releases.
const USUAL: Duration = Duration::from_secs(6 * 3_600);
/// How often when what is here ends within [`SOON_SECONDS`], and the longest wait after failures.
const URGENT: Duration = Duration::from_secs(3_600);
/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Seconds before the end at which it is urgent: the chain's own warning, unless governance sets another.
const SOON_SECONDS: u64 = 7 * 86_400;
/// Seconds for which collateral that says nothing else has to hold for longer to be worth a fee.
const WORTH_SECONDS: u64 = 86_400;
/// How often the chain's registrations are listed.
const LISTED: Duration = Duration::from_secs(3_600);

/// The job.
pub(crate) struct Fetching {
    services: Vec<Service>,
    folder: PathBuf,
    /// Whether the folder has been read.
    loaded: bool,
    plans: BTreeMap<PlatformModel, Plan>,
    /// Models of which something was fetched, now or by an earlier process.
    fetched: BTreeSet<PlatformModel>,
    /// What is registered on the chain, and when that was listed.
    registered: Option<(Instant, BTreeSet<Platform>)>,
}

/// When services are asked for a model.
struct Plan {
    at: Instant,
    /// After the next failure.
    wait: Duration,
    /// Under which of Intel's authorities it was found.
    authority: PckAuthority,
}

impl Fetching {
    /// With at least one service. Nothing is asked yet.
    pub(crate) fn new(services: Vec<Service>, folder: PathBuf) -> Self {
        Self { services, folder, loaded: false, plans: BTreeMap::new(), fetched: BTreeSet::new(), registered: None }
    }

    /// Looks after collateral for ever.
    pub(crate) async fn run(mut self, shared: &Shared) {
        loop {
            let ledger = OnChain { chain: shared.link.chain().await, operator: shared.operator.clone() };
            if let Err(error) = self.round(&ledger, &shared.collaterals, Instant::now()).await {
                tracing::warn!(%error, "cannot look for what collateral the chain needs");
                shared.link.failed(&error).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// One look at `clock`. Fails when the node does not answer; whatever services do is no failure.
    pub(crate) async fn round(
        &mut self,
        ledger: &impl Ledger,
        own: &Collaterals,
        clock: Instant,
    ) -> Result<(), ClientError> {
        if !self.loaded {
            self.load(own, ledger.genesis()).await;
            self.loaded = true;
        }
        let wanted = self.wanted(ledger, own, clock).await?;
        self.plans.retain(|model, _| wanted.contains(model));
        for model in &wanted {
            let plan = Plan { at: clock, wait: FIRST_WAIT, authority: PckAuthority::Platform };
            self.plans.entry(*model).or_insert(plan);
        }
        let mut due: Vec<(Instant, PlatformModel)> =
            self.plans.iter().filter(|(_, plan)| plan.at <= clock).map(|(model, plan)| (plan.at, *model)).collect();
        due.sort_unstable();
        for (_, model) in due.into_iter().take(ASKED_AT_ONCE) {
            self.ask(ledger, own, &model, clock).await?;
        }
        let mut unreachable = None;
        for model in wanted.intersection(&self.fetched) {
            let Some(found) = own.own(model) else { continue };
            if !is_worth_a_fee(&found.verified, ledger.present(model).await?.as_ref(), unix_now()) {
                continue;
            }
            // By the model, not by the bytes, which a service can vary at will.
            let refused = own.submit_when_due(ledger, blake2_256(&model.encode()), &found, Whose::Unclear).await;
            if let Some((error, whose, again)) = refused {
                tracing::warn!(model = name(model), %error, %whose, again, "fetched collateral is refused");
                unreachable = Some(error).filter(|_| whose == Whose::Node).or(unreachable);
            }
        }
        unreachable.map_or(Ok(()), Err)
    }

    /// The models that are looked after.
    async fn wanted(
        &mut self,
        ledger: &impl Ledger,
        own: &Collaterals,
        clock: Instant,
    ) -> Result<BTreeSet<PlatformModel>, ClientError> {
        let is_old = |listed: &(Instant, BTreeSet<Platform>)| clock.saturating_duration_since(listed.0) >= LISTED;
        if self.registered.as_ref().is_none_or(is_old) {
            self.registered = Some((clock, ledger.registered().await?));
        }
        let (served, platforms) = own.served(ledger).await?;
        let held: Vec<PlatformModel> = ledger.ends().await?.into_iter().map(|(model, _)| model).collect();
        let of = |platforms: &BTreeSet<Platform>| -> Vec<PlatformModel> {
            held.iter().filter(|model| platforms.contains(&(model.vendor, model.fmspc))).copied().collect()
        };
        let registered = self.registered.as_ref().map(|(_, registered)| of(registered)).unwrap_or_default();
        let mut wanted = BTreeSet::new();
        for model in served.into_iter().chain(of(&platforms)).chain(registered) {
            if wanted.len() >= MOST_MODELS {
                break;
            }
            wanted.insert(model);
        }
        Ok(wanted)
    }

    /// Asks every service for a model, and keeps the newest of what verifies.
    async fn ask(
        &mut self,
        ledger: &impl Ledger,
        own: &Collaterals,
        model: &PlatformModel,
        clock: Instant,
    ) -> Result<(), ClientError> {
        let is_simulated = ledger.present(model).await?.is_some_and(|there| there.root() == Root::InsecureDevelopment);
        let anchor = match is_simulated {
            true => development(ledger.genesis()),
            false => Some(TrustAnchor::Intel),
        };
        let (Some(anchor), Some(plan)) = (anchor, self.plans.get_mut(model)) else { return Ok(()) };
        let (now, present) = (unix_now(), own.own(model));
        let has_none = present.as_ref().is_none_or(|present| !present.verified.is_good_at(now));
        let mut best: Option<Own> = None;
        for service in &self.services {
            let (found, authority) = match fetch(service, model, plan.authority, &anchor, now).await {
                Ok(found) => found,
                Err(error) => {
                    let again = plan.wait.as_secs();
                    tracing::warn!(service = service.base(), model = name(model), %error, again, "no collateral");
                    continue;
                }
            };
            plan.authority = authority;
            match standing(ledger, &found.verified).await? {
                Standing::There | Standing::Newer => {
                    if best.as_ref().is_none_or(|best| is_better(&found.verified, &best.verified)) {
                        best = Some(found);
                    }
                }
                Standing::Older => {
                    tracing::warn!(service = service.base(), model = name(model), "gives older than the chain has");
                    // Evidence is better carried with it than without any.
                    if has_none {
                        own.take(found);
                    }
                }
                // Gatekeepers refuse what is judged by it.
                Standing::TooEarly(cap) => {
                    tracing::warn!(service = service.base(), model = name(model), cap, "gives what is not let in yet");
                }
            }
        }
        let Some(best) = best else {
            plan.at = clock.checked_add(plan.wait).unwrap_or(clock);
            plan.wait = plan.wait.saturating_mul(2).min(URGENT);
            return Ok(());
        };
        let kept = present.filter(|present| !has_none && !is_better(&best.verified, &present.verified));
        let replaces = kept.is_none();
        let until = kept.map_or(best.verified.valid_until(), |kept| kept.verified.valid_until());
        if replaces {
            tracing::info!(model = name(model), until, "newer collateral was fetched");
            if let Err(error) = store(&self.folder, model, &best.bytes).await {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "fetched collateral is not kept in the folder, and is used all the same");
            }
            own.take(best);
        }
        self.fetched.insert(*model);
        plan.wait = FIRST_WAIT;
        let soon = until <= now.saturating_add(SOON_SECONDS);
        plan.at = clock.checked_add(if soon { URGENT } else { USUAL }).unwrap_or(clock);
        Ok(())
    }

    /// Takes what an earlier process kept, as far as it verifies.
    async fn load(&mut self, own: &Collaterals, genesis: &Hash) {
        let files = match files(&self.folder).await {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "the folder of fetched collateral cannot be read");
                return;
            }
        };
        for file in files.into_iter().take(MOST_FILES) {
            let learned = match read(&file).await {
                Ok(bytes) => own.learn(&bytes, genesis).map_err(|error| error.message),
                Err(error) => Err(error.to_string()),
            };
            match learned {
                Ok(found) => {
                    self.fetched.insert(found.verified.model());
                }
                Err(error) => tracing::info!(file = %file.display(), error, "kept collateral is of no use any more"),
            }
        }
    }
}

/// Whether `new` is to be preferred: it is newer, or, where neither is, has newer lists and is of no earlier evaluation. Who gives old lists
/// beside documents of this hour keeps back what was revoked.
fn is_better(new: &VerifiedCollateral, present: &VerifiedCollateral) -> bool {
    let lists = |of: &VerifiedCollateral| {
        let [_, _, root, authority] = of.parts_issued();
        (root, authority)
    };
    let raised = new.tcb_evaluation_number() >= present.tcb_evaluation_number();
    is_newer(new, present) || (!is_newer(present, new) && raised && lists(new) > lists(present))
}

/// Whether collateral says or does more than what the chain has at `now`, Unix seconds: it is of another evaluation, has other lists, or
/// holds for longer - by a day, or by anything where what is there ends soon.
fn is_worth_a_fee(new: &VerifiedCollateral, present: Option<&VerifiedCollateral>, now: u64) -> bool {
    let Some(present) = present else { return true };
    let numbers = |of: &VerifiedCollateral| (of.tcb_evaluation_number(), of.latest_evaluation_number());
    let longer = if present.valid_until() <= now.saturating_add(SOON_SECONDS) { 1 } else { WORTH_SECONDS };
    numbers(new) != numbers(present)
        || new.root_list_issued() != present.root_list_issued()
        || !new.revokes_as(present)
        || new.valid_until() >= present.valid_until().saturating_add(longer)
}

/// What a service has of a model, verified; `first` is the authority that is asked for first.
async fn fetch(
    service: &Service,
    model: &PlatformModel,
    first: PckAuthority,
    anchor: &TrustAnchor,
    now: u64,
) -> Result<(Own, PckAuthority), ClientError> {
    let other = match first {
        PckAuthority::Platform => PckAuthority::Processor,
        PckAuthority::Processor => PckAuthority::Platform,
    };
    let mut refused = None;
    // The model names its authority by a hash of the certificate, a service by a word: which of both it is shows in what comes.
    for authority in [first, other] {
        let wanted = Wanted { vendor: model.vendor, fmspc: model.fmspc, authority };
        let found = async {
            let collateral = service.collateral(&wanted).await?;
            Ok::<_, ClientError>((judge(&collateral, model, anchor, now)?, collateral))
        };
        match found.await {
            Ok((verified, collateral)) => {
                return Ok((Own { bytes: collateral.encode(), verified, anchor: *anchor }, authority))
            }
            // One that does not answer will not for the other either.
            Err(error) if error.code == ErrorCode::Unreachable => return Err(error),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| ClientError::new(ErrorCode::Internal, "nothing was asked")))
}

/// Whether it is good collateral of this model.
fn judge(
    collateral: &Collateral,
    model: &PlatformModel,
    anchor: &TrustAnchor,
    now: u64,
) -> Result<VerifiedCollateral, ClientError> {
    let wrong = |why: String| ClientError::new(ErrorCode::Unverified, why);
    let verified = verify_collateral(collateral, anchor, now)
        .map_err(|refusal| wrong(format!("what it gives does not hold: {refusal}")))?;
    if verified.model() != *model {
        return Err(wrong(format!("what it gives is of another platform: {}", name(&verified.model()))));
    }
    Ok(verified)
}

/// The files in the folder.
async fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = tokio::fs::read_dir(folder).await?;
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

async fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(file).await?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Puts collateral into the folder, so that a reader sees all of it or what was there before, also after a power cut.
async fn store(folder: &Path, model: &PlatformModel, bytes: &[u8]) -> io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let path = folder.join(name(model)).with_extension(EXTENSION);
    let there = files(folder).await?;
    if there.len() >= MOST_FILES && !there.contains(&path) {
        return Err(io::Error::other(format!("there are {MOST_FILES} files in it already: remove those of no use")));
    }
    let partial = path.with_extension("partial");
    let written = async {
        let mut file = tokio::fs::File::create(&partial).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        tokio::fs::rename(&partial, &path).await
    };
    if let Err(error) = written.await {
        let _ = tokio::fs::remove_file(&partial).await;
        return Err(error);
    }
    // Only the folder knows the new name: without it a power cut brings the old content back.
    tokio::fs::File::open(folder).await?.sync_all().await
}

#[cfg(test)]
mod tests;
