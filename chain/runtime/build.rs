//! Builds this crate a second time, to WASM, and hands the blob's path to the native crate.

fn main() {
    // A linting build wraps the compiler of our crates (scripts/test). The blob that nodes execute is the compiler's own.
    std::env::remove_var("RUSTC_WORKSPACE_WRAPPER");

    #[cfg(all(feature = "std", feature = "metadata-hash"))]
    substrate_wasm_builder::WasmBuilder::init_with_defaults().enable_metadata_hash("PHA", 12).build();

    #[cfg(all(feature = "std", not(feature = "metadata-hash")))]
    substrate_wasm_builder::WasmBuilder::build_using_defaults();
}
