//! RTMR1 and RTMR2 of a machine that starts a unified kernel image from a disk.
//!
//! Three programs measure, one after the other. Predicted is what they do in these versions, without Secure Boot's keys and without boot
//! options of the firmware's own:
//!
//! | register | event | by |
//! |----------|-------|----|
//! | RTMR1 | "Calling EFI Application from Boot Option", and a separator | edk2 2025.02, `TdTcg2Dxe.c`; 2022.11 had the separator in RTMR0 |
//! | RTMR1 | the partition table; the image; the kernel in it (both as Authenticode) | edk2, `DxeTpm2MeasureBootLib.c` |
//! | RTMR1 | "Exit Boot Services Invocation", "Exit Boot Services Returned with Success" | edk2, `TdTcg2Dxe.c` |
//! | RTMR2 | of each section that is measured: its name with a zero byte, then its bytes in memory | systemd 257, `stub.c` |
//! | RTMR2 | the command line in UTF-16 with its end; the initial file system with what the stub adds to it | Linux 6.9 to 6.12, `efi-stub-helper.c` |
//!
//! A firmware that tries another boot option first measures that too, and so does one that runs an option ROM of a device: then RTMR1 is
//! not this. systemd's stub lets the firmware load the kernel only without Secure Boot. A stub of another major version, a kernel of
//! another version - none before 6.9 measures on TDX - and sections whose choice depends on the machine are refused. Whoever wrote the image controls it.

use super::{
    gpt::PartitionTable,
    pe::{decode_pe, PeFault, Program},
    Measured,
};
use std::borrow::Cow;

/// Sections that the stub measures, in its order.
const MEASURED: [&str; 10] =
    [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey"];
/// Sections by which the stub chooses, from the machine or its arguments, what it starts.
const CHOOSING: [&str; 4] = [".profile", ".dtbauto", ".hwids", ".efifw"];
const STUB: u32 = 257;
/// From which version on Linux measures where there is no TPM.
const FIRST_KERNEL: (u32, u32) = (6, 9);
/// The last one whose source was read.
const LAST_KERNEL: (u32, u32) = (6, 12);

/// Why an image is none whose start is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootFault {
    /// It lacks a section.
    #[error("it is no unified kernel image that is known here: it has no section {0}")]
    Missing(&'static str),
    /// A section by which the stub chooses.
    #[error("what it starts depends on the machine or on arguments: it has a section {0}")]
    Choice(&'static str),
    /// Another stub.
    #[error("its stub is not systemd's of version 257, the one whose measurements are known here, but: {0}")]
    Stub(String),
    /// A kernel that does not measure, one whose measurements are not known here, or none that says its version.
    #[error("its kernel is not of a version from 6.9, which is the first that measures on TDX, to 6.12, but: {0}")]
    Kernel(String),
    /// The kernel inside is no program.
    #[error("the kernel in it: {0}")]
    KernelProgram(PeFault),
    /// A command line that the stub would not pass on byte for byte.
    #[error("its command line is empty, is not ASCII, or has the kernel leave the initial file system (noinitrd)")]
    CommandLine,
}

/// What is measured into RTMR1.
pub fn rtmr1(table: &PartitionTable, image: &Program<'_>) -> Result<Vec<Measured>, BootFault> {
    let parts = Parts::of(image)?;
    let kernel = decode_pe(&parts.kernel).map_err(BootFault::KernelProgram)?;
    let program = |what: &str, program: &Program<'_>| Measured { what: what.into(), digest: program.authenticode() };
    Ok(vec![
        action("Calling EFI Application from Boot Option"),
        Measured::data("separator", &[0; 4]),
        Measured::data("partition table", &table.measured),
        program("unified kernel image", image),
        program("kernel", &kernel),
        action("Exit Boot Services Invocation"),
        action("Exit Boot Services Returned with Success"),
    ])
}

/// What is measured into RTMR2.
pub fn rtmr2(image: &Program<'_>) -> Result<Vec<Measured>, BootFault> {
    let parts = Parts::of(image)?;
    let mut events = Vec::new();
    for name in MEASURED {
        if let Some(data) = image.section(name) {
            events.push(Measured::data(format!("name of {name}"), &[name.as_bytes(), &[0]].concat()));
            events.push(Measured::data(name, &data));
        }
    }
    let line = parts.command_line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    events.push(Measured::data("command line", &line));
    events.push(Measured::data("initial file system", &initial_file_system(image)));
    Ok(events)
}

fn action(text: &str) -> Measured {
    Measured::data(text, text.as_bytes())
}

/// What of an image decides how it starts.
struct Parts<'a> {
    kernel: Cow<'a, [u8]>,
    command_line: String,
}

impl<'a> Parts<'a> {
    fn of(image: &Program<'a>) -> Result<Self, BootFault> {
        let section = |name: &'static str| image.section(name).ok_or(BootFault::Missing(name));
        let text = |bytes: &[u8]| String::from_utf8_lossy(until_zero(bytes)).trim().to_owned();
        if let Some(name) = CHOOSING.into_iter().find(|name| image.section(name).is_some()) {
            return Err(BootFault::Choice(name));
        }
        let stub = text(&section(".sdmagic")?);
        let version = stub.strip_prefix("#### LoaderInfo: systemd-stub ").map(numbers);
        if version.and_then(|numbers| numbers.first().copied()) != Some(STUB) {
            return Err(BootFault::Stub(stub));
        }
        let kernel = text(&section(".uname")?);
        if !matches!(numbers(&kernel)[..], [major, minor, ..] if (FIRST_KERNEL..=LAST_KERNEL).contains(&(major, minor)))
        {
            return Err(BootFault::Kernel(kernel));
        }
        section(".initrd")?;
        let command_line = command_line(until_zero(&section(".cmdline")?)).ok_or(BootFault::CommandLine)?;
        Ok(Self { kernel: section(".linux")?, command_line })
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '~', '+', ' ']).map_while(|part| part.parse().ok()).collect()
}

/// The stub's `mangle_stub_cmdline`: control characters are spaces, none at either end.
fn command_line(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    let spaced: String = text.chars().map(|letter| if letter.is_ascii_control() { ' ' } else { letter }).collect();
    let line = spaced.trim_matches(' ').to_owned();
    let leaves_initrd = line.split(' ').any(|word| word == "noinitrd");
    (!line.is_empty() && !leaves_initrd).then_some(line)
}

/// The stub's `combine_initrds`: each part filled up to four bytes, if there is more than one.
fn initial_file_system(image: &Program<'_>) -> Vec<u8> {
    let archive = |section: &str, file: &str| image.section(section).map(|data| Cow::<[u8]>::Owned(cpio(file, &data)));
    let parts: Vec<Cow<'_, [u8]>> = [
        image.section(".ucode"),
        image.section(".initrd"),
        archive(".pcrsig", "tpm2-pcr-signature.json"),
        archive(".pcrpkey", "tpm2-pcr-public-key.pem"),
        archive(".osrel", "os-release"),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    .collect();
    match &parts[..] {
        [only] => only.to_vec(),
        _ => parts.iter().fold(Vec::new(), |mut whole, part| {
            whole.extend_from_slice(part);
            fill(&mut whole);
            whole
        }),
    }
}

/// The stub's `pack_cpio_literal`: an archive of the format `newc` with the folder `.extra` and one file in it.
fn cpio(file: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let path = format!(".extra/{file}");
    for (inode, mode, path, data) in [(1, 0o40555, ".extra", &[][..]), (2, 0o100_444, path.as_str(), data)] {
        // An image of at most half a gibibyte has no longer section.
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let name_length = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        archive.extend(b"070701");
        for field in [inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0] {
            archive.extend(format!("{field:08x}").into_bytes());
        }
        archive.extend(path.bytes().chain([0]));
        fill(&mut archive);
        archive.extend_from_slice(data);
        fill(&mut archive);
    }
    archive.extend(b"070701");
    archive.extend(b"0000000000000000000000000000000000000001");
    archive.extend(b"000000000000000000000000000000000000000000000000");
    archive.extend(b"0000000B00000000TRAILER!!!\0\0\0\0");
    archive
}

fn fill(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
