/** Peers for the conformance runner: our own roles, whole or with one line changed, as processes. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));
const BUNDLES = join(ROOT, 'node_modules', '.cache', 'gramline-peers');

/** One line of our source, and what stands there instead. */
export interface Change {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Runs in the child. The parent's end is the child's end, too. */
const RUNNER = `
  const { openCoordinator, openNode } = await import(process.env.GRAMLINE_TEST_BUNDLE);
  process.on('disconnect', () => process.exit(0));
  process.once('message', async ({ role, secret, reader, ...rest }) => {
    const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'));
    const all = { read: true, write: true, node: true, admin: true };
    const secrets = [{ secret: bytes(secret), rights: all }];
    if (reader !== undefined) secrets.push({ secret: bytes(reader), rights: { read: true } });
    const options = { ...rest, secret: secrets, listen: '127.0.0.1:0' };
    try {
      const opened = await (role === 'node' ? openNode : openCoordinator)(options);
      process.send({ address: opened.address });
    } catch (error) {
      process.send({ error: String(error) });
    }
  });
`;

/** How often the text that a change replaces stands in its file. */
export function occurrences({ file, find }: Change): number {
  return readFileSync(join(ROOT, file), 'utf8').split(find).length - 1;
}

/** Bundles our library, with one line changed where a change is given. */
export async function bundlePeer(change?: Change): Promise<string> {
  mkdirSync(BUNDLES, { recursive: true });
  const name = createHash('sha256')
    .update(JSON.stringify([ROOT, change ?? 'whole']))
    .digest('hex');
  const file = join(BUNDLES, `${name.slice(0, 16)}-${process.pid}.mjs`);
  const bundle = await rolldown({
    input: join(ROOT, 'src/index.ts'),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/'),
    plugins: change === undefined ? [] : [changing(change)],
  });
  try {
    await bundle.write({ file, format: 'esm', codeSplitting: false });
  } finally {
    await bundle.close();
  }
  return file;
}

/** Gives the bundler the changed text of one file. */
function changing({ file, find, replace }: Change) {
  const path = join(ROOT, file);
  return {
    name: 'change-one-line',
    load: (id: string) =>
      id === path
        ? { code: readFileSync(path, 'utf8').replace(find, () => replace), moduleType: 'ts' as const }
        : undefined,
  };
}

export interface PeerOptions {
  readonly role: 'coordinator' | 'node';
  /** The bundle that it runs. */
  readonly bundle: string;
  readonly secret: Uint8Array;
  /** A second secret, which carries the right to read alone. */
  readonly reader?: Uint8Array;
}

/** A coordinator, or a node that never finds one, on a free port of loopback. */
export class Peer {
  readonly address: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(child: ChildProcess, directory: string, address: string) {
    this.#child = child;
    this.#directory = directory;
    this.address = address;
  }

  static async start({ role, bundle, secret, reader }: PeerOptions): Promise<Peer> {
    const directory = await mkdtemp(join(tmpdir(), 'gramline-peer-'));
    const child = spawn(process.execPath, ['--input-type=module', '--eval', RUNNER], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { PATH: process.env.PATH, GRAMLINE_TEST_BUNDLE: bundle },
    });
    const answer = await new Promise<{ address?: string; error?: string }>((resolve) => {
      child.once('message', (message) => resolve(message as { address?: string; error?: string }));
      child.once('exit', () => resolve({ error: 'it ended' }));
      // The discard port: nothing answers there, and a node serves without a coordinator.
      const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
      const secrets = { secret: hex(secret), ...(reader === undefined ? {} : { reader: hex(reader) }) };
      child.send({ role, directory, coordinators: ['127.0.0.1:9'], ...secrets });
    });
    if (answer.address === undefined) {
      child.kill('SIGKILL');
      throw new Error(`a ${role} did not start: ${answer.error}`);
    }
    return new Peer(child, directory, answer.address);
  }

  async end(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A client that asks one question of the coordinator that it is pointed at. */
const CLIENT = `
  const [bundle, address, secret] = process.argv.slice(1);
  const { openClient } = await import(bundle);
  const client = await openClient({ coordinators: [address], secret: new Uint8Array(Buffer.from(secret, 'hex')) });
  await client.whereIs('a'.repeat(64)).catch(() => undefined);
  await client.close();
`;

/** The command of such a client; `{address}` is for the runner to replace. The secret is good for one test. */
export function clientCommand(bundle: string, secret: Uint8Array): readonly string[] {
  return commandOf(CLIENT, bundle, secret);
}

/** A node that joins the coordinator that it is pointed at, and stays. */
const NODE = `
  const [bundle, address, secret, directory] = process.argv.slice(1);
  const { openNode } = await import(bundle);
  await openNode({
    coordinators: [address],
    secret: new Uint8Array(Buffer.from(secret, 'hex')),
    directory,
    listen: '127.0.0.1:0',
  });
`;

/** The command of such a node; `{address}` and `{scratch}` are for the runner to replace. */
export function nodeCommand(bundle: string, secret: Uint8Array): readonly string[] {
  return [...commandOf(NODE, bundle, secret), '{scratch}'];
}

function commandOf(program: string, bundle: string, secret: Uint8Array): readonly string[] {
  const hex = Buffer.from(secret).toString('hex');
  return [process.execPath, '--input-type=module', '--eval', program, bundle, '{address}', hex];
}

export function randomSecret(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}
