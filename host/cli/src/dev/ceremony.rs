//! The root of a development network with several gatekeepers: bound to validators, made by a ceremony, waited for.
//!
//! Every step that was done before is found done, so that a network that was stopped within its ceremony goes on with it. What decides
//! is read with proofs; progress is told phase by phase.

use super::{bootstrap::LOOK, plan::TeePlan, progress::Progress, supervisor::Supervisor};
use crate::{
    error::CliError,
    roots::{self, Roots},
};
use phala_client::{chain::ChainCall, Account, ClientError, ErrorCode, Network, Until};
use phala_protocol::{
    ceremony::{CeremonyRecord, Phase},
    chain_state::RootRecord,
    WorkerId,
};
use std::time::{Duration, Instant};

/// Blocks that a ceremony may take: two attempts whose phases all last to their end, and more.
const MOST_BLOCKS: u32 = 900;
/// The usual time between two blocks.
const BLOCK_MILLISECONDS: u32 = 1_000;

/// Who makes the root: gatekeepers, each with its place.
pub type Gatekeepers<'a> = [(&'a TeePlan, WorkerId)];

/// Sees to it that there is a root of these gatekeepers, and gives it.
pub async fn root(
    progress: &mut Progress,
    supervisor: &Supervisor,
    network: &Network,
    sudo: &Account,
    gatekeepers: &Gatekeepers<'_>,
    block_milliseconds: Option<u32>,
) -> Result<RootRecord, CliError> {
    let seen = roots::read(network).await?;
    if let Some(root) = seen.present {
        return Ok(root);
    }
    if seen.ceremony.is_none() && seen.waiting.is_none() {
        progress.step("binding each gatekeeper to its validator");
        match gatekeepers {
            // Each takes until a block is final, and each is of another account: all at once.
            [first, second, third, fourth] => {
                tokio::try_join!(
                    bind(network, first),
                    bind(network, second),
                    bind(network, third),
                    bind(network, fourth)
                )?;
            }
            others => {
                for gatekeeper in others {
                    bind(network, gatekeeper).await?;
                }
            }
        }
        progress.step("starting the key ceremony");
        let identities: Vec<WorkerId> = gatekeepers.iter().map(|(_, gatekeeper)| *gatekeeper).collect();
        let call = ChainCall::start_ceremony(&identities);
        network.chain().submit_sudo(sudo, &call, Until::Finalised).await.map_err(ClientError::from)?;
    }
    let block = Duration::from_millis(block_milliseconds.unwrap_or(BLOCK_MILLISECONDS).into());
    made(progress, supervisor, network, block.saturating_mul(MOST_BLOCKS)).await
}

/// Binds the gatekeeper to its validator unless it is so; another one, whose identity was lost, gives way.
async fn bind(network: &Network, (tee, gatekeeper): &(&TeePlan, WorkerId)) -> Result<(), CliError> {
    let validator = &Account::development(tee.account)?;
    let key = roots::seat_key(&validator.id());
    let known: Option<WorkerId> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    if known.as_ref() == Some(gatekeeper) {
        return Ok(());
    }
    let call = ChainCall::register_seat(*gatekeeper);
    network.chain().submit(validator, &call, Until::Finalised).await.map_err(ClientError::from)?;
    Ok(())
}

/// Waits until the chain has a root.
async fn made(
    progress: &mut Progress,
    supervisor: &Supervisor,
    network: &Network,
    patience: Duration,
) -> Result<RootRecord, CliError> {
    let started = Instant::now();
    let mut said = String::new();
    loop {
        let last;
        match roots::read(network).await {
            Ok(Roots { present: Some(root), .. }) => return Ok(root),
            Ok(seen) => {
                let now = stage(&seen).ok_or_else(given_up)?;
                if now != said {
                    progress.step(now.clone());
                    said = now;
                }
                last = None;
            }
            // A node that cannot be asked now is asked again.
            Err(error) => last = Some(error),
        }
        if let Some(error) = supervisor.failing() {
            return Err(error);
        }
        if started.elapsed() > patience {
            let why = last.map(|error| format!(": {}", error.message)).unwrap_or_default();
            let waited = format!("waited {} s for the gatekeepers' root{why}", patience.as_secs());
            return Err(CliError::new(ErrorCode::Timeout, waited)
                .with_hint("`phala gatekeeper status` shows who is missing, `phala logs gatekeeper` why; starting again goes on from here"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What happens at present; nothing when the ceremony ended without a root.
fn stage(seen: &Roots) -> Option<String> {
    match (&seen.ceremony, seen.waiting) {
        (Some(record), _) => Some(describe(record)),
        (None, Some((era, from))) => Some(format!("the root of era {era} is made, and may answer from block {from}")),
        (None, None) => None,
    }
}

/// The phase, and how many of those that take part have done what it asks.
fn describe(record: &CeremonyRecord) -> String {
    let what = match record.phase {
        Phase::Commit => "seats commit to their packages",
        Phase::Share => "shares travel",
        Phase::Deliver => "what is missing is delivered on chain",
        Phase::Settle => "disputes are settled",
    };
    let attempt = record.attempt.saturating_add(1);
    let taking_part = record.participants().count();
    format!("key ceremony, attempt {attempt}: {what} ({taking_part} of {} seats take part)", record.seats.len())
}

fn given_up() -> CliError {
    CliError::new(ErrorCode::Refused, "the key ceremony ended without a root")
        .with_hint("`phala logs gatekeeper` shows what each seat did; starting again starts another ceremony")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_phase_is_told_once_and_an_end_without_a_root_is_an_error() {
        let mut record = CeremonyRecord::new(0, 1, &[1, 2, 3, 4].map(|byte| WorkerId([byte; 32])));
        let seen = |ceremony: Option<CeremonyRecord>, waiting| Roots {
            height: 9,
            present: None,
            next: None,
            waiting,
            ceremony,
        };
        let commit = stage(&seen(Some(record.clone()), None)).unwrap();
        assert_eq!(commit, "key ceremony, attempt 2: seats commit to their packages (4 of 4 seats take part)");
        // More that commit in the same phase are no news.
        record.seats[0].package = Some([1; 32]);
        assert_eq!(stage(&seen(Some(record.clone()), None)).unwrap(), commit);
        record.phase = Phase::Share;
        assert!(stage(&seen(Some(record), None)).unwrap().contains("shares travel (1 of 4"));
        assert!(stage(&seen(None, Some((0, 77)))).unwrap().contains("from block 77"));
        assert_eq!(stage(&seen(None, None)), None);
        assert_eq!(given_up().code.as_str(), "refused");
    }
}
