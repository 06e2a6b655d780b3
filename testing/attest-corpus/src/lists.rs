//! Both revocation lists, altered *before* the development root's published keys sign them, or in their signature.
//!
//! Each case says which refusal is meant for it, as in [`crate::certificates`].

use crate::{
    certificates::{listed, serial},
    der::{extension, Element, BIT_STRING, ENUMERATED, INTEGER, NULL, OBJECT, OCTET_STRING, SEQUENCE, UTC_TIME},
    signed::{base, VENDOR},
    Case, Kind,
};
use phala_attest::{List, RevocationFault as Fault};
use phala_insecure_tee::InsecureSigner;

/// The cases' class.
pub const CLASS: &str = "signed: revocation list";

// Where the parts of a list's signed part are. Entries, if any, stand between the last two.
const VERSION: usize = 0;
const ALGORITHM: usize = 1;
const ISSUER: usize = 2;
const THIS_UPDATE: usize = 3;
const NEXT_UPDATE: usize = 4;
const ENTRIES: usize = 5;

// Extensions of a list, and of its entries.
const NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON: &[u8] = &[0x55, 0x1d, 21];
const DELTA: &[u8] = &[0x55, 0x1d, 27];
const PARTITION: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const UNKNOWN: &[u8] = &[0x2a, 3, 4];

/// Whose list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Root,
    Authority,
}

impl Whose {
    const BOTH: [Self; 2] = [Self::Root, Self::Authority];

    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root's",
            Self::Authority => "pck authority's",
        }
    }

    const fn issuer(self) -> InsecureSigner {
        match self {
            Self::Root => InsecureSigner::Root,
            Self::Authority => InsecureSigner::Authority,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Root => Self::Authority,
            Self::Authority => Self::Root,
        }
    }

    fn refusal(self, fault: Fault) -> String {
        match self {
            Self::Root => format!("Collateral(RootCrl({fault:?}))"),
            Self::Authority => format!("Collateral(PckCrl({fault:?}))"),
        }
    }

    fn get(self, case: &Case) -> Vec<u8> {
        let collateral = case.collateral.as_ref().unwrap();
        match self {
            Self::Root => collateral.root_ca_crl.to_vec(),
            Self::Authority => collateral.pck_crl.to_vec(),
        }
    }

    fn put(self, case: &mut Case, der: Vec<u8>) {
        let mut collateral = case.collateral.clone().unwrap();
        match self {
            Self::Root => collateral.root_ca_crl = List::try_from(der).unwrap(),
            Self::Authority => collateral.pck_crl = List::try_from(der).unwrap(),
        }
        case.set_collateral(collateral);
    }
}

/// A list before it is signed.
struct Draft {
    list: Element,
    signer: InsecureSigner,
    /// The other list, of which something is borrowed.
    other: Element,
}

fn tbs(list: &mut Element) -> &mut Vec<Element> {
    list.elements()[0].elements()
}

impl Draft {
    fn of(case: &Case, whose: Whose) -> Self {
        Self {
            list: Element::decode(&whose.get(case)),
            signer: whose.issuer(),
            other: Element::decode(&whose.other().get(case)),
        }
    }

    fn part(&mut self, place: usize) -> &mut Element {
        &mut tbs(&mut self.list)[place]
    }

    fn extensions(&mut self) -> &mut Vec<Element> {
        tbs(&mut self.list).last_mut().unwrap().elements()[0].elements()
    }

    /// The list's number, an extension.
    fn number(&mut self) -> &mut Element {
        let found = self.extensions().iter_mut().find_map(|extension| {
            let is_it = extension.elements()[0].bytes().as_slice() == NUMBER;
            is_it.then_some(extension)
        });
        found.unwrap()
    }

    /// Another value of the number.
    fn set_number(&mut self, value: &Element) {
        *self.number().elements().last_mut().unwrap() = Element::new(OCTET_STRING, &value.encode());
    }

    fn set_entries(&mut self, entries: Vec<Element>) {
        tbs(&mut self.list).insert(ENTRIES, Element::of(SEQUENCE, entries));
    }

    fn algorithms(&mut self) -> [&mut Element; 2] {
        let [signed, outer, _] = self.list.elements().as_mut_slice() else { panic!("three parts") };
        [&mut signed.elements()[ALGORITHM], outer]
    }

    fn sign(mut self) -> Vec<u8> {
        let message = self.list.elements()[0].encode();
        set_signature(&mut self.list, &VENDOR.sign(self.signer, &message));
        self.list.encode()
    }
}

fn set_signature(list: &mut Element, signature: &[u8]) {
    list.elements()[2] = Element::new(BIT_STRING, &[&[0], signature].concat());
}

/// ECDSA with SHA-384 where it is with SHA-256.
fn sha_384(algorithm: &mut Element) {
    *algorithm.elements()[0].bytes().last_mut().unwrap() = 3;
}

/// An entry of 2026.
fn entry(serial: Element, extensions: Vec<Element>) -> Element {
    let mut parts = vec![serial, Element::new(UTC_TIME, b"260101000000Z")];
    if !extensions.is_empty() {
        parts.push(Element::of(SEQUENCE, extensions));
    }
    Element::of(SEQUENCE, parts)
}

/// The serial number of nobody's certificate, one of several.
fn nobody(index: usize) -> Element {
    Element::new(INTEGER, &[0x7f, (index >> 8) as u8, index as u8])
}

fn reason(code: u8) -> Element {
    extension(REASON, false, &Element::new(ENUMERATED, &[code]).encode())
}

/// What is altered, and the fault that was meant.
type Alteration = (&'static str, fn(&mut Draft), Fault);

const ALTERATIONS: &[Alteration] = &[
    ("version 1", |d| drop(tbs(&mut d.list).remove(VERSION)), Fault::Malformed),
    ("version 3", |d| *d.part(VERSION).bytes() = vec![2], Fault::Version),
    ("version 4", |d| *d.part(VERSION).bytes() = vec![3], Fault::Malformed),
    (
        "signature algorithm inside",
        |d| {
            let [inside, _] = d.algorithms();
            sha_384(inside);
        },
        Fault::SignatureAlgorithm,
    ),
    (
        "signature algorithm outside",
        |d| {
            let [_, outside] = d.algorithms();
            sha_384(outside);
        },
        Fault::SignatureAlgorithm,
    ),
    ("signature algorithm in both places", |d| d.algorithms().into_iter().for_each(sha_384), Fault::SignatureAlgorithm),
    (
        "signature algorithm with parameters",
        |d| d.algorithms().into_iter().for_each(|algorithm| algorithm.elements().push(Element::new(NULL, &[]))),
        Fault::SignatureAlgorithm,
    ),
    ("issuer without a name", |d| d.part(ISSUER).elements().clear(), Fault::IssuerName),
    ("issuer in another order", |d| d.part(ISSUER).elements().reverse(), Fault::IssuerName),
    ("issuer of the other list", |d| *d.part(ISSUER) = tbs(&mut d.other)[ISSUER].clone(), Fault::IssuerName),
    (
        "issued by the other's issuer",
        |d| {
            *d.part(ISSUER) = tbs(&mut d.other)[ISSUER].clone();
            d.signer = other_signer(d.signer);
        },
        Fault::IssuerName,
    ),
    ("issued in a second", |d| *d.part(THIS_UPDATE).bytes() = b"270115080001Z".to_vec(), Fault::NotYetIssued),
    ("ended a second ago", |d| *d.part(NEXT_UPDATE).bytes() = b"270115075959Z".to_vec(), Fault::Expired),
    ("ends now", |d| *d.part(NEXT_UPDATE).bytes() = b"270115080000Z".to_vec(), Fault::Expired),
    ("ended when it was issued", |d| *d.part(NEXT_UPDATE) = d.part(THIS_UPDATE).clone(), Fault::Expired),
    ("ends in a thirteenth month", |d| *d.part(NEXT_UPDATE).bytes() = b"271315080000Z".to_vec(), Fault::Malformed),
    ("no next update", |d| drop(tbs(&mut d.list).remove(NEXT_UPDATE)), Fault::NoNextUpdate),
    ("no extensions", |d| drop(tbs(&mut d.list).pop()), Fault::Number),
    (
        "number absent",
        |d| d.extensions().retain_mut(|extension| extension.elements()[0].bytes().as_slice() != NUMBER),
        Fault::Number,
    ),
    ("number negative", |d| d.set_number(&Element::new(INTEGER, &[0x81])), Fault::Number),
    ("number of 21 bytes", |d| d.set_number(&Element::new(INTEGER, &[1; 21])), Fault::Number),
    ("number that is none", |d| d.set_number(&Element::new(OCTET_STRING, &[1])), Fault::Number),
    (
        "number twice",
        |d| {
            let number = d.number().clone();
            d.extensions().push(number);
        },
        Fault::DuplicateExtension,
    ),
    (
        "number critical",
        |d| *d.number() = extension(NUMBER, true, &Element::new(INTEGER, &[1]).encode()),
        Fault::NotComplete,
    ),
    ("unknown critical extension", |d| d.extensions().push(extension(UNKNOWN, true, &[5, 0])), Fault::NotComplete),
    (
        "a critical delta",
        |d| d.extensions().push(extension(DELTA, true, &Element::new(INTEGER, &[1]).encode())),
        Fault::NotComplete,
    ),
    (
        "a delta that is not critical",
        |d| d.extensions().push(extension(DELTA, false, &Element::new(INTEGER, &[1]).encode())),
        Fault::NotComplete,
    ),
    // Of certificates of users alone.
    (
        "a critical partition",
        |d| d.extensions().push(extension(PARTITION, true, &[0x30, 3, 0x81, 1, 0xff])),
        Fault::NotComplete,
    ),
    (
        "a partition that is not critical",
        |d| d.extensions().push(extension(PARTITION, false, &[0x30, 3, 0x81, 1, 0xff])),
        Fault::NotComplete,
    ),
    (
        "entry with an unknown critical extension",
        |d| d.set_entries(vec![entry(nobody(1), vec![extension(UNKNOWN, true, &[5, 0])])]),
        Fault::NotComplete,
    ),
    (
        "entry of another issuer's certificate",
        |d| d.set_entries(vec![entry(nobody(1), vec![extension(CERTIFICATE_ISSUER, false, &[0x30, 0])])]),
        Fault::NotComplete,
    ),
    (
        "entry of a negative serial number",
        |d| d.set_entries(vec![entry(Element::new(INTEGER, &[0xa5, 1]), Vec::new())]),
        Fault::Serial,
    ),
    ("entry without a date", |d| d.set_entries(vec![Element::of(SEQUENCE, vec![nobody(1)])]), Fault::Malformed),
    ("signed by the other's issuer", |d| d.signer = other_signer(d.signer), Fault::Signature),
    ("signed by the signer of documents", |d| d.signer = InsecureSigner::Documents, Fault::Signature),
];

/// A name, what is done to a signed list, and the refusal that is meant for it.
type After = (&'static str, fn(&mut Element), Fault);

/// What is altered after the list was signed.
const AFTER: &[After] = &[
    ("signed with another date", |list| *tbs(list)[THIS_UPDATE].bytes() = b"260601000000Z".to_vec(), Fault::Signature),
    ("signature of zeros", |list| set_signature(list, &[0x30, 6, 2, 1, 0, 2, 1, 0]), Fault::Malformed),
    ("signature of no bytes", |list| set_signature(list, &[]), Fault::Malformed),
    ("signature with an unused bit", |list| list.elements()[2].bytes()[0] = 1, Fault::Malformed),
    ("signature with a byte behind", |list| list.elements()[2].bytes().push(0), Fault::Malformed),
    ("a part behind the signature", |list| list.elements().push(Element::new(OBJECT, UNKNOWN)), Fault::Malformed),
];

fn other_signer(signer: InsecureSigner) -> InsecureSigner {
    match signer {
        InsecureSigner::Root => InsecureSigner::Authority,
        InsecureSigner::Authority | InsecureSigner::Documents => InsecureSigner::Root,
    }
}

/// Every alteration of both lists, and what they may revoke.
pub fn cases(kind: Kind) -> Vec<Case> {
    let base = base(kind);
    let mut cases = Vec::new();
    let mut with = |whose: Whose, name: &str, der: Vec<u8>, meant: String| {
        cases.push(base.altered(CLASS, format!("{}: {name}", whose.name()), |case| {
            whose.put(case, der);
            case.meant = Some(meant);
        }));
    };
    for whose in Whose::BOTH {
        for (name, alter, fault) in ALTERATIONS {
            let mut draft = Draft::of(&base, whose);
            alter(&mut draft);
            with(whose, name, draft.sign(), whose.refusal(*fault));
        }
        for (name, alter, fault) in AFTER {
            let mut list = Element::decode(&Draft::of(&base, whose).sign());
            alter(&mut list);
            with(whose, name, list.encode(), whose.refusal(*fault));
        }
        let whole = whose.get(&base);
        with(whose, "byte behind the list", [&whole[..], &[0]].concat(), whose.refusal(Fault::Malformed));
        with(whose, "last byte cut off", whole[..whole.len() - 1].to_vec(), whose.refusal(Fault::Malformed));
    }
    let [processor, authority, signer, root] = listed(&base);
    for (whose, what, certificate, meant) in [
        (Whose::Authority, "processor", processor, "Evidence(PckRevoked)"),
        (Whose::Root, "pck authority", authority, "Collateral(Revoked(PckAuthority))"),
        (Whose::Root, "signer of documents", signer, "Collateral(Revoked(TcbInfo))"),
        (Whose::Root, "root", root, "Collateral(Revoked(Root))"),
    ] {
        let own = |extensions: Vec<Element>| entry(serial(&certificate), extensions);
        let others = |from: usize| (from..from + 60).map(|index| entry(nobody(index), vec![reason(1)]));
        let ways: [(&str, Vec<Element>); 5] = [
            ("alone, without a reason", vec![own(Vec::new())]),
            ("to be removed from the list", vec![own(vec![reason(8)])]),
            ("twice", vec![own(vec![reason(1)]), own(vec![reason(4)])]),
            ("first of many", [own(vec![reason(1)])].into_iter().chain(others(0)).collect()),
            ("between many", others(0).chain([own(vec![reason(1)])]).chain(others(60)).collect()),
        ];
        for (way, entries) in ways {
            let mut draft = Draft::of(&base, whose);
            draft.set_entries(entries);
            with(whose, &format!("revokes the {what}, {way}"), draft.sign(), meant.to_owned());
        }
    }
    let mut draft = Draft::of(&base, Whose::Authority);
    draft.set_entries((0..2_049).map(|index| entry(nobody(index), Vec::new())).collect());
    with(Whose::Authority, "more entries than are kept", draft.sign(), Whose::Authority.refusal(Fault::TooLong));
    cases
}

/// What is signed again with nothing wrong.
pub fn without_effect(kind: Kind) -> Vec<(Case, &'static str)> {
    let base = base(kind);
    let mut cases = Vec::new();
    for whose in Whose::BOTH {
        let mut with = |name: &str, alter: fn(&mut Draft), why: &'static str| {
            let mut draft = Draft::of(&base, whose);
            alter(&mut draft);
            let der = draft.sign();
            let case = base.altered("signed: without effect", format!("{} list: {name}", whose.name()), |case| {
                whose.put(case, der);
            });
            cases.push((case, why));
        };
        with(
            "another number",
            |draft| draft.set_number(&Element::new(INTEGER, &[2])),
            "dates say which of two lists is newer",
        );
        with(
            "an entry of nobody",
            |draft| draft.set_entries(vec![entry(nobody(1), vec![reason(1)])]),
            "revokes another certificate",
        );
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_alike() {
        for kind in Kind::ALL {
            let base = base(kind);
            for whose in Whose::BOTH {
                let der = whose.get(&base);
                assert_eq!(Element::decode(&der).encode(), der, "{whose:?}");
                assert_eq!(Draft::of(&base, whose).sign(), der, "{whose:?}");
            }
        }
    }
}
