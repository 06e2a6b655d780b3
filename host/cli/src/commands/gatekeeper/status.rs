//! `phala gatekeeper status`: the roots and the ceremony under way, proved, and who is whose gatekeeper.
//!
//! Roots, ceremony and the validators of their seats come with proofs against one finalised header. The list of all bindings is the
//! node's word: a node can leave one out.

use crate::{
    accounts,
    args::Global,
    error::CliError,
    network,
    output::{assurance, assurance_line, table, Output},
    roots::{self, Roots},
};
use phala_protocol::{
    attestation::Assurance,
    ceremony::{CeremonyRecord, Complaint, Fault, SeatRecord},
    chain_state::WorkerRecord,
    ids::to_hex,
    storage, AccountId, WorkerId,
};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a gatekeeper beside its seat.
#[derive(Default)]
struct Known {
    validator: Option<AccountId>,
    record: Option<WorkerRecord>,
}

/// Runs `phala gatekeeper status`.
pub async fn run(global: &Global, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let seen = roots::read(&connected.network).await?;
    let listed: Vec<(AccountId, WorkerId)> = connected.network.chain().entries(&roots::prefix("Seats"), None).await?;
    let mut all: BTreeSet<WorkerId> = listed.iter().map(|(_, gatekeeper)| *gatekeeper).collect();
    all.extend(seen.present.iter().chain(&seen.next).flat_map(|root| root.seats.iter().copied()));
    all.extend(seen.ceremony.iter().flat_map(|record| record.seats.iter().map(|seat| seat.gatekeeper)));
    let keys: Vec<Vec<u8>> = all.iter().flat_map(|id| [roots::validator_key(id), storage::worker_key(id)]).collect();
    let mut known = BTreeMap::new();
    let mut now = 0;
    if !keys.is_empty() {
        let time = storage::TIMESTAMP_NOW.to_vec();
        let keys: Vec<Vec<u8>> = keys.into_iter().chain([time.clone()]).collect();
        let proved = connected.network.read(&keys).await?;
        now = proved.get::<u64>(&time)?.unwrap_or_default() / 1000;
        for id in all {
            let validator = proved.get(&roots::validator_key(&id))?;
            let record = proved.get(&storage::worker_key(&id))?;
            known.insert(id, Known { validator, record });
        }
    }
    let simulated =
        |known: &Known| known.record.as_ref().is_some_and(|record| record.assurance == Assurance::Simulated);
    let insecure = connected.insecure() || known.values().any(simulated);
    let json = shown(&seen, &known, now, insecure);
    output.data(&json, || text(&seen, &known, now, insecure));
    Ok(())
}

fn shown(seen: &Roots, known: &BTreeMap<WorkerId, Known>, now: u64, insecure: bool) -> Value {
    let gatekeepers: Vec<Value> = known
        .iter()
        .map(|(id, known)| {
            json!({
                "identity": id.to_string(),
                "validator": known.validator.as_ref().map(accounts::address),
                "registered": is_registered(known, now),
                "seat": seat_in(seen.present.as_ref().map(|root| &root.seats[..]), id),
                "next_seat": seat_in(seen.next.as_ref().map(|root| &root.seats[..]), id),
            })
        })
        .collect();
    json!({
        "insecure": insecure,
        "assurance": assurance(if insecure { Assurance::Simulated } else { Assurance::Hardware }),
        "height": seen.height,
        "root": seen.present.as_ref().map(roots::json),
        "next_root": seen.next.as_ref().map(roots::json),
        "waiting": seen.waiting.map(|(era, from)| json!({"era": era, "from": from})),
        "ceremony": seen.ceremony.as_ref().map(ceremony),
        "gatekeepers": gatekeepers,
    })
}

fn is_registered(known: &Known, now: u64) -> bool {
    known.record.as_ref().is_some_and(|record| record.valid_until > now)
}

fn seat_in(seats: Option<&[WorkerId]>, id: &WorkerId) -> Option<u32> {
    (1u32..).zip(seats.unwrap_or_default()).find(|(_, seat)| *seat == id).map(|(index, _)| index)
}

/// The complaints of a ceremony, of a root's or of identities, for scripts.
pub fn complaints(all: &[Complaint]) -> Value {
    let complaint = |complaint: &Complaint| {
        json!({
            "accuser": complaint.accuser,
            "dealer": complaint.dealer,
            "delivered": complaint.delivered.is_some(),
            "disputed": complaint.disputed,
            "answered": complaint.answer.is_some(),
        })
    };
    all.iter().map(complaint).collect()
}

/// A ceremony for scripts.
pub fn ceremony(record: &CeremonyRecord) -> Value {
    let seats: Vec<Value> = (1u16..)
        .zip(&record.seats)
        .map(|(index, seat)| {
            json!({
                "seat": index,
                "gatekeeper": seat.gatekeeper.to_string(),
                "takes_part": record.takes_part(index),
                "left_out": seat.left_out.map(fault),
                "committed": seat.package.is_some(),
                "confirmed": seat.confirmed.map(|keys| to_hex(&keys.share_list)),
                "confirmed_beacon": seat.confirmed.map(|keys| to_hex(&keys.beacon)),
                "complained_of": complained_of(&record.complaints, index),
                "rejected": seat.rejected,
            })
        })
        .collect();
    json!({
        "era": record.era,
        "attempt": record.attempt,
        "phase": roots::phase(record.phase),
        "until": record.until,
        "threshold": record.threshold,
        "seats": seats,
        "complaints": complaints(&record.complaints),
    })
}

/// Why a seat takes no part, as scripts read it.
pub const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Absent => "absent",
        Fault::WrongShare => "wrong_share",
    }
}

/// The dealers of whom the seat or holder says that it has no valid shares of them.
pub fn complained_of(complaints: &[Complaint], accuser: u16) -> Vec<u16> {
    complaints.iter().filter(|known| known.accuser == accuser).map(|known| known.dealer).collect()
}

/// What a seat has done, in words.
fn done(record: &CeremonyRecord, index: u16, seat: &SeatRecord) -> String {
    let mut said = Vec::new();
    if let Some(why) = seat.left_out {
        said.push(format!("left out ({})", fault(why)));
    }
    said.push(if seat.package.is_some() { "committed" } else { "has not committed" }.to_owned());
    let missing = complained_of(&record.complaints, index);
    if !missing.is_empty() {
        said.push(format!("complains of {missing:?}"));
    }
    if !seat.rejected.is_empty() {
        said.push(format!("rejects {:?}", seat.rejected));
    }
    if seat.confirmed.is_some() {
        said.push("confirmed".to_owned());
    }
    said.join(", ")
}

fn text(seen: &Roots, known: &BTreeMap<WorkerId, Known>, now: u64, insecure: bool) -> String {
    let mut parts = Vec::new();
    if insecure {
        parts.push(format!("INSECURE: TEEs of this network are simulated\n{}", assurance_line(Assurance::Simulated)));
    }
    let mut lines = vec![match &seen.present {
        Some(root) => format!("root that answers: {}", roots::line(root)),
        None => "root that answers: none; no cluster can have keys yet".to_owned(),
    }];
    if let Some(next) = &seen.next {
        lines.push(format!("root that clusters go over to: {}", roots::line(next)));
    }
    if let Some((era, from)) = seen.waiting {
        lines.push(format!("made, and waiting: the root of era {era}; clusters may go over to it from block {from}"));
    }
    lines.push(match &seen.ceremony {
        Some(record) => format!(
            "ceremony: era {}, attempt {}, phase {} until block {} at the latest; it is block {}",
            record.era,
            record.attempt,
            roots::phase(record.phase),
            record.until,
            seen.height
        ),
        None => "ceremony: none under way".to_owned(),
    });
    parts.push(lines.join("\n"));
    if let Some(record) = &seen.ceremony {
        let rows: Vec<Vec<String>> = (1u16..)
            .zip(&record.seats)
            .map(|(index, seat)| vec![index.to_string(), seat.gatekeeper.to_string(), done(record, index, seat)])
            .collect();
        parts.push(table(&["SEAT", "GATEKEEPER", "IN THE CEREMONY"], &rows));
    }
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = known
        .iter()
        .map(|(id, known)| {
            let seat = seat_in(seen.present.as_ref().map(|root| &root.seats[..]), id);
            vec![
                id.to_string(),
                dash(seat.map(|seat| seat.to_string())),
                is_registered(known, now).to_string(),
                dash(known.validator.as_ref().map(accounts::address)),
            ]
        })
        .collect();
    parts.push(table(&["GATEKEEPER", "SEAT", "REGISTERED", "VALIDATOR"], &rows));
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::roots::tests::root;
    use phala_protocol::ceremony::{Confirmed, Phase};

    fn record() -> CeremonyRecord {
        let mut record = CeremonyRecord::new(3, 1, &[1, 2, 3, 4].map(|byte| WorkerId([byte; 32])));
        record.begin(Phase::Share, 100, 50);
        for seat in &mut record.seats[..3] {
            seat.package = Some([1; 32]);
        }
        record.seats[0].confirmed = Some(Confirmed { share_list: [9; 32], beacon: [8; 32] });
        record.seats[3].left_out = Some(Fault::Absent);
        record.complaints.push(Complaint::new(2, 3));
        record
    }

    fn roots() -> Roots {
        Roots { height: 120, present: Some(root(3, 4)), next: None, waiting: Some((3, 200)), ceremony: Some(record()) }
    }

    #[test]
    fn a_ceremony_shows_who_did_what() {
        let shown = ceremony(&record());
        assert_eq!((&shown["phase"], &shown["until"], &shown["threshold"]), (&json!("share"), &json!(149), &json!(3)));
        let seats = &shown["seats"];
        assert_eq!((&seats[0]["committed"], &seats[0]["takes_part"]), (&json!(true), &json!(true)));
        assert_eq!(seats[0]["confirmed"], to_hex(&[9; 32]));
        assert_eq!(seats[0]["confirmed_beacon"], to_hex(&[8; 32]));
        assert_eq!(seats[1]["confirmed_beacon"], Value::Null);
        assert_eq!((&seats[1]["confirmed"], &seats[1]["complained_of"]), (&Value::Null, &json!([3])));
        assert_eq!((&seats[3]["left_out"], &seats[3]["takes_part"]), (&json!("absent"), &json!(false)));
        assert_eq!(
            shown["complaints"][0],
            json!({"accuser": 2, "dealer": 3, "delivered": false, "disputed": false, "answered": false})
        );
    }

    #[test]
    fn people_are_told_of_roots_ceremony_and_validators() {
        let validator = AccountId([5; 32]);
        let known = BTreeMap::from([(WorkerId([1; 32]), Known { validator: Some(validator), record: None })]);
        let text = text(&roots(), &known, 0, true);
        assert!(text.starts_with("INSECURE"));
        assert!(text.contains("root that answers: era 2, opened by 3 of 4"));
        assert!(text.contains("era 3, attempt 1, phase share until block 149"));
        assert!(text.contains("left out (absent), has not committed"));
        assert!(text.contains("committed, complains of [3]"));
        assert!(text.contains(&accounts::address(&validator)));
        let json = shown(&roots(), &known, 0, true);
        assert_eq!(json["gatekeepers"][0]["seat"], 1);
        assert_eq!(json["waiting"], json!({"era": 3, "from": 200}));
        assert_eq!(json["next_root"], Value::Null);
    }
}
