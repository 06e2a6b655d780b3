// An unmodified polkadot.js uses the chain, and exchanges keys with `phala account`.
//
//   node story.mjs WEBSOCKET_URL PHALA_BINARY FOLDER
//
// WEBSOCKET_URL is a node of a development chain, PHALA_BINARY the command, FOLDER an empty one that both may write to.
// Prints one JSON line with what it did and exits with 0, or fails with the assertion that does not hold. It gives
// @polkadot/api no types, no signed extensions and no RPC definitions of ours: what it knows, it reads from the chain.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { u8aToHex } from '@polkadot/util';
import { cryptoWaitReady, decodeAddress, mnemonicGenerate } from '@polkadot/util-crypto';

const [url, phalaBinary, folder] = process.argv.slice(2);
assert(url && phalaBinary && folder, 'usage: node story.mjs WEBSOCKET_URL PHALA_BINARY FOLDER');
// A story that hangs is a story that fails.
setTimeout(() => { console.error('the story took more than three minutes'); process.exit(1); }, 180_000).unref();

const PASSWORD = 'correct horse battery staple';
const PHA = 1_000_000_000_000n;
const key = (address) => u8aToHex(decodeAddress(address));

function phala(...words) {
  const env = { ...process.env, PHALA_HOME: join(folder, 'home'), PHALA_NETWORK: url, PHALA_PASSWORD: PASSWORD };
  return JSON.parse(execFileSync(phalaBinary, ['--json', ...words], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }));
}

// Sends a transaction and gives its events once it is final, or the error that the chain's metadata names.
function send(api, transaction, signer) {
  return new Promise((resolve, reject) => {
    transaction
      .signAndSend(signer, ({ status, events, dispatchError }) => {
        if (!status.isFinalized) return;
        let error = null;
        if (dispatchError?.isModule) {
          const { section, name } = api.registry.findMetaError(dispatchError.asModule);
          error = `${section}.${name}`;
        } else if (dispatchError) {
          error = dispatchError.toString();
        }
        resolve({ error, block: status.asFinalized.toHex(), events: events.map(({ event }) => event) });
      })
      .catch(reject);
  });
}

const only = (events, kind) => {
  const found = events.filter((event) => kind.is(event));
  assert.equal(found.length, 1, `one such event among ${events.map((event) => `${event.section}.${event.method}`)}`);
  return found[0].data;
};

await cryptoWaitReady();
const api = await ApiPromise.create({ provider: new WsProvider(url), noInitWarn: true, throwOnConnect: true });
const free = async (address) => (await api.query.system.account(address)).data.free.toBigInt();
const keyring = new Keyring({ type: 'sr25519' });
const alice = keyring.addFromUri('//Alice');
const ferdie = keyring.addFromUri('//Ferdie');

// Finalised heads arrive in order; the rest happens meanwhile.
const heads = [];
const unsubscribe = await api.rpc.chain.subscribeFinalizedHeads((head) => heads.push(head.number.toNumber()));

// A transfer: event, balance, and the block in which both stand.
const stranger = keyring.addFromMnemonic(mnemonicGenerate());
const transfer = await send(api, api.tx.balances.transferKeepAlive(stranger.address, 3n * PHA), alice);
assert.equal(transfer.error, null);
only(transfer.events, api.events.system.ExtrinsicSuccess);
const transferred = only(transfer.events, api.events.balances.Transfer);
assert.deepEqual([key(transferred.from), key(transferred.to)], [key(alice.address), key(stranger.address)]);
assert.equal(transferred.amount.toBigInt(), 3n * PHA);
assert.equal(await free(stranger.address), 3n * PHA);
const then = await (await api.at(transfer.block)).query.system.events();
assert(then.some(({ event }) => api.events.balances.Transfer.is(event) && key(event.data.to) === key(stranger.address)));

// A refusal arrives by its name.
const refused = await send(api, api.tx.balances.transferKeepAlive(alice.address, 3n * PHA), stranger);
assert.match(refused.error, /FundsUnavailable|balances\./);
only(refused.events, api.events.system.ExtrinsicFailed);

// A bond.
const bond = await send(api, api.tx.staking.bond(1000n * PHA, 'Staked'), ferdie);
assert.equal(bond.error, null);
const bonded = only(bond.events, api.events.staking.Bonded);
assert.deepEqual([key(bonded.stash), bonded.amount.toBigInt()], [key(ferdie.address), 1000n * PHA]);
const ledger = (await api.query.staking.ledger(ferdie.address)).unwrap();
assert.equal(ledger.active.toBigInt(), 1000n * PHA);

// A key that `phala account` made opens here, and only with its password.
const made = phala('account', 'new', 'made-by-phala');
const exported = phala('account', 'export', 'made-by-phala');
const opened = keyring.addFromJson(exported);
assert.equal(key(opened.address), key(made.address));
assert.throws(() => opened.decodePkcs8('wrong'), /decode/i);
opened.decodePkcs8(PASSWORD);
assert.equal(opened.isLocked, false);
await send(api, api.tx.balances.transferKeepAlive(opened.address, 5n * PHA), alice);
assert.equal(BigInt(phala('account', 'balance', 'made-by-phala').free), 5n * PHA);
const signed = await send(api, api.tx.balances.transferKeepAlive(stranger.address, PHA), opened);
assert.equal(signed.error, null, 'the chain takes what polkadot.js signs with it');
assert.equal(key(only(signed.events, api.events.balances.Transfer).from), key(made.address));

// A key that polkadot.js made opens there.
const own = keyring.addFromMnemonic(mnemonicGenerate(), { name: 'made-by-polkadot-js' });
const file = join(folder, 'made-by-polkadot-js.json');
writeFileSync(file, JSON.stringify(own.toJson(PASSWORD)));
const imported = phala('account', 'import', file);
assert.deepEqual([imported.name, key(imported.address)], ['made-by-polkadot-js', key(own.address)]);
await send(api, api.tx.balances.transferKeepAlive(own.address, 5n * PHA), alice);
const before = await free(stranger.address);
phala('account', 'send', stranger.address, '2PHA', '--from', 'made-by-polkadot-js');
assert.equal(await free(stranger.address), before + 2n * PHA);
// And comes back as the same key.
const again = keyring.addFromJson(phala('account', 'export', 'made-by-polkadot-js'));
again.decodePkcs8(PASSWORD);
assert.deepEqual(again.publicKey, own.publicKey);
assert(!readFileSync(join(folder, 'home/accounts/made-by-phala.json'), 'utf8').includes(PASSWORD));

unsubscribe();
assert(heads.length >= 3, `finalised heads: ${heads}`);
assert(heads.every((height, index) => index === 0 || height > heads[index - 1]), `in order: ${heads}`);
console.log(JSON.stringify({ chain: api.runtimeVersion.specName.toString(), client: api.libraryInfo, heads: heads.length }));
await api.disconnect();
