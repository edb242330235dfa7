// Compiles Solidity for tests: `node compile.mjs [FILE.sol | FOLDER]...`, this folder where nothing is named.
//
// To stdout goes one JSON object, `{"NAME": {"abi": [...], "bytecode": "0x..."}}`, with each contract of the files; what they
// import is found beside them. To stderr goes what the compiler warns of. Exit code 1: something does not compile.

import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const named = process.argv.length > 2 ? process.argv.slice(2) : [here];
const inFolder = (folder) => readdirSync(folder).filter((name) => name.endsWith(".sol")).sort().map((name) => join(folder, name));
const files = named.map((path) => resolve(path)).flatMap((path) => (statSync(path).isDirectory() ? inFolder(path) : [path]));
const read = (path) => readFileSync(path, "utf8");

const input = {
  language: "Solidity",
  sources: Object.fromEntries(files.map((path) => [path, { content: read(path) }])),
  settings: {
    // Fixed, and without what depends on where the file lies: a contract's bytes are the same everywhere.
    evmVersion: "cancun",
    metadata: { appendCBOR: false, bytecodeHash: "none" },
    optimizer: { enabled: true, runs: 200 },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const found = (path) => {
  try {
    return { contents: read(path) };
  } catch (error) {
    return { error: error.message };
  }
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: found }));
const said = output.errors ?? [];
for (const { formattedMessage } of said) process.stderr.write(`${formattedMessage}\n`);
if (said.some(({ severity }) => severity === "error")) process.exit(1);

const contracts = {};
for (const path of files) {
  for (const [name, { abi, evm }] of Object.entries(output.contracts?.[path] ?? {})) {
    if (name in contracts) {
      process.stderr.write(`${path}: another file has a contract ${name} too\n`);
      process.exit(1);
    }
    contracts[name] = { abi, bytecode: `0x${evm.bytecode.object}` };
  }
}
process.stdout.write(`${JSON.stringify(contracts)}\n`);
