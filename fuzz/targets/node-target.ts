/** A node whose clients have authenticated sessions, and store and read anything. */

import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import type { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import * as twin from '../../spec/reference/codec.ts';
import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import { micros, seconds } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { ObjectService } from '../../src/nodes/object-service.ts';
import type { FlowRecord, ObjectStore, ReceiveFlow, SendFlow } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import { nodeHashing } from '../../src/store/hashing.ts';
import { quotaBytesOf } from '../../src/store/object-file.ts';
import {
  decodeMessage,
  decodeRecordHeader,
  encodeMessage,
  encodeRecordHeader,
  isFailure,
  QueryKind,
  RECORD_HEADER_BYTES,
  ResultCode,
  readQuery,
  storeQuery,
  storeReply,
} from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt, putNumber } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, type Target } from '../engine/target.ts';
import { type Asked, aborted, FuzzConnection, strictLog } from './role-connection.ts';
import { compressedRecord, plainLz4 } from './store-targets.ts';
import { unsigned } from './values.ts';
import { messageLayout, recordLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 6_000;
const QUOTA_BYTES = 1_048_576;
const EVENTS_MAX = 1_000_000;
/** Longer than a store that brings nothing is waited for. */
const END_MICROS = seconds(130);
const STORED = Uint8Array.from({ length: 3_000 }, (_, index) => index & 0xff);
const TOKEN = new Uint8Array(8).fill(5);
const ALL = { read: true, write: true, node: true, admin: true };

const NodeStep = {
  /** u8 kind, body. */
  ASK: 0,
  /** u8 bits (1: the session ends before the flow does), then a StoreQuery, then records behind their lengths of two bytes. */
  STORE: 1,
  /** u8 unused, then a ReadQuery. */
  READ: 2,
  /** u16: how many times 4 ms pass. */
  WAIT: 3,
  /** u16: where a byte of the stored object goes bad. */
  DAMAGE: 4,
} as const;
const STEPS = 5;
const STORE_QUERY_BYTES = 14;
const BREAKS_OFF = 1;

interface Stored extends Asked {
  /** What the records say, or undefined where one does not hold. */
  readonly plain: Uint8Array | undefined;
}

/** What a flow of the node brought. */
interface SentFlow {
  readonly sent: Uint8Array[];
  isReset: boolean;
}

interface Read extends Asked {
  readonly flow: SentFlow;
}

class NodeStage {
  readonly clock = new VirtualClock();
  readonly store: MemoryObjectStore;
  readonly hash: Uint8Array;
  readonly asked: Asked[] = [];
  readonly stores: Stored[] = [];
  readonly reads: Read[] = [];
  readonly findings: string[] = [];
  readonly #connection = new FuzzConnection(ALL, '10.0.0.1');
  readonly #service: ObjectService;
  isDamaged = false;

  constructor() {
    const wallMillis = (): number => this.clock.wallMillis();
    const nodeId = new Uint8Array(16).fill(4);
    this.store = new MemoryObjectStore({ nodeId, quotaBytes: QUOTA_BYTES, wallMillis });
    this.hash = sha256(STORED);
    this.#service = new ObjectService({
      clock: this.clock,
      store: this.store as ObjectStore,
      compression: lz4Compression,
      receipts: new Receipts(bestSuite(), new Uint8Array(32)),
      log: strictLog((sentence) => this.findings.push(sentence)),
      onChanged: () => undefined,
      onCorrupt: (hash) => {
        const isBad = this.isDamaged && equalBytes(hash, this.hash);
        if (!isBad) this.findings.push('that a sound object is damaged');
      },
      isReported: () => true,
    });
    this.#connection.onQuery = (query) => this.#service.handle(this.#connection, query);
  }

  async open(): Promise<void> {
    const writer = await this.store.create(TOKEN, STORED.length);
    await writer.write(STORED);
    await writer.finish();
  }

  async carryOut(operation: number, content: Uint8Array): Promise<void> {
    switch (operation) {
      case NodeStep.STORE:
        this.#askToStore(content);
        break;
      case NodeStep.READ:
        this.#askToRead(content.slice(1, 1_025));
        break;
      case NodeStep.WAIT:
        return this.pass(numberAt(content, 0, 2) * 4_000);
      case NodeStep.DAMAGE:
        if ((await this.store.open(this.hash)) === undefined) break;
        this.isDamaged = true;
        this.store.corrupt(this.hash, numberAt(content, 0, 2) % STORED.length);
        break;
      default:
        this.asked.push(
          this.#connection.ask(
            content[0] ?? 0,
            content.slice(1, 1_025),
            undefined,
            this.#sender({ sent: [], isReset: false }),
          ),
        );
    }
    await this.pass(1_000);
  }

  async pass(span: number): Promise<void> {
    const untilMicros = micros(this.clock.now() + span);
    const result = await this.clock.run({ untilMicros, stepsMax: EVENTS_MAX });
    check(result !== 'steps', 'the node does not come to rest');
  }

  #askToStore(content: Uint8Array): void {
    const body = content.slice(1, 1 + STORE_QUERY_BYTES);
    const records = recordsIn(content.subarray(1 + STORE_QUERY_BYTES));
    const breaksOff = ((content[0] ?? 0) & BREAKS_OFF) !== 0;
    const flow = flowOf(records, breaksOff);
    const asked = this.#connection.ask(QueryKind.STORE, body, flow);
    const parts = records.map(plainlyOf);
    const isWhole = !breaksOff && parts.every((part) => part !== undefined);
    this.stores.push(
      Object.assign(asked, { plain: isWhole ? concatBytes(...(parts as Uint8Array[])) : undefined }),
    );
  }

  #askToRead(body: Uint8Array): void {
    const flow: SentFlow = { sent: [], isReset: false };
    const asked = this.#connection.ask(QueryKind.READ, body, undefined, this.#sender(flow));
    this.reads.push(Object.assign(asked, { flow }));
  }

  #sender(flow: SentFlow): SendFlow {
    return {
      recordBytes: 1_100,
      async write(record) {
        const plain = plainlyOf({ ...record, offset: 0 });
        check(plain !== undefined && plain.length === record.plainBytes, 'the node sends a bad record');
        flow.sent.push(plain.slice());
      },
      delivered: async () => undefined,
      reset() {
        flow.isReset = true;
      },
    };
  }

  /** Everything was answered; what was stored is what was sent; no space is lost. */
  async finalWord(): Promise<string> {
    await this.pass(END_MICROS);
    await this.#service.idle();
    check(this.findings.length === 0, `the node logs ${this.findings[0]}`);
    for (const asked of this.asked) check(asked.reply !== undefined, `kind ${asked.kind} gets no answer`);
    for (const stored of this.stores) checkStored(stored);
    for (const read of this.reads) this.#checkRead(read);
    const used = [...this.store.inventory()].reduce((sum, { bytes }) => sum + quotaBytesOf(bytes), 0);
    const free = QUOTA_BYTES - this.store.freeBytes;
    check(this.isDamaged || used === free, `${free} bytes are taken, ${used} are stored`);
    const last = [...this.asked, ...this.stores, ...this.reads].at(-1);
    if (last === undefined) return 'asked nothing';
    const isServed = last.kind === QueryKind.STORE || last.kind === QueryKind.READ;
    return `${isServed ? last.kind : 'other'}: ${last.reply?.code}`;
  }

  #checkRead({ body, reply, flow }: Read): void {
    check(reply !== undefined, 'a READ gets no answer');
    const query = decodeMessage(readQuery, body);
    const isReadable = twin.decodeMessage('readQuery', [...body]) !== undefined;
    check(isReadable || reply.code === ResultCode.MALFORMED, `a bad READ is answered with ${reply.code}`);
    if (reply.code !== ResultCode.OK || isFailure(query) || flow.isReset) return;
    check(equalBytes(query.hash, this.hash), 'a READ of nothing is answered with bytes');
    const end = query.length === 0 ? STORED.length : Math.min(STORED.length, query.offset + query.length);
    check(
      equalBytes(concatBytes(...flow.sent), STORED.subarray(query.offset, end)),
      'a READ brings other bytes',
    );
  }
}

/** [DEFS-21] A store that is answered OK holds exactly the announced bytes, and says their hash. */
function checkStored({ body, reply, plain }: Stored): void {
  check(reply !== undefined, 'a STORE gets no answer');
  if (reply.code !== ResultCode.OK) return;
  const query = decodeMessage(storeQuery, body);
  const answer = decodeMessage(storeReply, reply.body);
  check(!isFailure(query) && !isFailure(answer), 'a bad STORE is answered OK');
  check(plain !== undefined, 'a STORE is answered OK, of which a record does not hold');
  check(plain.length === query.bytes, 'a STORE of another length is answered OK');
  check(equalBytes(answer.hash, sha256(plain)), 'a STORE is answered with another hash');
}

/** The records of a script as a session hands them in: tiled, ended by the first one that is malformed. */
function recordsIn(content: Uint8Array): FlowRecord[] {
  const records: FlowRecord[] = [];
  let offset = 0;
  for (let at = 0; at < content.length; ) {
    const end = at + 2 + numberAt(content, at, 2);
    const opened = content.slice(at + 2, end);
    const header = decodeRecordHeader(opened);
    if (isFailure(header)) break;
    const { encoding, plainBytes, dataLeft } = header;
    records.push({ encoding, plainBytes, dataLeft, offset, payload: opened.slice(RECORD_HEADER_BYTES) });
    offset += plainBytes;
    at = end;
  }
  return records;
}

function flowOf(records: readonly FlowRecord[], breaksOff: boolean): ReceiveFlow {
  const left = records.map((record) => ({ ...record, payload: record.payload.slice() }));
  return {
    async next() {
      const record = left.shift();
      if (record === undefined && breaksOff) throw aborted();
      return record;
    },
    stop: () => undefined,
  };
}

function plainlyOf({ encoding, payload, plainBytes }: FlowRecord): Uint8Array | undefined {
  return encoding === 0 ? payload : plainLz4(payload, plainBytes);
}

function sha256(bytes: Uint8Array): Uint8Array {
  const hash = nodeHashing.sha256();
  hash.update(bytes);
  return hash.digest();
}

// ---------------------------------------------------------------- scripts

function stepLayout({ operation, content }: Step): Layout {
  const layout = new LayoutBuilder();
  layout.number(0, 1);
  switch (operation % STEPS) {
    case NodeStep.STORE: {
      layout.nested(1, messageLayout('storeQuery', content.subarray(1, 1 + STORE_QUERY_BYTES)));
      for (let at = 1 + STORE_QUERY_BYTES; at < content.length; ) {
        const end = Math.min(at + 2 + numberAt(content, at, 2), content.length);
        layout.item(at, end - at);
        layout.length(at, 2, at + 2, end);
        layout.nested(at + 2, recordLayout(content.subarray(at + 2, end)));
        at = Math.max(end, at + 2);
      }
      return layout;
    }
    case NodeStep.READ:
      layout.nested(1, messageLayout('readQuery', content.subarray(1)));
      return layout;
    default:
      layout.number(0, 2);
      return layout;
  }
}

function storeStep(random: Random): StepText {
  let bytes = 0;
  const records = Array.from({ length: random.integer(4) }, () => {
    const opened = compressedRecord(random);
    const record = opened.length > 1_500 ? storedRecord(random.bytes(100)) : opened;
    bytes += numberAt(record, 15, 4);
    return concatBytes(Uint8Array.of(record.length >>> 8, record.length & 0xff), record);
  });
  const announced = random.chance(0.8) ? bytes : unsigned(random, 20);
  const query = encodeMessage(storeQuery, { token: random.bytes(8), bytes: announced });
  const bits = random.chance(0.1) ? BREAKS_OFF : 0;
  return { operation: NodeStep.STORE, content: concatBytes(Uint8Array.of(bits), query, ...records) };
}

function storedRecord(payload: Uint8Array): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
  encodeRecordHeader({ encoding: 0, offset: 0, dataLeft: -1, plainBytes: payload.length }, record, 0);
  record.set(payload, RECORD_HEADER_BYTES);
  return record;
}

function readStep(random: Random, hash: Uint8Array): StepText {
  const content = new Uint8Array(1 + 54);
  content.set(random.chance(0.9) ? hash : random.bytes(32), 1);
  putNumber(content, 33, 6, random.chance(0.8) ? random.integer(STORED.length + 2) : unsigned(random, 48));
  putNumber(content, 39, 6, random.chance(0.8) ? random.integer(STORED.length) : unsigned(random, 48));
  putNumber(content, 45, 6, unsigned(random, 48));
  putNumber(content, 51, 4, random.chance(0.8) ? random.integer(2_000) : unsigned(random, 32));
  return { operation: NodeStep.READ, content };
}

export const nodeTarget: Target = {
  name: 'node',
  description: 'STORE and READ at a node, with records that a session has let through',
  weight: 3,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const hash = sha256(STORED);
    const steps = Array.from({ length: 1 + random.integer(4) }, (): StepText => {
      const choice = random.integer(12);
      if (choice < 6) return storeStep(random);
      if (choice < 9) return readStep(random, hash);
      if (choice < 10) return { operation: NodeStep.WAIT, content: random.bytes(2) };
      if (choice < 11) return { operation: NodeStep.DAMAGE, content: random.bytes(2) };
      return {
        operation: NodeStep.ASK,
        content: concatBytes(Uint8Array.of(unsigned(random, 8)), random.bytes(40)),
      };
    });
    return scriptOf(new Uint8Array(0), steps);
  },
  layout: (input) => scriptLayout(input, 0, stepLayout),
  async run(input) {
    const stage = new NodeStage();
    await stage.open();
    for (const { operation, content } of stepsOf(input, 0)) await stage.carryOut(operation % STEPS, content);
    return stage.finalWord();
  },
};
