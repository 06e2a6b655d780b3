//! `phala brake status`: who is shut out, what the brake may do now, and whose hands are on it; all proved against one finalised header.

use super::{needed, value_key};
use crate::{
    accounts,
    args::Global,
    error::CliError,
    network,
    output::{table, Output},
    suspension,
};
use phala_attest::Bans;
use phala_protocol::{chain_state::RootRecord, ids::BlockNumber, storage, AccountId};
use serde_json::{json, Value};

/// Until when the brake holds since it was pulled first, and until when it then rests.
type Times = (BlockNumber, BlockNumber);
/// The committee's members, and its last block.
type Committee = (Vec<AccountId>, BlockNumber);

/// What the chain has of it.
struct Seen {
    height: BlockNumber,
    bans: Bans,
    times: Option<Times>,
    /// Whether governance lifted a suspension since it was pulled first.
    overruled: bool,
    committee: Option<Committee>,
    root: Option<RootRecord>,
}

/// Runs `phala brake status`.
pub async fn run(global: &Global, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let keys = [
        storage::BANS.to_vec(),
        value_key("Brake"),
        value_key("Overruled"),
        value_key("Committee"),
        storage::root_key(),
    ];
    let proved = connected.network.read(&keys).await?;
    let [bans, times, overruled, committee, root] = &keys;
    let seen = Seen {
        height: proved.height(),
        bans: proved.get(bans)?.unwrap_or_default(),
        times: proved.get(times)?,
        overruled: proved.get(overruled)?.unwrap_or(false),
        committee: proved.get(committee)?,
        root: proved.get(root)?,
    };
    output.data(&shown(&seen), || text(&seen));
    Ok(())
}

impl Seen {
    /// What the brake may do in the next block.
    fn stands(&self) -> (&'static str, Option<BlockNumber>) {
        match self.times {
            Some((until, rested)) if self.height < until && self.overruled => ("overruled", Some(rested)),
            Some((until, _)) if self.height < until => ("holds", Some(until)),
            Some((_, rested)) if self.height < rested => ("rests", Some(rested)),
            _ => ("ready", None),
        }
    }

    /// The committee, while its term lasts.
    fn serving(&self) -> Option<&Committee> {
        self.committee.as_ref().filter(|(_, until)| self.height < *until)
    }
}

fn shown(seen: &Seen) -> Value {
    let bans: Vec<Value> = seen
        .bans
        .iter()
        .map(|ban| {
            json!({
                "subject": suspension::text(&ban.subject),
                "from": ban.from,
                "until": ban.until,
                "in_force": ban.in_force(seen.height),
            })
        })
        .collect();
    let (stands, until) = seen.stands();
    json!({
        "height": seen.height,
        "brake": stands,
        "until": until,
        "bans": bans,
        "seats_needed": seen.root.as_ref().map(needed),
        "seats": seen.root.as_ref().map(|root| root.seats.len()),
        "committee": seen.serving().map(|(members, until)| json!({
            "members": members.iter().map(accounts::address).collect::<Vec<_>>(),
            "until": until,
        })),
    })
}

fn text(seen: &Seen) -> String {
    let brake = match seen.stands() {
        ("holds", Some(until)) => {
            format!("brake: pulled; what it suspends, now or until then, ends after block {until}, and then it rests as long")
        }
        ("overruled", Some(rested)) => {
            format!(
                "brake: overruled by governance; it suspends nothing more before it has rested, until block {rested}"
            )
        }
        ("rests", Some(rested)) => format!("brake: rests until block {rested}; until then only governance can act"),
        _ => "brake: may be pulled".to_owned(),
    };
    let gatekeepers = match &seen.root {
        Some(root) => format!(
            "gatekeepers: {} of the {} seats of the root of era {} suspend by their signatures",
            needed(root),
            root.seats.len(),
            root.era
        ),
        None => "gatekeepers: no root answers, so that none can suspend".to_owned(),
    };
    let committee = match seen.serving() {
        Some((members, until)) => {
            let names: Vec<String> = members.iter().map(accounts::address).collect();
            let majority = members.len() / 2 + 1;
            format!("committee: {majority} of {}, until block {until}: {}", members.len(), names.join(", "))
        }
        None => "committee: none serves".to_owned(),
    };
    let mut parts = vec![format!("block {}\n{brake}\n{gatekeepers}\n{committee}", seen.height)];
    let rows: Vec<Vec<String>> = seen
        .bans
        .iter()
        .filter(|ban| !ban.has_ended(seen.height))
        .map(|ban| {
            let until = ban.until.map_or_else(|| "revoked".to_owned(), |until| until.to_string());
            vec![suspension::text(&ban.subject), ban.from.to_string(), until]
        })
        .collect();
    parts.push(if rows.is_empty() {
        "nobody is shut out".to_owned()
    } else {
        table(&["SHUT OUT", "FROM BLOCK", "UNTIL BLOCK"], &rows)
    });
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::{Ban, Subject, Vendor};
    use phala_protocol::WorkerId;

    fn seen(height: BlockNumber) -> Seen {
        let mut bans = Bans::default();
        let subject = Subject::Vendor(Vendor::IntelTdx);
        bans.put(Ban { subject, from: 10, until: Some(19) }, 10).unwrap();
        bans.put(Ban { subject: Subject::Measurement([1; 32]), from: 5, until: None }, 10).unwrap();
        let root = RootRecord { era: 2, threshold: 3, seats: vec![WorkerId([1; 32]); 4], share_list: [0; 32] };
        let committee = Some((vec![AccountId([1; 32]); 3], 30));
        Seen { height, bans, times: Some((19, 29)), overruled: false, committee, root: Some(root) }
    }

    #[test]
    fn the_brake_holds_rests_and_is_ready_again() {
        let stands = [10, 18, 19, 28, 29].map(|height| seen(height).stands());
        assert_eq!(
            stands,
            [("holds", Some(19)), ("holds", Some(19)), ("rests", Some(29)), ("rests", Some(29)), ("ready", None)]
        );
        assert_eq!(Seen { overruled: true, ..seen(12) }.stands(), ("overruled", Some(29)));
        assert_eq!(Seen { overruled: true, ..seen(29) }.stands(), ("ready", None));
        assert_eq!(Seen { times: None, ..seen(12) }.stands(), ("ready", None));
    }

    #[test]
    fn it_says_who_is_shut_out_and_whose_hands_are_on_the_brake() {
        let (json, text) = (shown(&seen(12)), text(&seen(12)));
        assert_eq!((&json["brake"], &json["until"], &json["seats_needed"]), (&json!("holds"), &json!(19), &json!(2)));
        assert_eq!(json["bans"][0]["subject"], "vendor:intel-tdx");
        assert_eq!(json["committee"]["members"].as_array().unwrap().len(), 3);
        assert!(text.contains("2 of the 4 seats") && text.contains("committee: 2 of 3"), "{text}");
        assert!(text.contains("vendor:intel-tdx") && text.contains("revoked"), "{text}");
        let later = super::text(&Seen { root: None, ..seen(30) });
        assert!(later.contains("may be pulled") && later.contains("none serves") && later.contains("no root answers"));
        assert!(!later.contains("vendor:intel-tdx") && later.contains("revoked"), "{later}");
        let nobody = super::text(&Seen { bans: Bans::default(), ..seen(12) });
        assert!(nobody.contains("nobody is shut out"));
    }
}
