/** What the cases of a coordinator are made of: nodes of their own, reservations, receipts, inventories. */

import { randomBytes } from 'node:crypto';
import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import { hkdfExpand, hkdfExtract } from '../../src/crypto/index.ts';
import {
  admitQuery,
  type Codec,
  commitQuery,
  decodeMessage,
  encodeMessage,
  FrameType,
  hashQuery,
  inventoryQuery,
  QueryKind,
  type Receipt,
  ResultCode,
  removeQuery,
  revisionReply,
  type StatusReply,
  statusQuery,
  statusReply,
  tokenQuery,
  Writer,
  whereIsReply,
  whereToQuery,
  whereToReply,
} from '../../src/wire/index.ts';
import { ALL_BUCKETS, type CaseText, type JoinedNode, type Target, type WireContext } from '../case.ts';
import { CaseFailure, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import type { Upload } from '../upload.ts';

export const RECEIPT_LABEL = new TextEncoder().encode('gramline receipt v1');
export const ENTRY_BYTES = 39;
export const SIZE_MAX = 2 ** 48 - 1;
/** Sweeps and disks of a busy machine. */
export const PATIENCE_MILLIS = 6_000;

export interface Made {
  readonly hash: Uint8Array;
  readonly token: Uint8Array;
  readonly bytes: number;
}

export function hashBody(hash: Uint8Array): Uint8Array {
  return encodeMessage(hashQuery, { hash });
}

/** The body of a REMOVE. */
export function removeBody(token: Uint8Array, hash: Uint8Array): Uint8Array {
  return encodeMessage(removeQuery, { token, hash });
}

/** Asks and expects OK and a body that decodes. */
export async function askFor<Message extends object>(
  session: RawSession,
  kind: number,
  body: Uint8Array,
  codec: Codec<Message>,
  clause: string,
): Promise<Message> {
  const answer = await session.ask(kind, body, clause);
  expectThat(answer.code === ResultCode.OK, 'OK (0)', `code ${answer.code}`, clause);
  const message: Message | string = decodeMessage(codec, answer.body);
  if (typeof message === 'string') throw new CaseFailure('a body that decodes', message, clause);
  return message;
}

/** Asks and expects a code. */
export async function expectCode(
  session: RawSession,
  kind: number,
  body: Uint8Array,
  code: number,
  clause: string,
): Promise<Uint8Array> {
  const answer = await session.ask(kind, body, clause);
  expectThat(answer.code === code, `code ${code}`, `code ${answer.code}`, clause);
  return answer.body;
}

/** The receipt that a node of ours gives for an object [DEFS-8]. */
export function receiptOf(
  { target }: { readonly target: Pick<Target, 'suite' | 'admissionSecret'> },
  nodeId: Uint8Array,
  { token, hash, bytes }: Made,
): Receipt {
  const { suite, admissionSecret } = target;
  const key = hkdfExpand(suite, hkdfExtract(suite, RECEIPT_LABEL, admissionSecret), RECEIPT_LABEL, 32);
  const size = new Writer(new Uint8Array(6));
  size.u48(bytes);
  const receipt = suite.hmacSha256(key, concatBytes(nodeId, token, hash, size.buffer)).slice(0, 16);
  return { nodeId, receipt };
}

/** A COMMIT of an object that is to have so many replicas: as many as receipts come with it, or more. */
export function commitBody(
  { token, hash, bytes }: Made,
  receipts: readonly Receipt[],
  replicas = Math.max(receipts.length, 1),
): Uint8Array {
  return encodeMessage(commitQuery, { token, hash, bytes, replicas, receipts });
}

/** Reserves space and commits an object that a node of ours vouches for. */
export async function commit(
  context: WireContext,
  session: RawSession,
  nodes: readonly Uint8Array[],
  hash = context.random(32),
): Promise<Made> {
  const made = { hash, token: context.random(8), bytes: 1_000 };
  await reserve(session, made.token);
  const body = commitBody(
    made,
    nodes.map((nodeId) => receiptOf(context, nodeId, made)),
  );
  await askFor(session, QueryKind.COMMIT, body, revisionReply, 'DEFS-16');
  return made;
}

export function reserve(
  session: RawSession,
  token: Uint8Array,
  bytes = 1_000,
): ReturnType<typeof askFor<Placed>> {
  const body = encodeMessage(whereToQuery, { token, bytes, replicas: 1, hash: undefined });
  return askFor(session, QueryKind.WHERE_TO, body, whereToReply, 'DEFS-2');
}

export type Placed = ReturnType<typeof whereToReply.decode>;

export function whereIs(
  session: RawSession,
  hash: Uint8Array,
  clause = 'DEFS-16',
): ReturnType<typeof askFor<ReturnType<typeof whereIsReply.decode>>> {
  return askFor(session, QueryKind.WHERE_IS, hashBody(hash), whereIsReply, clause);
}

/** Takes the objects of a case out of the catalog again. */
export async function remove(session: RawSession, ...made: readonly Made[]): Promise<void> {
  for (const { hash } of made) {
    await session.ask(QueryKind.REMOVE, removeBody(new Uint8Array(randomBytes(8)), hash));
  }
}

export function status(session: RawSession, cursor = 0): Promise<StatusReply> {
  return askFor(session, QueryKind.STATUS, encodeMessage(statusQuery, { cursor }), statusReply, 'MSG-5');
}

/** What STATUS says of a node, on whatever page. */
export async function statusOf(
  session: RawSession,
  nodeId: Uint8Array,
): Promise<StatusReply['nodes'][number] | undefined> {
  for (let cursor = 0; ; ) {
    const page = await status(session, cursor);
    const found = page.nodes.find((node) => equalBytes(node.nodeId, nodeId));
    cursor += page.nodes.length;
    if (found !== undefined || page.nodes.length === 0 || cursor >= page.nodesTotal) return found;
  }
}

/** Sends an inventory of these entries; the code of its reply. */
export async function inventory(
  context: WireContext,
  { session }: JoinedNode,
  entries: readonly { readonly hash: Uint8Array; readonly bytes: number; readonly pending: boolean }[],
  said = entries.length,
  buckets = ALL_BUCKETS,
): Promise<number> {
  const payload = concatBytes(
    ...entries.map(({ hash, bytes, pending }) => {
      const writer = new Writer(new Uint8Array(ENTRY_BYTES));
      writer.bytes(hash);
      writer.u48(bytes);
      writer.u8(pending ? 1 : 0);
      return writer.buffer;
    }),
  );
  const id = session.query(QueryKind.INVENTORY, encodeMessage(inventoryQuery, { entries: said, buckets }));
  const upload: Upload = await context.uploadFor(session, id);
  await upload.deliverAll(payload);
  return (await upload.reply('DEFS-12')).code;
}

/** The map of buckets that names that of `hash` alone [DIG-1]. */
export function bucketMapOf(hash: Uint8Array): Uint8Array {
  const bucket = hash[0]! % 64;
  const map = new Uint8Array(8);
  map[Math.floor(bucket / 8)] = 2 ** (bucket % 8);
  return map;
}

/** Waits for an order to delete `hash`, and answers it. */
export async function obey(
  { session }: JoinedNode,
  hash: Uint8Array,
  code: number = ResultCode.OK,
): Promise<number> {
  const look = (): number | undefined =>
    session
      .frames(FrameType.QUERY)
      .find(({ kind, body }) => kind === QueryKind.DELETE && equalBytes(body, hash))?.id;
  const id = await session.until(look, 'DELETE of the object', { clause: 'DEFS-18' });
  session.send([{ type: FrameType.REPLY, id, code, body: new Uint8Array(0) }]);
  return id;
}

/** Asks until the answer is what it should become. */
export async function eventually(
  session: RawSession,
  look: () => Promise<boolean>,
  what: string,
  clause: string,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MILLIS;
  while (!(await look())) {
    expectThat(performance.now() < deadline, what, 'nothing of it', clause);
    await session.idle(100);
  }
}

export function coordinatorCase(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext) => Promise<void>,
): CaseText {
  return { title, clauses, role: 'coordinator', run };
}

/** A case with a node of ours that is up, and a client. */
export function withNode(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext, node: JoinedNode, client: RawSession) => Promise<void>,
): CaseText {
  return coordinatorCase(title, clauses, async (context) => {
    const node = await context.joined();
    await run(context, node, await context.connect());
  });
}

/** A COMMIT that no receipt proves. */
export function denied(
  title: string,
  receipts: (context: WireContext, node: JoinedNode, made: Made) => readonly Receipt[],
): CaseText {
  return withNode(title, ['DEFS-8'], async (context, node, client) => {
    const made = { hash: context.random(32), token: context.random(8), bytes: 1_000 };
    await reserve(client, made.token);
    await expectCode(
      client,
      QueryKind.COMMIT,
      commitBody(made, receipts(context, node, made)),
      ResultCode.DENIED,
      'DEFS-8',
    );
    await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.NOT_FOUND, 'DEFS-8');
    await client.ask(QueryKind.RELEASE, encodeMessage(tokenQuery, { token: made.token }));
  });
}

export const proofBody = (proof: Uint8Array): Uint8Array => encodeMessage(admitQuery, { proof });
