//! Reads Intel's two JSON documents: TCB info (version 3, `SGX` or `TDX`) and QE identity (version 2 `QE`, 2 or 3 `TD_QE`).
//!
//! Called only after the document's signature is verified, so its author is Intel; still everything is bounded, and an
//! id, version or status that this code does not know refuses the document. Unknown *fields* are ignored: Intel adds
//! informative ones (such as a component's category) within a version. A field that appears twice, or an object that is
//! spelled as the array of its values, refuses it: two readers could read two things.

use alloc::{string::String, vec::Vec};
use core::{cmp::Reverse, fmt, marker::PhantomData, ops::Deref};
use serde::{
    de::{value::MapAccessDeserializer, MapAccess, Visitor},
    Deserialize, Deserializer,
};

use crate::{
    collateral::DocumentFault,
    evidence::Vendor,
    list::List,
    tcb::{
        Advisories, Advisory, ComponentLevel, ModuleIdentity, ModuleSigner, PlatformLevel, QeIdentity, TcbInfo,
        TcbStatus, TdxModules, Technology, MOST_ADVISORIES,
    },
    time::document_date,
};

/// What is an object in JSON. A derived reader alone takes an array too, field by field.
struct Object<T>(T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfoDocument {
    id: String,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_type: u32,
    tcb_evaluation_data_number: u32,
    tdx_module: Option<Object<SignerDocument>>,
    #[serde(default)]
    tdx_module_identities: Vec<Object<ModuleDocument>>,
    tcb_levels: Vec<Object<PlatformLevelDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignerDocument {
    mrsigner: String,
    attributes: String,
    attributes_mask: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleDocument {
    id: String,
    mrsigner: String,
    attributes: String,
    attributes_mask: String,
    tcb_levels: Vec<Object<ComponentLevelDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComponentLevelDocument {
    tcb: Object<ComponentTcbDocument>,
    tcb_date: String,
    tcb_status: String,
    #[serde(rename = "advisoryIDs", default)]
    advisory_ids: Vec<String>,
}

#[derive(Deserialize)]
struct ComponentTcbDocument {
    isvsvn: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlatformLevelDocument {
    tcb: Object<PlatformTcbDocument>,
    tcb_date: String,
    tcb_status: String,
    #[serde(rename = "advisoryIDs", default)]
    advisory_ids: Vec<String>,
}

#[derive(Deserialize)]
struct PlatformTcbDocument {
    sgxtcbcomponents: Vec<Object<SvnDocument>>,
    pcesvn: u16,
    tdxtcbcomponents: Option<Vec<Object<SvnDocument>>>,
}

#[derive(Deserialize)]
struct SvnDocument {
    svn: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentityDocument {
    id: String,
    version: u8,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: String,
    miscselect_mask: String,
    attributes: String,
    attributes_mask: String,
    mrsigner: String,
    isvprodid: u16,
    tcb_levels: Vec<Object<ComponentLevelDocument>>,
}

/// Reads TCB info, of the technology that it names.
pub(crate) fn read_tcb_info(text: &[u8]) -> Result<TcbInfo, DocumentFault> {
    let document: Object<TcbInfoDocument> = serde_json::from_slice(text).map_err(|_| DocumentFault::Json)?;
    let vendor = match document.id.as_str() {
        "TDX" => Vendor::IntelTdx,
        "SGX" => Vendor::IntelSgx,
        _ => return Err(DocumentFault::WrongId),
    };
    // Type 0 says how security versions compare: component by component. Another type would need another comparison.
    if document.version != 3 || document.tcb_type != 0 {
        return Err(DocumentFault::Version);
    }
    let mut levels =
        document.tcb_levels.iter().map(|level| read_platform_level(level, vendor)).collect::<Result<Vec<_>, _>>()?;
    if levels.is_empty() {
        return Err(DocumentFault::NoLevels);
    }
    // Intel's library does not rely on the document's order: highest versions first, stable among equals.
    levels.sort_by_key(|level| Reverse((level.cpu_svn, level.pce_svn, level.tdx_svn)));
    Ok(TcbInfo {
        fmspc: hex_array(&document.fmspc)?,
        pce_id: hex_array(&document.pce_id)?,
        evaluation_number: document.tcb_evaluation_data_number,
        issued: document_date(&document.issue_date)?,
        next_update: document_date(&document.next_update)?,
        technology: match vendor {
            Vendor::IntelTdx => Technology::Tdx(read_modules(&document)?),
            Vendor::IntelSgx => Technology::Sgx,
        },
        levels: List::try_from(levels).map_err(|_| DocumentFault::TooLong)?,
    })
}

/// Reads the identity of the quoting enclave of `vendor`'s technology.
pub(crate) fn read_qe_identity(text: &[u8], vendor: Vendor) -> Result<QeIdentity, DocumentFault> {
    let document: Object<QeIdentityDocument> = serde_json::from_slice(text).map_err(|_| DocumentFault::Json)?;
    let (id, versions): (_, &[u8]) = match vendor {
        Vendor::IntelTdx => ("TD_QE", &[2, 3]),
        Vendor::IntelSgx => ("QE", &[2]),
    };
    if document.id != id {
        return Err(DocumentFault::WrongId);
    }
    if !versions.contains(&document.version) {
        return Err(DocumentFault::Version);
    }
    Ok(QeIdentity {
        evaluation_number: document.tcb_evaluation_data_number,
        issued: document_date(&document.issue_date)?,
        next_update: document_date(&document.next_update)?,
        misc_select: hex_array(&document.miscselect)?,
        misc_select_mask: hex_array(&document.miscselect_mask)?,
        attributes: hex_array(&document.attributes)?,
        attributes_mask: hex_array(&document.attributes_mask)?,
        mr_signer: hex_array(&document.mrsigner)?,
        isv_prod_id: document.isvprodid,
        levels: read_component_levels(&document.tcb_levels, TcbStatus::valid_for_enclave)?,
    })
}

fn read_modules(document: &TcbInfoDocument) -> Result<TdxModules, DocumentFault> {
    let modules =
        document.tdx_module_identities.iter().map(|module| read_module(module)).collect::<Result<Vec<_>, _>>()?;
    for (index, module) in modules.iter().enumerate() {
        if modules.iter().take(index).any(|earlier| earlier.version == module.version) {
            return Err(DocumentFault::Ambiguous);
        }
    }
    Ok(TdxModules {
        module: read_signer(document.tdx_module.as_ref().ok_or(DocumentFault::NoModule)?)?,
        modules: List::try_from(modules).map_err(|_| DocumentFault::TooLong)?,
    })
}

fn read_module(document: &ModuleDocument) -> Result<ModuleIdentity, DocumentFault> {
    let version = document.id.strip_prefix("TDX_").ok_or(DocumentFault::WrongId)?;
    let [version] = hex_array(version)?;
    // One byte of a quote's sixteen says the module's security version.
    if document.tcb_levels.iter().any(|level| level.tcb.isvsvn > u8::MAX.into()) {
        return Err(DocumentFault::Json);
    }
    Ok(ModuleIdentity {
        version,
        signer: ModuleSigner {
            mr_signer: hex_array(&document.mrsigner)?,
            attributes: hex_array(&document.attributes)?,
            attributes_mask: hex_array(&document.attributes_mask)?,
        },
        levels: read_component_levels(&document.tcb_levels, TcbStatus::valid_for_module)?,
    })
}

fn read_signer(document: &SignerDocument) -> Result<ModuleSigner, DocumentFault> {
    Ok(ModuleSigner {
        mr_signer: hex_array(&document.mrsigner)?,
        attributes: hex_array(&document.attributes)?,
        attributes_mask: hex_array(&document.attributes_mask)?,
    })
}

fn read_component_levels<const LIMIT: usize>(
    documents: &[Object<ComponentLevelDocument>],
    valid: fn(TcbStatus) -> bool,
) -> Result<List<ComponentLevel, LIMIT>, DocumentFault> {
    let levels = documents
        .iter()
        .map(|document| {
            let status = TcbStatus::from_name(&document.tcb_status)
                .filter(|status| valid(*status))
                .ok_or(DocumentFault::Status)?;
            document_date(&document.tcb_date)?;
            Ok(ComponentLevel {
                svn: document.tcb.isvsvn,
                status,
                advisories: read_advisories(&document.advisory_ids)?,
            })
        })
        .collect::<Result<Vec<_>, DocumentFault>>()?;
    if levels.is_empty() {
        return Err(DocumentFault::NoLevels);
    }
    List::try_from(levels).map_err(|_| DocumentFault::TooLong)
}

fn read_platform_level(document: &PlatformLevelDocument, vendor: Vendor) -> Result<PlatformLevel, DocumentFault> {
    document_date(&document.tcb_date)?;
    Ok(PlatformLevel {
        cpu_svn: read_components(&document.tcb.sgxtcbcomponents)?,
        pce_svn: document.tcb.pcesvn,
        tdx_svn: match vendor {
            Vendor::IntelTdx => {
                read_components(document.tcb.tdxtcbcomponents.as_ref().ok_or(DocumentFault::Components)?)?
            }
            Vendor::IntelSgx => [0; 16],
        },
        status: TcbStatus::from_name(&document.tcb_status).ok_or(DocumentFault::Status)?,
        advisories: read_advisories(&document.advisory_ids)?,
    })
}

fn read_components(documents: &[Object<SvnDocument>]) -> Result<[u8; 16], DocumentFault> {
    let versions: Vec<u8> = documents.iter().map(|component| component.svn).collect();
    versions.try_into().map_err(|_| DocumentFault::Components)
}

/// As many as a level holds; a full list says that there may be more. Each id is read, kept or not.
fn read_advisories(ids: &[String]) -> Result<Advisories, DocumentFault> {
    let mut advisories =
        ids.iter().map(|id| Advisory::new(id)).collect::<Option<Vec<_>>>().ok_or(DocumentFault::TooLong)?;
    advisories.truncate(MOST_ADVISORIES);
    List::try_from(advisories).map_err(|_| DocumentFault::TooLong)
}

/// Exactly `LENGTH` bytes of hexadecimal, in either case.
fn hex_array<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], DocumentFault> {
    let digit =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(DocumentFault::Hex);
    if text.len() != LENGTH * 2 {
        return Err(DocumentFault::Hex);
    }
    let mut bytes = [0u8; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return Err(DocumentFault::Hex) };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLLATERAL: &str = include_str!("../../../testing/vectors/attest/tdx_v4.collateral.json");

    fn document(name: &str) -> Vec<u8> {
        let collateral: serde_json::Value = serde_json::from_str(COLLATERAL).unwrap();
        collateral[name].as_str().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn sorts_levels_by_version_whatever_their_order_in_the_document() {
        let genuine = read_tcb_info(&document("tcb_info")).unwrap();
        let mut reversed: serde_json::Value = serde_json::from_slice(&document("tcb_info")).unwrap();
        reversed["tcbLevels"].as_array_mut().unwrap().reverse();
        assert_eq!(read_tcb_info(&serde_json::to_vec(&reversed).unwrap()).unwrap(), genuine);
        assert_eq!(genuine.levels.iter().map(|level| level.pce_svn).collect::<Vec<_>>(), [11, 5]);
    }

    #[test]
    fn a_level_with_more_advisories_than_are_kept_refuses_no_document() {
        let mut long: serde_json::Value = serde_json::from_slice(&document("tcb_info")).unwrap();
        let ids = |count: usize| (0..count).map(|number| format!("INTEL-SA-{number:05}")).collect::<Vec<_>>();
        let kept = |long: &serde_json::Value| {
            let read = read_tcb_info(&serde_json::to_vec(long).unwrap()).unwrap();
            read.levels.last().unwrap().advisories.iter().map(Advisory::id).collect::<Vec<_>>()
        };
        let last = long["tcbLevels"].as_array().unwrap().len() - 1;
        for (count, expected) in
            [(0, 0), (MOST_ADVISORIES, MOST_ADVISORIES), (MOST_ADVISORIES + 1, MOST_ADVISORIES), (900, MOST_ADVISORIES)]
        {
            long["tcbLevels"][last]["advisoryIDs"] = ids(count).into();
            assert_eq!(kept(&long), ids(expected));
        }
        // What is not kept is still read.
        let mut bad = ids(MOST_ADVISORIES + 1);
        bad[MOST_ADVISORIES] = "INTEL SA".into();
        long["tcbLevels"][last]["advisoryIDs"] = bad.into();
        assert_eq!(read_tcb_info(&serde_json::to_vec(&long).unwrap()), Err(DocumentFault::TooLong));
    }

    #[test]
    fn an_object_that_is_spelled_as_an_array_is_refused() {
        let genuine: serde_json::Value = serde_json::from_slice(&document("tcb_info")).unwrap();
        assert!(read_tcb_info(&serde_json::to_vec(&genuine).unwrap()).is_ok());
        for place in ["", "/tdxModule", "/tdxModuleIdentities/0", "/tcbLevels/0", "/tcbLevels/0/tcb/sgxtcbcomponents/0"]
        {
            let mut altered = genuine.clone();
            let object = altered.pointer_mut(place).unwrap();
            *object = object.as_object().unwrap().values().cloned().collect();
            let found = read_tcb_info(&serde_json::to_vec(&altered).unwrap());
            assert_eq!(found.map(|_| ()), Err(DocumentFault::Json), "{place}");
        }
    }

    proptest! {
        #[test]
        fn altered_documents_never_panic(name in prop::sample::select(vec!["tcb_info", "qe_identity"]), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = document(name);
            let at = at.index(text.len());
            text[at] = byte;
            let _ = read_tcb_info(&text);
            let _ = read_qe_identity(&text, Vendor::IntelTdx);
            let _ = read_qe_identity(&text, Vendor::IntelSgx);
        }
    }
}
