/**
 * A subject: somebody's program that answers requests as lines of JSON [CONF-1]. It may be silent, talk
 * nonsense or end: each request has a deadline, and whoever hung is started anew.
 */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { refused } from '../src/cli/failures.ts';
import { CaseFailure } from './expectations.ts';
import { isObject } from './json.ts';

/** Longest line of a subject, without its end [CONF-3]. */
export const LINE_BYTES_MAX: number = 4 * 1024 * 1024;
/** How often a subject that hung or ended is started anew. */
export const STARTS_MAX = 20;
/** The same for one that has not replied once: nobody waits for a program that is no subject. */
export const SILENT_STARTS_MAX = 2;
/** What a subject has to end by itself when its input has ended. */
const END_MILLIS = 2_000;
const STDERR_SHOWN = 300;

export class SubjectProcess {
  readonly #command: readonly string[];
  #child: ChildProcessWithoutNullStreams | undefined;
  #starts = 0;
  #hasReplied = false;
  #input = '';
  #stderr = '';
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(command: readonly string[]) {
    this.#command = command;
  }

  /** How often it has been started. */
  get starts(): number {
    return this.#starts;
  }

  /** Starts the program once; rejects with one sentence when there is none. */
  async start(): Promise<void> {
    const [program, ...parameters] = this.#command;
    this.#starts += 1;
    this.#input = '';
    this.#ended = false;
    const child = spawn(program!, parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    const isCurrent = (): boolean => this.#child === child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!isCurrent()) return;
      this.#input += text;
      this.#wake?.();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_SHOWN);
    });
    // A program that ended takes no more requests: that it ended says so.
    child.stdin.on('error', () => undefined);
    child.once('close', () => {
      if (!isCurrent()) return;
      this.#ended = true;
      this.#wake?.();
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(refused(`${program} can't be started: ${error.message}`, error)));
    });
  }

  /** The reply to a request, without its id. Fails the case when there is none in time. */
  async ask(id: number, request: object, millis: number): Promise<Record<string, unknown>> {
    if (this.#child === undefined || this.#ended) await this.#startAnew();
    this.#child!.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    const line = await this.#line(millis);
    let reply: unknown;
    try {
      reply = JSON.parse(line);
    } catch {
      this.kill();
      throw new CaseFailure('a line of JSON', `'${line.slice(0, 80)}'`);
    }
    if (!isObject(reply) || reply.id !== id) {
      // What comes next would be taken for the answer to another request.
      this.kill();
      throw new CaseFailure(`a reply with the id ${id}`, line.slice(0, 80));
    }
    this.#hasReplied = true;
    const { id: _, ...rest } = reply;
    return rest;
  }

  /** Ends its input and waits a little; kills it when it stays. */
  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || this.#ended) return;
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MILLIS);
    await closed;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #startAnew(): Promise<void> {
    const most = this.#hasReplied ? STARTS_MAX : SILENT_STARTS_MAX;
    if (this.#starts < most) return this.start();
    throw new CaseFailure('a subject that runs', `it hung or ended ${most} times${this.#said}`);
  }

  get #said(): string {
    const said = this.#stderr.trim().split('\n').at(-1) ?? '';
    return said === '' ? '' : `, and said '${said}'`;
  }

  /** The next line that is not empty. */
  async #line(millis: number): Promise<string> {
    const deadline = performance.now() + millis;
    for (;;) {
      const end = this.#input.indexOf('\n');
      if (end >= 0) {
        const line = this.#input.slice(0, end).trim();
        this.#input = this.#input.slice(end + 1);
        if (line !== '') return line;
        continue;
      }
      if (this.#ended) {
        this.#child = undefined;
        throw new CaseFailure('a reply', `the subject ended${this.#said}`);
      }
      if (this.#input.length > LINE_BYTES_MAX) {
        this.kill();
        throw new CaseFailure(`a line of at most ${LINE_BYTES_MAX} bytes`, 'a longer one');
      }
      const left = deadline - performance.now();
      if (left <= 0) {
        this.kill();
        throw new CaseFailure(`a reply within ${Math.round(millis)} ms`, 'none');
      }
      await this.#news(left);
    }
  }

  #news(millis: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, millis);
      this.#wake = done;
    });
  }
}
