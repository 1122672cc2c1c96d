/** What is said to etcd's JSON gateway and what it answers: keys, transactions, ranges, watches. */

import { utf8 } from '../base/bytes.ts';
import type { Comparison, StateChange, StateOperation } from '../nodes/ports.ts';
import { EtcdRefusal } from './etcd-errors.ts';

/** Where the keys of a state stand among those of others. */
export const ETCD_PREFIX = 'gramline/';

/** The names that a state has in etcd, in base64 where they are ready to be sent. */
export class EtcdKeys {
  /** Version of the keys and values, a decimal number in text. */
  readonly format: string;
  /** 16 bytes. */
  readonly clusterId: string;
  /** Written for its revision alone. */
  readonly mark: string;
  /** All of it. */
  readonly start: string;
  readonly end: string;
  /** Behind the last entry. */
  readonly entriesEnd: string;
  readonly #entries: Uint8Array;

  constructor(prefix: string) {
    const name = (rest: string): Uint8Array => utf8(prefix + rest);
    this.format = toBase64(name('m/format'));
    this.clusterId = toBase64(name('m/cluster-id'));
    this.mark = toBase64(name('m/mark'));
    this.start = toBase64(name(''));
    this.end = toBase64(behind(name('')));
    this.#entries = name('e/');
    this.entriesEnd = toBase64(behind(this.#entries));
  }

  /** The name of an entry; of the first one for an empty key. */
  entry(key: Uint8Array): string {
    const bytes = Buffer.allocUnsafe(this.#entries.length + key.length);
    bytes.set(this.#entries);
    bytes.set(key, this.#entries.length);
    return bytes.toString('base64');
  }

  /** The key of an entry, from its whole name; undefined for what is none. */
  keyOf(name: Uint8Array): Uint8Array | undefined {
    const { length } = this.#entries;
    if (name.length <= length) return undefined;
    for (let index = 0; index < length; index++) if (name[index] !== this.#entries[index]) return undefined;
    return name.subarray(length);
  }
}

/** A commit, ready to be sent. */
export interface EtcdCommit {
  /** Comparisons and operations as a transaction: the inside of a JSON object. */
  readonly text: string;
  /** Names of the keys that are compared. */
  readonly reads: readonly string[];
  /** Names of the keys that are written. */
  readonly writes: readonly string[];
  /** Whether it needs a request of its own. */
  readonly isAlone: boolean;
}

/**
 * Comparisons of one commit, and operations in one piece of it. etcd takes 128 of either in a transaction,
 * less what the transactions around it have: half of that is for commits that share a request,
 * and for the pieces of a long one.
 */
export const PIECE_PARTS_MAX = 64;

/** Copies everything. Of several operations on one key only the last stays: etcd takes one a request. */
export function encodeCommit(
  keys: EtcdKeys,
  compare: readonly Comparison[],
  operations: readonly StateOperation[],
): EtcdCommit {
  const reads: string[] = [];
  const comparisons: string[] = [];
  for (const { key, equals } of compare) {
    const name = keys.entry(key);
    reads.push(name);
    comparisons.push(
      equals === undefined
        ? `{"key":"${name}","target":"CREATE","create_revision":"0"}`
        : `{"key":"${name}","target":"VALUE","value":"${toBase64(equals)}"}`,
    );
  }
  const last = new Map<string, string>();
  let isLeased = false;
  for (const { key, value, lease } of operations) {
    // Most commits write what they compare.
    const name = compare[0]?.key === key ? reads[0]! : keys.entry(key);
    last.set(name, operationOf(name, value, lease?.id));
    isLeased ||= lease !== undefined;
  }
  const changes = [...last.values()];
  const isLong = changes.length > PIECE_PARTS_MAX;
  return {
    text: `"compare":[${comparisons.join()}],"success":[${(isLong ? piecesOf(changes) : changes).join()}]`,
    reads,
    writes: [...last.keys()],
    // An unknown lease fails the whole request, and so would the others in it.
    isAlone: isLong || isLeased,
  };
}

function operationOf(name: string, value: Uint8Array | undefined, lease: string | undefined): string {
  if (value === undefined) return `{"request_delete_range":{"key":"${name}"}}`;
  const suffix = lease === undefined ? '' : `,"lease":"${lease}"`;
  return `{"request_put":{"key":"${name}","value":"${toBase64(value)}"${suffix}}}`;
}

/** Transactions that compare nothing: more operations than one may have. */
function piecesOf(changes: readonly string[]): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < changes.length; at += PIECE_PARTS_MAX)
    pieces.push(`{"request_txn":{"success":[${changes.slice(at, at + PIECE_PARTS_MAX).join()}]}}`);
  return pieces;
}

/** One request for several commits, none of which writes what another one compares or writes. */
export function encodeBatch(commits: readonly EtcdCommit[]): string {
  if (commits.length === 1) return `{${commits[0]!.text}}`;
  return `{"success":[${commits.map(({ text }) => `{"request_txn":{${text}}}`).join()}]}`;
}

export interface BatchAnswer {
  readonly revision: number;
  /** Whether its comparisons held, for each commit. */
  readonly held: readonly boolean[];
  /** Whether anything was written: then a watcher is told of `revision`. */
  readonly wrote: boolean;
}

interface TxnAnswer {
  readonly header?: { readonly revision?: string };
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_put?: unknown;
    readonly response_delete_range?: { readonly deleted?: string };
    readonly response_txn?: TxnAnswer;
    readonly response_range?: RangeAnswer;
  }[];
}

/** @throws EtcdRefusal when it does not fit `count` commits */
export function decodeBatch(answer: unknown, count: number): BatchAnswer {
  const txn = answer as TxnAnswer;
  const responses = txn.responses ?? [];
  if (count > 1 && responses.length !== count) throw new EtcdRefusal('an answer for other commits', 0);
  // What is false, zero or empty is left out of its JSON.
  const held =
    count === 1
      ? [txn.succeeded === true]
      : responses.map((response) => response.response_txn?.succeeded === true);
  return { revision: revisionOf(txn), held, wrote: hasWritten(txn) };
}

function hasWritten({ responses }: TxnAnswer): boolean {
  return (responses ?? []).some(
    ({ response_put, response_delete_range, response_txn }) =>
      response_put !== undefined ||
      response_delete_range?.deleted !== undefined ||
      (response_txn !== undefined && hasWritten(response_txn)),
  );
}

/** @throws EtcdRefusal when the answer carries none */
export function revisionOf(answer: unknown): number {
  const revision = Number((answer as TxnAnswer).header?.revision);
  if (!Number.isSafeInteger(revision)) throw new EtcdRefusal('an answer without a revision', 0);
  return revision;
}

interface EtcdEntry {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision?: string;
}

interface RangeAnswer {
  readonly kvs?: readonly EtcdEntry[];
  readonly more?: boolean;
}

export interface Page {
  readonly revision: number;
  readonly entries: readonly (readonly [Uint8Array, Uint8Array])[];
  readonly more: boolean;
}

/** Entries from `start` on, as they were at `revision`, or now. */
export function encodeRange(keys: EtcdKeys, start: Uint8Array, limit: number, revision?: number): string {
  return JSON.stringify({
    key: keys.entry(start),
    range_end: keys.entriesEnd,
    limit: String(limit),
    ...(revision === undefined ? {} : { revision: String(revision) }),
  });
}

export function decodeRange(keys: EtcdKeys, answer: unknown): Page {
  const { kvs, more } = answer as RangeAnswer;
  const entries: [Uint8Array, Uint8Array][] = [];
  const slab = slabOf(kvs ?? []);
  for (const { key, value } of kvs ?? []) {
    const entry = keys.keyOf(slab.take(key));
    if (entry !== undefined) entries.push([entry, slab.take(value)]);
  }
  return { revision: revisionOf(answer), entries, more: more === true };
}

/** Writes the format and the cluster id where there are none, and says which there are otherwise. */
export function encodeFounding(keys: EtcdKeys, format: number, clusterId: Uint8Array): string {
  return JSON.stringify({
    compare: [{ key: keys.format, target: 'CREATE', create_revision: '0' }],
    success: [
      { request_put: { key: keys.format, value: toBase64(utf8(String(format))) } },
      { request_put: { key: keys.clusterId, value: toBase64(clusterId) } },
    ],
    failure: [{ request_range: { key: keys.format } }, { request_range: { key: keys.clusterId } }],
  });
}

/** Format and cluster id as they were found; undefined when they were written just now. */
export function decodeFounding(
  answer: unknown,
): { readonly format: number; readonly clusterId: Uint8Array } | undefined {
  const { succeeded, responses } = answer as TxnAnswer;
  if (succeeded === true) return undefined;
  const [format, clusterId] = (responses ?? []).map(({ response_range }) => response_range?.kvs?.[0]?.value);
  return { format: Number(Buffer.from(format ?? '', 'base64').toString()), clusterId: fromBase64(clusterId) };
}

/** Watches all of a state from `revision` on. */
export function encodeWatch(keys: EtcdKeys, revision: number): string {
  const { start, end } = keys;
  return JSON.stringify({
    create_request: { key: start, range_end: end, start_revision: String(revision), fragment: true },
  });
}

export interface WatchNews {
  readonly isCreated: boolean;
  /** Why the watch ends, where it does. */
  readonly ended: 'compacted' | 'canceled' | undefined;
  readonly reason: string;
  /** Entries that changed. */
  readonly changes: readonly StateChange[];
  /** Of the last change in it, of entries or of anything else; 0 without one. */
  readonly revision: number;
  /** Whether more of the same revision may follow. */
  readonly isFragment: boolean;
}

interface WatchAnswer {
  readonly result?: {
    readonly created?: boolean;
    readonly canceled?: boolean;
    readonly compact_revision?: string;
    readonly cancel_reason?: string;
    readonly fragment?: boolean;
    readonly events?: readonly { readonly type?: string; readonly kv: EtcdEntry }[];
  };
  readonly error?: { readonly message?: string; readonly grpc_code?: number };
}

/** @throws EtcdRefusal when the line says that the stream is over */
export function decodeWatch(keys: EtcdKeys, line: string): WatchNews {
  const { result, error } = JSON.parse(line) as WatchAnswer;
  if (result === undefined)
    throw new EtcdRefusal(error?.message ?? 'the watch ended without a reason', error?.grpc_code ?? 0);
  const changes: StateChange[] = [];
  let revision = 0;
  const events = result.events ?? [];
  const slab = slabOf(events.map(({ kv }) => kv));
  for (const { type, kv } of events) {
    revision = Number(kv.mod_revision);
    const key = keys.keyOf(slab.take(kv.key));
    if (key === undefined) continue;
    changes.push({ key, value: type === 'DELETE' ? undefined : slab.take(kv.value), revision });
  }
  const isCompacted = result.compact_revision !== undefined;
  return {
    isCreated: result.created === true && result.canceled !== true,
    ended: isCompacted ? 'compacted' : result.canceled === true ? 'canceled' : undefined,
    reason: result.cancel_reason ?? '',
    changes,
    revision,
    isFragment: result.fragment === true,
  };
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

function fromBase64(text: string | undefined): Uint8Array {
  return new Uint8Array(Buffer.from(text ?? '', 'base64'));
}

/** Room for the bytes of all these entries together: an allocation for each would cost more than the bytes. */
function slabOf(entries: readonly EtcdEntry[]): { take(text: string | undefined): Uint8Array } {
  let room = 0;
  for (const { key, value } of entries) room += bytesMax(key) + bytesMax(value);
  const bytes = Buffer.allocUnsafeSlow(room);
  let at = 0;
  return {
    take(text) {
      const start = at;
      at += text === undefined ? 0 : bytes.write(text, start, 'base64');
      // Not a Buffer, whose `slice` does not copy.
      return new Uint8Array(bytes.buffer, start, at - start);
    },
  };
}

/** Bytes that stand in a text of base64 at the most. */
function bytesMax(text: string | undefined): number {
  return text === undefined ? 0 : Math.ceil((text.length * 3) / 4);
}

/** The first name behind all that begin with `prefix`. */
function behind(prefix: Uint8Array): Uint8Array {
  const end = prefix.slice();
  end[end.length - 1]! += 1;
  return end;
}
