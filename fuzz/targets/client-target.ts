/** A client whose coordinators and nodes answer anything. */

import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { micros, seconds } from '../../src/base/units.ts';
import { Client } from '../../src/nodes/client.ts';
import type { Call, FlowRecord, ReceiveFlow, Reply, SendFlow } from '../../src/nodes/ports.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import { nodeHashing } from '../../src/store/hashing.ts';
import {
  decodeRecordHeader,
  encodeMessage,
  encodeRecordHeader,
  isFailure,
  QueryKind,
  RECORD_HEADER_BYTES,
  ResultCode,
} from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, type Target } from '../engine/target.ts';
import { aborted, FuzzConnection, strictLog } from './role-connection.ts';
import { MESSAGE_VALUES } from './values.ts';
import { codecOf } from './wire-codecs.ts';
import { messageLayout, recordLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 6_000;
const HUB = '10.0.0.9:7400';
const NODE = '10.0.0.4:1';
const RIGHTS = { read: true, write: true, node: true, admin: true };
const OBJECT = Uint8Array.from({ length: 2_500 }, (_, index) => (index * 3) & 0xff);
const EVENTS_MAX = 1_000_000;
/** Whatever is answered, the caller has a result or an error by then. */
const END_MICROS = seconds(1_200);

/** What the client is asked to do: the first byte of a script. */
const ACTIONS = ['status', 'whereIs', 'whereIsMany', 'whereTo', 'rm', 'get', 'put'] as const;
type Action = (typeof ACTIONS)[number];

/** How the next query is answered; behind the last step, all is honest. */
const ClientStep = {
  HONEST: 0,
  /** u8 code, then the body. */
  ANSWER: 1,
  /** No answer in time. */
  SILENCE: 2,
  /** Records behind their lengths of two bytes: the answer to a READ is right, and its flow is this one. */
  RECORDS: 3,
} as const;
const STEPS = 4;

function sha256(bytes: Uint8Array): Uint8Array {
  const hash = nodeHashing.sha256();
  hash.update(bytes);
  return hash.digest();
}

const HASH = sha256(OBJECT);

class ScriptedServer extends FuzzConnection {
  readonly #answers: StepText[];

  constructor(answers: StepText[]) {
    super(RIGHTS, '10.0.0.9');
    this.#answers = answers;
  }

  override async query(kind = 0, body: Uint8Array = new Uint8Array(0)): Promise<Reply> {
    return this.#answer(kind, body, this.#answers.shift());
  }

  override call(kind = 0, body: Uint8Array = new Uint8Array(0)): Call & never {
    const step = this.#answers.shift();
    const isScripted = step !== undefined && step.operation % STEPS === ClientStep.RECORDS;
    const receive = isScripted ? flowOf(recordsIn(step.content)) : honestFlow(body);
    let onSent = (): void => undefined;
    const sent = new Promise<void>((resolve) => {
      onSent = resolve;
    });
    const send: SendFlow = {
      recordBytes: 1_000,
      async write(record) {
        if (record.dataLeft === 0) onSent();
      },
      delivered: async () => undefined,
      reset: onSent,
    };
    const isHonest = step === undefined || step.operation % STEPS === ClientStep.HONEST;
    // A node answers a STORE when it has all of it.
    const ready = kind === QueryKind.STORE && isHonest ? sent : Promise.resolve();
    const reply = ready.then(() => this.#answer(kind, body, step));
    reply.catch(() => undefined);
    return { reply, send, receive } as Call & never;
  }

  async #answer(kind: number, body: Uint8Array, step: StepText | undefined): Promise<Reply> {
    switch (step === undefined ? ClientStep.HONEST : step.operation % STEPS) {
      case ClientStep.ANSWER:
        return { code: step!.content[0] ?? 0, body: step!.content.slice(1, 1_025) };
      case ClientStep.SILENCE:
        throw new GramlineError('GRAMLINE_TIMEOUT', 'no answer in time', { retryable: true });
      default:
        return { code: ResultCode.OK, body: honestAnswer(kind, body) };
    }
  }
}

/** What a cluster of one node that holds one object answers. */
function honestAnswer(kind: number, body: Uint8Array): Uint8Array {
  const locations = [{ nodeId: new Uint8Array(16).fill(4), address: NODE }];
  const message = (name: Parameters<typeof codecOf>[0], value: object): Uint8Array =>
    encodeMessage(codecOf(name), value);
  switch (kind) {
    case QueryKind.STATUS:
      return message('statusReply', {
        revision: 1,
        stale: false,
        objects: 1,
        bytes: 1,
        nodesTotal: 0,
        ...{ repair: 1, missing: 0, copying: 0, surplus: 0 },
        coordinators: [],
        nodes: [],
      });
    case QueryKind.WHERE_TO:
      return message('whereToReply', { leaseMillis: 30_000, revision: 1, locations });
    case QueryKind.WHERE_IS:
      return message('whereIsReply', { bytes: OBJECT.length, revision: 1, stale: false, locations });
    case QueryKind.WHERE_IS_MANY: {
      const answers = new Array(numberAt(body, 0, 1)).fill({ code: 0, bytes: OBJECT.length, replicas: [0] });
      return message('whereIsManyReply', { revision: 1, stale: false, locations, answers });
    }
    case QueryKind.COMMIT:
      return message('revisionReply', { revision: 2 });
    case QueryKind.STORE:
      return message('storeReply', { hash: HASH, receipt: new Uint8Array(16) });
    case QueryKind.READ:
      return message('readReply', { bytes: OBJECT.length });
    default:
      return new Uint8Array(0);
  }
}

/** The rest of the object from where a READ begins. */
function honestFlow(body: Uint8Array): ReceiveFlow {
  const start = numberAt(body, 32, 6);
  const length = numberAt(body, 38, 6);
  const payload = OBJECT.slice(start, length === 0 ? undefined : start + length);
  return flowOf([{ offset: 0, encoding: 0, plainBytes: payload.length, dataLeft: 0, payload }]);
}

/** A flow as a session lets it through: it ends behind the record that says so, else by an error. */
function flowOf(records: readonly FlowRecord[]): ReceiveFlow {
  const left = records.map((record) => ({ ...record, payload: record.payload.slice() }));
  let isComplete = false;
  return {
    async next() {
      const record = left.shift();
      if (record === undefined && !isComplete) throw aborted();
      isComplete = record?.dataLeft === 0;
      return record;
    },
    stop: () => undefined,
  };
}

/** Records that tile their flow and agree about its end, as a session sees to it. */
function recordsIn(content: Uint8Array): FlowRecord[] {
  const records: FlowRecord[] = [];
  let offset = 0;
  let finalBytes: number | undefined;
  for (let at = 0; at < content.length; ) {
    const end = at + 2 + numberAt(content, at, 2);
    const opened = content.slice(at + 2, end);
    const header = decodeRecordHeader(opened);
    if (isFailure(header)) break;
    const { encoding, plainBytes, dataLeft } = header;
    if (plainBytes === 0 && dataLeft !== 0) break;
    const last = dataLeft < 0 ? finalBytes : offset + plainBytes + dataLeft;
    if (finalBytes !== undefined && last !== finalBytes) break;
    finalBytes = last;
    records.push({ encoding, plainBytes, dataLeft, offset, payload: opened.slice(RECORD_HEADER_BYTES) });
    if (dataLeft === 0) break;
    offset += plainBytes;
    at = end;
  }
  return records;
}

/** What the client does; a word for what came of it. Rejects with the client's error. */
async function act(client: Client, action: Action): Promise<string> {
  switch (action) {
    case 'status':
      await client.status();
      return 'known';
    case 'whereIs': {
      const { replicas } = await client.whereIs(HASH);
      return replicas.length === 0 ? 'nowhere' : 'somewhere';
    }
    case 'whereIsMany': {
      const hashes = Array.from({ length: 40 }, (_, index) => new Uint8Array(32).fill(index));
      const outcomes = await client.whereIsMany(hashes);
      check(outcomes.length === hashes.length, `${outcomes.length} outcomes for ${hashes.length} hashes`);
      return 'known';
    }
    case 'whereTo':
      await client.whereTo(1_000);
      return 'reserved';
    case 'rm':
      await client.rm(HASH);
      return 'removed';
    case 'get': {
      const parts: Uint8Array[] = [];
      for await (const part of client.get(HASH)) parts.push(part.slice());
      // Whatever nodes send: what ends without an error is the object.
      check(equalBytes(sha256(concatBytes(...parts)), HASH), 'a get ends well with other bytes');
      return 'got';
    }
    default: {
      const { hash } = await client.put(OBJECT);
      check(hash === Buffer.from(HASH).toString('hex'), 'a put ends well with another hash');
      return 'put';
    }
  }
}

// ---------------------------------------------------------------- scripts

const REPLIES = [
  'statusReply',
  'whereIsReply',
  'whereIsManyReply',
  'whereToReply',
  'storeReply',
  'readReply',
  'revisionReply',
  'noSpaceReply',
  'busyReply',
  'notLeaderReply',
] as const;
/** The first reply that each action calls for. */
const EXPECTED: { readonly [Name in Action]: (typeof REPLIES)[number] } = {
  status: 'statusReply',
  whereIs: 'whereIsManyReply',
  whereIsMany: 'whereIsManyReply',
  whereTo: 'whereToReply',
  rm: 'revisionReply',
  get: 'whereIsReply',
  put: 'whereToReply',
};

function actionOf(input: Uint8Array): Action {
  return ACTIONS[(input[0] ?? 0) % ACTIONS.length]!;
}

function layoutOf(input: Uint8Array): Layout {
  const expected = EXPECTED[actionOf(input)];
  return scriptLayout(input, 1, ({ operation, content }: Step) => {
    const layout = new LayoutBuilder();
    if (operation % STEPS === ClientStep.ANSWER) {
      layout.number(0, 1);
      layout.nested(1, messageLayout(expected, content.subarray(1)));
    } else if (operation % STEPS === ClientStep.RECORDS) {
      for (let at = 0; at < content.length; ) {
        const end = Math.min(at + 2 + numberAt(content, at, 2), content.length);
        layout.item(at, end - at);
        layout.length(at, 2, at + 2, end);
        layout.nested(at + 2, recordLayout(content.subarray(at + 2, end)));
        at = Math.max(end, at + 2);
      }
    }
    return layout;
  });
}

function drawStep(random: Random, action: Action): StepText {
  const choice = random.integer(10);
  if (choice < 3) return { operation: ClientStep.HONEST, content: new Uint8Array(0) };
  if (choice < 4) return { operation: ClientStep.SILENCE, content: new Uint8Array(0) };
  if (choice < 6 && action === 'get') return { operation: ClientStep.RECORDS, content: drawRecords(random) };
  const name = random.chance(0.6) ? EXPECTED[action] : random.pick(REPLIES);
  const body = encodeMessage(codecOf(name), MESSAGE_VALUES[name](random));
  const code = random.chance(0.6) ? 0 : random.integer(random.chance(0.8) ? 16 : 256);
  return { operation: ClientStep.ANSWER, content: concatBytes(Uint8Array.of(code), body) };
}

/** The object in two or three records, or some other bytes. */
function drawRecords(random: Random): Uint8Array {
  const bytes = random.chance(0.6) ? OBJECT : random.bytes(1 + random.integer(2_600));
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 1_000) {
    const payload = bytes.subarray(at, at + 1_000);
    const record = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
    const dataLeft = bytes.length - at - payload.length;
    encodeRecordHeader({ encoding: 0, offset: at, dataLeft, plainBytes: payload.length }, record, 0);
    record.set(payload, RECORD_HEADER_BYTES);
    parts.push(Uint8Array.of(record.length >>> 8, record.length & 0xff), record);
  }
  return concatBytes(...parts);
}

export const clientTarget: Target = {
  name: 'client',
  description: 'a client whose coordinators and nodes answer anything',
  weight: 1,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const action = random.integer(ACTIONS.length);
    const steps = Array.from({ length: 1 + random.integer(4) }, () => drawStep(random, ACTIONS[action]!));
    return scriptOf(Uint8Array.of(action), steps);
  },
  layout: layoutOf,
  async run(input) {
    const answers: StepText[] = [...stepsOf(input, 1)];
    const clock = new VirtualClock();
    const findings: string[] = [];
    const client = new Client({
      transport: {
        offload: false,
        connect: async () => new ScriptedServer(answers),
        listen: () => Promise.reject(new GramlineError('GRAMLINE_INVALID', 'a client listens nowhere')),
      },
      clock,
      entropy: new Random(1),
      hashing: nodeHashing,
      compression: lz4Compression,
      coordinators: [HUB],
      log: strictLog((sentence) => findings.push(sentence)),
    });
    const action = actionOf(input);
    let word: string | undefined;
    let failure: unknown;
    act(client, action).then(
      (outcome) => {
        word = outcome;
      },
      (error: unknown) => {
        failure = error;
        word = error instanceof GramlineError ? error.code : 'failed';
      },
    );
    const isOver = (): boolean => word !== undefined;
    await clock.run({ untilMicros: micros(END_MICROS), until: isOver, stepsMax: EVENTS_MAX });
    check(word !== undefined, `a ${action} never ends`);
    if (failure !== undefined && !(failure instanceof GramlineError)) throw failure;
    check(findings.length === 0, `the client logs ${findings[0]}`);
    const closed = client.close();
    await clock.run({ untilMicros: micros(clock.now() + seconds(60)), stepsMax: EVENTS_MAX });
    await closed;
    return `${action}: ${word}`;
  },
};
