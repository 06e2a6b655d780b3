//! A worker whose evidence is an SGX enclave's.

use super::*;
use phala_attest::{enclave_measurement, EnclaveReport};
use phala_insecure_tee::{sgx_qe_identity_json, sgx_tcb_info_json, QuoteFormat, Revoked, Window};

/// What asks as an enclave, and what the chain says of it.
fn enclave(worker: &Worker, seat: &Seat) -> (KeyInquiry, Facts) {
    let (vendor, window) = (InsecureVendor::new().unwrap(), Window::around(NOW));
    let registration = worker.registration();
    let report = EnclaveReport {
        cpu_svn: [2; 16],
        misc_select: [0; 4],
        isv_ext_prod_id: [0; 16],
        // INIT and MODE64BIT; XFRM without AMX.
        attributes: [5, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
        mr_enclave: *b"INSECURE: the simulated enclave.",
        mr_signer: *b"INSECURE: the simulated signer. ",
        config_id: [0; 64],
        isv_prod_id: 1,
        isv_svn: 1,
        config_svn: 0,
        isv_family_id: [0; 16],
        report_data: registration.report_data(&GENESIS),
        reserved_is_zero: true,
    };
    let mut facts = worker.facts(seat);
    facts.worker.as_mut().unwrap().measurement = enclave_measurement(&report);
    let mut fields = QuoteFields::of(b"the binary");
    // The quoting enclave of SGX.
    fields.qe_isv_prod_id = 1;
    let signer = QuoteSigner::new(&vendor, &Processor::named("machine 1")).unwrap();
    let quote = signer.sign_parts(&signer.parts(&fields, &QuoteFormat::SgxV3(report)));
    let (tcb, qe) = (sgx_tcb_info_json(window).unwrap(), sgx_qe_identity_json(window).unwrap());
    let inquiry = KeyInquiry {
        evidence: Evidence::SgxDcap(quote.try_into().unwrap()).encode(),
        collateral: vendor.collateral(window, &tcb, &qe, &Revoked::default()).unwrap().encode(),
        ..worker.inquiry(worker.request(5))
    };
    (inquiry, facts)
}

#[test]
fn an_enclave_gets_keys_by_collateral_of_its_own_until_its_vendor_is_shut_out() {
    let (worker, seat) = (Worker::new(), lone_seat());
    let (inquiry, mut facts) = enclave(&worker, &seat);
    assert!(ask(&seat, &inquiry, &facts).is_ok());
    let of_tdx = KeyInquiry { collateral: worker.machine.collateral().encode(), ..inquiry.clone() };
    assert_eq!(ask(&seat, &of_tdx, &facts).err(), Some(Refusal::Evidence));
    let mut bar = |vendor| {
        facts.bans.put(Ban { subject: Subject::Vendor(vendor), from: 0, until: None }, 0).unwrap();
        ask(&seat, &inquiry, &facts).err()
    };
    assert_eq!(bar(Vendor::IntelTdx), None);
    assert_eq!(bar(Vendor::IntelSgx), Some(Refusal::Barred));
}
