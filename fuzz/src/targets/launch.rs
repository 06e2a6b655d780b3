//! Files that a machine starts from: firmware, disk, EFI program, and an enclave's SIGSTRUCT. Whoever wrote one controls all of it, and others act on what is computed.
//!
//! Holds: memory in proportion to the file and what it says to take in memory; a partition table that is taken has the checksums that a
//! second implementation computes; a loader has only blocks of its disk; a program's Authenticode hash does not depend on its checksum,
//! and programs with one hash have the same sections; no altered SIGSTRUCT is taken; both orders of pages commit the same firmware; the events of RTMR2 are the
//! sections' own.

use crate::{assert_bounded, measured, Target, Verdict};
use phala_client::launch::{
    decode_firmware, decode_loader, decode_partition_table, decode_pe, decode_sigstruct, rtmr1, rtmr2, sha384, testing,
    BootFault, Firmware, PageOrder, Program,
};
use std::{collections::BTreeSet, sync::LazyLock};

const GIB: u64 = 1 << 30;
/// Bytes that folders and tables of a disk take at most, whatever the disk's length: four folders of the longest, twice.
const FOLDERS: u64 = 16 << 20;
/// Bytes in memory up to which sections are read: a program may ask for half a gibibyte of zeros, which takes seconds to hash.
const MOST_MEMORY: usize = 8 << 20;
/// What of a program is measured into RTMR2, or decides what is.
const SECTIONS: [&str; 8] = [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sdmagic", ".pcrsig", ".pcrpkey"];

/// Two that the published key of `deploy/sgx` signed: one with masks that fix everything, and one that leaves bits open.
const SIGSTRUCTS: [&[u8]; 2] = [
    include_bytes!("../../../testing/vectors/attest/sgx_v3.sigstruct"),
    include_bytes!("../../../testing/vectors/attest/sgx_v3.open.sigstruct"),
];

/// Firmware, disks and programs.
pub static LAUNCH_FILES: Target = Target {
    name: "launch-files",
    covers: &[
        "host/client/src/launch/firmware.rs::decode_firmware",
        "host/client/src/launch/gpt.rs::decode_partition_table",
        "host/client/src/launch/fat.rs::decode_loader",
        "host/client/src/launch/pe.rs::decode_pe",
        "host/client/src/launch/sigstruct.rs::decode_sigstruct",
        "host/client/src/launch/boot.rs::rtmr1",
        "host/client/src/launch/boot.rs::rtmr2",
    ],
    samples: LazyLock::new(|| {
        let image = testing::unified_image();
        let behind = testing::program(&[(".text", &b"code"[..]), (".data", &b"data"[..])], &[0xcc; 64]);
        let splash = testing::image_with(".splash", b"a picture");
        let disks = [&image, &behind].map(|image| testing::disk(image));
        [
            &[testing::firmware((0x81_1000, 0xf000)), testing::firmware((0x81_0000, 0x1_0000))][..],
            &disks,
            &[image, behind, splash],
            &SIGSTRUCTS.map(<[u8]>::to_vec),
        ]
        .concat()
    }),
    check: |bytes| {
        // None is told by the others' marks: a file may be two of them.
        let verdicts = [
            firmware(bytes).of("firmware"),
            disk(bytes).of("disk"),
            program(bytes).of("program"),
            sigstruct(bytes).of("sigstruct"),
        ];
        let accepted = verdicts.iter().any(|verdict| verdict.accepted);
        let signature = verdicts.iter().fold(0, |sum: u64, verdict| sum.rotate_left(7) ^ verdict.signature);
        Verdict { accepted, signature }
    },
    iterations: 600,
};

fn firmware(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| decode_firmware(bytes));
    assert_bounded(peak, bytes.len(), 4);
    let firmware = match decoded {
        Ok(firmware) => firmware,
        Err(fault) => return Verdict::refused(fault),
    };
    let registers =
        |firmware: &Firmware<'_>| [PageOrder::Interleaved, PageOrder::TwoPass].map(|order| firmware.mrtd(order));
    let found = registers(&firmware);
    // A byte somewhere: what commits it in one order does in the other.
    let mut altered = bytes.to_vec();
    let place = chosen(bytes, bytes.len());
    altered[place] ^= 0x10;
    if let Ok(other) = decode_firmware(&altered) {
        let [interleaved, two_pass] = registers(&other);
        assert_eq!(interleaved == found[0], two_pass == found[1], "byte {place} counts in one order of pages alone");
    }
    // What lies above 4 GiB ends where the memory does.
    let (map, peak) = measured(|| firmware.memory_map(4 * GIB));
    assert_bounded(peak, 0, 1);
    match (map, firmware.memory_map(5 * GIB)) {
        (Ok(map), Ok(larger)) => assert_ne!(map, larger, "two sizes of memory with one map"),
        (Err(fault), other) => assert_eq!(other, Err(fault)),
        (Ok(_), Err(fault)) => panic!("a machine with more memory does not start: {fault}"),
    }
    Verdict::accepted(format_args!("{} {}", firmware.configuration().is_some(), map.is_ok()))
}

fn disk(bytes: &[u8]) -> Verdict {
    let disk = bytes.to_vec();
    let (decoded, peak) = measured(|| decode_partition_table(&disk));
    assert_bounded(peak, disk.len(), 6);
    let table = match decoded {
        Ok(table) => table,
        Err(fault) => return Verdict::refused(fault),
    };
    let header = &disk[512..1024];
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let mut summed = header[..number(12) as usize].to_vec();
    summed[16..20].fill(0);
    assert_eq!(crc32(&summed), number(16), "a header that does not match its checksum");
    let (count, size) = (number(80) as usize, number(84) as usize);
    let at = u64::from_le_bytes(header[72..80].try_into().unwrap()) as usize * 512;
    let entries = &disk[at..at + count * size];
    assert_eq!(crc32(entries), number(88), "entries that do not match their checksum");
    let used = entries.chunks_exact(size).filter(|entry| entry[..16] != [0; 16]);
    let used: Vec<u8> = used.flatten().copied().collect();
    let expected = [&header[..92], &(used.len() as u64 / size as u64).to_le_bytes(), &used].concat();
    assert_eq!(table.measured, expected);

    let (loaded, peak) = measured(|| decode_loader(&disk, table.system));
    assert!(peak <= disk.len() as u64 * 4 + FOLDERS, "{peak} bytes for a disk of {}", disk.len());
    let loader = match loaded {
        Ok(loader) => loader,
        Err(fault) => return Verdict::refused(fault),
    };
    assert!(loader.len() <= disk.len(), "a file that is longer than its disk");
    let blocks: BTreeSet<&[u8]> = disk.chunks_exact(512).collect();
    assert!(loader.chunks_exact(512).all(|block| blocks.contains(block)), "a block of no disk");
    // What is on the disk is looked at as a program too.
    match decode_pe(&loader) {
        Ok(image) if image.memory() <= MOST_MEMORY => match rtmr1(&table, &image) {
            Ok(events) => {
                assert_eq!(events.len(), 7);
                assert_eq!(events[2].digest, sha384(&table.measured));
                assert_eq!(events[3].digest, image.authenticode());
                Verdict::accepted("started")
            }
            Err(fault) => Verdict::accepted(kind(&fault)),
        },
        Ok(_) => Verdict::accepted("much memory"),
        Err(fault) => Verdict::accepted(fault),
    }
}

fn program(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| decode_pe(bytes));
    assert_bounded(peak, bytes.len(), 4);
    let image = match decoded {
        Ok(image) => image,
        Err(fault) => return Verdict::refused(fault),
    };
    let hash = image.authenticode();
    let header = u32::from_le_bytes(bytes[60..64].try_into().unwrap()) as usize;
    let mut unsummed = bytes.to_vec();
    unsummed[header + 24 + 64..][..4].iter_mut().for_each(|byte| *byte = !*byte);
    if !sections_lie_in_headers(bytes, header) {
        let other = decode_pe(&unsummed).expect("nothing depends on the checksum");
        assert_eq!(other.authenticode(), hash, "the checksum is hashed");
    }
    if image.memory() > MOST_MEMORY {
        return Verdict::accepted("much memory");
    }
    let mut altered = bytes.to_vec();
    let place = chosen(bytes, bytes.len());
    altered[place] ^= 0x10;
    if let Ok(other) = decode_pe(&altered) {
        let same = other.memory() <= MOST_MEMORY && other.authenticode() == hash;
        let sections = |image: &Program<'_>| SECTIONS.map(|name| image.section(name).map(|data| sha384(&data)));
        assert!(
            !same || is_of_checksum(place, header) || sections(&other) == sections(&image),
            "byte {place} is not hashed"
        );
    }
    let (measured_events, peak) = measured(|| rtmr2(&image));
    assert_bounded(peak, bytes.len() + image.memory(), 8);
    match measured_events {
        Ok(events) => {
            let (named, rest) = events.split_at(events.len() - 2);
            for pair in named.chunks_exact(2) {
                let name = &pair[1].what;
                assert_eq!(pair[0].digest, sha384(&[name.as_bytes(), &[0]].concat()));
                assert_eq!(pair[1].digest, sha384(&image.section(name).expect("a section that was measured")));
            }
            assert!(named.len().is_multiple_of(2) && named[1].what == ".linux" && rest[0].what == "command line");
            Verdict::accepted("x".repeat(events.len()))
        }
        Err(fault) => Verdict::accepted(kind(&fault)),
    }
}

/// Every byte is signed, signs, or follows from the signature, so that what is taken is one of the samples.
fn sigstruct(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| decode_sigstruct(bytes));
    assert!(peak <= 1 << 16, "{peak} bytes for a SIGSTRUCT");
    let sigstruct = match decoded {
        Ok(sigstruct) => sigstruct,
        Err(fault) => return Verdict::refused(fault),
    };
    assert!(SIGSTRUCTS.contains(&bytes), "an altered SIGSTRUCT is taken");
    assert_eq!(sigstruct.enclave(None).is_ok(), bytes == SIGSTRUCTS[0], "a mask with open bits has a measurement");
    Verdict::accepted("signed")
}

/// Whether a byte is one of those that the hash leaves out: checksum, and the entry of the certificate table.
fn is_of_checksum(place: usize, header: usize) -> bool {
    let optional = header + 24;
    (optional + 64..optional + 68).contains(&place) || (optional + 144..optional + 152).contains(&place)
}

/// Whether a section has bytes of the headers, which are hashed again as its own.
fn sections_lie_in_headers(bytes: &[u8], header: usize) -> bool {
    let short = |at: usize| usize::from(u16::from_le_bytes(bytes[header + at..][..2].try_into().unwrap()));
    let word = |at: usize| u32::from_le_bytes(bytes[header + at..][..4].try_into().unwrap());
    let (count, table) = (short(6), 24 + short(20));
    let headers = word(24 + 60);
    (0..count).map(|index| table + 40 * index).any(|entry| word(entry + 16) > 0 && word(entry + 20) < headers)
}

/// What kind of fault it is, without what the file says.
fn kind(fault: &BootFault) -> &'static str {
    match fault {
        BootFault::Missing(section) | BootFault::Choice(section) => section,
        BootFault::Stub(_) => "another stub",
        BootFault::Kernel(_) => "another kernel",
        BootFault::KernelProgram(_) => "no kernel",
        BootFault::CommandLine => "command line",
    }
}

/// A place below `bound` that depends on all bytes.
fn chosen(bytes: &[u8], bound: usize) -> usize {
    let sum = bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    sum as usize % bound
}

/// CRC-32 of IEEE 802.3 by its table, as another than the one that is looked at.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|index| {
            (0..8).fold(index as u32, |sum, _| (sum >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(sum & 1)))
        })
    });
    !bytes.iter().fold(u32::MAX, |sum, byte| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8))
}
