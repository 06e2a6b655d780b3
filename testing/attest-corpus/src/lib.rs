//! Evidence that is altered in every way that is known, for each kind of evidence, and three judges of it.
//!
//! A [`Case`] is everything that a verdict is a function of. [`corpus`] makes the cases of a kind, the same ones at every call:
//! bytes altered under the signatures of Intel's genuine evidence ([`genuine`]), where a signature has to refuse, and claims
//! altered *before* the development root's published keys sign them - of machine and module (`signed`), of every certificate
//! (`certificates`), both revocation lists (`lists`) and both documents (`documents`) - where the check meant for them has to. The judges:
//! `phala-attest` natively, the same compiled to WASM (`phala-attest-corpus-module`), and [`oracle`], dcap-qvl. [`differences`] is the
//! table of what dcap-qvl accepts and we refuse, with the reason of each; what it does not explain fails a test.
//!
//! Never shipped. It shows how the verifier answers what is in the corpus, and nothing of what is not.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is altered is the corpus's own: a part that is not there is a mistake in it"
)]

mod certificates;
mod der;
pub mod differences;
mod documents;
pub mod genuine;
mod layout;
mod lists;
mod mutations;
pub mod oracle;
mod signed;
pub mod wasm;

use codec::Encode;
use phala_attest::{AcceptedStatuses, Collateral, Evidence, List, VerifiedReport};
use phala_attest_corpus_module::Input;

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SGX quote version 3.
    SgxV3,
    /// TDX quote version 4.
    TdxV4,
    /// TDX quote version 5.
    TdxV5,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SgxV3, Self::TdxV4, Self::TdxV5];

    /// A quote as evidence of this kind, in SCALE: also when it is longer than evidence may be.
    pub fn evidence(self, quote: &[u8]) -> Vec<u8> {
        let index = match self {
            Self::SgxV3 => 1,
            Self::TdxV4 | Self::TdxV5 => 0,
        };
        let bytes = [&[index], quote.to_vec().encode().as_slice()].concat();
        if let Ok(list) = List::try_from(quote.to_vec()) {
            let evidence = if index == 1 { Evidence::SgxDcap(list) } else { Evidence::TdxDcap(list) };
            assert_eq!(evidence.encode(), bytes);
        }
        bytes
    }
}

/// Everything that a verdict is a function of, and what it would have to be about.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is a kind of.
    pub kind: Kind,
    /// Which way of altering made it: for counting.
    pub class: &'static str,
    /// What was altered, and where.
    pub name: String,
    /// The quote alone, for the oracle.
    pub quote: Vec<u8>,
    /// The collateral as far as it decodes, for the oracle.
    pub collateral: Option<Collateral>,
    /// What the verifier gets.
    pub input: Input,
    /// Measurement and report data that the verifier's caller expects: that of the unaltered evidence.
    pub expected: ([u8; 32], [u8; 64]),
    /// The refusal that was meant for what was altered, where it is of one kind only.
    pub meant: Option<String>,
}

impl Case {
    /// A genuine quote that is refused as it is.
    fn refused(kind: Kind, quote: &[u8], collateral: &Collateral, now: u64) -> Self {
        Self::unaltered(kind, quote, collateral, now, false)
    }

    /// An unaltered quote, at a time when its collateral holds.
    pub fn new(kind: Kind, quote: &[u8], collateral: &Collateral, now: u64, development: bool) -> Self {
        let mut case = Self::unaltered(kind, quote, collateral, now, development);
        let report = phala_attest_corpus_module::verdict(&case.input).expect("the unaltered evidence is accepted");
        case.expected = (report.measurement(), report.report_data());
        // Only the status that it has: a version that is worse than it was is an alteration too.
        case.input.accepted = AcceptedStatuses::UP_TO_DATE.with(report.tcb_status());
        case
    }

    fn unaltered(kind: Kind, quote: &[u8], collateral: &Collateral, now: u64, development: bool) -> Self {
        Self {
            kind,
            class: "unaltered",
            name: String::new(),
            quote: quote.to_vec(),
            collateral: Some(collateral.clone()),
            input: Input {
                development,
                accepted: lenient(),
                now,
                evidence: kind.evidence(quote),
                collateral: collateral.encode(),
            },
            expected: ([0; 32], [0; 64]),
            meant: None,
        }
    }

    fn altered(&self, class: &'static str, name: String, alter: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self { class, name, ..self.clone() };
        alter(&mut case);
        case
    }

    fn set_quote(&mut self, quote: Vec<u8>) {
        self.input.evidence = self.kind.evidence(&quote);
        self.quote = quote;
    }

    fn set_collateral(&mut self, collateral: Collateral) {
        self.input.collateral = collateral.encode();
        self.collateral = Some(collateral);
    }

    /// The verdict, and then what a caller does with it: the chain compares the measurement with its allow-list and the report
    /// data with the registration.
    pub fn outcome(&self, verdict: Result<VerifiedReport, String>) -> Result<VerifiedReport, String> {
        let report = verdict?;
        if report.measurement() != self.expected.0 {
            return Err("Caller(Measurement)".to_owned());
        }
        if report.report_data() != self.expected.1 {
            return Err("Caller(ReportData)".to_owned());
        }
        Ok(report)
    }
}

/// Every status that can be accepted, as dcap-qvl's `verify` does.
pub fn lenient() -> AcceptedStatuses {
    AcceptedStatuses::ALL_BUT_REVOKED
}

/// The unaltered evidence of a kind: genuine, and simulated under the development root.
pub fn unaltered(kind: Kind) -> Vec<Case> {
    [genuine::of(kind), vec![signed::base(kind)]].concat()
}

/// Further machines that nothing is wrong with: certified by the vendor's other authority, and with the other reports of their kind.
pub fn signed_others(kind: Kind) -> Vec<Case> {
    signed::others(kind)
}

/// The altered evidence of a kind. With a `stride` of 1 every byte of the parts without fields is altered, one at a time; of a
/// larger one, every so many.
pub fn corpus(kind: Kind, stride: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for base in genuine::of(kind) {
        cases.extend(mutations::of_quote(&base, stride));
        cases.extend(mutations::of_collateral(&base, stride));
        cases.extend(mutations::of_circumstances(&base));
    }
    cases.extend(signed::cases(kind));
    cases.extend(certificates::cases(kind));
    cases.extend(lists::cases(kind));
    cases.extend(documents::cases(kind));
    cases
}

/// A case's quote altered under its signatures, in every way in which that of accepted evidence is. `stride` as for [`corpus`].
pub fn altered_quotes(base: &Case, stride: usize) -> Vec<Case> {
    mutations::of_quote(base, stride)
}

/// Of the altered evidence that which is well signed and wrong in certificates, revocation lists and documents: each case says which refusal
/// is [`Case::meant`] for it.
pub fn meant() -> Vec<Case> {
    let of = |kind| [certificates::cases(kind), lists::cases(kind), documents::cases(kind)].concat();
    Kind::ALL.into_iter().flat_map(of).collect()
}

/// One byte in so many of what has no fields (certificates, documents) that [`altered`] alters: `PHALA_CORPUS_STRIDE`, otherwise 149. At 1
/// every byte is, which takes minutes.
pub fn stride() -> usize {
    std::env::var("PHALA_CORPUS_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(149)
}

/// The altered evidence of each kind, at the [`stride`] that is asked for.
pub fn altered() -> Vec<Case> {
    Kind::ALL.into_iter().flat_map(|kind| corpus(kind, stride())).collect()
}

/// Every case there is: unaltered, those that are refused as they are, altered without effect, and [`altered`].
pub fn every_case() -> Vec<Case> {
    let free = Kind::ALL.into_iter().flat_map(without_effect).map(|(case, _)| case);
    Kind::ALL.into_iter().flat_map(unaltered).chain(genuine::refused()).chain(free).chain(altered()).collect()
}

/// What `work` gives for each of `items`, in their order, on every core.
pub fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let part = items.len().div_ceil(cores()).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            items.chunks(part).map(|chunk| scope.spawn(|| chunk.iter().map(&work).collect::<Vec<R>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// How many cores [`parallel`] uses.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What may change in evidence without changing the verdict, and why it may: nothing that identifies, and nothing that is judged.
pub fn without_effect(kind: Kind) -> Vec<(Case, &'static str)> {
    [
        genuine::of(kind).iter().flat_map(mutations::without_effect).collect(),
        signed::without_effect(kind),
        certificates::without_effect(kind),
        lists::without_effect(kind),
    ]
    .concat()
}
