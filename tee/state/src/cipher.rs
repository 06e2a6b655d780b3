//! What the host sees of a row: a locator that says nothing, and a ciphertext that is bound to its place.
//!
//! Guarantees: a row's locator is a PRF of its place under the machine's own key of one epoch, so that neither keys nor
//! tree positions can be read from it, and so that it changes with every epoch. It begins with PRFs of the path's first
//! 12 and 16 bits alone, so that what is read and written together lies together in the file, whatever the size of the
//! state: a boundary touches fewer blocks of the disk (a fifth fewer at 10^5 entries). That tells the host nothing that it does not see anyway,
//! for it watches a page and the entries below it being read one after the other. A row's ciphertext (AES-256-GCM-SIV,
//! random nonce, RFC 8452) opens only under that key at that place. The keys depend on the network's storage key *and* on this
//! machine, so two replicas' disks have nothing in common.
//!
//! Does not do: freshness. An older ciphertext of the same place opens; that it is not the latest is found by whoever
//! compares it with the tree ([`crate::tree`]). The host controls every byte that is opened here.

use crate::{
    error::{EntropyError, IntegrityError, Row},
    wiped::Wiped,
};
use codec::{Decode, Encode};
use phala_crypto::{
    aead::{SivKey, NONCE_BYTES},
    kdf, Secret,
};
use phala_protocol::{domain, hash_value, Epoch};
use std::collections::BTreeMap;

/// Bytes of a row's key in the file: 4 for each of two neighbourhoods, and 12 of the row's own, at which nobody can aim
/// without the key.
pub(crate) const LOCATOR_BYTES: usize = 20;

/// The key of a row in the file.
pub(crate) type Locator = [u8; LOCATOR_BYTES];

/// Where randomness comes from: the platform's generator, or a seeded one in tests.
pub trait Entropy: Send + Sync {
    /// Fills `buffer`, all of it.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// This machine's storage key of one epoch. It is never written to the disk; older ones are, under a newer one.
pub struct StorageKey {
    generation: Epoch,
    secret: Secret<[u8; 32]>,
    /// Of the machine alone: the file has one over all epochs.
    file: Secret<[u8; 32]>,
}

impl StorageKey {
    /// Derives it from the cluster's `storage_key` of `epoch` and from `machine`.
    ///
    /// `machine` separates replicas. Give it something that only this machine knows (a derivation of its sealed identity's
    /// secret) wherever it survives a restart: with a public identity, whoever broke *another* replica of the cluster
    /// and owns this machine's disk could write a consistent store of his own choice. (He could not make it match the
    /// chain's commitment, which the caller compares; but until then it would be believed.) And whoever knows it can make blocks of the
    /// file that are authentic (`tagged.rs`), and so have the storage library parse what he made up.
    pub fn derive(epoch: Epoch, storage_key: &Secret<[u8; 32]>, machine: &[u8]) -> Self {
        let secret = kdf::derive_for(storage_key, domain::STATE_LOCAL, &(epoch, machine));
        let machine: Secret<[u8; 32]> = Secret::fill(|key| *key = phala_protocol::hash(domain::STATE_FILE, machine));
        Self { generation: epoch, secret, file: kdf::derive(&machine, domain::STATE_FILE, b"") }
    }

    /// The epoch of the network's storage key.
    pub fn generation(&self) -> Epoch {
        self.generation
    }

    /// The key of the tags of the machine's file.
    pub(crate) fn file_key(&self) -> &Secret<[u8; 32]> {
        &self.file
    }

    /// That key by itself: what opens a store is gone with the store.
    #[cfg(feature = "testing")]
    pub(crate) fn file_secret(&self) -> Secret<[u8; 32]> {
        Secret::fill(|key| *key = *self.file.expose())
    }
}

/// Where a row belongs. Its encoding is both the PRF's input and the AEAD's associated data.
#[derive(Encode)]
pub(crate) enum Place<'a> {
    /// The head; the format's version.
    Head(u8),
    /// A page of a tree.
    Page(crate::tree::Namespace, &'a crate::tree::PageId),
    /// An entry of a tree, by its path.
    Entry(crate::tree::Namespace, &'a crate::tree::Path),
    /// A part of a boundary of the journal, by the boundary's number and its own.
    Journal(u64, u32),
}

impl Place<'_> {
    pub(crate) fn row(&self) -> Row {
        match self {
            Self::Head(_) => Row::Head,
            Self::Page(..) => Row::Page,
            Self::Entry(..) => Row::Entry,
            Self::Journal(..) => Row::Journal,
        }
    }

    /// The first 12 and 16 bits of the row's path; a page above that depth has none, and lies with its like.
    fn neighbourhoods(&self) -> [Option<[u8; 2]>; 2] {
        let (nibbles, path) = match self {
            Self::Head(_) | Self::Journal(..) => return [None; 2],
            Self::Page(_, id) => id.prefix(),
            Self::Entry(_, path) => (u8::MAX, **path),
        };
        let bits = path.first_chunk::<2>();
        [bits.map(|[high, low]| [*high, low & 0xf0]).filter(|_| nibbles >= 3), bits.copied().filter(|_| nibbles >= 4)]
    }
}

/// What a generation's secret expands to.
struct Generation {
    secret: Secret<[u8; 32]>,
    rows: SivKey,
    head: SivKey,
    locator: Secret<[u8; 32]>,
}

impl Generation {
    fn new(secret: Secret<[u8; 32]>) -> Self {
        Self {
            rows: SivKey::new(&kdf::derive(&secret, domain::STATE_ENTRY, b"")),
            head: SivKey::new(&kdf::derive(&secret, domain::STATE_RING, b"")),
            locator: kdf::derive(&secret, domain::STATE_LOCATOR, b""),
            secret,
        }
    }
}

/// An older key as the head carries it.
#[derive(Encode, Decode)]
pub(crate) struct RingKey {
    generation: Epoch,
    secret: Zeroizing32,
}

/// 32 bytes that are wiped when dropped.
#[derive(Encode, Decode)]
struct Zeroizing32([u8; 32]);

impl Drop for Zeroizing32 {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// The keys of every epoch that some row is still under.
pub(crate) struct KeyRing {
    current: Epoch,
    newest: Generation,
    older: BTreeMap<Epoch, Generation>,
}

impl KeyRing {
    pub(crate) fn new(key: StorageKey) -> Self {
        Self { current: key.generation, newest: Generation::new(key.secret), older: BTreeMap::new() }
    }

    /// The ring that the head held, under the key that opened the head.
    pub(crate) fn with_older(mut self, older: &[RingKey]) -> Self {
        self.older = older
            .iter()
            .map(|key| (key.generation, Generation::new(Secret::fill(|bytes| bytes.copy_from_slice(&key.secret.0)))))
            .collect();
        self
    }

    /// The ring after a change of keys: `key` seals from now on, the keys so far still open.
    pub(crate) fn rekeyed(&self, key: StorageKey) -> Self {
        let mut ring = Self::new(key).with_older(&self.older());
        ring.older.insert(self.current, Generation::new(copy(&self.newest.secret)));
        ring
    }

    /// The ring after a sweep: no row is under a key that is older than `generation`.
    pub(crate) fn without_older_than(&self, generation: Epoch) -> Self {
        let newest = Generation::new(copy(&self.newest.secret));
        let kept = self.older.range(generation..);
        let older = kept.map(|(epoch, keys)| (*epoch, Generation::new(copy(&keys.secret)))).collect();
        Self { current: self.current, newest, older }
    }

    pub(crate) fn current(&self) -> Epoch {
        self.current
    }

    pub(crate) fn older_count(&self) -> usize {
        self.older.len()
    }

    /// The older keys, to be sealed inside the head.
    pub(crate) fn older(&self) -> Vec<RingKey> {
        self.older
            .iter()
            .map(|(generation, keys)| RingKey { generation: *generation, secret: Zeroizing32(*keys.secret.expose()) })
            .collect()
    }

    fn generation(&self, generation: Epoch) -> Result<&Generation, IntegrityError> {
        if generation == self.current {
            return Ok(&self.newest);
        }
        self.older.get(&generation).ok_or(IntegrityError::UnknownGeneration(generation))
    }

    /// Where the row of `place` that was sealed in `generation` lies.
    pub(crate) fn locator(&self, generation: Epoch, place: &Place<'_>) -> Result<Locator, IntegrityError> {
        let keys = self.generation(generation)?;
        // BLAKE2b keyed by prefix is a PRF: unlike SHA-2's, its output cannot be extended. The key has a fixed length, and
        // the tag after it keeps the inputs apart.
        let [wide, narrow] = place.neighbourhoods();
        let near = |tag: u8, bits: Option<[u8; 2]>| match bits {
            Some(bits) => hash_value(domain::STATE_LOCATOR, &(keys.locator.expose(), tag, bits)),
            None => [0; 32],
        };
        let own = hash_value(domain::STATE_LOCATOR, &(keys.locator.expose(), 2u8, place));
        let (wide, narrow) = (near(0, wide), near(1, narrow));
        let mut locator = [0; LOCATOR_BYTES];
        let bytes = wide.iter().take(4).chain(narrow.iter().take(4)).chain(&own);
        locator.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(locator)
    }

    /// Seals under the current key: `nonce || ciphertext || tag`.
    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        plaintext: &[u8],
        nonces: &mut Nonces<'_>,
    ) -> Result<Vec<u8>, EntropyError> {
        let nonce = nonces.next()?;
        let key = if matches!(place, Place::Head(_)) { &self.newest.head } else { &self.newest.rows };
        // The cipher takes 64 GB; rows are bounded far below that, so this never fails.
        let ciphertext =
            key.seal(&nonce, &associated_data(self.current, place), plaintext).map_err(|_| EntropyError)?;
        let mut row = Vec::with_capacity(NONCE_BYTES + ciphertext.len());
        row.extend_from_slice(&nonce);
        row.extend_from_slice(&ciphertext);
        Ok(row)
    }

    /// Opens a row that was sealed for `place` in `generation`; the plaintext is wiped when dropped.
    pub(crate) fn open(&self, generation: Epoch, place: &Place<'_>, row: &[u8]) -> Result<Wiped, IntegrityError> {
        let keys = self.generation(generation)?;
        let key = if matches!(place, Place::Head(_)) { &keys.head } else { &keys.rows };
        let unauthentic = IntegrityError::Unauthentic(place.row());
        let (nonce, ciphertext) = row.split_first_chunk::<NONCE_BYTES>().ok_or(unauthentic)?;
        key.open(nonce, &associated_data(generation, place), ciphertext).map(Wiped::new).map_err(|_| unauthentic)
    }
}

fn associated_data(generation: Epoch, place: &Place<'_>) -> Vec<u8> {
    (domain::STATE_ENTRY.as_bytes(), generation, place).encode()
}

fn copy(secret: &Secret<[u8; 32]>) -> Secret<[u8; 32]> {
    Secret::fill(|bytes| bytes.copy_from_slice(secret.expose()))
}

/// Random nonces, drawn in blocks so that a commit of hundreds of rows costs a few calls of the generator.
pub(crate) struct Nonces<'a> {
    entropy: &'a dyn Entropy,
    block: [[u8; NONCE_BYTES]; 64],
    used: usize,
}

impl<'a> Nonces<'a> {
    pub(crate) fn new(entropy: &'a dyn Entropy) -> Self {
        Self { entropy, block: [[0; NONCE_BYTES]; 64], used: 64 }
    }

    fn next(&mut self) -> Result<[u8; NONCE_BYTES], EntropyError> {
        if self.used >= self.block.len() {
            self.entropy.fill(self.block.as_flattened_mut())?;
            self.used = 0;
        }
        let nonce = self.block.get(self.used).copied().ok_or(EntropyError)?;
        self.used += 1;
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_protocol::Domain;
    use serde_json::Value;

    /// `testing/vectors/crypto/derivations.json`, which a second implementation computed.
    #[test]
    fn keys_of_a_machines_store_follow_their_vectors() {
        let file: Value =
            serde_json::from_str(include_str!("../../../testing/vectors/crypto/derivations.json")).unwrap();
        let of = |label: Domain, field: &str| -> Secret<[u8; 32]> {
            let cases = file["cases"].as_array().unwrap();
            let case = cases.iter().find(|case| case["label"] == label.as_str()).unwrap();
            Secret::from_slice(&hex::decode(case[field].as_str().unwrap()).unwrap()).unwrap()
        };
        let key = StorageKey::derive(7, &of(domain::STATE_LOCAL, "secret"), b"machine");
        assert!(key.secret.equals(&of(domain::STATE_LOCAL, "output")));
        assert!(key.file.equals(&of(domain::STATE_FILE, "output")));
        let keys = Generation::new(key.secret);
        assert!(keys.locator.equals(&of(domain::STATE_LOCATOR, "output")));
        for (own, label) in [(&keys.rows, domain::STATE_ENTRY), (&keys.head, domain::STATE_RING)] {
            let opens = |key: &Secret<[u8; 32]>| {
                let sealed = own.seal(&[1; NONCE_BYTES], b"place", b"row").unwrap();
                SivKey::new(key).open(&[1; NONCE_BYTES], b"place", &sealed).is_ok()
            };
            assert!(opens(&of(label, "output")) && !opens(&of(label, "secret")), "{}", label.as_str());
        }
    }
}
