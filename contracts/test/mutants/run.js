// Applies one mutant after another to a copy of the tree, and runs the suite on each: it has to fail.
// A mutant is one exact replacement (mutants.json), so that a change of the sources shows which no longer apply.
//   run.js [name...]          the whole suite, invariants last; all mutants if none is named
//   run.js canary             the invariants alone, on holes that they have to see
//   run.js apply NAME FOLDER  only writes the mutant into a copy that the caller made
'use strict';
const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const project = path.resolve(__dirname, '..', '..');
const mutants = JSON.parse(fs.readFileSync(path.join(__dirname, 'mutants.json'), 'utf8'));
const CANARIES = ['release-refunds-the-claimed', 'claim-twice', 'open-without-paying'];
const UNITS = ['--no-match-path', 'test/{gas,invariant,symbolic}/**'];
const INVARIANTS = ['--match-path', 'test/invariant/**'];

function copyTree() {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'symbolon-mutants-'));
  for (const name of ['src', 'test', 'foundry.toml', 'forge', 'solc', 'out', 'cache']) {
    const from = path.join(project, name);
    if (fs.existsSync(from)) fs.cpSync(from, path.join(copy, name), { recursive: true, preserveTimestamps: true });
  }
  fs.symlinkSync(path.join(project, 'node_modules'), path.join(copy, 'node_modules'));
  return copy;
}

// The name of the first test that failed, or null when all passed.
function failure(copy, filter) {
  for (const kept of ['fuzz', 'invariant']) fs.rmSync(path.join(copy, 'cache', kept), { recursive: true, force: true });
  const env = { ...process.env, FOUNDRY_FUZZ_RUNS: '64', FOUNDRY_INVARIANT_RUNS: '16', NO_COLOR: '1' };
  const run = spawnSync(path.join(copy, 'forge'), ['test', '--fail-fast', ...filter], { cwd: copy, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status === 0) return null;
  return firstFailure(run);
}

// The name of the test that a run of forge failed in.
function firstFailure(run) {
  const found = /\[FAIL[^\]]*(?:\][^\]\n]*?)?\] ?(\w+)\(/.exec(run.stdout) || /\[FAIL[\s\S]*?\b((?:test|invariant|setUp)\w*)\(/.exec(run.stdout);
  if (!found) throw new Error(`forge did not get to the tests:\n${run.stdout.slice(-2000)}${run.stderr.slice(-2000)}`);
  return found[1];
}

// Writes the mutant into the tree at `folder`; what undoes it is returned.
function apply(mutant, folder) {
  const file = path.join(folder, mutant.file);
  const source = fs.readFileSync(file, 'utf8');
  if (source.split(mutant.from).length !== 2) throw new Error(`${mutant.name} applies to no single place of ${mutant.file}`);
  fs.writeFileSync(file, source.replace(mutant.from, () => mutant.to));
  return () => fs.writeFileSync(file, source);
}

function main(names) {
  if (names[0] === 'apply') {
    const mutant = mutants.find(({ name }) => name === names[1]);
    if (!mutant || !names[2] || path.resolve(names[2]) === project) throw new Error('apply wants a mutant and the folder of a copy');
    apply(mutant, names[2]);
    return 0;
  }
  const canary = names.length === 1 && names[0] === 'canary';
  const wanted = canary ? CANARIES : names;
  const unknown = wanted.filter((name) => !mutants.some((mutant) => mutant.name === name));
  if (unknown.length) throw new Error(`no such mutant: ${unknown.join(', ')}`);
  const chosen = wanted.length ? mutants.filter((mutant) => wanted.includes(mutant.name)) : mutants;
  const suites = canary ? [INVARIANTS] : [UNITS, INVARIANTS];
  const copy = copyTree();
  const survivors = [];
  try {
    for (const suite of suites) {
      const broken = failure(copy, suite);
      if (broken) throw new Error(`${broken} fails without a mutant`);
    }
    for (const mutant of chosen) {
      const undo = apply(mutant, copy);
      let killer = null;
      for (const suite of suites) killer = killer || failure(copy, suite);
      undo();
      if (!killer) survivors.push(mutant);
      console.log(killer ? `killed    ${mutant.name} by ${killer}` : `SURVIVED  ${mutant.name}: ${mutant.loses}`);
    }
  } finally {
    fs.rmSync(copy, { recursive: true, force: true });
  }
  console.log(`${chosen.length - survivors.length} of ${chosen.length} killed`);
  return survivors.length ? 1 : 0;
}

if (require.main === module) {
  try {
    process.exitCode = main(process.argv.slice(2));
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode = 2;
  }
}

module.exports = { firstFailure };
