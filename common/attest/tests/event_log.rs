//! The event log of a genuine machine beside its quote. Provenance: `testing/vectors/attest/README.md`.
//!
//! Places in the log are found by a reader of its own, written from the specification and not from the decoder.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use phala_attest::{
    canonical_quote, decode_event_log, decode_quote, verify_collateral, verify_event_log, verify_evidence,
    AcceptedStatuses, Collateral, CollateralKind, EventLogFault, Evidence, List, Policy, PolicyTerms, Refusal,
    TrustAnchor, EVENT_LOG_LIMIT,
};

const LOG: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4_cos.event-log");
const ANSWER: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4_cos.bin");
const COLLATERAL: &str = include_str!("../../../testing/vectors/attest/tdx_v4.collateral.json");
/// A day after the collateral was issued.
const NOW: u64 = 1_750_414_563;
/// Where RTMR0 of a TDX quote of version 4 stands: behind the header and the fields before the registers.
const RTMR0: usize = 48 + 328;

fn quote() -> &'static [u8] {
    canonical_quote(ANSWER).unwrap()
}

fn registers() -> [[u8; 48]; 4] {
    decode_quote(quote()).unwrap().report.td().unwrap().rtmr
}

/// Where an event is in the log, and its register.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    end: usize,
    register: u8,
}

impl Place {
    /// Behind register, type, number of digests and algorithm.
    const DIGEST: usize = 4 + 4 + 4 + 2;

    fn digest(self) -> &'static [u8] {
        &LOG[self.start + Self::DIGEST..][..48]
    }
}

fn number(at: usize) -> usize {
    u32::from_le_bytes(LOG[at..at + 4].try_into().unwrap()) as usize
}

fn places() -> Vec<Place> {
    let mut start = 32 + number(28);
    let mut places = Vec::new();
    while LOG[start..start + 4] != [0xff; 4] {
        let data = start + Place::DIGEST + 48;
        let end = data + 4 + number(data);
        places.push(Place { start, end, register: LOG[start] - 1 });
        start = end;
    }
    places
}

fn refused(log: &[u8]) -> EventLogFault {
    verify_event_log(log, &registers()).map(|_| ()).unwrap_err()
}

#[test]
fn the_log_of_a_genuine_machine_replays_to_the_registers_of_its_quote() {
    let verified = verify_event_log(LOG, &registers()).unwrap();
    let of = |register: u8| verified.events().iter().filter(|event| event.register == register).count();
    assert_eq!([0, 1, 2, 3].map(of), [16, 7, 20, 0]);
    let found: Vec<u8> = verified.events().iter().map(|event| event.register).collect();
    assert_eq!(found, places().iter().map(|place| place.register).collect::<Vec<_>>());
    assert_eq!(registers()[3], [0; 48], "nothing was extended into it");
    // What firmware and boot loader hashed themselves, against what they only describe.
    assert_eq!(verified.events().iter().filter(|event| event.data_is_measured()).count(), 13);
    let line = verified.events().iter().find(|event| event.data.starts_with(b"kernel_cmdline: ")).unwrap();
    assert!(line.register == 2 && !line.data_is_measured(), "{line:?}");
    // The area is as long as a log may be, and the log the same without what is not used of it.
    assert_eq!(LOG.len(), EVENT_LOG_LIMIT);
    let end = places().last().unwrap().end;
    assert_eq!(decode_event_log(&LOG[..end]).unwrap(), verified.events());
}

#[test]
fn each_event_of_a_genuine_log_that_is_altered_left_out_or_repeated_names_its_register() {
    let places = places();
    assert_eq!(places.len(), 43);
    let mut exchanged = 0;
    for (index, place) in places.iter().enumerate() {
        let Place { start, end, register } = *place;
        let mut altered = LOG.to_vec();
        altered[start + Place::DIGEST + index % 48] ^= 1 << (index % 8);
        assert_eq!(refused(&altered), EventLogFault::Replay(register), "{index} altered");
        assert_eq!(
            refused(&[&LOG[..start], &LOG[end..]].concat()),
            EventLogFault::Replay(register),
            "{index} left out"
        );
        let twice = [&LOG[..end], &LOG[start..places[42].end]].concat();
        assert_eq!(refused(&twice), EventLogFault::Replay(register), "{index} repeated");
        // In another register: both differ, and the lower one is named.
        for other in (0..4u8).filter(|other| *other != register) {
            let mut moved = LOG.to_vec();
            moved[start] = other + 1;
            assert_eq!(refused(&moved), EventLogFault::Replay(register.min(other)), "{index} in {other}");
        }
        // Before the one that follows in its register.
        let next = places.iter().skip(index + 1).find(|next| next.register == register);
        if let Some(next) = next.filter(|next| next.digest() != place.digest()) {
            let parts = [&LOG[..start], &LOG[next.start..next.end], &LOG[end..next.start], &LOG[start..end]];
            let order = [&parts.concat()[..], &LOG[next.end..]].concat();
            assert_eq!(refused(&order), EventLogFault::Replay(register), "{index} behind its next");
            exchanged += 1;
        }
    }
    // All but the last of three registers, and two empty lists of keys, one behind the other.
    assert_eq!(exchanged, 43 - 3 - 1);
}

#[test]
fn what_is_said_beside_a_digest_of_a_genuine_log_is_not_proved_by_it() {
    for (index, place) in places().into_iter().enumerate() {
        let mut altered = LOG.to_vec();
        altered[place.end - 1] ^= 1;
        let verified = verify_event_log(&altered, &registers()).unwrap();
        assert!(!verified.events()[index].data_is_measured(), "{index}");
    }
}

#[test]
fn the_quote_beside_the_genuine_log_is_intels_and_refused_for_its_model_alone() {
    let json: serde_json::Value = serde_json::from_str(COLLATERAL).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().as_bytes().to_vec();
    let bytes = |name: &str| hex::decode(json[name].as_str().unwrap()).unwrap();
    let collateral = Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: List::try_from(text("tcb_info")).unwrap(),
        tcb_info_signature: bytes("tcb_info_signature").try_into().unwrap(),
        tcb_info_issuer_chain: List::try_from(text("tcb_info_issuer_chain")).unwrap(),
        qe_identity: List::try_from(text("qe_identity")).unwrap(),
        qe_identity_signature: bytes("qe_identity_signature").try_into().unwrap(),
        qe_identity_issuer_chain: List::try_from(text("qe_identity_issuer_chain")).unwrap(),
        root_ca_crl: List::try_from(bytes("root_ca_crl")).unwrap(),
        pck_crl: List::try_from(bytes("pck_crl")).unwrap(),
        pck_crl_issuer_chain: List::try_from(text("pck_crl_issuer_chain")).unwrap(),
    };
    let collateral = verify_collateral(&collateral, &TrustAnchor::Intel, NOW).unwrap();
    let terms = PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };
    let policy = Policy { anchor: TrustAnchor::Intel, terms };
    let verdict = |quote: &[u8]| {
        let evidence = Evidence::TdxDcap(List::try_from(quote.to_vec()).unwrap());
        verify_evidence(&evidence, &collateral, &policy, NOW).map(|_| ()).unwrap_err()
    };
    // The model is compared behind every signature.
    assert_eq!(verdict(quote()), Refusal::PlatformModel);
    for register in 0..4 {
        let mut altered = quote().to_vec();
        altered[RTMR0 + 48 * register] ^= 1;
        assert_eq!(verdict(&altered), Refusal::QuoteSignature, "rtmr{register}");
    }
}
