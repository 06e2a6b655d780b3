//! The other technology: an enclave registers by collateral and evidence of SGX, and neither stands for those of TDX.

use super::*;
use phala_attest::{enclave_measurement, EnclaveReport};
use phala_insecure_tee::{sgx_qe_identity_json, sgx_tcb_info_json, QuoteFormat, Revoked, Window};

/// The enclave, saying this.
fn enclave(report_data: [u8; 64]) -> EnclaveReport {
    EnclaveReport {
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
        report_data,
        reserved_is_zero: true,
    }
}

fn collateral() -> Collateral {
    let window = Window::around(NOW);
    let (tcb, qe) = (sgx_tcb_info_json(window).unwrap(), sgx_qe_identity_json(window).unwrap());
    InsecureVendor::new().unwrap().collateral(window, &tcb, &qe, &Revoked::default()).unwrap()
}

fn register_enclave(claim: Registration) -> DispatchResult {
    let signer = QuoteSigner::new(&InsecureVendor::new().unwrap(), &Processor::named("enclave")).unwrap();
    let mut fields = QuoteFields::of(BINARY);
    // The quoting enclave of SGX.
    fields.qe_isv_prod_id = 1;
    let format = QuoteFormat::SgxV3(enclave(claim.report_data(&Attestation::genesis())));
    let quote = signer.sign_parts(&signer.parts(&fields, &format));
    let evidence = Evidence::SgxDcap(quote.try_into().unwrap());
    Attestation::register(signed(claim.operator.0), claim, Box::new(evidence))
}

#[test]
fn an_enclave_registers_by_collateral_of_its_own_and_goes_with_its_vendor_alone() {
    ready(|machine| {
        let (claim, other) = (registration(ALICE, 1), registration(BOB, 2));
        assert_ok!(register(machine, other));
        // Collateral of TDX for the same model of processor is here.
        assert_noop!(register_enclave(claim), Error::<Test>::NoCollateral);
        assert_ok!(submit(&collateral()));
        let measurement = enclave_measurement(&enclave([0; 64]));
        assert_noop!(register_enclave(claim), Error::<Test>::MeasurementNotAllowed);
        assert_ok!(Attestation::allow_measurement(RuntimeOrigin::root(), measurement, listing(0, None)));
        assert_ok!(register_enclave(claim));
        let record = Workers::<Test>::get(claim.identity).unwrap();
        assert_eq!((record.measurement, record.assurance), (measurement, Assurance::Simulated));
        assert!(is_active(&claim) && is_active(&other));

        let vendor = Subject::Vendor(Vendor::IntelSgx);
        assert_ok!(Attestation::suspend(signed(BRAKE), vendor));
        assert!(!is_active(&claim) && is_active(&other));
        assert_noop!(register_enclave(claim), Error::<Test>::Barred);
        assert_ok!(Attestation::lift(RuntimeOrigin::root(), vendor));
        assert!(is_active(&claim));
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), Subject::Vendor(Vendor::IntelTdx), None));
        assert!(is_active(&claim) && !is_active(&other));
    });
}
