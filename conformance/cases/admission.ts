import { equalBytes } from '../../src/base/bytes.ts';
import {
  admitReply,
  CloseCode,
  encodeMessage,
  FrameType,
  inventoryQuery,
  loadNotice,
  type MembersReply,
  membersQuery,
  membersReply,
  NodeState,
  QueryKind,
  RepairKnown,
  ResultCode,
  Role,
  settleQuery,
} from '../../src/wire/index.ts';
import { ALL_BUCKETS, type CaseText, section } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import {
  askFor,
  coordinatorCase,
  eventually,
  expectCode,
  hashBody,
  proofBody,
  status,
  statusOf,
  withNode,
} from './coordinator-steps.ts';

const texts: readonly CaseText[] = [
  coordinatorCase(
    'STATUS is answered, page by page',
    ['MSG-5', 'MSG-7', 'MSG-13', 'REP-7'],
    async (context) => {
      const session = await context.connect();
      const first = await status(session);
      const beyond = await status(session, 0xffff_ffff);
      expectThat(beyond.nodes.length === 0, 'an empty page beyond the end', `${beyond.nodes.length} nodes`);
      expectThat(
        first.nodes.length <= first.nodesTotal,
        'no more nodes than there are',
        `${first.nodes.length}`,
      );
      const answering = first.coordinators.filter(({ answers }) => answers).length;
      expectThat(answering === 1, 'one coordinator that answers', `${answering}`, 'MSG-13');
      const leading = first.coordinators.filter(({ leads }) => leads).length;
      expectThat(leading <= 1, 'one leader at most', `${leading}`, 'MSG-13');
      const counts = first.missing + first.copying + first.surplus;
      const isKnown = first.repair !== RepairKnown.UNKNOWN;
      expectThat(isKnown || counts === 0, 'counts of repair only where they are known', `${counts}`, 'REP-7');
      const later = beyond.coordinators.length;
      expectThat(later === 0, 'coordinators on the first page only', `${later} behind it`, 'MSG-13');
    },
  ),
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
      const body = new Uint8Array(38);
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
      encodeMessage(inventoryQuery, { entries: 1, buckets: ALL_BUCKETS }),
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
  coordinatorCase('MEMBERS tells of a node that joins, and goes', ['MEM-3', 'MSG-5'], async (context) => {
    const client = await context.connect();
    const members = async (after: number, waitMillis: number): Promise<MembersReply> => {
      const query = { after, afterId: new Uint8Array(16), waitMillis };
      return askFor(client, QueryKind.MEMBERS, encodeMessage(membersQuery, query), membersReply, 'MEM-3');
    };
    const { revision } = await members(0, 0);
    const { session, nodeId } = await context.joined();
    // As it is at the end: also where other nodes come and go.
    const isTold = (state: NodeState) => async (): Promise<boolean> => {
      const page = await members(revision, 1_000);
      return page.members.some((member) => equalBytes(member.nodeId, nodeId) && member.state === state);
    };
    await eventually(client, isTold(NodeState.UP), 'the node in state 0 (up)', 'MEM-3');
    session.send([{ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: '' }]);
    await eventually(client, isTold(NodeState.DOWN), 'the node in state 1 (down)', 'MEM-3');
  }),
];

export const admissionCases = section('admission', 541, texts);
