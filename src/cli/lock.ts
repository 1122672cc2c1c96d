/**
 * `gramline lock`: runs a command while a lock is held.
 *
 *   waiting -- held --> running -- the command ends --> given back, exit code of the command
 *   waiting -- signal, or too late --> exit 1      running -- lost --> SIGTERM, SIGKILL --> exit 1
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { isGramlineError } from '../base/errors.ts';
import type { HeldLock } from '../nodes/client.ts';
import { parseSeconds } from './arguments.ts';
import { CommandEnded, ExitCode, InterruptedError, refused } from './failures.ts';
import { type ClusterOptions, withClient, withOpenClient } from './options.ts';
import { printJson, secondsSince } from './output.ts';

/** The fencing token of the lock, for the command [LOCK-4]. */
const FENCING_VARIABLE = 'GRAMLINE_FENCING_TOKEN';
const LEASE_SECONDS_MAX = 3_600;
const WAIT_SECONDS_MAX = 31_536_000;
/** A command that is told to end has so long until it is killed. */
const KILL_MILLIS = 5_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
/** What shells add to the number of the signal that ended a command. */
const SIGNAL_EXIT_BASE = 128;

interface LockCommandOptions extends ClusterOptions {
  readonly shared?: boolean;
  readonly wait?: number;
  readonly lease?: number;
}

export function addLockCommand(program: Command): void {
  withClient(program.command('lock').description('run a command while a lock is held'))
    .usage('[options] NAME -- COMMAND...')
    .argument('<NAME>', '1 to 80 bytes')
    .argument(
      '<COMMAND...>',
      `finds ${FENCING_VARIABLE} in its environment; its exit code is that of this one`,
    )
    .option('--shared', 'others may hold the lock too, where they say --shared')
    .option(
      '--wait <SECONDS>',
      'give up after this; 0 asks once (default: wait for as long as it takes)',
      (text) => parseSeconds(text, '--wait', 0, WAIT_SECONDS_MAX),
    )
    .option('--lease <SECONDS>', 'how long the lock outlasts this program, 1 to 3600 (default: 10)', (text) =>
      parseSeconds(text, '--lease', 1, LEASE_SECONDS_MAX),
    )
    .action(lock);
}

async function lock(name: string, command: readonly string[], options: LockCommandOptions): Promise<void> {
  const signals = new PassedSignals();
  const exitCode = await withOpenClient(options, async (client) => {
    const held = await client.lock(name, {
      shared: options.shared,
      leaseMillis: options.lease === undefined ? undefined : Math.round(options.lease * 1_000),
      timeoutMillis: options.wait === undefined ? undefined : options.wait * 1_000,
      signal: signals.interrupted,
    });
    const startedAt = performance.now();
    const exitCode = await runHeld(held, command, signals);
    const { fencing } = held;
    if (options.json === true) printJson({ name, fencing, heldSeconds: secondsSince(startedAt), exitCode });
    return exitCode;
  });
  if (exitCode !== 0) throw new CommandEnded(exitCode);
}

/** Runs the command to its end, and gives the lock back. */
async function runHeld(held: HeldLock, command: readonly string[], signals: PassedSignals): Promise<number> {
  const [file, ...parameters] = command;
  let kill: NodeJS.Timeout | undefined;
  try {
    const child = spawn(file!, parameters, {
      stdio: 'inherit',
      env: { ...process.env, [FENCING_VARIABLE]: String(held.fencing) },
    });
    const end = (): void => {
      child.kill('SIGTERM');
      kill = setTimeout(() => child.kill('SIGKILL'), KILL_MILLIS);
    };
    held.signal.addEventListener('abort', end, { once: true });
    if (held.signal.aborted) end();
    signals.passTo(child);
    const exitCode = await ended(child, file!);
    if (held.signal.aborted) throw lostError(held, file!);
    return exitCode;
  } finally {
    clearTimeout(kill);
    // A lock that cannot be given back now ends by its lease: how the command ended says more.
    await held.release().catch(() => undefined);
  }
}

function ended(child: ChildProcess, file: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'ENOENT' ? 'no such command' : error.message;
      reject(refused(`cannot run ${file}: ${why}`, error));
    });
    child.once('exit', (code, signal) => {
      resolve(code ?? SIGNAL_EXIT_BASE + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

function lostError(held: HeldLock, file: string): Error {
  const { reason } = held.signal;
  const why = isGramlineError(reason) ? reason.message : `the lock ${held.name} is lost`;
  return refused(`${why}; ${file} was told to end`, reason);
}

/** Signals end the wait for the lock; once the command runs they are passed on to it, and it decides. */
class PassedSignals {
  readonly #interrupted = new AbortController();
  #child: ChildProcess | undefined;

  constructor() {
    for (const name of SIGNALS) process.on(name, () => this.#onSignal(name));
  }

  /** Aborts at the first signal before a command runs. */
  get interrupted(): AbortSignal {
    return this.#interrupted.signal;
  }

  passTo(child: ChildProcess): void {
    this.#child = child;
    // One that came just before it ran.
    if (this.interrupted.aborted) child.kill('SIGTERM');
  }

  #onSignal(name: NodeJS.Signals): void {
    if (this.#child !== undefined) {
      // A terminal sends what is typed to the command as well.
      const isTyped = process.stdin.isTTY === true && (name === 'SIGINT' || name === 'SIGQUIT');
      if (!isTyped) this.#child.kill(name);
      return;
    }
    if (this.interrupted.aborted) process.exit(ExitCode.FAILED);
    this.#interrupted.abort(new InterruptedError(`interrupted by ${name}`));
  }
}
