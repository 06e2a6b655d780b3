//! The measurement allow-list.

use super::*;
use frame_support::traits::Hooks;
use phala_protocol::limits::MEASUREMENT_DELAY_BLOCKS;

fn list(measurement: [u8; 32], listing: Listing) -> DispatchResult {
    Attestation::allow_measurement(RuntimeOrigin::root(), measurement, listing)
}

#[test]
fn measurement_counts_from_its_first_block_to_its_sunset() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        let claim = registration(ALICE, 1);
        assert_noop!(register(&machine, claim), Error::<Test>::MeasurementNotAllowed);
        allow(&machine, BLOCK + 1, None);
        assert_noop!(register(&machine, claim), Error::<Test>::MeasurementNotAllowed);
        allow(&machine, 0, Some(BLOCK));
        assert_ok!(register(&machine, claim));
        assert!(Attestation::active(&claim.identity, Role::Worker).is_some());
        System::set_block_number(BLOCK + 1);
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "past the sunset");
        allow(&machine, 0, None);
        assert!(Attestation::active(&claim.identity, Role::Worker).is_some());
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), machine.measurement()));
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "removed");
        pallet_timestamp::Now::<Test>::put((NOW + 86_400) * 1_000);
        allow(&machine, 0, None);
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "attestation lapsed");
    });
}

#[test]
fn outside_a_development_network_a_measurement_waits_and_names_its_source() {
    network(false).execute_with(|| {
        let due = BLOCK + MEASUREMENT_DELAY_BLOCKS;
        let sourced = |not_before| Listing { source: [3; 32], ..listing(not_before, None) };
        assert_noop!(list([1; 32], listing(due, None)), Error::<Test>::SourceMissing);
        assert_noop!(list([1; 32], sourced(due - 1)), Error::<Test>::MeasurementTooSoon);
        assert_noop!(list([1; 32], sourced(0)), Error::<Test>::MeasurementTooSoon);
        assert_ok!(list([1; 32], sourced(due)));
        let entry = Measurements::<Test>::get([1; 32]).unwrap();
        assert_eq!((entry.source, entry.listed_at, entry.not_before), ([3; 32], BLOCK, due));
        assert_eq!(Listings::<Test>::get([1; 32]), Some(sourced(due)));
        // Governance lengthens the delay, and cannot shorten it below the constant.
        assert_ok!(set_windows(|windows| windows.further_delay = 10));
        assert_noop!(list([1; 32], sourced(due + 9)), Error::<Test>::MeasurementTooSoon);
        assert_ok!(list([1; 32], sourced(due + 10)));
        System::set_block_number(u32::MAX - 1);
        assert_noop!(list([1; 32], sourced(u32::MAX)), Error::<Test>::MeasurementTooSoon);
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), [1; 32]));
        assert_eq!(Listings::<Test>::get([1; 32]), None);
        assert_noop!(Attestation::remove_measurement(RuntimeOrigin::root(), [1; 32]), Error::<Test>::NotListed);
    });
}

/// What `scripts/measure` prints, but for the commit: a test beside the script holds the two together.
const PRINTED: &str = include_str!("../../../../../testing/vectors/attest/allow_measurement.json");
/// What `phala attest measurement` prints of the recorded genuine quote, after `0x`.
const MEASURED: &str = include_str!("../../../../../testing/vectors/attest/tdx_v4.measurement");

/// `snake_case` as a client of the chain's metadata writes it.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

/// What the metadata says of the fields of a type, as a client writes their names.
fn fields_of<T: scale_info::TypeInfo>() -> Vec<String> {
    let scale_info::TypeDef::Composite(fields) = T::type_info().type_def else { panic!("it has no fields") };
    fields.fields.iter().map(|field| camel_case(field.name.unwrap())).collect()
}

fn hash(text: &serde_json::Value) -> [u8; 32] {
    hex::decode(text.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap().try_into().unwrap()
}

#[test]
fn the_entry_that_measure_prints_is_listed_with_its_fields() {
    let printed: serde_json::Value = serde_json::from_str(PRINTED).unwrap();
    let name = printed["call"].as_str().unwrap().strip_prefix("attestation.").unwrap();
    let calls = <Call<Test> as frame_support::traits::GetCallName>::get_call_names();
    assert!(calls.iter().any(|call| camel_case(call) == name), "{name}");
    let [measurement, listing] = printed["arguments"].as_array().unwrap().as_slice() else { panic!("{printed}") };
    // By name and completely, as a client maps an object to the call's argument.
    let mut named: Vec<String> = listing.as_object().unwrap().keys().cloned().collect();
    let mut known = fields_of::<Listing>();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let version: Vec<u16> = listing["version"].as_array().unwrap().iter().map(|part| number(part) as u16).collect();
    assert!(listing["role"].is_null() && listing["sunset"].is_null());
    let taken = Listing {
        source: hash(&listing["source"]),
        version: Version(version[0], version[1], version[2]),
        role: None,
        not_before: number(&listing["notBefore"]) as u32,
        sunset: None,
    };
    assert_eq!((hash(&printed["measurement"]), hash(&printed["source"])), (hash(measurement), taken.source));
    assert_eq!(hex::encode(hash(measurement)), MEASURED.trim(), "what the command line prints of a quote");
    assert_eq!((version.len(), hex::encode(&taken.source[20..])), (3, "00".repeat(12)), "a commit, and zeros");

    // Outside a development network, where everything in it is asked for.
    network(false).execute_with(|| {
        let call = RuntimeCall::Attestation(Call::allow_measurement { measurement: hash(measurement), listing: taken });
        assert_ok!(sp_runtime::traits::Dispatchable::dispatch(call, RuntimeOrigin::root()));
        assert_eq!(Listings::<Test>::get(hash(measurement)), Some(taken));
        let entry = Measurements::<Test>::get(hash(measurement)).unwrap();
        assert_eq!((entry.source, entry.listed_at), (taken.source, BLOCK));
        assert_eq!((entry.not_before, entry.sunset), (taken.not_before, None));
    });
}

#[test]
fn what_is_listed_again_is_listed_at_the_block_that_does_it() {
    network(false).execute_with(|| {
        let sourced = || {
            let due = System::block_number() + MEASUREMENT_DELAY_BLOCKS;
            Listing { source: [3; 32], ..listing(due, None) }
        };
        let listed_at = || Measurements::<Test>::get([1; 32]).map(|entry| entry.listed_at);
        assert_ok!(list([1; 32], sourced()));
        // Taken off and put back within fewer blocks than gatekeepers may be away for, or put in place of itself.
        for (after, is_removed) in [(1, true), (3_599, true), (3_600, false)] {
            System::set_block_number(BLOCK + after);
            if is_removed {
                assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), [1; 32]));
                assert_eq!(listed_at(), None);
            }
            assert_ok!(list([1; 32], sourced()));
            assert_eq!(listed_at(), Some(BLOCK + after));
        }
    });
}

#[test]
fn a_measurement_joins_in_its_role_only() {
    ready(|machine| {
        let gatekeepers = Listing { role: Some(Role::Gatekeeper), ..listing(0, None) };
        assert_ok!(list(machine.measurement(), gatekeepers));
        let worker = registration(ALICE, 1);
        assert_noop!(register(machine, worker), Error::<Test>::RoleNotAllowed);
        assert_ok!(register(machine, Registration { role: Role::Gatekeeper, ..worker }));
        // An entry of which nothing more is known admits nobody.
        Listings::<Test>::remove(machine.measurement());
        assert_noop!(register(machine, worker), Error::<Test>::RoleNotAllowed);
    });
}

#[test]
fn a_sunset_is_moved_without_a_new_delay_until_it_has_passed() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let set = |sunset| Attestation::set_sunset(RuntimeOrigin::root(), machine.measurement(), sunset);
        assert_noop!(Attestation::set_sunset(RuntimeOrigin::root(), [9; 32], None), Error::<Test>::NotListed);
        assert_noop!(set(Some(BLOCK - 1)), Error::<Test>::SunsetPassed);
        System::set_block_number(BLOCK + 3);
        assert_ok!(set(Some(BLOCK + 5)));
        let entry = Measurements::<Test>::get(machine.measurement()).unwrap();
        assert_eq!((entry.listed_at, entry.sunset), (BLOCK, Some(BLOCK + 5)), "no new delay");
        assert_eq!(Listings::<Test>::get(machine.measurement()).unwrap().sunset, Some(BLOCK + 5));
        System::set_block_number(BLOCK + 5);
        assert!(is_active(&claim));
        assert_ok!(set(Some(BLOCK + 6)));
        System::set_block_number(BLOCK + 7);
        assert!(!is_active(&claim));
        assert_noop!(set(None), Error::<Test>::SunsetPassed);
        assert_noop!(list(machine.measurement(), listing(0, Some(BLOCK + 6))), Error::<Test>::SunsetPassed);
        assert_noop!(list(machine.measurement(), listing(BLOCK + 9, Some(BLOCK + 8))), Error::<Test>::SunsetPassed);
    });
}

#[test]
fn whoever_serves_the_shut_out_is_told_when_a_sunset_has_passed_and_not_before() {
    ready(|machine| {
        let claim = registration(ALICE, 1);
        assert_ok!(register(machine, claim));
        let set = |sunset| Attestation::set_sunset(RuntimeOrigin::root(), machine.measurement(), sunset);
        assert_ok!(set(Some(BLOCK + 3)));
        assert_ok!(set(Some(BLOCK + 5)));
        // What left the list before its sunset, and what never ends, tell nobody of one.
        assert_ok!(list([9; 32], listing(0, Some(BLOCK + 3))));
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), [9; 32]));
        assert_ok!(list([8; 32], listing(0, Some(u32::MAX))));
        TimesTold::set(0);
        let told_at = |block: u32| {
            System::set_block_number(block);
            Attestation::on_initialize(block);
            TimesTold::get()
        };
        assert_eq!([4, 5, 6, 7].map(|after| told_at(BLOCK + after)), [0, 0, 1, 1]);
        assert!(Attestation::is_shut_out(&claim.identity));
        assert_eq!(Sunsets::<Test>::iter().count(), 0);
    });
}
