/**
 * Bundles, into the package that was built in DIRECTORY, what starts as a program: `node scripts/bundle.mjs DIRECTORY`.
 *
 *   DIRECTORY/cli/     the command: a hundred files that load as a few, in half the time
 *   DIRECTORY/tools/   the test tools, which lie beside `src/`, each with what it takes from there
 *
 * Packages stay imports, and what is loaded when it is asked for stays a file of its own.
 */

import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const TOOLS = ['sim', 'fuzz', 'conformance', 'lab'];

const directory = process.argv[2];
const [built, bundled] = [join(directory, 'cli'), join(directory, 'cli-bundled')];
await bundle({ main: join(built, 'main.js') }, bundled);
rmSync(built, { recursive: true });
renameSync(bundled, built);
const tools = TOOLS.map((name) => [name, join(ROOT, name, 'tool.ts')]).filter(([, path]) => existsSync(path));
await bundle(Object.fromEntries(tools), join(directory, 'tools'));

async function bundle(input, dir) {
  const made = await rolldown({
    input,
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/'),
  });
  await made.write({ dir, format: 'esm', sourcemap: true, entryFileNames: '[name].js' });
  await made.close();
}
