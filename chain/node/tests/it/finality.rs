//! What light clients are served, checked with the chain's own verifier.

use crate::node::{bytes, fast_spec, output, wait, Node};
use codec::{Decode, DecodeAll};
use phala_protocol::{
    finality::{FinalityProof, GenesisAnchor},
    storage::GRANDPA_AUTHORITIES,
};
use phala_runtime::{Block, Hash, Header};
use sc_consensus_grandpa::{find_scheduled_change, GrandpaJustification};
use serde_json::{json, Value};
use sp_consensus_grandpa::AuthorityList;
use sp_runtime::traits::{BlakeTwo256, Header as _};
use sp_state_machine::read_proof_check;
use sp_trie::StorageProof;
use std::time::Duration;

/// A light client made of the chain's own parts: a head, and who finalises the next one.
struct LightClient {
    head: Header,
    set_id: u64,
    authorities: AuthorityList,
}

impl LightClient {
    /// Pins the chain that `export-genesis-anchor --chain chain` describes.
    fn pin(chain: &str) -> (Self, Value) {
        let printed: Value = serde_json::from_slice(&output(&["export-genesis-anchor", "--chain", chain])).unwrap();
        let anchor = bytes(&printed["anchor"]);
        assert_eq!(output(&["export-genesis-anchor", "--chain", chain, "--format", "scale"]), anchor);
        let anchor = GenesisAnchor::decode_all(&mut &anchor[..]).unwrap();
        let head = Header::decode_all(&mut &anchor.header[..]).unwrap();
        let values = read_proof_check::<BlakeTwo256, _>(
            *head.state_root(),
            StorageProof::new(anchor.authorities_proof),
            [&GRANDPA_AUTHORITIES[..]],
        )
        .unwrap();
        let authorities = values[&GRANDPA_AUTHORITIES[..]].clone().unwrap();
        let authorities = AuthorityList::decode_all(&mut &authorities[..]).unwrap();
        (Self { head, set_id: 0, authorities }, printed)
    }

    /// Follows what the node serves from this head on; gives the number of fragments.
    fn follow(&mut self, node: &Node) -> usize {
        let answer = bytes(&node.call("phala_finalityProof", json!([self.head.number()])));
        let proof = FinalityProof::decode_bounded(&answer).unwrap();
        assert!(proof.complete);
        for fragment in &proof.fragments {
            let header = Header::decode_all(&mut &fragment.header[..]).unwrap();
            assert!(header.number() > self.head.number(), "fragments ascend");
            let justification = GrandpaJustification::<Block>::decode_all(&mut &fragment.justification[..]).unwrap();
            assert_eq!(justification.target(), (*header.number(), header.hash()));
            justification.verify(self.set_id, &self.authorities).unwrap();
            if let Some(change) = find_scheduled_change::<Block>(&header) {
                self.set_id += 1;
                self.authorities = change.next_authorities;
            }
            self.head = header;
        }
        proof.fragments.len()
    }
}

#[test]
fn leads_a_light_client_from_the_genesis_over_authority_set_changes() {
    let folder = tempfile::tempdir().unwrap();
    let chain = fast_spec("dev", folder.path());
    let (mut client, printed) = LightClient::pin(&chain);
    let node = Node::start(&chain, "alice", &folder.path().join("alice"), &[]);
    assert_eq!(node.hash(0), printed["genesisHash"]);

    node.wait_finalised(2, Duration::from_secs(60));
    assert_eq!(client.follow(&node), 1, "no set has ended: the newest header is all");
    assert_eq!(client.set_id, 0);

    wait("two authority sets to end", Duration::from_secs(180), || {
        (node.call("grandpa_roundState", json!([]))["setId"].as_u64()? >= 2).then_some(())
    });
    let height = node.finalised();
    node.wait_finalised(height + 2, Duration::from_secs(30));
    assert!(client.follow(&node) >= 3, "one header for each set that ended, and the newest");
    assert!(client.set_id >= 2);
    assert_eq!(node.hash(*client.head.number()), json!(client.head.hash()));

    for number in 1..=client.head.number() - 12 {
        let justified = node.call("phala_justification", json!([number]));
        let headers = justified["headers"].as_array().unwrap();
        // A round takes about as long as a block here; without a justification for each there would be gaps of an era.
        assert!(headers.len() <= 12, "{} headers from {number} to the next justification", headers.len());
        let first = Header::decode_all(&mut &bytes(&headers[0])[..]).unwrap();
        assert_eq!(*first.number(), number);
        let last = Header::decode_all(&mut &bytes(&headers[headers.len() - 1])[..]).unwrap();
        assert_eq!(json!(last.hash()), justified["hash"]);
        let justification =
            GrandpaJustification::<Block>::decode_all(&mut &bytes(&justified["justification"])[..]).unwrap();
        assert_eq!(justification.target().1, last.hash());
    }

    let by_hash = node.call("phala_justification", json!([node.hash(5)]));
    assert_eq!(by_hash, node.call("phala_justification", json!([5])));
    let encoded = bytes(&node.call("grandpa_proveFinality", json!([2])));
    let proved = sc_consensus_grandpa::FinalityProof::<Header>::decode(&mut &encoded[..]).unwrap();
    assert!(proved.unknown_headers.iter().any(|header| header.hash() == proved.block));

    for (method, parameter) in [
        ("phala_finalityProof", json!(4_000_000_000_u32)),
        ("phala_justification", json!(4_000_000_000_u32)),
        ("phala_justification", json!(Hash::repeat_byte(7))),
    ] {
        let error = node.try_call(method, json!([parameter])).unwrap_err();
        assert_eq!(error["code"], 7001, "{method} {parameter}: {error}");
    }
    assert_eq!(node.terminate().code(), Some(0));
}
