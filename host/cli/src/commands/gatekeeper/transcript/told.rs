//! What is said differently of a ceremony of the root and of one of identities.
//!
//! Guarantees: functions of a transcript that holds. Whoever made the file controls what stands in it. Does not judge.

use super::super::{identities::record_json, status::fault};
use crate::output::table;
use phala_client::transcript::{FileKind, ProvedTranscript, Recorded, Verified};
use phala_crypto::transcript::Part;
use phala_protocol::{
    ceremony::{CeremonyRecord, Confirmed, Fault},
    identities::{IdentityCeremonyRecord, Scheme},
    ids::to_hex,
    Hash, WorkerId,
};
use serde_json::{json, Map, Value};

/// A kind of ceremony that can be told of.
pub trait Told: FileKind {
    /// What is made in it, as scripts read it.
    const MADE: &'static str;
    /// As what a gatekeeper confirms.
    const CONFIRMS: &'static str;

    /// How many have to confirm.
    fn threshold(&self) -> u16;
    /// What it is the ceremony of.
    fn title(&self) -> String;
    /// Who takes part when what is shown begins, for scripts.
    fn parties_json(&self) -> Map<String, Value>;
    /// Who takes part when what is shown begins, for people.
    fn parties_text(&self) -> String;
    /// What was confirmed, for scripts.
    fn keys_json(keys: &Self::Keys) -> Map<String, Value>;
    /// What was confirmed, for people.
    fn keys_text(keys: &Self::Keys) -> String;
    /// As what somebody takes part, and under which index.
    fn party(party: Self::Party) -> (&'static str, u16);
    /// What was made, for scripts.
    fn made_json(file: &ProvedTranscript<Self>, verified: &Verified<Self>) -> Value;
    /// What was made, for people.
    fn made_text(file: &ProvedTranscript<Self>, verified: &Verified<Self>) -> String;
}

/// Whether the chain has what was made, and the block in whose state it was looked for, if that is proved.
fn recorded_json(recorded: Option<Recorded>) -> [(&'static str, Value); 2] {
    let (same, block) = match recorded {
        Some(Recorded::Same(block)) => (Some(true), Some(block)),
        Some(Recorded::Nothing(block)) => (Some(false), Some(block)),
        None => (None, None),
    };
    [("recorded", json!(same)), ("block", json!(block))]
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Told for CeremonyRecord {
    const MADE: &'static str = "root";
    const CONFIRMS: &'static str = "seat";

    fn threshold(&self) -> u16 {
        self.threshold
    }

    fn title(&self) -> String {
        format!("the ceremony of era {}, {} of {} seats", self.era, self.threshold, self.seats.len())
    }

    fn parties_json(&self) -> Map<String, Value> {
        let seats: Vec<String> = self.seats.iter().map(|seat| seat.gatekeeper.to_string()).collect();
        object([("seats", seats.into())])
    }

    fn parties_text(&self) -> String {
        let rows = (1..=u16::MAX).zip(&self.seats);
        let rows = rows.map(|(index, seat)| vec![index.to_string(), seat.gatekeeper.to_string()]);
        table(&["SEAT", "GATEKEEPER"], &rows.collect::<Vec<_>>())
    }

    fn keys_json(keys: &Confirmed) -> Map<String, Value> {
        object([("share_list", to_hex(&keys.share_list).into()), ("beacon", to_hex(&keys.beacon).into())])
    }

    fn keys_text(keys: &Confirmed) -> String {
        format!("{} with the beacon key {}", to_hex(&keys.share_list), to_hex(&keys.beacon))
    }

    fn party(party: u16) -> (&'static str, u16) {
        ("seat", party)
    }

    fn made_json(_: &ProvedTranscript<Self>, verified: &Verified<Self>) -> Value {
        let Some((attempt, keys)) = &verified.outcome.made else { return Value::Null };
        let mut made = Self::keys_json(keys);
        made.extend(object([("attempt", (*attempt).into())]));
        made.extend(object(recorded_json(verified.recorded)));
        Value::Object(made)
    }

    fn made_text(_: &ProvedTranscript<Self>, verified: &Verified<Self>) -> String {
        let Some((attempt, keys)) = &verified.outcome.made else { return "root: none is shown".to_owned() };
        let (list, beacon) = (to_hex(&keys.share_list), to_hex(&keys.beacon));
        let recorded = match verified.recorded {
            Some(Recorded::Same(block)) => format!("the chain's state of block {block} has it, proved"),
            Some(Recorded::Nothing(block)) => {
                format!("the chain's state of block {block} has no root that a ceremony made for this era, proved")
            }
            None => "that the chain recorded it is not shown".to_owned(),
        };
        format!(
            "root: attempt {attempt} made it; all that took part confirmed the share list {list} and the beacon key {beacon}; {recorded}"
        )
    }
}

impl Told for IdentityCeremonyRecord {
    const MADE: &'static str = "identities";
    const CONFIRMS: &'static str = "holder";

    fn threshold(&self) -> u16 {
        self.threshold
    }

    fn title(&self) -> String {
        let how = match self.former {
            None => "in which they are made".to_owned(),
            Some(_) => format!("in which {} of {} dealers hand them over", self.deals, self.dealers.len()),
        };
        let (holders, threshold) = (self.holders.len(), self.threshold);
        format!("the ceremony of identities of era {}, {how}, {threshold} of {holders} holders", self.era)
    }

    fn parties_json(&self) -> Map<String, Value> {
        let part = |index: u16, gatekeeper: &WorkerId, left_out: Option<Fault>| json!({"index": index, "gatekeeper": gatekeeper.to_string(), "left_out": left_out.map(fault)});
        let dealers = self.dealers.iter().map(|dealer| part(dealer.index, &dealer.gatekeeper, dealer.left_out));
        let holders =
            (1..=u16::MAX).zip(&self.holders).map(|(index, holder)| part(index, &holder.gatekeeper, holder.left_out));
        object([
            ("former", json!(self.former.map(|hash| to_hex(&hash)))),
            ("deals", self.deals.into()),
            ("dealers", dealers.collect::<Vec<_>>().into()),
            ("holders", holders.collect::<Vec<_>>().into()),
        ])
    }

    fn parties_text(&self) -> String {
        let row = |index: u16, role: &str, gatekeeper: &WorkerId, left_out: Option<Fault>| {
            let part = left_out.map_or("takes part".to_owned(), |why| format!("left out ({})", fault(why)));
            vec![index.to_string(), role.to_owned(), gatekeeper.to_string(), part]
        };
        let dealers =
            self.dealers.iter().map(|dealer| row(dealer.index, "dealer", &dealer.gatekeeper, dealer.left_out));
        let holders = (1..=u16::MAX)
            .zip(&self.holders)
            .map(|(index, holder)| row(index, "holder", &holder.gatekeeper, holder.left_out));
        table(&["INDEX", "AS", "GATEKEEPER", "AT THE BEGINNING"], &dealers.chain(holders).collect::<Vec<_>>())
    }

    fn keys_json(keys: &Hash) -> Map<String, Value> {
        object([("record", to_hex(keys).into())])
    }

    fn keys_text(keys: &Hash) -> String {
        format!("the record {}", to_hex(keys))
    }

    fn party(party: Part) -> (&'static str, u16) {
        match party {
            Part::Dealer(index) => ("dealer", index),
            Part::Holder(index) => ("holder", index),
        }
    }

    fn made_json(file: &ProvedTranscript<Self>, verified: &Verified<Self>) -> Value {
        let Some((attempt, record)) = &verified.outcome.made else { return Value::Null };
        let mut made = Self::keys_json(record);
        made.extend(object([
            ("attempt", (*attempt).into()),
            ("former", json!(file.beside.former.as_ref().map(record_json))),
            ("shown", json!(file.beside.taken.as_ref().map(record_json))),
        ]));
        made.extend(object(recorded_json(verified.recorded)));
        Value::Object(made)
    }

    fn made_text(file: &ProvedTranscript<Self>, verified: &Verified<Self>) -> String {
        let Some((attempt, record)) = &verified.outcome.made else {
            return "identities: no record is shown that all who took part confirmed".to_owned();
        };
        let recorded = match verified.recorded {
            Some(Recorded::Same(block)) => format!("the chain's state of block {block} has it, proved"),
            Some(Recorded::Nothing(block)) => {
                format!(
                    "the chain's state of block {block} has what it had before, proved: by then nobody had shown it"
                )
            }
            None => "that the chain took it is not shown".to_owned(),
        };
        let mut lines = vec![format!(
            "identities: in attempt {attempt} all that took part confirmed the record {}; {recorded}",
            to_hex(record)
        )];
        if let Some(taken) = &file.beside.taken {
            let kept = if file.beside.former.is_some() { ", as before it" } else { "" };
            lines.push(format!("  ed25519 {}{kept}", to_hex(taken.keys.of(Scheme::Ed25519))));
            lines.push(format!("  sr25519 {}{kept}", to_hex(taken.keys.of(Scheme::Ristretto255))));
            let holders = taken.holders.iter().map(|holder| format!("{} {}", holder.index, holder.gatekeeper));
            let (signs, held) = (taken.threshold, taken.holders.len());
            lines.push(format!("  {signs} of {held} sign: {}", holders.collect::<Vec<_>>().join(", ")));
        }
        lines.join("\n")
    }
}
