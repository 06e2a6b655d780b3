//! `phala brake pull`: joins parts of a suspension, and submits it.
//!
//! Each part is checked as the chain will check it, against the root and the number of suspensions that it proves to have recorded, so that
//! a part that does not count is named with what is wrong with it before anybody pays for finding out; the others are submitted all the
//! same if there are enough. What a part says of its seat is not
//! believed: the chain's record says which seat a gatekeeper has.

use super::needed;
use crate::{
    accounts,
    args::{BrakePullArgs, Global},
    error::CliError,
    network,
    output::{note, Output},
    suspension::{self, Part},
};
use phala_attest::Subject;
use phala_client::{chain::ChainCall, ClientError, ErrorCode, Until};
use phala_crypto::signature::ed25519;
use phala_protocol::{chain_state::RootRecord, ids::BlockNumber, storage, Hash, WorkerId};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// Files that are read at most: a root has no more seats than this.
const MOST_FILES: usize = 1_000;

/// Runs `phala brake pull`.
pub async fn run(global: &Global, args: &BrakePullArgs, output: Output) -> Result<(), CliError> {
    if args.files.len() > MOST_FILES {
        return Err(CliError::invalid(format!("{} files are more than a root has seats", args.files.len()))
            .with_hint("give one part of each seat"));
    }
    let (mut parts, mut unread) = (Vec::new(), Vec::new());
    for path in &args.files {
        match read(path) {
            Ok(part) => parts.push(part),
            Err(error) => unread.push(error),
        }
    }
    let Some(subject) = commonest(&parts).map(|(_, part)| part.subject) else {
        return Err(with_refused(CliError::invalid("no part was given"), unread));
    };
    let connected = network::connect(global).await?;
    let (root_key, times_key) = (storage::root_key(), storage::suspensions_key(&subject));
    let proved = connected.network.read(&[root_key.clone(), times_key.clone()]).await?;
    let root: Option<RootRecord> = proved.get(&root_key)?;
    let root = root.ok_or_else(|| {
        CliError::new(ErrorCode::NotFound, "the chain has no root yet, and so no seats that could suspend")
            .with_hint("governance or the committee can: `phala brake status`")
    })?;
    let sequence = proved.get(&times_key)?.unwrap_or(0);
    let state = State { genesis: *connected.network.genesis(), height: proved.height(), root, sequence };
    let joined = join(&state, &parts, unread)?;
    for refused in &joined.refused {
        note(&format!("does not count: {refused}"));
    }
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let call = ChainCall::suspend_by_gatekeepers(&joined.subject, joined.expires, &joined.signatures);
    let done = connected.network.chain().submit(&account, &call, Until::Finalised).await.map_err(ClientError::from)?;
    let seats: Vec<u16> = joined.signatures.iter().map(|(seat, _)| *seat).collect();
    let subject = suspension::text(&joined.subject);
    output.data(&json!({"subject": subject, "seats": seats, "block": done.block, "refused": joined.refused}), || {
        format!(
            "suspended {subject} in block {}, by seats {seats:?}; `phala brake status` shows until when",
            done.block
        )
    });
    Ok(())
}

/// A part, and the name that its file was given by.
fn read(path: &Path) -> Result<(String, Part), CliError> {
    Ok((path.display().to_string(), suspension::read(path)?))
}

/// What the chain proves, as far as it decides which parts count.
struct State {
    genesis: Hash,
    height: BlockNumber,
    root: RootRecord,
    /// How often the brake has suspended the subject.
    sequence: u32,
}

/// A call that the chain takes, as of that state.
#[derive(Debug, PartialEq)]
struct Joined {
    subject: Subject,
    expires: BlockNumber,
    /// By seat, ascending, and no more than are needed.
    signatures: Vec<(u16, [u8; 64])>,
    /// What is wrong with parts that do not count.
    refused: Vec<String>,
}

/// A part whose subject and last block most name; of equals, the first.
fn commonest(parts: &[(String, Part)]) -> Option<&(String, Part)> {
    let named = |part: &Part| (part.subject, part.expires);
    let agreeing = |(_, one): &&(String, Part)| parts.iter().filter(|(_, other)| named(other) == named(one)).count();
    parts.iter().rev().max_by_key(agreeing)
}

/// Joins parts; `refused` is what is wrong with others, that could not be read.
fn join(state: &State, parts: &[(String, Part)], mut refused: Vec<CliError>) -> Result<Joined, CliError> {
    let Some((first_file, first)) = commonest(parts) else {
        return Err(with_refused(CliError::invalid("no part was given"), refused));
    };
    let again = format!(
        "have it signed again: phala gatekeeper suspend {} --until {}",
        suspension::text(&first.subject),
        first.expires
    );
    let mut signatures = BTreeMap::new();
    for (file, part) in parts {
        match seat_that_signed(state, file, part, (first_file.as_str(), first), &again) {
            Ok(seat) => {
                signatures.insert(seat, part.signature);
            }
            Err(error) => refused.push(error),
        }
    }
    if first.expires <= state.height {
        return Err(CliError::new(
            ErrorCode::Expired,
            format!("block {} was the last for these parts, and it is block {}", first.expires, state.height),
        )
        .with_hint("have all of them signed again with a later --until"));
    }
    let needed = needed(&state.root);
    if signatures.len() < needed {
        let error = too_few(state, signatures.keys().copied().collect(), needed).with_hint(again);
        return Err(with_refused(error, refused));
    }
    let signatures = signatures.into_iter().take(needed).collect();
    let refused = refused.into_iter().map(|error| error.message).collect();
    Ok(Joined { subject: first.subject, expires: first.expires, signatures, refused })
}

/// The seat whose signature a part is, if the chain counts it beside `first`.
fn seat_that_signed(
    state: &State,
    file: &str,
    part: &Part,
    (first_file, first): (&str, &Part),
    again: &str,
) -> Result<u16, CliError> {
    if part.genesis != state.genesis {
        return Err(CliError::invalid(format!("{file} is of another chain"))
            .with_hint("--network names the chain; a network that was started afresh has a new genesis"));
    }
    if (part.subject, part.expires) != (first.subject, first.expires) {
        let said = |part: &Part| format!("{} until block {}", suspension::text(&part.subject), part.expires);
        let message = format!("{file} says {}, and {first_file} {}", said(part), said(first));
        return Err(CliError::invalid(message).with_hint("all seats have to sign the same subject and last block"));
    }
    let seat = seat_of(state, file, part)?;
    if part.sequence != state.sequence {
        let message = format!(
            "{file}, of seat {seat}, is for the suspension after {} of this subject, and there were {}",
            part.sequence, state.sequence
        );
        return Err(CliError::new(ErrorCode::Stale, message).with_hint(again));
    }
    ed25519::verify(&part.gatekeeper.0, &part.signing_payload(), &part.signature).map_err(|_| {
        CliError::new(ErrorCode::Unverified, format!("the signature in {file} is not of seat {seat}")).with_hint(again)
    })?;
    Ok(seat)
}

/// An error that says of all parts that do not count what is wrong with them; its kind and hint are the first one's.
fn with_refused(error: CliError, refused: Vec<CliError>) -> CliError {
    let said: Vec<String> = refused.iter().map(|refused| refused.message.clone()).collect();
    let Some(first) = refused.into_iter().next() else { return error };
    let message = format!("{}; what does not count: {}", error.message, said.join("; "));
    CliError { message, hint: first.hint.or(error.hint), ..CliError::new(first.code, "") }
}

/// The seat of the gatekeeper that a part names, in the root that answers.
fn seat_of(state: &State, file: &str, part: &Part) -> Result<u16, CliError> {
    let found = (1u16..).zip(&state.root.seats).find(|(_, gatekeeper)| **gatekeeper == part.gatekeeper);
    found.map(|(seat, _)| seat).ok_or_else(|| {
        let message = format!(
            "{file} is of the gatekeeper {}, which has no seat in the root of era {} that answers",
            part.gatekeeper, state.root.era
        );
        CliError::new(ErrorCode::Refused, message)
            .with_hint("`phala gatekeeper status` shows the seats; a root may have changed since it was signed")
    })
}

/// Says whose signatures there are, and who may add one.
fn too_few(state: &State, there: Vec<u16>, needed: usize) -> CliError {
    let missing = (1u16..).zip(&state.root.seats).filter(|(seat, _)| !there.contains(seat));
    let missing: Vec<String> = missing.map(|(seat, gatekeeper)| named(seat, gatekeeper)).collect();
    CliError::invalid(format!(
        "{needed} seats have to sign, and {} did ({there:?}); {} more of these have to: {}",
        there.len(),
        needed.saturating_sub(there.len()),
        missing.join(", ")
    ))
}

fn named(seat: u16, gatekeeper: &WorkerId) -> String {
    format!("seat {seat} ({gatekeeper})")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::Vendor;
    use phala_crypto::{signature::ed25519::IdentityKey, Secret};

    fn join(state: &State, parts: &[(String, Part)]) -> Result<Joined, CliError> {
        super::join(state, parts, Vec::new())
    }

    const SUBJECT: Subject = Subject::Vendor(Vendor::IntelTdx);

    fn key(seat: u8) -> IdentityKey {
        IdentityKey::from_seed(&Secret::new([seat; 32]))
    }

    /// Four seats, of which three open the root, so that two suspend.
    fn state() -> State {
        let seats = [1, 2, 3, 4].map(|seat| WorkerId(key(seat).public())).to_vec();
        State {
            genesis: [7; 32],
            height: 100,
            root: RootRecord { era: 3, threshold: 3, seats, share_list: [0; 32] },
            sequence: 2,
        }
    }

    /// What seat `seat` signs, with `change` before that.
    fn part(seat: u8, change: impl FnOnce(&mut Part)) -> (String, Part) {
        let mut part = Part {
            genesis: [7; 32],
            era: 3,
            seat: seat.into(),
            gatekeeper: WorkerId(key(seat).public()),
            subject: SUBJECT,
            sequence: 2,
            expires: 150,
            signature: [0; 64],
        };
        change(&mut part);
        part.signature = key(seat).sign(&part.signing_payload());
        (format!("file-{seat}"), part)
    }

    fn good(seat: u8) -> (String, Part) {
        part(seat, |_| {})
    }

    #[test]
    fn parts_of_as_many_seats_as_are_needed_become_one_call_in_the_order_of_seats() {
        let joined = join(&state(), &[good(4), good(2), good(4), good(3)]).unwrap();
        assert_eq!((joined.subject, joined.expires), (SUBJECT, 150));
        assert_eq!(joined.signatures, [(2, good(2).1.signature), (3, good(3).1.signature)]);
        // A part lies about its own seat at most to its reader.
        let joined = join(&state(), &[good(1), part(2, |part| part.seat = 9)]).unwrap();
        assert_eq!(joined.signatures.iter().map(|(seat, _)| *seat).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn parts_that_do_not_count_are_named_and_hold_up_no_others() {
        let another = part(1, |part| part.subject = Subject::Measurement([1; 32]));
        let mut forged = good(2);
        forged.1.signature[0] ^= 1;
        let bad = [another, forged, part(2, |part| part.sequence = 1)];
        let unread = || vec![CliError::invalid("file-9 is no part")];
        let joined = super::join(&state(), &[&bad[..], &[good(3), good(4)]].concat(), unread()).unwrap();
        assert_eq!((joined.subject, joined.signatures.len()), (SUBJECT, 2));
        assert_eq!(joined.signatures.iter().map(|(seat, _)| *seat).collect::<Vec<_>>(), [3, 4]);
        let names = ["file-9", "file-1", "file-2", "file-2"];
        assert_eq!(joined.refused.len(), names.len());
        assert!(joined.refused.iter().zip(names).all(|(refused, name)| refused.contains(name)), "{:?}", joined.refused);
        let error = super::join(&state(), &[&bad[..], &[good(3)]].concat(), unread()).unwrap_err();
        assert!(names.iter().all(|name| error.message.contains(name)), "{}", error.message);
        assert!(error.message.contains("2 seats have to sign, and 1 did ([3])"), "{}", error.message);
        assert!(error.hint.is_some());
    }

    #[test]
    fn what_is_wrong_says_whose_part_it_is_and_whose_are_missing() {
        let refused = |parts: &[(String, Part)]| {
            let error = join(&state(), parts).unwrap_err();
            assert!(error.hint.is_some());
            (error.code.as_str(), error.message)
        };
        let (code, message) = refused(&[good(2), good(2)]);
        assert_eq!(code, "invalid");
        for seat in [1, 3, 4] {
            assert!(message.contains(&named(seat, &WorkerId(key(seat as u8).public()))), "{message}");
        }
        assert!(message.contains("2 seats have to sign, and 1 did ([2]); 1 more"), "{message}");
        let with = |change: &dyn Fn(&mut Part)| refused(&[good(1), part(2, change)]);
        let is = |(code, message): (&str, String), expected: &str, says: &str| {
            assert!(code == expected && message.contains("file-2") && message.contains(says), "{code}: {message}");
        };
        is(with(&|part| part.genesis = [8; 32]), "invalid", "another chain");
        is(with(&|part| part.subject = Subject::Measurement([1; 32])), "invalid", "file-1");
        is(with(&|part| part.expires = 151), "invalid", "block 151");
        is(with(&|part| part.sequence = 1), "stale", "seat 2");
        let mut forged = good(2);
        forged.1.signature[0] ^= 1;
        is(refused(&[good(1), forged]), "unverified", "seat 2");
        let mut others = good(2);
        others.1.gatekeeper = WorkerId(key(9).public());
        is(refused(&[good(1), others]), "refused", "no seat in the root of era 3");
        let late = [1, 2].map(|seat| part(seat, |part| part.expires = 100));
        assert_eq!(refused(&late).0, "expired");
        let empty = join(&state(), &[]).unwrap_err();
        assert_eq!(empty.code.as_str(), "invalid");
    }
}
