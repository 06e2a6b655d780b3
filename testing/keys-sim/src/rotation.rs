//! Clusters that go from one era's root to the next, by the rule of `phala_protocol::chain_state`: which root gives which epoch.
//!
//! Guarantees: [`follow`] opens epochs of one cluster around a hand-over and says, block by block, of which era each of its epochs is;
//! [`old_era_opens_nothing_newer`] tries all shares of the former root on every epoch of the next. Does not: time epochs, or count
//! clusters; the pallet does.

use crate::{
    invariants::{Holder, Violation, NAMES},
    members::GENESIS,
};
use phala_crypto::{
    prf::{combine, verify_partial, Input, KeyShare, VerifiedPartial},
    Secret,
};
use phala_protocol::{
    chain_state::{next_epoch_era, ClusterRecord, RootRecord},
    domain,
    keys::{KeyPurpose, PrfInput},
    ClusterId, Epoch,
};
use std::collections::BTreeMap;

/// Epochs that are followed: four of each root.
const EPOCHS: Epoch = 8;
/// The open epoch when the next root is recorded.
const HANDED_OVER_AT: Epoch = 4;

/// Which era gives which epoch its keys, out of every record on the way: an error if two records say two things.
pub fn follow(old: &RootRecord, new: &RootRecord) -> Result<BTreeMap<Epoch, u32>, Violation> {
    let mut eras = BTreeMap::new();
    let (mut present, mut next) = (old, None);
    let mut record = ClusterRecord {
        era: old.era,
        era_before: old.era,
        epoch: 0,
        opened_at: 0,
        opened_count: 0,
        final_count: 0,
        bound_epoch: 0,
        epoch_length: 100,
        envelope_key: Vec::new(),
        replicas: Vec::new(),
    };
    while record.epoch < EPOCHS {
        if record.epoch == HANDED_OVER_AT && present.era == old.era {
            next = Some(new);
        }
        let coming = next_epoch_era(Some(present), next).unwrap_or(old.era);
        // What the next epoch is of may change until it opens: only then its keys seal anything.
        for epoch in 0..=record.epoch {
            let Some(era) = record.era_of(epoch, coming) else { continue };
            let first = *eras.entry(epoch).or_insert(era);
            if first != era {
                let what = format!("epoch {epoch} is of era {era}, and was of era {first}");
                return Err(Violation::new(NAMES[7], what));
            }
        }
        (record.era_before, record.era, record.epoch) = (record.era, coming, record.next_epoch());
        if next.is_some() && record.era_before == new.era {
            (present, next) = (new, None);
        }
    }
    Ok(eras)
}

/// All shares of `old` together give no key of an epoch that the chain gives to `new`, and those of `new` give each.
pub fn old_era_opens_nothing_newer(
    (old, old_holders): (&RootRecord, &[Holder]),
    (new, new_holders): (&RootRecord, &[Holder]),
) -> Result<(), Violation> {
    let violated = |what: String| Violation::new(NAMES[7], what);
    let threshold = |root: &RootRecord| usize::from(root.threshold);
    let mut newer = 0;
    for (epoch, era) in follow(old, new)? {
        let (root, holders) = if era == new.era { (new, new_holders) } else { (old, old_holders) };
        let right = key(threshold(root), holders, era, epoch).ok_or_else(|| violated("too few shares".to_owned()))?;
        if era != new.era {
            continue;
        }
        newer += 1;
        // Whoever kept old shares may name either era in the input.
        for named in [old.era, new.era] {
            for from in 0..=old_holders.len().saturating_sub(threshold(old)) {
                if key(threshold(old), &old_holders[from..], named, epoch) == Some(right) {
                    return Err(violated(format!("the shares of era {} open epoch {epoch} of era {era}", old.era)));
                }
            }
        }
    }
    if newer == 0 {
        return Err(violated("no epoch was of the next era".to_owned()));
    }
    Ok(())
}

/// The key of an epoch by the first shares that suffice.
fn key(threshold: usize, holders: &[Holder], era: u32, epoch: Epoch) -> Option<[u8; 32]> {
    let named = PrfInput { genesis: GENESIS, era, cluster: ClusterId(1), epoch, purpose: KeyPurpose::Storage };
    let input = Input::of(domain::PRF_INPUT, &named);
    let partial = |holder: &Holder| -> Option<VerifiedPartial> {
        let share = KeyShare::from_bytes(holder.index, &Secret::new(holder.share)).ok()?;
        verify_partial(&share.public_share(), &input, &share.partial(&input, &[1; 32])).ok()
    };
    let partials = holders.iter().take(threshold).map(partial).collect::<Option<Vec<_>>>()?;
    combine(threshold, &partials).ok().map(|key| *key.expose())
}
