/** Where the files stand that go with the program: it runs from `fuzz/`, and from a bundle below `dist/`. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What tells the folder of the specification from others of its name. */
const SPEC_PAGE = '01-packets.md';

/** The folder `spec/` of the repository or the package that this program is part of; undefined without one. */
export function specFolder(from: string = fileURLToPath(import.meta.url)): string | undefined {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const spec = join(folder, 'spec');
    if (existsSync(join(spec, SPEC_PAGE))) return spec;
    if (folder === dirname(folder)) return undefined;
  }
}
