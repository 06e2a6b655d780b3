//! The event log of a confidential virtual machine: what its firmware, boot loader and kernel say they measured.
//!
//! Source: TCG, "PC Client Platform Firmware Profile", crypto-agile log format; UEFI 2.10, section 38 (confidential computing), by
//! which the register index 1 to 4 is RTMR0 to RTMR3 of TDX; ACPI table CCEL, from which Linux serves the log's area with what is
//! not used of it behind. Little-endian.
//!
//! ```text
//! bytes  first event                          further events
//!     4  register: 0, or 1                    register: 1 to 4
//!     4  type: 3 (EV_NO_ACTION)               type
//!    20  digest of SHA-1 size: zeros        4 number of digests: 1
//!     4  length of what follows             2 algorithm: 0x000c (SHA-384)
//!     .  "Spec ID Event03" and what it says 48 digest
//!        about algorithms                   4 length of the data, then that data
//! ```
//!
//! The profile has the first event of register 0. Firmware of TDX machines numbers its registers from 1 and has it of 1; it extends
//! nothing, so either is read.
//!
//! # What a replay proves
//!
//! Register := SHA-384(register || digest), from zeros, for each event of it: with the registers of *verified* evidence,
//! [`verify_event_log`] proves that these digests, in this order and no others, were extended into each register. It proves
//! nothing about who extended them: firmware is measured by MRTD, what it starts by its events, and each may say what it likes
//! from there on. The data beside a digest is hearsay, except where it is what was hashed: [`Event::data_is_measured`]. The order
//! of events of *different* registers, their types and the events that extend nothing are hearsay too.
//!
//! The bytes come from the attacker. Decoding is bounded and judges nothing.

use alloc::vec::Vec;
use sha2::{Digest, Sha384};

use crate::quote::{Cursor, DecodeError};

/// Bytes of the longest log accepted. Genuine areas have 64 to 256 KiB.
pub const EVENT_LOG_LIMIT: usize = 256 * 1024;
/// Most events.
pub const EVENT_LIMIT: usize = 2_048;

const NO_ACTION: u32 = 3;
const SHA_384: u16 = 0x000c;
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";

/// Why an event log was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventLogFault {
    /// Longer than [`EVENT_LOG_LIMIT`], or more events than [`EVENT_LIMIT`].
    #[error("event log is longer than the limit")]
    TooLong,
    /// Ends inside an event.
    #[error("event log ends inside an event")]
    TooShort,
    /// Does not begin with the event that says how the others read.
    #[error("event log does not begin with a crypto-agile specification event")]
    Specification,
    /// Another algorithm than SHA-384, or further ones beside it.
    #[error("event log has digests of another algorithm than sha-384")]
    Algorithm,
    /// A register that is none of RTMR0 to RTMR3.
    #[error("event {0} is of a register that does not exist")]
    Register(u16),
    /// Something other than the filling of an unused area behind the last event.
    #[error("event log has bytes behind its last event that are no filling")]
    TrailingBytes,
    /// The events of this register do not lead to its value: one is missing, altered, invented or in another place.
    #[error("events do not replay to rtmr{0}")]
    Replay(u8),
}

impl From<DecodeError> for EventLogFault {
    fn from(_: DecodeError) -> Self {
        Self::TooShort
    }
}

/// One event: a claim, until the log it stands in is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Which of RTMR0 to RTMR3.
    pub register: u8,
    /// Its type, from the specification's list.
    pub kind: u32,
    /// What was extended.
    pub digest: [u8; 48],
    /// What is said about it.
    pub data: &'a [u8],
}

impl Event<'_> {
    /// Whether the data is what was hashed: of a verified log, such data is as good as its digest. Of the others it is hearsay.
    pub fn data_is_measured(&self) -> bool {
        <[u8; 48]>::from(Sha384::digest(self.data)) == self.digest
    }
}

/// A log whose digests are those that the registers hold. [`verify_event_log`] is the only constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEventLog<'a>(Vec<Event<'a>>);

impl<'a> VerifiedEventLog<'a> {
    /// Its events in their order, without those that extended nothing.
    pub fn events(&self) -> &[Event<'a>] {
        &self.0
    }
}

/// Decodes a log: events that extended a register, in their order.
pub fn decode_event_log(bytes: &[u8]) -> Result<Vec<Event<'_>>, EventLogFault> {
    if bytes.len() > EVENT_LOG_LIMIT {
        return Err(EventLogFault::TooLong);
    }
    let mut input = Cursor(bytes);
    decode_specification(&mut input)?;
    let mut events = Vec::new();
    for index in 0u16.. {
        if is_filling(input.0) {
            break;
        }
        if usize::from(index) >= EVENT_LIMIT {
            return Err(EventLogFault::TooLong);
        }
        let register = input.u32()?;
        // Filling that is followed by something else.
        if register == u32::MAX {
            return Err(EventLogFault::TrailingBytes);
        }
        let kind = input.u32()?;
        if input.u32()? != 1 || input.u16()? != SHA_384 {
            return Err(EventLogFault::Algorithm);
        }
        let digest = input.array()?;
        let length = input.u32()? as usize;
        let data = input.slice(length)?;
        if kind == NO_ACTION {
            continue;
        }
        let register = match register {
            1 => 0,
            2 => 1,
            3 => 2,
            4 => 3,
            _ => return Err(EventLogFault::Register(index)),
        };
        events.push(Event { register, kind, digest, data });
    }
    Ok(events)
}

/// Checks that a log's events replay to the registers of verified evidence. The only constructor of [`VerifiedEventLog`].
pub fn verify_event_log<'a>(bytes: &'a [u8], rtmr: &[[u8; 48]; 4]) -> Result<VerifiedEventLog<'a>, EventLogFault> {
    let events = decode_event_log(bytes)?;
    for (index, expected) in (0u8..).zip(rtmr) {
        let replayed = events.iter().filter(|event| event.register == index).fold([0; 48], |register, event| {
            Sha384::new().chain_update(register).chain_update(event.digest).finalize().into()
        });
        if replayed != *expected {
            return Err(EventLogFault::Replay(index));
        }
    }
    Ok(VerifiedEventLog(events))
}

/// The first event, of the older format, which says which digests the others have.
fn decode_specification(input: &mut Cursor<'_>) -> Result<(), EventLogFault> {
    let (register, kind, digest) = (input.u32()?, input.u32()?, input.array::<20>()?);
    if register > 1 || kind != NO_ACTION || digest != [0; 20] {
        return Err(EventLogFault::Specification);
    }
    let length = input.u32()? as usize;
    let mut body = Cursor(input.slice(length)?);
    if body.array::<16>()? != *SIGNATURE {
        return Err(EventLogFault::Specification);
    }
    // Class of the platform, version and errata of the specification, size of an integer.
    body.slice(8)?;
    if body.u32()? != 1 || body.u16()? != SHA_384 || body.u16()? != 48 {
        return Err(EventLogFault::Algorithm);
    }
    let [vendor_length] = body.array()?;
    body.slice(usize::from(vendor_length))?;
    if body.0.is_empty() {
        Ok(())
    } else {
        Err(EventLogFault::Specification)
    }
}

/// Whether nothing is left but what an unused area is filled with: all ones, or all zeros.
fn is_filling(rest: &[u8]) -> bool {
    [0, u8::MAX].iter().any(|filling| rest.iter().all(|byte| byte == filling))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn specification() -> Vec<u8> {
        let mut body = SIGNATURE.to_vec();
        body.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
        let mut bytes = vec![0, 0, 0, 0, 3, 0, 0, 0];
        bytes.extend([0; 20]);
        bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        [bytes, body].concat()
    }

    fn event(register: u32, kind: u32, digest: [u8; 48], data: &[u8]) -> Vec<u8> {
        let mut bytes = [register.to_le_bytes(), kind.to_le_bytes(), [1, 0, 0, 0]].concat();
        bytes.extend([0x0c, 0]);
        bytes.extend(digest);
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        [&bytes, data].concat()
    }

    fn digest(data: &[u8]) -> [u8; 48] {
        Sha384::digest(data).into()
    }

    fn extend(register: [u8; 48], digest: [u8; 48]) -> [u8; 48] {
        Sha384::digest([register, digest].concat()).into()
    }

    fn sample() -> (Vec<u8>, [[u8; 48]; 4]) {
        let parts = [
            specification(),
            event(1, 0x8000_0001, digest(b"variable"), b"variable"),
            event(2, 0x8000_0003, digest(b"an image"), b"path of the image"),
            event(1, 4, digest(&[0; 4]), &[0; 4]),
            event(3, 13, digest(b"kernel command line"), b"kernel command line"),
        ];
        let rtmr = [
            extend(extend([0; 48], digest(b"variable")), digest(&[0; 4])),
            extend([0; 48], digest(b"an image")),
            extend([0; 48], digest(b"kernel command line")),
            [0; 48],
        ];
        (parts.concat(), rtmr)
    }

    #[test]
    fn replays_to_the_registers_and_tells_hearsay_from_what_was_hashed() {
        let (log, rtmr) = sample();
        for filling in [vec![], vec![0xff; 300], vec![0; 300]] {
            let bytes = [&log[..], &filling].concat();
            let verified = verify_event_log(&bytes, &rtmr).unwrap();
            let measured: Vec<bool> = verified.events().iter().map(Event::data_is_measured).collect();
            assert_eq!(measured, [true, false, true, true]);
            assert_eq!(verified.events()[3].data, b"kernel command line");
        }
    }

    #[test]
    fn refuses_a_missing_an_altered_an_invented_and_a_moved_event() {
        let (log, rtmr) = sample();
        let refused = |log: &[u8]| verify_event_log(log, &rtmr).map(|_| ()).unwrap_err();
        let last = event(3, 13, digest(b"kernel command line"), b"kernel command line");
        assert_eq!(refused(&log[..log.len() - last.len()]), EventLogFault::Replay(2));
        assert_eq!(refused(&[&log[..], &last].concat()), EventLogFault::Replay(2));
        assert_eq!(refused(&[&log[..], &event(4, 13, [7; 48], b"")].concat()), EventLogFault::Replay(3));
        let mut altered = log.clone();
        let at = log.windows(48).position(|window| window == digest(b"an image")).unwrap();
        altered[at] ^= 1;
        assert_eq!(refused(&altered), EventLogFault::Replay(1));
        let moved = [
            specification(),
            event(1, 4, digest(&[0; 4]), &[0; 4]),
            event(1, 0x8000_0001, digest(b"variable"), b"variable"),
        ];
        assert_eq!(refused(&moved.concat()), EventLogFault::Replay(0));
    }

    #[test]
    fn refuses_other_forms_by_name() {
        let (log, _) = sample();
        let refused = |log: &[u8]| decode_event_log(log).map(|_| ()).unwrap_err();
        assert_eq!(refused(&[]), EventLogFault::TooShort);
        assert_eq!(refused(&vec![0; EVENT_LOG_LIMIT + 1]), EventLogFault::TooLong);
        assert_eq!(refused(&log[..log.len() - 1]), EventLogFault::TooShort);
        assert_eq!(refused(&log[specification().len()..]), EventLogFault::Specification);
        for (register, result) in [(1, Ok(())), (2, Err(EventLogFault::Specification))] {
            let mut first = log.clone();
            first[0] = register;
            assert_eq!(decode_event_log(&first).map(|_| ()), result);
        }
        assert_eq!(refused(&[&log[..], &event(5, 13, [7; 48], b"")].concat()), EventLogFault::Register(4));
        assert_eq!(refused(&[&log[..], &[0xff; 8], &[1]].concat()), EventLogFault::TrailingBytes);
        let mut sha_256 = event(1, 13, [7; 48], b"");
        sha_256[12] = 0x0b;
        assert_eq!(refused(&[&log[..], &sha_256].concat()), EventLogFault::Algorithm);
        let many = event(1, NO_ACTION, [0; 48], b"").repeat(EVENT_LIMIT + 1);
        assert_eq!(refused(&[specification(), many].concat()), EventLogFault::TooLong);
        // What extends nothing is left out.
        let nothing = [&log[..], &event(1, NO_ACTION, [7; 48], b"StartupLocality")].concat();
        assert_eq!(decode_event_log(&nothing), decode_event_log(&log));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>()) {
            let _ = decode_event_log(&bytes);
            let (mut log, rtmr) = sample();
            let at = at.index(log.len());
            log.truncate(at);
            log.extend(&bytes);
            let _ = verify_event_log(&log, &rtmr);
        }
    }
}
