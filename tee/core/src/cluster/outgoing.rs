//! What a cluster has for the chain: votes for results, what these send out, the binding of an epoch's first commitment, and the next
//! epoch's envelope key.
//!
//! Guarantees: everything is signed by the worker's identity over what it computed itself; no key of a former era is announced, and none
//! before the epoch that is open is settled here: everything before it, and what is final in it, executed or taken over. Who lacks the state signs nothing, so that
//! a lone newcomer holds the epoch open, to which the snapshots are sealed that it waits for. The chain's records say what is due. Does
//! not: know what of it arrives.

use super::{Around, Cluster};
use crate::{boundary::commitment, epochs::EpochOf};
use phala_protocol::{
    chain_state::ClusterRecord,
    envelope::announcement_payload,
    relay::Outgoing,
    result::{Boundary, Rekey, SignedRekey},
    Hash,
};

impl Cluster {
    /// What the cluster has for the chain.
    pub(crate) fn outgoing(&self, around: &Around<'_>) -> Vec<Outgoing> {
        // The chain counts no votes for a closed cluster.
        let votes = self.late.iter().chain(&self.meta.pending).filter(|_| !self.closed);
        let mut outgoing: Vec<_> = votes.cloned().map(Outgoing::Result).collect();
        outgoing.extend(self.leaving.iter().cloned().map(Outgoing::Egress));
        let Some(record) = self.record.as_ref() else { return outgoing };
        if let Some(rekey) = self.rekey(record, around) {
            // Before the results that continue it.
            outgoing.insert(0, Outgoing::Rekey(rekey));
        }
        if let Some(announcement) = self.announcement(record, around) {
            outgoing.push(announcement);
        }
        outgoing
    }

    /// The next epoch's envelope key, when it is due and this epoch is settled: that of the root to which the chain gives it now. One of a
    /// former era is never announced, for its keys are forgotten by then.
    fn announcement(&self, record: &ClusterRecord, around: &Around<'_>) -> Option<Outgoing> {
        let (now, _) = around.chain.head();
        if !self.is_settled(record) || now < record.next_epoch_due() {
            return None;
        }
        let (era, epoch) = (around.roots.coming_era()?, record.next_epoch());
        let public_key = self.epochs.get(EpochOf { era, epoch })?.envelope.as_ref()?.public_key().to_vec();
        let payload = announcement_payload(around.chain.genesis(), self.id, era, epoch, &public_key);
        let signature = around.identity.sign(&payload);
        Some(Outgoing::AnnounceKey { cluster: self.id, era, epoch, public_key, signature })
    }

    /// Whether nothing of the epochs before the open one is missing here, nor anything that is final in it. The generation alone does not say
    /// so: a new store begins under the open epoch's key, with nothing in it, and a host may have put an older disk back.
    fn is_settled(&self, record: &ClusterRecord) -> bool {
        if record.epoch == 0 {
            return true;
        }
        let generation = self.store.as_ref().map(|store| store.view().generation());
        !record.is_closing()
            && generation == Some(record.epoch)
            && self.meta.head.count >= record.opened_count.max(record.final_count)
            && self.lacks().is_none()
    }

    /// The binding of the open epoch's first commitment to the last one of the epoch before.
    fn rekey(&self, record: &ClusterRecord, around: &Around<'_>) -> Option<SignedRekey> {
        let due = record.bound_epoch != 0
            && record.bound_epoch < record.epoch
            && record.final_count >= record.opened_count
            && self.meta.head.count >= record.opened_count;
        if !due {
            return None;
        }
        let old_key = self.epochs.begun(record, record.bound_epoch)?.commit.as_ref()?;
        let new_key = self.epochs.begun(record, record.epoch)?.commit.as_ref()?;
        let (boundary, root) = self.closing_state(record)?;
        let rekey = Rekey {
            cluster: self.id,
            epoch: record.epoch,
            boundary: Some(boundary),
            old: commitment(old_key, &Some(boundary), &root),
            new: commitment(new_key, &Some(boundary), &root),
        };
        let signature = around.identity.sign(&rekey.signing_payload(around.chain.genesis()));
        Some(SignedRekey { rekey, worker: around.identity.id(), signature })
    }

    /// The last boundary of the epoch before, and the internal root there: the present one, unless items of the open epoch have
    /// been executed since.
    fn closing_state(&self, record: &ClusterRecord) -> Option<(Boundary, Hash)> {
        if self.meta.epoch < record.epoch {
            Some((self.meta.last?, self.store.as_ref()?.view().root()))
        } else {
            self.meta.closed
        }
    }
}
