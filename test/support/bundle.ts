/**
 * Turns a TypeScript module into one that plain Node runs, for tests that need a child process.
 *
 * The bundle is put below `node_modules/`, so that it finds the same packages as the sources.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BUNDLES = join(ROOT, 'node_modules', '.cache', 'gramline-bundles');

/**
 * Bundles `entry`, a path from the root of the repository such as `src/store/index.ts`, with all
 * that it imports but packages. Give it to `node`, or import it from a script that `node` runs.
 *
 * @returns the path of the ES module, of its own for this process.
 */
export async function bundleModule(entry: string): Promise<string> {
  mkdirSync(BUNDLES, { recursive: true });
  const file = join(BUNDLES, `${entry.replaceAll(/[^a-zA-Z0-9]+/g, '-')}-${process.pid}.mjs`);
  const bundle = await rolldown({
    input: join(ROOT, entry),
    platform: 'node',
    // Packages stay imports; what is named by a path goes in.
    external: (id) => !id.startsWith('.') && !id.startsWith('/'),
  });
  try {
    await bundle.write({ file, format: 'esm', codeSplitting: false });
  } finally {
    await bundle.close();
  }
  return file;
}
