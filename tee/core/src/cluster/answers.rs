//! Gatekeepers' answers as they arrive at a worker's cluster: how many are opened, and what is said of those that are refused.
//!
//! Guarantees: of one delivery no more than [`MOST_ANSWERS`] answers are opened, each at the price of a decapsulation and a proof for each
//! purpose at most; a relayer lets no more than that wait, and no flood of forgeries keeps out a true answer that comes another way (among
//! strangers, who share a room, one may). Every
//! refusal is counted, and the first to each request is told, so that the log grows with requests and not with forgeries. Anybody who saw a
//! request controls what arrives as an answer to it, and the host how much. Does not: judge answers (`epochs.rs`), or say who forged one, which
//! nobody can know.

use super::{Around, Cluster};
use crate::{epochs::Heard, tee::Notice};
use phala_protocol::{keys::KeyAnswer, relay::MOST_ANSWERS, Hash};
use std::collections::BTreeMap;

/// What became of answers to requests for keys, since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswersHealth {
    /// Answers that were taken.
    pub taken: u64,
    /// Answers that were refused, by [`phala_gatekeeper::GrantError::kind`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Answers that were too many in one delivery, and were not opened.
    pub left_out: u64,
}

impl Cluster {
    /// Takes gatekeepers' answers, each with the hash of the request. Those to requests that do not wait are nothing, and cost nothing.
    pub(crate) fn answered(&mut self, answers: &[(Hash, KeyAnswer)], around: &mut Around<'_>) {
        let (now, _) = around.chain.head();
        let mut opened = 0;
        for (payload, answer) in answers {
            if !self.epochs.waits_for(payload) {
                continue;
            }
            if opened == MOST_ANSWERS {
                self.answers.left_out = self.answers.left_out.saturating_add(1);
                continue;
            }
            opened += 1;
            match self.epochs.answered(payload, answer, around.roots, now) {
                Heard::Nothing => {}
                Heard::Taken(here) => {
                    self.answers.taken = self.answers.taken.saturating_add(1);
                    let cluster = self.id;
                    around.notices.extend(here.map(|epoch| Notice::EpochKeys { cluster, epoch }));
                }
                Heard::Refused { gatekeeper, of, error, first } => {
                    let counter = self.answers.refused.entry(error.kind()).or_default();
                    *counter = counter.saturating_add(1);
                    if first {
                        let (cluster, request) = (self.id, *payload);
                        let (era, epoch) = (of.era, of.epoch);
                        around.notices.push(Notice::AnswerRefused { cluster, gatekeeper, era, epoch, request, error });
                    }
                }
            }
        }
    }
}
