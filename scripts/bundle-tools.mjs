/**
 * Bundles the test tools, which lie beside `src/`, into DIRECTORY/NAME.js: what they take from `src/` and
 * `spec/reference/` goes in, packages stay imports. `node scripts/bundle-tools.mjs DIRECTORY`.
 */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const NAMES = ['sim', 'fuzz', 'conformance', 'lab'];

const entries = NAMES.map((name) => [name, join(ROOT, name, 'tool.ts')]).filter(([, path]) =>
  existsSync(path),
);
const bundle = await rolldown({
  input: Object.fromEntries(entries),
  platform: 'node',
  external: (id) => !id.startsWith('.') && !id.startsWith('/'),
});
await bundle.write({ dir: process.argv[2], format: 'esm', sourcemap: true, entryFileNames: '[name].js' });
await bundle.close();
