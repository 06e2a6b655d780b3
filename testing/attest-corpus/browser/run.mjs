// Gives the verdicts on a file of cases, by verifier.mjs in the engine of Node.js, which is V8, as in Chromium.
//
//   node run.mjs MODULE CASES VERDICTS
//
// MODULE is the compiled module, CASES a file of cases, VERDICTS the file to write: each one's bytes behind their number, 32 bits with the
// lowest byte first. Prints the engine's version. A case on which the module traps ends it with an error that says which.
import { readFileSync, writeFileSync } from 'node:fs';
import { verifier } from './verifier.mjs';

const [module, cases, verdicts] = process.argv.slice(2);
if (!verdicts) throw new Error('usage: node run.mjs MODULE CASES VERDICTS');

const judge = await verifier(readFileSync(module));
const input = readFileSync(cases);
const output = [];
for (let at = 0, index = 0; at < input.length; index += 1) {
  const end = at + 4 + input.readUInt32LE(at);
  if (end > input.length) throw new Error(`case ${index} ends behind the file`);
  let text;
  try {
    text = Buffer.from(await judge(input.subarray(at + 4, end)), 'utf-8');
  } catch (error) {
    throw new Error(`case ${index}: ${error}`, { cause: error });
  }
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  output.push(length, text);
  at = end;
}
writeFileSync(verdicts, Buffer.concat(output));
console.log(`V8 ${process.versions.v8}`);
