//! A simulated processor, and the SGX extension of its PCK certificate (Intel's PCK certificate specification, 1.3.5).

use sha2::{Digest, Sha256};

/// What a PCK certificate says about a processor. Public fields, so that a test can say something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Name of this very processor.
    pub ppid: [u8; 16],
    /// Security versions of its sixteen components.
    pub cpu_svn: [u8; 16],
    /// Security version of its provisioning certification enclave.
    pub pce_svn: u16,
    /// Which provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// The platform model.
    pub fmspc: [u8; 6],
    /// Further entries, as DER: for tests.
    pub further_entries: Vec<u8>,
}

/// The simulated platform model says what it is: `INSECU` in ASCII.
pub(crate) const FMSPC: [u8; 6] = *b"INSECU";
pub(crate) const CPU_SVN: [u8; 16] = [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
pub(crate) const PCE_SVN: u16 = 11;

impl Processor {
    /// The up-to-date processor of the machine called `name`; another name is another processor.
    pub fn named(name: &str) -> Self {
        let digest = Sha256::digest(format!("INSECURE: the simulated processor {name}"));
        let mut ppid = [0; 16];
        ppid.iter_mut().zip(digest).for_each(|(byte, digest)| *byte = digest);
        Self { ppid, cpu_svn: CPU_SVN, pce_svn: PCE_SVN, pce_id: [0; 2], fmspc: FMSPC, further_entries: Vec::new() }
    }

    /// The extension's value.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut tcb = Vec::new();
        for (index, svn) in (1u8..).zip(self.cpu_svn) {
            tcb.extend(entry(&[2, index], &integer(u16::from(svn))));
        }
        tcb.extend(entry(&[2, 17], &integer(self.pce_svn)));
        tcb.extend(entry(&[2, 18], &octets(&self.cpu_svn)));
        let entries = [
            entry(&[1], &octets(&self.ppid)),
            entry(&[2], &sequence(&tcb)),
            entry(&[3], &octets(&self.pce_id)),
            entry(&[4], &octets(&self.fmspc)),
            entry(&[5], &[0x0a, 1, 1]),
            self.further_entries.clone(),
        ];
        sequence(&entries.concat())
    }

    /// An entry of the extension with arcs below 1.2.840.113741.1.13.1 and an octet string.
    pub fn further_entry(arcs: &[u8], value: &[u8]) -> Vec<u8> {
        entry(arcs, &octets(value))
    }
}

fn entry(arcs: &[u8], value: &[u8]) -> Vec<u8> {
    let prefix = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];
    sequence(&[tagged(0x06, &[&prefix, arcs].concat()), value.to_vec()].concat())
}

fn octets(value: &[u8]) -> Vec<u8> {
    tagged(0x04, value)
}

fn integer(value: u16) -> Vec<u8> {
    match value.to_be_bytes() {
        [0, low] if low < 0x80 => tagged(0x02, &[low]),
        [0, low] => tagged(0x02, &[0, low]),
        [high, low] if high < 0x80 => tagged(0x02, &[high, low]),
        [high, low] => tagged(0x02, &[0, high, low]),
    }
}

fn sequence(body: &[u8]) -> Vec<u8> {
    tagged(0x30, body)
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let length = match (high, low) {
        (0, ..0x80) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), body].concat()
}
