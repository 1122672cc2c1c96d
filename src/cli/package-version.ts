/** The version of this package. */

import { readFileSync } from 'node:fs';

/** Relative to `dist/cli/` and to `src/cli/` alike. */
const PACKAGE = new URL('../../package.json', import.meta.url);

export function version(): string {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { readonly version: string };
  return version;
}
