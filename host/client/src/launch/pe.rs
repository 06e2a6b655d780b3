//! EFI programs: what the firmware hashes of one, and what of its sections lies in memory.
//!
//! Source: Microsoft, "Windows Authenticode Portable Executable Signature Format", and edk2's `MeasureBootPeCoff.c`, whose order this follows:
//! headers without checksum and without the entry of the certificate table, sections by their place in the file, and what is behind them
//! without the certificates. Little-endian. Programs of 64-bit x86 only. Whoever wrote the file controls it.
//!
//! ```text
//!   60  place of the header                     optional header (PE32+)
//!    .  "PE\0\0"                                     0  0x20b
//!    4  machine: 0x8664                             60  length of all headers
//!    6  number of sections                          64  checksum
//!   20  length of the optional header              108  number of data directories
//!   24  optional header, then 40 bytes a section   144  certificate table: place, length
//! ```

use super::{slice, u16_at, u32_at, Digest, IMAGE_LIMIT};
use sha2::{Digest as _, Sha384};
use std::borrow::Cow;

const X86_64: u16 = 0x8664;
const PE32_PLUS: u16 = 0x20b;
const DIRECTORIES: usize = 112;
/// Where the certificate table stands among the data directories.
const CERTIFICATES: usize = 4;
/// Most sections; genuine images have about 15.
const SECTIONS: usize = 96;

/// Why bytes are no EFI program whose measurement is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeFault {
    /// Longer than [`IMAGE_LIMIT`].
    #[error("it is longer than an EFI program")]
    TooLong,
    /// No PE header.
    #[error("it is no EFI program")]
    NoPe,
    /// Another machine, or another kind of program.
    #[error("it is no program of 64-bit x86")]
    Machine,
    /// Lengths in its headers contradict each other; a firmware would not load it.
    #[error("its headers contradict themselves")]
    Headers,
    /// A section that is not in the file, or with which all take more memory than any program, or more bytes than the file has.
    #[error("its section {0} is not all there, or too large")]
    Section(usize),
    /// More certificates than the file is long.
    #[error("its certificate table is longer than what is behind its sections")]
    Certificates,
}

/// A section of a program.
#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    name: &'a [u8],
    /// Bytes in memory.
    length: usize,
    data: &'a [u8],
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// What is hashed, in order.
    hashed: Vec<&'a [u8]>,
    sections: Vec<Section<'a>>,
}

/// Decodes an EFI program.
pub fn decode_pe(file: &[u8]) -> Result<Program<'_>, PeFault> {
    if file.len() > IMAGE_LIMIT {
        return Err(PeFault::TooLong);
    }
    let header = u32_at(file, 60).filter(|_| file.starts_with(b"MZ")).ok_or(PeFault::NoPe)? as usize;
    if slice(file, header, 4) != Some(&b"PE\0\0"[..]) {
        return Err(PeFault::NoPe);
    }
    // A header that was found is not at the end of what can be addressed.
    let optional = header.saturating_add(24);
    let short = |at: usize| u16_at(file, header.saturating_add(at)).ok_or(PeFault::Headers);
    let word = |at: usize| u32_at(file, optional.saturating_add(at)).ok_or(PeFault::Headers);
    if short(4)? != X86_64 || short(24)? != PE32_PLUS {
        return Err(PeFault::Machine);
    }
    let (count, optional_length) = (usize::from(short(6)?), usize::from(short(20)?));
    let (headers, directories) = (word(60)? as usize, word(108)? as usize);
    let table = optional.saturating_add(optional_length);
    if count > SECTIONS
        || directories > 16
        || optional_length != DIRECTORIES + 8 * directories
        || headers > file.len()
        || table.saturating_add(40 * count) > headers
    {
        return Err(PeFault::Headers);
    }
    let between = |from: usize, to: usize| file.get(from..to).ok_or(PeFault::Headers);
    let mut hashed = vec![between(0, optional + 64)?];
    let certificates = if directories > CERTIFICATES {
        let entry = optional + DIRECTORIES + 8 * CERTIFICATES;
        hashed.push(between(optional + 68, entry)?);
        hashed.push(between(entry + 8, headers)?);
        word(DIRECTORIES + 8 * CERTIFICATES + 4)? as usize
    } else {
        hashed.push(between(optional + 68, headers)?);
        0
    };
    let mut sections = Vec::with_capacity(count);
    let mut places = Vec::with_capacity(count);
    let (mut memory, mut in_file) = (0usize, 0usize);
    for index in 0..count {
        let entry = slice(file, table + 40 * index, 40).ok_or(PeFault::Headers)?;
        let (place, section) = decode_section(file, entry).ok_or(PeFault::Section(index))?;
        memory = memory.saturating_add(section.memory.length);
        in_file = in_file.saturating_add(section.raw.len());
        // Sections that overlap could have one file hashed a hundred times.
        if memory > IMAGE_LIMIT || in_file > file.len() {
            return Err(PeFault::Section(index));
        }
        places.push((place, section.raw));
        sections.push(section.memory);
    }
    // In the file's order; those at the same place stay in the table's.
    places.sort_by_key(|(place, _)| *place);
    let lengths = places.iter().map(|(_, raw)| raw.len());
    let sum = lengths.fold(headers, usize::saturating_add);
    hashed.extend(places.into_iter().map(|(_, raw)| raw));
    // By the sum of the lengths and not by the last section's end: so does the firmware.
    if sum < file.len() {
        let end = file.len().checked_sub(certificates).filter(|end| *end >= sum).ok_or(PeFault::Certificates)?;
        hashed.push(between(sum, end)?);
    }
    Ok(Program { hashed, sections })
}

struct Decoded<'a> {
    memory: Section<'a>,
    raw: &'a [u8],
}

fn decode_section<'a>(file: &'a [u8], entry: &'a [u8]) -> Option<(usize, Decoded<'a>)> {
    let name = entry.get(..8)?;
    let length = u32_at(entry, 8)? as usize;
    let (raw_length, place) = (u32_at(entry, 16)? as usize, u32_at(entry, 20)? as usize);
    let raw = if raw_length == 0 { &[][..] } else { slice(file, place, raw_length)? };
    let data = raw.get(..length).unwrap_or(raw);
    Some((place, Decoded { memory: Section { name, length, data }, raw }))
}

impl<'a> Program<'a> {
    /// The Authenticode hash, which the firmware extends by when it loads the program.
    pub fn authenticode(&self) -> Digest {
        let hash = self.hashed.iter().fold(Sha384::new(), |hash, part| hash.chain_update(part));
        hash.finalize().into()
    }

    /// Bytes that all its sections take in memory: the most that reading one of them allocates.
    pub fn memory(&self) -> usize {
        // Bounded when they were decoded.
        self.sections.iter().fold(0, |sum: usize, section| sum.saturating_add(section.length))
    }

    /// What the first section of a name holds in memory: behind the bytes of the file, zeros up to its length there.
    pub fn section(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let section = self.sections.iter().find(|section| is_named(section.name, name))?;
        if section.data.len() >= section.length {
            return Some(Cow::Borrowed(section.data));
        }
        let mut whole = section.data.to_vec();
        whole.resize(section.length, 0);
        Some(Cow::Owned(whole))
    }
}

/// Whether eight bytes, filled up from a zero on, are a name.
fn is_named(field: &[u8], name: &str) -> bool {
    field.split(|byte| *byte == 0).next() == Some(name.as_bytes())
}
