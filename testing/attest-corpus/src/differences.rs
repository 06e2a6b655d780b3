//! What dcap-qvl accepts and we refuse, each with its reason. The rule: whatever dcap-qvl refuses, we refuse.
//!
//! A case that only we refuse must be explained by a row, and each row must explain a case; `docs/attestation-differences.md` is
//! this table, with how many cases of the corpus each row explains.

use crate::{certificates, lists, Case};
use std::fmt::Write;

/// Why we refuse what dcap-qvl accepts.
pub struct Difference {
    /// What is altered.
    pub input: &'static str,
    /// What dcap-qvl makes of it.
    pub theirs: &'static str,
    /// What we say: the beginnings of our refusals.
    pub ours: &'static [&'static str],
    /// Why ours.
    pub why: &'static str,
    /// Whether a case with one of these refusals is one of this row.
    pub applies: fn(&Case) -> bool,
}

const fn always(_: &Case) -> bool {
    true
}

fn is_collateral(case: &Case) -> bool {
    case.class.contains("collateral") || case.class == "certificates in another order" || case.class == "trailing bytes"
}

fn is_certificate(case: &Case) -> bool {
    case.class == certificates::CLASS
}

fn is_list(case: &Case) -> bool {
    case.class == lists::CLASS
}

/// The rows.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        input: "the label of another kind, or of an unknown one, before the quote",
        theirs: "has no label",
        ours: &["Evidence(Kind)", "Evidence(UnsupportedKind("],
        why: "one quote is one evidence; a verifier of one kind must not be led into another's rules",
        applies: |case| case.class == "another kind's label" || case.class == "unknown kind",
    },
    Difference {
        input: "bytes behind the quote, or behind a part of it whose length leaves some out",
        theirs: "ignores them",
        ours: &["Evidence(Decode(TrailingBytes))", "Evidence(Shape)"],
        why: "bytes that nobody signed identify nothing; `canonical_quote` strips a driver's zeros before evidence travels",
        applies: |case| {
            case.class == "trailing bytes" || case.class == "oversized" || case.name.starts_with("certification length")
        },
    },
    Difference {
        input: "type of the outer certification data",
        theirs: "ignores it",
        ours: &["Evidence(Decode(CertificationType("],
        why: "the type says how the rest reads",
        applies: always,
    },
    Difference {
        input: "certificates of the quote: text around them, base64 that is not canonical",
        theirs: "skips it",
        ours: &["Evidence(PckChain("],
        why: "one reading of a chain: text that is skipped is text that two readers can disagree about",
        applies: always,
    },
    Difference {
        input: "certificates of the quote: fewer, more, in another order, or another root at the end",
        theirs: "takes all but the first as a bag to build a path from, and never reads a root",
        ours: &["Evidence(PckChainLength)", "Evidence(PckRoot)", "Evidence(PckAuthority)"],
        why: "the chain is leaf, authority, root: a verifier that searches for a path can be made to search, and to find another",
        applies: always,
    },
    Difference {
        input: "certificates of the documents' signers: spelled, ordered or ended otherwise",
        theirs: "as above",
        ours: &["Collateral(Chain(", "Collateral(ChainLength(", "Collateral(UntrustedRoot("],
        why: "as above",
        applies: |case| is_collateral(case) || is_certificate(case),
    },
    Difference {
        input: "certificate of the PCK authority in the collateral",
        theirs: "does not read it: takes the key from the quote's chain",
        ours: &["Collateral(Certificate(PckAuthority", "Collateral(PckCrl("],
        why: "collateral is verified by itself, once for all machines of a model, so it must name whose list it is",
        applies: is_collateral,
    },
    Difference {
        input: "reserved bytes of a header or of the quoting enclave's report, and what its report data holds behind the hash",
        theirs: "ignores them",
        ours: &["Evidence(HeaderReserved)", "Evidence(QeReportReserved)", "Evidence(QeReportData)"],
        why: "an unlisted field that is not zero is something that nobody here has reviewed",
        applies: always,
    },
    Difference {
        input: "SGX: reserved bytes, attributes, XFRM, MISCSELECT, identities of KSS without KSS",
        theirs: "judges DEBUG only",
        ours: &[
            "Evidence(EnclaveReserved)",
            "Evidence(EnclaveAttributes)",
            "Evidence(EnclaveXfrm)",
            "Evidence(EnclaveMiscSelect)",
            "Evidence(EnclaveKss)",
        ],
        why: "allow-list: a bit that is not reviewed is refused; the others are in the measurement",
        applies: always,
    },
    Difference {
        input: "TDX: XFAM with an unknown bit or without x87 and SSE; attributes PERFMON, TPA and the unreviewed 18 to 22",
        theirs: "accepts",
        ours: &["Evidence(Xfam)", "Evidence(TdAttributes)"],
        why: "allow-list, as above",
        applies: always,
    },
    Difference {
        input: "TDX 1.5 extended: partition, devices, initial platform, service TDs of launch and now",
        theirs: "does not judge what body type 4 adds",
        ours: &[
            "Evidence(TdPartition)",
            "Evidence(TdDevices)",
            "Evidence(TdInitialPlatform)",
            "Evidence(TdServiceTd)",
        ],
        why: "who else acts on a machine, and where it began, are part of what it is",
        applies: always,
    },
    Difference {
        input: "status of the platform",
        theirs: "`verify` applies no policy; a TD that was launched outdated and updated since is `TDRelaunchAdvised`",
        ours: &["Evidence(TcbStatus("],
        why: "the policy is an argument; the corpus accepts the status of the unaltered evidence. What an outdated module could do at \
              launch is done, so the status is that of the launch",
        applies: always,
    },
    Difference {
        input: "another provisioning certification enclave than the TCB info's",
        theirs: "does not compare",
        ours: &["Evidence(PceId)", "Collateral(TcbInfo(Hex))"],
        why: "security versions of another enclave do not compare",
        applies: always,
    },
    Difference {
        input: "SGX extension of the processor's certificate: unknown entries, entries twice",
        theirs: "takes the first, ignores the others",
        ours: &["Evidence(PckExtension("],
        why: "what is not understood could change what is",
        applies: always,
    },
    Difference {
        input: "key usage of the processor's certificate",
        theirs: "ignores it",
        ours: &["Evidence(PckCertificate(KeyUsage))"],
        why: "a key that may not sign did not sign",
        applies: always,
    },
    Difference {
        input: "key usage of the PCK authority or of a signer of documents",
        theirs: "looks for the right to sign lists only, and only where there is a usage",
        ours: &[
            "Collateral(Certificate(PckAuthority, KeyUsage))",
            "Collateral(Certificate(TcbInfo, KeyUsage))",
            "Collateral(Certificate(QeIdentity, KeyUsage))",
        ],
        why: "as above",
        applies: is_certificate,
    },
    Difference {
        input: "subject of a certificate: another name, none or two",
        theirs: "compares it with the issuer of what is below, and of who signs documents with nothing",
        ours: &[
            "Collateral(Certificate(TcbInfo, SubjectName))",
            "Collateral(Certificate(QeIdentity, SubjectName))",
            "Evidence(PckCertificate(SubjectName))",
        ],
        why: "the root certifies all of them, and only the name says what for; Intel's library compares it too",
        applies: is_certificate,
    },
    Difference {
        input: "serial number of a certificate that is negative or longer than 20 bytes",
        theirs: "compares its bytes",
        ours: &[
            "Collateral(Certificate(PckAuthority, Serial))",
            "Collateral(Certificate(TcbInfo, Serial))",
            "Collateral(Certificate(QeIdentity, Serial))",
            "Evidence(PckCertificate(Serial))",
        ],
        why: "RFC 5280 knows no such number, and a list could name it in two ways",
        applies: is_certificate,
    },
    Difference {
        input: "key of a certificate as a compressed point",
        theirs: "decompresses it",
        ours: &[
            "Collateral(Certificate(PckAuthority, KeyAlgorithm))",
            "Collateral(Certificate(TcbInfo, KeyAlgorithm))",
            "Collateral(Certificate(QeIdentity, KeyAlgorithm))",
            "Evidence(PckCertificate(KeyAlgorithm))",
        ],
        why: "one encoding a key, as Intel issues",
        applies: is_certificate,
    },
    Difference {
        input: "path length of the PCK authority: none, or more than none below it",
        theirs: "accepts what is long enough",
        ours: &["Collateral(Certificate(PckAuthority, NotAuthority))"],
        why: "Intel's authorities certify processors and nothing that certifies",
        applies: is_certificate,
    },
    Difference {
        input: "a certificate with an extended key usage, that of a TLS server",
        theirs: "takes it, and no other",
        ours: &[
            "Collateral(Certificate(PckAuthority, Restricted))",
            "Collateral(Certificate(TcbInfo, Restricted))",
            "Collateral(Certificate(QeIdentity, Restricted))",
            "Evidence(PckCertificate(Restricted))",
        ],
        why: "what restricts a certificate, and is nothing that its place asks for, is refused",
        applies: is_certificate,
    },
    Difference {
        input: "revocation list: number absent, critical or twice; entries with a negative serial number; more entries than are kept",
        theirs: "accepts",
        ours: &[
            "Collateral(RootCrl(Number))",
            "Collateral(RootCrl(NotComplete))",
            "Collateral(RootCrl(DuplicateExtension))",
            "Collateral(RootCrl(Serial))",
            "Collateral(PckCrl(Number))",
            "Collateral(PckCrl(NotComplete))",
            "Collateral(PckCrl(DuplicateExtension))",
            "Collateral(PckCrl(Serial))",
            "Collateral(PckCrl(TooLong))",
        ],
        why: "RFC 5280 asks for the number and forbids the others; a list that is kept in part would revoke in part",
        applies: is_list,
    },
    Difference {
        input: "TCB info: two identities of one module; levels that the machine does not come to, with an unknown status or other than \
                sixteen components",
        theirs: "takes the first; reads a level when it comes to it",
        ours: &[
            "Collateral(TcbInfo(Ambiguous))",
            "Collateral(TcbInfo(Components))",
            "Collateral(TcbInfo(Status))",
            "Collateral(QeIdentity(Status))",
        ],
        why: "a document is read once, for all machines of its model, and is right as a whole",
        applies: always,
    },
    Difference {
        input: "objects of a document that are spelled as the array of their values",
        theirs: "takes the fields by their order",
        ours: &["Collateral(TcbInfo(Json))", "Collateral(QeIdentity(Json))"],
        why: "the order of fields means nothing in JSON, so that two readers could read two things",
        applies: |case| case.name.ends_with("as an array"),
    },
    Difference {
        input: "TCB info of another version or type than 3 and 0",
        theirs: "accepts higher versions, and every type",
        ours: &["Collateral(TcbInfo(Version))"],
        why: "the type says how versions compare, the version how the document reads",
        applies: always,
    },
    Difference {
        input: "dates with an offset from UTC; dates of levels that are none",
        theirs: "converts them; reads those of levels where a module's and its platform's meet",
        ours: &["Collateral(TcbInfo(Date))", "Collateral(QeIdentity(Date))"],
        why: "Intel has never issued one, and two readings of a date are one too many",
        applies: always,
    },
    Difference {
        input: "the very second of the next update",
        theirs: "accepts",
        ours: &["Collateral(TcbInfo(Expired))", "Collateral(QeIdentity(Expired))", "Collateral(RootCrl(Expired))", "Collateral(PckCrl(Expired))"],
        why: "intervals are half-open: the next document begins where this one ends",
        applies: |case| case.class == "expired" || case.class == "signed: claim",
    },
    Difference {
        input: "a time before a revocation list was issued",
        theirs: "judges the end of a list only",
        ours: &["Collateral(PckCrl(NotYetIssued))", "Collateral(RootCrl(NotYetIssued))"],
        why: "a verdict is about one time; a list of later says what was not known then, and a wrong clock shows here first",
        applies: |case| case.class == "not yet valid" || is_list(case),
    },
];

/// The row that explains why only we refuse `case`, by its place.
pub fn explain(case: &Case, refusal: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|row| row.ours.iter().any(|ours| refusal.starts_with(ours)) && (row.applies)(case))
}

/// The table as a page; `counts` are the cases that each row explains.
pub fn render(counts: &[usize], cases: usize, agreed: usize, not_put: usize) -> String {
    let mut page = String::from(
        "# Where our verdict on evidence differs from dcap-qvl's\n\n\
         Generated by `phala-attest-corpus::every_difference_from_the_oracle_is_explained` from its table; do not edit.\n\n\
         `dcap-qvl` follows Intel's quote verification library and was written by others, so it serves as the oracle of `common/attest`.\n\
         The rule: **whatever it refuses, we refuse.** We refuse more; each case of the corpus in which only we do belongs to one of these\n\
         rows, and a case that does not fails the test. Nothing is accepted that it refuses.\n\n",
    );
    let alone = counts.iter().sum::<usize>();
    // A case that we accept and it refuses fails the test, so these are the rest.
    let both_accept = cases - agreed - alone - not_put;
    writeln!(
        page,
        "Of {cases} altered cases both refuse {agreed}; {alone} are refused by us alone; {both_accept} are accepted by both, being well \
         signed, and refused by whoever asked, because measurement or report data are not what was expected; {not_put} cannot be put to \
         it (text that is no text, bytes that do not decode).\n"
    )
    .unwrap();
    page.push_str("| altered | dcap-qvl | ours | why | cases |\n|---|---|---|---|---|\n");
    for (row, count) in DIFFERENCES.iter().zip(counts) {
        let ours: Vec<String> = row.ours.iter().map(|ours| format!("`{}`", ours.trim_end_matches('('))).collect();
        writeln!(page, "| {} | {} | {} | {} | {count} |", row.input, row.theirs, ours.join(", "), row.why).unwrap();
    }
    page
}
