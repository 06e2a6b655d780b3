//! Which TEE a machine has, what of it is missing, and the fix.
//!
//! Sources: Linux's documentation of SGX and TDX (`Documentation/arch/x86/{sgx,tdx}.rst`) and of configfs-tsm, the installation guides of
//! Intel's SGX and TDX software and of Gramine. Versions named here are those of mainline Linux; distributions carry some of it earlier,
//! which is why a version alone is never a fault: what is missing is.

use super::{
    probe::{Device, Probe},
    Appraisal, Appraised, Finding, Way,
};

const ENCLAVE: &str = "/dev/sgx_enclave";
const PROVISION: &str = "/dev/sgx_provision";
const ATTESTATION: &str = "/dev/attestation/attestation_type";
const TSM: &str = "/sys/kernel/config/tsm/report";
const TDX_GUEST: &str = "/dev/tdx_guest";
const KVM_TDX: &str = "/sys/module/kvm_intel/parameters/tdx";
const AESM: &str = "/var/run/aesmd/aesm.socket";
const QUOTING: &str = "/var/run/tdx-qgs/qgs.socket";
const QUOTING_SETTINGS: &str = "/etc/qgs.conf";
const PROVIDER: &str = "/etc/sgx_default_qcnl.conf";
/// Drivers from before Linux had one, which speak another protocol.
const OLD_DRIVERS: [&str; 2] = ["/dev/isgx", "/dev/sgx/enclave"];

pub(super) fn appraise(probe: &Probe) -> Appraisal {
    let processor = probe.processor();
    let ways = ways(probe);
    let reason = ways.is_empty().then(|| reason(probe));
    Appraisal { processor, ways, reason }
}

fn ways(probe: &Probe) -> Vec<Appraised> {
    if probe.has(ATTESTATION) {
        return vec![Appraised { way: Way::SgxEnclave, findings: enclave(probe) }];
    }
    if probe.has_flag("tdx_guest") || probe.has(TDX_GUEST) {
        return vec![Appraised { way: Way::TdxGuest, findings: tdx_guest(probe) }];
    }
    let mut ways = Vec::new();
    if probe.has_flag("tdx_host_platform") || probe.text(KVM_TDX).is_some_and(|value| is_yes(&value)) {
        ways.push(Appraised { way: Way::TdxHost, findings: tdx_host(probe) });
    }
    let has_sgx_device = OLD_DRIVERS.iter().chain([&ENCLAVE, &PROVISION]).any(|device| probe.has(device));
    if probe.has_flag("sgx") || has_sgx_device {
        ways.push(Appraised { way: Way::SgxHost, findings: sgx_host(probe) });
    }
    ways
}

/// Why there is no way at all.
fn reason(probe: &Probe) -> String {
    if probe.has("/dev/sev-guest") || probe.has_flag("sev_snp") {
        return "AMD SEV-SNP is there, and this version verifies no evidence of it".to_owned();
    }
    if !probe.is_intel() {
        return "the processor is not Intel's: only SGX and TDX are supported".to_owned();
    }
    if probe.has_flag("hypervisor") {
        return "this is a virtual machine without a TEE: its host has to run it as a TDX virtual machine (deploy/tdx), \
                or to pass SGX on to it"
            .to_owned();
    }
    "Linux shows neither `sgx` nor `tdx_host_platform` among the processor's flags: either the processor has no TEE, or the firmware \
     switches it off (setup: Software Guard Extensions, Trust Domain Extensions), or the kernel is older than 5.11 (SGX) and 6.8 (TDX), \
     or was started with `nosgx`"
        .to_owned()
}

fn enclave(probe: &Probe) -> Vec<Finding> {
    let kind = probe.text(ATTESTATION).unwrap_or_default();
    let attestation = if kind == "dcap" {
        Finding::ok("attestation", format!("{ATTESTATION} says dcap"))
    } else {
        Finding::missing(
            "attestation",
            format!("{ATTESTATION} says `{kind}`"),
            "set sgx.remote_attestation = \"dcap\" in the manifest and sign it again: deploy/sgx",
        )
    };
    let mut findings = vec![attestation];
    for (what, path) in [("quotes", "/dev/attestation/quote"), ("sealing key", "/dev/attestation/keys/_sgx_mrenclave")]
    {
        findings.push(if probe.has(path) {
            Finding::ok(what, path)
        } else {
            Finding::missing(what, format!("{path} is not there"), "use Gramine 1.8 or newer, with gramine-sgx")
        });
    }
    findings.push(contracts());
    findings
}

/// What is different about contracts in an enclave.
fn contracts() -> Finding {
    Finding::note(
        "contracts",
        "an enclave has the compact engine: it reserves 1.3 GiB of the enclave, and checks every access instead of taking faults; \
         contracts do the same there and take longer; no worker has run in an enclave on hardware yet",
        Some("leave sgx.enclave_size as deploy/sgx has it, and have that much EPC for each enclave"),
    )
}

fn tdx_guest(probe: &Probe) -> Vec<Finding> {
    let mut findings = vec![if probe.has_flag("tdx_guest") {
        Finding::ok("processor", "flag tdx_guest")
    } else {
        Finding::missing(
            "processor",
            "the flag tdx_guest is not there",
            "start this virtual machine with -machine confidential-guest-support=tdx0: deploy/tdx",
        )
    }];
    findings.push(match probe.device(TDX_GUEST) {
        Device::Usable => Finding::ok("driver", TDX_GUEST),
        Device::Denied => Finding::missing(
            "driver",
            format!("{TDX_GUEST} is not for this user"),
            "run the worker as root inside its virtual machine, which runs nothing else",
        ),
        Device::Absent => Finding::missing(
            "driver",
            format!("{TDX_GUEST} is not there"),
            "modprobe tdx_guest (CONFIG_TDX_GUEST_DRIVER; Linux 6.2 or newer)",
        ),
    });
    findings.push(if probe.has(TSM) {
        Finding::ok("quotes", TSM)
    } else if !probe.has_entries("/sys/kernel/config") {
        Finding::missing("quotes", "/sys/kernel/config is empty", "mount -t configfs none /sys/kernel/config")
    } else {
        let old = probe.kernel().filter(|kernel| *kernel < (6, 7));
        let fix = match old {
            Some((major, minor)) => {
                format!("use Linux 6.7 or newer: this is {major}.{minor}, which has no configfs-tsm")
            }
            None => "modprobe tdx_guest, which brings the report interface (CONFIG_TSM_REPORTS) with it".to_owned(),
        };
        Finding::missing("quotes", format!("{TSM} is not there"), fix)
    });
    findings.push(Finding::note(
        "sealing",
        "TDX has no sealing key: after each start the worker is admitted anew, under a new identity",
        None,
    ));
    findings
}

fn tdx_host(probe: &Probe) -> Vec<Finding> {
    let mut findings = vec![if probe.has_flag("tdx_host_platform") {
        Finding::ok("processor", "flag tdx_host_platform")
    } else {
        Finding::missing(
            "processor",
            "the flag tdx_host_platform is not there",
            "switch Trust Domain Extensions (and TME-MT) on in the firmware's setup",
        )
    }];
    findings.push(match probe.text(KVM_TDX) {
        Some(value) if is_yes(&value) => Finding::ok("hypervisor", format!("{KVM_TDX} is {value}")),
        Some(value) => Finding::missing(
            "hypervisor",
            format!("{KVM_TDX} is {value}"),
            "echo 'options kvm_intel tdx=1' > /etc/modprobe.d/tdx.conf, then load kvm_intel again or restart",
        ),
        None => Finding::missing(
            "hypervisor",
            format!("{KVM_TDX} is not there"),
            "use a kernel with TDX in KVM (CONFIG_KVM_INTEL_TDX; Linux 6.16 or newer, or a distribution's that has it)",
        ),
    });
    // TDX quotes are signed by an SGX enclave on the host.
    findings.extend(sgx_devices(probe, "quoting enclave"));
    // With a port in its settings it listens on a vsock, which is no file.
    let service = if probe.has(QUOTING_SETTINGS) { QUOTING_SETTINGS } else { QUOTING };
    findings.push(socket(probe, "quoting service", service, "install tdx-qgs and `systemctl enable --now qgsd`"));
    findings.push(provider(probe));
    findings
}

fn sgx_host(probe: &Probe) -> Vec<Finding> {
    let mut findings = vec![if probe.has_flag("sgx") {
        Finding::ok("processor", "flag sgx")
    } else {
        Finding::missing(
            "processor",
            "the flag sgx is not there",
            "switch Software Guard Extensions on in the firmware's setup, and start Linux without `nosgx`",
        )
    }];
    findings.push(if probe.has_flag("sgx_lc") {
        Finding::ok("launch control", "flag sgx_lc")
    } else {
        Finding::missing(
            "launch control",
            "the flag sgx_lc is not there",
            "unlock SGX Flexible Launch Control in the firmware's setup; a processor without it cannot make DCAP evidence",
        )
    });
    if let Some(old) = OLD_DRIVERS.iter().find(|driver| probe.has(driver)) {
        findings.push(Finding::note(
            "old driver",
            format!("{old} belongs to a driver from before Linux 5.11"),
            Some("remove that driver (sgx_linux_x64_driver) and use the kernel's own"),
        ));
    }
    findings.extend(sgx_devices(probe, "enclaves"));
    findings.push(socket(
        probe,
        "quoting service",
        AESM,
        "install sgx-aesm-service and libsgx-aesm-quote-ex-plugin, and `systemctl enable --now aesmd`",
    ));
    findings.push(provider(probe));
    findings.push(if ["/usr/bin/gramine-sgx", "/usr/local/bin/gramine-sgx"].iter().any(|path| probe.has(path)) {
        Finding::ok("gramine", "gramine-sgx")
    } else {
        Finding::missing(
            "gramine",
            "gramine-sgx is not installed",
            "install Gramine 1.8 or newer: deploy/sgx/README.md",
        )
    });
    findings.push(contracts());
    findings
}

fn sgx_devices(probe: &Probe, what: &'static str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, group) in [(ENCLAVE, "sgx"), (PROVISION, "sgx_prv")] {
        findings.push(match probe.device(path) {
            Device::Usable => Finding::ok(what, path),
            Device::Denied => Finding::missing(
                what,
                format!("{path} is not for this user"),
                format!("usermod -aG {group} USER, then log in again"),
            ),
            Device::Absent => {
                let fix = match probe.kernel().filter(|kernel| *kernel < (5, 11)) {
                    Some((major, minor)) => format!("use Linux 5.11 or newer: this is {major}.{minor}"),
                    None => "use a kernel with CONFIG_X86_SGX, with SGX on in the firmware's setup".to_owned(),
                };
                Finding::missing(what, format!("{path} is not there"), fix)
            }
        });
    }
    findings
}

fn socket(probe: &Probe, what: &'static str, path: &str, fix: &str) -> Finding {
    if probe.has(path) {
        Finding::ok(what, path.to_owned())
    } else {
        Finding::missing(what, format!("{path} is not there"), fix)
    }
}

/// Where the quoting service gets the processor's certificate. Other providers have other files.
fn provider(probe: &Probe) -> Finding {
    if probe.has(PROVIDER) {
        Finding::ok("certificate provider", PROVIDER)
    } else {
        Finding::note(
            "certificate provider",
            format!("{PROVIDER} is not there"),
            Some("unless another quote provider library is set up: install libsgx-dcap-default-qpl and name your PCCS in it"),
        )
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value, "Y" | "y" | "1")
}
