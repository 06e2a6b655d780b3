//! `phala attest image`: what a TDX machine measures that starts from some files, and what of it rests on whose word.
//!
//! Computed from files: MRTD, RTMR1, RTMR2, and that nothing extends RTMR3. RTMR0 also has tables that QEMU makes and variables that the
//! firmware makes for the machine that it finds: it is taken from the event log of a machine that ran, or from the user, and the answer says
//! so. Of such a log, all that can be computed has to be there as it was computed. Whoever wrote the files controls them; none is judged.

use crate::{
    args::{AttestImageArgs, PageOrderArgument},
    error::{io, CliError},
    evidence::read,
    output::Output,
};
use phala_attest::{decode_event_log, measurement, Event, TdReport};
use phala_client::{
    launch::{
        decode_firmware, decode_loader, decode_partition_table, decode_pe, replay, rtmr1, rtmr2, Digest, Disk,
        DiskFault, Firmware, Measured, PageOrder, FIRMWARE_LIMIT, IMAGE_LIMIT,
    },
    ErrorCode,
};
use phala_protocol::ids::to_hex;
use serde_json::{json, Map, Value};
use std::{fmt::Display, fs::File, io::Read, os::unix::fs::FileExt, path::Path};

const NAMES: [&str; 5] = ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"];

/// A disk, or a file that holds one, that is read where it lies.
struct DiskFile(File);

impl Disk for DiskFile {
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, DiskFault> {
        let mut bytes = vec![0; length];
        let failed = |error: std::io::Error| DiskFault::Read { at, reason: error.to_string() };
        self.0.read_exact_at(&mut bytes, at).map_err(failed)?;
        Ok(bytes)
    }
}

/// What a register's value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The files.
    Computed,
    /// The event log of a machine that ran.
    EventLog,
    /// The word of whoever gave the command.
    Given,
}

impl Basis {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Computed => "computed",
            Self::EventLog => "event_log",
            Self::Given => "given",
        }
    }
}

type Register = Option<(Digest, Basis)>;

/// What is known of a launch.
#[derive(Clone, Debug)]
struct Launch {
    /// MRTD, and RTMR0 to RTMR3.
    registers: [Register; 5],
    /// What of RTMR0 is computed: its first events.
    computed: Vec<Measured>,
    rtmr1: Vec<Measured>,
    rtmr2: Vec<Measured>,
    /// Events of RTMR0 in the log, and how many of them are neither computed nor the hash of what stands beside them.
    log: Option<(usize, usize)>,
    td_attributes: [u8; 8],
    xfam: Option<[u8; 8]>,
    mr_config_id: [u8; 48],
}

/// Runs `phala attest image`.
pub fn run(args: &AttestImageArgs, output: Output) -> Result<(), CliError> {
    let bytes = read_up_to(&args.firmware, FIRMWARE_LIMIT)?;
    let firmware = decode_firmware(&bytes).map_err(at(&args.firmware))?;
    let (rtmr1, rtmr2) = start(args)?;
    let log = args.event_log.as_ref().map(|log| read(log)).transpose()?;
    let launch = launch(args, &firmware, rtmr1, rtmr2, log.as_deref())?;
    output.data(&launch.to_json(), || launch.to_text());
    Ok(())
}

/// What a file's fault is called.
fn at<Fault: Display>(path: &Path) -> impl Fn(Fault) -> CliError + '_ {
    move |fault| CliError::invalid(format!("{}: {fault}", path.display()))
}

fn read_up_to(path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes))
        .map_err(io("read", path))?;
    Ok(bytes)
}

/// What is measured into RTMR1 and RTMR2, as far as the files that were named decide it.
fn start(args: &AttestImageArgs) -> Result<(Vec<Measured>, Vec<Measured>), CliError> {
    if let Some(path) = &args.image {
        let disk = DiskFile(File::open(path).map_err(io("read", path))?);
        let table = decode_partition_table(&disk).map_err(at(path))?;
        let loader = decode_loader(&disk, table.system).map_err(at(path))?;
        let image = decode_pe(&loader).map_err(at(path))?;
        return Ok((rtmr1(&table, &image).map_err(at(path))?, rtmr2(&image).map_err(at(path))?));
    }
    if let Some(path) = &args.uki {
        let bytes = read_up_to(path, IMAGE_LIMIT)?;
        let image = decode_pe(&bytes).map_err(at(path))?;
        return Ok((Vec::new(), rtmr2(&image).map_err(at(path))?));
    }
    Ok((Vec::new(), Vec::new()))
}

/// All that is known, once a log that was named agrees with what was computed.
fn launch(
    args: &AttestImageArgs,
    firmware: &Firmware<'_>,
    rtmr1: Vec<Measured>,
    rtmr2: Vec<Measured>,
    log: Option<&[u8]>,
) -> Result<Launch, CliError> {
    let mut computed = Vec::new();
    if let Some(memory) = args.memory {
        let digest = firmware.memory_map(memory).map_err(at(&args.firmware))?;
        computed.push(Measured { what: "memory map".to_owned(), digest });
        let volume = firmware.configuration();
        computed.extend(volume.map(|digest| Measured { what: "configuration volume".to_owned(), digest }));
    }
    let events = log.map(decode_event_log).transpose();
    let events = events.map_err(|fault| CliError::invalid(format!("the event log: {fault}")))?;
    if let Some(events) = &events {
        agree(0, &computed, events, false)?;
        agree(3, &[], events, true)?;
        for (register, measured) in [(1, &rtmr1), (2, &rtmr2)] {
            if !measured.is_empty() {
                agree(register, measured, events, true)?;
            }
        }
    }
    let of_log = |register: u8| {
        let events = events.as_deref()?.iter().filter(move |event| event.register == register);
        Some((replay(events.map(|event| &event.digest)), Basis::EventLog))
    };
    let of_files = |measured: &[Measured]| {
        let digests = measured.iter().map(|event| &event.digest);
        (!measured.is_empty()).then(|| (replay(digests), Basis::Computed))
    };
    let hearsay = events.as_deref().map(|events| {
        let own: Vec<&Event<'_>> = events.iter().filter(|event| event.register == 0).collect();
        let unknown = own.iter().skip(computed.len()).filter(|event| !event.data_is_measured()).count();
        (own.len(), unknown)
    });
    Ok(Launch {
        registers: [
            Some((firmware.mrtd(order(args.page_order)), Basis::Computed)),
            args.rtmr0.map(|value| (value, Basis::Given)).or_else(|| of_log(0)),
            of_files(&rtmr1).or_else(|| of_log(1)),
            of_files(&rtmr2).or_else(|| of_log(2)),
            Some(([0; 48], Basis::Computed)),
        ],
        computed,
        rtmr1,
        rtmr2,
        log: hearsay,
        td_attributes: args.td_attributes,
        xfam: args.xfam,
        mr_config_id: args.mr_config_id.unwrap_or([0; 48]),
    })
}

const fn order(argument: PageOrderArgument) -> PageOrder {
    match argument {
        PageOrderArgument::Interleaved => PageOrder::Interleaved,
        PageOrderArgument::TwoPass => PageOrder::TwoPass,
    }
}

/// Whether a log's events of a register are those that were computed, or begin with them.
fn agree(register: u8, computed: &[Measured], events: &[Event<'_>], to_the_end: bool) -> Result<(), CliError> {
    let logged: Vec<&Event<'_>> = events.iter().filter(|event| event.register == register).collect();
    let differs = |index: usize, why: String| {
        let what = format!("the event log is of another start: event {index} of rtmr{register} {why}");
        let hint =
            "compare firmware, image and memory with the machine's; `phala attest show --event-log` prints its events";
        Err(CliError::new(ErrorCode::Unattested, what).with_hint(hint))
    };
    for (index, expected) in computed.iter().enumerate() {
        let name = &expected.what;
        match logged.get(index) {
            None => return differs(index, format!("is missing, where {name} belongs")),
            Some(event) if event.digest != expected.digest => {
                let (ours, theirs) = (hex::encode(expected.digest), hex::encode(event.digest));
                return differs(index, format!("is {theirs}, where {name} belongs: {ours}"));
            }
            Some(_) => {}
        }
    }
    match logged.get(computed.len()) {
        Some(event) if to_the_end => differs(computed.len(), format!("is one too many: {}", hex::encode(event.digest))),
        _ => Ok(()),
    }
}

impl Launch {
    /// The fields of the launch that are known, by the names of `attest show`.
    fn fields(&self) -> Map<String, Value> {
        let [mrtd, rtmr @ ..] = &self.registers;
        let zero = hex::encode([0u8; 48]);
        let mut fields = Map::new();
        let mut add = |name: &str, value: Option<String>| {
            fields.extend(value.map(|value| (format!("td.{name}"), Value::String(value))));
        };
        add("td_attributes", Some(hex::encode(self.td_attributes)));
        add("xfam", self.xfam.map(hex::encode));
        add("mr_td", mrtd.map(|(value, _)| hex::encode(value)));
        add("mr_config_id", Some(hex::encode(self.mr_config_id)));
        add("mr_owner", Some(zero.clone()));
        add("mr_owner_config", Some(zero));
        for (index, register) in rtmr.iter().enumerate() {
            add(&format!("rtmr{index}"), register.map(|(value, _)| hex::encode(value)));
        }
        fields
    }

    /// The measurement that the allow-list names, by the verifier's own hash, or what is missing for it.
    fn measurement(&self) -> Result<[u8; 32], Vec<&'static str>> {
        let unknown = NAMES.into_iter().zip(&self.registers).filter(|(_, value)| value.is_none()).map(|(name, _)| name);
        let missing: Vec<&'static str> = unknown.chain(self.xfam.is_none().then_some("xfam")).collect();
        let ([Some((mr_td, _)), Some((rtmr0, _)), Some((rtmr1, _)), Some((rtmr2, _)), Some((rtmr3, _))], Some(xfam)) =
            (self.registers, self.xfam)
        else {
            return Err(missing);
        };
        Ok(measurement(&TdReport {
            tee_tcb_svn: [0; 16],
            mr_seam: [0; 48],
            mr_signer_seam: [0; 48],
            seam_attributes: [0; 8],
            td_attributes: self.td_attributes,
            xfam,
            mr_td,
            mr_config_id: self.mr_config_id,
            mr_owner: [0; 48],
            mr_owner_config: [0; 48],
            rtmr: [rtmr0, rtmr1, rtmr2, rtmr3],
            report_data: [0; 64],
        }))
    }

    fn to_json(&self) -> Value {
        let registers = NAMES.into_iter().zip(self.registers).map(|(name, register)| {
            let value = register.map(|(value, _)| hex::encode(value));
            (name.to_owned(), json!({"value": value, "basis": register.map(|(_, basis)| basis.as_str())}))
        });
        let events = |events: &[Measured]| -> Vec<Value> {
            events.iter().map(|event| json!({"what": event.what, "digest": hex::encode(event.digest)})).collect()
        };
        let measurement = self.measurement();
        json!({
            "registers": registers.collect::<Map<_, _>>(),
            "computed_events": {
                "rtmr0": events(&self.computed),
                "rtmr1": events(&self.rtmr1),
                "rtmr2": events(&self.rtmr2),
            },
            "rtmr0_log": self.log.map(|(all, unknown)| json!({"events": all, "on_the_logs_word": unknown})),
            "fields": self.fields(),
            "measurement": measurement.as_ref().ok().map(|value| to_hex(&value[..])),
            "missing": measurement.err().unwrap_or_default(),
        })
    }

    fn to_text(&self) -> String {
        let mut lines: Vec<String> = NAMES
            .into_iter()
            .zip(self.registers)
            .map(|(name, register)| match register {
                Some((value, basis)) => format!("{name:5}  {}  {}", hex::encode(value), basis.as_str()),
                None => format!("{name:5}  not known from these files"),
            })
            .collect();
        lines.extend(
            self.computed.iter().map(|event| format!("of rtmr0: the {} is {}", event.what, hex::encode(event.digest))),
        );
        if let Some((all, unknown)) = self.log {
            lines.push(format!(
                "rtmr0 is the log's: of its {all} events {} are as computed, {unknown} rest on the log's word",
                self.computed.len()
            ));
        }
        lines.push(match self.measurement() {
            Ok(measurement) => format!("measurement  {}", to_hex(&measurement)),
            Err(missing) => format!("measurement  not known: {} missing", missing.join(", ")),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::commands::attest::measurement::of_fields;
    use phala_client::launch::{sha384, testing as files};
    use std::io::Write;

    const GIB: u64 = 1 << 30;

    fn args(memory: Option<u64>) -> AttestImageArgs {
        AttestImageArgs {
            firmware: "OVMF.fd".into(),
            image: None,
            uki: None,
            memory,
            page_order: PageOrderArgument::Interleaved,
            event_log: None,
            rtmr0: None,
            td_attributes: [0, 0, 0, 0x10, 0, 0, 0, 0],
            xfam: Some([0xe7, 2, 6, 0, 0, 0, 0, 0]),
            mr_config_id: None,
        }
    }

    /// A log with some digests for each register.
    fn log(registers: &[(u32, &[Digest])]) -> Vec<u8> {
        let mut body = b"Spec ID Event03\0".to_vec();
        body.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &length, &body].concat();
        for (register, digests) in registers {
            for digest in *digests {
                log.extend([&(register + 1).to_le_bytes()[..], &[1, 0, 0, 0, 1, 0, 0, 0, 0x0c, 0]].concat());
                log.extend([&digest[..], &[0, 0, 0, 0]].concat());
            }
        }
        log
    }

    /// All that the synthetic files come to, and the digests of a machine's log that agrees with them.
    fn computed() -> (Vec<u8>, Vec<Measured>, Vec<Measured>, Vec<Digest>) {
        let firmware = files::firmware((0x81_1000, 0xf000));
        let own = {
            let decoded = decode_firmware(&firmware).unwrap();
            vec![decoded.memory_map(GIB).unwrap(), decoded.configuration().unwrap(), sha384(b"tables of QEMU")]
        };
        let image = files::unified_image();
        let program = decode_pe(&image).unwrap();
        let table = decode_partition_table(&files::disk(&image)).unwrap();
        let events = (rtmr1(&table, &program).unwrap(), rtmr2(&program).unwrap());
        (firmware, events.0, events.1, own)
    }

    fn digests(events: &[Measured]) -> Vec<Digest> {
        events.iter().map(|event| event.digest).collect()
    }

    #[test]
    fn each_register_says_what_it_rests_on_and_no_value_is_made_up() {
        let (firmware, first, second, own) = computed();
        let firmware = decode_firmware(&firmware).unwrap();
        let all = launch(&args(None), &firmware, first.clone(), second.clone(), None).unwrap();
        assert_eq!(all.measurement(), Err(vec!["rtmr0"]));
        let json = all.to_json();
        assert_eq!((&json["registers"]["rtmr0"]["value"], &json["measurement"]), (&Value::Null, &Value::Null));
        assert_eq!(json["registers"]["rtmr1"]["basis"], "computed");
        assert!(all.to_text().contains("rtmr0  not known"), "{}", all.to_text());

        let given = AttestImageArgs { rtmr0: Some([7; 48]), ..args(None) };
        let given = launch(&given, &firmware, first.clone(), second.clone(), None).unwrap();
        assert_eq!(given.to_json()["registers"]["rtmr0"]["basis"], "given");
        assert!(given.measurement().is_ok());
        let bare = launch(&AttestImageArgs { xfam: None, ..args(None) }, &firmware, vec![], vec![], None).unwrap();
        assert_eq!(bare.measurement(), Err(vec!["rtmr0", "rtmr1", "rtmr2", "xfam"]));

        let log = log(&[(0, &own[..]), (1, &digests(&first)[..]), (2, &digests(&second)[..])]);
        let launched = launch(&args(Some(GIB)), &firmware, first.clone(), second.clone(), Some(&log)).unwrap();
        let json = launched.to_json();
        assert_eq!(json["registers"]["rtmr0"]["basis"], "event_log");
        assert_eq!(json["registers"]["rtmr0"]["value"], hex::encode(replay(&own)));
        assert_eq!(json["rtmr0_log"], json!({"events": 3, "on_the_logs_word": 1}));
        // The allow-list's measurement is the one that the verifier makes of these fields.
        assert_eq!(json["measurement"].as_str().unwrap(), of_fields(json.to_string().as_bytes()).unwrap());
        // Without an image, RTMR1 and RTMR2 are the log's too.
        let only = launch(&args(Some(GIB)), &firmware, vec![], vec![], Some(&log)).unwrap();
        assert_eq!(only.to_json()["registers"]["rtmr2"]["basis"], "event_log");
        assert_eq!(only.measurement(), launched.measurement());
    }

    #[test]
    fn a_log_of_another_start_is_refused_with_the_event_that_differs() {
        let (firmware, first, second, own) = computed();
        let firmware = decode_firmware(&firmware).unwrap();
        let refused = |memory: u64, registers: &[(u32, &[Digest])]| {
            let log = log(registers);
            let error = launch(&args(Some(memory)), &firmware, first.clone(), second.clone(), Some(&log)).unwrap_err();
            assert_eq!((error.code.as_str(), error.exit_code()), ("unattested", 7));
            error.message
        };
        let (good1, good2) = (digests(&first), digests(&second));
        let of = |memory: u64, first: &[Digest], second: &[Digest]| {
            refused(memory, &[(0, &own[..]), (1, first), (2, second)])
        };
        assert!(of(2 * GIB, &good1, &good2).contains("event 0 of rtmr0"), "another size of memory");
        let mut other = good1.clone();
        other[3] = [1; 48];
        assert!(of(GIB, &other, &good2).contains("unified kernel image belongs"));
        assert!(of(GIB, &good1[..6], &good2).contains("event 6 of rtmr1 is missing"));
        let longer = [&good2[..], &[[2; 48]]].concat();
        assert!(of(GIB, &good1, &longer).contains("one too many"));
        assert!(refused(GIB, &[(0, &own[..]), (1, &good1[..]), (2, &good2[..]), (3, &[[3; 48]][..])]).contains("rtmr3"));
        assert!(launch(&args(Some(GIB)), &firmware, vec![], vec![], Some(b"no log")).unwrap_err().exit_code() == 2);
    }

    #[test]
    fn files_are_read_where_they_lie_and_faults_name_them() {
        let write = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let image = files::unified_image();
        let (disk, uki, firmware) =
            (write(&files::disk(&image)), write(&image), write(&files::firmware((0x81_1000, 0xf000))));
        let of = |firmware: &Path, image: Option<&Path>, uki: Option<&Path>| AttestImageArgs {
            firmware: firmware.into(),
            image: image.map(Into::into),
            uki: uki.map(Into::into),
            ..args(Some(GIB))
        };
        let whole = of(firmware.path(), Some(disk.path()), None);
        assert!(run(&whole, Output::new(true)).is_ok());
        let (_, second) = start(&whole).unwrap();
        assert_eq!(start(&of(firmware.path(), None, Some(uki.path()))).unwrap(), (vec![], second));
        let error = run(&of(uki.path(), None, None), Output::new(true)).unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("invalid", 2));
        assert!(error.message.contains(&uki.path().display().to_string()), "{}", error.message);
        assert!(run(&of(firmware.path(), Some(uki.path()), None), Output::new(true)).is_err());
        assert!(run(&of(firmware.path(), None, Some(firmware.path())), Output::new(true)).is_err());
        assert_eq!(
            run(&of(Path::new("/no/such"), None, None), Output::new(true)).unwrap_err().code.as_str(),
            "not_found"
        );
    }
}
