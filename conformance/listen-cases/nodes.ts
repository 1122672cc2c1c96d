/** What a node owes the coordinator that it has joined: its digest and inventory, and orders that it obeys. */

import { randomBytes } from 'node:crypto';
import { admissionProof } from '../../src/crypto/index.ts';
import {
  admitQuery,
  admitReply,
  type Codec,
  type CopyQuery,
  copyQuery,
  decodeMessage,
  digestQuery,
  digestReply,
  encodeMessage,
  FrameType,
  hashQuery,
  inventoryQuery,
  joinQuery,
  joinReply,
  type Location,
  QueryKind,
  ResultCode,
  readQuery,
  readReply,
  storeReply,
} from '../../src/wire/index.ts';
import { receiptOf } from '../cases/coordinator-steps.ts';
import { begin, finish } from '../cases/tenure-steps.ts';
import { CaseFailure, expectBytes, expectThat } from '../expectations.ts';
import { isSameTag } from '../handshake.ts';
import type { Accepted, ListenCase, ListenContext, ReceivedHello } from '../listen.ts';
import type { RawSession } from '../peer.ts';
import { Upload } from '../upload.ts';

const NO_BUCKET = new Uint8Array(8);
const DIGESTS_BYTES = 64 * 8;
const OBJECT_BYTES = 1_000;
/** More than a node has. */
const BYTES_TOO_MANY = 2 ** 41;
const SOURCES_MAX = 8;
/** What has not come by then does not come. */
const QUIET_MILLIS = 300;

type Text = Omit<ListenCase, 'id' | 'group'>;

/** A node that has joined us. */
interface Admitted {
  readonly accepted: Accepted;
  readonly session: RawSession;
  readonly nodeId: Uint8Array;
  /** What its DIGEST said. */
  readonly entries: number;
  readonly digests: Uint8Array;
}

function random(bytes: number): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

function decoded<Message extends object>(codec: Codec<Message>, body: Uint8Array, clause: string): Message {
  const message: Message | string = decodeMessage(codec, body);
  if (typeof message === 'string') throw new CaseFailure('a body that decodes', message, clause);
  return message;
}

/** A query of the other end, which is not one of those that were seen before. */
async function asked(
  session: RawSession,
  kind: number,
  clause: string,
  seen: readonly number[] = [],
): Promise<{ readonly id: number; readonly body: Uint8Array }> {
  const look = () =>
    session.frames(FrameType.QUERY).find((query) => query.kind === kind && !seen.includes(query.id));
  return session.until(look, `a query of kind ${kind}`, { clause });
}

function reply(session: RawSession, id: number, code: number, body: Uint8Array = new Uint8Array(0)): void {
  session.send([{ type: FrameType.REPLY, id, code, body }]);
}

/** Lets the command join as a node; its DIGEST is answered with the buckets that are to differ. */
async function admit(context: ListenContext, differs: Uint8Array = NO_BUCKET): Promise<Admitted> {
  const { suite, admissionSecret } = context.target;
  const accepted = await context.accept();
  const { session } = accepted;
  const nonce = random(32);
  const proof = (role: string): Uint8Array =>
    admissionProof(suite, admissionSecret, session.handshakeHash, nonce, role);
  const join = await asked(session, QueryKind.JOIN, 'ADM-3');
  const { nodeId, address } = decoded(joinQuery, join.body, 'ADM-3');
  reply(session, join.id, ResultCode.OK, encodeMessage(joinReply, { nonce }));
  const admission = await asked(session, QueryKind.ADMIT, 'ADM-1');
  const proven = decoded(admitQuery, admission.body, 'ADM-1').proof;
  expectBytes(proven, proof('node'), 'the proof of a node', 'ADM-1');
  const { clusterId } = context;
  const admitted = encodeMessage(admitReply, { clusterId, address, proof: proof('coordinator') });
  reply(session, admission.id, ResultCode.OK, admitted);
  const digest = await asked(session, QueryKind.DIGEST, 'DIG-1');
  const { entries, digests } = decoded(digestQuery, digest.body, 'DIG-1');
  reply(session, digest.id, ResultCode.OK, encodeMessage(digestReply, { differs }));
  return { accepted, session, nodeId, entries, digests };
}

/** A COPY of an object that nobody has; what is given replaces that. */
function copyOf(fields: Partial<CopyQuery> = {}): CopyQuery {
  return { token: random(8), hash: random(32), bytes: OBJECT_BYTES, sources: [], ...fields };
}

/** Our own front port, as so many nodes that have the object. */
function sources(context: ListenContext, count: number): Location[] {
  const address = context.address;
  return Array.from({ length: count }, () => ({ nodeId: random(16), address }));
}

async function expectCopy({ session }: Admitted, copy: CopyQuery, code: number): Promise<Uint8Array> {
  const order = begin(session, QueryKind.COPY, encodeMessage(copyQuery, copy));
  return finish(session, order, 'REP-4', code);
}

/** Expects the node to hold the object whole: it says so by a receipt under the token. */
async function expectHeld(context: ListenContext, node: Admitted, copy: CopyQuery): Promise<void> {
  expectReceipt(context, node, copy, await expectCopy(node, copy, ResultCode.OK));
}

function expectReceipt(
  context: ListenContext,
  { nodeId }: Admitted,
  copy: CopyQuery,
  body: Uint8Array,
): void {
  const { hash, receipt } = decoded(storeReply, body, 'REP-4');
  expectBytes(hash, copy.hash, 'the hash', 'REP-4');
  expectBytes(receipt, receiptOf(context, nodeId, copy).receipt, 'the receipt', 'DEFS-8');
}

/** The session on which the node comes for what it is to copy. */
async function comer(context: ListenContext, { accepted }: Admitted): Promise<RawSession> {
  const isOther = ({ packet }: ReceivedHello): boolean => !isSameTag(packet.tag, accepted.hello.packet.tag);
  return (await context.accept({}, isOther)).session;
}

/** Answers a READ of the object with these bytes. */
async function serve(
  session: RawSession,
  copy: CopyQuery,
  bytes: Uint8Array,
  seen: readonly number[] = [],
): Promise<void> {
  const { id, body } = await asked(session, QueryKind.READ, 'REP-4', seen);
  const query = decoded(readQuery, body, 'REP-4');
  expectBytes(query.hash, copy.hash, 'the object that it is to copy', 'REP-4');
  reply(session, id, ResultCode.OK, encodeMessage(readReply, { bytes: bytes.length }));
  const upload = new Upload(session, id);
  await upload.deliver(0, upload.seal(0, bytes), () => upload.isComplete, 'REP-4');
}

/** A case with a node that has joined us, and of which nothing differs. */
function joined(
  title: string,
  clauses: readonly string[],
  run: (context: ListenContext, node: Admitted) => Promise<void>,
): Text {
  return { title, clauses, run: async (context) => run(context, await admit(context)) };
}

/** Lets the node copy an object that it does not have yet. */
async function copyWhole(context: ListenContext, node: Admitted): Promise<CopyQuery> {
  const bytes = random(OBJECT_BYTES);
  const copy = copyOf({ hash: context.target.suite.sha256(bytes), sources: sources(context, 1) });
  const order = begin(node.session, QueryKind.COPY, encodeMessage(copyQuery, copy));
  await serve(await comer(context, node), copy, bytes);
  expectReceipt(context, node, copy, await finish(node.session, order, 'REP-4'));
  return copy;
}

const texts: readonly Text[] = [
  joined(
    'a node without objects says so, and sends no inventory where nothing differs',
    ['DIG-1', 'DIG-3', 'ADM-1'],
    async (_, { session, entries, digests }) => {
      expectThat(entries === 0, 'no entry', `${entries}`, 'DIG-1');
      expectBytes(digests, new Uint8Array(DIGESTS_BYTES), 'digests of zeros', 'DIG-1');
      const look = (): true | undefined => session.frames(FrameType.NOTICE).length > 0 || undefined;
      await session.until(look, 'LOAD of a node that has joined', { clause: 'MSG-2' });
      await session.idle(QUIET_MILLIS);
      const inventories = session.frames(FrameType.QUERY).filter(({ kind }) => kind === QueryKind.INVENTORY);
      expectThat(inventories.length === 0, 'no INVENTORY', `${inventories.length}`, 'DIG-3');
    },
  ),
  {
    title: 'an inventory is about the buckets that differ',
    clauses: ['DIG-3', 'MSG-8'],
    run: async (context) => {
      const differs = Uint8Array.of(1, 0, 0, 0, 0x80, 0, 0, 3);
      const { session } = await admit(context, differs);
      const { body } = await asked(session, QueryKind.INVENTORY, 'DIG-3');
      const { entries, buckets } = decoded(inventoryQuery, body, 'MSG-8');
      expectBytes(buckets, differs, 'the buckets that differ', 'DIG-3');
      expectThat(entries === 0, 'no entry', `${entries}`, 'MSG-8');
    },
  },
  joined('COPY without sources of an unknown object is NOT_FOUND', ['REP-4'], async (_, node) => {
    const body = await expectCopy(node, copyOf(), ResultCode.NOT_FOUND);
    expectThat(body.length === 0, 'an empty body', `${body.length} bytes`, 'DEFS-1');
  }),
  joined(
    'COPY reads the object from its source, keeps it, and is answered by a receipt',
    ['REP-4', 'DEFS-8', 'DEFS-20'],
    async (context, node) => {
      const { hash } = await copyWhole(context, node);
      await expectHeld(context, node, copyOf({ hash }));
    },
  ),
  joined('COPY goes on at the next source where one does not give it', ['REP-4'], async (context, node) => {
    const bytes = random(OBJECT_BYTES);
    const copy = copyOf({ hash: context.target.suite.sha256(bytes), sources: sources(context, 2) });
    const order = begin(node.session, QueryKind.COPY, encodeMessage(copyQuery, copy));
    const session = await comer(context, node);
    const first = await asked(session, QueryKind.READ, 'REP-4');
    reply(session, first.id, ResultCode.NOT_FOUND);
    await serve(session, copy, bytes, [first.id]);
    expectReceipt(context, node, copy, await finish(node.session, order, 'REP-4'));
  }),
  joined('COPY keeps nothing that is not the object', ['REP-4'], async (context, node) => {
    const copy = copyOf({ sources: sources(context, 1) });
    const order = begin(node.session, QueryKind.COPY, encodeMessage(copyQuery, copy));
    await serve(await comer(context, node), copy, random(OBJECT_BYTES));
    const { code } = await node.session.reply(order.id, { clause: 'REP-4', again: order.again });
    expectThat(code !== ResultCode.OK, 'a failure', 'OK', 'REP-4');
    await expectCopy(node, copyOf({ hash: copy.hash }), ResultCode.NOT_FOUND);
  }),
  joined('COPY of more than there is space for is NO_SPACE', ['REP-4', 'DEFS-20'], async (context, node) => {
    const copy = copyOf({ bytes: BYTES_TOO_MANY, sources: sources(context, 1) });
    await expectCopy(node, copy, ResultCode.NO_SPACE);
  }),
  joined(
    'COPY that does not decode is MALFORMED, and a kind of clients UNSUPPORTED',
    ['QRY-9', 'MSG-7', 'PKT-4'],
    async (context, { session }) => {
      const whole = encodeMessage(copyQuery, copyOf({ sources: sources(context, 1) }));
      const countAt = 8 + 32 + 6;
      const tooMany = whole.slice();
      tooMany[countAt] = SOURCES_MAX + 1;
      for (const body of [whole.slice(0, -1), whole.slice(0, countAt), tooMany, new Uint8Array(0)]) {
        await finish(session, begin(session, QueryKind.COPY, body), 'QRY-9', ResultCode.MALFORMED);
      }
      const read = begin(session, QueryKind.READ, new Uint8Array(54));
      await finish(session, read, 'QRY-9', ResultCode.UNSUPPORTED);
    },
  ),
  joined('DELETE takes what was copied away again', ['ADM-5', 'REP-4'], async (context, node) => {
    const { hash } = await copyWhole(context, node);
    const remove = encodeMessage(hashQuery, { hash });
    for (const code of [ResultCode.OK, ResultCode.NOT_FOUND]) {
      await finish(node.session, begin(node.session, QueryKind.DELETE, remove), 'ADM-5', code);
    }
    await expectCopy(node, copyOf({ hash }), ResultCode.NOT_FOUND);
  }),
];

/** Cases of a command that is a node. */
export const nodeCases: readonly ListenCase[] = texts.map((text, index) => ({
  ...text,
  group: 'node',
  id: `L-${String(index + 101).padStart(3, '0')}`,
}));
