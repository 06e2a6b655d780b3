//! NEVER SHIPPED: synthetic files that a machine could start from, for tests here and elsewhere.
//!
//! The formats are written down once more in plain words: 512 bytes of alignment in programs, one partition, clusters of 512 bytes. Their
//! inputs are tests, for whom they panic when something does not fit.
#![allow(clippy::unwrap_used, reason = "builders for tests")]

use super::gpt::crc32;

/// A firmware of 12 KiB with OVMF's sections. `temporary` is where the last of its temporary memory lies, and how long it is.
pub fn firmware(temporary: (u64, u64)) -> Vec<u8> {
    let mut file: Vec<u8> = (0..0x3000usize).map(|at| (at * 7 + at / 256).to_le_bytes()[0]).collect();
    let sections: [(u32, u32, u64, u64, u32, u32); 6] = [
        (0x1000, 0x2000, 0xffc0_1000, 0x2000, 0, 1),
        (0, 0x1000, 0xffc0_0000, 0x1000, 1, 0),
        (0, 0, temporary.0, temporary.1, 3, 0),
        (0, 0, 0x80_b000, 0x2000, 3, 0),
        (0, 0, 0x80_9000, 0x2000, 2, 0),
        (0, 0, 0x80_0000, 0x6000, 3, 0),
    ];
    let mut metadata = [&b"TDVF"[..], &[208, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0]].concat();
    for (at, length, address, memory, kind, attributes) in sections {
        metadata.extend([at.to_le_bytes(), length.to_le_bytes()].concat());
        metadata.extend([address.to_le_bytes(), memory.to_le_bytes()].concat());
        metadata.extend([kind.to_le_bytes(), attributes.to_le_bytes()].concat());
    }
    file[0x2800..0x2800 + metadata.len()].copy_from_slice(&metadata);
    let tdx = hex::decode("35657ae44a989847865e4685a7bf8ec2").unwrap();
    let footer = hex::decode("de82b596b21ff745baeaa366c55a082d").unwrap();
    let table = [
        &[&0x800u32.to_le_bytes()[..], &[22, 0], &tdx].concat()[..],
        &[&[1u8, 2, 3, 4, 22, 0][..], &[0xaa; 16]].concat(),
        &[&[62u8, 0][..], &footer].concat(),
    ]
    .concat();
    let end = file.len() - 32;
    file[end - table.len()..end].copy_from_slice(&table);
    file
}

/// An EFI program with some sections, and bytes behind them.
pub fn program(sections: &[(&str, &[u8])], behind: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 0x400;
    let short = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
    let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut file = b"MZ".to_vec();
    file.resize(60, 0);
    file.extend(word(64));
    file.extend(b"PE\0\0");
    file.extend([&short(0x8664)[..], &short(sections.len()), &[0; 12], &short(240), &short(0x22)].concat());
    let mut optional = vec![0; 240];
    let mut put = |at: usize, bytes: &[u8]| optional[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &short(0x20b));
    put(16, &word(0x1000));
    put(32, &word(0x1000));
    put(36, &word(0x200));
    put(56, &word(0x1000 * (sections.len() + 1)));
    put(60, &word(HEADERS));
    put(64, &word(0x1234_5678));
    put(68, &short(10));
    put(108, &word(16));
    file.extend(optional);
    let mut body = Vec::new();
    for (index, (name, data)) in sections.iter().enumerate() {
        let mut field = name.as_bytes().to_vec();
        field.resize(8, 0);
        let length = data.len().next_multiple_of(0x200);
        file.extend(field);
        file.extend([word(data.len()), word(0x1000 * (index + 1)), word(length), word(HEADERS + body.len())].concat());
        file.extend([&[0; 12][..], &word(0x4000_0040)].concat());
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(0x200), 0);
    }
    file.resize(HEADERS, 0);
    [&file[..], &body, behind].concat()
}

/// A program that stands for a kernel.
pub(super) fn kernel() -> Vec<u8> {
    program(&[(".text", &b"kernel"[..])], &[])
}

/// A unified kernel image in which one section is replaced or added.
pub fn image_with(replaced: &str, data: &[u8]) -> Vec<u8> {
    let kernel = kernel();
    let mut sections: Vec<(&str, &[u8])> = vec![
        (".sdmagic", &b"#### LoaderInfo: systemd-stub 257.13-1 ####\0"[..]),
        (".osrel", &b"ID=phala\n"[..]),
        (".cmdline", &b"ro quiet roothash=00"[..]),
        (".uname", &b"6.12.1-test"[..]),
        (".linux", &kernel[..]),
        (".initrd", &b"initial file system"[..]),
    ];
    match sections.iter().position(|(name, _)| *name == replaced) {
        Some(at) => sections[at].1 = data,
        None => sections.push((replaced, data)),
    }
    program(&sections, &[])
}

/// A unified kernel image.
pub fn unified_image() -> Vec<u8> {
    image_with(".osrel", b"ID=phala\n")
}

/// An entry of a folder.
pub(super) fn entry(name: &[u8; 11], is_folder: bool, cluster: u16, length: usize) -> Vec<u8> {
    let mut entry = [&name[..], &[if is_folder { 0x10 } else { 0x20 }], &[0; 14], &cluster.to_le_bytes()].concat();
    entry.extend(u32::try_from(length).unwrap().to_le_bytes());
    entry
}

/// A disk whose EFI system partition has `image` as its loader, and further entries in three folders.
pub(super) fn disk_with(image: &[u8], root: &[Vec<u8>], loader: &[Vec<u8>], boot: &[Vec<u8>]) -> Vec<u8> {
    let mut volume = vec![0; 512 * 98];
    let mut put = |at: usize, bytes: &[u8]| volume[at..at + bytes.len()].copy_from_slice(bytes);
    // 512 bytes a sector, one a cluster, 32 before two tables of one; 98 in all, and the root folder in cluster 2.
    put(11, &[0, 2, 1, 32, 0, 2]);
    put(32, &98u32.to_le_bytes());
    put(36, &1u32.to_le_bytes());
    put(44, &2u32.to_le_bytes());
    put(510, &[0x55, 0xaa]);
    let blocks = image.len().div_ceil(512);
    let last = 5 + blocks - 1;
    for cluster in 0..128usize {
        let next = if (5..last).contains(&cluster) { cluster + 1 } else { 0x0fff_ffff };
        put(32 * 512 + cluster * 4, &u32::try_from(next).unwrap().to_le_bytes());
    }
    let cluster = |number: usize| (34 + number - 2) * 512;
    let dots = [entry(b".          ", true, 0, 0), entry(b"..         ", true, 0, 0)].concat();
    let long_name = [&[0x41u8; 11][..], &[0x0f], &[0; 20]].concat();
    let efi = [entry(b"EFI        ", true, 3, 0), entry(b"LOADER     ", true, 40, 0), long_name].concat();
    put(cluster(2), &[efi, root.concat()].concat());
    put(cluster(3), &[dots.clone(), entry(b"BOOT       ", true, 4, 0)].concat());
    put(cluster(4), &[dots.clone(), entry(b"BOOTX64 EFI", false, 5, image.len()), boot.concat()].concat());
    put(cluster(40), &[dots, loader.concat()].concat());
    put(cluster(5), image);

    let mut disk = vec![0; 512 * 64];
    let mut entries = vec![0; 128 * 128];
    let system = hex::decode("28732ac11ff8d211ba4b00a0c93ec93b").unwrap();
    let mut partition = |index: usize, kind: &[u8], first: u64, last: u64| {
        let whole = [kind, &[7; 16], &first.to_le_bytes(), &last.to_le_bytes()].concat();
        entries[index * 128..index * 128 + whole.len()].copy_from_slice(&whole);
    };
    partition(0, &system, 64, 64 + 97);
    partition(5, &[9; 16], 200, 300);
    let mut header = [&b"EFI PART"[..], &[0, 0, 1, 0, 92, 0, 0, 0], &[0; 8], &1u64.to_le_bytes(), &[0; 40]].concat();
    header.extend(2u64.to_le_bytes());
    header.extend([128u32.to_le_bytes(), 128u32.to_le_bytes(), crc32(&entries).to_le_bytes()].concat());
    let sum = crc32(&header).to_le_bytes();
    header[16..20].copy_from_slice(&sum);
    disk[512..512 + header.len()].copy_from_slice(&header);
    disk[1024..1024 + entries.len()].copy_from_slice(&entries);
    [disk, volume].concat()
}

/// A disk that starts `image`.
pub fn disk(image: &[u8]) -> Vec<u8> {
    disk_with(image, &[], &[entry(b"ENTRIE~1SRE", false, 0, 0)], &[])
}
