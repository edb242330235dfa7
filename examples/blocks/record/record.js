// Records blocks files from a local Ethereum node (anvil): a chain, a quiet chain, a chain with a reorg, and, for the
// tests of the reader, a block of each fork that changed the header.
//
// Everything that the node hashes is fixed (mnemonic, genesis, timestamps, nonces, fees), so recording again gives the
// same files. The node gives blocks; `proofyard-states` adds their states and cuts them into segments.
//
//   npm install && node record.js [--states PATH] [--raw]
//
// --states PATH   the program that computes the states (default: target/release/proofyard-states)
// --raw           write the node's blocks alone, without states and segments

import { spawn } from "node:child_process";
import { once } from "node:events";
import { renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const MNEMONIC = "test test test test test test test test test test test junk";
const GENESIS_S = 1_767_225_600; // 2026-01-01T00:00:00Z
const SLOT_S = 12;
const CHAIN_ID = 31337;
const SEGMENT_TRANSACTIONS = 8;
const QUIET_SEGMENT_TRANSACTIONS = 4;
const START_LIMIT_MS = 30_000;

// Its runtime adds one to storage slot 0 and logs the sum.
const COUNTER = "0x6013600c60003960136000f3" + "6000546001018060005560005260206000a000";

const { values: options } = parseArgs({
  options: {
    states: { type: "string", default: here("../../../target/release/proofyard-states") },
    raw: { type: "boolean", default: false },
  },
});

async function main() {
  await write("../chain.jsonl", await withNode(recordChain));
  await write("../quiet.jsonl", await withNode(recordQuiet), { segmentTransactions: QUIET_SEGMENT_TRANSACTIONS });
  await write("../reorg.jsonl", await withNode(recordReorg));
  await write("../../../crates/blocks/tests/blocks/forks.jsonl", await recordForks(), { raw: true });
}

/** 64 blocks of 0 to 24 transactions. */
async function recordChain(node) {
  const traffic = await Traffic.start(node, 1);
  const lines = [];
  for (let height = 1; height <= 64; height++) lines.push(await traffic.mine());
  return lines;
}

/** 16 blocks of 0 to 8 transactions, for provers of a fixed size. */
async function recordQuiet(node) {
  const traffic = await Traffic.start(node, 4, { most: 8 });
  const lines = [];
  for (let height = 1; height <= 16; height++) lines.push(await traffic.mine());
  return lines;
}

/** Ten blocks, the last three of which then leave the chain for a branch of four, which goes on to height 16. */
async function recordReorg(node) {
  const traffic = await Traffic.start(node, 2);
  const lines = [];
  for (let height = 1; height <= 10; height++) lines.push(await traffic.mine());
  await node.call("anvil_rollback", 3);
  await traffic.resume();
  for (let height = 8; height <= 11; height++) lines.push(await traffic.mine());
  lines.push({ reorg: lines.at(-1).block.hash });
  for (let height = 12; height <= 16; height++) lines.push(await traffic.mine());
  return lines;
}

/** One block under the rules of each fork that added to the header; each is of a chain of its own. */
async function recordForks() {
  const lines = [];
  for (const fork of ["berlin", "london", "shanghai", "cancun", "prague"]) {
    const record = async (node) => (await Traffic.start(node, 3, { londonFees: fork !== "berlin" })).mine();
    lines.push(await withNode(record, fork));
  }
  return lines;
}

/** Signed transactions of the node's own accounts, drawn from a seeded generator, and the blocks made of them. */
class Traffic {
  static async start(node, seed, { londonFees = true, most = null } = {}) {
    const traffic = new Traffic();
    Object.assign(traffic, { node, random: generator(seed), londonFees, most, counter: null });
    traffic.accounts = await node.call("eth_accounts");
    await traffic.resume();
    return traffic;
  }

  /** Reads again from the node where the chain stands. */
  async resume() {
    this.height = Number(await this.node.call("eth_blockNumber"));
    this.nonces = new Map();
    for (const account of this.accounts) {
      this.nonces.set(account, Number(await this.node.call("eth_getTransactionCount", account, "latest")));
    }
  }

  async mine() {
    this.height += 1;
    const sent = [];
    for (let count = this.blockSize(); count > 0; count--) sent.push(await this.send());
    await this.node.call("evm_mine", hex(GENESIS_S + SLOT_S * this.height));
    const block = await this.node.call("eth_getBlockByNumber", hex(this.height), true);
    const mined = block.transactions.map((transaction) => transaction.hash);
    if (mined.join() !== sent.join()) throw new Error(`block ${this.height} is not what was sent`);
    this.counter ??= mined.length > 0 ? await this.contractOf(mined[0]) : null;
    return { chain_id: CHAIN_ID, block };
  }

  async contractOf(hash) {
    return (await this.node.call("eth_getTransactionReceipt", hash)).contractAddress;
  }

  /** Mostly 6 to 20, now and then an empty, a small or a full block. */
  blockSize() {
    if (this.most !== null) return this.random(this.most + 1);
    const kind = this.random(16);
    if (kind === 0) return 0;
    if (kind === 1) return 1 + this.random(5);
    if (kind === 2) return 21 + this.random(4);
    return 6 + this.random(15);
  }

  async send() {
    const from = this.accounts[this.random(this.accounts.length)];
    const nonce = this.nonces.get(from);
    this.nonces.set(from, nonce + 1);
    const request = { from, nonce: hex(nonce), ...this.body(), ...this.fees() };
    return this.node.call("eth_sendTransaction", request);
  }

  /** Transfers, calls, some that run out of gas, and contract creations; these alone until there is one to call. */
  body() {
    const kind = this.random(12);
    if (this.counter === null || kind === 0) return { data: COUNTER, gas: hex(120_000) };
    if (kind <= 3) return { to: this.counter, gas: hex(80_000) };
    if (kind === 4) return { to: this.counter, gas: hex(22_000) };
    const to = this.accounts[this.random(this.accounts.length)];
    return { to, value: hex(1 + this.random(1_000_000)), gas: hex(21_000) };
  }

  /** The three kinds of fee that wallets still sign: a gas price, one with an access list, a tip under a cap. */
  fees() {
    const gasPrice = hex(2_000_000_000 + this.random(1_000_000_000));
    const kind = this.random(6);
    if (kind === 0) return { type: "0x0", gasPrice };
    if (kind === 1 || !this.londonFees) return { type: "0x1", gasPrice, accessList: [] };
    return { type: "0x2", maxFeePerGas: gasPrice, maxPriorityFeePerGas: hex(1 + this.random(1_000_000_000)) };
  }
}

/** Numbers below a limit, by xorshift32. */
function generator(seed) {
  let state = (seed * 0x9e3779b9) >>> 0;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

function hex(number) {
  return "0x" + number.toString(16);
}

/** Runs `record` against a node that lives only as long as it. */
async function withNode(record, fork = "osaka") {
  const child = spawn(
    here("node_modules/.bin/anvil"),
    [
      ...["--host", "127.0.0.1", "--port", "0", "--chain-id", CHAIN_ID, "--hardfork", fork],
      ...["--mnemonic", MNEMONIC, "--timestamp", GENESIS_S, "--no-mining", "--order", "fifo"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const node = new Node(await address(child));
    return await record(node);
  } finally {
    child.kill();
  }
}

/** Where the node says that it listens. */
async function address(child) {
  const limit = AbortSignal.timeout(START_LIMIT_MS);
  let said = "";
  for (;;) {
    const [chunk] = await Promise.race([
      once(child.stdout, "data", { signal: limit }),
      once(child, "exit").then(() => Promise.reject(new Error(`the node ended at its start:\n${said}`))),
    ]);
    said += chunk;
    const found = said.match(/Listening on (\S+)\n/);
    if (found) {
      child.stdout.resume();
      return `http://${found[1]}`;
    }
  }
}

class Node {
  constructor(url) {
    this.url = url;
  }

  async call(method, ...params) {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const answer = await fetch(this.url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await answer.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }
}

/** Adds the states unless the raw blocks are wanted, and puts the file in place only when it is whole. */
async function write(path, lines, { raw = options.raw, segmentTransactions = SEGMENT_TRANSACTIONS } = {}) {
  const blocks = lines.map((line) => JSON.stringify(line) + "\n").join("");
  const text = raw ? blocks : await withStates(blocks, segmentTransactions);
  writeFileSync(here(path) + ".new", text);
  renameSync(here(path) + ".new", here(path));
  console.log(`${path}: ${text.split("\n").length - 1} lines, ${Buffer.byteLength(text)} bytes`);
}

async function withStates(blocks, segmentTransactions) {
  const child = spawn(options.states, ["--segment-transactions", segmentTransactions], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  child.stdin.on("error", () => {}); // its exit code tells why it stopped reading
  child.stdin.end(blocks);
  let text = "";
  child.stdout.setEncoding("utf8");
  for await (const chunk of child.stdout) text += chunk;
  const [code] = await ended;
  if (code !== 0) throw new Error(`${options.states} ended with ${code}`);
  return text;
}

await main();
