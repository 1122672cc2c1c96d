/**
 * Makes `npm start` and `npm test` work as the first and only command in a fresh clone: installs
 * the locked packages when they are missing or another lock's, and builds dist/ when a source has
 * changed. Says in a line what it does, and nothing when there is nothing to do. Plain Node, no
 * packages: nothing may be installed yet.
 *
 *   node scripts/prepare.mjs              prepares
 *   node scripts/prepare.mjs up --once    prepares, then is `gramline up --once`
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LOCK = join(ROOT, 'package-lock.json');
const MODULES = join(ROOT, 'node_modules');
/** Hash of the lock that node_modules/ was installed from. */
const INSTALL_STAMP = join(MODULES, '.gramline-lock');
/** npm's own record of what it installed, written last. */
const NPM_STAMP = join(MODULES, '.package-lock.json');
/** What is built: the package, and the test tools with what they are bundled from. */
const SOURCES = ['src', 'sim', 'fuzz', 'conformance', 'lab', 'spec/reference'].map((name) =>
  join(ROOT, name),
);
const BUNDLER = 'scripts/bundle.mjs';
const BUILD_INPUTS = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', BUNDLER];
const DIST = join(ROOT, 'dist');
const SWAP_ATTEMPTS_MAX = 5;
/** In dist/: hash of what it was built from. */
const BUILD_STAMP = '.gramline-build';

const lockHash = createHash('sha256').update(readFileSync(LOCK)).digest('hex');
if (!isInstalled()) install();
const inputs = fingerprint();
if (readIfPresent(join(DIST, BUILD_STAMP)) !== inputs) build();
const words = process.argv.slice(2);
// In this process: a shell between npm and it (`&&`) would not pass signals on.
if (words.length > 0) await becomeGramline(words);

async function becomeGramline(words) {
  const main = join(DIST, 'cli', 'main.js');
  process.argv = [process.execPath, main, ...words];
  await import(pathToFileURL(main).href);
}

function isInstalled() {
  const stamp = readIfPresent(INSTALL_STAMP);
  if (stamp === lockHash) return true;
  // Somebody ran npm by hand since the lock was last written.
  if (!existsSync(NPM_STAMP) || statSync(NPM_STAMP).mtimeMs < statSync(LOCK).mtimeMs) return false;
  writeStamp(INSTALL_STAMP, lockHash);
  return true;
}

function install() {
  say('installing packages (npm ci)');
  // A development tool is needed to build, whatever NODE_ENV says.
  const options = ['--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  if (npm(['ci', ...options]).status !== 0) {
    // Registries that lack packages of other platforms leave locks that npm ci takes for incomplete.
    say('npm ci failed: trying npm install');
    const installed = npm(['install', '--no-save', ...options]);
    if (installed.status !== 0) fail(installed);
  }
  writeStamp(INSTALL_STAMP, lockHash);
}

/** Builds beside dist/ and swaps: whoever runs meanwhile sees the old one or the new one, whole. */
function build() {
  say('building dist/');
  const [fresh, old] = [`${DIST}.${process.pid}`, `${DIST}.${process.pid}.old`];
  process.on('exit', () => {
    for (const leftover of [fresh, old]) rmSync(leftover, { recursive: true, force: true });
  });
  const tsc = join(MODULES, 'typescript', 'bin', 'tsc');
  const parameters = ['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', fresh];
  const built = spawnSync(process.execPath, [tsc, ...parameters], { cwd: ROOT, encoding: 'utf8' });
  if (built.status !== 0) fail(built);
  const bundler = [join(ROOT, BUNDLER), fresh];
  const bundled = spawnSync(process.execPath, bundler, { cwd: ROOT, encoding: 'utf8' });
  if (bundled.status !== 0) fail(bundled);
  chmodSync(join(fresh, 'cli', 'main.js'), 0o755);
  writeFileSync(join(fresh, BUILD_STAMP), inputs);
  for (let attempt = 1; ; attempt++) {
    try {
      if (existsSync(DIST)) renameSync(DIST, old);
      renameSync(fresh, DIST);
      return;
    } catch (error) {
      // Another of us built at the same time, and was in between.
      rmSync(old, { recursive: true, force: true });
      if (attempt === SWAP_ATTEMPTS_MAX) throw error;
    }
  }
}

/** What a build depends on: names, sizes and times of its inputs. */
function fingerprint() {
  const hash = createHash('sha256');
  const sources = SOURCES.filter((folder) => existsSync(folder)).flatMap(filesBelow);
  const files = [...sources, ...BUILD_INPUTS.map((name) => join(ROOT, name))];
  for (const file of files.sort()) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${relative(ROOT, file)} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function filesBelow(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Runs the npm that runs this script, or the one on the path. What it says matters only if it fails. */
function npm(parameters) {
  const running = process.env.npm_execpath ?? '';
  const isNpm = basename(running) === 'npm-cli.js';
  const command = isNpm ? process.execPath : 'npm';
  return spawnSync(command, isNpm ? [running, ...parameters] : parameters, { cwd: ROOT, encoding: 'utf8' });
}

/** Ends as the process ended that `result` tells of, after what it said. */
function fail({ status, signal, error, stdout, stderr }) {
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  say(`that failed: ${error?.message ?? signal ?? `exit code ${status}`}`);
  process.exit(status ?? 1);
}

/** Written beside, then renamed: two of us at once leave a whole one. */
function writeStamp(path, text) {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

function readIfPresent(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function say(text) {
  process.stderr.write(`gramline: ${text}\n`);
}
