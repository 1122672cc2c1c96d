/** A node whose coordinator answers anything: joining, inventory, settling, orders to delete and to copy. */

import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { micros, seconds } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { admissionProof } from '../../src/crypto/index.ts';
import { StorageNode } from '../../src/nodes/node.ts';
import type { Call, ReceiveFlow, Reply, SendFlow } from '../../src/nodes/ports.ts';
import { ADMITTING_ROLE } from '../../src/nodes/roles.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import {
  admitReply,
  BUCKET_MAP_BYTES,
  copyQuery,
  decodeMessage,
  digestReply,
  encodeMessage,
  isFailure,
  joinReply,
  QueryKind,
  RecordEncoding,
  ResultCode,
  Role,
  readReply,
  settleReply,
  storeReply,
} from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, type Target } from '../engine/target.ts';
import { type Asked, emptyFlow, FuzzConnection, HANDSHAKE_HASH, strictLog } from './role-connection.ts';
import { MESSAGE_VALUES, text, unsigned } from './values.ts';
import { codecOf } from './wire-codecs.ts';
import { messageLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 4_096;
const SECRET = new Uint8Array(32).fill(2);
const CLUSTER = new Uint8Array(16).fill(1);
const NONCE = new Uint8Array(32).fill(6);
const RIGHTS = { read: true, write: true, node: true, admin: true };
const EVENTS_MAX = 1_000_000;
/** When all answers are right again, the node has joined by then. */
const JOINED_MICROS = seconds(60);
/** Virtual time of all waits of a script together: each second of it takes a little of ours. */
const WAITS_MICROS_MAX = seconds(3_600);
const OBJECT = Uint8Array.from({ length: 500 }, (_, index) => index & 0xff);

const HASH = bestSuite().sha256(OBJECT);

const JoiningStep = {
  /** The next query of the node is answered as it should be. */
  HONEST: 0,
  /** u8 code, then the body that the next query is answered with. */
  ANSWER: 1,
  /** The next query gets no answer. */
  SILENCE: 2,
  /** u16: how many times 16 ms pass. */
  WAIT: 3,
  /** u8 kind, body: the coordinator asks the node. */
  ASK: 4,
  /** The session ends. */
  CLOSE: 5,
} as const;
const STEPS = 6;
const ANSWERS: ReadonlySet<number> = new Set([JoiningStep.HONEST, JoiningStep.ANSWER, JoiningStep.SILENCE]);

/** A session that the node opened, to its coordinator or to the source of a copy, answered from a script. */
class ScriptedPeer extends FuzzConnection {
  /** Whether it has shown that it knows the admission secret. */
  hasProven = false;
  readonly #answers: StepText[];

  constructor(answers: StepText[]) {
    super(RIGHTS, '10.0.0.9');
    this.#answers = answers;
  }

  override async query(kind = 0, body: Uint8Array = new Uint8Array(0)): Promise<Reply> {
    if (!this.isOpen) throw new GramlineError('GRAMLINE_CLOSED', 'the session ended');
    const step = this.#answers.shift();
    switch (step === undefined ? JoiningStep.HONEST : step.operation % STEPS) {
      case JoiningStep.ANSWER:
        return { code: step!.content[0] ?? 0, body: step!.content.slice(1, 1_025) };
      case JoiningStep.SILENCE:
        throw new GramlineError('GRAMLINE_TIMEOUT', 'no answer in time', { retryable: true });
      default:
        this.hasProven ||= kind === QueryKind.ADMIT;
        return { code: ResultCode.OK, body: honestAnswer(kind, body) };
    }
  }

  override call(kind = 0, body: Uint8Array = new Uint8Array(0)): Call & never {
    const send: SendFlow = {
      recordBytes: 65_536,
      write: async () => undefined,
      delivered: async () => undefined,
      reset: () => undefined,
    };
    const receive = kind === QueryKind.READ ? wholeObject() : emptyFlow();
    return { reply: this.query(kind, body), send, receive } as Call & never;
  }
}

/** The flow of a READ of the whole object. */
function wholeObject(): ReceiveFlow {
  const { length: plainBytes } = OBJECT;
  const records = [
    { offset: 0, encoding: RecordEncoding.STORED, plainBytes, dataLeft: 0, payload: OBJECT.slice() },
  ];
  return { next: async () => records.shift(), stop: () => undefined };
}

function honestAnswer(kind: number, body: Uint8Array): Uint8Array {
  switch (kind) {
    case QueryKind.JOIN:
      return encodeMessage(joinReply, { nonce: NONCE });
    case QueryKind.ADMIT: {
      const proof = admissionProof(bestSuite(), SECRET, HANDSHAKE_HASH, NONCE, ADMITTING_ROLE);
      return encodeMessage(admitReply, { clusterId: CLUSTER, address: '10.0.0.4:1', proof });
    }
    case QueryKind.DIGEST:
      // Nothing is known of it: an inventory of all is to follow.
      return encodeMessage(digestReply, { differs: new Uint8Array(BUCKET_MAP_BYTES).fill(0xff) });
    case QueryKind.SETTLE:
      // All of them are to wait.
      return encodeMessage(settleReply, { settlements: new Array<0>(body[0] ?? 0).fill(0) });
    case QueryKind.READ:
      return encodeMessage(readReply, { bytes: OBJECT.length });
    default:
      return new Uint8Array(0);
  }
}

class JoiningStage {
  readonly clock = new VirtualClock();
  readonly findings: string[] = [];
  readonly asked: Asked[] = [];
  /** Whether anything was said that may cost the node its object. */
  mayLose = false;
  readonly #answers: StepText[] = [];
  readonly #store: MemoryObjectStore;
  #session: ScriptedPeer | undefined;
  #waitsLeft: number = WAITS_MICROS_MAX;
  #node!: StorageNode;

  constructor() {
    const nodeId = new Uint8Array(16).fill(4);
    const wallMillis = (): number => this.clock.wallMillis();
    this.#store = new MemoryObjectStore({ nodeId, quotaBytes: 1e6, wallMillis });
  }

  async open(steps: readonly Step[]): Promise<void> {
    this.#answers.push(...steps.filter(({ operation }) => ANSWERS.has(operation % STEPS)));
    this.mayLose = this.#answers.some(({ operation }) => operation % STEPS === JoiningStep.ANSWER);
    // Stored, and not committed as far as the node knows: it asks by SETTLE.
    const writer = await this.#store.create(new Uint8Array(8), OBJECT.length);
    await writer.write(OBJECT);
    await writer.finish();
    this.#node = await StorageNode.open({
      transport: {
        offload: false,
        connect: async ({ role }) => {
          const peer = new ScriptedPeer(this.#answers);
          // To the sources of copies it comes as a client does.
          if (role === Role.NODE) this.#session = peer;
          return peer;
        },
        listen: async ({ address, clusterId }) => ({ address, clusterId, close: async () => undefined }),
      },
      clock: this.clock,
      entropy: new Random(1),
      suite: bestSuite(),
      store: this.#store,
      compression: lz4Compression,
      coordinators: ['10.0.0.9:7400'],
      admissionSecret: SECRET,
      listen: '10.0.0.4:1',
      name: 'n',
      log: strictLog((sentence) => this.findings.push(sentence)),
    });
    await this.pass(1_000);
  }

  async carryOut({ operation, content }: Step): Promise<void> {
    switch (operation % STEPS) {
      case JoiningStep.WAIT:
        return this.#wait(numberAt(content, 0, 2) * 16_000);
      case JoiningStep.ASK:
        if (this.#session?.onQuery === undefined) return;
        // [ADM-8] Nobody else is obeyed.
        check(this.#session.hasProven, 'a coordinator is obeyed that has proven nothing');
        this.mayLose = true;
        this.asked.push(this.#session.ask(content[0] ?? 0, content.slice(1, 1_025)));
        break;
      case JoiningStep.CLOSE:
        await this.#session?.close();
        break;
      default:
        return;
    }
    await this.pass(1_000);
  }

  async #wait(span: number): Promise<void> {
    const taken = Math.min(span, this.#waitsLeft);
    this.#waitsLeft -= taken;
    return this.pass(taken);
  }

  async pass(span: number): Promise<void> {
    const untilMicros = micros(this.clock.now() + span);
    const result = await this.clock.run({ untilMicros, stepsMax: EVENTS_MAX });
    check(result !== 'steps', 'the node does not come to rest');
  }

  /** With an honest coordinator the node joins again; it has what nobody took from it. */
  async finalWord(): Promise<string> {
    this.#answers.length = 0;
    await this.#session?.close();
    await this.pass(JOINED_MICROS);
    check(this.#node.isJoined, 'the node does not join an honest coordinator');
    check(this.findings.length === 0, `the node logs ${this.findings[0]}`);
    for (const { kind, body, reply } of this.asked) {
      check(reply !== undefined, `the node does not answer a query of kind ${kind}`);
      const isOther = kind !== QueryKind.DELETE && kind !== QueryKind.COPY;
      check(!isOther || reply.code === ResultCode.UNSUPPORTED, `kind ${kind} is answered with ${reply.code}`);
      if (kind === QueryKind.COPY && reply.code === ResultCode.OK) checkCopy(body, reply.body);
    }
    check(this.mayLose || this.#store.objects === 1, 'an object is gone that nobody took');
    const closed = this.#node.close();
    await this.pass(1_000);
    await closed;
    const last = this.asked.at(-1)?.reply?.code;
    return `${this.#store.objects} objects, ${last === undefined ? 'not asked' : `code ${last}`}`;
  }
}

/** [REP-4] What is answered OK is the object that was asked for, and there is no other. */
function checkCopy(body: Uint8Array, answer: Uint8Array): void {
  const query = decodeMessage(copyQuery, body);
  const stored = decodeMessage(storeReply, answer);
  check(!isFailure(query) && !isFailure(stored), 'a COPY that does not decode is answered OK');
  check(equalBytes(stored.hash, query.hash), 'a COPY is answered with another hash');
  check(equalBytes(query.hash, HASH), 'a COPY of what nobody has is answered OK');
}

// ---------------------------------------------------------------- scripts

const REPLIES = [
  'joinReply',
  'admitReply',
  'digestReply',
  'settleReply',
  'emptyMessage',
  'busyReply',
  'notLeaderReply',
] as const;

function stepLayout({ operation, content }: Step): Layout {
  const layout = new LayoutBuilder();
  layout.number(0, 1);
  switch (operation % STEPS) {
    case JoiningStep.ANSWER:
      // Of which query it is the answer is not known here: that with settlements has a list.
      layout.nested(1, messageLayout('settleReply', content.subarray(1)));
      return layout;
    case JoiningStep.ASK:
      layout.nested(
        1,
        messageLayout(content[0] === QueryKind.COPY ? 'copyQuery' : 'hashQuery', content.subarray(1)),
      );
      return layout;
    default:
      layout.number(0, 2);
      return layout;
  }
}

function drawStep(random: Random): StepText {
  const choice = random.integer(10);
  if (choice < 2) return { operation: JoiningStep.HONEST, content: new Uint8Array(0) };
  if (choice < 5) {
    const name = random.pick(REPLIES);
    const body = encodeMessage(codecOf(name), MESSAGE_VALUES[name](random));
    const code = random.chance(0.7) ? 0 : random.integer(256);
    return { operation: JoiningStep.ANSWER, content: concatBytes(Uint8Array.of(code), body) };
  }
  if (choice < 6) return { operation: JoiningStep.SILENCE, content: new Uint8Array(0) };
  if (choice < 8) return { operation: JoiningStep.WAIT, content: random.bytes(2) };
  if (choice < 9 && random.chance(0.5)) return aCopy(random);
  if (choice < 9) {
    const kind = random.chance(0.7) ? QueryKind.DELETE : random.integer(256);
    const body = random.chance(0.3) ? HASH : random.bytes(random.pick([32, 31, 33, 0]));
    const content = concatBytes(Uint8Array.of(kind), body);
    return { operation: JoiningStep.ASK, content };
  }
  return { operation: JoiningStep.CLOSE, content: new Uint8Array(0) };
}

/** A COPY, mostly of the object that there is. */
function aCopy(random: Random): StepText {
  const sources = Array.from({ length: random.integer(4) }, (_, index) => ({
    nodeId: new Uint8Array(16).fill(index),
    address: random.chance(0.9) ? `10.0.0.${index + 1}:1` : text(random, 80),
  }));
  const body = encodeMessage(copyQuery, {
    token: random.bytes(8),
    hash: random.chance(0.8) ? HASH : random.bytes(32),
    bytes: random.chance(0.8) ? OBJECT.length : unsigned(random, 48),
    sources,
  });
  return { operation: JoiningStep.ASK, content: concatBytes(Uint8Array.of(QueryKind.COPY), body) };
}

export const joiningTarget: Target = {
  name: 'joining',
  description: 'a node whose coordinator answers anything, and asks',
  weight: 1,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const honest = { operation: JoiningStep.HONEST, content: new Uint8Array(0) };
    const steps = Array.from({ length: 1 + random.integer(7) }, () => drawStep(random));
    // JOIN, ADMIT, DIGEST and INVENTORY, so that something comes behind them.
    const joined = [honest, honest, honest, honest];
    return scriptOf(new Uint8Array(0), random.chance(0.6) ? [...joined, ...steps] : steps);
  },
  layout: (input) => scriptLayout(input, 0, stepLayout),
  async run(input) {
    const steps = stepsOf(input, 0);
    const stage = new JoiningStage();
    await stage.open(steps);
    for (const step of steps) await stage.carryOut(step);
    return stage.finalWord();
  },
};
