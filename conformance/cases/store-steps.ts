import {
  decodeMessage,
  encodeMessage,
  FrameType,
  isFailure,
  QueryKind,
  type ReadQuery,
  ResultCode,
  readQuery,
  storeQuery,
  storeReply,
} from '../../src/wire/index.ts';
import type { CaseText, WireContext } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import { type IncomingFlow, plaintextOf } from '../incoming-flow.ts';
import type { RawSession } from '../peer.ts';

/** Random, so that no record of it is compressed. */
export const OBJECT_BYTES = 200_000;
export const FIRST_FLIGHT_BYTES = 14_720;
export const DATAGRAM_BYTES_MIN = 1_200;
export const QUIET_MILLIS = 250;
export const NODE_OBJECT_BYTES = 2 ** 41;

export interface Stored {
  readonly hash: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Stores an object, and checks what STORE must answer. */
export async function store(context: WireContext, bytes: Uint8Array): Promise<Stored> {
  const session = await context.connect();
  const body = encodeMessage(storeQuery, { token: context.random(8), bytes: bytes.length });
  const id = session.query(QueryKind.STORE, body);
  const upload = await context.uploadFor(session, id);
  if (bytes.length === 0) await upload.deliverAll(bytes);
  else await upload.stream(bytes, 65_536);
  const { code, body: answer } = await upload.reply('DEFS-20');
  expectThat(code === ResultCode.OK, 'OK to STORE', `code ${code}`, 'DEFS-20');
  const reply = decodeMessage(storeReply, answer);
  expectThat(!isFailure(reply), 'a hash and a receipt', `${answer.length} bytes`, 'DEFS-20');
  const hash = context.suite.sha256(bytes);
  expectBytes(reply.hash, hash, 'the SHA-256', 'DEFS-21');
  return { hash, bytes };
}

/** Asks READ and expects its flow; nothing is waited for. */
export function read(
  session: RawSession,
  hash: Uint8Array,
  range: Partial<ReadQuery> = {},
): { readonly id: number; readonly flow: IncomingFlow } {
  const message = { hash, offset: 0, length: 0, creditBytes: 1 << 20, recordBytes: 65_536, ...range };
  const id = session.query(QueryKind.READ, encodeMessage(readQuery, message));
  return { id, flow: session.expectFlow(id, message.creditBytes) };
}

export function credit(session: RawSession, flow: IncomingFlow, limitBytes: number, complete = false): void {
  flow.limitBytes = Math.max(flow.limitBytes, limitBytes);
  const openedBytes = Math.min(flow.openedBytes, limitBytes);
  session.send([{ type: FrameType.CREDIT, flowId: flow.id, limitBytes, openedBytes, complete }]);
}

export async function complete(
  session: RawSession,
  flow: IncomingFlow,
  clause = 'REC-13',
): Promise<Uint8Array> {
  await session.until(() => flow.isComplete || undefined, 'the whole flow', { clause });
  credit(session, flow, Math.max(flow.limitBytes, flow.openedBytes), true);
  return plaintextOf(flow.records);
}

/** Sends what a sender must not believe, and expects the end. */
export function lie(
  title: string,
  clauses: readonly string[],
  say: (session: RawSession, flow: IncomingFlow) => void | Promise<void>,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const { hash } = await store(context, context.random(OBJECT_BYTES));
    const session = await context.connect();
    const { id, flow } = read(session, hash, { creditBytes: 65_536, recordBytes: 4_096 });
    await session.reply(id);
    await say(session, flow);
    await session.expectClose(clauses[0]!);
  };
  return { title, role: 'node', clauses, run };
}

/** A case on a stored object. */
export function onObject(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext, stored: Stored) => Promise<void>,
  bytes = OBJECT_BYTES,
): CaseText {
  return {
    title,
    role: 'node',
    clauses,
    run: async (context) => run(context, await store(context, context.random(bytes))),
  };
}

/** A STORE whose flow has another length than it says. */
export function wrongLength(title: string, said: number, sent: number): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    const body = encodeMessage(storeQuery, { token: context.random(8), bytes: said });
    const upload = await context.uploadFor(session, session.query(QueryKind.STORE, body));
    upload.send(0, upload.seal(0, context.random(sent)));
    const { code } = await upload.reply('DEFS-20');
    expectThat(code === ResultCode.MALFORMED, 'MALFORMED (11)', `code ${code}`);
  };
  return { title, role: 'node', clauses: ['DEFS-20'], run };
}
