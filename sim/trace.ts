/**
 * What happened in a run of the simulator: a hash by which two runs are compared, and events in words.
 *
 * `qlog.ts` makes a document for programs of the same run.
 */

import type { Micros } from '../src/base/units.ts';
import type { Log, LogFields } from '../src/nodes/ports.ts';
import { PacketType } from '../src/wire/index.ts';
import type { Address } from './virtual-network.ts';

/** What became of a datagram. */
export type Fate = 'sent' | 'received' | 'dropped';

/** Sees a run as it goes, for a document of it. */
export interface TraceObserver {
  onEvent(nowMicros: number, who: string, what: string): void;
  /** `reason` says why one was dropped. The bytes are borrowed. */
  onDatagram(
    nowMicros: number,
    fate: Fate,
    from: Address,
    to: Address,
    bytes: Uint8Array,
    reason?: string,
  ): void;
  /** The session behind a datagram that was just sent, for its measures. */
  onSession(nowMicros: number, from: Address, to: Address, session: SessionMeasures): void;
}

/** What a session knows of its path. */
export interface SessionMeasures {
  readonly rttMicros: number;
  readonly datagramBytes: number;
  readonly memory: { readonly packetsInFlight: number };
}

/** Events that a failure shows. */
export const TRACE_LINES_SHOWN = 40;
/** Bytes at the start and at the end of a datagram that go into the hash: tags depend on all the rest. */
const HASHED_BYTES = 24;
const FNV_PRIME = 0x0100_0193;
const FNV_BASIS = 0x811c_9dc5;

/**
 * What happened in a run: a hash over everything that stood on the wire, by which two runs are
 * compared, and the last events in words, for whoever has to understand a failure.
 */
export class Trace {
  readonly #lines: string[] = [];
  readonly #now: () => Micros;
  readonly #print: ((line: string) => void) | undefined;
  readonly #observer: TraceObserver | undefined;
  #low = FNV_BASIS;
  #high = FNV_BASIS ^ 0x5a5a_5a5a;
  #next = 0;

  /** `print` sees every line, and datagrams too; without it only the last lines are kept. */
  constructor(now: () => Micros, print?: (line: string) => void, observer?: TraceObserver) {
    this.#now = now;
    this.#print = print;
    this.#observer = observer;
  }

  /** 16 hex digits over all that happened so far. */
  get hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** The last events, oldest first. */
  get lines(): readonly string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }

  say(who: string, what: string): void {
    for (let index = 0; index < what.length; index++) this.#mix(what.charCodeAt(index));
    const line = `${(this.#now() / 1000).toFixed(3).padStart(11)} ms  ${who.padEnd(12)} ${what}`;
    this.#print?.(line);
    this.#observer?.onEvent(this.#now(), who, what);
    this.#lines[this.#next] = line;
    this.#next = (this.#next + 1) % TRACE_LINES_SHOWN;
  }

  onDatagram(from: Address, to: Address, bytes: Uint8Array): void {
    this.#mix(this.#now() | 0);
    this.#mix((from.port << 16) | to.port);
    this.#mix(bytes.length);
    const head = Math.min(HASHED_BYTES, bytes.length);
    for (let index = 0; index < head; index++) this.#mix(bytes[index]!);
    for (let index = Math.max(head, bytes.length - HASHED_BYTES); index < bytes.length; index++) {
      this.#mix(bytes[index]!);
    }
    if (this.#print === undefined) return;
    const line = `${(this.#now() / 1000).toFixed(3).padStart(11)} ms  ${from.host}:${from.port} > ${to.host}:${to.port}`;
    this.#print(`${line}  ${packetNames(bytes)} ${bytes.length}`);
  }

  /** A log whose lines become part of the trace. */
  log(who: string, onError: (message: string, fields: LogFields) => void): Log {
    const line =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        const values = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
        this.say(who, [level, message, ...values].join(' '));
        if (level !== 'info') onError(message, fields);
      };
    return { info: line('info'), warn: line('warn'), error: line('error') };
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, FNV_PRIME);
    this.#high = Math.imul(this.#high ^ value ^ (this.#low >>> 15), 0x85eb_ca6b);
  }
}

const NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(PacketType).map(([name, type]) => [type, name]),
);

/** The types of the packets in a datagram, as far as their lengths say where they are. */
export function packetNames(bytes: Uint8Array): string {
  const names: string[] = [];
  for (let at = 0; at + 4 <= bytes.length && names.length < 8; ) {
    names.push(NAMES[bytes[at]!] ?? '?');
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (length === 0) break;
    at += length;
  }
  return names.join('+');
}
