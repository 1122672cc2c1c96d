/** Programs of others: found, started, waited for and stopped. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { type Scope, withDeadline } from './scope.ts';

export { findProgram } from '../lab/programs.ts';

/** Where a process runs: on this machine as it is, or in a network namespace. */
export interface Place {
  /** The address at which processes in other places reach it. */
  readonly host: string;
  /** What stands before a command so that it runs there. */
  readonly prefix: readonly string[];
}

export const LOOPBACK: Place = { host: '127.0.0.1', prefix: [] };

const STOP_MILLIS = 5_000;
const KILL_MILLIS = 2_000;
const PROBE_MILLIS = 20;
const OUTPUT_CHARS_MAX = 4_000;

export interface Program {
  readonly process: ChildProcess;
  /** The last that it wrote to both of its outputs. */
  output(): string;
  stop(): Promise<void>;
}

/** Starts a program that is stopped with `scope` at the latest. */
export function startProgram(
  scope: Scope,
  command: string,
  parameters: readonly string[],
  options: { readonly cwd?: string; readonly place?: Place } = {},
): Program {
  const [first, ...rest] = [...(options.place ?? LOOPBACK).prefix, command, ...parameters];
  const child = spawn(first!, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let text = '';
  const collect = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout!.on('data', collect);
  child.stderr!.on('data', collect);
  child.on('error', (error) => {
    text += error.message;
  });
  const stop = stopping(scope, child);
  return { process: child, output: () => text.trim(), stop };
}

/** Ends `child` with `scope`, politely and then not. Returns what ends it sooner. */
export function stopping(
  scope: Scope,
  child: ChildProcess,
  ask: () => void = () => child.kill('SIGTERM'),
): () => Promise<void> {
  const forget = scope.inEmergency(() => child.kill('SIGKILL'));
  const isOver = (): boolean =>
    child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    if (!isOver()) {
      const exit = once(child, 'exit');
      ask();
      try {
        await withDeadline(exit, STOP_MILLIS, 'stopping a process');
      } catch {
        child.kill('SIGKILL');
        await withDeadline(exit, KILL_MILLIS, 'killing a process');
      }
    }
    forget();
  };
  const once_ = (): Promise<void> => {
    stopped ??= stop();
    return stopped;
  };
  scope.defer(once_);
  return once_;
}

/**
 * Runs a program to its end. Resolves to the seconds from its start to its end.
 *
 * @throws when it fails, with the end of what it said, or takes longer than `millis`
 */
export async function runProgram(
  scope: Scope,
  command: string,
  parameters: readonly string[],
  options: { readonly millis: number; readonly cwd?: string; readonly place?: Place },
): Promise<{ readonly seconds: number; readonly output: string }> {
  const start = performance.now();
  const program = startProgram(scope, command, parameters, options);
  try {
    const [code, signal] = await withDeadline(
      once(program.process, 'close') as Promise<[number | null, string | null]>,
      options.millis,
      command,
    );
    const seconds = (performance.now() - start) / 1000;
    if (code !== 0) throw new Error(`${command} ended with ${signal ?? code}: ${program.output()}`);
    return { seconds, output: program.output() };
  } finally {
    await program.stop();
  }
}

/** Resolves when `isReady` holds; asks every few milliseconds. */
export async function until(
  isReady: () => boolean | Promise<boolean>,
  millis: number,
  what: () => string,
): Promise<void> {
  const end = performance.now() + millis;
  while (!(await isReady())) {
    if (performance.now() > end) throw new Error(`not ready within ${millis / 1000} s: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, PROBE_MILLIS));
  }
}

/** A TCP port of the loopback that nothing uses now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' ? address!.port : 0;
}

/** A UDP port that nothing uses now. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

/** Whether something has that UDP port: as the kernel lists it, because nothing answers there. */
export function hasUdpPort(port: number): boolean {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['/proc/net/udp', '/proc/net/udp6'].some((path) => {
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
    return lines.some((line) => line.trim().split(/\s+/)[1]?.endsWith(ending));
  });
}

/** Whether something accepts TCP connections there. */
export async function accepts(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
