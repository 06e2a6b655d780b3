//! `phala gatekeeper verify-transcript`: checks what was written down of a ceremony, and says what it shows and on whose word.
//!
//! The file says whether it is of a ceremony of the root or of identities; [`Told`] has what is said differently of the two. Guarantees: what is
//! printed as shown follows from statements that gatekeepers signed and from records that contradict neither them nor each other, by the
//! chain's own rules. Of each record it says whether it is proved - the chain with the reader's genesis finalised a
//! block that has it - or the word of whichever node it was read from, and only a transcript whose records are all proved exits with 0.
//! Whoever made the file controls every byte of it.

mod told;

pub use told::Told;

use super::status::fault;
use crate::{
    args::{Global, VerifyTranscriptArgs},
    commands::verify::pinned,
    error::{io, CliError, Code},
    output::{line, Output},
    roots::phase,
};
use phala_client::transcript::{
    verify_now, Basis, FileError, Gap, ProvedTranscript, TranscriptFile, Verified, MAX_FILE_BYTES,
};
use phala_crypto::transcript::Signed;
use phala_protocol::{
    ceremony::{Fault, Reason},
    ids::{to_hex, BlockNumber},
    Hash,
};
use serde_json::{json, Value};
use std::{collections::BTreeSet, io::Read};

/// What a transcript is worth whose records are all proved.
const PROVED: &str =
    "all records are the chain's, proved by finality from the genesis; that none is left out between them is not shown";
/// What records are worth that are not.
const WORD_OF_A_NODE: &str = "records that are not proved are the word of the node that they were read from: compare \
     with another one's, or make a transcript from a node that has kept all states (--state-pruning archive)";
/// Records that are named to people, of those that are not proved.
const MOST_NAMED: usize = 20;

/// Runs `phala gatekeeper verify-transcript`.
pub fn run(global: &Global, args: &VerifyTranscriptArgs, output: Output) -> Result<(), CliError> {
    let path = &args.file;
    let file = std::fs::File::open(path).map_err(io("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    let file = from_bytes(&bytes)?;
    drop(bytes);
    let genesis = pinned(global, args.genesis.as_deref(), "the transcript")?;
    match &file {
        TranscriptFile::Root(file) => say(&check(&genesis, file)?, args, output),
        TranscriptFile::Identities(file) => say(&check(&genesis, file)?, args, output),
    }
}

fn say<K: Told>(checked: &Checked<'_, K>, args: &VerifyTranscriptArgs, output: Output) -> Result<(), CliError> {
    match checked.unproved().filter(|_| !args.allow_unproved) {
        None => {
            output.data(&checked.json(), || checked.text());
            Ok(())
        }
        Some(mut error) => {
            if !output.is_json() {
                line(&checked.text());
            }
            if let Value::Object(details) = checked.json() {
                error.details = details;
            }
            Err(error)
        }
    }
}

/// What is in a file.
fn from_bytes(bytes: &[u8]) -> Result<TranscriptFile, CliError> {
    TranscriptFile::decode_bounded(bytes).map_err(|error| match error {
        FileError::Other | FileError::OtherForm | FileError::OtherKind | FileError::TooLong => {
            CliError::invalid(error.to_string())
                .with_hint("a transcript is the file that `phala gatekeeper transcript --output FILE` writes")
        }
        FileError::Transcript(_) | FileError::Proofs => refused(&error.to_string()),
    })
}

/// Checks a transcript against the genesis that its reader trusts.
pub fn check<'a, K: Told>(genesis: &Hash, file: &'a ProvedTranscript<K>) -> Result<Checked<'a, K>, CliError> {
    let verified = verify_now(file, genesis)?.map_err(|error| refused(&error.to_text()))?;
    let transcript = &file.transcript;
    let signed = transcript.statements.iter().filter_map(|signed| {
        let (_, attempt) = Signed::place(signed);
        Some((attempt, Signed::index(signed), Signed::confirms(signed)?))
    });
    let proved = transcript.records.iter().zip(&verified.records).filter(|(_, basis)| **basis == Basis::Proved);
    let proved = proved.flat_map(|((_, record), _)| {
        let attempt = record.attempt();
        record.confirmed().into_iter().map(move |(index, keys)| (attempt, index, keys))
    });
    Ok(Checked { file, signed: signed.collect(), proved: proved.collect(), verified })
}

fn refused(why: &str) -> CliError {
    let mut error = CliError::new(Code::Transcript, format!("the transcript does not hold: {why}"))
        .with_hint("it proves nothing; make another, or ask another node");
    error.details.insert("holds".to_owned(), false.into());
    error
}

/// A transcript that holds.
pub struct Checked<'a, K: Told> {
    file: &'a ProvedTranscript<K>,
    verified: Verified<K>,
    /// Confirmations that carry their gatekeeper's own signature, so that no node's word is needed for them: attempt, index and keys.
    signed: BTreeSet<(u32, u16, K::Keys)>,
    /// Those that stand in a record that is proved.
    proved: BTreeSet<(u32, u16, K::Keys)>,
}

impl<K: Told> Checked<'_, K> {
    fn records(&self) -> &[(BlockNumber, K)] {
        &self.file.transcript.records
    }

    /// Whom an attempt left out, and why.
    fn left_out(&self, attempt: u32) -> impl Iterator<Item = (K::Party, Fault, Option<Reason>)> + '_ {
        let blamed = self.verified.outcome.blamed.get(&attempt);
        blamed.into_iter().flatten().map(|(party, (fault, reason))| (*party, *fault, *reason))
    }

    /// What keeps it from being taken without `--allow-unproved`.
    fn unproved(&self) -> Option<CliError> {
        let (proved, all) = (self.verified.proved(), self.verified.records.len());
        if self.verified.is_all_proved() {
            return None;
        }
        let what = format!("the transcript holds, and {} of its {all} records are a node's word", all - proved);
        Some(CliError::new(Code::Unproved, what).with_hint(
            "make one from a node that has kept all states (--state-pruning archive); --allow-unproved accepts this one",
        ))
    }

    /// Blocks whose records are not proved, and why.
    fn gaps(&self) -> impl Iterator<Item = (BlockNumber, Gap)> + '_ {
        self.records().iter().zip(&self.verified.records).filter_map(|((block, _), basis)| match basis {
            Basis::Proved => None,
            Basis::Word(gap) => Some((*block, *gap)),
        })
    }

    fn note(&self) -> &'static str {
        if self.verified.is_all_proved() {
            PROVED
        } else {
            WORD_OF_A_NODE
        }
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let attempts: Vec<Value> = self
            .verified
            .outcome
            .confirmed
            .iter()
            .map(|(attempt, confirmed)| {
                let confirmed: Vec<Value> = confirmed
                    .iter()
                    .map(|(index, keys)| {
                        let mut said = K::keys_json(keys);
                        said.insert(K::CONFIRMS.to_owned(), (*index).into());
                        said.insert("signed".to_owned(), self.signed.contains(&(*attempt, *index, *keys)).into());
                        said.insert("proved".to_owned(), self.proved.contains(&(*attempt, *index, *keys)).into());
                        Value::Object(said)
                    })
                    .collect();
                let left_out: Vec<Value> = self
                    .left_out(*attempt)
                    .map(|(party, why, reason)| {
                        let (role, index) = K::party(party);
                        json!({role: index, "fault": fault(why), "reason": reason.map(reason_name)})
                    })
                    .collect();
                json!({"attempt": attempt, "confirmed": confirmed, "left_out": left_out})
            })
            .collect();
        let shown: Vec<Value> = self
            .records()
            .iter()
            .zip(&self.verified.records)
            .map(|((block, record), basis)| {
                let gap = match basis {
                    Basis::Proved => None,
                    Basis::Word(gap) => Some(gap.as_str()),
                };
                let (attempt, phase) = (record.attempt(), phase(record.phase()));
                json!({"block": block, "attempt": attempt, "phase": phase, "proved": gap.is_none(), "not_proved": gap})
            })
            .collect();
        let first = self.records().first().map(|(_, record)| record);
        let mut object = first.map(K::parties_json).unwrap_or_default();
        let (made, keys) = (K::MADE, K::made_json(self.file, &self.verified));
        for (name, value) in [
            ("holds", true.into()),
            ("ceremony", K::MADE.into()),
            ("genesis", to_hex(&self.file.genesis).into()),
            ("era", json!(first.map(K::era))),
            ("threshold", json!(first.map(K::threshold))),
            ("attempts", attempts.into()),
            (made, keys),
            ("records", self.records().len().into()),
            ("proved", self.verified.proved().into()),
            ("shown", shown.into()),
            ("statements", self.file.transcript.statements.len().into()),
            ("anchored", self.verified.is_all_proved().into()),
            ("note", self.note().into()),
        ] {
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    /// For people.
    pub fn text(&self) -> String {
        let first = self.records().first().map(|(_, record)| record);
        let (proved, records) = (self.verified.proved(), self.records().len());
        let mut parts = vec![format!(
            "holds: {}, as {records} records and {} signed statements show it\n\
             proved: {proved} of {records} records, by finality from the genesis {}",
            first.map(K::title).unwrap_or_default(),
            self.file.transcript.statements.len(),
            to_hex(&self.file.genesis)
        )];
        parts.extend(self.gaps_text());
        parts.extend(first.map(K::parties_text));
        for (attempt, confirmed) in &self.verified.outcome.confirmed {
            let mut lines = vec![format!("attempt {attempt}:")];
            for (index, keys) in confirmed {
                let by = match (
                    self.signed.contains(&(*attempt, *index, *keys)),
                    self.proved.contains(&(*attempt, *index, *keys)),
                ) {
                    (true, _) => "signed",
                    (false, true) => "as the chain's record says",
                    (false, false) => "as an unproved record says",
                };
                lines.push(format!("  {} {index} confirmed {} ({by})", K::CONFIRMS, K::keys_text(keys)));
            }
            for (party, why, reason) in self.left_out(*attempt) {
                let (role, index) = K::party(party);
                let reason = reason.map_or("the records do not show why", reason_text);
                lines.push(format!("  {role} {index} was left out ({}): {reason}", fault(why)));
            }
            if lines.len() == 1 {
                lines.push("  nobody was seen to confirm, or to be left out".to_owned());
            }
            parts.push(lines.join("\n"));
        }
        parts.push(K::made_text(self.file, &self.verified));
        parts.push(format!("note: {}", self.note()));
        parts.join("\n\n")
    }

    /// A line for each record that is not proved; none if all are.
    fn gaps_text(&self) -> Option<String> {
        let mut lines: Vec<String> = self
            .gaps()
            .take(MOST_NAMED)
            .map(|(block, gap)| match gap {
                Gap::NoState => format!("not proved: block {block}: the node had no state of block {block}"),
                Gap::NoFinality => {
                    format!("not proved: block {block}: the node had no justification near block {block}")
                }
                Gap::TooLong => {
                    format!("not proved: block {block}: the proofs would be longer than a transcript may be")
                }
            })
            .collect();
        let more = self.gaps().count().saturating_sub(MOST_NAMED);
        if more > 0 {
            lines.push(format!("not proved: {more} more records; --json names them"));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::NotCommitted => "not_committed",
        Reason::NotDelivered => "not_delivered",
        Reason::NotAnswered => "not_answered",
        Reason::Rejected => "rejected",
        Reason::NotConfirmed => "not_confirmed",
        Reason::OtherList => "other_list",
    }
}

const fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::NotCommitted => "it did not commit",
        Reason::NotDelivered => "it delivered nothing to one that complained",
        Reason::NotAnswered => "it did not answer a dispute",
        Reason::Rejected => "a threshold found its answer or package wrong",
        Reason::NotConfirmed => "it confirmed nothing, and no dealer at fault owes it anything",
        Reason::OtherList => "it confirmed other keys than those that prevail",
    }
}

#[cfg(test)]
mod tests;
