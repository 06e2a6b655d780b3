//! Holds no code: its manifest names features.
//!
//! A dev-dependency may switch on a feature of a crate that half the node is built on (`serde_json/preserve_order`, for one). Cargo
//! then compiles that half twice, once for the binaries and once for their tests. A member that asks for the same features as a
//! normal dependency makes the two builds of the workspace equal. A binary that is built by itself (`-p phala-worker`)
//! does not see this crate. Nobody controls its inputs: it has none.

#![forbid(unsafe_code)]
