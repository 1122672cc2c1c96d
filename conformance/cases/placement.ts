/** Reservations, commits, questions and removals. The nodes are those of the cases. */

import { equalBytes } from '../../src/base/bytes.ts';
import {
  decodeMessage,
  encodeMessage,
  FrameType,
  isFailure,
  noSpaceReply,
  QueryKind,
  ResultCode,
  revisionReply,
  tokenQuery,
  whereIsManyQuery,
  whereIsManyReply,
  whereToQuery,
} from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import {
  askFor,
  commit,
  commitBody,
  coordinatorCase,
  denied,
  expectCode,
  hashBody,
  obey,
  receiptOf,
  remove,
  removeBody,
  reserve,
  SIZE_MAX,
  whereIs,
  withNode,
} from './coordinator-steps.ts';

const texts: readonly CaseText[] = [
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
    const unknown = context.random(32);
    const asked = [
      [QueryKind.WHERE_IS, hashBody(unknown)],
      [QueryKind.REMOVE, removeBody(context.random(8), unknown)],
    ] as const;
    for (const [kind, query] of asked) {
      const body = await expectCode(session, kind, query, ResultCode.NOT_FOUND, 'DEFS-1');
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
    'a COMMIT that is repeated is answered as the first time, with the revision',
    ['DEFS-17', 'DEFS-16'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const body = commitBody(made, [receiptOf(context, nodeId, made)]);
      const answer = await expectCode(client, QueryKind.COMMIT, body, ResultCode.OK, 'DEFS-17');
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
      const removal = removeBody(context.random(8), made.hash);
      await expectCode(client, QueryKind.REMOVE, removal, ResultCode.OK, 'DEFS-18');
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
    'a REMOVE that is repeated is OK, also when the object is there again, which it then stays',
    ['DEFS-30', 'DEFS-18'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const removal = removeBody(context.random(8), made.hash);
      await expectCode(client, QueryKind.REMOVE, removal, ResultCode.OK, 'DEFS-18');
      await obey(node, made.hash);
      // Its REPLY has arrived before the object is committed again.
      await node.session.checkAlive('QRY-1');
      await expectCode(client, QueryKind.REMOVE, removal, ResultCode.OK, 'DEFS-30');
      const again = await commit(context, client, [node.nodeId], made.hash);
      await expectCode(client, QueryKind.REMOVE, removal, ResultCode.OK, 'DEFS-30');
      await whereIs(client, again.hash, 'DEFS-30');
      await remove(client, again);
    },
  ),
  withNode(
    'a COMMIT that is repeated after its object was removed is OK, and brings nothing back',
    ['DEFS-17'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await remove(client, made);
      await obey(node, made.hash);
      const body = commitBody(made, [receiptOf(context, node.nodeId, made)]);
      await expectCode(client, QueryKind.COMMIT, body, ResultCode.OK, 'DEFS-17');
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.NOT_FOUND, 'DEFS-17');
    },
  ),
  withNode(
    'a COMMIT of another put of an object that is there is a CONFLICT, also when it is repeated',
    ['DEFS-16', 'DEFS-17'],
    async (context, { nodeId }, client) => {
      const made = await commit(context, client, [nodeId]);
      const other = { ...made, token: context.random(8) };
      await reserve(client, other.token);
      const body = commitBody(other, [receiptOf(context, nodeId, other)]);
      await expectCode(client, QueryKind.COMMIT, body, ResultCode.CONFLICT, 'DEFS-16');
      await expectCode(client, QueryKind.COMMIT, body, ResultCode.CONFLICT, 'DEFS-17');
      await remove(client, made);
    },
  ),
];

export const placementCases = section('placement', 571, texts);
