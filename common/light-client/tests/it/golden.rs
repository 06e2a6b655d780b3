//! Bytes of a running node: what stands in the vectors was made by the node binary, and verifies as it stands.

use crate::ENTROPY;
use codec::{Decode, Encode};
use phala_light_client::{
    encode_proof, verify_ancestors, verify_anchor, verify_storage, verify_storage_value, AnchorError, FinalityError,
    FinalityProof, GenesisAnchor, JustificationError, LightClient, ProofError,
};
use phala_protocol::{ids::ClusterId, storage};
use serde_json::Value;

/// Each vector, with how many authorities each of its sets has.
fn vectors() -> [(Value, usize); 2] {
    [
        (include_str!("../../../../testing/vectors/light-client/one-authority.json"), 1),
        (include_str!("../../../../testing/vectors/light-client/four-authorities.json"), 4),
    ]
    .map(|(text, authorities)| (serde_json::from_str(text).unwrap(), authorities))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn hash(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn anchored(vector: &Value) -> LightClient {
    let anchor = GenesisAnchor::decode(&mut &bytes(&vector["anchor"])[..]).unwrap();
    verify_anchor(&hash(&vector["genesis_hash"]), &anchor).unwrap()
}

fn advanced(vector: &Value) -> LightClient {
    let mut client = anchored(vector);
    client.advance(&bytes(&vector["finality_proof"]), &ENTROPY).unwrap();
    client
}

fn storage_proof(vector: &Value) -> Vec<u8> {
    let nodes: Vec<Vec<u8>> = vector["storage"]["proof"].as_array().unwrap().iter().map(bytes).collect();
    encode_proof(&nodes)
}

#[test]
fn anchors_at_the_genesis_of_a_real_chain() {
    for (vector, authorities) in vectors() {
        let client = anchored(&vector);
        assert_eq!(*client.genesis(), hash(&vector["genesis_hash"]));
        assert_eq!((client.authorities().id(), client.authorities().keys().len()), (0, authorities));
        let anchor = GenesisAnchor::decode(&mut &bytes(&vector["anchor"])[..]).unwrap();
        assert_eq!(verify_anchor(&[0; 32], &anchor), Err(AnchorError::WrongGenesis));
    }
}

#[test]
fn follows_the_finality_and_set_changes_of_a_real_chain() {
    for (vector, authorities) in vectors() {
        let mut client = anchored(&vector);
        let proof = bytes(&vector["finality_proof"]);
        let advance = client.advance(&proof, &ENTROPY).unwrap();
        let head = &vector["head"];
        assert_eq!(advance.set_changes + 1, head["fragments"].as_u64().unwrap());
        assert!(advance.set_changes > 0 && advance.alleged_complete);
        assert_eq!(client.authorities().keys().len(), authorities);
        assert_eq!(u64::from(client.head().number()), head["number"].as_u64().unwrap());
        assert_eq!(*client.head().hash(), hash(&head["hash"]));
        assert_eq!(*client.head().state_root(), hash(&head["state_root"]));
        assert_eq!(*client.head().extrinsics_root(), hash(&head["extrinsics_root"]));
        assert_eq!(client.advance(&proof, &ENTROPY), Err(FinalityError::NothingNewer(client.head().number())));
    }
}

#[test]
fn refuses_a_real_chain_without_one_of_its_set_changes() {
    for (vector, _) in vectors() {
        let honest = FinalityProof::decode(&mut &bytes(&vector["finality_proof"])[..]).unwrap();
        for missing in 0..honest.fragments.len() - 1 {
            let mut proof = honest.clone();
            proof.fragments.remove(missing);
            let error = anchored(&vector).advance(&proof.encode(), &ENTROPY);
            assert!(matches!(
                error,
                Err(FinalityError::Justification { reason: JustificationError::BadSignature, .. })
            ));
        }
    }
}

#[test]
fn walks_to_an_ancestor_of_a_real_chain() {
    for (vector, _) in vectors() {
        let headers: Vec<Vec<u8>> = vector["ancestors"].as_array().unwrap().iter().map(bytes).collect();
        let ancestor = verify_ancestors(advanced(&vector).head(), &headers).unwrap();
        assert_eq!(u64::from(ancestor.number()), vector["ancestor"]["number"].as_u64().unwrap());
        assert_eq!(*ancestor.hash(), hash(&vector["ancestor"]["hash"]));
        assert_eq!(*ancestor.state_root(), hash(&vector["ancestor"]["state_root"]));
    }
}

#[test]
fn reads_the_storage_of_a_real_chain() {
    for (vector, authorities) in vectors() {
        let client = advanced(&vector);
        let proof = storage_proof(&vector);
        let verified = verify_storage(client.head(), &proof).unwrap();
        let (mut present, mut absent) = (0, 0);
        for (key, value) in vector["storage"]["values"].as_object().unwrap() {
            let key = hex::decode(key.strip_prefix("0x").unwrap()).unwrap();
            let expected = (!value.is_null()).then(|| bytes(value));
            assert_eq!(verified.get(&key).unwrap(), expected.as_deref());
            *if expected.is_some() { &mut present } else { &mut absent } += 1;
        }
        assert_eq!((present, absent), (3, 3));
        // The head's state, not that of genesis.
        assert_eq!(
            verify_storage_value(anchored(&vector).head(), &proof, &storage::TIMESTAMP_NOW),
            Err(ProofError::WrongRoot)
        );
        let time = verified.get(&storage::TIMESTAMP_NOW).unwrap().unwrap();
        assert!(u64::decode(&mut &time[..]).unwrap() > 1_700_000_000_000, "milliseconds of chain time");
        let list = verified.get(&storage::GRANDPA_AUTHORITIES).unwrap().unwrap();
        assert_eq!(Vec::<([u8; 32], u64)>::decode(&mut &list[..]).unwrap().len(), authorities);
        assert_eq!(verified.get(&storage::inbox_head_key(ClusterId(7))), Ok(None));
    }
}

#[test]
fn refuses_the_same_bytes_with_any_byte_changed() {
    for (vector, _) in vectors() {
        let honest = bytes(&vector["finality_proof"]);
        // The last byte is the server's flag for whether there is more, which is an allegation either way.
        for position in 0..honest.len() - 1 {
            let mut changed = honest.clone();
            changed[position] ^= 0x10;
            assert!(anchored(&vector).advance(&changed, &ENTROPY).is_err(), "byte {position}");
        }
    }
}
