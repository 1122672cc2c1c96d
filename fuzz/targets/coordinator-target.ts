/** A coordinator whose askers have authenticated sessions, and ask anything. */

import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import * as twin from '../../spec/reference/codec.ts';
import type { MessageName } from '../../spec/reference/messages.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { micros, seconds } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { admissionProof } from '../../src/crypto/index.ts';
import { Coordinator } from '../../src/nodes/coordinator.ts';
import type { Connection, ReceiveFlow, Rights, Transport } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { ADMISSION_ROLE } from '../../src/nodes/roles.ts';
import {
  admitQuery,
  commitQuery,
  decodeMessage,
  encodeMessage,
  INVENTORY_ENTRY_BYTES,
  isFailure,
  joinQuery,
  joinReply,
  QueryKind,
  RecordEncoding,
  ResultCode,
  whereToQuery,
} from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt, putNumber } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, Finding, type Target } from '../engine/target.ts';
import { type Asked, FuzzConnection, HANDSHAKE_HASH, strictLog } from './role-connection.ts';
import { checkTenures } from './tenure-oracle.ts';
import { MESSAGE_VALUES } from './values.ts';
import { codecOf } from './wire-codecs.ts';
import { messageLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 6_000;
const CLUSTER = new Uint8Array(16).fill(1);
const SECRET = new Uint8Array(32).fill(2);
const NODE_ID = new Uint8Array(16).fill(4);
const TOKEN = new Uint8Array(8).fill(5);
const OBJECT_BYTES = 100;
/** Events of the virtual clock in one run. */
const EVENTS_MAX = 1_000_000;
/** Everything has been answered by then. */
const END_MICROS = seconds(40);

const ALL: Rights = { read: true, write: true, node: true, admin: true };
const READS: Rights = { read: true, write: false, node: false, admin: false };
const NOTHING: Rights = { read: false, write: false, node: false, admin: false };
/** Who asks: anyone, a reader, somebody without rights, an admitted node, a machine that may become one. */
const ASKERS: readonly Rights[] = [ALL, READS, NOTHING, ALL, ALL];
const ADMITTED = 3;

/** What each query asks and how it is answered when all is well. */
const MESSAGES: ReadonlyMap<number, readonly [MessageName, MessageName]> = new Map([
  [QueryKind.STATUS, ['statusQuery', 'statusReply']],
  [QueryKind.WHERE_TO, ['whereToQuery', 'whereToReply']],
  [QueryKind.WHERE_IS, ['hashQuery', 'whereIsReply']],
  [QueryKind.COMMIT, ['commitQuery', 'revisionReply']],
  [QueryKind.RELEASE, ['tokenQuery', 'emptyMessage']],
  [QueryKind.RENEW, ['tokenQuery', 'emptyMessage']],
  [QueryKind.REMOVE, ['removeQuery', 'emptyMessage']],
  [QueryKind.JOIN, ['joinQuery', 'joinReply']],
  [QueryKind.ADMIT, ['admitQuery', 'admitReply']],
  [QueryKind.INVENTORY, ['inventoryQuery', 'emptyMessage']],
  [QueryKind.SETTLE, ['settleQuery', 'settleReply']],
  [QueryKind.CORRUPT, ['hashQuery', 'emptyMessage']],
  [QueryKind.WHERE_IS_MANY, ['whereIsManyQuery', 'whereIsManyReply']],
  [QueryKind.MEMBERS, ['membersQuery', 'membersReply']],
  [QueryKind.DIGEST, ['digestQuery', 'digestReply']],
  [QueryKind.LOCK, ['lockQuery', 'lockReply']],
  [QueryKind.UNLOCK, ['unlockQuery', 'emptyMessage']],
  [QueryKind.SESSION_WRITE, ['sessionWriteQuery', 'emptyMessage']],
  [QueryKind.SESSION_READ, ['sessionQuery', 'sessionReply']],
  [QueryKind.SESSION_END, ['sessionQuery', 'emptyMessage']],
]);
/** An inventory that is about all of the node's objects. */
const ALL_BUCKETS = new Uint8Array(8).fill(0xff);
const KINDS = [...MESSAGES.keys()];

const CoordinatorStep = {
  /** u8 asker, u8 kind, body. */
  ASK: 0,
  /** u8 asker, u8 bytes of a record, u48 entries, then the entries. */
  INVENTORY: 1,
  /** u8 asker, u8 kind, body. */
  NOTICE: 2,
  /** u16: how many times 4 ms pass. */
  WAIT: 3,
  /** u8 asker: its session ends. */
  CLOSE: 4,
  /** u8 fill of the hash: an object is placed and committed as it should be. */
  PUT: 5,
} as const;
const STEPS = 6;

class CoordinatorStage {
  readonly clock = new VirtualClock();
  readonly asked: Asked[] = [];
  readonly findings: string[] = [];
  readonly #state = new MemoryStateStore({ clusterId: CLUSTER });
  readonly #receipts = new Receipts(bestSuite(), SECRET);
  readonly #connections: FuzzConnection[] = [];
  #coordinator!: Coordinator;
  #onConnection!: (connection: Connection) => void;

  async open(): Promise<void> {
    const transport: Transport = {
      offload: false,
      connect: () => Promise.reject(new Finding('a coordinator connects to nobody')),
      listen: async ({ onConnection, address, clusterId }) => {
        this.#onConnection = onConnection;
        return { address, clusterId, close: async () => undefined };
      },
    };
    this.#coordinator = await Coordinator.open({
      transport,
      clock: this.clock,
      entropy: new Random(1),
      suite: bestSuite(),
      state: this.#state,
      clusterId: CLUSTER,
      admissionSecret: SECRET,
      listen: '10.0.0.9:7400',
      log: strictLog((sentence) => this.findings.push(sentence)),
    });
    for (const [index, rights] of ASKERS.entries()) {
      const connection = new FuzzConnection(rights, `10.0.0.${index + 1}`);
      this.#connections.push(connection);
      this.#onConnection(connection);
    }
    await this.#admit(this.#connections[ADMITTED]!);
  }

  async carryOut(operation: number, content: Uint8Array): Promise<void> {
    const [first = 0, kind = 0] = content;
    const connection = this.#connections[first % this.#connections.length]!;
    switch (operation) {
      case CoordinatorStep.ASK:
        if (connection.isOpen) this.asked.push(connection.ask(kind, content.slice(2, 1_026)));
        break;
      case CoordinatorStep.INVENTORY:
        if (connection.isOpen) this.#inventory(connection, content);
        break;
      case CoordinatorStep.NOTICE:
        if (connection.isOpen) connection.onNotice?.(kind, content.slice(2, 1_026));
        break;
      case CoordinatorStep.WAIT:
        return this.pass(numberAt(content, 0, 2) * 4_000);
      case CoordinatorStep.CLOSE:
        await connection.close();
        break;
      default:
        await this.#put(new Uint8Array(32).fill(first));
    }
    await this.pass(1_000);
  }

  async pass(span: number): Promise<void> {
    const result = await this.clock.run({
      untilMicros: micros(this.clock.now() + span),
      stepsMax: EVENTS_MAX,
    });
    check(result !== 'steps', 'the coordinator does not come to rest');
  }

  /** Everything was answered, by the rules, and nothing is left of what was reserved. */
  async finalWord(): Promise<string> {
    await this.pass(END_MICROS);
    for (const asked of this.asked) checkReply(asked);
    checkTenures(this.asked);
    check(this.findings.length === 0, `the coordinator logs ${this.findings[0]}`);
    check(this.#coordinator.reservations === 0, 'reservations outlive their lease');
    for (const node of this.#coordinator.nodes) check(node.freeBytes >= 0, 'a node with less than no space');
    await this.#coordinator.close();
    const last = this.asked.at(-1);
    return last === undefined
      ? 'asked nothing'
      : `${MESSAGES.has(last.kind) ? last.kind : '?'}: ${last.reply?.code}`;
  }

  async #admit(connection: FuzzConnection): Promise<void> {
    const join = {
      nodeId: NODE_ID,
      incarnation: 1,
      name: 'n',
      address: '10.0.0.4:1',
      quotaBytes: 1e9,
      freeBytes: 1e9,
      offload: false,
      draining: false,
    };
    const joined = connection.ask(QueryKind.JOIN, encodeMessage(joinQuery, join));
    await this.pass(1_000);
    const message = decodeMessage(joinReply, joined.reply?.body ?? new Uint8Array(0));
    check(!isFailure(message), 'an honest node gets no nonce');
    const proof = admissionProof(bestSuite(), SECRET, HANDSHAKE_HASH, message.nonce, ADMISSION_ROLE);
    const admitted = connection.ask(QueryKind.ADMIT, encodeMessage(admitQuery, { proof }));
    await this.pass(1_000);
    check(admitted.reply?.code === ResultCode.OK, 'an honest node is not admitted');
  }

  #inventory(connection: FuzzConnection, content: Uint8Array): void {
    const recordBytes = 1 + (content[1] ?? 0);
    let left = content.slice(8);
    const flow: ReceiveFlow = {
      next: async () => {
        if (left.length === 0) return undefined;
        const payload = left.slice(0, recordBytes);
        left = left.slice(recordBytes);
        const { length: plainBytes } = payload;
        return { offset: 0, encoding: RecordEncoding.STORED, plainBytes, dataLeft: left.length, payload };
      },
      stop: () => undefined,
    };
    const body = concatBytes(content.slice(2, 8), ALL_BUCKETS);
    this.asked.push(connection.ask(QueryKind.INVENTORY, body, flow));
  }

  /** Places an object and commits it, as a client does. */
  async #put(hash: Uint8Array): Promise<void> {
    const [client] = this.#connections;
    if (!client!.isOpen) return;
    const token = concatBytes(TOKEN.subarray(0, 7), hash.subarray(0, 1));
    const where = { token, bytes: OBJECT_BYTES, replicas: 1, hash: undefined };
    this.asked.push(client!.ask(QueryKind.WHERE_TO, encodeMessage(whereToQuery, where)));
    const receipt = this.#receipts.make({ nodeId: NODE_ID, token, hash, bytes: OBJECT_BYTES });
    const receipts = [{ nodeId: NODE_ID, receipt }];
    const commit = { token, hash, bytes: OBJECT_BYTES, replicas: 1, receipts };
    this.asked.push(client!.ask(QueryKind.COMMIT, encodeMessage(commitQuery, commit)));
    await this.pass(1_000);
  }
}

/** A query that arrived is answered; an answer is what its code and the query's kind call for. */
function checkReply({ kind, body, reply }: Asked): void {
  const messages = MESSAGES.get(kind);
  check(reply !== undefined, `a query of kind ${kind} gets no answer`);
  const { code } = reply;
  if (messages === undefined) {
    return check(code === ResultCode.UNSUPPORTED || code === ResultCode.DENIED, `kind ${kind}: code ${code}`);
  }
  const [question, answer] = messages;
  const isReadable = twin.decodeMessage(question, [...body]) !== undefined;
  // [QRY-9] What does not decode is answered MALFORMED, or by a refusal that comes first.
  const isRefusal = code === ResultCode.MALFORMED || code === ResultCode.DENIED || code === ResultCode.BUSY;
  check(isReadable || isRefusal, `${question} that does not decode is answered with code ${code}`);
  const name = bodyOf(code, answer);
  if (name === undefined || (code !== ResultCode.OK && reply.body.length === 0)) return;
  const isEmptyOk = answer === 'emptyMessage' && reply.body.length === 0;
  check(isEmptyOk || twin.decodeMessage(name, [...reply.body]) !== undefined, `an unreadable ${name}`);
}

function bodyOf(code: number, answer: MessageName): MessageName | undefined {
  if (code === ResultCode.OK) return answer;
  if (code === ResultCode.BUSY) return 'busyReply';
  if (code === ResultCode.NOT_LEADER) return 'notLeaderReply';
  return code === ResultCode.NO_SPACE ? 'noSpaceReply' : undefined;
}

function stepLayout({ operation, content }: Step): Layout {
  const layout = new LayoutBuilder();
  layout.number(0, 1);
  switch (operation % STEPS) {
    case CoordinatorStep.ASK: {
      layout.number(1, 1);
      const name = MESSAGES.get(content[1] ?? 0)?.[0];
      if (name !== undefined) layout.nested(2, messageLayout(name, content.subarray(2)));
      return layout;
    }
    case CoordinatorStep.INVENTORY:
      layout.number(1, 1);
      layout.number(2, 6);
      for (let at = 8; at < content.length; at += INVENTORY_ENTRY_BYTES) {
        layout.item(at, Math.min(INVENTORY_ENTRY_BYTES, content.length - at), 7);
      }
      return layout;
    default:
      layout.number(1, 1);
      return layout;
  }
}

/** How a field is drawn that is about what is there, and how often it is. */
type Familiar = readonly [field: string, chance: number, draw: (random: Random) => unknown];

/** Objects, reservations and nodes. */
const OF_OBJECTS: readonly Familiar[] = [
  ['hash', 0.7, (random) => new Uint8Array(32).fill(random.integer(3))],
  ['token', 0.5, () => TOKEN],
  ['nodeId', 0.3, () => NODE_ID],
  ['bytes', 0.5, () => OBJECT_BYTES],
];
/** Locks and user sessions: few of each, so that queries meet. */
const OF_TENURES: readonly Familiar[] = [
  ['name', 0.9, (random) => random.pick(['a', 'b'])],
  ['token', 0.9, (random) => new Uint8Array(16).fill(random.integer(2))],
  ['leaseMillis', 0.9, (random) => random.pick([1_000, 5_000, 3_600_000])],
  ['waitMillis', 0.7, (random) => random.pick([0, 100, 2_000])],
  ['fencing', 0.8, (random) => random.integer(6)],
  ['id', 0.9, (random) => new Uint8Array(16).fill(random.integer(2))],
  ['number', 0.8, (random) => random.integer(5)],
  ['lifetimeSeconds', 0.8, (random) => random.pick([1, 10, 31_536_000])],
];
const LOCK_KINDS = [QueryKind.LOCK, QueryKind.LOCK, QueryKind.UNLOCK];
const SESSION_KINDS = [QueryKind.SESSION_WRITE, QueryKind.SESSION_READ, QueryKind.SESSION_END];
const TENURE_QUERIES: ReadonlySet<MessageName> = new Set([
  'lockQuery',
  'unlockQuery',
  'sessionWriteQuery',
  'sessionQuery',
]);

/** The message, mostly about what is there. */
function familiar(random: Random, name: MessageName, message: object): object {
  const fields = TENURE_QUERIES.has(name) ? OF_TENURES : OF_OBJECTS;
  const known = fields.filter(([field, chance]) => field in message && random.chance(chance));
  return { ...message, ...Object.fromEntries(known.map(([field, , draw]) => [field, draw(random)])) };
}

function anyQuestion(random: Random): StepText {
  return question(random, random.integer(ASKERS.length), random.pick(KINDS));
}

/** Several questions about the same locks, or the same user sessions, by somebody who may ask them. */
function aTenure(random: Random): StepText[] {
  const kinds = random.pick([LOCK_KINDS, SESSION_KINDS]);
  return Array.from({ length: 2 + random.integer(5) }, () => question(random, 0, random.pick(kinds)));
}

function question(random: Random, asker: number, kind: number): StepText {
  const [name] = MESSAGES.get(kind)!;
  const value = familiar(random, name, MESSAGE_VALUES[name](random));
  const head = Uint8Array.of(asker, kind);
  return {
    operation: CoordinatorStep.ASK,
    content: concatBytes(head, encodeMessage(codecOf(name), value)),
  };
}

function anInventory(random: Random): StepText {
  const entries = Array.from({ length: random.integer(5) }, (_, index) => {
    const entry = new Uint8Array(INVENTORY_ENTRY_BYTES);
    entry.fill(random.chance(0.5) ? index : 10 + index, 0, 32);
    putNumber(entry, 32, 6, random.chance(0.7) ? OBJECT_BYTES : random.integer(2 ** 48));
    entry[38] = random.integer(10) === 0 ? 1 : 0;
    return entry;
  });
  const head = new Uint8Array(8);
  head.set([random.chance(0.8) ? ADMITTED : random.integer(5), random.integer(256)]);
  putNumber(head, 2, 6, entries.length);
  return { operation: CoordinatorStep.INVENTORY, content: concatBytes(head, ...entries) };
}

export const coordinatorTarget: Target = {
  name: 'coordinator',
  description: 'queries, inventories and notices to a coordinator, over authenticated sessions',
  weight: 2,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const steps = Array.from({ length: 1 + random.integer(6) }, (): StepText | StepText[] => {
      const choice = random.integer(13);
      if (choice < 7) return anyQuestion(random);
      if (choice < 8) return anInventory(random);
      if (choice < 9) {
        const load = encodeMessage(codecOf('loadNotice'), MESSAGE_VALUES.loadNotice(random));
        const head = Uint8Array.of(random.chance(0.8) ? ADMITTED : random.integer(5), 1);
        return { operation: CoordinatorStep.NOTICE, content: concatBytes(head, load) };
      }
      if (choice < 10) return { operation: CoordinatorStep.WAIT, content: random.bytes(2) };
      if (choice < 11 && random.chance(0.3)) {
        return { operation: CoordinatorStep.CLOSE, content: Uint8Array.of(random.integer(5)) };
      }
      if (choice < 12) return { operation: CoordinatorStep.PUT, content: Uint8Array.of(random.integer(3)) };
      return aTenure(random);
    });
    return scriptOf(new Uint8Array(0), steps.flat());
  },
  layout: (input) => scriptLayout(input, 0, stepLayout),
  async run(input) {
    const stage = new CoordinatorStage();
    await stage.open();
    for (const { operation, content } of stepsOf(input, 0)) await stage.carryOut(operation % STEPS, content);
    return stage.finalWord();
  },
};
