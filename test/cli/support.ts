/** Runs the built `gramline` as people do: as a process, judged by its output and exit code. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const RUN_MILLIS_MAX = 25_000;
const OWN_VARIABLES = /^(?:GRAMLINE_|NO_COLOR$|FORCE_COLOR$)/;

// Not built from here: several test files start at once.
if (!existsSync(MAIN)) throw new Error('there is no dist/: run npm test, or node scripts/prepare.mjs first');

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

/** Everything that any process of this test file has printed, and every command line. */
export const transcript: string[] = [];
const running = new Set<Started>();

/** A process under way. */
export class Started {
  readonly process: ChildProcessWithoutNullStreams;
  readonly finished: Promise<Finished>;
  stdout = '';
  stderr = '';

  constructor(parameters: readonly string[], options: RunOptions = {}) {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN_VARIABLES.test(name)));
    this.process = spawn(process.execPath, [MAIN, ...parameters], {
      cwd: options.cwd ?? tmpdir(),
      env: { ...env, ...options.env },
    });
    running.add(this);
    transcript.push(parameters.join(' '));
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.process.stdin.on('error', () => undefined);
    if (options.input !== undefined) this.process.stdin.end(options.input);
    this.finished = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        running.delete(this);
        transcript.push(this.stdout, this.stderr);
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** Resolves when stdout and stderr together match; rejects when the process ends before. */
  async says(pattern: RegExp): Promise<string> {
    const isEnded = this.finished.then(() => true);
    for (;;) {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match !== null) return match[1] ?? match[0];
      const more = new Promise<false>((resolve) => {
        for (const stream of [this.process.stdout, this.process.stderr])
          stream.once('data', () => resolve(false));
      });
      if ((await Promise.race([more, isEnded])) && !pattern.test(this.stdout + this.stderr)) {
        throw new Error(`it ended without saying ${pattern}: ${this.stdout}${this.stderr}`);
      }
    }
  }

  /** Sends a signal and waits; returns how it ended and after how many milliseconds. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished & { readonly millis: number }> {
    const startedAt = performance.now();
    this.process.kill(signal);
    return { ...(await this.finished), millis: performance.now() - startedAt };
  }
}

/** Runs a command to its end. */
export async function gramline(parameters: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const started = new Started(parameters, { input: '', ...options });
  const timer = setTimeout(() => started.process.kill('SIGKILL'), RUN_MILLIS_MAX);
  try {
    return await started.finished;
  } finally {
    clearTimeout(timer);
  }
}

/** Ends what tests left running. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((started) => started.end('SIGKILL')));
}

/** A temporary directory of one test file. */
export async function scratch(): Promise<{
  readonly path: (name: string) => string;
  readonly remove: () => Promise<void>;
}> {
  const directory = await mkdtemp(join(tmpdir(), 'gramline-test-'));
  return {
    path: (name) => join(directory, name),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** A running cluster of CLI processes, and the environment that leads to it. */
export interface CliCluster {
  readonly env: Readonly<Record<string, string>>;
  readonly coordinator: Started;
  readonly address: string;
  readonly nodes: readonly Started[];
  readonly secretHex: string;
}

export async function startCluster(
  path: (name: string) => string,
  options: { readonly nodes: number; readonly quota: string; readonly coordinator?: readonly string[] },
): Promise<CliCluster> {
  const secretFile = path('cluster.secret');
  await gramline(['secret', '-o', secretFile]);
  const secretHex = (await readFile(secretFile, 'utf8')).trim();
  const own = { GRAMLINE_SECRET_FILE: secretFile };
  const coordinator = new Started(
    [
      'coordinator',
      '--listen',
      '127.0.0.1:0',
      '--state',
      `lmdb:${path('catalog')}`,
      ...(options.coordinator ?? []),
    ],
    { env: own },
  );
  const address = await coordinator.says(/ready on (\S+:\d+)/);
  const env = { ...own, GRAMLINE_COORDINATORS: address };
  const nodes = Array.from({ length: options.nodes }, (_, index) => {
    const name = `n${index + 1}`;
    const where = ['--directory', path(name), '--name', name, '--listen', '127.0.0.1:0'];
    return new Started(['node', ...where, '--quota', options.quota], { env });
  });
  await Promise.all(nodes.map((node) => node.says(/ready on/)));
  return { env, coordinator, address, nodes, secretHex };
}

/** Whether a process lives; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Looks again every 20 ms until `holds`; for what other processes do. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  millisMax = 5_000,
): Promise<void> {
  const deadline = performance.now() + millisMax;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${millisMax} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The one line that a refusal is. */
export function reason(finished: Finished): string {
  const lines = finished.stderr.split('\n').filter((line) => line !== '');
  if (lines.length !== 1) throw new Error(`not one line on stderr: ${finished.stderr}`);
  return lines[0]!;
}
