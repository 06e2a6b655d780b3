//! The recipes of `deploy/` hold what their pages say of them. Nothing here runs them: that takes hardware.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use base64::{engine::general_purpose::STANDARD, Engine};
use sha2::{Digest, Sha256};
use std::fs;
use toml::Value;

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| value.get(key).unwrap_or_else(|| panic!("{path} is missing")))
}

/// The templates of an enclave, for each role.
const TEMPLATES: [&str; 2] = ["sgx/phala-worker.manifest.template", "sgx/phala-gatekeeper.manifest.template"];

/// What Gramine's tool makes of a template, but for the two paths that it fills in.
fn manifest(template: &str) -> Value {
    let filled = file(template)
        .replace("{{ gramine.libos }}", "/gramine/libsysdb.so")
        .replace("{{ gramine.runtimedir() }}", "/gramine/runtime");
    assert!(!filled.contains("{{") && !filled.contains("{%"), "something else is filled in");
    filled.parse::<toml::Table>().map(Value::Table).unwrap()
}

#[test]
fn the_enclaves_manifest_leaves_the_host_two_folders_and_no_word() {
    for template in TEMPLATES {
        let manifest = manifest(template);
        let is = |path: &str, expected: Value| assert_eq!(at(&manifest, path), &expected, "{path}");
        for path in
            ["sgx.debug", "loader.insecure__use_cmdline_argv", "loader.insecure__use_host_env", "sgx.edmm_enable"]
        {
            is(path, Value::Boolean(false));
        }
        is("sgx.remote_attestation", "dcap".into());
        is("sgx.file_check_policy", "strict".into());
        is("sgx.insecure__rpc_thread_num", 0.into());
        is("sys.disallow_subprocesses", Value::Boolean(true));
        is("sgx.allowed_files", vec!["file:config/", "file:data/"].into());
        is("fs.root.type", "tmpfs".into());
        assert!(at(&manifest, "sgx.trusted_files").as_array().unwrap().contains(&"file:phala-worker".into()));
        for variable in at(&manifest, "loader.env").as_table().unwrap().values() {
            assert!(variable.is_str(), "the host's value of a variable is passed through");
        }
        // The key of an encrypted mount would be the key that seals the identity.
        for mount in at(&manifest, "fs.mounts").as_array().unwrap() {
            assert!(mount.get("type").is_none() && mount.get("key_name").is_none(), "{mount}");
        }
    }
}

#[test]
fn a_gatekeepers_enclave_is_the_workers_but_for_its_role() {
    let [worker, gatekeeper] = TEMPLATES.map(|template| {
        let text = file(template);
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.to_owned() + "\n").collect::<String>()
    });
    assert_eq!(worker.matches("--role=worker").count(), 1);
    assert_eq!(worker.replace("--role=worker", "--role=gatekeeper"), gatekeeper);
}

/// MRSIGNER is SHA-256 of the modulus, little-endian; it is in the measurement, so another key is another measurement.
#[test]
fn the_enclaves_signer_is_the_one_that_the_page_names() {
    let text = file("sgx/signer.pem");
    let (comment, key) = text.split_once("-----BEGIN RSA PRIVATE KEY-----").unwrap();
    assert!(comment.contains("public on purpose, and vouches for nothing"));
    let base64: String = key.split("-----").next().unwrap().split_whitespace().collect();
    let der = STANDARD.decode(base64).unwrap();
    // PKCS #1: a sequence of version 0, the modulus of 384 bytes and its sign, the exponent, and what is private.
    let (start, rest) = der.split_at(12);
    assert_eq!((&start[..2], &start[4..]), (&[0x30, 0x82][..], &[2, 1, 0, 2, 0x82, 1, 0x81, 0][..]));
    let (modulus, rest) = rest.split_at(384);
    assert!(modulus[0] >= 0x80 && rest.starts_with(&[2, 1, 3]), "RSA-3072 with the exponent 3");
    let little_endian: Vec<u8> = modulus.iter().rev().copied().collect();
    let signer = hex::encode(Sha256::digest(little_endian));
    assert_eq!(signer, "defa15c3fedb0650698e1b4d0a3fd226d2c0313391b59aef1a4d60be8d451066");
    let page = file("sgx/README.md");
    assert!(
        page.contains(&signer) && page.contains("cp TARGET/release/phala-worker") && page.contains("/signer.pem .")
    );
    assert!(!page.contains("gen-private-key"), "the page has everybody sign with a key of his own");
}

#[test]
fn one_version_of_gramine_is_asked_for() {
    let advice = file("../host/cli/src/machine/advice.rs");
    for text in [file("sgx/README.md"), file(TEMPLATES[0]), file(TEMPLATES[1]), advice] {
        assert!(text.contains("1.8 or newer"));
        assert!(!text.contains("1.5 or newer") && !text.contains("1.6 or newer"));
    }
}

#[test]
fn the_machines_image_is_named_by_its_command_line_and_takes_nothing_in() {
    let image = file("tdx/mkosi.conf");
    for setting in [
        "UnifiedKernelImages=unsigned",
        "Autologin=no",
        "Ssh=never",
        "systemd.import_credentials=no",
        "random.trust_cpu=on",
        "rd.shell=0",
        "lockdown=confidentiality",
    ] {
        assert!(image.lines().any(|line| line.trim() == setting), "{setting}");
    }
    let set: Vec<&str> = image.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let holds = |word: &str| set.iter().any(|line| line.contains(word));
    assert!(!holds("RootPassword") && !holds("roothash="), "the root hash is the builder's to add");
    let (data, hash) = (file("tdx/mkosi.repart/10-root.conf"), file("tdx/mkosi.repart/20-root-verity.conf"));
    assert!(data.contains("Verity=data") && hash.contains("Verity=hash"));
    assert!(file("tdx/mkosi.extra/etc/crypttab").contains("/dev/urandom plain"), "a disk outlives its start");
    let run = file("tdx/run");
    assert!(run.contains("confidential-guest-support=tdx0") && run.contains("\"sept-ve-disable\":true"));
    assert!(!run.contains("debug"), "a debuggable machine");
    // What the firmware measures into RTMR1 is the image's alone: it starts first, and no device brings a program of its own.
    assert!(run.contains("drive=system,bootindex=0 ") && run.contains("romfile= "));
    // One day of the archive, by a version that knows the setting.
    assert!(set.iter().any(|line| line.starts_with("Snapshot=")) && set.contains(&"MinimumVersion=27"));
}
