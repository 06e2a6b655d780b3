//! Machines as their files show them, each a folder of its own.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{fixture::tree, *};
use std::path::Path;

fn cpu(vendor: &str, flags: &str) -> String {
    format!("processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: Model X\nvmx flags\t: ept\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
}

fn appraise(root: &Path) -> Appraisal {
    Appraisal::of(&Probe::new(root))
}

/// The checks that miss something, with their fixes.
fn missing(way: &Appraised) -> Vec<(&str, &str)> {
    let missing = way.findings.iter().filter(|finding| finding.state == State::Missing);
    missing.map(|finding| (finding.what, finding.fix.as_deref().unwrap())).collect()
}

const READY_SGX: [(&str, &str); 6] = [
    ("/dev/sgx_enclave", ""),
    ("/dev/sgx_provision", ""),
    ("/var/run/aesmd/aesm.socket", ""),
    ("/etc/sgx_default_qcnl.conf", ""),
    ("/usr/bin/gramine-sgx", ""),
    ("/proc/sys/kernel/osrelease", "6.1.0-13-amd64\n"),
];

#[test]
fn a_host_with_all_of_sgx_is_ready_and_each_part_that_is_taken_away_is_named_with_its_fix() {
    let intel = cpu("GenuineIntel", "sgx sgx_lc");
    let all: Vec<(&str, &str)> = READY_SGX.into_iter().chain([("/proc/cpuinfo", intel.as_str())]).collect();
    let ready = appraise(tree(&all).path());
    assert_eq!(ready.processor, "Model X");
    assert_eq!(ready.ready().map(|way| way.way), Some(Way::SgxHost));
    let next = ready.ready().unwrap().next();
    assert!(next.contains("a worker or a gatekeeper") && next.contains("deploy/sgx"), "{next}");
    let contracts = ready.ways[0].findings.iter().find(|finding| finding.what == "contracts").unwrap();
    assert!(contracts.state == State::Note && contracts.found.contains("compact engine"), "{contracts:?}");
    assert!(contracts.fix.as_deref().unwrap().contains("sgx.enclave_size"), "{contracts:?}");

    for (path, what, fix) in [
        ("/dev/sgx_enclave", "enclaves", "CONFIG_X86_SGX"),
        ("/dev/sgx_provision", "enclaves", "CONFIG_X86_SGX"),
        ("/var/run/aesmd/aesm.socket", "quoting service", "aesmd"),
        ("/usr/bin/gramine-sgx", "gramine", "Gramine"),
    ] {
        let root = tree(&all.iter().copied().filter(|(name, _)| *name != path).collect::<Vec<_>>());
        let found = appraise(root.path());
        assert_eq!(found.ready(), None, "{path}");
        let missing = missing(&found.ways[0]);
        assert_eq!(missing.len(), 1, "{path}: {missing:?}");
        assert!(missing[0].0 == what && missing[0].1.contains(fix), "{path}: {missing:?}");
        assert_eq!(found.ways[0].next(), missing[0].1);
    }
    // Another quote provider may be there: no fault.
    let root = tree(&all.iter().copied().filter(|(name, _)| *name != "/etc/sgx_default_qcnl.conf").collect::<Vec<_>>());
    assert!(appraise(root.path()).ready().is_some());
}

#[test]
fn what_the_firmware_switched_off_and_what_an_old_kernel_lacks_is_told_apart() {
    let no_launch_control = cpu("GenuineIntel", "sgx");
    let root = tree(&[("/proc/cpuinfo", &no_launch_control), ("/proc/sys/kernel/osrelease", "5.4.0-150-generic")]);
    let found = appraise(root.path());
    let missing = missing(&found.ways[0]);
    assert!(missing.iter().any(|(what, fix)| *what == "launch control" && fix.contains("Flexible Launch Control")));
    assert!(missing.iter().any(|(what, fix)| *what == "enclaves" && fix.contains("this is 5.4")), "{missing:?}");

    let none = cpu("GenuineIntel", "vmx");
    let root = tree(&[("/proc/cpuinfo", &none), ("/dev/isgx", "")]);
    let found = appraise(root.path());
    assert!(found.ways[0].findings.iter().any(|finding| finding.what == "old driver" && finding.state == State::Note));
    assert!(self::missing(&found.ways[0]).iter().any(|(what, fix)| *what == "processor" && fix.contains("nosgx")));
}

#[test]
fn a_tdx_guest_is_ready_or_told_to_mount_to_load_or_to_upgrade() {
    let guest = cpu("GenuineIntel", "hypervisor tdx_guest");
    let base = [("/proc/cpuinfo", guest.as_str()), ("/proc/sys/kernel/osrelease", "6.8.0")];
    let with = |more: &[(&str, &str)]| {
        let root = tree(&base.iter().chain(more).copied().collect::<Vec<_>>());
        let found = appraise(root.path());
        assert_eq!((found.ways.len(), found.ways[0].way), (1, Way::TdxGuest));
        found.ways[0].clone()
    };
    let ready = with(&[("/dev/tdx_guest", ""), ("/sys/kernel/config/tsm/report/", "")]);
    assert!(ready.is_ready() && ready.way.makes_quotes_here());
    assert!(ready.findings.iter().any(|finding| finding.found.contains("admitted anew")));
    assert_eq!(missing(&with(&[("/sys/kernel/config/tsm/report/", "")]))[0].0, "driver");
    let unmounted = with(&[("/dev/tdx_guest", ""), ("/sys/kernel/config/", "")]);
    assert_eq!(missing(&unmounted), [("quotes", "mount -t configfs none /sys/kernel/config")]);
    let unloaded = with(&[("/dev/tdx_guest", ""), ("/sys/kernel/config/usb_gadget/", "")]);
    assert!(missing(&unloaded)[0].1.starts_with("modprobe tdx_guest"));
    let old = tree(&[
        ("/proc/cpuinfo", guest.as_str()),
        ("/proc/sys/kernel/osrelease", "6.5.0-1"),
        ("/dev/tdx_guest", ""),
        ("/sys/kernel/config/usb_gadget/", ""),
    ]);
    assert!(missing(&appraise(old.path()).ways[0])[0].1.contains("6.7 or newer: this is 6.5"));
}

#[test]
fn a_tdx_host_needs_its_hypervisor_and_an_sgx_quoting_enclave() {
    let host = cpu("GenuineIntel", "vmx sgx sgx_lc tdx_host_platform");
    let mut all: Vec<(&str, &str)> = READY_SGX.to_vec();
    all.extend([("/proc/cpuinfo", host.as_str()), ("/var/run/tdx-qgs/qgs.socket", "")]);
    let with = |value: &str| {
        let mut all = all.clone();
        all.push(("/sys/module/kvm_intel/parameters/tdx", value));
        appraise(tree(&all).path())
    };
    let found = with("Y\n");
    assert_eq!(found.ready().map(|way| way.way), Some(Way::TdxHost));
    assert!(!Way::TdxHost.makes_quotes_here());
    assert_eq!(found.ways.len(), 2, "the same host can run SGX enclaves");
    let off = with("N\n");
    assert!(missing(&off.ways[0])[0].1.contains("options kvm_intel tdx=1"));
    let absent = appraise(tree(&all).path());
    assert!(missing(&absent.ways[0])[0].1.contains("CONFIG_KVM_INTEL_TDX"));
}

#[test]
fn an_enclave_has_to_attest_by_dcap() {
    let enclave = |kind: &str| {
        let root = tree(&[
            ("/dev/attestation/attestation_type", kind),
            ("/dev/attestation/quote", ""),
            ("/dev/attestation/keys/_sgx_mrenclave", ""),
        ]);
        appraise(root.path()).ways[0].clone()
    };
    assert!(enclave("dcap").is_ready());
    assert!(missing(&enclave("none"))[0].1.contains("sgx.remote_attestation"));
}

#[test]
fn a_machine_without_a_tee_is_told_so_and_why() {
    let reason = |entries: &[(&str, &str)]| {
        let found = appraise(tree(entries).path());
        assert!(found.ways.is_empty() && found.ready().is_none());
        found.reason.unwrap()
    };
    let (intel, guest) = (cpu("GenuineIntel", "vmx"), cpu("GenuineIntel", "hypervisor"));
    let (amd, snp) = (cpu("AuthenticAMD", "svm"), cpu("AuthenticAMD", "svm sev sev_snp"));
    assert!(reason(&[("/proc/cpuinfo", &intel)]).contains("firmware"));
    assert!(reason(&[("/proc/cpuinfo", &guest)]).contains("virtual machine without a TEE"));
    assert!(reason(&[("/proc/cpuinfo", &amd)]).contains("not Intel's"));
    assert!(reason(&[("/proc/cpuinfo", &snp)]).contains("SEV-SNP"));
    assert!(reason(&[]).contains("not Intel's"));
    assert!(appraise(tree(&[]).path()).processor.contains("unknown"));
}
