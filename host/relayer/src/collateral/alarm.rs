//! When collateral counts as ending: what the log of a relayer and `phala status` say.
//!
//! The threshold is the chain's, which governance sets and which raises its alarm by it; what is over is alarming whether or not a block has
//! said so. Sans-IO.

use phala_attest::{PlatformModel, Vendor};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often the log repeats it.
const AGAIN: Duration = Duration::from_secs(86_400);

/// Whether people are told that collateral ends: the chain has raised its alarm, or it is over at `now`, both in Unix seconds.
pub const fn is_alarming(valid_until: u64, raised: bool, now: u64) -> bool {
    raised || valid_until <= now
}

/// What was said, and when.
#[derive(Debug, Default)]
pub(crate) struct Warnings(BTreeMap<PlatformModel, (u64, Instant)>);

impl Warnings {
    /// What is to be said at `clock`, when the chain's time is `now`: each end once, and again each day.
    pub(crate) fn due(
        &mut self,
        ends: &[(PlatformModel, (u64, bool))],
        now: u64,
        clock: Instant,
    ) -> Vec<(PlatformModel, u64)> {
        let alarming: BTreeMap<PlatformModel, u64> = ends
            .iter()
            .filter(|(_, (valid_until, raised))| is_alarming(*valid_until, *raised, now))
            .map(|(model, (valid_until, _))| (*model, *valid_until))
            .collect();
        self.0.retain(|model, _| alarming.contains_key(model));
        let is_said = |said: &(u64, Instant), valid_until: u64| {
            said.0 == valid_until && clock.saturating_duration_since(said.1) < AGAIN
        };
        let mut due = Vec::new();
        for (model, valid_until) in alarming {
            if self.0.get(&model).is_some_and(|said| is_said(said, valid_until)) {
                continue;
            }
            self.0.insert(model, (valid_until, clock));
            due.push((model, valid_until));
        }
        due
    }
}

/// Says in the log that the collateral of a model ends, or is over, at the chain's time `now`.
pub(crate) fn say(model: &PlatformModel, valid_until: u64, now: u64) {
    let model = name(model);
    if valid_until <= now {
        tracing::warn!(model, "collateral is over: no machine of this platform is admitted, and registrations end");
    } else {
        let seconds = valid_until.saturating_sub(now);
        tracing::warn!(
            model,
            seconds,
            "collateral ends soon, and nobody has brought newer: fetch it, or name a --pccs"
        );
    }
}

/// A model as the log names it, and a file of its collateral.
pub(crate) fn name(model: &PlatformModel) -> String {
    let vendor = match model.vendor {
        Vendor::IntelTdx => "tdx",
        Vendor::IntelSgx => "sgx",
    };
    let [a, b, c, d, ..] = model.authority;
    format!("{vendor}-{}-{}", hex::encode(model.fmspc), hex::encode([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(number: u8) -> PlatformModel {
        PlatformModel { vendor: Vendor::IntelTdx, fmspc: [number; 6], authority: [number; 32] }
    }

    #[test]
    fn what_ends_soon_is_said_at_once_and_again_each_day_until_there_is_newer() {
        let (mut warnings, start) = (Warnings::default(), Instant::now());
        let quiet = [(model(1), (5_000, false)), (model(2), (6_000, false))];
        assert!(warnings.due(&quiet, 4_000, start).is_empty());
        // The chain raises its alarm for one; the other one's end passes before any block has said so.
        let alarmed = [(model(1), (5_000, true)), (model(2), (6_000, false))];
        assert_eq!(warnings.due(&alarmed, 4_100, start), [(model(1), 5_000)]);
        assert_eq!(warnings.due(&alarmed, 6_000, start), [(model(2), 6_000)]);
        assert!(warnings.due(&alarmed, 6_000, start + AGAIN - Duration::from_secs(1)).is_empty());
        assert_eq!(warnings.due(&alarmed, 6_000, start + AGAIN), [(model(1), 5_000), (model(2), 6_000)]);
        // What was renewed is not remembered, and its next end is said.
        let renewed = [(model(1), (9_000, false)), (model(2), (6_000, true))];
        assert!(warnings.due(&renewed, 6_100, start + AGAIN).is_empty());
        assert_eq!(warnings.0.len(), 1);
        let later = [(model(1), (9_000, true)), (model(2), (7_000, true))];
        assert_eq!(warnings.due(&later, 6_100, start + AGAIN), [(model(1), 9_000), (model(2), 7_000)]);
    }

    #[test]
    fn the_threshold_is_the_chains_alarm_or_the_end_itself() {
        assert!(is_alarming(5_000, true, 100) && is_alarming(5_000, false, 5_000) && !is_alarming(5_000, false, 4_999));
        assert_eq!(name(&model(0xab)), "tdx-abababababab-abababab");
    }
}
