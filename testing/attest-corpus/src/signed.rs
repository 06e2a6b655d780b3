//! Claims altered *before* the development root's published keys sign them: the check meant for each has to refuse it.
//!
//! INSECURE keys, so `assurance` is simulated; the code that judges is the same.

use crate::{
    layout::{self, places},
    Case, Kind,
};
use phala_attest::{EnclaveReport, TdReport15};
use phala_insecure_tee::{
    qe_identity_json, sgx_qe_identity_json, sgx_tcb_info_json, tcb_info_json, InsecureAuthority, InsecureVendor,
    Processor, QuoteFields, QuoteFormat, QuoteParts, QuoteSigner, Revoked, Window,
};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyUsagePurpose};
use serde_json::Value;
use std::sync::LazyLock;

const NOW: u64 = 1_800_000_000;
const SERVICE_ATTRIBUTES: [&str; 2] = ["tdattributes", "flags"];

pub static VENDOR: LazyLock<InsecureVendor> = LazyLock::new(|| InsecureVendor::new().unwrap());
static PROCESSOR_VENDOR: LazyLock<InsecureVendor> =
    LazyLock::new(|| InsecureVendor::with_authority(InsecureAuthority::Processor).unwrap());
static OTHER_ROOT: LazyLock<InsecureVendor> = LazyLock::new(|| InsecureVendor::of_another_root().unwrap());

/// A machine and its vendor, before anything is signed.
pub struct Specimen {
    processor: Processor,
    fields: QuoteFields,
    format: QuoteFormat,
    certificate: fn(&mut CertificateParams),
    /// The two documents.
    pub tcb_info: String,
    pub qe_identity: String,
    /// When documents and lists hold.
    pub window: Window,
    revoked: Revoked,
    now: u64,
    certifies: &'static InsecureVendor,
    issues: &'static InsecureVendor,
}

impl Specimen {
    pub fn new(kind: Kind) -> Self {
        let window = Window::around(NOW);
        let mut fields = QuoteFields::of(b"the program");
        fields.report.report_data = [5; 64];
        let format = match kind {
            Kind::SgxV3 => QuoteFormat::SgxV3(enclave()),
            Kind::TdxV4 => QuoteFormat::TdxV4,
            Kind::TdxV5 => QuoteFormat::TdxV5(Some(fields.td_15())),
        };
        let (tcb_info, qe_identity) = if kind == Kind::SgxV3 {
            fields.qe_isv_prod_id = 1;
            (sgx_tcb_info_json(window), sgx_qe_identity_json(window))
        } else {
            (tcb_info_json(window), qe_identity_json(window))
        };
        Self {
            processor: Processor::named("alpha"),
            fields,
            format,
            certificate: |_| (),
            tcb_info: tcb_info.unwrap(),
            qe_identity: qe_identity.unwrap(),
            window,
            revoked: Revoked::default(),
            now: NOW,
            certifies: &VENDOR,
            issues: &VENDOR,
        }
    }

    fn signer(&self) -> QuoteSigner {
        QuoteSigner::with_altered_certificate(self.certifies, &self.processor, self.certificate).unwrap()
    }

    pub fn collateral(&self) -> phala_attest::Collateral {
        self.issues.collateral(self.window, &self.tcb_info, &self.qe_identity, &self.revoked).unwrap()
    }

    fn parts(&self) -> QuoteParts {
        self.signer().parts(&self.fields, &self.format)
    }
}

fn enclave() -> EnclaveReport {
    EnclaveReport {
        cpu_svn: [2; 16],
        misc_select: [0; 4],
        isv_ext_prod_id: [0xe; 16],
        attributes: [0x85, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
        mr_enclave: *b"INSECURE: the simulated enclave.",
        mr_signer: *b"INSECURE: the simulated signer. ",
        config_id: [0xc; 64],
        isv_prod_id: 7,
        isv_svn: 3,
        config_svn: 2,
        isv_family_id: [0xf; 16],
        report_data: [5; 64],
        reserved_is_zero: true,
    }
}

/// The machine that nothing is wrong with.
pub fn base(kind: Kind) -> Case {
    let specimen = Specimen::new(kind);
    let quote = specimen.signer().sign_parts(&specimen.parts());
    Case::new(kind, &quote, &specimen.collateral(), NOW, true)
}

/// The same with the other authority of its vendor, and, of TDX version 5, the shorter reports: nothing is wrong with these either.
pub fn others(kind: Kind) -> Vec<Case> {
    let mut specimen = Specimen::new(kind);
    specimen.certifies = &PROCESSOR_VENDOR;
    specimen.issues = &PROCESSOR_VENDOR;
    let mut specimens = vec![specimen];
    if kind == Kind::TdxV5 {
        let later = TdReport15 { extended: None, ..Specimen::new(kind).fields.td_15() };
        specimens.push(Specimen { format: QuoteFormat::TdxV5(Some(later)), ..Specimen::new(kind) });
        specimens.push(Specimen { format: QuoteFormat::TdxV5(None), ..Specimen::new(kind) });
    }
    let case = |specimen: &Specimen| {
        let quote = specimen.signer().sign_parts(&specimen.parts());
        Case::new(kind, &quote, &specimen.collateral(), NOW, true)
    };
    specimens.iter().map(case).collect()
}

/// Fields that identify nothing, or whose higher values are as good: see [`without_effect`] and the cases that lower them.
fn is_free(kind: Kind, field: &str) -> bool {
    let free = ["user data", "cpusvn", "mrseam", "td_id", "tee_tcb_svn", "tee_tcb_svn_2"];
    let free_of_qe = ["qe cpusvn", "qe mrenclave", "qe xfrm", "qe isvsvn"];
    free.contains(&field) || free_of_qe.contains(&field) || (kind == Kind::SgxV3 && field == "header versions")
}

pub fn without_effect(kind: Kind) -> Vec<(Case, &'static str)> {
    let why = |field: &str| match field {
        "user data" => "names the platform to its own quoting enclave, which nobody else asks",
        "header versions" => "those of the QE report and of the PCK certificate are judged",
        "cpusvn" | "qe cpusvn" => "that of the PCK certificate is judged",
        "mrseam" => "the TDX module is judged by its signer and security version: it changes with each update",
        "td_id" => "names one launch, not what was launched",
        "qe mrenclave" => "the quoting enclave is judged by its signer, product and security version",
        "qe xfrm" => "Intel's QE identity leaves it open by its mask",
        _ => "a higher security version is as good",
    };
    let (base, specimen) = (base(kind), Specimen::new(kind));
    let mut cases = Vec::new();
    for field in layout::signed(kind, &base.quote).iter().filter(|field| is_free(kind, &field.0)) {
        let (_, start, length) = field;
        let mut parts = specimen.parts();
        // The first byte of a security version is the module's: one more. Elsewhere any change will do.
        let at = if field.0.starts_with("tee_tcb_svn") { *start } else { start + length - 1 };
        parts.signed[at] += 1;
        cases.push((resigned(&base, &specimen, "signed: without effect", field.0.clone(), &parts), why(&field.0)));
    }
    for field in layout::qe_report().iter().filter(|field| is_free(kind, &field.0)) {
        let mut parts = specimen.parts();
        parts.qe_report[field.1] += 1;
        cases.push((resigned(&base, &specimen, "signed: without effect", field.0.clone(), &parts), why(&field.0)));
    }
    cases
}

fn resigned(base: &Case, specimen: &Specimen, class: &'static str, name: String, parts: &QuoteParts) -> Case {
    let quote = specimen.signer().sign_parts(parts);
    base.altered(class, name, |case| case.set_quote(quote))
}

/// Every alteration of a kind.
pub fn cases(kind: Kind) -> Vec<Case> {
    let base = base(kind);
    let mut cases = fields(&base);
    cases.extend(quoting_enclave(&base));
    cases.extend(claims(&base));
    cases.extend(keys(&base));
    cases.extend(documents(&base));
    cases
}

/// Bytes of header and report, and each bit of the fields that are bits.
fn fields(base: &Case) -> Vec<Case> {
    let specimen = Specimen::new(base.kind);
    let signer = specimen.signer();
    let mut cases = Vec::new();
    let mut flip = |class, name: String, at: usize, bit: usize| {
        let mut parts = specimen.parts();
        parts.signed[at] ^= 1 << (bit % 8);
        let quote = signer.sign_parts(&parts);
        cases.push(base.altered(class, name, |case| case.set_quote(quote)));
    };
    for (index, field) in layout::signed(base.kind, &base.quote).iter().enumerate() {
        let (name, start, length) = field;
        if is_free(base.kind, name) {
            continue;
        }
        for at in places(field) {
            flip("signed: field", format!("{name} at {at}"), at, index + at);
        }
        if SERVICE_ATTRIBUTES.contains(&name.as_str()) || ["xfam", "xfrm", "miscselect"].contains(&name.as_str()) {
            for bit in 0..length * 8 {
                flip("signed: bit of a bit field", format!("{name} bit {bit}"), start + bit / 8, bit);
            }
        }
    }
    cases
}

/// Bytes of the quoting enclave's report, and what it binds.
fn quoting_enclave(base: &Case) -> Vec<Case> {
    let specimen = Specimen::new(base.kind);
    let mut cases = Vec::new();
    let mut with = |name: String, alter: &dyn Fn(&mut QuoteParts)| {
        let mut parts = specimen.parts();
        alter(&mut parts);
        cases.push(resigned(base, &specimen, "signed: quoting enclave", name, &parts));
    };
    for (index, field) in layout::qe_report().iter().enumerate() {
        if is_free(base.kind, &field.0) || field.0 == "qe flags" {
            continue;
        }
        for at in places(field) {
            with(format!("{} at {at}", field.0), &|parts| parts.qe_report[at] ^= 1 << ((index + at) % 8));
        }
    }
    // Bit 2, of 64-bit mode, is left open by the mask of Intel's QE identity.
    for bit in (0..64).filter(|bit| *bit != 2) {
        with(format!("qe flags bit {bit}"), &|parts| parts.qe_report[48 + bit / 8] ^= 1 << (bit % 8));
    }
    for (name, svn) in [("outdated", 3u16), ("below every level", 2), ("zero", 0)] {
        with(format!("qe isvsvn {name}"), &|parts| parts.qe_report[258..260].copy_from_slice(&svn.to_le_bytes()));
    }
    for length in [0, 1, 31, 33, 64] {
        with(format!("authentication data of {length}"), &|parts| parts.qe_authentication_data.resize(length, 0));
    }
    for at in [0, 16, 31] {
        with(format!("authentication data at {at}"), &|parts| parts.qe_authentication_data[at] ^= 1);
    }
    // Lengths that the enclave's report binds, and the verifier does not take.
    let bound = |length: usize| {
        let mut specimen = Specimen::new(base.kind);
        specimen.fields.qe_authentication_data.resize(length, 7);
        let quote = specimen.signer().sign_parts(&specimen.parts());
        base.altered("signed: quoting enclave", format!("bound authentication data of {length}"), |case| {
            case.set_quote(quote);
        })
    };
    cases.extend([0, 31, 33, 64].map(bound));
    cases
}

type Alteration = (&'static str, fn(&mut Specimen));

/// What processor, certificate, revocation and module say.
fn claims(base: &Case) -> Vec<Case> {
    let mut alterations: Vec<Alteration> = vec![
        ("pce outdated", |s| s.processor.pce_svn = 10),
        ("pce below every level", |s| s.processor.pce_svn = 4),
        ("pce id", |s| s.processor.pce_id[1] = 1),
        ("fmspc first", |s| s.processor.fmspc[0] ^= 1),
        ("fmspc last", |s| s.processor.fmspc[5] ^= 1),
        ("cpusvn 0", |s| s.processor.cpu_svn[0] -= 1),
        ("cpusvn 1", |s| s.processor.cpu_svn[1] -= 1),
        ("cpusvn 2", |s| s.processor.cpu_svn[2] -= 1),
        ("cpusvn 3", |s| s.processor.cpu_svn[3] -= 1),
        ("cpusvn 4", |s| s.processor.cpu_svn[4] -= 1),
        ("cpusvn 5", |s| s.processor.cpu_svn[5] -= 1),
        ("cpusvn 7", |s| s.processor.cpu_svn[7] -= 1),
        ("cpusvn zero", |s| s.processor.cpu_svn = [0; 16]),
        ("extension: unknown entry", |s| s.processor.further_entries = Processor::further_entry(&[18], &[1])),
        ("extension: entry twice", |s| s.processor.further_entries = Processor::further_entry(&[4], b"INSECU")),
        ("extension: ppid twice", |s| s.processor.further_entries = Processor::further_entry(&[1], &[0; 16])),
        ("extension: garbage", |s| s.processor.further_entries = vec![0x30, 0x82]),
        ("certificate expired", |s| s.certificate = |c| c.not_after = c.not_before),
        ("certificate not yet valid", |s| s.certificate = |c| c.not_before = c.not_after),
        ("certificate of an authority", |s| {
            s.certificate = |c| c.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }),
        ("certificate without extension", |s| s.certificate = |c| c.custom_extensions.clear()),
        ("certificate without usage", |s| s.certificate = |c| c.key_usages.clear()),
        ("certificate with another usage", |s| s.certificate = |c| c.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ("certificate with an unknown critical extension", |s| {
            s.certificate = |c| {
                let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
                extension.set_criticality(true);
                c.custom_extensions.push(extension);
            };
        }),
        ("certificate revoked", |s| s.revoked.by_authority = vec![vec![1], VENDOR.serial_of(&s.processor).unwrap()]),
        ("root revoked", |s| s.revoked.by_root = vec![VENDOR.serials()[0].clone()]),
        ("authority revoked", |s| s.revoked.by_root = vec![VENDOR.serials()[1].clone()]),
        ("signer revoked", |s| s.revoked.by_root = vec![VENDOR.serials()[2].clone()]),
        ("another authority's processor", |s| s.certifies = &PROCESSOR_VENDOR),
        ("another authority's collateral", |s| s.issues = &PROCESSOR_VENDOR),
        ("another root's processor", |s| s.certifies = &OTHER_ROOT),
        ("another root's collateral", |s| s.issues = &OTHER_ROOT),
        ("another root's both", |s| {
            s.certifies = &OTHER_ROOT;
            s.issues = &OTHER_ROOT;
        }),
        ("expired", |s| s.now = s.window.end),
        ("long expired", |s| s.now = s.window.end + 86_400 * 365),
        ("not yet issued", |s| s.now = s.window.start - 1),
    ];
    if base.kind == Kind::SgxV3 {
        alterations.push(("identities of kss without kss", |s| {
            if let QuoteFormat::SgxV3(report) = &mut s.format {
                report.attributes[0] = 0x05;
            }
        }));
    } else {
        alterations.extend::<[Alteration; 6]>([
            ("module outdated", |s| s.fields.report.tee_tcb_svn[0] = 3),
            ("module below every level", |s| s.fields.report.tee_tcb_svn[0] = 1),
            ("module of an unknown version", |s| s.fields.report.tee_tcb_svn[1] = 9),
            ("debuggable and migratable", |s| s.fields.report.td_attributes = [1, 0, 0, 0x30, 0, 0, 0, 0]),
            ("attributes all zero", |s| s.fields.report.td_attributes = [0; 8]),
            ("attributes all one", |s| s.fields.report.td_attributes = [0xff; 8]),
        ]);
    }
    if base.kind == Kind::TdxV5 {
        fn later(specimen: &mut Specimen) -> &mut TdReport15 {
            let QuoteFormat::TdxV5(Some(later)) = &mut specimen.format else { panic!("a report of TDX 1.5") };
            later
        }
        alterations.extend::<[Alteration; 4]>([
            ("current module outdated", |s| later(s).tee_tcb_svn_2[0] = 3),
            ("current module below every level", |s| later(s).tee_tcb_svn_2[0] = 1),
            ("current module of an unknown version", |s| later(s).tee_tcb_svn_2[1] = 9),
            ("updated since an outdated launch", |s| s.fields.report.tee_tcb_svn[0] = 3),
        ]);
    }
    let altered = |(name, alter): &Alteration| {
        let mut specimen = Specimen::new(base.kind);
        alter(&mut specimen);
        let (quote, collateral) = (specimen.signer().sign_parts(&specimen.parts()), specimen.collateral());
        base.altered("signed: claim", (*name).to_owned(), |case| {
            case.set_quote(quote);
            case.set_collateral(collateral);
            case.input.now = specimen.now;
        })
    };
    alterations.iter().map(altered).collect()
}

/// Signatures by keys that the chain does not certify for it.
fn keys(base: &Case) -> Vec<Case> {
    let specimen = Specimen::new(base.kind);
    let (own, parts) = (specimen.signer(), specimen.parts());
    let other = QuoteSigner::new(&VENDOR, &Processor::named("beta")).unwrap();
    [
        ("attestation key of another", QuoteSigner::mixed(&other, &own, &own)),
        ("pck key of another", QuoteSigner::mixed(&own, &other, &own)),
        ("certificates of another", QuoteSigner::mixed(&own, &own, &other)),
        ("both keys of another", QuoteSigner::mixed(&other, &other, &own)),
        ("attestation key and certificates of another", QuoteSigner::mixed(&other, &own, &other)),
    ]
    .into_iter()
    .map(|(name, signer)| {
        let quote = signer.sign_parts(&parts);
        base.altered("signed: another's key", name.to_owned(), |case| case.set_quote(quote))
    })
    .collect()
}

/// Documents that their signer signs, and that say something wrong.
fn documents(base: &Case) -> Vec<Case> {
    let genuine = Specimen::new(base.kind);
    let mut cases = Vec::new();
    for which in ["tcb info", "qe identity"] {
        let text = if which == "tcb info" { &genuine.tcb_info } else { &genuine.qe_identity };
        let document: Value = serde_json::from_str(text).unwrap();
        let mut with = |name: String, text: String| {
            let mut specimen = Specimen::new(base.kind);
            *(if which == "tcb info" { &mut specimen.tcb_info } else { &mut specimen.qe_identity }) = text;
            let collateral = specimen.collateral();
            cases.push(base.altered("signed: document", format!("{which}: {name}"), |case| {
                case.set_collateral(collateral);
            }));
        };
        with("empty".to_owned(), String::new());
        with("no object".to_owned(), "[]".to_owned());
        with("something behind".to_owned(), format!("{text} {{}}"));
        for (key, value) in document.as_object().unwrap() {
            for (what, replacement) in wrong(key, value) {
                let mut altered = document.clone();
                let object = altered.as_object_mut().unwrap();
                match replacement {
                    Some(value) => object.insert(key.clone(), value),
                    None => object.remove(key),
                };
                with(format!("{key} {what}"), altered.to_string());
            }
        }
        for status in ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "Revoked", "TDRelaunchAdvised", "?"] {
            let altered = text.replace("\"UpToDate\"", &format!("\"{status}\""));
            // A component that needs configuration does not make its platform need it: see TcbStatus::converge.
            if which == "tcb info" || status != "ConfigurationNeeded" {
                with(format!("every status {status}"), altered);
            }
        }
    }
    cases
}

/// Wrong values of a key, and none at all.
fn wrong(key: &str, value: &Value) -> Vec<(&'static str, Option<Value>)> {
    let mut wrong =
        vec![("missing", None), ("null", Some(Value::Null)), ("of another type", Some(Value::from(vec![1])))];
    let text = value.as_str().unwrap_or_default();
    match key {
        "id" => wrong.extend(
            ["TDX", "SGX", "QE", "TD_QE", "QVE"]
                .into_iter()
                .filter(|id| *id != text)
                .map(|id| ("another", Some(Value::from(id)))),
        ),
        "version" => wrong.extend([0, 1, 4, 255].map(|version| ("another", Some(Value::from(version))))),
        "tcbType" => wrong.push(("another", Some(Value::from(1)))),
        "issueDate" | "nextUpdate" => {
            let date = if key == "issueDate" { "2099-01-01T00:00:00Z" } else { "2020-01-01T00:00:00Z" };
            wrong.push(("on the wrong side", Some(Value::from(date))));
            wrong.push(("not a date", Some(Value::from("tomorrow"))));
            wrong.push(("in a zone", Some(Value::from(text.replace('Z', "+14:00")))));
        }
        "fmspc" | "pceId" | "mrsigner" | "miscselect" | "attributes" => {
            let flipped = format!("{}{}", if text.starts_with('F') { '0' } else { 'F' }, &text[1..]);
            wrong.push(("another", Some(Value::from(flipped))));
            wrong.push(("too short", Some(Value::from(&text[2..]))));
            wrong.push(("too long", Some(Value::from(format!("{text}00")))));
            wrong.push(("not hexadecimal", Some(Value::from(format!("g{}", &text[1..])))));
        }
        "isvprodid" => wrong.push(("another", Some(Value::from(9)))),
        "tcbLevels" => wrong.push(("empty", Some(Value::from(Vec::<Value>::new())))),
        _ => {}
    }
    wrong
}
