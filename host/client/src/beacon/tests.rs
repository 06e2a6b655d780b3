//! A value over a chain that is made in the test: the good proof, and one broken part at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use phala_crypto::{beacon::BeaconShare, prf::KeyShare, Secret};
use phala_light_client::testing::TestChain;
use phala_protocol::beacon::{BeaconHolder, BeaconInput, BeaconValue};

const ERA: u32 = 2;
const PERIOD: Period = 7;
/// A GRANDPA set of four lets one be absent.
const AUTHORITIES: usize = 4;

/// What the state says before it is put into a chain.
struct Facts {
    record: BeaconRecord,
    made: MadeBeacon,
    latest: (u32, Period),
    /// What of it the proof shows.
    shown: Vec<Vec<u8>>,
}

/// Shares of the key 5, on the line `5 + 2 x`: a key of threshold 2.
fn shares() -> Vec<BeaconShare> {
    let share = |index: u16| {
        let mut scalar = [0; 32];
        scalar[0] = 5 + 2 * index as u8;
        BeaconShare::new(KeyShare::from_bytes(index, &Secret::new(scalar)).unwrap())
    };
    (1..=3).map(share).collect()
}

fn facts(genesis: &Hash) -> Facts {
    let shares = shares();
    let holders = shares
        .iter()
        .map(|share| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() })
        .collect();
    let record = BeaconRecord { era: ERA, threshold: 2, holders };
    let input = BeaconInput { genesis: *genesis, era: ERA, period: PERIOD };
    let partials = vec![shares[0].partial(&input, &[1; 32]), shares[2].partial(&input, &[1; 32])];
    let proof = BeaconValue { era: ERA, period: PERIOD, partials };
    let verified = verify_beacon_record(genesis, &record).unwrap();
    let value = *verify_beacon(&verified, PERIOD, &proof).unwrap().value();
    let made = MadeBeacon { opened: 3, made: 4, value, proof };
    Facts { record, made, latest: (ERA, PERIOD), shown: BeaconProof::keys(ERA, PERIOD) }
}

/// A proof over a chain with a change of authorities, whose last block holds what `edit` leaves of the facts.
fn proof_with(edit: impl FnOnce(&mut Facts)) -> BeaconProof {
    let mut chain = TestChain::new(7, AUTHORITIES, [(storage::DEVELOPMENT.to_vec(), vec![1])]);
    let mut facts = facts(&chain.genesis_hash());
    edit(&mut facts);
    chain.build_blocks(2);
    chain.build_set_change(AUTHORITIES);
    let head = chain.build_block([
        (storage::beacon_record_key(ERA), Some(facts.record.encode())),
        (storage::beacon_value_key(ERA, PERIOD), Some(facts.made.encode())),
        (storage::beacon_latest_key(), Some(facts.latest.encode())),
    ]);
    let keys: Vec<&[u8]> = facts.shown.iter().map(Vec::as_slice).collect();
    BeaconProof {
        genesis: chain.genesis_hash(),
        anchor: chain.anchor(),
        finality: chain.proof(0, head).fragments,
        proof: chain.read_proof(head, &keys),
        era: ERA,
        period: PERIOD,
    }
}

fn verified(proof: &BeaconProof) -> Result<VerifiedValue, BeaconProofError> {
    verify(proof, &proof.genesis, &[1; 32])
}

#[test]
fn a_value_is_shown_from_the_pinned_genesis_on() {
    let proof = proof_with(|_| ());
    assert_eq!(proof.finality.len(), 2, "a change of authorities and the head");
    let shown = verified(&proof).unwrap();
    assert_eq!((shown.era, shown.period, shown.opened, shown.made), (ERA, PERIOD, 3, 4));
    assert_eq!((shown.partials.as_slice(), shown.holders), (&[1, 3][..], 3));
    assert_eq!((shown.block, shown.newest, shown.development), (4, true, Some(true)));
    // Any other threshold of the holders gives the same.
    let other = proof_with(|facts| {
        let input = BeaconInput { genesis: proof.genesis, era: ERA, period: PERIOD };
        facts.made.proof.partials = shares()[1..].iter().map(|share| share.partial(&input, &[2; 32])).collect();
    });
    assert_eq!(verified(&other).unwrap().value, shown.value);
}

#[test]
fn an_older_value_is_said_to_be_one() {
    let proof = proof_with(|facts| facts.latest = (ERA, PERIOD + 1));
    assert!(!verified(&proof).unwrap().newest);
}

#[test]
fn what_the_chains_state_has_wrong_is_named() {
    type Case = (&'static str, fn(&mut Facts));
    let cases: [Case; 7] = [
        ("record", |facts| facts.record.threshold = 1),
        ("record", |facts| facts.record.era += 1),
        ("record", |facts| facts.record.holders.swap(0, 1)),
        ("value", |facts| facts.made.value[0] ^= 1),
        ("value", |facts| facts.made.proof.partials[0].proof[5] ^= 1),
        ("value", |facts| facts.made.proof.period += 1),
        ("value", |facts| facts.made.proof.partials.truncate(1)),
    ];
    for (part, edit) in cases {
        let error = verified(&proof_with(edit)).unwrap_err();
        let named = match error {
            BeaconProofError::Record(_) => "record",
            BeaconProofError::Value(_) => "value",
            _ => "another",
        };
        assert_eq!(named, part, "{error}");
    }
}

#[test]
fn what_a_proof_leaves_out_or_changes_is_not_believed() {
    // Which value is the newest is so short that it stands in a node that the others need.
    for hidden in BeaconProof::keys(ERA, PERIOD).into_iter().take(2) {
        let error = verified(&proof_with(|facts| facts.shown.retain(|key| *key != hidden))).unwrap_err();
        assert!(matches!(error, BeaconProofError::State { block: 4, .. }), "{error}");
    }
    let good = proof_with(|_| ());
    for node in 0..good.proof.len() {
        let mut forged = good.clone();
        forged.proof[node][3] ^= 1;
        assert!(matches!(verified(&forged), Err(BeaconProofError::State { .. })), "node {node}");
    }
    let other = BeaconProof { period: PERIOD + 1, ..good.clone() };
    assert!(matches!(verified(&other), Err(BeaconProofError::State { .. })));
    let mut unsigned = good.clone();
    unsigned.finality[1].justification[60] ^= 1;
    assert!(matches!(verified(&unsigned), Err(BeaconProofError::Finality(_))));
    let mut older = good.clone();
    older.finality.truncate(1);
    assert!(matches!(verified(&older), Err(BeaconProofError::State { block: 3, .. })));
    let mut anchor = good.clone();
    anchor.anchor.header[40] ^= 1;
    assert!(matches!(verified(&anchor), Err(BeaconProofError::Genesis(_))));
    let elsewhere = verify(&good, &[9; 32], &[1; 32]);
    assert!(matches!(elsewhere, Err(BeaconProofError::OtherChain { .. })));
    assert_eq!(ClientError::from(elsewhere.unwrap_err()).code, ErrorCode::Unverified);
}

#[test]
fn proofs_round_trip_through_json_and_nothing_else_is_read() {
    let proof = proof_with(|_| ());
    let json = proof.to_json().unwrap();
    assert_eq!(BeaconProof::from_json(json.as_bytes()), Ok(proof));
    let other = json.replace("phala-beacon/v1", "phala-receipt/v1");
    assert_eq!(BeaconProof::from_json(other.as_bytes()), Err(BeaconProofError::Format("phala-receipt/v1".into())));
    let commands = BeaconProof::from_json(br#"{"format": "\u001b[2J\nhint"}"#).unwrap_err();
    assert_eq!(commands, BeaconProofError::Format("\u{1b}[2J\nhint".into()));
    assert!(!commands.to_string().contains(char::is_control), "{commands}");
    let broken = json.replace("\"genesis\": \"0x", "\"genesis\": \"0x0");
    assert_eq!(BeaconProof::from_json(broken.as_bytes()), Err(BeaconProofError::Field("genesis")));
    let twice = json.replace("\"era\":", "\"era\": 1, \"era\":");
    assert!(matches!(BeaconProof::from_json(twice.as_bytes()), Err(BeaconProofError::Json(_))), "two eras");
    for none in [&b"{}"[..], b"", b"[1]", br#"{"format":1}"#, br#"["phala-beacon/v1"]"#] {
        let error = BeaconProof::from_json(none).unwrap_err();
        assert!(matches!(error, BeaconProofError::Json(_)));
        assert_eq!(ClientError::from(error).code, ErrorCode::Invalid);
    }
}
