/** A coordinator's work: admission, placement, the catalog. The cases bring nodes of their own. */

import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import { hkdfExpand, hkdfExtract } from '../../src/crypto/index.ts';
import {
  admitQuery,
  admitReply,
  CloseCode,
  type Codec,
  commitQuery,
  decodeMessage,
  encodeMessage,
  FrameType,
  hashQuery,
  inventoryQuery,
  isFailure,
  loadNotice,
  NodeState,
  noSpaceReply,
  QueryKind,
  type Receipt,
  ResultCode,
  Role,
  revisionReply,
  Settlement,
  type StatusReply,
  settleQuery,
  settleReply,
  statusQuery,
  statusReply,
  tokenQuery,
  Writer,
  whereIsManyQuery,
  whereIsManyReply,
  whereIsReply,
  whereToQuery,
  whereToReply,
} from '../../src/wire/index.ts';
import { type CaseText, type JoinedNode, section, type WireContext } from '../case.ts';
import { CaseFailure, expectBytes, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import type { Upload } from '../upload.ts';

const RECEIPT_LABEL = new TextEncoder().encode('gramline receipt v1');
const ENTRY_BYTES = 39;
const SIZE_MAX = 2 ** 48 - 1;
/** Sweeps and disks of a busy machine. */
const PATIENCE_MILLIS = 6_000;

interface Made {
  readonly hash: Uint8Array;
  readonly token: Uint8Array;
  readonly bytes: number;
}

function hashBody(hash: Uint8Array): Uint8Array {
  return encodeMessage(hashQuery, { hash });
}

/** Asks and expects OK and a body that decodes. */
async function askFor<Message extends object>(
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
async function expectCode(
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
function receiptOf(context: WireContext, nodeId: Uint8Array, { token, hash, bytes }: Made): Receipt {
  const { suite, admissionSecret } = context.target;
  const key = hkdfExpand(suite, hkdfExtract(suite, RECEIPT_LABEL, admissionSecret), RECEIPT_LABEL, 32);
  const size = new Writer(new Uint8Array(6));
  size.u48(bytes);
  const receipt = suite.hmacSha256(key, concatBytes(nodeId, token, hash, size.buffer)).slice(0, 16);
  return { nodeId, receipt };
}

function commitBody(made: Made, receipts: readonly Receipt[]): Uint8Array {
  return encodeMessage(commitQuery, { ...made, receipts });
}

/** Reserves space and commits an object that a node of ours vouches for. */
async function commit(
  context: WireContext,
  session: RawSession,
  nodes: readonly Uint8Array[],
): Promise<Made> {
  const made = { hash: context.random(32), token: context.random(8), bytes: 1_000 };
  await reserve(session, made.token);
  const body = commitBody(
    made,
    nodes.map((nodeId) => receiptOf(context, nodeId, made)),
  );
  await askFor(session, QueryKind.COMMIT, body, revisionReply, 'DEFS-16');
  return made;
}

function reserve(session: RawSession, token: Uint8Array, bytes = 1_000): ReturnType<typeof askFor<Placed>> {
  const body = encodeMessage(whereToQuery, { token, bytes, replicas: 1, hash: undefined });
  return askFor(session, QueryKind.WHERE_TO, body, whereToReply, 'DEFS-2');
}

type Placed = ReturnType<typeof whereToReply.decode>;

function whereIs(
  session: RawSession,
  hash: Uint8Array,
  clause = 'DEFS-16',
): ReturnType<typeof askFor<ReturnType<typeof whereIsReply.decode>>> {
  return askFor(session, QueryKind.WHERE_IS, hashBody(hash), whereIsReply, clause);
}

/** Takes the objects of a case out of the catalog again. */
async function remove(session: RawSession, ...made: readonly Made[]): Promise<void> {
  for (const { hash } of made) await session.ask(QueryKind.REMOVE, hashBody(hash));
}

function status(session: RawSession, cursor = 0): Promise<StatusReply> {
  return askFor(session, QueryKind.STATUS, encodeMessage(statusQuery, { cursor }), statusReply, 'MSG-5');
}

/** What STATUS says of a node, on whatever page. */
async function statusOf(
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
async function inventory(
  context: WireContext,
  { session }: JoinedNode,
  entries: readonly { readonly hash: Uint8Array; readonly bytes: number; readonly pending: boolean }[],
  said = entries.length,
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
  const id = session.query(QueryKind.INVENTORY, encodeMessage(inventoryQuery, { entries: said }));
  const upload: Upload = await context.uploadFor(session, id);
  await upload.deliverAll(payload);
  return (await upload.reply('DEFS-12')).code;
}

/** Waits for an order to delete `hash`, and answers it. */
async function obey(
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
async function eventually(
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

function coordinatorCase(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext) => Promise<void>,
): CaseText {
  return { title, clauses, role: 'coordinator', run };
}

/** A case with a node of ours that is up, and a client. */
function withNode(
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
function denied(
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

const proofBody = (proof: Uint8Array): Uint8Array => encodeMessage(admitQuery, { proof });

const texts: readonly CaseText[] = [
  coordinatorCase('STATUS is answered, page by page', ['MSG-5', 'MSG-7'], async (context) => {
    const session = await context.connect();
    const first = await status(session);
    const beyond = await status(session, 0xffff_ffff);
    expectThat(beyond.nodes.length === 0, 'an empty page beyond the end', `${beyond.nodes.length} nodes`);
    expectThat(
      first.nodes.length <= first.nodesTotal,
      'no more nodes than there are',
      `${first.nodes.length}`,
    );
  }),
  coordinatorCase('every JOIN gets a nonce of its own', ['ADM-3'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    const nodeId = context.random(16);
    const nonces = new Set<string>();
    for (let round = 0; round < 5; round++) nonces.add(String(await context.join(session, nodeId)));
    expectThat(nonces.size === 5, '5 nonces', `${nonces.size}`);
  }),
  coordinatorCase(
    'a right proof is answered OK, by a coordinator that proves itself',
    ['ADM-8', 'ADM-1', 'ADM-2'],
    async (context) => {
      const session = await context.connect({ role: Role.NODE });
      const nonce = await context.join(session, context.random(16));
      const body = proofBody(context.proof(session, nonce));
      const reply = await askFor(session, QueryKind.ADMIT, body, admitReply, 'ADM-1');
      expectBytes(
        reply.proof,
        context.proof(session, nonce, 'coordinator'),
        'the proof of a coordinator',
        'ADM-8',
      );
      expectThat(
        reply.clusterId.some((byte) => byte !== 0),
        'a cluster id',
        'zeros',
        'HS-11',
      );
    },
  ),
  coordinatorCase('a wrong proof is DENIED', ['ADM-1'], async (context) => {
    const wrong: ((session: RawSession, nonce: Uint8Array) => Uint8Array)[] = [
      () => context.random(32),
      () => new Uint8Array(32),
      (session, nonce) => context.proof(session, nonce, 'coordinator'),
      (session, nonce) => context.proof(session, nonce, ''),
      (session) => context.proof(session, context.random(32)),
    ];
    for (const make of wrong) {
      const session = await context.connect({ role: Role.NODE });
      const nonce = await context.join(session, context.random(16));
      await expectCode(session, QueryKind.ADMIT, proofBody(make(session, nonce)), ResultCode.DENIED, 'ADM-1');
    }
  }),
  coordinatorCase(
    'a proof over the handshake of another session is DENIED',
    ['ADM-1', 'HS-25'],
    async (context) => {
      const [session, other] = [
        await context.connect({ role: Role.NODE }),
        await context.connect({ role: Role.NODE }),
      ];
      const nonce = await context.join(session, context.random(16));
      await expectCode(
        session,
        QueryKind.ADMIT,
        proofBody(context.proof(other, nonce)),
        ResultCode.DENIED,
        'ADM-1',
      );
    },
  ),
  coordinatorCase('ADMIT without a nonce is DENIED', ['ADM-6'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    await expectCode(session, QueryKind.ADMIT, proofBody(context.random(32)), ResultCode.DENIED, 'ADM-6');
  }),
  coordinatorCase('a nonce is good for one ADMIT, also for one that failed', ['ADM-6'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    const nonce = await context.join(session, context.random(16));
    await expectCode(session, QueryKind.ADMIT, proofBody(context.random(32)), ResultCode.DENIED, 'ADM-1');
    const right = proofBody(context.proof(session, nonce));
    await expectCode(session, QueryKind.ADMIT, right, ResultCode.DENIED, 'ADM-6');
  }),
  coordinatorCase('a nonce that was replaced is good for nothing', ['ADM-3', 'ADM-6'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    const nodeId = context.random(16);
    const old = await context.join(session, nodeId);
    await context.join(session, nodeId);
    await expectCode(
      session,
      QueryKind.ADMIT,
      proofBody(context.proof(session, old)),
      ResultCode.DENIED,
      'ADM-3',
    );
  }),
  ...[0, 1].map((earlier) =>
    coordinatorCase(
      earlier === 0 ? 'the same incarnation twice is a CONFLICT' : 'an earlier incarnation is a CONFLICT',
      ['ADM-4'],
      async (context) => {
        const first = await context.joined(context.random(16), 7);
        const second = await context.connect({ role: Role.NODE });
        const nonce = await context.join(second, first.nodeId, 7 - earlier);
        const body = proofBody(context.proof(second, nonce));
        await expectCode(second, QueryKind.ADMIT, body, ResultCode.CONFLICT, 'ADM-4');
        await first.session.checkAlive('ADM-4');
      },
    ),
  ),
  coordinatorCase('a later incarnation replaces the node that is up', ['ADM-4'], async (context) => {
    const first = await context.joined(context.random(16), 7);
    const second = await context.joined(first.nodeId, 8);
    const look = (): true | undefined => first.session.frames(FrameType.CLOSE).length > 0 || undefined;
    await first.session.until(look, 'CLOSE of the earlier session', { clause: 'ADM-4' });
    await second.session.checkAlive('ADM-4');
  }),
  withNode(
    'JOIN on the session of a node that is up is a CONFLICT',
    ['ADM-9'],
    async (context, { session }) => {
      const body = new Uint8Array(37);
      body.set(context.random(16));
      await expectCode(session, QueryKind.JOIN, body, ResultCode.CONFLICT, 'ADM-9');
    },
  ),
  withNode(
    'a node is up while its session is, and down after',
    ['ADM-7', 'MSG-5'],
    async (_, { session, nodeId }, client) => {
      const up = await statusOf(client, nodeId);
      expectThat(up?.state === NodeState.UP, 'state 0 (up)', `${up?.state}`, 'MSG-5');
      session.send([{ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: '' }]);
      const isDown = async (): Promise<boolean> => (await statusOf(client, nodeId))?.state === NodeState.DOWN;
      await eventually(client, isDown, 'state 1 (down)', 'ADM-7');
    },
  ),
  coordinatorCase('INVENTORY, SETTLE and CORRUPT of a stranger are DENIED', ['ADM-7'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    const entries = [{ token: context.random(8), hash: context.random(32) }];
    await expectCode(
      session,
      QueryKind.INVENTORY,
      encodeMessage(inventoryQuery, { entries: 1 }),
      ResultCode.DENIED,
      'ADM-7',
    );
    await expectCode(
      session,
      QueryKind.SETTLE,
      encodeMessage(settleQuery, { entries }),
      ResultCode.DENIED,
      'ADM-7',
    );
    await expectCode(session, QueryKind.CORRUPT, hashBody(context.random(32)), ResultCode.DENIED, 'ADM-7');
  }),
  withNode(
    'LOAD counts on the session of its node',
    ['ADM-7', 'MSG-5', 'MSG-2'],
    async (_, { session, nodeId }, client) => {
      const body = encodeMessage(loadNotice, { freeBytes: 12_345_678, objects: 77, full: true });
      const isTold = async (): Promise<boolean> => {
        session.send([{ type: FrameType.NOTICE, kind: 1, body }]);
        const node = await statusOf(client, nodeId);
        return node?.state === NodeState.FULL && node.objects === 77;
      };
      await eventually(client, isTold, 'state 2 and 77 objects', 'MSG-5');
    },
  ),
  withNode(
    'LOAD of a stranger, and one that does not decode, count for nothing',
    ['ADM-7', 'MSG-3'],
    async (context, { session, nodeId }, client) => {
      const full = encodeMessage(loadNotice, { freeBytes: 1, objects: 99, full: true });
      const notAFlag = full.slice();
      notAFlag[12] = 2;
      const stranger = await context.connect({ role: Role.NODE });
      stranger.send([{ type: FrameType.NOTICE, kind: 1, body: full }]);
      session.send([{ type: FrameType.NOTICE, kind: 1, body: notAFlag }]);
      await stranger.checkAlive('FRM-8');
      await session.checkAlive('FRM-8');
      const node = await statusOf(client, nodeId);
      expectThat(
        node?.state === NodeState.UP && node.objects !== 99,
        'the node as it was',
        `state ${node?.state}`,
      );
    },
  ),
  coordinatorCase(
    'a size that fits nowhere is answered NO_SPACE with the facts',
    ['DEFS-5', 'DEFS-1'],
    async (context) => {
      const session = await context.connect();
      const query = { token: context.random(8), bytes: SIZE_MAX, replicas: 1, hash: undefined };
      const body = await expectCode(
        session,
        QueryKind.WHERE_TO,
        encodeMessage(whereToQuery, query),
        ResultCode.NO_SPACE,
        'DEFS-5',
      );
      const reply = decodeMessage(noSpaceReply, body);
      expectThat(!isFailure(reply), '8 bytes: free bytes and nodes up', `${body.length} bytes`, 'DEFS-5');
    },
  ),
  withNode(
    'WHERE_TO places, and the same token gets the same places again',
    ['DEFS-2'],
    async (context, _, client) => {
      // Of several nodes, so that the same place again is no accident.
      for (let more = 0; more < 4; more++) await context.joined();
      const token = context.random(8);
      const first = await reserve(client, token);
      expectThat(first.locations.length === 1, 'one place', `${first.locations.length}`);
      expectThat(first.leaseMillis === 30_000, 'a lease of 30,000 ms', `${first.leaseMillis}`, 'DEFS-4');
      for (let round = 0; round < 10; round++) {
        const again = await reserve(client, token, 5_000);
        expectBytes(again.locations[0]!.nodeId, first.locations[0]!.nodeId, 'the same node');
      }
      await client.ask(QueryKind.RELEASE, encodeMessage(tokenQuery, { token }));
    },
  ),
  withNode(
    'RENEW and RELEASE of a token that is held are answered OK',
    ['DEFS-15', 'DEFS-4'],
    async (context, _, client) => {
      const token = context.random(8);
      await reserve(client, token);
      const body = encodeMessage(tokenQuery, { token });
      await expectCode(client, QueryKind.RENEW, body, ResultCode.OK, 'DEFS-4');
      await expectCode(client, QueryKind.RELEASE, body, ResultCode.OK, 'DEFS-15');
      await expectCode(client, QueryKind.RELEASE, body, ResultCode.OK, 'DEFS-15');
    },
  ),
  coordinatorCase('RELEASE of a token that was never held is answered OK', ['DEFS-15'], async (context) => {
    const body = encodeMessage(tokenQuery, { token: context.random(8) });
    await expectCode(await context.connect(), QueryKind.RELEASE, body, ResultCode.OK, 'DEFS-15');
  }),
  coordinatorCase('an unknown hash is NOT_FOUND', ['DEFS-1', 'DEFS-18'], async (context) => {
    const session = await context.connect();
    for (const kind of [QueryKind.WHERE_IS, QueryKind.REMOVE]) {
      const body = await expectCode(
        session,
        kind,
        hashBody(context.random(32)),
        ResultCode.NOT_FOUND,
        'DEFS-1',
      );
      expectThat(body.length === 0, 'an empty body', `${body.length} bytes`, 'DEFS-1');
    }
  }),
  withNode(
    'an object that is committed is found',
    ['DEFS-16', 'DEFS-9', 'DEFS-8'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const found = await whereIs(client, made.hash);
      expectThat(found.bytes === made.bytes, `a size of ${made.bytes}`, `${found.bytes}`);
      expectBytes(found.locations[0]!.nodeId, nodeId, 'the node', 'DEFS-9');
      await remove(client, made);
    },
  ),
  withNode(
    'a COMMIT that is repeated is a CONFLICT, with the revision',
    ['DEFS-17', 'DEFS-16'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const body = commitBody(made, [receiptOf(context, nodeId, made)]);
      const answer = await expectCode(client, QueryKind.COMMIT, body, ResultCode.CONFLICT, 'DEFS-17');
      expectThat(
        !isFailure(decodeMessage(revisionReply, answer)),
        'a revision',
        `${answer.length} bytes`,
        'DEFS-16',
      );
      await remove(client, made);
    },
  ),
  withNode(
    'WHERE_TO with the hash of an object that is there is a CONFLICT',
    ['DEFS-3'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const query = { token: context.random(8), bytes: 1, replicas: 1, hash: made.hash };
      const body = await expectCode(
        client,
        QueryKind.WHERE_TO,
        encodeMessage(whereToQuery, query),
        ResultCode.CONFLICT,
        'DEFS-3',
      );
      expectThat(body.length === 0, 'an empty body', `${body.length} bytes`, 'DEFS-1');
      await remove(client, made);
    },
  ),
  denied('a COMMIT without a receipt is DENIED', () => []),
  denied('a COMMIT with a false receipt is DENIED', (context, { nodeId }) => [
    { nodeId, receipt: context.random(16) },
  ]),
  denied('a COMMIT with a receipt for another size is DENIED', (context, { nodeId }, made) => [
    receiptOf(context, nodeId, { ...made, bytes: made.bytes + 1 }),
  ]),
  denied('a COMMIT with a receipt for another hash is DENIED', (context, { nodeId }, made) => [
    receiptOf(context, nodeId, { ...made, hash: context.random(32) }),
  ]),
  denied('a COMMIT with a receipt for another token is DENIED', (context, { nodeId }, made) => [
    receiptOf(context, nodeId, { ...made, token: context.random(8) }),
  ]),
  denied('a COMMIT with a receipt of another node is DENIED', (context, { nodeId }, made) => [
    { nodeId, receipt: receiptOf(context, context.random(16), made).receipt },
  ]),
  denied('a COMMIT with one false receipt among right ones is DENIED', (context, { nodeId }, made) => [
    receiptOf(context, nodeId, made),
    { nodeId: context.random(16), receipt: context.random(16) },
  ]),
  withNode(
    'WHERE_IS_MANY answers each hash as WHERE_IS would',
    ['DEFS-27', 'DEFS-28', 'MSG-11'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const hashes = Array.from({ length: 31 }, (_, index) =>
        index === 17 ? made.hash : context.random(32),
      );
      const body = encodeMessage(whereIsManyQuery, { hashes });
      const reply = await askFor(client, QueryKind.WHERE_IS_MANY, body, whereIsManyReply, 'DEFS-27');
      expectThat(reply.answers.length === 31, '31 answers', `${reply.answers.length}`, 'DEFS-28');
      for (const [index, answer] of reply.answers.entries()) {
        const expected = index === 17 ? ResultCode.OK : ResultCode.NOT_FOUND;
        expectThat(
          answer.code === expected,
          `code ${expected} for hash ${index}`,
          `${answer.code}`,
          'DEFS-27',
        );
      }
      await remove(client, made);
    },
  ),
  withNode(
    'REMOVE takes the object out, and its node is told to delete it',
    ['DEFS-18'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await expectCode(client, QueryKind.REMOVE, hashBody(made.hash), ResultCode.OK, 'DEFS-18');
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.NOT_FOUND, 'DEFS-18');
      await obey(node, made.hash);
      await node.session.checkAlive('QRY-1');
    },
  ),
  withNode('a second REPLY to one query is ignored', ['QRY-5'], async (context, node, client) => {
    const made = await commit(context, client, [node.nodeId]);
    await remove(client, made);
    const id = await obey(node, made.hash);
    for (let copy = 0; copy < 3; copy++) {
      node.session.send([{ type: FrameType.REPLY, id, code: ResultCode.OK, body: new Uint8Array(0) }]);
    }
    await node.session.checkAlive('QRY-5');
  }),
  withNode('a DELETE that failed is ordered again', ['DEFS-18'], async (context, node, client) => {
    const made = await commit(context, client, [node.nodeId]);
    await remove(client, made);
    const first = await obey(node, made.hash, ResultCode.IO);
    const look = (): true | undefined => {
      const orders = node.session
        .frames(FrameType.QUERY)
        .filter((frame) => equalBytes(frame.body, made.hash));
      const next = orders.find(({ id }) => id !== first);
      if (next === undefined) return undefined;
      node.session.send([
        { type: FrameType.REPLY, id: next.id, code: ResultCode.OK, body: new Uint8Array(0) },
      ]);
      return true;
    };
    await node.session.until(look, 'DELETE again', { clause: 'DEFS-18' });
  }),
  withNode(
    'a query of the coordinator is sent again until it is acknowledged',
    ['QRY-4', 'QRY-1'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      node.session.acks = false;
      await remove(client, made);
      const orders = (): number =>
        node.session.packets.filter(({ frames }) =>
          frames.some((frame) => frame.type === FrameType.QUERY && equalBytes(frame.body, made.hash)),
        ).length;
      await node.session.until(() => orders() >= 2 || undefined, 'DELETE in two packets', {
        clause: 'QRY-4',
      });
      node.session.acks = true;
      node.session.acknowledge();
      await obey(node, made.hash);
    },
  ),
  withNode(
    'COMMIT of an object that was removed since is ABORTED',
    ['DEFS-24'],
    async (context, node, client) => {
      const made = { hash: context.random(32), token: context.random(8), bytes: 1_000 };
      const late = { ...made, token: context.random(8) };
      await reserve(client, made.token);
      await reserve(client, late.token);
      const body = (of: Made): Uint8Array => commitBody(of, [receiptOf(context, node.nodeId, of)]);
      await expectCode(client, QueryKind.COMMIT, body(made), ResultCode.OK, 'DEFS-16');
      await remove(client, made);
      await expectCode(client, QueryKind.COMMIT, body(late), ResultCode.ABORTED, 'DEFS-24');
      await obey(node, made.hash);
      await expectCode(client, QueryKind.COMMIT, body(late), ResultCode.ABORTED, 'DEFS-24');
      await client.ask(QueryKind.RELEASE, encodeMessage(tokenQuery, { token: late.token }));
    },
  ),
  withNode(
    'CORRUPT strikes the replica, and an object without one is CORRUPT',
    ['DEFS-19', 'DEFS-11'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await expectCode(node.session, QueryKind.CORRUPT, hashBody(made.hash), ResultCode.OK, 'DEFS-19');
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.CORRUPT, 'DEFS-11');
      await remove(client, made);
    },
  ),
  withNode(
    'an inventory brings objects that the catalog lacks',
    ['DEFS-12', 'MSG-8'],
    async (context, node, client) => {
      const made = { hash: context.random(32), token: context.random(8), bytes: 4_321 };
      const code = await inventory(context, node, [{ ...made, pending: false }]);
      expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
      const found = await whereIs(client, made.hash, 'DEFS-12');
      expectThat(found.bytes === made.bytes, `${made.bytes} bytes`, `${found.bytes}`);
      await remove(client, made);
    },
  ),
  withNode('a pending entry is not brought into the catalog', ['DEFS-12'], async (context, node, client) => {
    const hash = context.random(32);
    await inventory(context, node, [{ hash, bytes: 10, pending: true }]);
    await expectCode(client, QueryKind.WHERE_IS, hashBody(hash), ResultCode.NOT_FOUND, 'DEFS-12');
  }),
  withNode(
    'a replica that the inventory lacks is struck',
    ['DEFS-12', 'DEFS-11'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const again = await context.joined(node.nodeId, node.incarnation + 1);
      const code = await inventory(context, again, []);
      expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.CORRUPT, 'DEFS-12');
      await remove(client, made);
    },
  ),
  withNode(
    'a replica that was committed after the node joined is not struck',
    ['DEFS-12'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await inventory(context, node, []);
      await whereIs(client, made.hash, 'DEFS-12');
      await remove(client, made);
    },
  ),
  withNode(
    'an inventory of another length than it says changes nothing but what it adds',
    ['MSG-8'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const again = await context.joined(node.nodeId, node.incarnation + 1);
      const code = await inventory(
        context,
        again,
        [{ hash: context.random(32), bytes: 1, pending: true }],
        2,
      );
      expectThat(code !== ResultCode.OK, 'a failure', 'OK');
      await whereIs(client, made.hash, 'MSG-8');
      await remove(client, made);
    },
  ),
  withNode('an inventory that names one entry twice has one', ['MSG-8'], async (context, node) => {
    const entry = { hash: context.random(32), bytes: 1, pending: true };
    const code = await inventory(context, node, [entry, entry], 1);
    expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
  }),
  withNode(
    'an object that was removed is ordered to be deleted when an inventory brings it',
    ['DEFS-12', 'DEFS-18'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await remove(client, made);
      await obey(node, made.hash);
      const again = await context.joined(node.nodeId, node.incarnation + 1);
      await inventory(context, again, [{ ...made, pending: false }]);
      await obey(again, made.hash);
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.NOT_FOUND, 'DEFS-12');
    },
  ),
  withNode(
    'sizes that sum up to more than six bytes hold do no harm',
    ['LIM-1', 'PKT-9'],
    async (context, node, client) => {
      const made = [1, 2, 3].map(() => ({
        hash: context.random(32),
        token: context.random(8),
        bytes: SIZE_MAX,
      }));
      await inventory(
        context,
        node,
        made.map((entry) => ({ ...entry, pending: false })),
      );
      await status(client);
      await remove(client, ...made);
      const { bytes } = await status(client);
      expectThat(bytes < SIZE_MAX, 'a sum without them', `${bytes}`);
    },
  ),
  withNode(
    'SETTLE says keep of what is committed, and wait of what may still be',
    ['DEFS-10', 'MSG-9'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const held = { token: context.random(8), hash: context.random(32) };
      await reserve(client, held.token);
      const entries = [{ token: made.token, hash: made.hash }, held];
      const body = encodeMessage(settleQuery, { entries });
      const { settlements } = await askFor(node.session, QueryKind.SETTLE, body, settleReply, 'DEFS-10');
      expectThat(settlements.length === 2, 'an answer each', `${settlements.length}`, 'MSG-9');
      expectThat(settlements[0] === Settlement.KEEP, 'keep (1)', `${settlements[0]}`, 'DEFS-10');
      expectThat(settlements[1] === Settlement.WAIT, 'wait (0)', `${settlements[1]}`, 'DEFS-10');
      await client.ask(QueryKind.RELEASE, encodeMessage(tokenQuery, { token: held.token }));
      await remove(client, made);
    },
  ),
  withNode(
    'SETTLE does not say keep of an object that another node holds',
    ['DEFS-10'],
    async (context, node, client) => {
      const other = await context.joined();
      const made = await commit(context, client, [other.nodeId]);
      const body = encodeMessage(settleQuery, { entries: [made] });
      const { settlements } = await askFor(node.session, QueryKind.SETTLE, body, settleReply, 'DEFS-10');
      expectThat(settlements[0] !== Settlement.KEEP, 'wait or drop', 'keep');
      await remove(client, made);
    },
  ),
  withNode('an object has the replicas of all its commits', ['DEFS-16'], async (context, node, client) => {
    const other = await context.joined();
    const made = await commit(context, client, [node.nodeId]);
    const again = { ...made, token: context.random(8) };
    await reserve(client, again.token);
    const body = commitBody(again, [receiptOf(context, other.nodeId, again)]);
    await expectCode(client, QueryKind.COMMIT, body, ResultCode.CONFLICT, 'DEFS-16');
    const found = await whereIs(client, made.hash);
    expectThat(found.locations.length === 2, '2 locations', `${found.locations.length}`);
    await remove(client, made);
  }),
  withNode(
    'nodes that are up are ranked before those that are not',
    ['DEFS-9'],
    async (context, node, client) => {
      const other = await context.joined();
      const made = await commit(context, client, [node.nodeId, other.nodeId]);
      other.session.send([{ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: '' }]);
      const isDown = async (): Promise<boolean> =>
        (await statusOf(client, other.nodeId))?.state === NodeState.DOWN;
      await eventually(client, isDown, 'state 1 (down)', 'ADM-7');
      for (let round = 0; round < 8; round++) {
        const { locations } = await whereIs(client, made.hash, 'DEFS-9');
        expectBytes(locations[0]!.nodeId, node.nodeId, 'the node that is up first');
      }
      await remove(client, made);
    },
  ),
];

export const catalogCases = section('catalog', 541, texts);
