//! What is submitted, repeated, and taken as done.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_protocol::{
    result::Rekey,
    result::{Boundary, ClusterResult, SignedRekey},
    ClusterId,
};

fn result(block: BlockNumber) -> Outgoing {
    let result = ClusterResult {
        cluster: ClusterId(0),
        epoch: 1,
        boundary: Boundary { block, count: 1, link: [0; 32] },
        prev: [0; 32],
        next: [0; 32],
        replies_root: [0; 32],
        egress_root: [0; 32],
    };
    Outgoing::Result(SignedResult { result, worker: WorkerId([1; 32]), signature: [0; 64] })
}

fn refusal(pallet: &str, error: &str) -> SubmitError {
    SubmitError::Pallet(PalletError { pallet: pallet.into(), error: error.into() })
}

#[test]
fn the_same_bytes_are_submitted_again_only_after_some_blocks() {
    let mut submitted = Submitted::default();
    let items = [result(1), result(2)];
    assert_eq!(submitted.due(&items, 10), items);
    assert!(submitted.due(&items, 10 + REPEAT_BLOCKS - 1).is_empty());
    assert_eq!(submitted.due(&items, 10 + REPEAT_BLOCKS), items);
}

#[test]
fn new_items_are_due_at_once_and_gone_ones_are_forgotten() {
    let mut submitted = Submitted::default();
    submitted.due(&[result(1)], 10);
    assert_eq!(submitted.due(&[result(1), result(2)], 11), [result(2)]);
    assert!(submitted.due(&[], 11).is_empty());
    assert_eq!(submitted.due(&[result(1)], 11), [result(1)]);
    submitted.forget(&[result(1)]);
    assert_eq!(submitted.due(&[result(1)], 11), [result(1)]);
}

#[test]
fn what_the_chain_has_already_counts_as_done() {
    for (pallet, error) in [
        ("Contracts", "AlreadyVoted"),
        ("Egress", "AlreadyTaken"),
        ("Contracts", "NoSuchBoundary"),
        ("Attestation", "CollateralNotNewer"),
        ("Attestation", "WrongEra"),
        ("Contracts", "WrongEra"),
        ("Gatekeepers", "AlreadyStated"),
        ("Gatekeepers", "WrongAttempt"),
        ("Gatekeepers", "WrongEra"),
        ("Gatekeepers", "NoCeremony"),
        ("Gatekeepers", "WrongPhase"),
        ("Gatekeepers", "TooLate"),
        ("Gatekeepers", "TakesNoPart"),
        ("Gatekeepers", "TooManyAnswers"),
        ("Egress", "AlreadySigned"),
        ("Egress", "NotLeft"),
        ("Beacon", "NotAwaited"),
        ("Beacon", "NotDue"),
        ("Beacon", "AlreadyTaken"),
        ("Heartbeats", "NoRound"),
        ("Heartbeats", "OtherRound"),
        ("Heartbeats", "TooLate"),
        ("Heartbeats", "AlreadyAnswered"),
        ("Heartbeats", "NotSampled"),
    ] {
        assert_eq!(judge(&refusal(pallet, error)), Settled::Done, "{error}");
    }
    assert_eq!(judge(&refusal("Contracts", "StillClosing")), Settled::Later);
    assert_eq!(judge(&refusal("Attestation", "NoCollateral")), Settled::Later);
    for error in ["NotAGatekeeper", "BadSignature", "WrongAttachment", "NoSuchComplaint", "NoSuchDelivery", "NotAgreed"]
    {
        assert_eq!(judge(&refusal("Gatekeepers", error)), Settled::Later, "{error}");
    }
    assert_eq!(judge(&refusal("Egress", "NoIdentities")), Settled::Later);
    for error in ["NotAWorker", "UnknownBlock"] {
        assert_eq!(judge(&refusal("Heartbeats", error)), Settled::Later, "{error}");
    }
    let unreachable = ClientError::new(ErrorCode::Unreachable, "gone");
    assert_eq!(judge(&SubmitError::Client(unreachable)), Settled::Failed);
    let unpaid = SubmitError::Rejected { code: ErrorCode::InsufficientFunds, message: String::new() };
    assert_eq!(judge(&unpaid), Settled::Later);
}

#[test]
fn what_the_chain_can_never_take_is_submitted_once() {
    for error in ["WrongRecord", "BadRecord", "NoSuchHolder", "BadPartial"] {
        assert_eq!(judge(&refusal("Beacon", error)), Settled::Never, "{error}");
        assert_eq!(settled("Beacon.submit_partial", refusal("Beacon", error)).unwrap(), Settled::Never);
    }
    // Another record than all holders confirmed, and no signature of the message's contract.
    assert_eq!(judge(&refusal("Gatekeepers", "OtherRecord")), Settled::Never);
    assert_eq!(judge(&refusal("Egress", "BadSignature")), Settled::Never);
    for error in ["OtherChain", "BadSignature"] {
        assert_eq!(judge(&refusal("Heartbeats", error)), Settled::Never, "{error}");
    }
    let mut submitted = Submitted::default();
    assert_eq!(submitted.due(&[result(1)], 10), [result(1)]);
    submitted.rest(name(&result(1)), NEVER);
    // Not when another item of the same turn could not be submitted either.
    submitted.forget(&[result(1), result(2)]);
    assert!(submitted.due(&[result(1)], 10 + 1_000 * REPEAT_BLOCKS).is_empty());
    assert_eq!(submitted.due(&[result(1), result(2)], 11), [result(2)]);
}

#[test]
fn a_root_is_complete_when_all_its_seats_have_signed_in_their_order() {
    let seats = vec![WorkerId([2; 32]), WorkerId([1; 32])];
    let root = RootRecord { era: 0, threshold: 2, seats: seats.clone(), share_list: [0; 32] };
    let roots = Roots::default();
    assert_eq!(roots.sign(&root, seats[1], [1; 64]), None);
    assert_eq!(roots.sign(&root, WorkerId([9; 32]), [9; 64]), None, "no seat of it");
    assert_eq!(roots.sign(&root, seats[0], [2; 64]), Some(vec![[2; 64], [1; 64]]));
    let other = RootRecord { era: 1, ..root };
    assert_eq!(roots.sign(&other, seats[0], [2; 64]), None);
}

#[test]
fn items_are_told_apart_by_their_bytes() {
    let rekey = |epoch| {
        let rekey = Rekey { cluster: ClusterId(0), epoch, boundary: None, old: [0; 32], new: [1; 32] };
        Outgoing::Rekey(SignedRekey { rekey, worker: WorkerId([1; 32]), signature: [0; 64] })
    };
    assert_ne!(name(&rekey(1)), name(&rekey(2)));
    assert_eq!(name(&rekey(1)), name(&rekey(1)));
}
