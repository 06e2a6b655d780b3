//! What is covered, compared with the tree: a decoder that nobody feeds is a failing test.
//!
//! Looks at names. A public function that reads foreign bytes is called `decode_*`, `parse_*`, `verify_*`, `open*` or one of a few
//! more; whatever derives SCALE's `Decode` in `common/` is a record.

use phala_fuzz::targets::{scale, TARGETS};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How functions that read foreign bytes are called.
const PREFIXES: [&str; 13] = [
    "decode",
    "parse",
    "verify",
    "open",
    "unpad",
    "unseal",
    "compile",
    "canonical_",
    "claimed_",
    "restore",
    "from_bytes",
    "from_slice",
    "from_secret_bytes",
];
/// The same, where only a whole name tells.
const NAMES: [&str; 3] = ["from_json", "from_wasm", "is_development_root"];

/// Functions with such a name that read nothing foreign, or nothing that a target reaches, and why.
const EXEMPT: [(&str, &str); 3] = [
    ("common/crypto/src/kdf.rs::verify_hmac", "compares 32 bytes in constant time"),
    ("common/protocol/src/envelope.rs::opening_bytes", "a length"),
    ("tee/core/src/identity.rs::open", "reads what the machine unsealed: see sealed-blobs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust files of a folder that are compiled into what ships, by their path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "testing" && name != "tests" {
                walk(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap().flatten() {
        let source = entry.path().join("src");
        if source.is_dir() {
            walk(&source, &mut found);
        }
    }
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// `path::function` of every public function with such a name, outside tests.
fn decoders(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in sources(folder) {
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in shipped.lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
            let Some(rest) = rest.trim_start_matches("const ").strip_prefix("fn ") else { continue };
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            if NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                found.insert(format!("{path}::{name}"));
            }
        }
    }
    found
}

#[test]
fn every_decoder_is_in_a_target() {
    let covered: BTreeSet<&str> = TARGETS.iter().flat_map(|target| target.covers).copied().collect();
    let exempt: BTreeSet<&str> = EXEMPT.iter().map(|(name, _)| *name).collect();
    let decoders: BTreeSet<String> = ["common", "tee"].into_iter().flat_map(decoders).collect();
    let missing: Vec<&String> =
        decoders.iter().filter(|name| !covered.contains(name.as_str()) && !exempt.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "in no target of fuzz/src/targets: {missing:#?}");
    let needless: Vec<&&str> = exempt.iter().filter(|name| !decoders.contains(**name)).collect();
    assert!(needless.is_empty(), "exempt and not there: {needless:?}");
}

#[test]
fn what_targets_say_they_cover_is_there_and_is_called() {
    let targets: String = fs::read_dir(root().join("fuzz/src/targets"))
        .unwrap()
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    for covered in TARGETS.iter().flat_map(|target| target.covers) {
        let (path, name) = covered.split_once("::").unwrap();
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{covered}: {error}"));
        assert!(text.contains(&format!("fn {name}")), "{covered} is not there any more");
        let called = [format!("{name}("), format!("{name}::<"), format!("{name},")];
        assert!(called.iter().any(|call| targets.contains(call)), "{covered} is listed and never called");
    }
}

#[test]
fn every_record_of_common_is_a_type_of_the_target() {
    let listed: BTreeSet<&str> = scale::TYPES.iter().map(|(_, name, _)| *name).collect();
    let mut missing = Vec::new();
    for (path, text) in sources("common") {
        for part in text.split("#[derive(").skip(1) {
            let Some((derived, rest)) = part.split_once(")]") else { continue };
            let decodes = derived.split(',').any(|name| name.trim() == "Decode");
            // Attributes and their arguments may stand between the derive and the type.
            let declared = rest.lines().find(|line| {
                line.starts_with("pub ") || line.starts_with("struct ") || line.starts_with("        pub ")
            });
            let name = declared.and_then(|line| {
                let rest = line
                    .trim_start()
                    .strip_prefix("pub struct ")
                    .or_else(|| line.trim_start().strip_prefix("pub enum "))?;
                Some(rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned())
            });
            if let (true, Some(name)) = (decodes, name) {
                if !name.is_empty() && !listed.contains(name.as_str()) {
                    missing.push(format!("{path}: {name}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not among the types of fuzz/src/targets/scale.rs: {missing:#?}");
}
