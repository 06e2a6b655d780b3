//! The event log of a virtual machine. Holds: what is accepted replays to its registers, and to no others.

use crate::{assert_bounded, measured, Target, Verdict};
use phala_attest::{decode_event_log, verify_event_log, EventLogFault};
use std::sync::LazyLock;

fn event(register: u32, kind: u32, digest: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = [register.to_le_bytes(), kind.to_le_bytes(), 1u32.to_le_bytes()].concat();
    bytes.extend([0x0c, 0]);
    bytes.extend([digest; 48]);
    bytes.extend((data.len() as u32).to_le_bytes());
    [&bytes, data].concat()
}

/// The log of a genuine machine, without what is not used of its area.
fn genuine() -> Vec<u8> {
    let area = include_bytes!("../../../testing/vectors/attest/tdx_v4_cos.event-log");
    let end = area.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    area[..end].to_vec()
}

/// A log as firmware writes it.
pub static EVENT_LOGS: Target = Target {
    name: "event-logs",
    covers: &["common/attest/src/event_log.rs::decode_event_log", "common/attest/src/event_log.rs::verify_event_log"],
    samples: LazyLock::new(|| {
        let mut first = [0u32, 3].map(u32::to_le_bytes).concat();
        first.extend([0; 20]);
        first.extend([33, 0, 0, 0]);
        first.extend(b"Spec ID Event03\0");
        first.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
        let events =
            [event(1, 1, 1, b"variable"), event(4, 13, 2, b""), event(2, 3, 3, b"nothing"), event(1, 4, 4, &[0; 4])];
        let log = [&first[..], &events.concat()].concat();
        vec![first, [&log[..], &[0xff; 40]].concat(), [&log[..], &[0; 40]].concat(), log, genuine()]
    }),
    check: |bytes| {
        let (decoded, peak) = measured(|| decode_event_log(bytes));
        // Twice the room of an event's record, of which the smallest has 66 bytes.
        assert_bounded(peak, bytes.len(), 4);
        let events = match decoded {
            Ok(events) => events,
            Err(fault) => return Verdict::refused(fault),
        };
        let mut rtmr = [[0; 48]; 4];
        for event in &events {
            let register = &mut rtmr[usize::from(event.register)];
            *register = sha384(&[*register, event.digest].concat());
        }
        let verified = verify_event_log(bytes, &rtmr).expect("replays to its registers");
        assert_eq!(verified.events(), events);
        for index in 0..4u8 {
            let mut other = rtmr;
            other[usize::from(index)][47] ^= 1;
            assert_eq!(verify_event_log(bytes, &other), Err(EventLogFault::Replay(index)));
        }
        Verdict::accepted("x".repeat(events.len().min(64)))
    },
    iterations: 3_000,
};

fn sha384(bytes: &[u8]) -> [u8; 48] {
    use sha2::Digest;
    sha2::Sha384::digest(bytes).into()
}
