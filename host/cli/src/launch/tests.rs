//! Known answers, each with where it is from, on synthetic files; and that no damaged file makes a decoder panic.
//!
//! The builders are written down once more in plain words: 512 bytes of alignment in programs, one partition, clusters of 512 bytes.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    boot::BootFault,
    firmware::FirmwareFault,
    gpt::{crc32, DiskFault},
    pe::PeFault,
    *,
};

const GIB: u64 = 1 << 30;

fn digest(hexadecimal: &str) -> Digest {
    hex::decode(hexadecimal).unwrap().try_into().unwrap()
}

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

fn kernel() -> Vec<u8> {
    program(&[(".text", &b"kernel"[..])], &[])
}

fn image_with(replaced: &str, data: &[u8]) -> Vec<u8> {
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
fn entry(name: &[u8; 11], is_folder: bool, cluster: u16, length: usize) -> Vec<u8> {
    let mut entry = [&name[..], &[if is_folder { 0x10 } else { 0x20 }], &[0; 14], &cluster.to_le_bytes()].concat();
    entry.extend(u32::try_from(length).unwrap().to_le_bytes());
    entry
}

/// A disk whose EFI system partition has `image` as its loader, and further entries in three folders.
fn disk_with(image: &[u8], root: &[Vec<u8>], loader: &[Vec<u8>], boot: &[Vec<u8>]) -> Vec<u8> {
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

/// Computed by a script of its own, which gives for the firmware of Ubuntu's package ovmf 2025.02-3ubuntu2 the MRTD that virtee's
/// tdx-measure publishes for it.
#[test]
fn mrtd_is_what_was_computed_apart_from_this_and_depends_on_the_order_of_pages() {
    let file = firmware((0x81_1000, 0xf000));
    let decoded = decode_firmware(&file).unwrap();
    assert_eq!(
        hex::encode(decoded.mrtd(PageOrder::Interleaved)),
        "0fd7d6debe09dd70d370fa4dcc774d2ca43f24e08663cc47b2829c559e769e4d8d20e0ce27ccfb10f4f8cfe44dfb7c2f"
    );
    assert_eq!(
        hex::encode(decoded.mrtd(PageOrder::TwoPass)),
        "cad48ef43393cc0652b09122ac99ea2630474698af9070f742544def89a05c2be86d845c0c676febe6726d9a48d3cb9b"
    );
    assert_eq!(
        hex::encode(decoded.configuration().unwrap()),
        "2a8121060fb987790ef4724f4f2bb22a7dacc045921c9307a4cc9eb340bbd55982371ca19efc7811a6b459200b634cd5"
    );
    // Only what is extended counts: a byte of the configuration volume does not, one of the code does.
    let altered = |at: usize| {
        let mut other = file.clone();
        other[at] ^= 1;
        let decoded = decode_firmware(&other).unwrap();
        decoded.mrtd(PageOrder::Interleaved)
    };
    assert_eq!(altered(0x10), decoded.mrtd(PageOrder::Interleaved));
    assert_ne!(altered(0x1010), decoded.mrtd(PageOrder::Interleaved));
}

/// The published answer itself: virtee's tdx-measure, `tests/fixtures/canonical-defaults/expected.json`.
#[test]
#[ignore = "needs /usr/share/ovmf/OVMF.fd of Ubuntu's package ovmf 2025.02-3ubuntu2 in PHALA_TEST_OVMF"]
fn mrtd_of_ubuntus_firmware_is_the_published_one() {
    let file = std::fs::read(std::env::var("PHALA_TEST_OVMF").unwrap()).unwrap();
    let decoded = decode_firmware(&file).unwrap();
    assert_eq!(
        hex::encode(decoded.mrtd(PageOrder::Interleaved)),
        "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a219786afe2cd478f684b52c61837e1114"
    );
    // What the logs of the genuine machines below say of their configuration volume.
    assert!(hex::encode(decoded.configuration().unwrap()).starts_with("344bc51c980ba621aaa00da3ed7436f7"));
}

/// The first events of two genuine machines' logs: dstack's `cc-eventlog/samples/ccel.bin` (1 GiB), and Intel's in go-eventlog's
/// `testdata/eventlogs/ccel/CCEL_unpadded.data.bin` (8 GiB, a firmware from before its work area grew).
#[test]
fn memory_maps_are_those_that_genuine_machines_measured() {
    for (temporary, memory, expected) in [
        (
            (0x81_1000, 0xf000),
            GIB,
            "2b630fa1d8fa9b6e8c6507d2256803ed227888f7d1f62ca5cfbddfe495338b1c6a0fc339ea64700f0835c0897a662789",
        ),
        (
            (0x81_0000, 0x1_0000),
            8 * GIB,
            "2e070cda358b5aa00f27cca25c47381bb564f4be3a84d059805a73cbbde764ed8341f7e09915b5e7b370f9c08a743fbd",
        ),
    ] {
        let file = firmware(temporary);
        let decoded = decode_firmware(&file).unwrap();
        assert_eq!(decoded.memory_map(memory), Ok(digest(expected)));
        assert_ne!(decoded.memory_map(memory + GIB), Ok(digest(expected)));
        assert_eq!(decoded.memory_map(0x80_0000), Err(FirmwareFault::Memory), "less than the firmware takes");
    }
}

/// Events and RTMR1 of a genuine machine with Google's Container-Optimized OS 113: go-eventlog, `ccel/cceventlog_test.go` and the log beside it.
#[test]
fn a_genuine_machines_events_replay_to_its_register() {
    let events = [
        "77a0dab2312b4e1e57a84d865a21e5b2ee8d677a21012ada819d0a98988078d3d740f6346bfe0abaa938ca20439a8d71",
        "e1d51dadc14440d4800e54731a818bd38e43c38a672ef490e2504be2dced5ba080a6931b414146f22f7d850c09a9cb3f",
        "5a10026c9ad41d1f90dc9cfe88bcabe1842ccfd85495c81b1a1ab926a9ef23b5d2e60eefeba0415bbe5c8c328a899a0a",
        "b1fb7f4c0689f5a920b800b2607075f4906f8c8282d44e56fc991ec01f1adac176d2040a26f1453df112d7c4f4293fc9",
        "214b0bef1379756011344877743fdc2a5382bac6e70362d624ccf3f654407c1b4badf7d8f9295dd3dabdef65b27677e0",
        "0a2e01c85deae718a530ad8c6d20a84009babe6c8989269e950d8cf440c6e997695e64d455c4174a652cd080f6230b74",
    ]
    .map(digest);
    let expected = "0ee9366c928a77092f55e9e114c7394181fd264699155f0df77d23577618d5f650568a17d379355a07bd846e552f4e20";
    assert_eq!(replay(&events), digest(expected));
    // The firmware's own words are the same everywhere.
    let image = unified_image();
    let (image, disk) = (decode_pe(&image).unwrap(), disk(&image));
    let ours = rtmr1(&decode_partition_table(&disk).unwrap(), &image).unwrap();
    assert_eq!([ours[0].digest, ours[5].digest, ours[6].digest], [events[0], events[4], events[5]]);
}

/// `osslsigncode sign -h sha384` of these very bytes, then `osslsigncode verify`, version 2.9: "Calculated message digest".
#[test]
fn authenticode_is_what_osslsigncode_computes() {
    for (file, expected) in [
        (kernel(), "20245b5cc8274bfda5b053fa50febb0d3ac748bf6605fead1fc15194a68b2d24aa37e365c350ce8b593da114f9a83d33"),
        (
            unified_image(),
            "6229513438405bf07dd10e61dfd25ecbe574370a23ec946aadf3135ca907543b1d0e72895bd7b84c29170182b78423f0",
        ),
        (
            program(&[(".text", &b"kernel"[..])], b"bytes behind all sections......."),
            "32b6963fae73132952a2ec2e84dda141176dfdf924e2cf30b4b7705559678301e723fd4a5f67db52ba74473f3b5624eb",
        ),
    ] {
        let plain = decode_pe(&file).unwrap().authenticode();
        assert_eq!(hex::encode(plain), expected);
        // Checksum and certificates are not hashed: 64 bytes of these behind the file, and their place in its headers.
        let mut signed = [&file[..], &[0xcc; 64]].concat();
        signed[64 + 24 + 64..][..4].fill(0xff);
        let place = u32::try_from(file.len()).unwrap().to_le_bytes();
        signed[64 + 24 + 144..][..8].copy_from_slice(&[place, [64, 0, 0, 0]].concat());
        assert_eq!(decode_pe(&signed).unwrap().authenticode(), plain);
    }
    let mut behind = program(&[(".text", &b"kernel"[..])], &[0; 32]);
    behind[64 + 24 + 148] = 64;
    assert_eq!(decode_pe(&behind).unwrap_err(), PeFault::Certificates, "64 bytes of certificates in 32");
}

#[test]
fn sections_that_take_more_than_the_file_together_are_refused() {
    let mut file = program(&[(".a", &[1u8; 0x200][..]), (".b", &[2u8; 0x200][..])], &[]);
    assert!(decode_pe(&file).is_ok());
    // Of the second: as many bytes as the file has, from its beginning.
    let second = 64 + 24 + 240 + 40;
    let length = u32::try_from(file.len()).unwrap().to_le_bytes();
    file[second + 16..][..8].copy_from_slice(&[length, [0; 4]].concat());
    assert_eq!(decode_pe(&file).unwrap_err(), PeFault::Section(1));
}

/// `systemd-measure calculate --linux= --osrel= --cmdline= --initrd= --bank=sha384 --phase=:` of these sections, version 252; the rest by
/// a script of its own, from the sources that `boot.rs` names.
#[test]
fn rtmr2_begins_as_systemd_measure_predicts_and_goes_on_as_the_kernel_does() {
    let image = unified_image();
    let events = rtmr2(&decode_pe(&image).unwrap()).unwrap();
    let what: Vec<&str> = events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(what[..4], ["name of .linux", ".linux", "name of .osrel", ".osrel"]);
    assert_eq!(what[8..], ["name of .uname", ".uname", "command line", "initial file system"]);
    let expected = "edb74d7adf0595252b8bb7a3cbf315e98a9b79c7c3adef09416f2497efa0729ca10d63be87cfcf1454f905ad661b2b19";
    assert_eq!(replay(events.iter().take(8).map(|event| &event.digest)), digest(expected));
    let expected = "4f7d322bdc739be2b1e2cbf01407ccae967f489714e1048f7abf7b32ff663edfc8f8e9141ef24ba7eb369ddf6ff4206a";
    assert_eq!(replay(events.iter().map(|event| &event.digest)), digest(expected));
    // Spaces around a command line and what follows its end are not passed on.
    let padded = image_with(".cmdline", b" ro quiet\troothash=00\n\0x");
    let padded = rtmr2(&decode_pe(&padded).unwrap()).unwrap();
    assert_eq!(padded[10].digest, events[10].digest);
    assert_ne!(padded[5].digest, events[5].digest, "the section is measured as it is");
}

#[test]
fn an_image_whose_start_is_not_known_is_refused_by_name() {
    let refused = |section: &str, data: &[u8]| {
        let file = image_with(section, data);
        let image = decode_pe(&file).unwrap();
        rtmr2(&image).unwrap_err()
    };
    let stub = |version: &str| format!("#### LoaderInfo: systemd-stub {version} ####");
    assert_eq!(refused(".sdmagic", stub("258.1").as_bytes()), BootFault::Stub(stub("258.1")));
    assert_eq!(refused(".sdmagic", stub("2570").as_bytes()), BootFault::Stub(stub("2570")));
    for version in ["6.8.12", "6.13.0", "7.0.1", "6"] {
        assert_eq!(refused(".uname", version.as_bytes()), BootFault::Kernel(version.to_owned()));
    }
    assert_eq!(refused(".profile", b"x"), BootFault::Choice(".profile"));
    assert_eq!(refused(".cmdline", b"quiet noinitrd"), BootFault::CommandLine);
    assert_eq!(refused(".cmdline", "ro \u{e4}".as_bytes()), BootFault::CommandLine);
    assert_eq!(refused(".cmdline", b" \0ro"), BootFault::CommandLine);
    let plain = kernel();
    assert_eq!(rtmr2(&decode_pe(&plain).unwrap()), Err(BootFault::Missing(".sdmagic")));
    let file = image_with(".linux", b"no program");
    let (disk, image) = (disk(&file), decode_pe(&file).unwrap());
    let table = decode_partition_table(&disk).unwrap();
    assert_eq!(rtmr1(&table, &image), Err(BootFault::KernelProgram(PeFault::NoPe)));
}

#[test]
fn the_loader_is_the_one_that_the_firmware_starts_and_nothing_lies_beside_it() {
    let image = unified_image();
    let whole = disk(&image);
    let table = decode_partition_table(&whole).unwrap();
    assert_eq!(decode_loader(&whole, table.system), Ok(image.clone()));
    let parts = [&whole[512..604], &2u64.to_le_bytes(), &whole[1024..1152], &whole[1024 + 5 * 128..1024 + 6 * 128]];
    assert_eq!(table.measured, parts.concat(), "header, number of entries in use, and these");
    let loader = |disk: Vec<u8>| decode_loader(&disk, decode_partition_table(&disk).unwrap().system);
    let folder = entry(b"ADDONS     ", true, 0, 0);
    assert!(matches!(loader(disk_with(&image, &[], std::slice::from_ref(&folder), &[])), Err(DiskFault::Beside(_))));
    assert!(matches!(loader(disk_with(&image, &[], &[], std::slice::from_ref(&folder))), Err(DiskFault::Beside(_))));
    assert_eq!(loader(disk_with(&image, &[folder], &[], &[])), Ok(image.clone()), "of no effect in the root");

    // A table whose checksum does not hold is not the one that the firmware would use.
    let mut altered = whole.clone();
    altered[1024 + 60] ^= 1;
    assert_eq!(decode_partition_table(&altered), Err(DiskFault::Table));
    let mut circular = whole.clone();
    let at = 64 * 512 + 32 * 512 + 2 * 4;
    circular[at..at + 4].copy_from_slice(&2u32.to_le_bytes());
    assert!(decode_loader(&circular, table.system).is_ok(), "a folder that has no end is read up to its limit");
    assert!(matches!(decode_loader(&whole[..whole.len() / 2].to_vec(), table.system), Err(DiskFault::Read { .. })));
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_firmware_that_qemu_would_refuse_or_fill_otherwise_is_refused() {
    let file = firmware((0x81_1000, 0xf000));
    let refused = |at: usize, byte: u8| {
        let mut other = file.clone();
        other[at] = byte;
        decode_firmware(&other).map(|_| ()).unwrap_err()
    };
    let first = 0x2810;
    assert_eq!(refused(0x2800, b'X'), FirmwareFault::Metadata);
    assert_eq!(refused(0x2808, 2), FirmwareFault::Metadata);
    assert_eq!(refused(first + 5, 0x10), FirmwareFault::Section(0), "shorter in the file than in memory");
    assert_eq!(refused(first + 8, 1), FirmwareFault::Section(0), "no page");
    assert_eq!(refused(first + 24, 4), FirmwareFault::Unknown(0));
    assert_eq!(refused(first + 28, 2), FirmwareFault::Unknown(0));
    assert_eq!(refused(first + 64 + 28, 1), FirmwareFault::Unknown(2), "zeros that are measured");
    assert_eq!(refused(first + 64 + 20, 1), FirmwareFault::TooLarge);
    assert_eq!(decode_firmware(&file[..file.len() - 1]).map(|_| ()), Err(FirmwareFault::Table));
    let end = file.len() - 32;
    assert_eq!(refused(end - 62 + 6, 0), FirmwareFault::NoMetadata, "another entry");
    let overlapping = firmware((0x80_a000, 0x1000));
    assert_eq!(decode_firmware(&overlapping).unwrap().memory_map(GIB), Err(FirmwareFault::Memory));
}

#[test]
fn no_damaged_file_makes_a_decoder_panic() {
    let image = unified_image();
    for file in damaged(&firmware((0x81_1000, 0xf000)), 0x2800, 400) {
        if let Ok(firmware) = decode_firmware(&file) {
            let _ = firmware.memory_map(GIB);
        }
    }
    for file in damaged(&image, 0, 700) {
        if let Ok(image) = decode_pe(&file) {
            let _ = (image.authenticode(), rtmr2(&image));
        }
    }
    let whole = disk(&image);
    // The header of the partition table; file system, allocation table and folders are damaged behind a table that holds.
    for file in damaged(&whole, 512, 92) {
        let _ = decode_partition_table(&file);
    }
    let system = decode_partition_table(&whole).unwrap().system;
    for from in [64, 96, 98, 99, 100, 136] {
        for file in damaged(&whole, from * 512, 128) {
            let _ = decode_loader(&file, system);
        }
    }
}

/// A file with one byte altered, or cut off, at each of `places` places from `from` on, and at the last hundred.
fn damaged(file: &[u8], from: usize, places: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
    (from..from + places).chain(file.len() - 100..file.len()).flat_map(move |at| {
        let altered = [0x01, 0x80, 0xff].map(|mask| {
            let mut altered = file.to_vec();
            altered[at] ^= mask;
            altered
        });
        altered.into_iter().chain([file[..at].to_vec()])
    })
}
