import { beforeEach, describe, expect, it, test } from 'vitest';
import { GramlineError } from '../../src/base/errors.ts';
import { seconds } from '../../src/base/units.ts';
import { INVENTORY_ENTRIES_MAX } from '../../src/nodes/admission.ts';
import { PAGE_ENTRIES_MAX } from '../../src/nodes/catalog-held.ts';
import { ORDERS_MAX } from '../../src/nodes/deletions.ts';
import { OBJECTS_MAX } from '../../src/store/store-limits.ts';
import {
  decodeMessage,
  encodeMessage,
  hashQuery,
  isFailure,
  QueryKind,
  ResultCode,
  Settlement,
  settleQuery,
  settleReply,
} from '../../src/wire/index.ts';
import { type FakeConnection, Hub } from './coordinator-support.ts';

const HASH = new Uint8Array(32).fill(7);
const NODE_ID = new Uint8Array(16).fill(9);
const SWEEP_MICROS = seconds(1);
const LEASE_MICROS = seconds(30);

let hub: Hub;
let node: FakeConnection;
beforeEach(async () => {
  hub = await Hub.open();
  node = await hub.join(NODE_ID);
});

async function committed(): Promise<void> {
  expect(await (await hub.put(HASH, [NODE_ID])).commit()).toBe(ResultCode.OK);
}

/** Lets promises settle, without time. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('a commit that meets a removal of the same object [DEFS-24]', () => {
  it('is refused while the removal is on its way to the disk', async () => {
    await committed();
    const second = await hub.put(HASH, [NODE_ID]);
    const release = hub.state.hold();
    const removal = hub.remove(HASH);
    await turn();
    const commit = second.commit();
    await turn();
    release();
    expect(await removal).toBe(ResultCode.OK);
    expect(await commit).toBe(ResultCode.ABORTED);
    expect(node.deleted).toEqual([HASH]);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.NOT_FOUND);
  });

  it('is refused where both came in one datagram', async () => {
    await committed();
    const second = await hub.put(HASH, [NODE_ID]);
    const removal = hub.remove(HASH);
    const commit = second.commit();
    expect([await removal, await commit]).toEqual([ResultCode.OK, ResultCode.ABORTED]);
  });

  it('counts when it came first, and is removed then', async () => {
    const put = await hub.put(HASH, [NODE_ID]);
    const commit = put.commit();
    const removal = hub.remove(HASH);
    expect([await commit, await removal]).toEqual([ResultCode.OK, ResultCode.OK]);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.NOT_FOUND);
  });

  it('succeeds when the removal failed: nothing was ordered', async () => {
    await committed();
    const second = await hub.put(HASH, [NODE_ID]);
    hub.state.fail(true);
    expect(await hub.remove(HASH)).toBe(ResultCode.IO);
    hub.state.fail(false);
    expect(await second.commit()).toBe(ResultCode.CONFLICT);
    expect(node.deleted).toEqual([]);
  });

  it('is told to its node when the state left it open, and it was done [DEFS-18] [DEFS-30]', async () => {
    await committed();
    const { commit } = hub.state;
    hub.state.commit = async (...change) => {
      hub.state.commit = commit;
      await hub.state.commit(...change);
      throw new GramlineError('GRAMLINE_IO', 'no answer', { retryable: true });
    };
    const token = new Uint8Array(8).fill(5);
    expect(await hub.remove(HASH, token)).toBe(ResultCode.IO);
    expect(await hub.remove(HASH, token)).toBe(ResultCode.OK);
    expect(node.deleted).toEqual([]);
    await hub.pass(2 * SWEEP_MICROS);
    expect(node.deleted).toEqual([HASH]);
  });

  it('succeeds when the node was away and was told nothing', async () => {
    await committed();
    const second = await hub.put(HASH, [NODE_ID]);
    await node.close();
    await turn();
    expect(await hub.remove(HASH)).toBe(ResultCode.OK);
    expect(await second.commit()).toBe(ResultCode.OK);
  });
});

describe('an inventory that meets changes of the same object', () => {
  it('does not bring back what is being removed', async () => {
    const put = await hub.put(HASH, [NODE_ID]);
    const release = hub.state.hold();
    const commit = put.commit();
    const removal = hub.remove(HASH);
    const taken = hub.inventory(node, [HASH]);
    await turn();
    release();
    expect([await commit, await removal]).toEqual([ResultCode.OK, ResultCode.OK]);
    await hub.pass(SWEEP_MICROS);
    expect(await taken).toBe(ResultCode.OK);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.NOT_FOUND);
  });

  it('does not order what is being committed anew to be deleted', async () => {
    await committed();
    await node.close();
    await turn();
    await hub.remove(HASH);
    node = await hub.join(NODE_ID, '10.0.0.1:1', 2);
    const put = await hub.put(HASH, [NODE_ID]);
    const release = hub.state.hold();
    const commit = put.commit();
    await turn();
    const taken = hub.inventory(node, [HASH]);
    await turn();
    release();
    expect(await commit).toBe(ResultCode.OK);
    await hub.pass(SWEEP_MICROS);
    expect(await taken).toBe(ResultCode.OK);
    expect(node.deleted).toEqual([]);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.OK);
  });
});

describe('an order to delete', () => {
  test.each([ResultCode.BUSY, ResultCode.IO])(
    'that is answered %i is given again [DEFS-18]',
    async (code) => {
      await committed();
      node.onDelete = async () => code;
      expect(await hub.remove(HASH)).toBe(ResultCode.OK);
      await hub.pass(2 * SWEEP_MICROS);
      expect(node.deleted.length).toBeGreaterThan(1);
      node.onDelete = async () => ResultCode.OK;
      await hub.pass(2 * SWEEP_MICROS);
      const { length } = node.deleted;
      await hub.pass(10 * SWEEP_MICROS);
      expect(node.deleted).toHaveLength(length);
      expect(hub.warnings.map(({ message }) => message)).toEqual([
        'nodes have not deleted all removed objects, and are told again',
      ]);
    },
  );

  it('that fails at this end is given again', async () => {
    await committed();
    node.onDelete = () => Promise.reject(new Error('too many queries'));
    await hub.remove(HASH);
    node.onDelete = async () => ResultCode.NOT_FOUND;
    await hub.pass(3 * SWEEP_MICROS);
    expect(node.deleted).toHaveLength(2);
  });

  it('is not given again once the object was stored anew', async () => {
    await committed();
    node.onDelete = async () => ResultCode.BUSY;
    await hub.remove(HASH);
    await turn();
    await hub.pass(1);
    await committed();
    await hub.pass(10 * SWEEP_MICROS);
    expect(node.deleted).toHaveLength(1);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.OK);
  });

  it('that the end of the session cut off is left to the next inventory', async () => {
    await committed();
    let fail = (): void => {};
    node.onDelete = () =>
      new Promise((_, reject) => {
        fail = () => reject(new Error('closed'));
      });
    await hub.remove(HASH);
    await node.close();
    await turn();
    fail();
    const again = await hub.join(NODE_ID, '10.0.0.1:1', 2);
    await hub.pass(5 * SWEEP_MICROS);
    expect(again.deleted).toEqual([]);
    expect(await hub.inventory(again, [HASH])).toBe(ResultCode.OK);
    expect(again.deleted).toEqual([HASH]);
  });
});

describe('a put that was dropped [DEFS-29]', () => {
  const settle = async (token: Uint8Array): Promise<readonly number[]> => {
    const body = encodeMessage(settleQuery, { entries: [{ token, hash: HASH }] });
    const reply = decodeMessage(settleReply, (await node.ask(QueryKind.SETTLE, body)).body);
    return isFailure(reply) ? [] : reply.settlements;
  };

  it('is not committed any more, however late, by a coordinator that starts anew', async () => {
    await hub.pass(3 * LEASE_MICROS);
    const put = await hub.put(HASH, [NODE_ID]);
    await hub.pass(2 * LEASE_MICROS);
    expect(await settle(put.token)).toEqual([Settlement.DROP]);
    await hub.restart();
    // Young, it honours reservations that it does not know: but for those that were dropped.
    expect(await put.commit()).toBe(ResultCode.EXPIRED);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.NOT_FOUND);
    expect(await (await hub.put(HASH, [NODE_ID])).commit()).not.toBe(ResultCode.EXPIRED);
  });

  it('that is not dropped is committed by one that starts anew', async () => {
    await hub.pass(3 * LEASE_MICROS);
    const put = await hub.put(HASH, [NODE_ID]);
    await hub.restart();
    expect(await put.commit()).toBe(ResultCode.OK);
  });
});

describe('a copy of which its node does not know that it was committed [DEFS-10]', () => {
  const settle = async (peer: typeof node, token: Uint8Array): Promise<readonly number[]> => {
    const body = encodeMessage(settleQuery, { entries: [{ token, hash: HASH }] });
    const reply = decodeMessage(settleReply, (await peer.ask(QueryKind.SETTLE, body)).body);
    return isFailure(reply) ? [] : reply.settlements;
  };

  it('is kept, and counts, where its object has no replica left', async () => {
    await committed();
    await hub.pass(3 * LEASE_MICROS);
    expect((await node.ask(QueryKind.CORRUPT, encodeMessage(hashQuery, { hash: HASH }))).code).toBe(
      ResultCode.OK,
    );
    expect(await hub.whereIs(HASH)).toBe(ResultCode.CORRUPT);
    expect(await settle(node, new Uint8Array(8).fill(7))).toEqual([Settlement.KEEP]);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.OK);
  });

  it('is dropped where its object has the replicas that it is to have, and stays so', async () => {
    const others = [77, 78].map((n) => new Uint8Array(16).fill(n));
    const second = await hub.join(others[0]!);
    await (await hub.put(HASH, [NODE_ID, others[0]!])).commit();
    await hub.pass(3 * LEASE_MICROS);
    const other = await hub.join(others[1]!);
    const token = new Uint8Array(8).fill(7);
    expect(await settle(other, token)).toEqual([Settlement.DROP]);
    const damaged = encodeMessage(hashQuery, { hash: HASH });
    for (const peer of [node, second]) await peer.ask(QueryKind.CORRUPT, damaged);
    // It may have gone meanwhile: it was told to.
    expect(await settle(other, token)).toEqual([Settlement.DROP]);
    expect(await hub.whereIs(HASH)).toBe(ResultCode.CORRUPT);
  });
});

describe('a reservation', () => {
  it('ends when it is not renewed in time [DEFS-4]', async () => {
    await hub.pass(2 * LEASE_MICROS);
    const { token } = await hub.put(HASH, [NODE_ID]);
    await hub.pass(LEASE_MICROS / 2);
    expect(await hub.renew(token)).toBe(ResultCode.OK);
    await hub.pass(0.9 * LEASE_MICROS);
    expect(await hub.renew(token)).toBe(ResultCode.OK);
    await hub.pass(LEASE_MICROS);
    expect(await hub.renew(token)).toBe(ResultCode.EXPIRED);
    expect(hub.coordinator.reservations).toBe(0);
  });
});

describe('an inventory', () => {
  it('of one object more than its maximum is refused as busy', async () => {
    expect(INVENTORY_ENTRIES_MAX).toBe(OBJECTS_MAX);
    expect(await hub.inventory(node, [], INVENTORY_ENTRIES_MAX + 1)).toBe(ResultCode.BUSY);
    expect(await hub.inventory(node, [], INVENTORY_ENTRIES_MAX)).not.toBe(ResultCode.BUSY);
  });

  it('is compared part by part, and others are answered meanwhile', async () => {
    const hashes = Array.from({ length: 3 * PAGE_ENTRIES_MAX }, (_, n) => {
      const hash = new Uint8Array(32);
      new DataView(hash.buffer).setUint32(0, n);
      return hash;
    });
    const first = hub.inventory(node, hashes);
    await hub.pass(SWEEP_MICROS);
    expect(await first).toBe(ResultCode.OK);
    // What was adopted after a node joined is not struck by its inventory.
    node = await hub.join(NODE_ID, '10.0.0.1:1', 2);
    const taken = hub.inventory(node, []);
    let isTaken = false;
    void taken.then(() => {
      isTaken = true;
    });
    await turn();
    // Time stands still, and with it the comparison: behind its first part.
    expect(isTaken).toBe(false);
    const codes = async (): Promise<Set<number>> =>
      new Set(await Promise.all(hashes.map((hash) => hub.whereIs(hash))));
    expect(await codes()).toEqual(new Set([ResultCode.OK, ResultCode.CORRUPT]));
    await hub.pass(SWEEP_MICROS);
    expect(isTaken).toBe(true);
    expect(await codes()).toEqual(new Set([ResultCode.CORRUPT]));
  });
});

describe('a removal', () => {
  it('is refused as busy while the most orders to delete are under way', async () => {
    const nodeIds = Array.from({ length: 8 }, (_, n) => new Uint8Array(16).fill(n + 20));
    const removals = ORDERS_MAX / nodeIds.length;
    const hash = (n: number): Uint8Array => {
      const bytes = new Uint8Array(32).fill(1);
      new DataView(bytes.buffer).setUint32(0, n);
      return bytes;
    };
    const hashes = Array.from({ length: removals + 1 }, (_, n) => hash(n));
    for (const nodeId of nodeIds) {
      const connection = await hub.join(nodeId);
      connection.onDelete = () => new Promise(() => {});
      const taken = hub.inventory(connection, hashes);
      await turn();
      await hub.pass(SWEEP_MICROS);
      expect(await taken).toBe(ResultCode.OK);
    }
    for (let n = 0; n < removals; n++) expect(await hub.remove(hash(n))).toBe(ResultCode.OK);
    expect(await hub.remove(hash(removals))).toBe(ResultCode.BUSY);
    expect(await hub.whereIs(hash(removals))).toBe(ResultCode.OK);
  });
});

describe('a node on a loopback address', () => {
  const message = 'a node can be reached from its own machine only';

  test.each([
    ['10.0.0.9:7400', '127.0.0.1:7401', '10.0.0.1', 1],
    ['10.0.0.9:7400', '0.0.0.0:7401', '127.0.0.1', 1],
    ['0.0.0.0:7400', '[::1]:7401', '::1', 1],
    ['0.0.0.0:7400', '0.0.0.0:7401', '10.0.0.1', 0],
    ['127.0.0.1:7400', '127.0.0.1:7401', '127.0.0.1', 0],
    ['[::1]:7400', '[::1]:7401', '::1', 0],
  ])('coordinator %s, node %s seen from %s: %i warnings', async (listen, address, peerHost, count) => {
    hub = await Hub.open(listen);
    await hub.join(NODE_ID, address, 1, peerHost);
    expect(hub.warnings.filter((warning) => warning.message === message)).toHaveLength(count);
  });
});
