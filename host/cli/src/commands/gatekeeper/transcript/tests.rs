//! What the command says of a file, and what it exits with.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_client::transcript::{
    testing::{ceremony, BLOCKS, ENDED, ERA, KEYS},
    Proofs, Shown,
};

fn verify(bytes: &[u8], genesis: &Hash, allow_unproved: bool) -> Result<Value, CliError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    std::fs::write(&path, bytes).unwrap();
    let args = VerifyTranscriptArgs { file: path, genesis: Some(to_hex(genesis)), allow_unproved };
    let global = Global { json: true, network: None, password_file: None, more_workers: Vec::new() };
    run(&global, &args, Output::new(true))?;
    let file = from_bytes(bytes)?;
    Ok(check(genesis, &file)?.json())
}

/// The ceremony with the records at these places left to a node's word.
fn with_gaps(gaps: &[(usize, Gap)]) -> ProvedTranscript {
    let mut file = ceremony().file;
    for (record, gap) in gaps {
        file.proofs.records[*record] = Shown::NotProved(*gap);
    }
    file
}

#[test]
fn a_transcript_shows_who_confirmed_who_was_left_out_and_whose_word_it_is() {
    let file = ceremony().file;
    let json = verify(&file.to_bytes().unwrap(), &file.genesis, false).unwrap();
    assert_eq!((&json["holds"], &json["era"], &json["threshold"]), (&json!(true), &json!(ERA), &json!(3)));
    let (list, beacon) = (to_hex(&KEYS.share_list), to_hex(&KEYS.beacon));
    assert_eq!(json["root"], json!({"attempt": 0, "share_list": list, "beacon": beacon, "recorded": true}));
    let attempt = &json["attempts"][0];
    assert_eq!(attempt["confirmed"][0]["beacon"], beacon);
    let words = |seat: usize| (&attempt["confirmed"][seat]["signed"], &attempt["confirmed"][seat]["proved"]);
    assert_eq!((words(0), words(1)), ((&json!(true), &json!(true)), (&json!(false), &json!(true))));
    assert_eq!(attempt["left_out"], json!([{"seat": 4, "fault": "absent", "reason": "not_committed"}]));
    assert_eq!((&json["anchored"], &json["proved"], &json["records"]), (&json!(true), &json!(5), &json!(5)));
    let text = check(&file.genesis, &file).unwrap().text();
    assert!(text.contains("seat 1 confirmed 0x0909") && text.contains("(signed)"));
    assert!(text.contains("with the beacon key 0x0808") && text.contains("(as the chain's record says)"));
    assert!(text.contains("seat 4 was left out (absent): it did not commit"));
    assert!(text.contains("proved: 5 of 5 records") && text.contains(&format!("block {ENDED} has it, proved")));
    assert!(!text.contains("not proved: block") && !text.contains("word of the node"));
}

#[test]
fn a_record_that_is_not_proved_is_named_with_its_reason_and_has_an_exit_code_of_its_own() {
    let file = with_gaps(&[(0, Gap::NoState), (4, Gap::NoFinality)]);
    let bytes = file.to_bytes().unwrap();
    let error = verify(&bytes, &file.genesis, false).unwrap_err();
    assert_eq!((error.code.as_str(), error.exit_code()), ("unproved", 12));
    assert!(error.message.contains("2 of its 5 records") && error.to_json()["holds"] == true);
    let json = verify(&bytes, &file.genesis, true).unwrap();
    assert_eq!((&json["anchored"], &json["proved"]), (&json!(false), &json!(3)));
    let shown = |place: usize, proved: bool, gap: Option<&str>| {
        let phase = if BLOCKS[place] > 10 { "share" } else { "commit" };
        json!({"block": BLOCKS[place], "attempt": 0, "phase": phase, "proved": proved, "not_proved": gap})
    };
    assert_eq!(json["shown"][0], shown(0, false, Some("no_state")));
    assert_eq!(json["shown"][2], shown(2, true, None));
    assert_eq!(json["shown"][4], shown(4, false, Some("no_finality")));
    // Who confirmed stands in that last record alone.
    assert_eq!(json["attempts"][0]["confirmed"][1]["proved"], false);
    let text = check(&file.genesis, &file).unwrap().text();
    for part in [
        "proved: 3 of 5 records",
        "not proved: block 1: the node had no state of block 1",
        "not proved: block 12: the node had no justification near block 12",
        "(signed)",
        "(as an unproved record says)",
        "word of the node",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut bare = ceremony().file;
    let records = vec![Shown::NotProved(Gap::TooLong); 5];
    bare.proofs = Proofs { anchor: None, finality: Vec::new(), records, root: None };
    let text = check(&bare.genesis, &bare).unwrap().text();
    assert!(text.contains("proved: 0 of 5 records") && text.contains("that the chain recorded it is not shown"));
}

#[test]
fn what_does_not_hold_has_a_code_of_its_own_and_what_is_no_transcript_another() {
    let file = ceremony().file;
    let (good, genesis) = (file.to_bytes().unwrap(), file.genesis);
    let altered = |edit: fn(&mut ProvedTranscript)| {
        let mut file = file.clone();
        edit(&mut file);
        file.to_bytes().unwrap()
    };
    let long = [&good[..], &[0]].concat();
    for (bytes, genesis, said) in [
        (altered(|file| file.transcript.statements[0].signature[0] ^= 1), genesis, "not signed by the seat"),
        (altered(|file| file.transcript.records.clear()), genesis, "no record"),
        (altered(|file| file.proofs.finality[2].justification[60] ^= 1), genesis, "is not finalised by authority set"),
        (altered(|file| file.transcript.records[4].1.until += 1), genesis, "is not of the record that is shown"),
        (altered(|file| drop(file.proofs.records.pop())), genesis, "proofs of 4 records"),
        (good.clone(), [8; 32], "is of the chain"),
        (long, genesis, "malformed"),
    ] {
        // Nothing of it is accepted by whoever accepts records without proofs.
        for allow_unproved in [false, true] {
            let error = verify(&bytes, &genesis, allow_unproved).unwrap_err();
            assert_eq!((error.code.as_str(), error.exit_code()), ("transcript", 11), "{}", error.message);
            assert!(error.message.contains(said), "{}", error.message);
            assert_eq!(error.to_json()["holds"], false);
        }
    }
    for none in [&b"{}"[..], &good[..40], b"", b"phala-ceremony-record-2\n"] {
        assert_eq!(verify(none, &genesis, true).unwrap_err().code.as_str(), "invalid");
    }
}
