/**
 * A cluster of real processes on this machine, for `gramline up`: one coordinator, some nodes, a
 * fresh secret, everything below one temporary directory.
 *
 * The children end with this process, however it ends: each holds the reading end of a pipe from
 * it (see `interruption.ts`). The directory goes with them.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GramlineError } from '../base/errors.ts';
import { formatSecret, makeSecret } from '../open.ts';
import { PARENT_DIRECTORY_VARIABLE, PARENT_PID_VARIABLE } from './interruption.ts';
import { writeSecretFile } from './secret.ts';

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
const HOST = '127.0.0.1';
const FRONT_PORT = 7400;
const START_MILLIS_MAX = 15_000;
/** Children that have not ended by then are killed. */
const END_MILLIS_MAX = 1_200;
/** Kept of what a child says on stderr, for the line that tells why it ended. */
const SAID_CHARS_MAX = 4_096;

export interface LocalCluster {
  /** `host:port` of the coordinator. */
  readonly coordinator: string;
  readonly secret: Uint8Array;
  readonly secretFile: string;
  /** Removed by `close`. */
  readonly directory: string;
  /** Rejects when the coordinator ends by itself; never resolves. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

export interface LocalClusterOptions {
  readonly nodes: number;
  readonly signal: AbortSignal;
  /** Passed on to the children; their log then stands on our stderr. */
  readonly logLevel?: string | undefined;
  /** Hears of nodes that end by themselves. */
  readonly onNodeEnded: (sentence: string) => void;
}

/** Starts a cluster; resolves when all its nodes have joined. */
export async function startLocalCluster(options: LocalClusterOptions): Promise<LocalCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'gramline-up-'));
  const children: Child[] = [];
  const endNow = (): void => {
    for (const child of children) child.kill();
    rmSync(directory, { recursive: true, force: true });
  };
  process.on('exit', endNow);
  const close = async (): Promise<void> => {
    await Promise.all(children.map((child) => child.end()));
    await rm(directory, { recursive: true, force: true });
    process.off('exit', endNow);
  };
  try {
    options.signal.throwIfAborted();
    const secret = makeSecret();
    const secretFile = join(directory, 'cluster.secret');
    await writeSecretFile(secretFile, formatSecret(secret));
    const start = (title: string, command: readonly string[]): Child => {
      const log = options.logLevel === undefined ? [] : ['--log-level', options.logLevel];
      const child = new Child(title, [...command, ...log], { directory, secretFile, echo: log.length > 0 });
      children.push(child);
      return child;
    };
    const hub = start('the coordinator', [
      'coordinator',
      ...['--listen', `${HOST}:${await freeFrontPort()}`],
      ...['--state', `lmdb:${join(directory, 'catalog')}`],
    ]);
    const { address } = await hub.ready(options.signal);
    const nodes = Array.from({ length: options.nodes }, (_, index) => {
      const name = `n${index + 1}`;
      return start(`node ${name}`, [
        'node',
        ...['--directory', join(directory, name), '--name', name],
        ...['--listen', `${HOST}:0`, '--coordinators', address],
      ]);
    });
    await Promise.all(nodes.map((node) => node.ready(options.signal)));
    for (const node of nodes) node.ended.then(options.onNodeEnded, () => undefined);
    const failed = hub.ended.then((sentence): never => {
      throw new GramlineError('GRAMLINE_CLOSED', sentence);
    });
    failed.catch(() => undefined);
    return { coordinator: address, secret, secretFile, directory, failed, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Ready {
  readonly address: string;
}

interface ChildSurroundings {
  readonly directory: string;
  readonly secretFile: string;
  /** Whether its stderr is shown. */
  readonly echo: boolean;
}

/** One process of the cluster. */
class Child {
  /** Resolves to a sentence when the process ends without being told to; never when it is told. */
  readonly ended: Promise<string>;
  readonly #title: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #firstLine: Promise<string>;
  #said = '';
  #isEnding = false;

  constructor(title: string, command: readonly string[], surroundings: ChildSurroundings) {
    this.#title = title;
    this.#process = spawn(process.execPath, [MAIN, ...command, '--json'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        GRAMLINE_SECRET_FILE: surroundings.secretFile,
        GRAMLINE_ADMISSION_SECRET_FILE: '',
        [PARENT_DIRECTORY_VARIABLE]: surroundings.directory,
        [PARENT_PID_VARIABLE]: String(process.pid),
      },
    });
    const { stdin, stdout, stderr } = this.#process;
    stdin!.on('error', () => undefined);
    stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-SAID_CHARS_MAX);
      if (surroundings.echo) process.stderr.write(text);
    });
    this.#firstLine = new Promise((resolve) => {
      let text = '';
      stdout!.setEncoding('utf8').on('data', (more: string) => {
        text += more;
        if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
      });
    });
    let failure = '';
    this.#exited = new Promise((resolve) => {
      this.#process.on('error', (error) => {
        failure = error.message;
        resolve();
      });
      this.#process.on('close', () => resolve());
    });
    this.ended = new Promise((resolve) => {
      void this.#exited.then(() => {
        if (!this.#isEnding) resolve(`${this.#title} ended: ${failure || this.#lastWords()}`);
      });
    });
  }

  /** What it says when it is ready. Rejects when it ends before, or takes too long. */
  async ready(signal: AbortSignal): Promise<Ready> {
    let cancel = (): void => undefined;
    const gaveUp = new Promise<never>((_, reject) => {
      const timer = setTimeout(() => {
        const why = `${this.#title} was not ready after ${START_MILLIS_MAX / 1000} s: ${this.#lastWords()}`;
        reject(new GramlineError('GRAMLINE_TIMEOUT', why));
      }, START_MILLIS_MAX);
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      cancel = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
    });
    const failed = this.ended.then((sentence): never => {
      throw new GramlineError('GRAMLINE_CLOSED', sentence);
    });
    try {
      signal.throwIfAborted();
      return JSON.parse(await Promise.race([this.#firstLine, gaveUp, failed])) as Ready;
    } finally {
      gaveUp.catch(() => undefined);
      failed.catch(() => undefined);
      cancel();
    }
  }

  /** Asks it to end, then makes it. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#process.stdin!.end();
    const timer = setTimeout(() => this.kill(), END_MILLIS_MAX);
    await this.#exited;
    clearTimeout(timer);
  }

  kill(): void {
    this.#isEnding = true;
    this.#process.kill('SIGKILL');
  }

  /** The last line that it wrote to stderr for people, or how it ended. */
  #lastWords(): string {
    const lines = this.#said.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
    const last = lines.at(-1)?.replace(/^gramline: /, '');
    const { exitCode, signalCode } = this.#process;
    return last ?? (signalCode === null ? `exit code ${exitCode}` : `killed by ${signalCode}`);
  }
}

/** The default front port if it is free, else 0: any. */
async function freeFrontPort(): Promise<number> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    socket.once('error', () => {
      socket.close();
      resolve(0);
    });
    socket.bind({ address: HOST, port: FRONT_PORT, exclusive: true }, () => {
      socket.close(() => resolve(FRONT_PORT));
    });
  });
}
