/** Orders, inventories and settlements between a coordinator and its nodes. */

import { equalBytes } from '../../src/base/bytes.ts';
import {
  CloseCode,
  digestQuery,
  digestReply,
  encodeMessage,
  FrameType,
  NodeState,
  QueryKind,
  ResultCode,
  Settlement,
  settleQuery,
  settleReply,
  tokenQuery,
} from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import {
  askFor,
  bucketMapOf,
  commit,
  commitBody,
  eventually,
  expectCode,
  hashBody,
  inventory,
  type Made,
  obey,
  receiptOf,
  remove,
  reserve,
  status,
  statusOf,
  whereIs,
  withNode,
} from './coordinator-steps.ts';

/** Two of it are more than six bytes hold; one leaves room for what other cases commit meanwhile. */
const HUGE_BYTES = 3 * 2 ** 46;

const texts: readonly CaseText[] = [
  withNode(
    'a query of the coordinator is sent again until it is acknowledged',
    ['QRY-4', 'QRY-1'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      await node.session.stopAcknowledging();
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
        bytes: HUGE_BYTES,
      }));
      await inventory(
        context,
        node,
        made.map((entry) => ({ ...entry, pending: false })),
      );
      await status(client);
      await remove(client, ...made);
      const { bytes } = await status(client);
      expectThat(bytes < HUGE_BYTES, 'a sum without them', `${bytes}`);
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
    const body = commitBody(again, [receiptOf(context, other.nodeId, again)], 2);
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
  withNode(
    'an inventory of some buckets strikes nothing in the others',
    ['DIG-3', 'DEFS-12'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const again = await context.joined(node.nodeId, node.incarnation + 1);
      const others = bucketMapOf(made.hash).map((byte) => 255 - byte);
      const code = await inventory(context, again, [], 0, others);
      expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
      await whereIs(client, made.hash, 'DIG-3');
      await inventory(context, again, [], 0, bucketMapOf(made.hash));
      await expectCode(client, QueryKind.WHERE_IS, hashBody(made.hash), ResultCode.CORRUPT, 'DIG-3');
      await remove(client, made);
    },
  ),
  withNode(
    'DIGEST names the bucket of an object that the node does not tell of, and none when it does',
    ['DIG-2', 'DIG-1'],
    async (context, node, client) => {
      const made = await commit(context, client, [node.nodeId]);
      const again = await context.joined(node.nodeId, node.incarnation + 1);
      const digests = new Uint8Array(64 * 8);
      const differs = async (entries: number): Promise<Uint8Array> => {
        const body = encodeMessage(digestQuery, { entries, digests });
        return (await askFor(again.session, QueryKind.DIGEST, body, digestReply, 'DIG-2')).differs;
      };
      // A coordinator whose catalog is not all in memory yet names all.
      const isKnown = async (): Promise<boolean> => (await differs(0)).some((byte) => byte !== 255);
      await eventually(client, isKnown, 'fewer than all buckets', 'DIG-2');
      expectBytes(await differs(0), bucketMapOf(made.hash), 'the bucket of the object', 'DIG-2');
      digests.set(made.hash.subarray(8, 16), (made.hash[0]! % 64) * 8);
      expectBytes(await differs(1), new Uint8Array(8), 'no bucket', 'DIG-1');
      await remove(client, made);
    },
  ),
];

export const inventoryCases = section('inventory', 601, texts);
