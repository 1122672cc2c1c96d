/** Who is there, as MEMBERS tells it; what a node holds in short; and how a node that failed comes back. */

import { concatBytes, equalBytes } from '../../src/base/bytes.ts';
import {
  decodeMessage,
  digestQuery,
  digestReply,
  encodeMessage,
  FrameType,
  isFailure,
  loadNotice,
  type MemberChange,
  type MembersReply,
  membersQuery,
  membersReply,
  NodeState,
  NoticeKind,
  QueryKind,
  ResultCode,
  Role,
} from '../../src/wire/index.ts';
import { type CaseText, type JoinedNode, section, type WireContext } from '../case.ts';
import { CaseFailure, CaseSkipped, expectBytes, expectThat } from '../expectations.ts';
import type { RawSession } from '../peer.ts';
import {
  askFor,
  bucketMapOf,
  coordinatorCase,
  eventually,
  expectCode,
  inventory,
  type Made,
  proofBody,
  remove,
  statusOf,
  withNode,
} from './coordinator-steps.ts';
import { type Asked, begin, CLOCK_SLACK, finish } from './tenure-steps.ts';

const FIRST_ID = new Uint8Array(16);
const LAST_ID = new Uint8Array(16).fill(0xff);
const REVISION_MAX = 2 ** 48 - 1;
const PAGES_MAX = 1_000;
const SHORT_WAIT_MILLIS = 400;
/** Far more than an answer takes that nobody has to wait for. */
const LONG_WAIT_MILLIS = 20_000;
/** What is not answered for so long waits. */
const QUIET_MILLIS = 200;
const QUIET_TRIES_MAX = 50;
const BUCKETS = 64;
const DIGEST_BYTES = 8;

/** A place in the order of changes. */
type Place = Pick<MemberChange, 'changed' | 'nodeId'>;

const BEGINNING: Place = { changed: 0, nodeId: FIRST_ID };
const END: Place = { changed: REVISION_MAX, nodeId: LAST_ID };

function membersBody({ changed, nodeId }: Place, waitMillis: number): Uint8Array {
  return encodeMessage(membersQuery, { after: changed, afterId: nodeId, waitMillis });
}

function members(session: RawSession, behind: Place, waitMillis = 0): Promise<MembersReply> {
  return askFor(session, QueryKind.MEMBERS, membersBody(behind, waitMillis), membersReply, 'MEM-3');
}

/** Everybody, page by page from a place on, as an asker lists them. */
async function listFrom(session: RawSession, place: Place): Promise<MemberChange[]> {
  const found: MemberChange[] = [];
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const page = await members(session, found.at(-1) ?? place);
    expectThat(!page.full, 'no need to begin anew', 'full', 'MEM-3');
    if (page.members.length === 0) break;
    found.push(...page.members);
  }
  return found;
}

function isBefore(left: Place, right: Place): boolean {
  return left.changed === right.changed
    ? Buffer.compare(left.nodeId, right.nodeId) < 0
    : left.changed < right.changed;
}

/** What is told of a node, once its last change is durable: that may be a moment after ADMIT is answered. */
async function memberOf({ session, nodeId, incarnation }: JoinedNode): Promise<MemberChange> {
  let found: MemberChange | undefined;
  const isTold = async (): Promise<boolean> => {
    found = (await listFrom(session, BEGINNING)).findLast((one) => equalBytes(one.nodeId, nodeId));
    return found !== undefined && found.incarnation === incarnation && found.changed > 0;
  };
  await eventually(session, isTold, 'the node, and its place in the order of changes', 'MEM-3');
  return found!;
}

/** Waits for news behind `place`, for as long as it takes, until they are about the node. */
async function newsOf(session: RawSession, place: Place, nodeId: Uint8Array): Promise<MemberChange> {
  for (let behind = place; ; ) {
    const page = await members(session, behind, LONG_WAIT_MILLIS);
    const found = page.members.findLast((one) => equalBytes(one.nodeId, nodeId));
    if (found !== undefined) return found;
    behind = page.members.at(-1) ?? behind;
  }
}

/** Sends a MEMBERS for which there is no news: nobody answers it for a while. */
async function waitForNews(session: RawSession, place: Place): Promise<{ asked: Asked; behind: Place }> {
  let behind = place;
  for (let tries = 0; tries < QUIET_TRIES_MAX; tries++) {
    const asked = begin(session, QueryKind.MEMBERS, membersBody(behind, LONG_WAIT_MILLIS));
    await session.idle(QUIET_MILLIS);
    const reply = session.frames(FrameType.REPLY).find(({ id }) => id === asked.id);
    if (reply === undefined) return { asked, behind };
    const page = decodeMessage(membersReply, reply.body);
    if (isFailure(page)) throw new CaseFailure('a body of MEMBERS that decodes', page, 'MEM-3');
    behind = page.members.at(-1) ?? behind;
  }
  throw new CaseSkipped('members come and go all the time');
}

/** The digests of objects [DIG-1]. */
function digestsOf(hashes: readonly Uint8Array[]): Uint8Array {
  const digests = new Uint8Array(BUCKETS * DIGEST_BYTES);
  for (const hash of hashes) {
    const at = (hash[0]! % BUCKETS) * DIGEST_BYTES;
    for (let index = 0; index < DIGEST_BYTES; index++) digests[at + index]! ^= hash[8 + index]!;
  }
  return digests;
}

/** The buckets that a coordinator names to a node which says that it holds these objects. */
async function differsFrom({ session }: JoinedNode, hashes: readonly Uint8Array[]): Promise<Uint8Array> {
  const body = encodeMessage(digestQuery, { entries: hashes.length, digests: digestsOf(hashes) });
  return (await askFor(session, QueryKind.DIGEST, body, digestReply, 'DIG-2')).differs;
}

/** The same once its catalog is all in memory: until then it names all buckets [DIG-2]. */
async function differsOnceKnown(node: JoinedNode, hashes: readonly Uint8Array[]): Promise<Uint8Array> {
  const isKnown = async (): Promise<boolean> =>
    (await differsFrom(node, hashes)).some((byte) => byte !== 255);
  await eventually(node.session, isKnown, 'fewer than all buckets', 'DIG-2');
  return differsFrom(node, hashes);
}

/** Two objects of one bucket, which the catalog has of the node. */
async function twoOfABucket(context: WireContext, node: JoinedNode): Promise<readonly [Made, Made]> {
  const [first, second] = [0, 1].map(() => ({
    hash: context.random(32),
    token: context.random(8),
    bytes: 1_000,
  })) as [Made, Made];
  second.hash[0] = (first.hash[0]! + BUCKETS) % 256;
  const code = await inventory(
    context,
    node,
    [first, second].map((made) => ({ ...made, pending: false })),
  );
  expectThat(code === ResultCode.OK, 'OK', `code ${code}`, 'DEFS-12');
  return [first, second];
}

/** Ends a node's session by a breach of the protocol: not by the node's CLOSE. */
async function fail({ session }: JoinedNode): Promise<void> {
  session.sendRaw(session.seal(Uint8Array.of(0x0b)));
  await session.expectClose('FRM-2');
}

const texts: readonly CaseText[] = [
  coordinatorCase(
    'MEMBERS from the beginning names everybody, in the order of changes and ids',
    ['MEM-3'],
    async (context) => {
      const client = await context.connect();
      const nodes = [await context.joined(), await context.joined(), await context.joined()];
      for (const node of nodes) await memberOf(node);
      const found = await listFrom(client, BEGINNING);
      for (const [index, member] of found.slice(1).entries()) {
        expectThat(isBefore(found[index]!, member), 'members in their order', `not at ${index + 1}`, 'MEM-3');
      }
      for (const { nodeId } of nodes) {
        const member = found.findLast((one) => equalBytes(one.nodeId, nodeId));
        const isRight = member?.state === NodeState.UP && member.name === 'conformance';
        expectThat(isRight, 'the node as it is', `state ${member?.state}, '${member?.name}'`, 'MEM-3');
      }
    },
  ),
  withNode(
    'MEMBERS goes on right behind the place that it is told',
    ['MEM-3'],
    async (context, node, client) => {
      const first = await memberOf(node);
      const second = await memberOf(await context.joined());
      expectThat(isBefore(first, second), 'who came later behind who came first', 'the other way', 'MEM-3');
      const isNamed = (page: readonly MemberChange[], { nodeId }: Place): boolean =>
        page.some((one) => equalBytes(one.nodeId, nodeId));
      const behind = await listFrom(client, first);
      expectThat(!isNamed(behind, first) && isNamed(behind, second), 'the second alone', 'others', 'MEM-3');
      // The same revision, and the greatest id: behind all that changed with it.
      const next = await listFrom(client, { changed: second.changed, nodeId: LAST_ID });
      expectThat(!isNamed(next, second), 'neither of them', 'the second', 'MEM-3');
      const before = await listFrom(client, { changed: second.changed, nodeId: FIRST_ID });
      expectThat(isNamed(before, second), 'the second', 'it is left out', 'MEM-3');
    },
  ),
  coordinatorCase('with a wait of 0 MEMBERS is answered at once, with nobody', ['MEM-3'], async (context) => {
    const client = await context.connect();
    const page = await members(client, END);
    expectThat(page.members.length === 0 && !page.full, 'nobody', `${page.members.length}`, 'MEM-3');
  }),
  coordinatorCase('a MEMBERS whose wait is over is answered with nobody', ['MEM-3'], async (context) => {
    const client = await context.connect();
    const beganAt = performance.now();
    const page = await members(client, END, SHORT_WAIT_MILLIS);
    const tookMillis = performance.now() - beganAt;
    expectThat(page.members.length === 0 && !page.full, 'nobody', `${page.members.length}`, 'MEM-3');
    const leastMillis = SHORT_WAIT_MILLIS * CLOCK_SLACK;
    expectThat(tookMillis >= leastMillis, `no answer for ${leastMillis} ms`, `${tookMillis}`, 'MEM-3');
  }),
  withNode(
    'a MEMBERS that waits is answered as soon as there is news',
    ['MEM-3'],
    async (context, node, client) => {
      const { asked, behind } = await waitForNews(client, await memberOf(node));
      const { nodeId } = await context.joined();
      await finish(client, asked, 'MEM-3');
      const { state } = await newsOf(client, behind, nodeId);
      expectThat(state === NodeState.UP, 'state 0 (up)', `${state}`, 'MEM-3');
    },
  ),
  withNode(
    'a node that comes again is news, under its new incarnation',
    ['MEM-3'],
    async (context, node, client) => {
      const before = await memberOf(node);
      const next = node.incarnation + 1;
      await context.joined(node.nodeId, next);
      const { changed, incarnation } = await newsOf(client, before, node.nodeId);
      expectThat(changed > before.changed, 'a later change', `${changed}`, 'MEM-3');
      expectThat(incarnation === next, `incarnation ${next}`, `${incarnation}`, 'MEM-3');
    },
  ),
  withNode('free space is no news', ['MEM-3'], async (_, node, client) => {
    const before = await memberOf(node);
    const body = encodeMessage(loadNotice, { freeBytes: 54_321, objects: 7, full: false });
    const isTold = async (): Promise<boolean> => {
      node.session.send([{ type: FrameType.NOTICE, kind: NoticeKind.LOAD, body }]);
      return (await statusOf(client, node.nodeId))?.objects === 7;
    };
    await eventually(client, isTold, '7 objects', 'MSG-5');
    const { changed } = await memberOf(node);
    expectThat(changed === before.changed, `a change of ${before.changed}`, `${changed}`, 'MEM-3');
  }),
  withNode(
    'a node that failed is STALE_EPOCH until it comes under a higher incarnation',
    ['MEM-4', 'MEM-2'],
    async (context, node, client) => {
      await fail(node);
      const isFailed = async (): Promise<boolean> =>
        (await statusOf(client, node.nodeId))?.state === NodeState.FAILED;
      await eventually(client, isFailed, 'state 3 (failed)', 'MEM-2');
      const session = await context.connect({ role: Role.NODE });
      const nonce = await context.join(session, node.nodeId, node.incarnation);
      const proof = proofBody(context.proof(session, nonce));
      await expectCode(session, QueryKind.ADMIT, proof, ResultCode.STALE_EPOCH, 'MEM-4');
      const { state } = await memberOf(await context.joined(node.nodeId, node.incarnation + 1));
      expectThat(state === NodeState.UP, 'state 0 (up)', `${state}`, 'MEM-4');
    },
  ),
  coordinatorCase('DIGEST of somebody who is no node is DENIED', ['ADM-7'], async (context) => {
    const session = await context.connect({ role: Role.NODE });
    const body = encodeMessage(digestQuery, { entries: 0, digests: digestsOf([]) });
    await expectCode(session, QueryKind.DIGEST, body, ResultCode.DENIED, 'ADM-7');
    // A challenge is no admission yet.
    await context.join(session, context.random(16));
    await expectCode(session, QueryKind.DIGEST, body, ResultCode.DENIED, 'ADM-7');
  }),
  withNode('DIGEST names no bucket to a node that holds nothing', ['DIG-2', 'DIG-1'], async (_, node) => {
    expectBytes(await differsOnceKnown(node, []), new Uint8Array(8), 'no bucket', 'DIG-2');
  }),
  withNode(
    'DIGEST names the bucket of what the catalog does not have of the node',
    ['DIG-2', 'DIG-1'],
    async (context, node) => {
      const hash = context.random(32);
      expectBytes(await differsOnceKnown(node, [hash]), bucketMapOf(hash), 'its bucket', 'DIG-2');
    },
  ),
  withNode(
    'the digest of a bucket is the XOR over its objects',
    ['DIG-1', 'DIG-2'],
    async (context, node, client) => {
      const [first, second] = await twoOfABucket(context, node);
      const bucket = bucketMapOf(first.hash);
      expectBytes(await differsOnceKnown(node, [first.hash]), bucket, 'their bucket', 'DIG-2');
      expectBytes(
        await differsFrom(node, [first.hash, second.hash]),
        new Uint8Array(8),
        'no bucket',
        'DIG-1',
      );
      // What lies before the eight bytes, and behind them, is not looked at.
      const alike = concatBytes(
        second.hash.slice(0, 1),
        context.random(7),
        second.hash.slice(8, 16),
        context.random(16),
      );
      expectBytes(await differsFrom(node, [first.hash, alike]), new Uint8Array(8), 'no bucket', 'DIG-1');
      await remove(client, first, second);
    },
  ),
  withNode('nobody is named before there is a change', ['MEM-3', 'MEM-1'], async (_, node, client) => {
    const found = await listFrom(client, BEGINNING);
    const named = found.find(({ nodeId }) => equalBytes(nodeId, node.nodeId));
    expectThat(named?.changed !== 0, 'its place in the order of changes', '0', 'MEM-3');
  }),
];

export const memberCases = section('members', 731, texts);
