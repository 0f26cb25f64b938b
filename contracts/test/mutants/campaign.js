// Compiles and tests every mutant that generate.py writes (slither-mutate's mutators), in copies of the tree.
//   campaign.js MUTANTS RESULTS [--workers N] [--only N] [--from N] [--seed S] [--file PART] [--units]
//   campaign.js MUTANTS RESULTS --score
// A line of RESULTS is one verdict: invalid (does not compile), equivalent (the same bytecode as released), killed, or
// survived. The order is random but fixed by the seed, so wherever a campaign stops, it has judged a random sample;
// started again it goes on there, and tests survivors anew. With --from it begins at the N-th of that order and goes
// round. Changed sources void every verdict. With --units survivors face the unit tests alone.
//
// What makes it fast: forge is given the artifacts and never compiles. Each mutant is first compiled by the legacy code
// generator without its optimizer, a fifteenth of the time, in a vault that was cut to what that can compile (see
// quickTree), and tested without quorums. What survives there is compiled as released and faces all the unit tests,
// then the attacks and the invariants.
'use strict';
const { fork, spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { firstFailure } = require('./run.js');

const project = path.resolve(__dirname, '..', '..');
const RELEASE = { optimizer: { enabled: true, runs: 20000 }, viaIR: true };
const QUICK = { optimizer: { enabled: false }, viaIR: false };
const CONTRACTS = { 'src/Vault.sol': 'Vault', 'src/Court.sol': 'Court', 'src/Factory.sol': 'Factory' };
// Tests that have library code inside, and so are compiled anew with it.
const LIBRARY_TESTS = {
  'test/unit/types/Slots.t.sol': 'SlotsTest',
  'test/unit/types/Lane.t.sol': 'LaneTest',
  'test/unit/libraries/Signatures.t.sol': 'SignaturesTest',
};
const NOT_QUICK = 'test/unit/Vault/SettleQuorum.t.sol';
// An endless loop runs out of gas long before; this is for a forge that hangs.
const TEST_SECS = 400;

const sha = (text) => crypto.createHash('sha256').update(text).digest('hex');

/* ---------- sources and compiler ---------- */

function sourcesUnder(...folders) {
  const sources = {};
  const walk = (folder) => {
    for (const entry of fs.readdirSync(path.join(project, folder), { withFileTypes: true })) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) walk(name);
      else if (name.endsWith('.sol') && !name.startsWith('src/dev/')) sources[name] = fs.readFileSync(path.join(project, name), 'utf8');
    }
  };
  folders.forEach(walk);
  return sources;
}

// Name of a contract to its creation code; throws an error whose message is the compiler's.
function compile(sources, settings, wanted) {
  const solc = require(path.join(project, 'node_modules', 'solc'));
  const outputSelection = {};
  for (const [file, name] of Object.entries(wanted)) outputSelection[file] = { [name]: ['evm.bytecode.object'] };
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(Object.entries(sources).map(([name, content]) => [name, { content }])),
    settings: { ...settings, evmVersion: 'osaka', metadata: { bytecodeHash: 'none', appendCBOR: false }, outputSelection },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const error = (output.errors || []).find(({ severity }) => severity === 'error');
  if (error) throw Object.assign(new Error(error.message), { deep: /Stack too deep/i.test(error.message) });
  return Object.fromEntries(Object.entries(wanted).map(([file, name]) => [`${path.basename(file)}/${name}`, output.contracts[file][name].evm.bytecode.object]));
}

// The tree as the legacy code generator can compile it, with fewer values on the stack: settleQuorum does nothing, and a
// claim reads its domain and unwraps its row elsewhere. Null when the mutant lies in what is replaced.
const DOMAIN = 'bytes32 domain = DOMAIN_SEPARATOR();\n        uint256 bitmap;';
const ROW = `VoucherRow row = VoucherRows.rowAt(records, offset + i * VoucherRows.ROW_BYTES);
                (uint96 paid, uint96 royalty) = _claimRow(domain, payee, lane, row);`;
const QUICK_ROW = `uint96 paid;
                uint96 royalty;
                {
                    uint256 row;
                    assembly { row := add(records.offset, add(offset, mul(i, 79))) }
                    (paid, royalty) = _quickRow(payee, lane, row);
                }`;
const QUICK_FUNCTION = `
    function _quickRow(address payee, bytes32 lane, uint256 row) private returns (uint96 paid, uint96 royalty) {
        return _claimRow(DOMAIN_SEPARATOR(), payee, lane, VoucherRow.wrap(row));
    }

    function _claimRow(`;

function quickTree(sources, whole) {
  const settle = (text) => {
    const from = text.indexOf('if (block.timestamp > order.settleBy)');
    const to = text.indexOf("/// @dev Every row's provider");
    return from < 0 || to < from ? null : text.slice(from, to);
  };
  let vault = sources['src/Vault.sol'];
  const cut = settle(whole['src/Vault.sol']);
  for (const [from, to] of [[cut, '}\n'], [DOMAIN, 'uint256 bitmap;'], [ROW, QUICK_ROW], ['\n    function _claimRow(', QUICK_FUNCTION]]) {
    if (from === null || whole['src/Vault.sol'].split(from).length !== 2) throw new Error('quickTree no longer fits the vault');
    if (vault.split(from).length !== 2) return null;
    vault = vault.replace(from, () => to);
  }
  return { ...sources, 'src/Vault.sol': vault };
}

/* ---------- copies of the tree ---------- */

// What is tested together, and by which folders of tests.
const SUITES = { unit: ['unit'], rest: ['attacks', 'invariant'] };

// A copy of the tree with a suite's tests, compiled. From then on forge gets no compiler, only its version.
function prepare(suite) {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'symbolon-campaign-'));
  for (const name of ['src', 'test/helpers', ...SUITES[suite].map((folder) => `test/${folder}`), 'foundry.toml', 'forge', 'solc']) {
    fs.cpSync(path.join(project, name), path.join(copy, name), { recursive: true });
  }
  fs.symlinkSync(path.join(project, 'node_modules'), path.join(copy, 'node_modules'));
  const built = test(copy, []);
  if (built) throw new Error(`${built} fails without a mutant`);
  const version = spawnSync(path.join(copy, 'solc'), ['--version'], { encoding: 'utf8' }).stdout;
  fs.writeFileSync(path.join(copy, 'version'), version);
  fs.writeFileSync(path.join(copy, 'solc'), `#!/bin/sh\n[ "$*" = --version ] && exec cat "${copy}/version"\nexit 1\n`);
  return copy;
}

// The name of the first test that failed, or null when all passed.
function test(copy, filter, runs = 64) {
  for (const kept of ['fuzz', 'invariant']) fs.rmSync(path.join(copy, 'cache', kept), { recursive: true, force: true });
  // Enough for what these tests do, and an end to endless loops.
  const gas = fs.existsSync(path.join(copy, 'test', 'unit')) ? '300000000' : '4000000000';
  // Code that was not optimised is longer than a chain takes.
  const limits = { FOUNDRY_FUZZ_RUNS: String(runs), FOUNDRY_INVARIANT_RUNS: '16', FOUNDRY_GAS_LIMIT: gas, FOUNDRY_CODE_SIZE_LIMIT: '65536' };
  const env = { ...process.env, ...limits, NO_COLOR: '1' };
  const options = { cwd: copy, env, encoding: 'utf8', maxBuffer: 1 << 28, timeout: TEST_SECS * 1000, killSignal: 'SIGKILL' };
  const run = spawnSync(path.join(copy, 'forge'), ['test', '--fail-fast', ...filter], options);
  if (run.error && run.error.code === 'ETIMEDOUT') return 'time';
  if (run.status === 0) return null;
  return firstFailure(run);
}

function install(copy, codes) {
  for (const [name, code] of Object.entries(codes)) {
    const file = path.join(copy, 'out', `${name}.json`);
    if (!fs.existsSync(file)) continue;
    const artifact = JSON.parse(fs.readFileSync(file, 'utf8'));
    artifact.bytecode.object = `0x${code}`;
    fs.writeFileSync(file, JSON.stringify(artifact));
  }
}

const same = (a, b) => Object.keys(a).every((name) => a[name] === b[name]);

/* ---------- one worker ---------- */

class Worker {
  // `prepared` is a folder for each suite; the worker has copies of its own.
  constructor(prepared) {
    this.whole = sourcesUnder('src', 'test/unit/types', 'test/unit/libraries', 'test/helpers');
    this.copies = {};
    for (const [suite, folder] of Object.entries(prepared)) {
      this.copies[suite] = fs.mkdtempSync(path.join(os.tmpdir(), 'symbolon-campaign-'));
      fs.cpSync(folder, this.copies[suite], { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    }
    this.quick = this.build(quickTree(this.whole, this.whole), QUICK, 'types');
    this.release = this.build(this.whole, RELEASE, 'types');
    install(this.copies.unit, this.quick);
    const broken = test(this.copies.unit, ['--no-match-path', NOT_QUICK], 4);
    if (broken) throw new Error(`${broken} fails in the quick tree without a mutant`);
    // A kill has to come from the artifacts that are written here.
    install(this.copies.unit, { 'Vault.sol/Vault': '60006000fd' });
    if (!test(this.copies.unit, ['--no-match-path', NOT_QUICK], 4)) throw new Error('forge does not look at the artifacts');
  }

  // With the tests that have the mutated file inside.
  build(sources, settings, file) {
    const tests = /types|Signatures/.test(file) ? compile(sources, QUICK, LIBRARY_TESTS) : {};
    return { ...compile(sources, settings, CONTRACTS), ...tests };
  }

  judge(mutant) {
    const source = Buffer.from(this.whole[mutant.file]);
    const mutated = Buffer.concat([source.subarray(0, mutant.start), Buffer.from(mutant.to), source.subarray(mutant.end)]).toString();
    const sources = { ...this.whole, [mutant.file]: mutated };
    const quick = quickTree(sources, this.whole);
    if (quick) {
      try {
        const codes = this.build(quick, QUICK, mutant.file);
        if (!same(codes, this.quick)) {
          install(this.copies.unit, { ...this.quick, ...codes });
          const killer = test(this.copies.unit, ['--no-match-path', NOT_QUICK], 4);
          if (killer) return { verdict: 'killed', by: killer, build: 'quick' };
        }
      } catch (error) {
        if (error.deep === undefined) throw error;
        if (!error.deep) return { verdict: 'invalid' };
      }
    }
    let codes;
    try {
      codes = this.build(sources, RELEASE, mutant.file);
    } catch (error) {
      if (error.deep === undefined) throw error;
      return { verdict: 'invalid' };
    }
    if (same(codes, this.release)) return { verdict: 'equivalent' };
    for (const copy of Object.values(this.copies)) {
      install(copy, { ...this.release, ...codes });
      const killer = test(copy, []);
      if (killer) return { verdict: 'killed', by: killer, build: 'release' };
    }
    return { verdict: 'survived' };
  }

  close() {
    for (const copy of Object.values(this.copies)) fs.rmSync(copy, { recursive: true, force: true });
  }
}

function work() {
  const worker = new Worker(JSON.parse(process.argv[3]));
  process.on('message', (mutant) => {
    if (mutant === null) {
      worker.close();
      process.disconnect();
      return;
    }
    const started = Date.now();
    process.send({ id: mutant.id, ...worker.judge(mutant), secs: (Date.now() - started) / 1000 });
  });
  process.send({});
}

/* ---------- the campaign ---------- */

function load(mutantsFile, resultsFile) {
  const tree = sha(JSON.stringify(sourcesUnder('src'))).slice(0, 16);
  const lines = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line)) : []);
  const mutants = lines(mutantsFile).map((mutant) => ({ ...mutant, id: sha(`${mutant.file} ${mutant.start} ${mutant.end} ${mutant.to}`).slice(0, 16) }));
  const verdicts = new Map();
  for (const line of lines(resultsFile)) if (line.tree === tree) verdicts.set(line.id, line);
  return { tree, mutants, verdicts };
}

function score({ mutants, verdicts }) {
  const rows = new Map();
  const total = { file: 'all', generated: 0, judged: 0, invalid: 0, equivalent: 0, killed: 0, survived: 0 };
  for (const { id, file } of mutants) {
    if (!rows.has(file)) rows.set(file, { ...total, file, generated: 0, judged: 0, invalid: 0, equivalent: 0, killed: 0, survived: 0 });
    for (const row of [rows.get(file), total]) {
      row.generated += 1;
      const found = verdicts.get(id);
      if (found) {
        row.judged += 1;
        row[found.verdict] += 1;
      }
    }
  }
  console.log('| file | generated | judged | do not compile | same bytecode | killed | survived | score |\n|---|---|---|---|---|---|---|---|');
  for (const row of [...rows.values(), total]) {
    const percent = ((100 * row.killed) / Math.max(1, row.killed + row.survived)).toFixed(1);
    console.log(`| ${row.file.replace('src/', '')} | ${row.generated} | ${row.judged} | ${row.invalid} | ${row.equivalent} | ${row.killed} | ${row.survived} | ${percent}% |`);
  }
  return total;
}

const show = (text) => text.replace(/\s+/g, ' ');

// Every survivor stands with its reason in mutation.md, as `from` → `to` below its file's name.
function unexplained({ mutants, verdicts }) {
  const sections = new Map(fs.readFileSync(path.join(project, 'mutation.md'), 'utf8').split('\n## ').map((part) => [part.split('\n')[0], part]));
  const left = mutants.filter((mutant) => {
    const found = verdicts.get(mutant.id);
    if (!found || found.verdict !== 'survived') return false;
    return !(sections.get(path.basename(mutant.file)) || '').includes(`\`${show(mutant.from)}\` → \`${show(mutant.to)}\``);
  });
  for (const mutant of left) console.log(`unexplained: ${mutant.file}:${mutant.line} ${mutant.function}: \`${show(mutant.from)}\` → \`${show(mutant.to)}\``);
  return left.length;
}

async function main(mutantsFile, resultsFile, ...rest) {
  const option = (name, otherwise) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : otherwise);
  const state = load(mutantsFile, resultsFile);
  if (!rest.includes('--score')) {
    const seed = option('--seed', 'symbolon');
    const order = new Map(state.mutants.map(({ id }) => [id, sha(seed + id)]));
    const all = [...state.mutants].sort((a, b) => (order.get(a.id) < order.get(b.id) ? -1 : 1));
    const queue = [...all.splice(Number(option('--from', 0))), ...all]
      .filter(({ id, file }) => file.includes(option('--file', '')) && (!state.verdicts.has(id) || state.verdicts.get(id).verdict === 'survived'))
      .slice(0, Number(option('--only', state.mutants.length)));
    const suites = rest.includes('--units') ? ['unit'] : ['unit', 'rest'];
    const prepared = Object.fromEntries(suites.map((suite) => [suite, prepare(suite)]));
    console.log(`${queue.length} of ${state.mutants.length} mutants to judge`);
    let done = 0;
    const drive = () =>
      new Promise((resolve, reject) => {
        const child = fork(__filename, ['work', JSON.stringify(prepared)]);
        let current = null;
        child.on('message', (found) => {
          if (found.id) {
            const line = { tree: state.tree, ...found };
            state.verdicts.set(found.id, line);
            fs.appendFileSync(resultsFile, `${JSON.stringify(line)}\n`);
            done += 1;
            const { file, line: at, from, to } = current;
            if (found.verdict === 'survived') console.log(`SURVIVED ${file}:${at} \`${show(from)}\` → \`${show(to)}\``);
            if (done % 50 === 0) console.log(`${new Date().toISOString()} ${done} judged`);
          }
          current = queue.shift() || null;
          child.send(current);
        });
        child.on('exit', (code) => (code === 0 && !current ? resolve() : reject(new Error(`a worker ended with ${code}${current ? ` at ${JSON.stringify(current)}` : ''}`))));
      });
    try {
      await Promise.all(Array.from({ length: Number(option('--workers', 2)) }, drive));
    } finally {
      for (const folder of Object.values(prepared)) fs.rmSync(folder, { recursive: true, force: true });
    }
  }
  const total = score(state);
  const left = unexplained(state);
  const enough = total.killed > 0 && total.killed >= 0.95 * (total.killed + total.survived);
  return left === 0 && enough ? 0 : 1;
}

if (process.argv[2] === 'work') work();
else
  main(...process.argv.slice(2)).then(
    (status) => (process.exitCode = status),
    (error) => {
      console.error(`error: ${error.message}`);
      process.exitCode = 2;
    },
  );
