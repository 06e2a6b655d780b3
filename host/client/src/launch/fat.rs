//! The one file of an EFI system partition that the firmware starts when it was told of no other: `\EFI\BOOT\BOOTX64.EFI`.
//!
//! Source: Microsoft, "FAT32 File System Specification"; UEFI 2.10, sections 3.5.1 and 13.3. FAT32 only, and short names only, which all names
//! on the way are. What systemd's stub would take in from beside the file and measure too is refused: folders in `\loader` (addons,
//! credentials), and anything else in `\EFI\BOOT`. Every loop ends: a chain of clusters is as long as its file, and in no
//! circle, or, of a folder, as its limit. Whoever wrote the disk controls it.

use super::{
    gpt::{Disk, DiskFault, Extent},
    slice, u16_at, u32_at, IMAGE_LIMIT,
};
use std::collections::BTreeSet;

/// Bytes of the longest allocation table: enough for 2 GiB in the smallest clusters.
const TABLE_LIMIT: u64 = 16 * 1024 * 1024;
/// Bytes of the longest folder.
const FOLDER_LIMIT: usize = 256 * 1024;
const LONG_NAME: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Eight and three bytes, filled up with spaces.
    name: Vec<u8>,
    is_folder: bool,
    cluster: u32,
    length: u32,
}

/// What a chain of clusters may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// End: in a circle, a small disk would have a file of any length.
    Ends,
    /// Run in a circle, and be read as far as the limit.
    MayCircle,
}

struct Volume<'a, D> {
    disk: &'a D,
    /// Where the second cluster lies: the first that holds data.
    data: u64,
    cluster: usize,
    /// The number after the last cluster's.
    end: u32,
    table: Vec<u8>,
}

/// The file that the firmware starts, from the EFI system partition of a disk.
pub fn decode_loader(disk: &impl Disk, system: Extent) -> Result<Vec<u8>, DiskFault> {
    let (volume, root) = Volume::open(disk, system)?;
    let root = volume.folder(root)?;
    if let Some(loader) = find(&root, b"LOADER     ", true) {
        if volume.folder(loader.cluster)?.iter().any(|entry| entry.is_folder && !is_dots(entry)) {
            return Err(DiskFault::Beside("a folder in \\loader"));
        }
    }
    let efi = find(&root, b"EFI        ", true).ok_or(DiskFault::NoLoader)?;
    let boot = volume.folder(efi.cluster)?;
    let boot = find(&boot, b"BOOT       ", true).ok_or(DiskFault::NoLoader)?;
    let boot = volume.folder(boot.cluster)?;
    let file = find(&boot, b"BOOTX64 EFI", false).ok_or(DiskFault::NoLoader)?;
    if boot.iter().filter(|entry| !is_dots(entry)).count() != 1 {
        return Err(DiskFault::Beside("something else in \\EFI\\BOOT"));
    }
    if file.length as usize > IMAGE_LIMIT {
        return Err(DiskFault::TooLong);
    }
    let mut bytes = volume.content(file.cluster, file.length as usize, Chain::Ends)?;
    bytes.truncate(file.length as usize);
    if bytes.len() == file.length as usize {
        Ok(bytes)
    } else {
        Err(DiskFault::FileSystem)
    }
}

fn find<'a>(entries: &'a [Entry], name: &[u8; 11], is_folder: bool) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == name && entry.is_folder == is_folder)
}

fn is_dots(entry: &Entry) -> bool {
    entry.name == b".          " || entry.name == b"..         "
}

impl<'a, D: Disk> Volume<'a, D> {
    /// The volume and its root folder's first cluster.
    fn open(disk: &'a D, system: Extent) -> Result<(Self, u32), DiskFault> {
        let block = disk.read(system.at, 512)?;
        let byte = |at: usize| block.get(at).copied().map(u64::from).ok_or(DiskFault::FileSystem);
        let short = |at: usize| u16_at(&block, at).map(u64::from).ok_or(DiskFault::FileSystem);
        let word = |at: usize| u32_at(&block, at).ok_or(DiskFault::FileSystem);
        let (sector, per_cluster, reserved, tables) = (short(11)?, byte(13)?, short(14)?, byte(16)?);
        // FAT32 has no root folder of a fixed length, and no short length of its table.
        let is_fat32 = short(17)? == 0 && short(22)? == 0 && slice(&block, 510, 2) == Some(&[0x55, 0xaa][..]);
        let sizes = sector.is_power_of_two() && (512..=4_096).contains(&sector) && per_cluster.is_power_of_two();
        if !is_fat32 || !sizes {
            return Err(DiskFault::FileSystem);
        }
        let (sectors, per_table, root) = (u64::from(word(32)?), u64::from(word(36)?), word(44)?);
        // All four are of at most 32, 16 and 8 bits: nothing here overflows.
        let before = reserved + tables * per_table;
        let clusters = sectors.checked_sub(before).ok_or(DiskFault::FileSystem)? / per_cluster;
        let table_length = per_table * sector;
        if sectors * sector > system.length || table_length > TABLE_LIMIT || (clusters + 2) * 4 > table_length {
            return Err(DiskFault::FileSystem);
        }
        let table_length = usize::try_from(table_length).map_err(|_| DiskFault::FileSystem)?;
        let end = u32::try_from(clusters + 2).map_err(|_| DiskFault::FileSystem)?;
        let cluster = usize::try_from(per_cluster * sector).map_err(|_| DiskFault::FileSystem)?;
        // The partition itself was not checked to lie on the disk: reading does that.
        let place = |sectors: u64| system.at.checked_add(sectors * sector).ok_or(DiskFault::FileSystem);
        let table = disk.read(place(reserved)?, table_length)?;
        Ok((Self { disk, data: place(before)?, cluster, end, table }, root))
    }

    /// Whole clusters of a chain, until there are `length` bytes or the chain ends.
    fn content(&self, first: u32, length: usize, chain: Chain) -> Result<Vec<u8>, DiskFault> {
        let mut bytes = Vec::new();
        let mut seen = BTreeSet::new();
        let mut cluster = first;
        while bytes.len() < length && cluster < 0x0fff_fff8 {
            if chain == Chain::Ends && !seen.insert(cluster) {
                return Err(DiskFault::FileSystem);
            }
            let index = cluster.checked_sub(2).filter(|_| cluster < self.end).ok_or(DiskFault::FileSystem)?;
            let place = u64::from(index) * self.cluster as u64;
            let place = self.data.checked_add(place).ok_or(DiskFault::FileSystem)?;
            bytes.extend(self.disk.read(place, self.cluster)?);
            let next = u32_at(&self.table, cluster as usize * 4).ok_or(DiskFault::FileSystem)?;
            cluster = next & 0x0fff_ffff;
        }
        Ok(bytes)
    }

    fn folder(&self, first: u32) -> Result<Vec<Entry>, DiskFault> {
        let bytes = self.content(first, FOLDER_LIMIT, Chain::MayCircle)?;
        let mut entries = Vec::new();
        for entry in bytes.chunks_exact(32) {
            let attributes = entry.get(11).copied().ok_or(DiskFault::FileSystem)?;
            match entry.first() {
                // The rest is unused.
                Some(0) => break,
                // Deleted.
                Some(0xe5) => continue,
                _ if attributes & LONG_NAME == LONG_NAME || attributes & LABEL != 0 => continue,
                _ => {}
            }
            let word = |at: usize| u16_at(entry, at).map(u32::from).ok_or(DiskFault::FileSystem);
            entries.push(Entry {
                name: entry.get(..11).ok_or(DiskFault::FileSystem)?.to_vec(),
                is_folder: attributes & FOLDER != 0,
                cluster: word(20)? << 16 | word(26)?,
                length: u32_at(entry, 28).ok_or(DiskFault::FileSystem)?,
            });
        }
        Ok(entries)
    }
}
