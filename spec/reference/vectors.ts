/**
 * Vector files: requests of page 08 with the replies that are right. What is right the reference says; whether a
 * case is one that the protocol takes or refuses says whoever wrote the case, and the two must agree.
 */

import { answer } from './answer.ts';
import type { JsonObject } from './json.ts';
import { ascii, bigEndian, hash, join } from './primitives.ts';

/** A reply without its id. */
export type Expected = { readonly ok: JsonObject } | { readonly refused: true };

export interface Case {
  readonly name: string;
  /** The clauses that the case shows. */
  readonly clause: readonly string[];
  readonly op: string;
  readonly in: JsonObject;
  readonly out: Expected;
  /** Numbers in the reply may differ by so much [CONF-8]; exact where it is absent. */
  readonly within?: number;
}

export interface VectorFile {
  readonly title: string;
  readonly clauses: readonly string[];
  readonly cases: readonly Case[];
}

/** Collects the cases of one file. Clauses are one or more, divided by blanks. */
export class CaseList {
  readonly #title: string;
  readonly #cases: Case[] = [];
  readonly #within: number | undefined;

  constructor(title: string, within?: number) {
    this.#title = title;
    this.#within = within;
  }

  /** A request that is granted; returns what the reply holds. */
  takes(name: string, clauses: string, op: string, input: JsonObject): JsonObject {
    const out = this.#add(name, clauses, op, input);
    if (!('ok' in out)) throw new Error(`${this.#title}: '${name}' is refused`);
    return out.ok;
  }

  /** A request that the protocol refuses. */
  refuses(name: string, clauses: string, op: string, input: JsonObject): void {
    const out = this.#add(name, clauses, op, input);
    if (!('refused' in out)) throw new Error(`${this.#title}: '${name}' is not refused`);
  }

  get file(): VectorFile {
    const clauses = [...new Set(this.#cases.flatMap(({ clause }) => clause))].sort(byClause);
    return { title: this.#title, clauses, cases: this.#cases };
  }

  #add(name: string, clauses: string, op: string, input: JsonObject): Expected {
    if (this.#cases.some((other) => other.name === name)) throw new Error(`'${name}' is there twice`);
    const { id: _, ...reply } = answer({ id: 0, op, ...input });
    if (!('ok' in reply || 'refused' in reply)) {
      throw new Error(`${this.#title}: '${name}': ${JSON.stringify(reply)}`);
    }
    const within = this.#within === undefined ? {} : { within: this.#within };
    this.#cases.push({ name, clause: clauses.split(' '), op, in: input, out: reply, ...within });
    return reply;
  }
}

/** The text of a file: one case a line, so that a difference shows which case differs. */
export function fileText({ title, clauses, cases }: VectorFile): string {
  const lines = cases.map((one) => `  ${JSON.stringify(one)}`);
  return `{"title":${JSON.stringify(title)},\n"clauses":${JSON.stringify(clauses)},\n"cases":[\n${lines.join(',\n')}\n]}\n`;
}

/** Bytes that look random and are the same at every run. */
export function fixedBytes(name: string, count: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let block = 0; block * 32 < count; block++) {
    blocks.push(hash(ascii(`gramline vectors ${name}`), bigEndian(block, 4)));
  }
  return join(...blocks).slice(0, count);
}

/** Bytes that count up from `from`: easy to recognise in a packet. */
export function counting(from: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => (from + index) % 256);
}

/** A copy with other bytes from `at` on. */
export function patched(bytes: Uint8Array, at: number, ...values: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy.set(values, at);
  return copy;
}

/** A copy with one bit turned. */
export function flipped(bytes: Uint8Array, at: number, bit = 0): Uint8Array {
  return patched(bytes, at, bytes[at]! ^ (1 << bit));
}

function byClause(left: string, right: string): number {
  const [leftName, leftNumber] = left.split('-');
  const [rightName, rightNumber] = right.split('-');
  if (leftName !== rightName) return leftName! < rightName! ? -1 : 1;
  return Number(leftNumber) - Number(rightNumber);
}
