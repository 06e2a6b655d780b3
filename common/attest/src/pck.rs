//! Reads the SGX extension of a PCK certificate: which processor this is, and its security versions.
//!
//! Source: Intel, "SGX PCK Certificate and CRL Specification", section 1.3.5; object identifiers under
//! 1.2.840.113741.1.13.1. The extension is a sequence of (identifier, value) pairs. An identifier that the specification
//! does not name, a missing one or a double one is refused: what is not understood could change what is.

use alloc::vec::Vec;
use der::{
    asn1::{ObjectIdentifier, OctetStringRef, UintRef},
    Decode, Reader, SliceReader,
};

use crate::certificate::Certificate;

const SGX_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
/// The arcs below [`SGX_EXTENSION`], as the DER body of an identifier has them in front of its last bytes.
const PREFIX: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// Why a PCK certificate's SGX extension was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum PckFault {
    /// There is none.
    #[error("certificate has no SGX extension: not a PCK certificate")]
    Absent,
    /// Not the specified structure.
    #[error("SGX extension is malformed")]
    Malformed,
    /// An identifier the specification does not name.
    #[error("SGX extension has an unknown entry")]
    Unknown,
    /// An entry appears twice.
    #[error("SGX extension has an entry twice")]
    Twice,
    /// A required entry is missing.
    #[error("SGX extension lacks a required entry")]
    Missing,
    /// The sixteen component versions are not those of the raw CPUSVN.
    #[error("SGX extension's component versions contradict its CPUSVN")]
    Contradiction,
}

/// What a PCK certificate says about its processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PckExtension {
    pub(crate) ppid: [u8; 16],
    pub(crate) cpu_svn: [u8; 16],
    pub(crate) pce_svn: u16,
    pub(crate) pce_id: [u8; 2],
    pub(crate) fmspc: [u8; 6],
}

/// Reads the extension of `certificate`.
pub(crate) fn read_extension(certificate: &Certificate) -> Result<PckExtension, PckFault> {
    let bytes = certificate.extension(SGX_EXTENSION).ok_or(PckFault::Absent)?;
    let (mut ppid, mut tcb, mut pce_id, mut fmspc, mut kind, mut instance, mut configuration) =
        (None, None, None, None, None, None, None);
    for (arcs, value) in entries(bytes)? {
        match *arcs.as_slice() {
            [1] => set(&mut ppid, octets(value)?)?,
            [2] => set(&mut tcb, read_tcb(value)?)?,
            [3] => set(&mut pce_id, octets(value)?)?,
            [4] => set(&mut fmspc, octets(value)?)?,
            // SGX type: 0 standard, 1 scalable, 2 scalable with integrity. TDX exists on the latter two and reports its
            // own integrity mode, so the value decides nothing here.
            [5] => set(&mut kind, ())?,
            [6] => set(&mut instance, octets::<16>(value)?)?,
            [7] => set(&mut configuration, ())?,
            _ => return Err(PckFault::Unknown),
        }
    }
    let (cpu_svn, pce_svn) = tcb.ok_or(PckFault::Missing)?;
    kind.ok_or(PckFault::Missing)?;
    Ok(PckExtension {
        ppid: ppid.ok_or(PckFault::Missing)?,
        cpu_svn,
        pce_svn,
        pce_id: pce_id.ok_or(PckFault::Missing)?,
        fmspc: fmspc.ok_or(PckFault::Missing)?,
    })
}

/// The entry 2: sixteen component versions, PCESVN, and the raw CPUSVN.
fn read_tcb(bytes: &[u8]) -> Result<([u8; 16], u16), PckFault> {
    let (mut components, mut pce_svn, mut cpu_svn) = ([None; 16], None, None);
    for (arcs, value) in entries(bytes)? {
        match *arcs.as_slice() {
            [2, component @ 1..=16] => {
                let slot = components.get_mut(usize::from(component) - 1).ok_or(PckFault::Unknown)?;
                set(slot, u8::try_from(integer(value)?).map_err(|_| PckFault::Malformed)?)?;
            }
            [2, 17] => set(&mut pce_svn, integer(value)?)?,
            [2, 18] => set(&mut cpu_svn, octets(value)?)?,
            _ => return Err(PckFault::Unknown),
        }
    }
    let cpu_svn: [u8; 16] = cpu_svn.ok_or(PckFault::Missing)?;
    for (component, raw) in components.iter().zip(cpu_svn) {
        if component.ok_or(PckFault::Missing)? != raw {
            return Err(PckFault::Contradiction);
        }
    }
    Ok((cpu_svn, pce_svn.ok_or(PckFault::Missing)?))
}

/// The identifier's arcs below the SGX extension, and the value's DER.
type Entry<'a> = (Vec<u8>, &'a [u8]);

/// The (identifier, value) pairs of a sequence.
fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, PckFault> {
    let mut outer = SliceReader::new(bytes).map_err(|_| PckFault::Malformed)?;
    let mut pairs: Vec<(ObjectIdentifier, &[u8])> = Vec::new();
    outer
        .sequence(|reader| {
            while !reader.is_finished() {
                pairs.push(
                    reader
                        .sequence(|pair| Ok::<_, der::Error>((ObjectIdentifier::decode(pair)?, pair.tlv_bytes()?)))?,
                );
            }
            Ok::<_, der::Error>(())
        })
        .map_err(|_| PckFault::Malformed)?;
    outer.finish().map_err(|_| PckFault::Malformed)?;
    pairs
        .into_iter()
        .map(|(identifier, value)| {
            let arcs = identifier.as_bytes().strip_prefix(PREFIX).ok_or(PckFault::Unknown)?;
            Ok((arcs.to_vec(), value))
        })
        .collect()
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), PckFault> {
    if slot.replace(value).is_some() {
        Err(PckFault::Twice)
    } else {
        Ok(())
    }
}

fn octets<const LENGTH: usize>(value: &[u8]) -> Result<[u8; LENGTH], PckFault> {
    let octets = <&OctetStringRef>::from_der(value).map_err(|_| PckFault::Malformed)?;
    octets.as_bytes().try_into().map_err(|_| PckFault::Malformed)
}

fn integer(value: &[u8]) -> Result<u16, PckFault> {
    match *UintRef::from_der(value).map_err(|_| PckFault::Malformed)?.as_bytes() {
        [low] => Ok(u16::from(low)),
        [high, low] => Ok(u16::from_be_bytes([high, low])),
        _ => Err(PckFault::Malformed),
    }
}
