// The attestation verifier's module (testing/attest-corpus/module) as a web page loads it: WebAssembly and nothing of Node.js.
//
// `verifier(bytes)` compiles the module and gives a function from a case (SCALE of the module's `Input`) to the text of the verdict.
// A trap in the module is an exception, and no verdict.

// The module never gives memory back: beyond this many bytes the next case gets an instance of its own.
const MEMORY = 64 * 1024 * 1024;

export async function verifier(bytes) {
  const module = await WebAssembly.compile(bytes);
  let exports;
  return async (input) => {
    if (!exports || exports.memory.buffer.byteLength > MEMORY) {
      exports = (await WebAssembly.instantiate(module, {})).exports;
    }
    // An address is unsigned, and a number of WebAssembly's is not. The memory's buffer is another one after it grew.
    const address = exports.reserve(input.length) >>> 0;
    new Uint8Array(exports.memory.buffer, address, input.length).set(input);
    const length = exports.run() >>> 0;
    const text = new Uint8Array(exports.memory.buffer, exports.text() >>> 0, length);
    return new TextDecoder('utf-8', { fatal: true }).decode(text);
  };
}
