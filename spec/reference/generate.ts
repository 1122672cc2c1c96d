/**
 * Writes the vector files: `node scripts/run-ts.mjs spec/reference/generate.ts`. With `--check` it writes nothing,
 * compares, and ends with 1 when a file differs from what it would write.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { vectorFiles } from './all-vectors.ts';
import { fileText } from './vectors.ts';

const FOLDER = resolve('spec', 'vectors');

const isCheck = process.argv.slice(2).includes('--check');
const texts = new Map(Object.entries(vectorFiles()).map(([name, file]) => [`${name}.json`, fileText(file)]));
mkdirSync(FOLDER, { recursive: true });
const strangers = readdirSync(FOLDER).filter((name) => name.endsWith('.json') && !texts.has(name));
const differing = [...texts].filter(([name, text]) => {
  const path = join(FOLDER, name);
  return !existsSync(path) || readFileSync(path, 'utf8') !== text;
});
if (isCheck) {
  for (const name of [...differing.map(([name]) => name), ...strangers])
    console.error(`spec/vectors/${name} differs`);
  process.exitCode = differing.length + strangers.length > 0 ? 1 : 0;
} else {
  for (const [name, text] of differing) writeFileSync(join(FOLDER, name), text);
  for (const name of strangers) rmSync(join(FOLDER, name));
}
console.log(`${texts.size} files, ${differing.length + strangers.length} ${isCheck ? 'differ' : 'written'}`);
