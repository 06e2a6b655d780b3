//! What can be done to evidence without its keys: alter bytes, cut, append, exchange parts, come at another time.

use crate::{
    genuine,
    layout::{self, places},
    Case, Kind,
};
use phala_attest::{Collateral, List, QUOTE_LIMIT};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A quote altered under its signatures.
pub fn of_quote(base: &Case, stride: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let (fields, chain_start) = layout::all(base.kind, &base.quote);
    assert!(base.quote.get(chain_start..).is_some_and(|chain| chain.starts_with(BEGIN)), "the layout is wrong");
    let mut quote = |class, name: String, quote: Vec<u8>| {
        if quote != base.quote {
            cases.push(base.altered(class, name, |case| case.set_quote(quote)));
        }
    };
    let flipped = |at: usize, bit: usize| {
        let mut bytes = base.quote.clone();
        bytes[at] ^= 1 << (bit % 8);
        bytes
    };
    for (index, field) in fields.iter().enumerate() {
        for at in places(field) {
            quote("flipped bit of a field", format!("{} at {at}", field.0), flipped(at, index + at));
        }
    }
    for at in (chain_start..base.quote.len()).step_by(stride).chain([base.quote.len() - 1]) {
        if is_blank(base.quote[at]) && is_blank(base.quote[at] ^ (1 << (at % 8))) {
            continue;
        }
        quote("flipped bit of a certificate", format!("certificates at {at}"), flipped(at, at));
    }
    for (name, start, length) in &fields {
        quote("truncated", format!("before {name}"), base.quote[..*start].to_vec());
        quote("truncated", format!("inside {name}"), base.quote[..start + length / 2].to_vec());
    }
    for tail in [1, 5, base.quote.len() - chain_start] {
        quote("truncated", format!("last {tail}"), base.quote[..base.quote.len() - tail].to_vec());
    }
    for (name, tail) in [("zero", vec![0]), ("byte", vec![1]), ("zeros", vec![0; 70]), ("copy", base.quote.clone())] {
        quote("trailing bytes", name.to_owned(), [&base.quote[..], tail.as_slice()].concat());
    }
    let filled = |length: usize| [&base.quote[..], vec![0; length - base.quote.len()].as_slice()].concat();
    quote("oversized", "to the limit".to_owned(), filled(QUOTE_LIMIT));
    quote("oversized", "over the limit".to_owned(), filled(QUOTE_LIMIT + 1));
    quote("oversized", "a megabyte".to_owned(), filled(1 << 20));
    for (name, start, length) in fields.iter().filter(|(name, ..)| name.ends_with("length")) {
        for value in [0u32, 1, 0xffff, u32::MAX] {
            let mut bytes = base.quote.clone();
            bytes[*start..start + length].copy_from_slice(&value.to_le_bytes()[..*length]);
            quote("length", format!("{name} {value}"), bytes);
        }
    }
    for (name, start, length) in fields
        .iter()
        .filter(|(name, ..)| ["signature", "attestation key", "qe report signature"].contains(&name.as_str()))
    {
        for fill in [0, 0xff] {
            let mut bytes = base.quote.clone();
            bytes[*start..start + length].fill(fill);
            quote("filled", format!("{name} with {fill}"), bytes);
        }
    }
    // The signature of one thing for the other, and r and s exchanged.
    let at = |wanted: &str| fields.iter().find(|(name, ..)| name == wanted).map(|(_, start, _)| *start).unwrap();
    let (signature, qe_signature) = (at("signature"), at("qe report signature"));
    let mut bytes = base.quote.clone();
    bytes.copy_within(qe_signature..qe_signature + 64, signature);
    quote("exchanged", "qe report's signature for the quote's".to_owned(), bytes);
    let mut bytes = base.quote.clone();
    bytes.copy_within(signature..signature + 64, qe_signature);
    quote("exchanged", "quote's signature for the qe report's".to_owned(), bytes);
    for (name, start) in [("signature", signature), ("qe report signature", qe_signature)] {
        let mut bytes = base.quote.clone();
        bytes[start..start + 64].rotate_left(32);
        quote("exchanged", format!("halves of {name}"), bytes);
    }
    for (name, chain) in chains(&base.quote[chain_start..], base.kind) {
        quote("certificates in another order", name, with_chain(&base.quote, base.kind, chain_start, &chain));
    }
    for other in Kind::ALL.into_iter().filter(|kind| *kind != base.kind) {
        for (index, donor) in genuine::of(other).into_iter().enumerate() {
            quote("another kind's", format!("whole quote of {other:?} {index}"), donor.quote.clone());
            let (_, from) = layout::all(other, &donor.quote);
            let bytes = with_chain(&base.quote, base.kind, chain_start, &donor.quote[from..]);
            quote("another kind's", format!("certificates of {other:?} {index}"), bytes);
        }
    }
    cases
}

/// White space around certificates, which both verifiers skip: [`crate::without_effect`] exchanges it.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

/// What everybody can do to a genuine quote without changing its verdict: the other of the two values of a signature, and other
/// white space between certificates.
pub fn without_effect(base: &Case) -> Vec<(Case, &'static str)> {
    const SIGNATURE: &str =
        "ECDSA: (r, s) and (r, n - s) are one signature; both verify, and neither is the name of anything";
    let (fields, chain_start) = layout::all(base.kind, &base.quote);
    let mut cases = Vec::new();
    for (name, start, _) in
        fields.iter().filter(|(name, ..)| ["signature", "qe report signature"].contains(&name.as_str()))
    {
        let mut bytes = base.quote.clone();
        negate(&mut bytes[start + 32..start + 64]);
        cases.push((base.altered("other value of a signature", name.clone(), |case| case.set_quote(bytes)), SIGNATURE));
    }
    let chain = blocks(&base.quote[chain_start..]);
    let bytes = with_chain(&base.quote, base.kind, chain_start, &chain.join(&b"\r\n \t\0"[..]));
    let why = "white space around certificates is nobody's word; inside them it would be refused";
    cases.push((base.altered("white space", "between certificates".to_owned(), |case| case.set_quote(bytes)), why));
    cases
}

/// The order of P-256's group, minus `scalar`.
fn negate(scalar: &mut [u8]) {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut borrow = 0i32;
    for (digit, order) in scalar.iter_mut().zip(order).rev() {
        let difference = i32::from(order) - i32::from(*digit) - borrow;
        borrow = i32::from(difference < 0);
        *digit = (difference & 0xff) as u8;
    }
}

/// The same certificates in each other order, fewer of them, more of them, and none.
fn chains(chain: &[u8], kind: Kind) -> Vec<(String, Vec<u8>)> {
    let certificates = blocks(chain);
    assert_eq!(certificates.len(), 3, "{kind:?}");
    let orders: &[&[usize]] = &[
        &[],
        &[0],
        &[1],
        &[2],
        &[0, 1],
        &[0, 2],
        &[1, 2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
        &[0, 0, 1],
        &[0, 1, 1],
        &[0, 0, 0],
        &[0, 1, 2, 2],
        &[0, 0, 1, 2],
        &[0, 1, 1, 2],
    ];
    let mut all: Vec<(String, Vec<u8>)> = orders
        .iter()
        .map(|order| (format!("{order:?}"), order.iter().flat_map(|index| certificates[*index].clone()).collect()))
        .collect();
    let text = |before: &str, after: &str| [before.as_bytes(), chain, after.as_bytes()].concat();
    all.push(("text before".to_owned(), text("leaf:\n", "")));
    all.push(("text behind".to_owned(), text("", "the end")));
    all.push(("another label".to_owned(), String::from_utf8_lossy(chain).replace("CERTIFICATE", "CERT").into_bytes()));
    all
}

fn blocks(chain: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> =
        chain.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN).map(|(at, _)| at).collect();
    let end = chain.iter().rposition(|byte| !matches!(byte, 0 | b'\n' | b'\r')).map_or(0, |at| at + 1);
    let ends = starts.iter().skip(1).copied().chain([end]);
    starts.iter().zip(ends).map(|(start, end)| [chain[*start..end].trim_ascii_end(), b"\n"].concat()).collect()
}

/// A quote with other certificates, and lengths that fit.
pub fn with_chain(quote: &[u8], kind: Kind, chain_start: usize, chain: &[u8]) -> Vec<u8> {
    let mut bytes = [&quote[..chain_start], chain].concat();
    let (fields, _) = layout::all(kind, quote);
    for (name, start, _) in fields
        .iter()
        .filter(|(name, ..)| ["length", "outer certification length", "certification length"].contains(&name.as_str()))
    {
        assert!(name.ends_with("length"));
        let length = (bytes.len() - start - 4) as u32;
        bytes[*start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    bytes
}

type Part = (&'static str, fn(&mut Collateral) -> Vec<u8>, fn(&mut Collateral, &[u8]));

fn fill<const LIMIT: usize>(list: &mut List<u8, LIMIT>, bytes: &[u8]) {
    *list = List::try_from(bytes.to_vec()).unwrap();
}

const PARTS: &[Part] = &[
    ("tcb info", |c| c.tcb_info.to_vec(), |c, b| fill(&mut c.tcb_info, b)),
    ("tcb info's signature", |c| c.tcb_info_signature.to_vec(), |c, b| c.tcb_info_signature = b.try_into().unwrap()),
    ("tcb info's chain", |c| c.tcb_info_issuer_chain.to_vec(), |c, b| fill(&mut c.tcb_info_issuer_chain, b)),
    ("qe identity", |c| c.qe_identity.to_vec(), |c, b| fill(&mut c.qe_identity, b)),
    (
        "qe identity's signature",
        |c| c.qe_identity_signature.to_vec(),
        |c, b| c.qe_identity_signature = b.try_into().unwrap(),
    ),
    ("qe identity's chain", |c| c.qe_identity_issuer_chain.to_vec(), |c, b| fill(&mut c.qe_identity_issuer_chain, b)),
    ("root's revocation list", |c| c.root_ca_crl.to_vec(), |c, b| fill(&mut c.root_ca_crl, b)),
    ("pck revocation list", |c| c.pck_crl.to_vec(), |c, b| fill(&mut c.pck_crl, b)),
    ("pck revocation list's chain", |c| c.pck_crl_issuer_chain.to_vec(), |c, b| fill(&mut c.pck_crl_issuer_chain, b)),
];

/// Collateral altered under its signatures.
pub fn of_collateral(base: &Case, stride: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let genuine = base.collateral.clone().unwrap();
    let mut collateral = |class, name: String, collateral: Collateral| {
        if collateral != genuine {
            cases.push(base.altered(class, name, |case| case.set_collateral(collateral)));
        }
    };
    for (name, get, set) in PARTS {
        let original = get(&mut genuine.clone());
        let mut with = |class, what: String, bytes: &[u8]| {
            let mut altered = genuine.clone();
            set(&mut altered, bytes);
            collateral(class, what, altered);
        };
        // Bits 0 to 6 keep a text ASCII.
        let count = (original.len() / (8 * stride)).clamp(4, 400);
        for index in 0..count {
            let at = index * (original.len() - 1) / (count - 1);
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (index % 7);
            if is_blank(bytes[at]) && is_blank(original[at]) {
                continue;
            }
            with("flipped bit of collateral", format!("{name} at {at}"), &bytes);
        }
        let signature = name.ends_with("signature");
        with("emptied collateral", (*name).to_owned(), &if signature { vec![0; 64] } else { Vec::new() });
        if !signature {
            with("truncated collateral", (*name).to_owned(), &original[..original.len() / 2]);
            with("trailing bytes", (*name).to_owned(), &[&original[..], b"x"].concat());
        }
        if name.ends_with("chain") {
            let certificates = blocks(&original);
            for order in [&[1usize, 0][..], &[0], &[1], &[0, 1, 1], &[0, 0]] {
                let chain: Vec<u8> = order.iter().flat_map(|index| certificates[*index].clone()).collect();
                with("certificates in another order", format!("{name} {order:?}"), &chain);
            }
        }
    }
    for (index, (first, get_first, set_first)) in PARTS.iter().enumerate() {
        for (second, get_second, set_second) in PARTS.iter().skip(index + 1) {
            let mut altered = genuine.clone();
            let (one, other) = (get_first(&mut altered), get_second(&mut altered));
            let same_shape = first.ends_with("signature") == second.ends_with("signature");
            if same_shape && one.len() < 8_000 && other.len() < 8_000 {
                set_first(&mut altered, &other);
                set_second(&mut altered, &one);
                collateral("exchanged parts of collateral", format!("{first} and {second}"), altered);
            }
        }
    }
    for other in Kind::ALL {
        for (donor_index, donor) in genuine::of(other).into_iter().enumerate() {
            let mut donor = donor.collateral.unwrap();
            if donor == genuine {
                continue;
            }
            for (name, get, set) in PARTS {
                let mut altered = genuine.clone();
                set(&mut altered, &get(&mut donor));
                // The chains are alike in all of Intel's collateral, and its root's list in much of it.
                if !name.ends_with("chain") && *name != "root's revocation list" && *name != "pck revocation list" {
                    collateral("another's collateral", format!("{name} of {other:?} {donor_index}"), altered);
                }
            }
            collateral("another's collateral", format!("all of {other:?} {donor_index}"), donor);
        }
    }
    cases
}

/// The same evidence under another root, at another time and under the label of another kind.
pub fn of_circumstances(base: &Case) -> Vec<Case> {
    let mut cases = vec![base.altered("wrong root", "development root".to_owned(), |case| {
        case.input.development = true;
    })];
    let verified = phala_attest::verify_collateral(
        base.collateral.as_ref().unwrap(),
        &phala_attest::TrustAnchor::Intel,
        base.input.now,
    )
    .unwrap();
    let (from, until) = (verified.valid_from(), verified.valid_until());
    for (class, now) in [
        ("not yet valid", 0),
        ("not yet valid", from - 1),
        ("expired", until),
        ("expired", until + 1),
        ("expired", until + 86_400),
        ("expired", until + 40 * 86_400),
        ("expired", until + 4_000 * 86_400),
        ("expired", u64::MAX),
    ] {
        cases.push(base.altered(class, format!("at {now}"), |case| case.input.now = now));
    }
    cases.push(base.altered("another kind's label", String::new(), |case| {
        case.input.evidence[0] ^= 1;
    }));
    for index in [2, 3, 0xff] {
        cases.push(base.altered("unknown kind", format!("index {index}"), |case| {
            case.input.evidence[0] = index;
        }));
    }
    let up_to_date = phala_attest::AcceptedStatuses::UP_TO_DATE;
    if base.input.accepted != up_to_date {
        cases.push(base.altered("status", "only up to date".to_owned(), |case| case.input.accepted = up_to_date));
    }
    cases
}
