//! Builds the verifier's module (`phala-attest-corpus-module`) and runs it under wasmtime.

use std::{path::PathBuf, process::Command};
use wasmtime::{Engine, Error, Instance, Memory, Module, Store, TypedFunc};

/// The compiled module.
pub struct Wasm {
    engine: Engine,
    module: Module,
    /// Bytes of it before the engine compiled it.
    pub bytes: usize,
}

/// The module with a case in its memory.
pub struct Loaded {
    store: Store<()>,
    memory: Memory,
    run: TypedFunc<(), u32>,
    text: TypedFunc<(), u32>,
}

/// Compiles the module as cargo compiles any, with the workspace's lock file: nothing is downloaded. Gives its file.
pub fn compile() -> Result<PathBuf, Error> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Not the target folder of the cargo that runs this, which holds its lock.
    let outer = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = outer.join("attest-module");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--offline", "--locked", "--target", "wasm32v1-none"])
        .args(["--package", "phala-attest-corpus-module", "--target-dir"])
        .arg(&target)
        .current_dir(&root)
        .status()?;
    if !status.success() {
        return Err(Error::msg("the verifier does not build for wasm32v1-none"));
    }
    Ok(target.join("wasm32v1-none/release/phala_attest_corpus_module.wasm"))
}

impl Wasm {
    /// [`compile`], and then what the engine makes of it.
    pub fn build() -> Result<Self, Error> {
        let bytes = std::fs::read(compile()?)?;
        let engine = Engine::default();
        let module = Module::new(&engine, &bytes)?;
        Ok(Self { engine, module, bytes: bytes.len() })
    }

    /// An instance with `case`, the SCALE of [`phala_attest_corpus_module::Input`], in its memory.
    pub fn instantiate(&self, case: &[u8]) -> Result<Loaded, Error> {
        let mut store = Store::new(&self.engine, ());
        let instance = Instance::new(&mut store, &self.module, &[])?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| Error::msg("no memory"))?;
        let reserve = instance.get_typed_func::<u32, u32>(&mut store, "reserve")?;
        let address = reserve.call(&mut store, u32::try_from(case.len())?)?;
        memory.write(&mut store, address as usize, case)?;
        let run = instance.get_typed_func(&mut store, "run")?;
        let text = instance.get_typed_func(&mut store, "text")?;
        Ok(Loaded { store, memory, run, text })
    }
}

impl Loaded {
    /// The text of the verdict.
    pub fn run(&mut self) -> Result<String, Error> {
        let length = self.run.call(&mut self.store, ())?;
        let text = self.text.call(&mut self.store, ())?;
        let mut bytes = vec![0; length as usize];
        self.memory.read(&self.store, text as usize, &mut bytes)?;
        Ok(String::from_utf8(bytes)?)
    }
}
