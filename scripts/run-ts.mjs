/**
 * Runs a TypeScript program of this repository that is not part of the package: bundles it, then
 * imports the bundle. `node scripts/run-ts.mjs sim/main.ts [ARGS]`.
 */

import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) {
  console.error('usage: node scripts/run-ts.mjs FILE.ts [ARGS]');
  process.exit(2);
}
// Checkouts that share their packages do not share their programs.
const checkout = createHash('sha256').update(root).digest('hex').slice(0, 8);
const directory = join(root, 'node_modules', '.cache', `gramline-programs-${checkout}`);
mkdirSync(directory, { recursive: true });
const file = join(directory, `${entry.replaceAll(/[^a-zA-Z0-9]+/g, '-')}.mjs`);
const bundle = await rolldown({
  input: resolve(root, entry),
  platform: 'node',
  // Packages stay imports; what is named by a path goes in.
  external: (id) => !id.startsWith('.') && !id.startsWith('/'),
});
await bundle.write({ file, format: 'esm', codeSplitting: false, sourcemap: true });
await bundle.close();
process.argv = [process.execPath, file, ...args];
await import(pathToFileURL(file).href);
