/** `gramline secret`: makes one. */

import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatSecret, makeSecret } from '../open.ts';
import { refused } from './failures.ts';
import { type OutputOptions, withOutput } from './options.ts';
import { print, printJson } from './output.ts';

/** Its owner, and nobody else. */
const SECRET_FILE_MODE = 0o600;

interface SecretOptions extends OutputOptions {
  readonly out?: string;
}

export function addSecretCommand(program: Command): void {
  withOutput(program.command('secret').description('make a cluster secret'))
    .option('-o, --out <FILE>', 'write it to a new file that only you can read')
    .action(makeSecretFile);
}

async function makeSecretFile(options: SecretOptions): Promise<void> {
  const text = formatSecret(makeSecret());
  const { out } = options;
  if (out === undefined) {
    if (options.json === true) printJson({ secret: text.trim() });
    else process.stdout.write(text);
    return;
  }
  await writeSecretFile(out, text);
  if (options.json === true) printJson({ file: out });
  else print(`wrote a new secret to ${out}: copy it to every machine of the cluster`);
}

/** Writes a secret to a file that must not exist yet. */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'wx', SECRET_FILE_MODE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw refused(`${path} exists: a secret is never overwritten, choose another name`, error);
  }
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
