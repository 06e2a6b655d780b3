//! Known answers, each with where it is from, on synthetic files; and that no damaged file makes a decoder panic.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    gpt::crc32,
    testing::{disk, disk_with, entry, firmware, image_with, kernel, program, unified_image},
    *,
};

const GIB: u64 = 1 << 30;

fn digest(hexadecimal: &str) -> Digest {
    hex::decode(hexadecimal).unwrap().try_into().unwrap()
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
    // The loader's last cluster goes on with its first, and its entry says that it has 16 MiB.
    let mut endless = whole.clone();
    let (last, length) = (5 + image.len().div_ceil(512) - 1, 64 * 512 + (34 + 4 - 2) * 512 + 2 * 32 + 28);
    let at = 64 * 512 + 32 * 512 + last * 4;
    endless[at..at + 4].copy_from_slice(&5u32.to_le_bytes());
    assert_eq!(decode_loader(&endless, table.system), Ok(image.clone()), "its length ends it");
    endless[length..length + 4].copy_from_slice(&(16u32 << 20).to_le_bytes());
    assert_eq!(decode_loader(&endless, table.system), Err(DiskFault::FileSystem));
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
