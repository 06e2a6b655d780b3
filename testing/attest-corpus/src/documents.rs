//! Both signed documents, wrong somewhere inside *before* their signer signs them: every field of every level, and the whole text.
//!
//! `signed.rs` alters the fields at the top; here are those below, values that mean something else, keys that appear twice, and documents
//! in each other's place. Each case says which refusal is meant for it.

use crate::{
    signed::{base, Specimen},
    Case, Kind,
};
use phala_attest::DocumentFault as Fault;
use phala_insecure_tee::{qe_identity_json, sgx_qe_identity_json, sgx_tcb_info_json, tcb_info_json};
use serde_json::{json, Value};

/// The cases' class.
pub const CLASS: &str = "signed: inside a document";

/// Lower than up to date, which is what the corpus accepts of a machine that was.
const OUTDATED: &str = "Evidence(TcbStatus(OutOfDate))";

/// Which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    TcbInfo,
    QeIdentity,
}

impl Which {
    const BOTH: [Self; 2] = [Self::TcbInfo, Self::QeIdentity];

    const fn name(self) -> &'static str {
        match self {
            Self::TcbInfo => "tcb info",
            Self::QeIdentity => "qe identity",
        }
    }

    fn refusal(self, fault: Fault) -> String {
        format!("Collateral({self:?}({fault:?}))")
    }

    fn get(self, specimen: &Specimen) -> &str {
        match self {
            Self::TcbInfo => &specimen.tcb_info,
            Self::QeIdentity => &specimen.qe_identity,
        }
    }

    fn set(self, specimen: &mut Specimen, text: String) {
        match self {
            Self::TcbInfo => specimen.tcb_info = text,
            Self::QeIdentity => specimen.qe_identity = text,
        }
    }
}

/// A document, and what was meant to refuse it.
struct Altered {
    what: String,
    text: String,
    meant: String,
}

/// Every alteration of both documents.
pub fn cases(kind: Kind) -> Vec<Case> {
    let (base, genuine) = (base(kind), Specimen::new(kind));
    let mut cases = Vec::new();
    let case = |name: String, meant: String, alter: &dyn Fn(&mut Specimen)| {
        let mut specimen = Specimen::new(kind);
        alter(&mut specimen);
        let collateral = specimen.collateral();
        base.altered(CLASS, name, |case| {
            case.set_collateral(collateral);
            case.meant = Some(meant);
        })
    };
    for which in Which::BOTH {
        let text = which.get(&genuine);
        let document: Value = serde_json::from_str(text).unwrap();
        for altered in
            [fields(which, &document), values(which, &document), twice(which, text, &document), texts(which, text)]
                .into_iter()
                .flatten()
        {
            let name = format!("{}: {}", which.name(), altered.what);
            cases.push(case(name, altered.meant, &|specimen| which.set(specimen, altered.text.clone())));
        }
    }
    let window = genuine.window;
    let (tcb_info, qe_identity) = if kind == Kind::SgxV3 {
        (tcb_info_json(window).unwrap(), qe_identity_json(window).unwrap())
    } else {
        (sgx_tcb_info_json(window).unwrap(), sgx_qe_identity_json(window).unwrap())
    };
    let wrong_id = Which::QeIdentity.refusal(Fault::WrongId);
    let tcb_info_of = |specimen: &mut Specimen| specimen.tcb_info.clone_from(&tcb_info);
    let qe_identity_of = |specimen: &mut Specimen| specimen.qe_identity.clone_from(&qe_identity);
    cases.push(case("tcb info: of the other technology".to_owned(), wrong_id.clone(), &tcb_info_of));
    cases.push(case("qe identity: of the other technology".to_owned(), wrong_id, &qe_identity_of));
    cases.push(case("both: of the other technology".to_owned(), "Evidence(CollateralKind)".to_owned(), &|specimen| {
        tcb_info_of(specimen);
        qe_identity_of(specimen);
    }));
    cases.push(case("tcb info: a qe identity".to_owned(), Which::TcbInfo.refusal(Fault::Json), &|specimen| {
        specimen.tcb_info.clone_from(&genuine.qe_identity);
    }));
    cases.push(case("qe identity: a tcb info".to_owned(), Which::QeIdentity.refusal(Fault::Json), &|specimen| {
        specimen.qe_identity.clone_from(&genuine.tcb_info);
    }));
    cases
}

/// Where every field below the top is, as a JSON pointer; of arrays the first element and the last.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, inner)| (key.clone(), inner)).collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .filter(|(index, _)| *index == 0 || *index + 1 == elements.len())
            .map(|(index, inner)| (index.to_string(), inner))
            .collect(),
        _ => Vec::new(),
    };
    for (key, inner) in inside {
        let place = format!("{at}/{key}");
        if !at.is_empty() {
            found.push(place.clone());
        }
        places(inner, &place, found);
    }
}

fn below(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(document, "", &mut found);
    found
}

fn key(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or_default()
}

fn parent(place: &str) -> &str {
    place.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn is_components(key: &str) -> bool {
    key.ends_with("tcbcomponents")
}

fn with(document: &Value, place: &str, alter: impl FnOnce(&mut Value)) -> String {
    let mut altered = document.clone();
    alter(altered.pointer_mut(place).unwrap());
    altered.to_string()
}

/// Fields that are not there, are null, or hold something of another shape.
fn fields(which: Which, document: &Value) -> Vec<Altered> {
    let mut all = Vec::new();
    for place in below(document) {
        let name = key(&place).to_owned();
        let mut add = |what: &str, text: String, fault: Fault| {
            all.push(Altered { what: format!("{place} {what}"), text, meant: which.refusal(fault) });
        };
        // Of SGX it is not there at all, so that its absence has a name of its own.
        let absent = if name == "tdxtcbcomponents" { Fault::Components } else { Fault::Json };
        add("null", with(document, &place, |value| *value = Value::Null), absent);
        let is_array = document.pointer(&place).is_some_and(Value::is_array);
        let is_object = document.pointer(&place).is_some_and(Value::is_object);
        let other = if is_array || is_object { json!("x") } else { json!([1]) };
        add("of another type", with(document, &place, |value| *value = other), Fault::Json);
        if let Some(object) = document.pointer(&place).and_then(Value::as_object) {
            let array: Value = object.values().cloned().collect();
            add("as an array", with(document, &place, |value| *value = array), Fault::Json);
        }
        // Advisories may be left out: there are none then.
        let in_object = document.pointer(parent(&place)).is_some_and(Value::is_object);
        if in_object && name != "advisoryIDs" {
            let text = with(document, parent(&place), |value| {
                value.as_object_mut().unwrap().remove(&name);
            });
            add("missing", text, absent);
        }
        if is_array && name != "advisoryIDs" {
            let fault = if is_components(&name) { Fault::Components } else { Fault::NoLevels };
            add("empty", with(document, &place, |value| *value = json!([])), fault);
        }
        if is_components(&name) {
            let fewer = |value: &mut Value| drop(value.as_array_mut().unwrap().pop());
            add("of fifteen", with(document, &place, fewer), Fault::Components);
            let more = |value: &mut Value| value.as_array_mut().unwrap().push(json!({"svn": 0}));
            add("of seventeen", with(document, &place, more), Fault::Components);
        }
    }
    all
}

/// Values of the right shape that are none, or mean something else.
fn values(which: Which, document: &Value) -> Vec<Altered> {
    let mut all = Vec::new();
    for place in below(document) {
        let mut add = |what: &str, value: Value, meant: String| {
            let text = with(document, &place, |old| *old = value);
            all.push(Altered { what: format!("{place} {what}"), text, meant });
        };
        let old = document.pointer(&place).and_then(Value::as_str).unwrap_or_default();
        // The levels that the machine reaches, and its module's identity.
        let newest = place.starts_with("/tcbLevels/0/") || place.starts_with("/tdxModuleIdentities/0/tcbLevels/0/");
        let of_module = place.starts_with("/tdxModuleIdentities/0/");
        match key(&place) {
            number @ ("svn" | "pcesvn" | "isvsvn") => {
                let most = if number == "svn" { 255 } else { 65_535 };
                for (what, value) in [
                    ("negative", json!(-1)),
                    ("too large", json!(most + 1)),
                    ("not whole", json!(1.5)),
                    ("as text", json!("1")),
                ] {
                    add(what, value, which.refusal(Fault::Json));
                }
                // The first two of a TDX level are judged by the module's identity.
                let judged = !place.contains("tdxtcbcomponents/0/");
                let most = if of_module { 255 } else { most };
                if newest && judged {
                    add("out of reach", json!(most), OUTDATED.to_owned());
                }
                if of_module {
                    add("over a byte", json!(256), which.refusal(Fault::Json));
                }
            }
            "tcbDate" => {
                for (what, value) in [
                    ("no date", "tomorrow"),
                    ("a day", "2025-01-01"),
                    ("in a zone", "2025-01-01T00:00:00+14:00"),
                    ("of a thirtieth of february", "2025-02-30T00:00:00Z"),
                ] {
                    add(what, json!(value), which.refusal(Fault::Date));
                }
            }
            "tcbStatus" => {
                for value in ["", "uptodate", "UpToDate ", "TDRelaunchAdvised"] {
                    add(&format!("{value:?}"), json!(value), which.refusal(Fault::Status));
                }
                if newest {
                    add("revoked", json!("Revoked"), "Evidence(TcbRevoked)".to_owned());
                    add("outdated", json!("OutOfDate"), OUTDATED.to_owned());
                }
            }
            "id" => {
                for (what, value, meant) in [
                    ("of no module", "SGX_01", which.refusal(Fault::WrongId)),
                    ("empty", "", which.refusal(Fault::WrongId)),
                    ("without a version", "TDX_", which.refusal(Fault::Hex)),
                    ("of half a version", "TDX_1", which.refusal(Fault::Hex)),
                    ("of another version", "TDX_7F", "Evidence(ModuleVersion)".to_owned()),
                ] {
                    add(what, json!(value), meant);
                }
            }
            hex @ ("mrsigner" | "attributes" | "attributesMask") => {
                for (what, value) in [
                    ("too short", old[2..].to_owned()),
                    ("too long", format!("{old}00")),
                    ("not hexadecimal", format!("g{}", &old[1..])),
                ] {
                    add(what, json!(value), which.refusal(Fault::Hex));
                }
                let other = json!(format!("F{}", &old[1..]));
                match hex {
                    "mrsigner" if of_module => add("another", other, "Evidence(ModuleSigner)".to_owned()),
                    "attributes" if of_module => add("another", other, "Evidence(ModuleAttributes)".to_owned()),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let array: Value = document.as_object().unwrap().values().cloned().collect();
    let meant = which.refusal(Fault::Json);
    all.push(Altered { what: "whole, as an array".to_owned(), text: array.to_string(), meant });
    if which == Which::TcbInfo && document.get("tdxModuleIdentities").is_some() {
        let text = with(document, "/tdxModuleIdentities", |identities| {
            let first = identities[0].clone();
            identities.as_array_mut().unwrap().push(first);
        });
        let meant = which.refusal(Fault::Ambiguous);
        all.push(Altered { what: "/tdxModuleIdentities/0 twice".to_owned(), text, meant });
    }
    all
}

/// Keys that appear twice, with the same value or another: two readers can disagree about which counts.
fn twice(which: Which, text: &str, document: &Value) -> Vec<Altered> {
    let mut all = Vec::new();
    let mut add = |what: String, text: String| {
        all.push(Altered { what, text, meant: which.refusal(Fault::Json) });
    };
    for (key, value) in document.as_object().unwrap() {
        add(format!("{key} twice"), format!("{{\"{key}\":{value},{}", &text[1..]));
    }
    for (key, value) in [
        ("svn", "1"),
        ("pcesvn", "1"),
        ("isvsvn", "1"),
        ("tcbDate", "\"2025-01-01T00:00:00Z\""),
        ("tcbStatus", "\"UpToDate\""),
    ] {
        let found = format!("\"{key}\":");
        if text.contains(&found) {
            add(format!("an inner {key} twice"), text.replacen(&found, &format!("{found}{value},{found}"), 1));
        }
    }
    all
}

/// Texts around and inside which something stands that is no JSON.
fn texts(which: Which, text: &str) -> Vec<Altered> {
    let inside = &text[..text.len() - 1];
    [
        ("a byte order mark before", format!("\u{feff}{text}")),
        ("a zero behind", format!("{text}\0")),
        ("a comma behind the last field", format!("{inside},}}")),
        ("a comment", format!("{inside}/* end */}}")),
        ("a closing bracket too few", inside.to_owned()),
    ]
    .into_iter()
    .map(|(what, text)| Altered { what: what.to_owned(), text, meant: which.refusal(Fault::Json) })
    .collect()
}
