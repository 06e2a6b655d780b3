//! The partition table of a disk: what the firmware hashes of it, and where the EFI system partition lies.
//!
//! Source: UEFI 2.10, section 5.3, and edk2's `DxeTpm2MeasureBootLib.c`: UEFI_GPT_DATA is the header's 92 bytes, the number of
//! entries that are in use (8 bytes), and these. Blocks of 512 bytes, as QEMU presents a disk. Whoever wrote the disk controls it.

use super::{array, slice, u32_at, u64_at};

const BLOCK: u64 = 512;
const HEADER: usize = 92;
/// Most entries, and bytes of the longest one. Genuine tables have up to 128 of 128 bytes.
const ENTRIES: u32 = 1_024;
const ENTRY: u32 = 4_096;
/// c12a7328-f81f-11d2-ba4b-00a0c93ec93b, as it stands on the disk.
const SYSTEM: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// Why a disk is none whose start is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskFault {
    /// It ends before what it says it holds, or cannot be read.
    #[error("it cannot be read at byte {at}: {reason}")]
    Read {
        /// Where, in bytes.
        at: u64,
        /// Why.
        reason: String,
    },
    /// No partition table, or one that does not match its checksums: the firmware would take another.
    #[error("its partition table is missing or broken")]
    Table,
    /// Not exactly one EFI system partition.
    #[error("it does not have exactly one EFI system partition")]
    SystemPartition,
    /// No FAT32, or a broken one.
    #[error("its EFI system partition holds no FAT32, or a broken one")]
    FileSystem,
    /// `\EFI\BOOT\BOOTX64.EFI` is missing.
    #[error("its EFI system partition has no \\EFI\\BOOT\\BOOTX64.EFI")]
    NoLoader,
    /// Something beside it that systemd's stub would take in too.
    #[error("beside \\EFI\\BOOT\\BOOTX64.EFI lies something that may be measured too: {0}")]
    Beside(&'static str),
    /// Longer than [`super::IMAGE_LIMIT`].
    #[error("\\EFI\\BOOT\\BOOTX64.EFI is longer than an EFI program")]
    TooLong,
}

/// A disk, or a file that holds one. What reads it is the caller's.
pub trait Disk {
    /// Exactly `length` bytes at byte `at`, or [`DiskFault::Read`]. No more than 16 MiB are asked for at once.
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, DiskFault>;
}

impl Disk for Vec<u8> {
    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, DiskFault> {
        let bytes = usize::try_from(at).ok().and_then(|at| slice(self, at, length));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| DiskFault::Read { at, reason: "it ends before".to_owned() })
    }
}

/// A part of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub length: u64,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// What the firmware hashes: UEFI_GPT_DATA.
    pub measured: Vec<u8>,
    /// The EFI system partition.
    pub system: Extent,
}

/// Decodes the primary partition table of a disk.
pub fn decode_partition_table(disk: &impl Disk) -> Result<PartitionTable, DiskFault> {
    let block = disk.read(BLOCK, 512)?;
    let word = |at: usize| u32_at(&block, at).ok_or(DiskFault::Table);
    let long = |at: usize| u64_at(&block, at).ok_or(DiskFault::Table);
    let length = word(12)? as usize;
    let mut summed = block.get(..length).filter(|_| length >= HEADER).ok_or(DiskFault::Table)?.to_vec();
    summed.iter_mut().skip(16).take(4).for_each(|byte| *byte = 0);
    if !block.starts_with(b"EFI PART") || crc32(&summed) != word(16)? || long(24)? != 1 {
        return Err(DiskFault::Table);
    }
    let (count, size) = (word(80)?, word(84)?);
    if count > ENTRIES || !(128..=ENTRY).contains(&size) || u64::from(count) * u64::from(size) > 1024 * 1024 {
        return Err(DiskFault::Table);
    }
    let at = long(72)?.checked_mul(BLOCK).ok_or(DiskFault::Table)?;
    let entries = disk.read(at, count as usize * size as usize)?;
    if crc32(&entries) != word(88)? {
        return Err(DiskFault::Table);
    }
    let used: Vec<&[u8]> =
        entries.chunks_exact(size as usize).filter(|entry| array(entry, 0) != Some([0u8; 16])).collect();
    let mut measured = block.get(..HEADER).ok_or(DiskFault::Table)?.to_vec();
    measured.extend((used.len() as u64).to_le_bytes());
    measured.extend(used.iter().flat_map(|entry| entry.iter().copied()));
    let mut systems = used.iter().filter(|entry| array(entry, 0) == Some(SYSTEM));
    let (Some(system), None) = (systems.next(), systems.next()) else { return Err(DiskFault::SystemPartition) };
    let extent = || {
        let (first, last) = (u64_at(system, 32)?, u64_at(system, 40)?);
        let blocks = last.checked_sub(first)?.checked_add(1)?;
        Some(Extent { at: first.checked_mul(BLOCK)?, length: blocks.checked_mul(BLOCK)? })
    };
    Ok(PartitionTable { measured, system: extent().ok_or(DiskFault::SystemPartition)? })
}

/// CRC-32 of IEEE 802.3, as partition tables have it.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}
