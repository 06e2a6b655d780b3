//! MRTD, and what of RTMR0 the firmware's file and the size of the memory decide.
//!
//! Sources: Intel, "TDX Virtual Firmware Design Guide" (metadata); "TDX Module Base Architecture Specification", section 11.1 (MRTD); QEMU's
//! `hw/i386/tdvf.c` and `tdvf-hob.c`; edk2's `SecTdxHelper.c`. Little-endian. Whoever wrote the file controls it.
//!
//! ```text
//! at the end of the file, backwards                       at (length of the file - offset)
//!    32  reset vector                                        4  "TDVF"
//!    18  length of the table, GUID 96b582de-...              4  length: 16 + 32 * sections
//!     .  entries: data, 2 length with these 18, 16 GUID      4  version: 1
//!        e47a6535-...: 4 offset of the metadata              4  number of sections, then of each:
//!                                                              4 offset, 4 length in the file, 8 address, 8 length in memory,
//!                                                              4 type, 4 attributes
//! ```
//!
//! MRTD is SHA-384 over, for each page of each section in order, 128 bytes with "MEM.PAGE.ADD" and its address and, where the section is
//! extended (attribute 1), for each 256 bytes of it 128 bytes with "MR.EXTEND" and their address, and then these 256. Linux 6.16 and newer
//! add and extend page by page; hypervisors before it added all pages of a section first.

use super::{array, sha384, slice, u16_at, u32_at, u64_at, Digest};
use sha2::{Digest as _, Sha384};

/// Bytes of the longest firmware.
pub const FIRMWARE_LIMIT: usize = 64 * 1024 * 1024;

const PAGE: u64 = 4_096;
const CHUNK: usize = 256;
/// Bytes of memory that all sections may take.
const MEMORY_LIMIT: u64 = 256 * 1024 * 1024;
const SECTIONS: usize = 64;
const ENTRY: usize = 18;
/// 96b582de-1fb2-45f7-baea-a366c55a082d, as it stands in the file.
const TABLE: [u8; 16] =
    [0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d];
/// e47a6535-984a-4798-865e-4685a7bf8ec2.
const TDX_METADATA: [u8; 16] =
    [0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2];
/// Where QEMU's q35 splits memory: from this size on, what is above 2 GiB lies above 4 GiB.
const SPLIT_FROM: u64 = 0xb000_0000;
const BELOW_4G: u64 = 0x8000_0000;

/// Why a file is no firmware whose measurement is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareFault {
    /// Longer than [`FIRMWARE_LIMIT`].
    #[error("it is longer than a firmware")]
    TooLong,
    /// No table of GUIDs before the reset vector, or one that is broken.
    #[error(
        "it has no table of GUIDs at its end: not OVMF, or only a part of it, such as OVMF_CODE.fd without a table"
    )]
    Table,
    /// No entry for TDX in that table.
    #[error("it is not built for TDX: its table of GUIDs has no entry for TDX metadata")]
    NoMetadata,
    /// The metadata is cut off, of another version, or contradicts itself.
    #[error("its TDX metadata is broken, or not of version 1")]
    Metadata,
    /// A section that QEMU would refuse, or that it would fill from beyond its own bytes.
    #[error("section {0} of its TDX metadata is broken")]
    Section(usize),
    /// A type or attribute whose effect on MRTD is not known here.
    #[error("section {0} of its TDX metadata has a type or attributes whose measurement is not known")]
    Unknown(usize),
    /// More memory than any firmware asks for.
    #[error("the sections of its TDX metadata take more memory than a firmware has")]
    TooLarge,
    /// Not exactly one section for the memory map, or sections that overlap or lie outside the memory.
    #[error("its TDX metadata and this size of memory do not fit together")]
    Memory,
}

/// In which order a hypervisor adds and extends the pages of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is added, then extended: Linux 6.16 and newer.
    Interleaved,
    /// All pages of a section are added, then all are extended: hypervisors from before.
    TwoPass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Code, in the file.
    Boot,
    /// Configuration volume, in the file.
    Configuration,
    /// Where the memory map is handed over.
    HandOff,
    /// Memory that is zero at first.
    Temporary,
}

#[derive(Clone, Debug)]
struct Section<'a> {
    kind: Kind,
    data: &'a [u8],
    address: u64,
    length: u64,
    extended: bool,
}

/// A firmware's sections.
#[derive(Clone, Debug)]
pub struct Firmware<'a> {
    sections: Vec<Section<'a>>,
}

/// Decodes the TDX metadata of a firmware.
pub fn decode_firmware(file: &[u8]) -> Result<Firmware<'_>, FirmwareFault> {
    if file.len() > FIRMWARE_LIMIT {
        return Err(FirmwareFault::TooLong);
    }
    let offset = metadata_offset(file)?;
    let at = usize::try_from(offset).ok().and_then(|offset| file.len().checked_sub(offset));
    let at = at.ok_or(FirmwareFault::Metadata)?;
    let header = |field: usize| u32_at(file, at.saturating_add(field)).ok_or(FirmwareFault::Metadata);
    if slice(file, at, 4) != Some(&b"TDVF"[..]) || header(8)? != 1 {
        return Err(FirmwareFault::Metadata);
    }
    let count = usize::try_from(header(12)?).map_err(|_| FirmwareFault::Metadata)?;
    if !(2..=SECTIONS).contains(&count) || header(4)? as usize != 16 + 32 * count {
        return Err(FirmwareFault::Metadata);
    }
    let mut sections = Vec::with_capacity(count);
    let mut memory = 0u64;
    for index in 0..count {
        let entry = slice(file, at.saturating_add(16 + 32 * index), 32).ok_or(FirmwareFault::Metadata)?;
        let section = decode_section(file, entry, index)?;
        memory = memory.saturating_add(section.length);
        sections.push(section);
    }
    if memory > MEMORY_LIMIT {
        return Err(FirmwareFault::TooLarge);
    }
    Ok(Firmware { sections })
}

/// What the table of GUIDs says of TDX: how far before the file's end its metadata begins.
fn metadata_offset(file: &[u8]) -> Result<u32, FirmwareFault> {
    let end = file.len().checked_sub(32 + ENTRY).ok_or(FirmwareFault::Table)?;
    if array(file, end + 2) != Some(TABLE) {
        return Err(FirmwareFault::Table);
    }
    let length = usize::from(u16_at(file, end).ok_or(FirmwareFault::Table)?);
    let start = (end + ENTRY).checked_sub(length).ok_or(FirmwareFault::Table)?;
    let mut table = file.get(start..end).ok_or(FirmwareFault::Table)?;
    while let Some(tail) = table.len().checked_sub(ENTRY) {
        let length = usize::from(u16_at(table, tail).ok_or(FirmwareFault::Table)?);
        let begin = table.len().checked_sub(length).filter(|begin| *begin <= tail).ok_or(FirmwareFault::Table)?;
        if array(table, tail + 2) == Some(TDX_METADATA) {
            let data = table.get(begin..tail).ok_or(FirmwareFault::Table)?;
            return data.try_into().map(u32::from_le_bytes).map_err(|_| FirmwareFault::Metadata);
        }
        table = table.get(..begin).ok_or(FirmwareFault::Table)?;
    }
    Err(FirmwareFault::NoMetadata)
}

fn decode_section<'a>(file: &'a [u8], entry: &[u8], index: usize) -> Result<Section<'a>, FirmwareFault> {
    let broken = FirmwareFault::Section(index);
    let short = |at: usize| u32_at(entry, at).ok_or(broken);
    let long = |at: usize| u64_at(entry, at).ok_or(broken);
    let (at, in_file, address, length) = (short(0)? as usize, short(4)?, long(8)?, long(16)?);
    let kind = match short(24)? {
        0 => Kind::Boot,
        1 => Kind::Configuration,
        2 => Kind::HandOff,
        3 => Kind::Temporary,
        _ => return Err(FirmwareFault::Unknown(index)),
    };
    let extended = match short(28)? {
        0 => false,
        1 => true,
        _ => return Err(FirmwareFault::Unknown(index)),
    };
    let aligned = address.is_multiple_of(PAGE) && length.is_multiple_of(PAGE);
    if !aligned || length == 0 || address.checked_add(length).is_none() {
        return Err(broken);
    }
    let data = match kind {
        // QEMU copies as much as the memory takes: behind a shorter section it would copy what follows in the file.
        Kind::Boot | Kind::Configuration if u64::from(in_file) == length => {
            slice(file, at, in_file as usize).ok_or(broken)?
        }
        Kind::Boot | Kind::Configuration => return Err(broken),
        Kind::HandOff | Kind::Temporary if in_file != 0 => return Err(broken),
        // What is handed over would be in MRTD: no firmware asks for that.
        Kind::HandOff | Kind::Temporary if extended => return Err(FirmwareFault::Unknown(index)),
        Kind::HandOff | Kind::Temporary => &[],
    };
    Ok(Section { kind, data, address, length, extended })
}

impl Firmware<'_> {
    /// MRTD of a machine that starts from this firmware.
    pub fn mrtd(&self, order: PageOrder) -> Digest {
        let mut hash = Sha384::new();
        for section in &self.sections {
            let pages = (0..section.length).step_by(PAGE as usize);
            let add = |hash: &mut Sha384, page: u64| hash.update(operation(b"MEM.PAGE.ADD", section.address + page));
            let extend = |hash: &mut Sha384, page: u64| {
                let data = section.data.chunks(CHUNK).skip(page as usize / CHUNK).take(PAGE as usize / CHUNK);
                let places = (section.address + page..).step_by(CHUNK);
                for (chunk, place) in data.zip(places).filter(|_| section.extended) {
                    hash.update(operation(b"MR.EXTEND", place));
                    hash.update(chunk);
                }
            };
            match order {
                PageOrder::Interleaved => pages.for_each(|page| {
                    add(&mut hash, page);
                    extend(&mut hash, page);
                }),
                PageOrder::TwoPass => {
                    pages.clone().for_each(|page| add(&mut hash, page));
                    pages.for_each(|page| extend(&mut hash, page));
                }
            }
        }
        hash.finalize().into()
    }

    /// The digest of the configuration volume, which the firmware measures into RTMR0; none if it has no such volume.
    pub fn configuration(&self) -> Option<Digest> {
        let volume = self.sections.iter().find(|section| section.kind == Kind::Configuration)?;
        Some(sha384(volume.data))
    }

    /// The digest of the memory map (TD HOB) that QEMU's q35 with `memory` bytes hands over, which the firmware measures first into RTMR0.
    pub fn memory_map(&self, memory: u64) -> Result<Digest, FirmwareFault> {
        let mut hand_off = self.sections.iter().filter(|section| section.kind == Kind::HandOff);
        let (Some(place), None) = (hand_off.next(), hand_off.next()) else { return Err(FirmwareFault::Memory) };
        let resources = self.resources(memory)?;
        // A hand-off table of 56 bytes, and 48 a resource; what ends the list is not among the bytes that edk2 hashes.
        let length = 56 + 48 * resources.len() as u64;
        let end = place.address.checked_add(length + 8).ok_or(FirmwareFault::Memory)?;
        let mut list = [&[1, 0, 56, 0, 0, 0, 0, 0, 9, 0, 0, 0][..], &[0; 36], &end.to_le_bytes()].concat();
        for Resource { accepted, start, length } in resources {
            // EFI_RESOURCE_SYSTEM_MEMORY or EFI_RESOURCE_MEMORY_UNACCEPTED; present, initialised and tested.
            let kind = if accepted { 0u32 } else { 7 };
            list.extend([3, 0, 48, 0, 0, 0, 0, 0]);
            list.extend([0; 16]);
            list.extend(kind.to_le_bytes());
            list.extend(7u32.to_le_bytes());
            list.extend(start.to_le_bytes());
            list.extend(length.to_le_bytes());
        }
        Ok(sha384(&list))
    }

    /// Memory in order of its address: what was added before the start, and what the machine has yet to accept.
    fn resources(&self, memory: u64) -> Result<Vec<Resource>, FirmwareFault> {
        let low = if memory >= SPLIT_FROM { BELOW_4G } else { memory };
        let mut added: Vec<(u64, u64)> = self
            .sections
            .iter()
            .filter(|section| matches!(section.kind, Kind::HandOff | Kind::Temporary))
            .map(|section| (section.address, section.length))
            .collect();
        added.sort_unstable();
        let mut resources = Vec::new();
        let mut next = 0u64;
        for (start, length) in added {
            let end = start.checked_add(length).filter(|end| *end <= low).ok_or(FirmwareFault::Memory)?;
            let gap = start.checked_sub(next).ok_or(FirmwareFault::Memory)?;
            if gap > 0 {
                resources.push(Resource { accepted: false, start: next, length: gap });
            }
            resources.push(Resource { accepted: true, start, length });
            next = end;
        }
        if next < low {
            resources.push(Resource { accepted: false, start: next, length: low - next });
        }
        if memory > low {
            resources.push(Resource { accepted: false, start: 1 << 32, length: memory - low });
        }
        Ok(resources)
    }
}

#[derive(Clone, Copy, Debug)]
struct Resource {
    accepted: bool,
    start: u64,
    length: u64,
}

/// What the TDX module hashes for one of its functions.
fn operation(name: &[u8], address: u64) -> [u8; 128] {
    let mut block = [0; 128];
    for (to, from) in block.iter_mut().zip(name) {
        *to = *from;
    }
    for (to, from) in block.iter_mut().skip(16).zip(address.to_le_bytes()) {
        *to = from;
    }
    block
}
