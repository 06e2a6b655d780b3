//! What is looked at in a life of identities, and signing sessions of those who hold them.

use super::{Life, STORM_ATTEMPTS};
use crate::{
    identities::{chain::place_of, checks, lies::Said, signing},
    invariants::{Violation, NAMES},
};
use phala_protocol::identities::{IdentityCeremonyRecord, IdentityStatement};
use std::collections::BTreeSet;

impl Life<'_> {
    /// What an honest machine says: one package and one record an attempt, and no share of anybody honest in public.
    pub(super) fn inspect(
        &mut self,
        position: usize,
        record: &IdentityCeremonyRecord,
        said: &Said,
    ) -> Result<(), Violation> {
        let place = place_of(record);
        // Who lied in a set before, or in one whose ceremony was cancelled, is not known any more.
        let of_this_set = self.chain.ceremony.as_ref().is_some_and(|ceremony| ceremony.era == place.0)
            && place.1 >= self.chain.first_attempt;
        for (said, _) in &said.statements {
            let heard = self.heard.entry((place, said.index, said.statement.is_of_dealer())).or_default();
            if heard.iter().any(|before| before.statement.contradicts(&said.statement)) {
                return Err(Violation::new(NAMES[5], format!("{said:?} contradicts what was said before")));
            }
            if !heard.iter().any(|before| before.statement == said.statement) {
                heard.push(*said);
            }
            let other = match said.statement {
                IdentityStatement::Confirm { record } => {
                    self.machines[position].confirmed = Some(place);
                    self.checks.note_confirmed(place, record)?;
                    None
                }
                IdentityStatement::Dispute { dealer, .. } => record.dealer(dealer).map(|dealer| dealer.gatekeeper),
                IdentityStatement::Answer { accuser, .. } => record.holder(accuser).map(|holder| holder.gatekeeper),
                _ => None,
            };
            if of_this_set && other.is_some_and(|other| !self.is_liar(self.numbers[&other])) {
                return Err(Violation::new(NAMES[0], format!("said of somebody honest: {said:?}")));
            }
        }
        Ok(())
    }

    /// After each block.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        if let Some(record) = &self.chain.record {
            let held = self.machines.iter().filter_map(|machine| machine.custody.held());
            let of_it = held.filter(|held| held.record() == record);
            let pair = |bytes: &[u8; 64]| -> checks::Pair {
                let (ed25519, sr25519) = bytes.split_at(32);
                [ed25519, sr25519].map(|half| half.try_into().unwrap())
            };
            let now = of_it.map(|held| (held.shares().index(), pair(held.shares().to_bytes().expose()))).collect();
            let tried = self.checks.see(record, now)?;
            *self.counts.entry("sets of shares of identities tried".to_owned()).or_default() += tried;
        }
        let liars = self.liar_ids();
        checks::liveness(&self.chain, &liars, STORM_ATTEMPTS)?;
        checks::faults_are_the_liars(&self.chain, &liars, STORM_ATTEMPTS)
    }

    /// At the end of a ceremony: all holders of the record have their shares.
    pub(super) fn audit(&mut self) -> Result<(), Violation> {
        let Some(record) = self.chain.record.clone() else { return Ok(()) };
        for holder in &record.holders {
            let number = self.numbers[&holder.gatekeeper];
            let held = self.machines[usize::from(number) - 1].custody.held();
            if held.is_none_or(|held| *held.record() != record) && !self.is_liar(number) {
                let what = format!("holder {} of era {} has no shares", holder.index, record.era);
                return Err(Violation::new(checks::KEEP_THEIR_KEYS, what));
            }
        }
        let tried = self.checks.audit()?;
        *self.counts.entry("sets of shares of identities tried".to_owned()).or_default() += tried;
        Ok(())
    }

    /// Those who hold the keys sign as a contract; as many of them lie as leave a threshold.
    pub(super) fn sign(&mut self) -> Result<(), Violation> {
        let Some(sharing) = self.checks.present().cloned() else { return Ok(()) };
        let mut indices: Vec<u16> = sharing.shares.keys().copied().collect();
        let spare = indices.len().saturating_sub(sharing.record.threshold.into());
        self.random.shuffle(&mut indices);
        let liars: BTreeSet<u16> = indices.into_iter().take(self.random.below(spare as u32 + 1) as usize).collect();
        let told = signing::sign(&sharing.record, &sharing.shares, &liars, &mut self.random, &mut self.log)?;
        self.happened(&(told.signed, told.in_vain, told.crashed));
        for (what, count) in [
            ("signing sessions", told.signed),
            ("attempts to sign that failed", told.in_vain),
            ("coordinator crashed", told.crashed),
            ("liars in signing sessions", liars.len() as u64),
        ] {
            *self.counts.entry(what.to_owned()).or_default() += count;
        }
        Ok(())
    }
}
