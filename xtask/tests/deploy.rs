//! The recipes of `deploy/` hold what their pages say of them. Nothing here runs them: that takes hardware.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use toml::Value;

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| value.get(key).unwrap_or_else(|| panic!("{path} is missing")))
}

/// What Gramine's tool makes of the template, but for the two paths that it fills in.
fn manifest() -> Value {
    let filled = file("sgx/phala-worker.manifest.template")
        .replace("{{ gramine.libos }}", "/gramine/libsysdb.so")
        .replace("{{ gramine.runtimedir() }}", "/gramine/runtime");
    assert!(!filled.contains("{{") && !filled.contains("{%"), "something else is filled in");
    filled.parse::<toml::Table>().map(Value::Table).unwrap()
}

#[test]
fn the_enclaves_manifest_leaves_the_host_two_folders_and_no_word() {
    let manifest = manifest();
    let is = |path: &str, expected: Value| assert_eq!(at(&manifest, path), &expected, "{path}");
    for path in ["sgx.debug", "loader.insecure__use_cmdline_argv", "loader.insecure__use_host_env", "sgx.edmm_enable"] {
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

#[test]
fn the_machines_image_is_named_by_its_command_line_and_takes_nothing_in() {
    let image = file("tdx/mkosi.conf");
    for setting in [
        "UnifiedKernelImages=yes",
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
}
