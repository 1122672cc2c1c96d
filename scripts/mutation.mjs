/**
 * Mutation testing of the pure rooms, on a sample: windows of lines are drawn from `src/{wire,reliability,crypto,
 * session}` by a seed, Stryker changes what stands there, and the tests of these rooms must notice. It takes an hour
 * or more, so it is no part of the test run; what it found is in `ARCHITECTURE.md`. Stryker is not among the
 * packages of this project:
 *
 *   npm install --no-save --ignore-scripts @stryker-mutator/core@9.6.1 @stryker-mutator/vitest-runner@9.6.1
 *   node scripts/mutation.mjs [--seed N] [--windows N] [-- STRYKER OPTIONS]
 *
 * It leaves `mutation.json`, with every mutation and what became of it.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ROOMS = ['wire', 'reliability', 'crypto', 'session'];
/** Lines of one draw: a few mutations that belong together. */
const WINDOW_LINES = 6;
const STRYKER = join(ROOT, 'node_modules', '@stryker-mutator', 'core', 'bin', 'stryker.js');

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, windows: { type: 'string', default: '110' } },
  allowPositionals: true,
});

if (!existsSync(STRYKER)) {
  console.error('Stryker is not installed: the head of scripts/mutation.mjs says how');
  process.exit(1);
}

/** A small generator (mulberry32), so that a sample can be drawn again. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const windows = ROOMS.flatMap((room) =>
  readdirSync(join(ROOT, 'src', room))
    .filter((name) => name.endsWith('.ts') && name !== 'index.ts')
    .sort()
    .flatMap((name) => {
      const path = `src/${room}/${name}`;
      const lines = readFileSync(join(ROOT, path), 'utf8').split('\n').length;
      return Array.from({ length: Math.ceil(lines / WINDOW_LINES) }, (_value, index) => {
        const from = index * WINDOW_LINES + 1;
        return `${path}:${from}-${from + WINDOW_LINES - 1}`;
      });
    }),
);
const random = generator(Number(values.seed));
const chosen = new Set();
while (chosen.size < Math.min(Number(values.windows), windows.length)) {
  chosen.add(windows[Math.floor(random() * windows.length)]);
}
const parameters = [STRYKER, 'run', '--mutate', [...chosen].join(','), ...positionals];
process.exit(spawnSync(process.execPath, parameters, { cwd: ROOT, stdio: 'inherit' }).status ?? 1);
