/**
 * The parent's end of the benchmark's own processes: this same bundle, started again with
 * `--child`. The options go in on standard input, not in argv, as the first line of JSON; then each
 * line in is an operation, each line out its result.
 */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LOOPBACK, type Place, stopping } from './processes.ts';
import type { RoleName } from './roles/index.ts';
import { type Scope, withDeadline } from './scope.ts';

/** A coordinator may have millions of objects to read first. */
const READY_MILLIS = 300_000;
const OPERATION_MILLIS = 600_000;

export interface ChildOptions {
  readonly role: RoleName;
  readonly place?: Place;
  /** Added to the environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Flags of Node, such as `--expose-gc`. */
  readonly flags?: readonly string[];
  /** Open files that it is to be allowed. */
  readonly descriptors?: number;
  /** What its role takes. */
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface Child {
  readonly pid: number;
  /** What the role said when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Runs one operation there. Rejects with what it failed with, or when it takes too long. */
  call<Result>(operation: string, parameters?: unknown, millis?: number): Promise<Result>;
  /** Resident memory now, bytes, after garbage was collected where `--expose-gc` was given. */
  rssBytes(): Promise<number>;
  stop(): Promise<void>;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Starts a child and waits until its role is ready. It ends with `scope` at the latest. */
export async function startChild(scope: Scope, child: ChildOptions): Promise<Child> {
  const { place = LOOPBACK, role, descriptors, flags = [] } = child;
  const node = [process.execPath, ...process.execArgv, ...flags, process.argv[1]!, '--child'];
  const limited =
    descriptors === undefined ? node : ['sh', '-c', `ulimit -n ${descriptors} && exec "$0" "$@"`, ...node];
  const [command, ...parameters] = [...place.prefix, ...limited];
  const started = spawn(command!, parameters, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...child.environment },
  });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  const failAll = (why: string): void => {
    for (const { reject } of waiting.values()) reject(new Error(`${role}: ${why}`));
    waiting.clear();
  };
  started.on('error', (error) => failAll(error.message));
  started.on('exit', (code, signal) => failAll(`ended early (${signal ?? code})`));
  started.stdin!.on('error', () => undefined);
  createInterface({ input: started.stdout! }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const wait = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) wait?.resolve(result);
    else wait?.reject(new Error(`${role}: ${error}`));
  });
  const answer = <Result>(id: number, millis: number, what: string): Promise<Result> => {
    const result = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    return withDeadline(result as Promise<Result>, millis, `${role}: ${what}`);
  };
  // It ends with its input.
  const stop = stopping(scope, started, () => started.stdin!.end());
  const ready = answer<Record<string, unknown>>(0, READY_MILLIS, 'starting');
  started.stdin!.write(`${JSON.stringify({ role, options: child.options ?? {} })}\n`);
  const call = <Result>(
    operation: string,
    parameters: unknown = {},
    millis = OPERATION_MILLIS,
  ): Promise<Result> => {
    lastId += 1;
    const result = answer<Result>(lastId, millis, operation);
    started.stdin!.write(`${JSON.stringify({ id: lastId, operation, parameters })}\n`);
    return result;
  };
  return { pid: started.pid!, ready: await ready, call, rssBytes: () => call<number>('rss'), stop };
}
