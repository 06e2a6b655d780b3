//! The event log of a confidential virtual machine beside its evidence: what each event says, and whether they lead to the registers.
//!
//! Linux serves the log as `/sys/firmware/acpi/tables/data/CCEL`. A log that replays to the registers of *verified* evidence has these
//! digests, in this order for each register, and no others; beside the claims of a quote that nobody verified it shows as little as they do.
//! What is said about a digest is hearsay, unless it is what was hashed: each line says which. Whoever wrote the file controls it.

use super::fields::shown;
use crate::{error::CliError, evidence::quote_of};
use phala_attest::{decode_event_log, decode_quote, verify_event_log, Event, EventLogFault, Evidence};
use serde_json::{json, Value};

/// A log as it is shown.
#[derive(Clone, Debug)]
pub struct EventLog {
    rows: Vec<Row>,
    /// Why its events do not lead to the registers; none if they do.
    fault: Option<EventLogFault>,
}

#[derive(Clone, Debug)]
struct Row {
    register: u8,
    kind: u32,
    digest: [u8; 48],
    data: Vec<u8>,
    measured: bool,
}

impl Row {
    fn of(event: &Event<'_>) -> Self {
        let Event { register, kind, digest, data } = *event;
        Self { register, kind, digest, data: data.to_vec(), measured: event.data_is_measured() }
    }

    fn to_text(&self) -> String {
        // Boot loaders end their text with a zero, which is shown.
        let said = self.data.strip_suffix(&[0u8]).unwrap_or(&self.data);
        let readable = !said.is_empty() && said.iter().all(|byte| (0x20..0x7f).contains(byte));
        let data = match std::str::from_utf8(&self.data) {
            Ok(text) if readable => format!("{text:?}"),
            _ => shown(&self.data),
        };
        let word = if self.measured { "measured" } else { "hearsay " };
        format!("rtmr{}  {:#010x}  {}  {word}  {data}", self.register, self.kind, hex::encode(self.digest))
    }
}

impl EventLog {
    /// A log beside the quote whose registers it is to lead to. What the log says wrong is kept as its fault.
    pub fn of(log: &[u8], evidence: &Evidence) -> Result<Self, CliError> {
        let quote = decode_quote(quote_of(evidence))
            .map_err(|error| CliError::invalid(format!("there is no quote beside the event log: {error}")))?;
        let machine = quote.report.td().ok_or_else(|| {
            CliError::invalid("an enclave has no event log").with_hint("--event-log is for quotes of TDX")
        })?;
        Ok(match decode_event_log(log) {
            Ok(events) => {
                Self { rows: events.iter().map(Row::of).collect(), fault: verify_event_log(log, &machine.rtmr).err() }
            }
            Err(fault) => Self { rows: Vec::new(), fault: Some(fault) },
        })
    }

    /// Why its events do not lead to the registers.
    pub fn fault(&self) -> Option<EventLogFault> {
        self.fault
    }

    /// For scripts: all bytes.
    pub fn to_json(&self) -> Value {
        let events: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "register": row.register,
                    "type": row.kind,
                    "digest": hex::encode(row.digest),
                    "data": hex::encode(&row.data),
                    "data_is_measured": row.measured,
                })
            })
            .collect();
        json!({"replays": self.fault.is_none(), "reason": self.fault.map(|fault| fault.to_string()), "events": events})
    }

    /// For people. `whose` says what is known of the registers.
    pub fn to_text(&self, whose: &str) -> String {
        let mut lines: Vec<String> = self.rows.iter().map(Row::to_text).collect();
        lines.push(match self.fault {
            None => format!("event log: {} events lead to the registers of {whose}", self.rows.len()),
            Some(fault) => format!("event log: does not lead to the registers of {whose}: {fault}"),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::evidence::evidence;
    use sha2::{Digest, Sha384};

    const QUOTE: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4.bin");
    const SGX: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.bin");
    /// What a genuine machine's driver answered, and the log that its Linux served.
    const COS: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4_cos.bin");
    const COS_LOG: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4_cos.event-log");
    /// Where RTMR2 of a TDX quote of version 4 stands: behind the header, the fields before the registers, and two of these.
    const RTMR2: usize = 48 + 328 + 2 * 48;

    fn event(kind: u32, digest: [u8; 48], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        // Register 3 of the specification is RTMR2.
        [&[3, 0, 0, 0][..], &kind.to_le_bytes(), &[1, 0, 0, 0, 0x0c, 0], &digest, &length, data].concat()
    }

    /// A log of two events in RTMR2: a command line, and the hash of something else.
    fn log() -> Vec<u8> {
        let mut body = b"Spec ID Event03\0".to_vec();
        body.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let first = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &length, &body].concat();
        let line = b"quiet init=/phala";
        [first, event(13, Sha384::digest(line).into(), line), event(4, [7; 48], b"\x1b[31m")].concat()
    }

    /// A quote, of a signature that does not hold any more, whose registers are those that the log leads to.
    fn quote() -> Evidence {
        let mut quote = QUOTE.to_vec();
        quote[RTMR2 - 2 * 48..RTMR2 + 2 * 48].fill(0);
        let first: [u8; 48] = Sha384::digest(b"quiet init=/phala").into();
        let digests = [first, [7; 48]];
        let register = digests
            .iter()
            .fold([0; 48], |register: [u8; 48], digest| Sha384::digest([register, *digest].concat()).into());
        quote[RTMR2..RTMR2 + 48].copy_from_slice(&register);
        evidence(&quote).unwrap()
    }

    /// A log that leads to its quote's registers, and one that does not.
    pub fn logs() -> (EventLog, EventLog) {
        (EventLog::of(&log(), &quote()).unwrap(), EventLog::of(&log(), &evidence(QUOTE).unwrap()).unwrap())
    }

    #[test]
    fn a_log_is_shown_with_what_was_hashed_and_what_is_hearsay() {
        let (good, _) = logs();
        let text = good.to_text("this quote");
        assert!(text.contains("measured  \"quiet init=/phala\""), "{text}");
        assert!(text.contains("hearsay   1b5b33316d"), "what is no plain text is shown as bytes: {text}");
        assert!(text.ends_with("event log: 2 events lead to the registers of this quote"), "{text}");
        let json = good.to_json();
        assert_eq!((&json["replays"], &json["reason"]), (&json!(true), &Value::Null));
        assert_eq!(json["events"][0]["data_is_measured"], true);
        assert_eq!(json["events"][1]["digest"], "07".repeat(48));
    }

    #[test]
    fn the_log_of_a_genuine_machine_leads_to_the_registers_of_its_quote() {
        let quote = evidence(COS).unwrap();
        let log = EventLog::of(COS_LOG, &quote).unwrap();
        assert_eq!(log.fault(), None);
        let text = log.to_text("this quote");
        assert!(text.ends_with("event log: 43 events lead to the registers of this quote"), "{text}");
        assert!(text.contains("measured  \"Calling EFI Application from Boot Option\""), "{text}");
        assert!(text.contains(r#"hearsay   "/syslinux/vmlinuz.A\0""#), "{text}");
        // A boot loader hashes a command, and writes beside the hash that it is one.
        let json = log.to_json();
        assert_eq!((&json["replays"], json["events"].as_array().unwrap().len()), (&json!(true), 43));
        let said = hex::encode("kernel_cmdline: /syslinux/vmlinuz.A ");
        let line = json["events"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["data"].as_str().is_some_and(|data| data.starts_with(&said)));
        let line = line.unwrap();
        assert_eq!((&line["register"], &line["data_is_measured"]), (&json!(2), &json!(false)));

        // The same log with that event's digest altered, and beside another machine's quote.
        let digest = hex::decode(line["digest"].as_str().unwrap()).unwrap();
        let at = COS_LOG.windows(digest.len()).position(|window| window == digest).unwrap();
        let mut altered = COS_LOG.to_vec();
        altered[at] ^= 1;
        let altered = EventLog::of(&altered, &quote).unwrap();
        assert_eq!(altered.fault(), Some(EventLogFault::Replay(2)));
        assert!(altered.to_text("this quote").ends_with("events do not replay to rtmr2"));
        let other = EventLog::of(COS_LOG, &evidence(QUOTE).unwrap()).unwrap();
        assert_eq!(other.fault(), Some(EventLogFault::Replay(0)));
    }

    #[test]
    fn a_log_of_other_registers_says_which_and_an_enclave_has_none() {
        let (_, other) = logs();
        assert_eq!(other.fault(), Some(EventLogFault::Replay(0)));
        assert!(other.to_text("this quote").contains("does not lead"));
        let cut = EventLog::of(&log()[..100], &quote()).unwrap();
        assert_eq!(cut.fault(), Some(EventLogFault::TooShort));
        assert_eq!(cut.to_json()["events"], json!([]));
        assert_eq!(EventLog::of(&log(), &evidence(SGX).unwrap()).unwrap_err().code.as_str(), "invalid");
    }
}
