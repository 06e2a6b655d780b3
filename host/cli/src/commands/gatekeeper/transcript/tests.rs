//! What the command says of a file, and what it exits with.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_client::transcript::{
    testing::{ceremony, identities, BLOCKS, ENDED, ERA, KEYS},
    Proofs, Shown,
};
use phala_protocol::identities::IdentityCeremonyRecord;

fn verify(bytes: &[u8], genesis: &Hash, allow_unproved: bool) -> Result<Value, CliError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    std::fs::write(&path, bytes).unwrap();
    let args = VerifyTranscriptArgs { file: path, genesis: Some(to_hex(genesis)), allow_unproved };
    let global = Global { json: true, network: None, password_file: None, more_workers: Vec::new() };
    run(&global, &args, Output::new(true))?;
    Ok(match from_bytes(bytes)? {
        TranscriptFile::Root(file) => check(genesis, &file)?.json(),
        TranscriptFile::Identities(file) => check(genesis, &file)?.json(),
    })
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
    assert_eq!((&json["ceremony"], json["seats"].as_array().unwrap().len()), (&json!("root"), 4));
    let (list, beacon) = (to_hex(&KEYS.share_list), to_hex(&KEYS.beacon));
    let root = json!({"attempt": 0, "share_list": list, "beacon": beacon, "recorded": true, "block": ENDED});
    assert_eq!(json["root"], root);
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
    bare.proofs = Proofs { anchor: None, finality: Vec::new(), records, made: None };
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
        (altered(|file| file.transcript.statements[0].signature[0] ^= 1), genesis, "not signed by the gatekeeper"),
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
    for none in [&b"{}"[..], &good[..40], b"", b"phala-ceremony-record-3\n"] {
        assert_eq!(verify(none, &genesis, true).unwrap_err().code.as_str(), "invalid");
    }
}

#[test]
fn a_transcript_of_identities_shows_who_dealt_who_holds_them_and_that_the_keys_are_the_former_ones() {
    let file = identities::handed_over().file;
    let json = verify(&file.to_bytes().unwrap(), &file.genesis, false).unwrap();
    assert_eq!(
        (&json["ceremony"], &json["era"], &json["deals"]),
        (&json!("identities"), &json!(identities::ERA), &json!(3))
    );
    assert_eq!((&json["proved"], &json["anchored"]), (&json!(identities::BLOCKS.len()), &json!(true)));
    let (former, taken) = (identities::former(), identities::taken());
    assert_eq!(json["former"], to_hex(&former.hash()));
    let dealer = &json["dealers"][2];
    let gatekeeper = former.holders[2].gatekeeper.to_string();
    assert_eq!(*dealer, json!({"index": 4, "gatekeeper": gatekeeper, "left_out": null}));
    assert_eq!(json["holders"][2]["gatekeeper"], gatekeeper, "it takes part as both");
    assert_eq!(json["attempts"][0]["left_out"], json!([{"holder": 4, "fault": "absent", "reason": "not_confirmed"}]));
    let record = to_hex(&taken.hash());
    let confirmed = &json["attempts"][1]["confirmed"];
    assert_eq!(confirmed[0], json!({"holder": 1, "record": record, "signed": true, "proved": true}));
    assert_eq!(confirmed[1], json!({"holder": 2, "record": record, "signed": false, "proved": true}));
    let made = &json["identities"];
    assert_eq!((&made["attempt"], &made["record"], &made["recorded"]), (&json!(1), &json!(record), &json!(true)));
    assert_eq!(made["shown"]["ed25519"], to_hex(&former.keys.ed25519));
    assert_eq!(made["shown"]["sr25519"], made["former"]["sr25519"]);
    assert_eq!(made["shown"]["holders"].as_array().unwrap().len(), 3);
    let text = check(&file.genesis, &file).unwrap().text();
    for part in [
        "the ceremony of identities of era 4, in which 3 of 3 dealers hand them over, 3 of 4 holders",
        "holder 4 was left out (absent): it confirmed nothing",
        &format!("holder 1 confirmed the record {record} (signed)"),
        &format!("holder 2 confirmed the record {record} (as the chain's record says)"),
        &format!("block {} has it, proved", identities::ENDED),
        &format!("ed25519 {}, as before it", to_hex(&former.keys.ed25519)),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Whoever took no part from the beginning is named too; nothing blames it.
    let mut absent = file.clone();
    for (_, record) in absent.transcript.records.iter_mut().take(3) {
        record.holders[3].left_out = Some(Fault::Absent);
    }
    absent.proofs.records.fill(Shown::NotProved(Gap::NoState));
    let checked = check(&absent.genesis, &absent).unwrap();
    assert_eq!(checked.json()["holders"][3]["left_out"], "absent");
    assert_eq!(checked.json()["attempts"][0]["left_out"], json!([]));
    assert!(checked.text().contains("left out (absent)") && checked.text().contains("takes part"));
    let made = identities::made().file;
    let text = check(&made.genesis, &made).unwrap().text();
    assert!(text.contains("in which they are made") && !text.contains("as before it"), "{text}");
    // Of what was agreed on it says what the chain had in the block that is shown, and not what came of it later.
    let kept = identities::ceremony_with(Some(&former), Some(&former)).file;
    let checked = check(&kept.genesis, &kept).unwrap();
    let (json, text) = (checked.json(), checked.text());
    let made = &json["identities"];
    assert_eq!((&made["recorded"], &made["block"]), (&json!(false), &json!(identities::ENDED)));
    let said = format!("block {} has what it had before, proved: by then nobody had shown it", identities::ENDED);
    assert!(text.contains(&said), "{text}");
}

/// Alters a transcript of identities.
type Edit = fn(&mut ProvedTranscript<IdentityCeremonyRecord>);

#[test]
fn a_transcript_of_identities_that_does_not_hold_or_is_not_proved_has_the_codes_of_any_other() {
    let file = identities::handed_over().file;
    let altered = |edit: Edit| {
        let mut file = file.clone();
        edit(&mut file);
        verify(&file.to_bytes().unwrap(), &file.genesis, false).unwrap_err()
    };
    let cases: [(Edit, &str); 4] = [
        (|file| file.transcript.statements[0].signature[0] ^= 1, "is not signed by the gatekeeper that it names"),
        (|file| file.beside.former = None, "is not the one that the ceremony names"),
        (|file| file.beside.taken.as_mut().unwrap().keys.ed25519[0] ^= 1, "is not what the ceremony led to"),
        (|file| file.beside.taken = None, "the storage proof of block 9 does not hold"),
    ];
    for (edit, said) in cases {
        let error = altered(edit);
        assert_eq!((error.code.as_str(), error.exit_code()), ("transcript", 11), "{}", error.message);
        assert!(error.message.contains(said), "{}", error.message);
    }
    let unproved = altered(|file| file.proofs.records[0] = Shown::NotProved(Gap::NoState));
    assert_eq!((unproved.code.as_str(), unproved.exit_code()), ("unproved", 12));
    assert!(unproved.message.contains("1 of its 7 records"), "{}", unproved.message);
}
