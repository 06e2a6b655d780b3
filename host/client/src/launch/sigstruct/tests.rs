//! A SIGSTRUCT with the fields of a genuine quote's enclave, signed by the published key of `deploy/sgx`: made, and its measurement
//! computed, by a Python script of its own with the package `cryptography`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use phala_attest::{canonical_quote, decode_quote, enclave_measurement, Report};

const GOOD: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.sigstruct");
/// The same with the mask of XFRM that Gramine has where a manifest decides nothing.
const OPEN: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.open.sigstruct");
const MEASUREMENT: &str = include_str!("../../../../../testing/vectors/attest/sgx_v3.sigstruct.measurement");
const QUOTE: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.bin");
const QUOTES_MEASUREMENT: &str = include_str!("../../../../../testing/vectors/attest/sgx_v3.measurement");

#[test]
fn a_sigstruct_has_the_measurement_of_the_quote_of_such_an_enclave() {
    let sigstruct = decode_sigstruct(GOOD).unwrap();
    let mut report = sigstruct.enclave(None).unwrap();
    assert_eq!(hex::encode(enclave_measurement(&report)), MEASUREMENT.trim());
    // MRSIGNER that deploy/sgx/README.md names.
    let signer = "defa15c3fedb0650698e1b4d0a3fd226d2c0313391b59aef1a4d60be8d451066";
    assert_eq!(hex::encode(sigstruct.mr_signer), signer);

    // The quote's enclave has another signer, whose key is not known here; in nothing else does it differ.
    let quote = decode_quote(canonical_quote(QUOTE).unwrap()).unwrap();
    let Report::Enclave(genuine) = quote.report else { panic!("an enclave") };
    assert_ne!(enclave_measurement(&report), enclave_measurement(&genuine));
    report.mr_signer = genuine.mr_signer;
    assert_eq!(hex::encode(enclave_measurement(&report)), QUOTES_MEASUREMENT.trim());
    assert_eq!(enclave_measurement(&report), enclave_measurement(&genuine));
}

#[test]
fn every_bit_that_a_mask_leaves_open_is_refused_by_name() {
    let good = decode_sigstruct(GOOD).unwrap();
    let refused = |sigstruct: &Sigstruct, field, bit: u32| {
        let open = OpenBits { field, bits: 1 << bit };
        assert_eq!(sigstruct.enclave(None), Err(SigstructFault::Open(open)), "bit {bit}");
        SigstructFault::Open(open).to_string()
    };
    let mut told = Vec::new();
    for bit in 0..64 {
        let flags = Sigstruct { flags_mask: !(1 << bit), ..good.clone() };
        if bit == 0 {
            // INIT is the processor's to set.
            assert_eq!(flags.enclave(None), good.enclave(None));
        } else {
            told.push(refused(&flags, Masked::Flags, bit));
        }
        told.push(refused(&Sigstruct { xfrm_mask: !(1 << bit), ..good.clone() }, Masked::Xfrm, bit));
    }
    for bit in 0..32 {
        told.push(refused(&Sigstruct { misc_mask: !(1 << bit), ..good.clone() }, Masked::MiscSelect, bit));
    }
    for name in [
        "ATTRIBUTES.FLAGS: DEBUG (bit 1)",
        "ATTRIBUTES.FLAGS: PROVISIONKEY (bit 4)",
        "ATTRIBUTES.FLAGS: KSS (bit 7)",
        "ATTRIBUTES.FLAGS: bit 63",
        "ATTRIBUTES.XFRM: AVX (bit 2)",
        "MISCSELECT: EXINFO (bit 0)",
    ] {
        assert_eq!(told.iter().filter(|told| told.ends_with(name)).count(), 1, "{name}: {told:#?}");
    }

    // Well signed, as Gramine does it by itself; several bits are all named, and a mask of nothing ends somewhere.
    let open = decode_sigstruct(OPEN).unwrap();
    let told = open.enclave(None).unwrap_err().to_string();
    for name in ["AVX (bit 2)", "AVX-512 (bit 5)", "AVX-512 (bit 7)", "AMX (bit 17)", "AMX (bit 18)"] {
        assert!(told.contains(name), "{told}");
    }
    assert_eq!(Sigstruct { xfrm_mask: u64::MAX, ..open }, good);
    let nothing = Sigstruct { flags_mask: 0, ..good }.enclave(None).unwrap_err().to_string();
    assert!(nothing.contains("DEBUG (bit 1)") && nothing.ends_with("and 51 more"), "{nothing}");
}

#[test]
fn what_the_signer_did_not_decide_and_what_the_verifier_refuses_has_no_measurement() {
    let good = decode_sigstruct(GOOD).unwrap();
    let with = |alter: fn(&mut Sigstruct), configuration| {
        let mut sigstruct = good.clone();
        alter(&mut sigstruct);
        sigstruct.enclave(configuration)
    };
    let refused = |alter: fn(&mut Sigstruct)| with(alter, None).unwrap_err();
    assert_eq!(refused(|s| s.flags |= 1 << 1), SigstructFault::Refused(Refusal::EnclaveDebug));
    assert_eq!(refused(|s| s.flags |= 1 << 4), SigstructFault::Refused(Refusal::EnclaveAttributes));
    assert_eq!(refused(|s| s.flags = 0), SigstructFault::Refused(Refusal::EnclaveAttributes));
    assert_eq!(refused(|s| s.xfrm = 0), SigstructFault::Refused(Refusal::EnclaveXfrm));
    assert_eq!(refused(|s| s.misc_select = 2), SigstructFault::Refused(Refusal::EnclaveMiscSelect));
    assert_eq!(refused(|s| s.isv_family_id = [1; 16]), SigstructFault::Refused(Refusal::EnclaveKss));
    assert_eq!(refused(|s| s.flags |= INIT), SigstructFault::Init);
    assert_eq!(refused(|s| s.cet_attributes = 1), SigstructFault::Cet);
    assert!(refused(|s| s.flags |= 1 << 1).to_string().contains("debuggable"));

    // With KSS, CONFIGID and CONFIGSVN are whoever launches it's, and count; without, there are none.
    let kss: fn(&mut Sigstruct) = |s| s.flags |= KSS;
    assert_eq!(with(kss, None), Err(SigstructFault::Configuration));
    let configured = |id, svn| with(kss, Some(Configuration { id, svn }));
    let zeros = enclave_measurement(&configured([0; 64], 0).unwrap());
    for (id, svn) in [([1; 64], 0), ([0; 64], 1)] {
        assert_ne!(enclave_measurement(&configured(id, svn).unwrap()), zeros);
    }
    let needless = Some(Configuration { id: [1; 64], svn: 0 });
    assert_eq!(with(|_| (), needless), Err(SigstructFault::Refused(Refusal::EnclaveKss)));
}

#[test]
fn bytes_that_no_processor_takes_are_refused_for_what_is_wrong_in_them() {
    for length in [0, 1, 128, 1_807] {
        assert_eq!(decode_sigstruct(&GOOD[..length]), Err(SigstructFault::Length));
    }
    assert_eq!(decode_sigstruct(&[GOOD, &[0]].concat()), Err(SigstructFault::Length));
    assert_eq!(decode_sigstruct(&[GOOD, GOOD].concat()), Err(SigstructFault::Length));
    assert!(decode_sigstruct(GOOD).is_ok());
    for at in (0..SIGSTRUCT_LENGTH).step_by(5) {
        let mut bytes = GOOD.to_vec();
        bytes[at] ^= 1;
        let expected = match at {
            0..20 | 24..40 => SigstructFault::Header,
            44..128 | 910..912 | 992..1_008 | 1_028..1_040 => SigstructFault::Reserved,
            512..516 => SigstructFault::Key,
            1_040.. => SigstructFault::Quotients,
            _ => SigstructFault::Signature,
        };
        assert_eq!(decode_sigstruct(&bytes), Err(expected), "byte {at}");
    }
    // A key of fewer bits, and of none; a signature that is no number of the key, and nought.
    let altered = |alter: fn(&mut Vec<u8>)| {
        let mut bytes = GOOD.to_vec();
        alter(&mut bytes);
        decode_sigstruct(&bytes)
    };
    assert_eq!(altered(|bytes| bytes[511] = 0x7f), Err(SigstructFault::Key));
    assert_eq!(altered(|bytes| bytes[128..512].fill(0)), Err(SigstructFault::Key));
    assert_eq!(altered(|bytes| bytes[516..900].fill(0xff)), Err(SigstructFault::Signature));
    assert_eq!(altered(|bytes| bytes[516..900].fill(0)), Err(SigstructFault::Signature));
}
