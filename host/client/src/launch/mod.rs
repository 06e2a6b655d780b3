//! What a TDX machine measures while it starts, computed from the files that it starts from; and what an SGX enclave's signer signed
//! (`sigstruct.rs`).
//!
//! | register | computed from | by |
//! |----------|---------------|----|
//! | MRTD     | the firmware's file | `firmware.rs` |
//! | RTMR0    | two of its events: memory map and configuration volume. The rest is QEMU's and the firmware's own | `firmware.rs` |
//! | RTMR1    | partition table, unified kernel image, and the kernel inside it | `boot.rs` |
//! | RTMR2    | sections of the unified kernel image, command line, initial file system | `boot.rs` |
//!
//! Each RTMR is the fold of SHA-384(register || digest) over its events, from zeros. Each function here says whose
//! program it predicts, and by which version's source; what a version that is not known might do is refused, not guessed.
//!
//! The files are foreign: decoding is bounded, allocates no more than the limits here and what a file's own size allows, and what is not
//! understood is an error that says which part of which file. Does not do: open files or read devices - bytes and a [`Disk`] are
//! arguments - or judge whether an image is a good one.

mod boot;
mod fat;
mod firmware;
mod gpt;
mod pe;
mod sigstruct;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use boot::{rtmr1, rtmr2, BootFault};
pub use fat::decode_loader;
pub use firmware::{decode_firmware, Firmware, FirmwareFault, PageOrder, FIRMWARE_LIMIT};
pub use gpt::{decode_partition_table, Disk, DiskFault, Extent, PartitionTable};
pub use pe::{decode_pe, PeFault, Program};
pub use sigstruct::{decode_sigstruct, Configuration, Masked, OpenBits, Sigstruct, SigstructFault, SIGSTRUCT_LENGTH};

use sha2::{Digest as _, Sha384};

/// SHA-384, as all of TDX's registers have it.
pub type Digest = [u8; 48];

/// Bytes of the longest unified kernel image.
pub const IMAGE_LIMIT: usize = 512 * 1024 * 1024;

/// One thing that is measured into a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What it is, for people.
    pub what: String,
    /// What the register is extended by.
    pub digest: Digest,
}

impl Measured {
    /// Something that is measured as the hash of its bytes.
    fn data(what: impl Into<String>, data: &[u8]) -> Self {
        Self { what: what.into(), digest: sha384(data) }
    }
}

/// SHA-384 of some bytes.
pub fn sha384(data: &[u8]) -> Digest {
    Sha384::digest(data).into()
}

/// The register that some digests lead to, from zeros.
pub fn replay<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    digests
        .into_iter()
        .fold([0; 48], |register, digest| Sha384::new().chain_update(register).chain_update(digest).finalize().into())
}

/// Bytes at a place, if they are all there.
fn slice(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

fn array<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    slice(bytes, at, LENGTH)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
