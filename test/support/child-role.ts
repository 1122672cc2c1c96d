/**
 * Coordinators and nodes as processes of their own, which a test can kill: plain Node runs a bundle
 * of our sources. What they are to do, secrets included, reaches them by IPC and not by argv.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { TransferCounts } from '../../src/nodes/ports.ts';
import { bundleModule } from './bundle.ts';

export interface ChildSpec {
  /** A `mover` is a client that puts and gets `moveBytes` random bytes, says how it went, and ends. */
  readonly kind: 'coordinator' | 'node' | 'mover';
  readonly secret: Uint8Array;
  readonly admissionSecret?: Uint8Array | undefined;
  readonly directory?: string;
  readonly moveBytes?: number;
  /** Network namespace to run in. */
  readonly netns?: string;
  readonly listen?: string;
  /** For nodes. */
  readonly coordinators?: readonly string[];
  readonly name?: string;
  readonly idleMillis?: number;
}

/** Runs in the child. The parent's end is the child's end, too. */
const RUNNER = `
  const { openClient, openCoordinator, openNode } = await import(process.env.GRAMLINE_TEST_BUNDLE);
  const { createHash, randomBytes } = await import('node:crypto');
  const move = async (options) => {
    const app = await openClient(options);
    const object = randomBytes(options.moveBytes);
    let at = performance.now();
    const { hash } = await app.put(object, { replicas: 1 });
    const putSeconds = (performance.now() - at) / 1000;
    at = performance.now();
    const digest = createHash('sha256');
    for await (const part of app.get(hash)) digest.update(part);
    const getSeconds = (performance.now() - at) / 1000;
    const isSame = digest.digest('hex') === createHash('sha256').update(object).digest('hex');
    const { counts } = app;
    await app.close();
    return { putSeconds, getSeconds, isSame, counts };
  };
  process.on('disconnect', () => process.exit(0));
  process.once('message', async (spec) => {
    const bytes = (hex) => hex === undefined ? undefined : new Uint8Array(Buffer.from(hex, 'hex'));
    const { kind, secret, admissionSecret, ...rest } = spec;
    const options = { ...rest, secret: bytes(secret) };
    if (admissionSecret !== undefined) options.admissionSecret = bytes(admissionSecret);
    try {
      if (kind === 'mover') return process.send({ address: '', moved: await move(options) });
      const role = await (kind === 'node' ? openNode : openCoordinator)(options);
      if (kind === 'node') await role.joined;
      process.send({ address: role.address });
    } catch (error) {
      process.send({ error: String(error) });
    }
  });
`;

let bundle: Promise<string> | undefined;

export interface Moved {
  readonly putSeconds: number;
  readonly getSeconds: number;
  readonly isSame: boolean;
  readonly counts: TransferCounts;
}

interface Answer {
  readonly address?: string;
  readonly moved?: Moved;
  readonly error?: string;
}

export class ChildRole {
  readonly address: string;
  /** What a mover said. */
  readonly moved: Moved | undefined;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  private constructor(child: ChildProcess, ended: Promise<void>, { address, moved }: Answer) {
    this.#child = child;
    this.#ended = ended;
    this.address = address!;
    this.moved = moved;
  }

  /** Starts the process; resolves when it listens, and a node when it has joined. */
  static async start(spec: ChildSpec): Promise<ChildRole> {
    bundle ??= bundleModule('src/index.ts');
    const node = [process.execPath, '--input-type=module', '--eval', RUNNER];
    const [command, ...args] = spec.netns === undefined ? node : ['ip', 'netns', 'exec', spec.netns, ...node];
    const child = spawn(command!, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { PATH: process.env.PATH, GRAMLINE_TEST_BUNDLE: await bundle },
    });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const answer = new Promise<Answer>((resolve) => {
      child.once('message', (message) => resolve(message as Answer));
      void ended.then(() => resolve({ error: 'it ended' }));
    });
    const hex = (bytes: Uint8Array | undefined) =>
      bytes === undefined ? undefined : Buffer.from(bytes).toString('hex');
    child.send({ ...spec, secret: hex(spec.secret), admissionSecret: hex(spec.admissionSecret) });
    const said = await answer;
    if (said.address === undefined) {
      child.kill('SIGKILL');
      throw new Error(`a child ${spec.kind} failed: ${said.error}`);
    }
    return new ChildRole(child, ended, said);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** kill -9; resolves when the process is gone. Harmless twice. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
