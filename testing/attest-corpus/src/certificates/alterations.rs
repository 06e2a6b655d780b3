//! What can be wrong in a certificate, each with the refusal that is meant for it.
//!
//! Where parts of a certificate are, and how it is signed, is [`super`]'s.

use super::{
    set_signature, tbs, Draft,
    Whose::{self, Authority, Processor, QeIdentity, Root, RootOfQuote, TcbInfo},
    ALL, EXTENSIONS, ISSUER, KEY, SERIAL, SUBJECT, VALIDITY,
};
use crate::der::{extension, Element, NULL, OBJECT, SEQUENCE};
use phala_attest::CertificateFault as Fault;
use phala_insecure_tee::InsecureSigner;

// Extensions, by their object identifiers.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const UNKNOWN: &[u8] = &[0x2a, 3, 4];

const ENDS: &[Whose] = &[Processor, TcbInfo, QeIdentity];
const SIGNERS: &[Whose] = &[TcbInfo, QeIdentity];
const ISSUERS: &[Whose] = &[Authority, Root, RootOfQuote];

/// ECDSA with SHA-384 where it is with SHA-256.
fn sha_384(algorithm: &mut Element) {
    *algorithm.elements()[0].bytes().last_mut().unwrap() = 3;
}

/// One way of altering certificates.
pub(super) struct Alteration {
    /// What is wrong then.
    pub(super) name: &'static str,
    /// Whose certificates it makes wrong.
    pub(super) of: &'static [Whose],
    /// Alters what is signed then.
    pub(super) draft: fn(&mut Draft),
    /// Alters the DER of what was signed.
    pub(super) signed: fn(&mut Vec<u8>),
    /// The refusal.
    pub(super) meant: fn(Whose) -> String,
}

/// Altered before it is signed, and refused for what the certificate says.
const fn before(
    name: &'static str,
    of: &'static [Whose],
    draft: fn(&mut Draft),
    meant: fn(Whose) -> String,
) -> Alteration {
    Alteration { name, of, draft, signed: |_| (), meant }
}

/// Altered after it was signed.
const fn after(name: &'static str, signed: fn(&mut Vec<u8>), meant: fn(Whose) -> String) -> Alteration {
    Alteration { name, of: ALL, draft: |_| (), signed, meant }
}

/// The part that is altered after signing.
fn altered(der: &mut Vec<u8>, alter: impl FnOnce(&mut Element)) {
    let mut certificate = Element::decode(der);
    alter(&mut certificate);
    *der = certificate.encode();
}

/// A processor's certificate is refused as another authority's before anything else about it is judged.
fn of_issuer(whose: Whose) -> String {
    if whose == Processor {
        "Evidence(PckAuthority)".to_owned()
    } else {
        whose.refusal(Fault::IssuerName)
    }
}

/// What another key's certificate says is sound; what the former key signed is not by it.
fn of_key(whose: Whose) -> String {
    match whose {
        Processor => "Evidence(QeReportSignature)".to_owned(),
        Authority => "Collateral(PckCrl(Signature))".to_owned(),
        TcbInfo => "Collateral(TcbInfo(Signature))".to_owned(),
        QeIdentity => "Collateral(QeIdentity(Signature))".to_owned(),
        Root | RootOfQuote => whose.refusal(Fault::Signature),
    }
}

/// All of them.
pub(super) const ALTERATIONS: &[Alteration] = &[
    before("version 1", ALL, |d| drop(tbs(&mut d.certificate).remove(0)), |w| w.refusal(Fault::Version)),
    before("version 2", ALL, |d| *d.part(0).elements()[0].bytes() = vec![1], |w| w.refusal(Fault::Version)),
    before("version 4", ALL, |d| *d.part(0).elements()[0].bytes() = vec![3], |w| w.refusal(Fault::Malformed)),
    before("serial number negative", ALL, |d| d.part(SERIAL).bytes()[0] = 0xa5, |w| w.refusal(Fault::Serial)),
    before("serial number too long", ALL, |d| d.part(SERIAL).bytes().insert(0, 0x40), |w| w.refusal(Fault::Serial)),
    before(
        "signature algorithm inside",
        ALL,
        |d| {
            let [inside, _] = d.algorithms();
            sha_384(inside);
        },
        |w| w.refusal(Fault::SignatureAlgorithm),
    ),
    before(
        "signature algorithm outside",
        ALL,
        |d| {
            let [_, outside] = d.algorithms();
            sha_384(outside);
        },
        |w| w.refusal(Fault::SignatureAlgorithm),
    ),
    before(
        "signature algorithm in both places",
        ALL,
        |d| d.algorithms().into_iter().for_each(sha_384),
        |w| w.refusal(Fault::SignatureAlgorithm),
    ),
    before(
        "signature algorithm with parameters",
        ALL,
        |d| d.algorithms().into_iter().for_each(|algorithm| algorithm.elements().push(Element::new(NULL, &[]))),
        |w| w.refusal(Fault::SignatureAlgorithm),
    ),
    before("issuer of another name", ALL, |d| *d.common_name(ISSUER).last_mut().unwrap() ^= 1, of_issuer),
    before("issuer without a name", ALL, |d| d.part(ISSUER).elements().clear(), of_issuer),
    before(
        "issued by itself",
        &[Authority],
        |d| {
            *d.part(ISSUER) = d.part(SUBJECT).clone();
            d.signer = InsecureSigner::Authority;
        },
        of_issuer,
    ),
    before(
        "issued by the pck authority",
        SIGNERS,
        |d| {
            *d.part(ISSUER) = tbs(&mut d.authority)[SUBJECT].clone();
            d.signer = InsecureSigner::Authority;
        },
        of_issuer,
    ),
    before(
        "issued by the root",
        &[Processor],
        |d| {
            *d.part(ISSUER) = tbs(&mut d.authority)[ISSUER].clone();
            d.signer = InsecureSigner::Root;
        },
        of_issuer,
    ),
    before("ended a second ago", ALL, |d| valid(d, None, Some(b"270115075959Z")), |w| w.refusal(Fault::Expired)),
    before("ended when it began", ALL, |d| valid(d, None, Some(b"250101000000Z")), |w| w.refusal(Fault::Expired)),
    before("begins in a second", ALL, |d| valid(d, Some(b"270115080001Z"), None), |w| w.refusal(Fault::NotYetValid)),
    before("begins when it ends", ALL, |d| valid(d, Some(b"491231235959Z"), None), |w| w.refusal(Fault::NotYetValid)),
    before(
        "ends in a thirteenth month",
        ALL,
        |d| valid(d, None, Some(b"491331235959Z")),
        |w| w.refusal(Fault::Malformed),
    ),
    before(
        "subject of another name",
        ALL,
        |d| *d.common_name(SUBJECT).last_mut().unwrap() ^= 1,
        |w| w.refusal(Fault::SubjectName),
    ),
    before(
        "subject of the name of a processor",
        &[Authority, TcbInfo, QeIdentity],
        |d| *d.common_name(SUBJECT) = b"INSECURE Phala PCK Certificate".to_vec(),
        |w| w.refusal(Fault::SubjectName),
    ),
    before(
        "subject of the name of a signer of documents",
        &[Processor, Authority],
        |d| *d.common_name(SUBJECT) = b"INSECURE Phala TCB Signing".to_vec(),
        |w| w.refusal(Fault::SubjectName),
    ),
    before("subject without a name", ALL, |d| d.part(SUBJECT).elements().clear(), |w| w.refusal(Fault::SubjectName)),
    before(
        "subject of two names",
        ALL,
        |d| {
            let name = d.part(SUBJECT).elements()[0].clone();
            d.part(SUBJECT).elements().push(name);
        },
        |w| w.refusal(Fault::SubjectName),
    ),
    before("key of another", ALL, |d| *d.part(KEY) = tbs(&mut d.other)[KEY].clone(), of_key),
    before(
        "key on another curve",
        ALL,
        |d| {
            d.key_algorithm()[1] = Element::new(OBJECT, &[0x2b, 0x81, 4, 0, 0x22]);
            *d.point() = [&[0, 4][..], &[7; 96]].concat();
        },
        |w| w.refusal(Fault::KeyAlgorithm),
    ),
    before(
        "key of rsa",
        ALL,
        |d| {
            let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
            *d.key_algorithm() = vec![Element::new(OBJECT, &rsa), Element::new(NULL, &[])];
        },
        |w| w.refusal(Fault::KeyAlgorithm),
    ),
    before("key without a curve", ALL, |d| drop(d.key_algorithm().pop()), |w| w.refusal(Fault::KeyAlgorithm)),
    before(
        "key compressed",
        ALL,
        |d| {
            let odd = d.point()[65] & 1;
            d.point()[1] = 2 | odd;
            d.point().truncate(34);
        },
        |w| w.refusal(Fault::KeyAlgorithm),
    ),
    before("key off the curve", ALL, |d| d.point()[65] ^= 1, |w| w.refusal(Fault::KeyAlgorithm)),
    before("key of no bytes", ALL, |d| d.point().truncate(1), |w| w.refusal(Fault::KeyAlgorithm)),
    before(
        "unique identifier of the issuer",
        ALL,
        |d| tbs(&mut d.certificate).insert(EXTENSIONS, Element::new(0x81, &[0, 7])),
        |w| w.refusal(Fault::UniqueIdentifier),
    ),
    before(
        "unique identifier of the subject",
        ALL,
        |d| tbs(&mut d.certificate).insert(EXTENSIONS, Element::new(0x82, &[0, 7])),
        |w| w.refusal(Fault::UniqueIdentifier),
    ),
    before("no extensions", ALL, |d| drop(tbs(&mut d.certificate).pop()), |w| w.refusal(Fault::KeyUsage)),
    before("basic constraints absent", ISSUERS, |d| d.without(BASIC_CONSTRAINTS), |w| w.refusal(Fault::NotAuthority)),
    before("basic constraints malformed", ALL, |d| d.set(BASIC_CONSTRAINTS, &[5, 0]), |w| w.refusal(Fault::Malformed)),
    before(
        "basic constraints of no authority",
        ISSUERS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 0]),
        |w| w.refusal(Fault::NotAuthority),
    ),
    before(
        "basic constraints of an authority",
        ENDS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff]),
        |w| w.refusal(Fault::IsAuthority),
    ),
    before(
        "basic constraints of an authority with a path",
        ENDS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 6, 1, 1, 0xff, 2, 1, 0]),
        |w| w.refusal(Fault::IsAuthority),
    ),
    before(
        "path length absent",
        ISSUERS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff]),
        |w| w.refusal(Fault::NotAuthority),
    ),
    before(
        "path length of two",
        ISSUERS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 6, 1, 1, 0xff, 2, 1, 2]),
        |w| w.refusal(Fault::NotAuthority),
    ),
    before(
        "path length of 256",
        ISSUERS,
        |d| d.set(BASIC_CONSTRAINTS, &[0x30, 7, 1, 1, 0xff, 2, 2, 1, 0]),
        |w| w.refusal(Fault::Malformed),
    ),
    before("key usage absent", ALL, |d| d.without(KEY_USAGE), |w| w.refusal(Fault::KeyUsage)),
    before("key usage of agreement", ALL, |d| d.set(KEY_USAGE, &[3, 2, 3, 8]), |w| w.refusal(Fault::KeyUsage)),
    before("key usage of certificates alone", ALL, |d| d.set(KEY_USAGE, &[3, 2, 2, 4]), |w| w.refusal(Fault::KeyUsage)),
    before("key usage of lists alone", ALL, |d| d.set(KEY_USAGE, &[3, 2, 1, 2]), |w| w.refusal(Fault::KeyUsage)),
    before(
        "key usage of signatures alone",
        ISSUERS,
        |d| d.set(KEY_USAGE, &[3, 2, 7, 0x80]),
        |w| w.refusal(Fault::KeyUsage),
    ),
    before("key usage malformed", ISSUERS, |d| d.set(KEY_USAGE, &[5, 0]), |w| w.refusal(Fault::Malformed)),
    before(
        "unknown critical extension",
        ALL,
        |d| d.extensions().push(extension(UNKNOWN, true, &[5, 0])),
        |w| w.refusal(Fault::UnknownCriticalExtension),
    ),
    before(
        "extension twice",
        ALL,
        |d| {
            let usage = d.extension(KEY_USAGE).clone();
            d.extensions().push(usage);
        },
        |w| w.refusal(Fault::DuplicateExtension),
    ),
    before(
        "extended use of a client",
        ALL,
        |d| d.extensions().push(extension(EXTENDED_KEY_USAGE, false, &extended_use(2))),
        |w| w.refusal(Fault::Restricted),
    ),
    before(
        "extended use of a server",
        ALL,
        |d| d.extensions().push(extension(EXTENDED_KEY_USAGE, false, &extended_use(1))),
        |w| w.refusal(Fault::Restricted),
    ),
    before(
        "signed by another",
        ALL,
        |d| {
            d.signer = match d.signer {
                InsecureSigner::Authority => InsecureSigner::Root,
                InsecureSigner::Root | InsecureSigner::Documents => InsecureSigner::Authority,
            };
        },
        |w| w.refusal(Fault::Signature),
    ),
    after(
        "signed with another serial number",
        |der| altered(der, |certificate| *tbs(certificate)[SERIAL].bytes().last_mut().unwrap() ^= 1),
        |w| w.refusal(Fault::Signature),
    ),
    after(
        "signature of zeros",
        |der| altered(der, |certificate| set_signature(certificate, &[0x30, 6, 2, 1, 0, 2, 1, 0])),
        |w| w.refusal(Fault::Malformed),
    ),
    after(
        "signature of no bytes",
        |der| altered(der, |certificate| set_signature(certificate, &[])),
        |w| w.refusal(Fault::Malformed),
    ),
    after(
        "signature with an unused bit",
        |der| altered(der, |certificate| certificate.elements()[2].bytes()[0] = 1),
        |w| w.refusal(Fault::Malformed),
    ),
    after(
        "signature with a byte behind",
        |der| altered(der, |certificate| certificate.elements()[2].bytes().push(0)),
        |w| w.refusal(Fault::Malformed),
    ),
    after("byte behind the certificate", |der| der.push(0), |w| w.refusal(Fault::Malformed)),
    after("last byte cut off", |der| der.truncate(der.len() - 1), |w| w.refusal(Fault::Malformed)),
    after(
        "length in three bytes",
        |der| {
            der.splice(1..2, [0x83, 0]);
        },
        |w| w.refusal(Fault::Malformed),
    ),
];

/// Other dates, in UTCTime.
fn valid(draft: &mut Draft, from: Option<&[u8; 13]>, until: Option<&[u8; 13]>) {
    for (place, date) in [from, until].into_iter().enumerate() {
        if let Some(date) = date {
            *draft.part(VALIDITY).elements()[place].bytes() = date.to_vec();
        }
    }
}

/// The value of an extended key usage: 1 of a TLS server, 2 of a client.
fn extended_use(of: u8) -> Vec<u8> {
    Element::of(SEQUENCE, vec![Element::new(OBJECT, &[0x2b, 6, 1, 5, 5, 7, 3, of])]).encode()
}
