//! `phala gatekeeper verify-transcript`: checks what was written down of a ceremony, and says what it shows.
//!
//! Guarantees: what is printed as shown follows from statements that seats signed and from records that contradict neither them nor
//! each other, by the chain's own rules. The records are the word of whichever node they were read from, and that is said: compare
//! with a transcript of another node. Whoever made the file controls every byte of it.

use super::status::fault;
use crate::{
    args::{Global, VerifyTranscriptArgs},
    commands::verify::pinned,
    error::{io, CliError, Code},
    output::{table, Output},
};
use codec::Encode;
use phala_crypto::transcript::{verify_transcript, Outcome, Transcript, MAX_TRANSCRIPT_BYTES};
use phala_protocol::{
    ceremony::{Confirmed, Fault, Reason, Statement},
    ids::to_hex,
    Hash, WorkerId,
};
use serde_json::{json, Value};
use std::io::Read;

/// What a file begins with: what it is, and in which form.
const MARK: &[u8; 24] = b"phala-ceremony-record-2\n";
const GENESIS_BYTES: usize = 32;
/// What the records of a transcript are worth.
const WORD_OF_A_NODE: &str =
    "the records are the word of the node that they were read from: compare with another one's, or with storage proofs";

/// Runs `phala gatekeeper verify-transcript`.
pub fn run(global: &Global, args: &VerifyTranscriptArgs, output: Output) -> Result<(), CliError> {
    let path = &args.file;
    let most = (MARK.len() + GENESIS_BYTES + MAX_TRANSCRIPT_BYTES) as u64;
    let file = std::fs::File::open(path).map_err(io("open", path))?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    let (named, transcript) = from_bytes(&bytes)?;
    let genesis = pinned(global, args.genesis.as_deref(), "the transcript")?;
    if named != genesis {
        return Err(refused(format!("it is of the chain {}, not of {}", to_hex(&named), to_hex(&genesis))));
    }
    let checked = check(&genesis, &transcript)?;
    output.data(&checked.json(), || checked.text());
    Ok(())
}

/// A transcript as a file.
pub fn to_bytes(genesis: &Hash, transcript: &Transcript) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend_from_slice(genesis);
    transcript.encode_to(&mut bytes);
    bytes
}

/// What is in a file, with the chain that it says it is of.
fn from_bytes(bytes: &[u8]) -> Result<(Hash, Transcript), CliError> {
    let other = || {
        CliError::invalid("the file is no transcript of a ceremony")
            .with_hint("a transcript is the file that `phala gatekeeper transcript --output FILE` writes")
    };
    let rest = bytes.strip_prefix(MARK.as_slice()).ok_or_else(other)?;
    let (genesis, rest) = rest.split_first_chunk::<GENESIS_BYTES>().ok_or_else(other)?;
    Ok((*genesis, Transcript::decode_bounded(rest).map_err(|error| refused(error.to_string()))?))
}

/// Checks a transcript against the genesis that its reader trusts.
pub fn check<'a>(genesis: &Hash, transcript: &'a Transcript) -> Result<Checked<'a>, CliError> {
    let outcome = verify_transcript(genesis, transcript).map_err(|error| refused(error.to_string()))?;
    Ok(Checked { genesis: *genesis, transcript, outcome })
}

fn refused(why: String) -> CliError {
    let mut error = CliError::new(Code::Transcript, format!("the transcript does not hold: {why}"))
        .with_hint("it proves nothing; make another, or ask another node");
    error.details.insert("holds".to_owned(), false.into());
    error
}

/// A transcript that holds.
pub struct Checked<'a> {
    genesis: Hash,
    transcript: &'a Transcript,
    outcome: Outcome,
}

impl Checked<'_> {
    fn seats(&self) -> Vec<WorkerId> {
        let first = self.transcript.records.first();
        first.map(|(_, record)| record.seats.iter().map(|seat| seat.gatekeeper).collect()).unwrap_or_default()
    }

    /// Whether the seat's own signature on the confirmation is in the transcript, so that no node's word is needed for it.
    fn is_signed(&self, attempt: u32, index: u16, keys: Confirmed) -> bool {
        self.transcript.statements.iter().any(|signed| {
            (signed.attempt, signed.index) == (attempt, index) && signed.statement == Statement::Confirm(keys)
        })
    }

    /// Whom an attempt left out, and why.
    fn left_out(&self, attempt: u32) -> impl Iterator<Item = (u16, Fault, Option<Reason>)> + '_ {
        let blamed = self.outcome.blamed.get(&attempt);
        blamed.into_iter().flatten().map(|(index, (fault, reason))| (*index, *fault, *reason))
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let attempts: Vec<Value> = self
            .outcome
            .confirmed
            .iter()
            .map(|(attempt, confirmed)| {
                let confirmed: Vec<Value> = confirmed
                    .iter()
                    .map(|(index, keys)| {
                        let signed = self.is_signed(*attempt, *index, *keys);
                        let (list, beacon) = (to_hex(&keys.share_list), to_hex(&keys.beacon));
                        json!({"seat": index, "share_list": list, "beacon": beacon, "signed": signed})
                    })
                    .collect();
                let left_out: Vec<Value> = self
                    .left_out(*attempt)
                    .map(|(index, why, reason)| {
                        json!({"seat": index, "fault": fault(why), "reason": reason.map(reason_name)})
                    })
                    .collect();
                json!({"attempt": attempt, "confirmed": confirmed, "left_out": left_out})
            })
            .collect();
        let first = self.transcript.records.first().map(|(_, record)| record);
        json!({
            "holds": true,
            "genesis": to_hex(&self.genesis),
            "era": first.map(|record| record.era),
            "threshold": first.map(|record| record.threshold),
            "seats": self.seats().iter().map(WorkerId::to_string).collect::<Vec<_>>(),
            "attempts": attempts,
            "root": self.outcome.root.map(|(attempt, keys)| {
                let (list, beacon) = (to_hex(&keys.share_list), to_hex(&keys.beacon));
                json!({"attempt": attempt, "share_list": list, "beacon": beacon})
            }),
            "records": self.transcript.records.len(),
            "statements": self.transcript.statements.len(),
            "anchored": false,
            "note": WORD_OF_A_NODE,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let first = self.transcript.records.first().map(|(_, record)| record);
        let (era, threshold) = first.map_or((0, 0), |record| (record.era, record.threshold));
        let seats = self.seats();
        let mut parts = vec![format!(
            "holds: the ceremony of era {era}, {threshold} of {} seats, as {} records and {} signed statements show it",
            seats.len(),
            self.transcript.records.len(),
            self.transcript.statements.len()
        )];
        let rows: Vec<Vec<String>> =
            (1u16..).zip(&seats).map(|(index, id)| vec![index.to_string(), id.to_string()]).collect();
        parts.push(table(&["SEAT", "GATEKEEPER"], &rows));
        for (attempt, confirmed) in &self.outcome.confirmed {
            let mut lines = vec![format!("attempt {attempt}:")];
            for (index, keys) in confirmed {
                let by = if self.is_signed(*attempt, *index, *keys) { "signed" } else { "as the record says" };
                let (list, beacon) = (to_hex(&keys.share_list), to_hex(&keys.beacon));
                lines.push(format!("  seat {index} confirmed {list} with the beacon key {beacon} ({by})"));
            }
            for (index, why, reason) in self.left_out(*attempt) {
                let reason = reason.map_or("the records do not show why", reason_text);
                lines.push(format!("  seat {index} was left out ({}): {reason}", fault(why)));
            }
            if lines.len() == 1 {
                lines.push("  nobody was seen to confirm, or to be left out".to_owned());
            }
            parts.push(lines.join("\n"));
        }
        parts.push(match &self.outcome.root {
            Some((attempt, keys)) => {
                let (list, beacon) = (to_hex(&keys.share_list), to_hex(&keys.beacon));
                let what = format!("the share list {list} and the beacon key {beacon}");
                format!("root: attempt {attempt} made it; all that took part confirmed {what}")
            }
            None => "root: none is shown".to_owned(),
        });
        parts.push(format!("note: {WORD_OF_A_NODE}"));
        parts.join("\n\n")
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
        Reason::NotDelivered => "it delivered nothing to a seat that complained",
        Reason::NotAnswered => "it did not answer a dispute",
        Reason::Rejected => "a threshold of seats found its answer or package wrong",
        Reason::NotConfirmed => "it confirmed nothing, and no dealer at fault owes it anything",
        Reason::OtherList => "it confirmed other keys than those that prevail",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_crypto::{signature::ed25519::IdentityKey, Secret};
    use phala_protocol::ceremony::{CeremonyRecord, Phase, SignedStatement};

    const GENESIS: Hash = [7; 32];
    const KEYS: Confirmed = Confirmed { share_list: [9; 32], beacon: [8; 32] };

    fn key(index: u8) -> IdentityKey {
        IdentityKey::from_seed(&Secret::new([index; 32]))
    }

    /// Three seats that confirm, of whom one signed so, and one that did not commit.
    fn transcript() -> Transcript {
        let mut record = CeremonyRecord::new(4, 0, &[1, 2, 3, 4].map(|index| WorkerId(key(index).public())));
        record.begin(Phase::Commit, 1, 10);
        let mut transcript = Transcript::default();
        transcript.observe(1, &record);
        record.seats.iter_mut().take(3).for_each(|seat| seat.package = Some([1; 32]));
        transcript.observe(10, &record);
        record.seats[3].left_out = Some(Fault::Absent);
        record.begin(Phase::Share, 11, 20);
        record.seats.iter_mut().take(3).for_each(|seat| seat.confirmed = Some(KEYS));
        transcript.observe(12, &record);
        let statement = Statement::Confirm(KEYS);
        let mut signed = SignedStatement { era: 4, attempt: 0, index: 1, statement, signature: [0; 64] };
        signed.signature = key(1).sign(&signed.signing_payload(&GENESIS));
        transcript.note(&signed);
        transcript
    }

    fn verify(file: &[u8], genesis: &Hash) -> Result<Value, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, file).unwrap();
        let args = VerifyTranscriptArgs { file: path, genesis: Some(to_hex(genesis)) };
        let global = Global { json: true, network: None, password_file: None, more_workers: Vec::new() };
        run(&global, &args, Output::new(true))?;
        let (_, read) = from_bytes(file)?;
        Ok(check(genesis, &read)?.json())
    }

    #[test]
    fn a_transcript_shows_who_confirmed_who_was_left_out_and_whose_word_it_is() {
        let json = verify(&to_bytes(&GENESIS, &transcript()), &GENESIS).unwrap();
        assert_eq!((&json["holds"], &json["era"], &json["threshold"]), (&json!(true), &json!(4), &json!(3)));
        let root = json!({"attempt": 0, "share_list": to_hex(&[9; 32]), "beacon": to_hex(&[8; 32])});
        assert_eq!(json["root"], root);
        assert_eq!(json["attempts"][0]["confirmed"][0]["beacon"], to_hex(&[8; 32]));
        let attempt = &json["attempts"][0];
        assert_eq!(
            (&attempt["confirmed"][0]["signed"], &attempt["confirmed"][1]["signed"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(attempt["left_out"], json!([{"seat": 4, "fault": "absent", "reason": "not_committed"}]));
        assert_eq!(json["anchored"], false);
        let shown = transcript();
        let text = check(&GENESIS, &shown).unwrap().text();
        assert!(text.contains("seat 1 confirmed 0x0909") && text.contains("(signed)"));
        assert!(text.contains("with the beacon key 0x0808"));
        assert!(text.contains("seat 4 was left out (absent): it did not commit"));
        assert!(text.contains("word of the node"));
    }

    #[test]
    fn what_does_not_hold_has_a_code_of_its_own_and_what_is_no_transcript_another() {
        let good = to_bytes(&GENESIS, &transcript());
        let mut forged = transcript();
        forged.statements[0].signature[0] ^= 1;
        let long = [&good[..], &[0]].concat();
        for (bytes, genesis, said) in [
            (to_bytes(&GENESIS, &forged), GENESIS, "not signed by the seat"),
            (good.clone(), [8; 32], "is of the chain"),
            (long, GENESIS, "malformed"),
            (to_bytes(&GENESIS, &Transcript::default()), GENESIS, "no record"),
        ] {
            let error = verify(&bytes, &genesis).unwrap_err();
            assert_eq!((error.code.as_str(), error.exit_code()), ("transcript", 11), "{}", error.message);
            assert!(error.message.contains(said), "{}", error.message);
            assert_eq!(error.to_json()["holds"], false);
        }
        for none in [&b"{}"[..], &good[..40], b""] {
            assert_eq!(verify(none, &GENESIS).unwrap_err().code.as_str(), "invalid");
        }
    }
}
