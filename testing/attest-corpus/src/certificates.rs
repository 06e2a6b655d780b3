//! Every certificate of the chains, altered *before* the development root's published keys sign it, or in its signature.
//!
//! One list of alterations for all of them: the processor's, its authority's, those of both documents' signers and the root's. Each case says
//! which refusal is meant for it, so that one which is refused for something else, such as a mistake of this tool's, is found.
//! [`without_effect`] holds the tool to account too: what it signs again with nothing wrong is accepted.

mod alterations;

use crate::{
    der::{certificates, pem, Element, BIT_STRING, INTEGER},
    layout,
    mutations::with_chain,
    signed::{base, VENDOR},
    Case, Kind,
};
use alterations::ALTERATIONS;
use phala_attest::{CertificateFault as Fault, Collateral, List};
use phala_insecure_tee::InsecureSigner;

/// The cases' class.
pub const CLASS: &str = "signed: certificate";

// Where the parts of a certificate's signed part are.
const SERIAL: usize = 1;
const ALGORITHM: usize = 2;
const ISSUER: usize = 3;
const VALIDITY: usize = 4;
const SUBJECT: usize = 5;
const KEY: usize = 6;
const EXTENSIONS: usize = 7;

/// An attribute of a name, by its object identifier.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// Whose certificate, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The processor's, in the quote.
    Processor,
    /// Its authority's, in the quote and in the collateral.
    Authority,
    /// That of the signer of TCB info.
    TcbInfo,
    /// That of the signer of the QE identity.
    QeIdentity,
    /// The root's, in all chains of the collateral.
    Root,
    /// The root's, in the quote.
    RootOfQuote,
}
use Whose::{Authority, Processor, QeIdentity, Root, RootOfQuote, TcbInfo};

const ALL: &[Whose] = &[Processor, Authority, TcbInfo, QeIdentity, Root, RootOfQuote];

impl Whose {
    const fn name(self) -> &'static str {
        match self {
            Processor => "processor",
            Authority => "pck authority",
            TcbInfo => "signer of tcb info",
            QeIdentity => "signer of qe identity",
            Root => "root",
            RootOfQuote => "root in the quote",
        }
    }

    const fn issuer(self) -> InsecureSigner {
        match self {
            Processor => InsecureSigner::Authority,
            _ => InsecureSigner::Root,
        }
    }

    /// How the verifier says that this certificate has this fault.
    fn refusal(self, fault: Fault) -> String {
        match self {
            Processor => format!("Evidence(PckCertificate({fault:?}))"),
            Authority => format!("Collateral(Certificate(PckAuthority, {fault:?}))"),
            TcbInfo => format!("Collateral(Certificate(TcbInfo, {fault:?}))"),
            QeIdentity => format!("Collateral(Certificate(QeIdentity, {fault:?}))"),
            // Its bytes are compared, whatever they say.
            Root => "Collateral(UntrustedRoot(TcbInfo))".to_owned(),
            RootOfQuote => "Evidence(PckRoot)".to_owned(),
        }
    }
}

/// A machine's certificates.
#[derive(Clone)]
struct Chains {
    processor: Vec<u8>,
    authority: Vec<u8>,
    signer: Vec<u8>,
    root: Vec<u8>,
}

impl Chains {
    fn of(case: &Case) -> Self {
        let chain = certificates(&case.quote[chain_start(case)..]);
        let [processor, authority, root] = <[Vec<u8>; 3]>::try_from(chain).unwrap();
        let collateral = case.collateral.as_ref().unwrap();
        let [signer, _] = <[Vec<u8>; 2]>::try_from(certificates(&collateral.tcb_info_issuer_chain)).unwrap();
        Self { processor, authority, signer, root }
    }

    fn get(&self, whose: Whose) -> &[u8] {
        match whose {
            Processor => &self.processor,
            Authority => &self.authority,
            TcbInfo | QeIdentity => &self.signer,
            Root | RootOfQuote => &self.root,
        }
    }
}

fn chain_start(case: &Case) -> usize {
    layout::all(case.kind, &case.quote).1
}

fn list<const LIMIT: usize>(chain: &[&[u8]]) -> List<u8, LIMIT> {
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    List::try_from(pem(&chain)).unwrap()
}

/// `case` with this certificate in the place of another.
fn put(case: &mut Case, chains: &Chains, whose: Whose, der: &[u8]) {
    let mut collateral: Collateral = case.collateral.clone().unwrap();
    let in_quote: Option<[&[u8]; 3]> = match whose {
        Processor => Some([der, &chains.authority, &chains.root]),
        Authority => Some([&chains.processor[..], der, &chains.root]),
        RootOfQuote => Some([&chains.processor[..], &chains.authority, der]),
        TcbInfo | QeIdentity | Root => None,
    };
    match whose {
        Processor | RootOfQuote => {}
        Authority => collateral.pck_crl_issuer_chain = list(&[der, &chains.root]),
        TcbInfo => collateral.tcb_info_issuer_chain = list(&[der, &chains.root]),
        QeIdentity => collateral.qe_identity_issuer_chain = list(&[der, &chains.root]),
        Root => {
            collateral.tcb_info_issuer_chain = list(&[&chains.signer, der]);
            collateral.qe_identity_issuer_chain = list(&[&chains.signer, der]);
            collateral.pck_crl_issuer_chain = list(&[&chains.authority, der]);
        }
    }
    if let Some(chain) = in_quote {
        put_in_quote(case, chain);
    }
    case.set_collateral(collateral);
}

fn put_in_quote(case: &mut Case, chain: [&[u8]; 3]) {
    let chain = pem(&chain.map(<[u8]>::to_vec));
    let quote = with_chain(&case.quote, case.kind, chain_start(case), &chain);
    case.set_quote(quote);
}

/// A certificate before it is signed.
struct Draft {
    certificate: Element,
    signer: InsecureSigner,
    /// What is borrowed from others: the authority's certificate, and one with another key.
    authority: Element,
    other: Element,
}

/// The signed part of a certificate.
fn tbs(certificate: &mut Element) -> &mut Vec<Element> {
    certificate.elements()[0].elements()
}

impl Draft {
    fn of(chains: &Chains, whose: Whose) -> Self {
        let other = if whose == Processor { Authority } else { Processor };
        Self {
            certificate: Element::decode(chains.get(whose)),
            signer: whose.issuer(),
            authority: Element::decode(&chains.authority),
            other: Element::decode(chains.get(other)),
        }
    }

    fn part(&mut self, place: usize) -> &mut Element {
        &mut tbs(&mut self.certificate)[place]
    }

    fn extensions(&mut self) -> &mut Vec<Element> {
        self.part(EXTENSIONS).elements()[0].elements()
    }

    fn extension(&mut self, id: &[u8]) -> &mut Element {
        let found = self.extensions().iter_mut().find_map(|extension| {
            let is_it = extension.elements()[0].bytes().as_slice() == id;
            is_it.then_some(extension)
        });
        found.unwrap()
    }

    fn without(&mut self, id: &[u8]) {
        self.extension(id);
        self.extensions().retain_mut(|extension| extension.elements()[0].bytes().as_slice() != id);
    }

    fn set(&mut self, id: &[u8], value: &[u8]) {
        *self.extension(id).elements().last_mut().unwrap().bytes() = value.to_vec();
    }

    fn common_name(&mut self, place: usize) -> &mut Vec<u8> {
        let names = self.part(place).elements().iter_mut().map(|set| &mut set.elements()[0]);
        let mut found = None;
        for name in names {
            if name.elements()[0].bytes().as_slice() == COMMON_NAME {
                found = Some(name.elements()[1].bytes());
            }
        }
        found.unwrap()
    }

    /// The algorithm inside the signed part, and outside.
    fn algorithms(&mut self) -> [&mut Element; 2] {
        let [signed, outer, _] = self.certificate.elements().as_mut_slice() else { panic!("three parts") };
        [&mut signed.elements()[ALGORITHM], outer]
    }

    fn point(&mut self) -> &mut Vec<u8> {
        self.part(KEY).elements()[1].bytes()
    }

    fn key_algorithm(&mut self) -> &mut Vec<Element> {
        self.part(KEY).elements()[0].elements()
    }

    fn sign(mut self) -> Vec<u8> {
        let message = self.certificate.elements()[0].encode();
        set_signature(&mut self.certificate, &VENDOR.sign(self.signer, &message));
        self.certificate.encode()
    }
}

fn set_signature(certificate: &mut Element, signature: &[u8]) {
    certificate.elements()[2] = Element::new(BIT_STRING, &[&[0], signature].concat());
}

/// Every alteration, of every certificate that it is one of.
pub fn cases(kind: Kind) -> Vec<Case> {
    let base = base(kind);
    let chains = Chains::of(&base);
    let mut cases = Vec::new();
    for alteration in ALTERATIONS {
        for whose in alteration.of {
            let mut draft = Draft::of(&chains, *whose);
            (alteration.draft)(&mut draft);
            let mut der = draft.sign();
            (alteration.signed)(&mut der);
            cases.push(base.altered(CLASS, format!("{}: {}", whose.name(), alteration.name), |case| {
                put(case, &chains, *whose, &der);
                case.meant = Some((alteration.meant)(*whose));
            }));
        }
    }
    cases.extend(longer(&base, &chains));
    cases.extend(apart(&base, &chains));
    cases
}

/// Signers of documents that the PCK authority certified, with its certificate in the chain.
fn longer(base: &Case, chains: &Chains) -> Vec<Case> {
    let mut draft = Draft::of(chains, TcbInfo);
    *draft.part(ISSUER) = tbs(&mut draft.authority)[SUBJECT].clone();
    draft.signer = InsecureSigner::Authority;
    let signer = draft.sign();
    let authority = &chains.authority;
    [
        ("by way of the pck authority", list(&[&signer, authority, &chains.root]), "ChainLength"),
        ("by way of the pck authority, without the root", list(&[&signer, authority]), "UntrustedRoot"),
    ]
    .into_iter()
    .map(|(name, chain, meant)| {
        base.altered(CLASS, format!("{}: {name}", TcbInfo.name()), |case| {
            let mut collateral = case.collateral.clone().unwrap();
            collateral.tcb_info_issuer_chain = chain;
            case.set_collateral(collateral);
            case.meant = Some(format!("Collateral({meant}(TcbInfo))"));
        })
    })
    .collect()
}

/// An authority that was certified twice, with one certificate in the quote and the other in the collateral.
fn apart(base: &Case, chains: &Chains) -> Vec<Case> {
    let again = again(chains, Authority);
    let altered = |name: &str, alter: &dyn Fn(&mut Case)| {
        base.altered(CLASS, format!("{}: {name}", Authority.name()), |case| {
            alter(case);
            case.meant = Some("Evidence(PckAuthority)".to_owned());
        })
    };
    vec![
        altered("another certificate in the quote", &|case| {
            put_in_quote(case, [&chains.processor, &again, &chains.root]);
        }),
        altered("another certificate in the collateral", &|case| {
            let mut collateral = case.collateral.clone().unwrap();
            collateral.pck_crl_issuer_chain = list(&[&again, &chains.root]);
            case.set_collateral(collateral);
        }),
    ]
}

/// The same certificate under another serial number.
fn again(chains: &Chains, whose: Whose) -> Vec<u8> {
    let mut draft = Draft::of(chains, whose);
    *draft.part(SERIAL).bytes().last_mut().unwrap() ^= 1;
    draft.sign()
}

/// What is signed again with nothing wrong.
pub fn without_effect(kind: Kind) -> Vec<(Case, &'static str)> {
    const WHY: &str = "its issuer certified it again: a serial number names a certificate, and is judged by its list";
    let base = base(kind);
    let chains = Chains::of(&base);
    [Processor, Authority, TcbInfo, QeIdentity]
        .into_iter()
        .map(|whose| {
            let name = format!("{}: another serial number", whose.name());
            let case = base.altered("signed: without effect", name, |case| {
                put(case, &chains, whose, &again(&chains, whose));
            });
            (case, WHY)
        })
        .collect()
}

/// The serial number of a certificate, as its list has it.
pub fn serial(certificate: &[u8]) -> Element {
    Element::new(INTEGER, tbs(&mut Element::decode(certificate))[SERIAL].bytes())
}

/// The certificates of a case that revocation lists may name: processor, authority, signer and root.
pub fn listed(case: &Case) -> [Vec<u8>; 4] {
    let Chains { processor, authority, signer, root } = Chains::of(case);
    [processor, authority, signer, root]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_and_written_alike() {
        for kind in Kind::ALL {
            let chains = Chains::of(&base(kind));
            for whose in ALL {
                let der = chains.get(*whose);
                assert_eq!(Element::decode(der).encode(), der, "{whose:?}");
                // Signatures are deterministic, so that one made again shows who signed.
                assert_eq!(Draft::of(&chains, *whose).sign(), der, "{whose:?}");
            }
        }
    }
}
