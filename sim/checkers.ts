/**
 * What must hold in every run of the cluster, whatever the network and the machines do. Each
 * invariant has a name and one class or function that judges it; `test/sim/cluster-checkers.test.ts`
 * shows that each can fail.
 *
 * A checker never throws where it is called, because production code would catch that: it reports
 * to {@link Violations}, and whoever drives the clock looks there after every event.
 */

import { crc32 } from 'node:zlib';
import { equalBytes, toHex } from '../src/base/bytes.ts';
import { isGramlineError } from '../src/base/errors.ts';
import type { Suite } from '../src/crypto/index.ts';
import { decodeEntry } from '../src/nodes/catalog-entry.ts';
import type { Connection, ObjectStore, StateStore, Transport } from '../src/nodes/ports.ts';
import { OBJECT_END, OBJECT_PREFIX } from '../src/nodes/state-keys.ts';
import { SENT_PACKETS_MAX } from '../src/reliability/index.ts';
import {
  ASSEMBLY_SLACK_BYTES,
  CONTROL_FRAMES_QUEUED_MAX,
  FLOW_WINDOW_BYTES_MIN,
  FLOWS_MAX,
  SEND_FLOW_BYTES_MAX,
  type Session,
} from '../src/session/index.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import type { SessionConnection, UdpTransport } from '../src/udp/index.ts';
import { RECORD_BYTES_MAX } from '../src/wire/index.ts';
import { recordingSuite } from './recording-suite.ts';

export const Invariant = {
  READABLE: 'every acknowledged put is readable',
  QUERY_ONCE: 'no query executes twice',
  FLOW_ORDER: 'a flow keeps its order and its bytes',
  NONCE_ONCE: 'no nonce is used twice under one key',
  MEMORY_BOUNDED: 'memory stays within its bounds',
  ALL_ENDS: 'everything ends after the faults heal',
  WITHIN_CAPACITY: 'no node holds more than its quota',
  PLACED_WITHIN: 'no place is promised beyond what its node has free',
  LEASE_ONCE: 'no lease is held twice, nor honoured after its end',
  REPLICATED: 'objects have as many replicas as they are to have, once repair is through',
  LOCK_ALONE: 'nobody holds a lock beside an exclusive holder',
  FENCING_GROWS: 'fencing tokens of a lock grow from holder to holder',
  SESSION_KEPT: 'no acknowledged write of a user session is lost',
  COMMIT_KEPT: 'no acknowledged commit is lost',
  NO_HALF_OBJECT: 'no object is visible half',
  TOTALS_TRUE: 'status counts what the catalog holds',
  NO_OWN_BUG: 'nothing fails by a bug of our own',
} as const;
export type Invariant = (typeof Invariant)[keyof typeof Invariant];

/** Sealing and headers on top of the plaintext of one record. */
const RECORD_OVERHEAD_BYTES = 64;
/** The endpoint's receive memory: `RECEIVE_BYTES_MAX` of `udp/transport.ts`. */
const RECEIVE_BYTES_MAX = 64 * 1024 * 1024;
/** Packets beyond the window: control headroom, probes of a timeout, probes of the datagram size. */
const PACKETS_HEADROOM = 16;

export interface Violation {
  readonly invariant: Invariant;
  readonly detail: string;
}

/** What was broken, the first one first. */
export class Violations {
  readonly #found: Violation[] = [];

  get first(): Violation | undefined {
    return this.#found[0];
  }

  report(invariant: Invariant, detail: string): void {
    this.#found.push({ invariant, detail });
  }
}

// ---------------------------------------------------------------- nonces

/** Judges {@link Invariant.NONCE_ONCE} over every sealing of every host. */
export class NonceChecker {
  readonly #violations: Violations;
  readonly #used = new Map<number, Set<string>>();
  sealings = 0;

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** `suite`, watched. One wrapper for the whole cluster, since equal keys at two hosts are one key. */
  watch(suite: Suite): Suite {
    return recordingSuite(suite, (keyId, nonceHex) => this.onSeal(keyId, nonceHex));
  }

  onSeal(keyId: number, nonceHex: string): void {
    this.sealings += 1;
    let used = this.#used.get(keyId);
    if (used === undefined) {
      used = new Set();
      this.#used.set(keyId, used);
    }
    const before = used.size;
    used.add(nonceHex);
    if (used.size === before)
      this.#violations.report(Invariant.NONCE_ONCE, `key ${keyId}, nonce ${nonceHex}`);
  }
}

// ---------------------------------------------------------------- sessions

type Side = 'initiator' | 'responder';

/** A record that was written: what the reader at the other end must get at this place. */
interface Written {
  readonly plainBytes: number;
  readonly dataLeft: number;
  readonly checksum: number;
}

/** One direction of one flow, both ends of it. */
interface FlowHistory {
  readonly written: Written[];
  read: number;
  readBytes: number;
}

/** Judges {@link Invariant.QUERY_ONCE} and {@link Invariant.FLOW_ORDER}, and counts open flows. */
export class SessionChecker {
  readonly #violations: Violations;
  readonly #flows = new Map<string, FlowHistory>();
  readonly #queries = new Set<string>();
  readonly #sending = new WeakMap<Session, Set<number>>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** `transport`, with every session that it makes or takes watched from its first event on. */
  watchTransport(transport: Transport): Transport {
    const watch = (connection: Connection, side: Side): void => {
      this.watch((connection as SessionConnection).session, side);
    };
    return {
      get offload() {
        return transport.offload;
      },
      connect: async (options) => {
        const connection = await transport.connect(options);
        watch(connection, 'initiator');
        return connection;
      },
      listen: (options) =>
        transport.listen({
          ...options,
          onConnection: (connection) => {
            watch(connection, 'responder');
            options.onConnection(connection);
          },
        }),
    };
  }

  /** Flows that `session` sends at present. */
  sendingFlows(session: Session): number {
    return this.#sending.get(session)?.size ?? 0;
  }

  watch(session: Session, side: Side): void {
    const id = toHex(session.handshakeHash);
    const peer: Side = side === 'initiator' ? 'responder' : 'initiator';
    const sending = new Set<number>();
    this.#sending.set(session, sending);
    const { pollEvent, readRecord, writeRecord, openSend, reset } = session;
    session.pollEvent = () => {
      const event = pollEvent.call(session);
      if (event?.kind === 'query') this.onQuery(`${id} ${side} ${event.id}`);
      if (event?.kind === 'delivered' || (event?.kind === 'flow-ended' && event.sending)) {
        sending.delete(event.flowId);
      }
      return event;
    };
    session.openSend = (flowId, limitBytes) => {
      const opened = openSend.call(session, flowId, limitBytes);
      if (opened) sending.add(flowId);
      return opened;
    };
    session.reset = (flowId, code) => {
      sending.delete(flowId);
      reset.call(session, flowId, code);
    };
    session.writeRecord = (flowId, record) => {
      this.onWrite(`${id} ${side} ${flowId}`, record);
      return writeRecord.call(session, flowId, record);
    };
    session.readRecord = (flowId) => {
      const record = readRecord.call(session, flowId);
      if (record !== undefined) this.onRead(`${id} ${peer} ${flowId}`, record);
      return record;
    };
  }

  /** A query was handed to a role. */
  onQuery(key: string): void {
    if (this.#queries.has(key))
      this.#violations.report(Invariant.QUERY_ONCE, `query ${key} was handed up twice`);
    this.#queries.add(key);
  }

  /** A role did what a query asked for, under a key that no second query has. */
  onEffect(key: string): void {
    this.onQuery(`effect ${key}`);
  }

  onWrite(key: string, record: { plainBytes: number; dataLeft: number; payload: Uint8Array }): void {
    const { plainBytes, dataLeft, payload } = record;
    this.#flow(key).written.push({ plainBytes, dataLeft, checksum: crc32(payload) });
  }

  onRead(
    key: string,
    record: { offset: number; plainBytes: number; dataLeft: number; payload: Uint8Array },
  ): void {
    const flow = this.#flow(key);
    const wrong = (what: string): void =>
      this.#violations.report(Invariant.FLOW_ORDER, `flow ${key}, record ${flow.read}: ${what}`);
    const written = flow.written[flow.read];
    if (written === undefined) return wrong('was never written');
    if (record.offset !== flow.readBytes) wrong(`offset ${record.offset}, expected ${flow.readBytes}`);
    if (record.plainBytes !== written.plainBytes) wrong('has another length');
    if (record.dataLeft !== written.dataLeft) wrong('has another dataLeft');
    if (crc32(record.payload) !== written.checksum) wrong('has other bytes');
    flow.read += 1;
    flow.readBytes += record.plainBytes;
  }

  #flow(key: string): FlowHistory {
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      flow = { written: [], read: 0, readBytes: 0 };
      this.#flows.set(key, flow);
    }
    return flow;
  }
}

// ---------------------------------------------------------------- memory

/** What one endpoint holds, summed over its sessions where nothing else is said. */
export interface MemorySample {
  readonly creditTakenBytes: number;
  readonly heldBytes: number;
  readonly keptBytes: number;
  readonly sendingFlows: number;
  /** Most of one session. */
  readonly framesQueuedMax: number;
  /** Most of one session. */
  readonly packetsInFlightMax: number;
}

export function sampleMemory(transport: UdpTransport, sessions: SessionChecker): MemorySample {
  let [heldBytes, keptBytes, sendingFlows, framesQueuedMax, packetsInFlightMax] = [0, 0, 0, 0, 0];
  for (const { session } of transport.connections) {
    const { memory } = session;
    heldBytes += memory.heldBytes;
    keptBytes += memory.keptBytes;
    sendingFlows += sessions.sendingFlows(session);
    framesQueuedMax = Math.max(framesQueuedMax, memory.framesQueued);
    packetsInFlightMax = Math.max(packetsInFlightMax, memory.packetsInFlight);
  }
  const { creditTakenBytes } = transport;
  return { creditTakenBytes, heldBytes, keptBytes, sendingFlows, framesQueuedMax, packetsInFlightMax };
}

/** Judges {@link Invariant.MEMORY_BOUNDED} against the named limits. */
export function checkMemory(violations: Violations, where: string, sample: MemorySample): void {
  const bound = (name: string, value: number, most: number): void => {
    if (value <= most) return;
    violations.report(Invariant.MEMORY_BOUNDED, `${where}: ${name} is ${value}, at most ${most}`);
  };
  const { creditTakenBytes, sendingFlows } = sample;
  bound('credit', creditTakenBytes, RECEIVE_BYTES_MAX);
  // A flow holds unfinished records up to its window and the slack, and opened ones up to its window.
  const windows = Math.ceil(creditTakenBytes / FLOW_WINDOW_BYTES_MIN);
  const heldMax = 2 * creditTakenBytes + windows * ASSEMBLY_SLACK_BYTES;
  bound('bytes held by receiving flows', sample.heldBytes, heldMax);
  const records = SEND_FLOW_BYTES_MAX / 1024;
  const keptMax = SEND_FLOW_BYTES_MAX + RECORD_BYTES_MAX + records * RECORD_OVERHEAD_BYTES;
  bound('bytes kept by sending flows', sample.keptBytes, sendingFlows * keptMax);
  bound('sending flows', sendingFlows, FLOWS_MAX);
  bound('frames queued', sample.framesQueuedMax, CONTROL_FRAMES_QUEUED_MAX);
  bound('packets in flight', sample.packetsInFlightMax, SENT_PACKETS_MAX + PACKETS_HEADROOM);
}

// ---------------------------------------------------------------- stores

/** Judges {@link Invariant.NO_HALF_OBJECT}: what can be read is what the name says. */
export async function checkObjects(violations: Violations, name: string, store: ObjectStore): Promise<void> {
  for (const { hash, bytes } of [...store.inventory()]) {
    const wrong = (what: string): void =>
      violations.report(Invariant.NO_HALF_OBJECT, `${name}: ${toHex(hash).slice(0, 12)} ${what}`);
    try {
      const reader = await store.open(hash);
      if (reader === undefined) {
        wrong('is listed, and not there');
        continue;
      }
      const digest = nodeHashing.sha256();
      let at = 0;
      for (let count = -1; count !== 0; at += count) {
        const plain = await reader.read(at, bytes);
        digest.update(plain);
        count = plain.length;
      }
      await reader.close();
      if (at !== bytes || !equalBytes(digest.digest(), hash)) wrong('has other bytes than its name');
    } catch (error) {
      // Damage that is found is not served.
      if (!isGramlineError(error, 'GRAMLINE_CORRUPT')) throw error;
    }
  }
}

// ---------------------------------------------------------------- the catalog

/** Judges {@link Invariant.TOTALS_TRUE}: what STATUS tells against a count of the entries. */
export function checkTotals(
  violations: Violations,
  state: Pick<StateStore, 'range'>,
  told: { readonly objects: number; readonly bytes: number },
): void {
  let [objects, bytes] = [0, 0];
  for (const [, value] of state.range(OBJECT_PREFIX, OBJECT_END, Number.MAX_SAFE_INTEGER)) {
    objects += 1;
    bytes += decodeEntry(value).bytes;
  }
  if (told.objects === objects && told.bytes === bytes) return;
  violations.report(
    Invariant.TOTALS_TRUE,
    `${objects} objects of ${bytes} bytes; told ${told.objects}, ${told.bytes}`,
  );
}
