//! Where the fields of a quote are, from Intel's specifications and not from the verifier's decoder.

use crate::Kind;

/// Name, first byte and length of a field.
pub type Field = (String, usize, usize);

const HEADER: &[(&str, usize)] = &[
    ("version", 2),
    ("attestation key type", 2),
    ("tee type", 4),
    ("header versions", 4),
    ("qe vendor id", 16),
    ("user data", 16),
    ("user data tail", 4),
];
const ENCLAVE: &[(&str, usize)] = &[
    ("cpusvn", 16),
    ("miscselect", 4),
    ("reserved 1", 12),
    ("isvextprodid", 16),
    ("flags", 8),
    ("xfrm", 8),
    ("mrenclave", 32),
    ("reserved 2", 32),
    ("mrsigner", 32),
    ("reserved 3", 32),
    ("configid", 64),
    ("isvprodid", 2),
    ("isvsvn", 2),
    ("configsvn", 2),
    ("reserved 4", 42),
    ("isvfamilyid", 16),
    ("report data", 64),
];
const TD: &[(&str, usize)] = &[
    ("tee_tcb_svn", 16),
    ("mrseam", 48),
    ("mrsignerseam", 48),
    ("seamattributes", 8),
    ("tdattributes", 8),
    ("xfam", 8),
    ("mrtd", 48),
    ("mrconfigid", 48),
    ("mrowner", 48),
    ("mrownerconfig", 48),
    ("rtmr0", 48),
    ("rtmr1", 48),
    ("rtmr2", 48),
    ("rtmr3", 48),
    ("report data", 64),
];
const BODY: &[(&str, usize)] = &[("body type", 2), ("body length", 4)];
const TD_15: &[(&str, usize)] = &[("tee_tcb_svn_2", 16), ("mrservicetd", 48)];
const TD_15_EXTENDED: &[(&str, usize)] = &[
    ("vm_id", 1),
    ("td_id", 32),
    ("dev_info", 48),
    ("init_servtd_hash", 48),
    ("init_servtd_attributes", 8),
    ("init_cpusvn", 16),
    ("init_tee_tcb_svn", 16),
    ("init_tee_fmspc", 12),
    ("cur_servtd_hash", 48),
    ("cur_servtd_attributes", 8),
];

fn place(parts: &[(&str, &[(&str, usize)])]) -> Vec<Field> {
    let mut start = 0;
    let mut fields = Vec::new();
    for (prefix, part) in parts {
        for (name, length) in *part {
            fields.push((format!("{prefix}{name}"), start, *length));
            start += length;
        }
    }
    fields
}

/// The fields that the attestation key signs.
pub fn signed(kind: Kind, quote: &[u8]) -> Vec<Field> {
    match (kind, quote.get(48)) {
        (Kind::SgxV3, _) => place(&[("", HEADER), ("", ENCLAVE)]),
        (Kind::TdxV4, _) => place(&[("", HEADER), ("", TD)]),
        (Kind::TdxV5, Some(4)) => place(&[("", HEADER), ("", BODY), ("", TD), ("", TD_15), ("", TD_15_EXTENDED)]),
        (Kind::TdxV5, Some(3)) => place(&[("", HEADER), ("", BODY), ("", TD), ("", TD_15)]),
        (Kind::TdxV5, _) => place(&[("", HEADER), ("", BODY), ("", TD)]),
    }
}

/// The fields of the quoting enclave's report, by their place in it.
pub fn qe_report() -> Vec<Field> {
    place(&[("qe ", ENCLAVE)])
}

/// All fields before the certificates, and where those begin.
pub fn all(kind: Kind, quote: &[u8]) -> (Vec<Field>, usize) {
    let mut fields = signed(kind, quote);
    let mut start = fields.last().map_or(0, |(_, at, length)| at + length);
    let outer: &[(&str, usize)] =
        if kind == Kind::SgxV3 { &[] } else { &[("outer certification type", 2), ("outer certification length", 4)] };
    let head: &[(&str, usize)] = &[("length", 4), ("signature", 64), ("attestation key", 64)];
    let tail: &[(&str, usize)] = &[
        ("qe report signature", 64),
        ("authentication data length", 2),
        ("authentication data", 32),
        ("certification type", 2),
        ("certification length", 4),
    ];
    for (name, at, length) in place(&[("", head), ("", outer), ("qe ", ENCLAVE), ("", tail)]) {
        fields.push((name, start + at, length));
    }
    start = fields.last().map_or(0, |(_, at, length)| at + length);
    (fields, start)
}

/// First, middle and last byte of a field, each once.
pub fn places((_, start, length): &Field) -> Vec<usize> {
    let mut places = vec![*start, start + length / 2, start + length - 1];
    places.dedup();
    places
}
