/** What a leader has copied, checked and deleted, by nodes that are made of answers. */

import { beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { decodeEntry, encodeEntry, NO_TOKEN } from '../../src/nodes/catalog-entry.ts';
import type { Reply } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { REPAIRS_MAX, RETRIES_MAX } from '../../src/nodes/repair.ts';
import { objectKey } from '../../src/nodes/state-keys.ts';
import {
  type CopyQuery,
  copyQuery,
  decodeMessage,
  encodeMessage,
  isFailure,
  QueryKind,
  ResultCode,
  storeReply,
} from '../../src/wire/index.ts';
import { type FakeConnection, Hub } from './coordinator-support.ts';

const SECOND = 1_000_000;
const SECRET = new Uint8Array(32).fill(2);
const HASH = new Uint8Array(32).fill(9);
const NO_BYTES = new Uint8Array(0);
const receipts = new Receipts(nodeSuite, SECRET);

interface Node {
  readonly nodeId: Uint8Array;
  readonly connection: FakeConnection;
  /** COPY queries that it got. */
  readonly copies: CopyQuery[];
  onCopy: (message: CopyQuery) => Promise<Reply>;
}

let hub: Hub;
/** What nodes were told, in order. */
let told: string[];

beforeEach(async () => {
  hub = await Hub.open();
  told = [];
});

async function join(fill: number, holds: readonly Uint8Array[] = []): Promise<Node> {
  const nodeId = new Uint8Array(16).fill(fill);
  const connection = await hub.join(nodeId, `10.0.1.${fill}:1`);
  const vouch = async ({ token, hash, bytes }: CopyQuery): Promise<Reply> => {
    const receipt = receipts.make({ nodeId, token, hash, bytes });
    return { code: ResultCode.OK, body: encodeMessage(storeReply, { hash, receipt }) };
  };
  const node: Node = { nodeId, connection, copies: [], onCopy: vouch };
  const { query } = connection;
  connection.query = async (kind, body) => {
    if (kind !== QueryKind.COPY) {
      told.push(`delete ${fill}`);
      return query.call(connection, kind, body);
    }
    const message = decodeMessage(copyQuery, body);
    if (isFailure(message)) throw new Error(message);
    told.push(`${message.sources.length > 0 ? 'copy' : 'check'} ${fill}`);
    node.copies.push(message);
    return node.onCopy(message);
  };
  expect(await hub.inventory(connection, holds)).toBe(ResultCode.OK);
  return node;
}

async function nodes(count: number): Promise<Node[]> {
  const joined: Node[] = [];
  for (let fill = 1; fill <= count; fill++) joined.push(await join(fill));
  return joined;
}

/** The hash of an object that is one of many. */
function numbered(n: number): Uint8Array {
  const hash = new Uint8Array(32);
  new DataView(hash.buffer).setUint32(0, n);
  return hash;
}

async function store(holders: readonly Node[], hash: Uint8Array = HASH): Promise<number> {
  const { commit } = await hub.put(
    hash,
    holders.map(({ nodeId }) => nodeId),
  );
  return commit();
}

function replicas(): string[] {
  return decodeEntry(hub.state.get(objectKey(HASH))!).replicas.map((nodeId) => toHex(nodeId.subarray(0, 1)));
}

describe('a leader', () => {
  it('has what a node held copied when it has been gone for 60 s, and not before [REP-2] [REP-4]', async () => {
    const [one, other, third] = await nodes(3);
    await store([one!, other!]);
    await one!.connection.close();
    await hub.pass(59 * SECOND);
    expect(told).toEqual([]);
    await hub.pass(10 * SECOND);
    expect(told).toEqual(['copy 3']);
    expect(third!.copies).toMatchObject([{ hash: HASH, sources: [{ nodeId: other!.nodeId }] }]);
    expect(replicas()).toEqual(['01', '02', '03']);
    expect(decodeEntry(hub.state.get(objectKey(HASH))!).wanted).toBe(2);
    expect(hub.coordinator.repair).toEqual({ missing: 0, copying: 0, surplus: 0, scanning: false });
  });

  it('takes nothing away of what inventories told of, and restores two replicas of it [REP-1]', async () => {
    const [one, other] = [await join(1, [HASH]), await join(2, [HASH]), await join(3, [HASH])];
    const fourth = await join(4);
    await hub.pass(200 * SECOND);
    expect([replicas(), told]).toEqual([['01', '02', '03'], []]);
    await other.connection.close();
    await one.connection.close();
    await hub.pass(90 * SECOND);
    expect(fourth.copies).toHaveLength(1);
    expect(replicas()).toContain('04');
  });

  it('copies what was committed while its only node was away, however shortly', async () => {
    const [, other, third] = await nodes(3);
    await hub.pass(10 * SECOND);
    await other!.connection.close();
    await hub.pass(1);
    const fixed = { bytes: 100, createdMillis: 0, revision: 1, requests: 0, expiresMillis: 0 };
    const value = encodeEntry({ ...fixed, wanted: 2, madeBy: NO_TOKEN, replicas: [other!.nodeId] });
    await hub.state.commit([], [{ key: objectKey(HASH), value }]);
    const back = await hub.join(other!.nodeId, '10.0.1.2:1', 2);
    expect(await hub.inventory(back, [HASH])).toBe(ResultCode.OK);
    await hub.pass(5 * SECOND);
    expect(told.filter((what) => what.startsWith('copy'))).toHaveLength(1);
    expect(replicas()).toHaveLength(2);
    expect(third).toBeDefined();
  });

  it('believes no copy without its receipt, and asks again later [REP-4]', async () => {
    const [one, other, third] = await nodes(3);
    await store([one!, other!]);
    await one!.connection.close();
    const vouch = third!.onCopy;
    const forge = { hash: HASH, receipt: new Uint8Array(16) };
    third!.onCopy = async () => ({ code: ResultCode.OK, body: encodeMessage(storeReply, forge) });
    await hub.pass(70 * SECOND);
    expect([replicas(), hub.coordinator.repair.missing]).toEqual([['01', '02'], 1]);
    third!.onCopy = async () => ({ code: ResultCode.BUSY, body: NO_BYTES });
    await hub.pass(20 * SECOND);
    expect(replicas()).toEqual(['01', '02']);
    third!.onCopy = vouch;
    await hub.pass(70 * SECOND);
    expect(replicas()).toEqual(['01', '02', '03']);
  });

  it('sees to so many objects at once, and to one more when one of them is done', async () => {
    const [one, other, third] = await nodes(3);
    for (let n = 0; n <= REPAIRS_MAX; n++) await store([one!, other!], numbered(n));
    const vouch = third!.onCopy;
    const waiting: (() => void)[] = [];
    third!.onCopy = (message) => new Promise((resolve) => waiting.push(() => resolve(vouch(message))));
    await one!.connection.close();
    await hub.pass(70 * SECOND);
    expect(third!.copies).toHaveLength(REPAIRS_MAX);
    expect(hub.coordinator.repair).toMatchObject({ missing: REPAIRS_MAX + 1, copying: REPAIRS_MAX });
    waiting.shift()!();
    await hub.pass(SECOND);
    expect(third!.copies).toHaveLength(REPAIRS_MAX + 1);
    for (const go of waiting) go();
    await hub.pass(SECOND);
    expect(hub.coordinator.repair).toMatchObject({ missing: 0, copying: 0 });
  });

  it('remembers so many objects that found no place, and looks through all where there were more', async () => {
    const one = await join(1);
    for (let n = 0; n <= RETRIES_MAX; n++) await store([one], numbered(n));
    const [entry] = hub.state.range(objectKey(numbered(0)), objectKey(numbered(1)), 1);
    // They are to have two replicas, and there is one node.
    expect(decodeEntry(entry![1]).wanted).toBe(2);
    await hub.pass(100 * SECOND);
    expect(hub.coordinator.repair.missing).toBeGreaterThanOrEqual(RETRIES_MAX);
    const other = await join(2);
    await hub.pass(100 * SECOND);
    expect([other.copies.length, hub.coordinator.repair.missing]).toEqual([RETRIES_MAX + 1, 0]);
  });

  it('gives up a copy of what is removed meanwhile [DEFS-24]', async () => {
    const [one, other, third] = await nodes(3);
    await store([one!, other!]);
    const vouch = third!.onCopy;
    third!.onCopy = async (message) => {
      expect(await hub.remove(HASH)).toBe(ResultCode.OK);
      return vouch(message);
    };
    await one!.connection.close();
    await hub.pass(90 * SECOND);
    expect(third!.copies).toHaveLength(1);
    expect(hub.state.get(objectKey(HASH))).toBeUndefined();
  });

  it('takes surplus away: one node that stays is checked, then another told to delete, 60 s later [REP-5]', async () => {
    const three = await nodes(3);
    await store(three);
    await hub.pass(55 * SECOND);
    expect(told).toEqual([]);
    await hub.pass(15 * SECOND);
    expect(told).toHaveLength(2);
    expect(told[0]).toMatch(/^check /);
    expect(told[1]).toMatch(/^delete /);
    expect(told[0]!.slice(-1)).not.toBe(told[1]!.slice(-1));
    expect(replicas()).toHaveLength(2);
    expect(replicas()).not.toContain(`0${told[1]!.slice(-1)}`);
  });

  it('takes nothing away on the word of a node that finds damage, and strikes that replica [REP-5]', async () => {
    const three = await nodes(3);
    await store(three);
    for (const node of three) node.onCopy = async () => ({ code: ResultCode.CORRUPT, body: NO_BYTES });
    await hub.pass(70 * SECOND);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(/^check /);
    expect(replicas()).not.toContain(`0${told[0]!.slice(-1)}`);
    expect(replicas()).toHaveLength(2);
  });

  it('refuses the commit of a replica that is being taken away [DEFS-24]', async () => {
    const three = await nodes(3);
    await store(three);
    const again = await hub.put(HASH, [three[0]!.nodeId, three[1]!.nodeId, three[2]!.nodeId]);
    for (const { connection } of three) connection.onDelete = () => new Promise(() => undefined);
    await hub.pass(25 * SECOND);
    for (let turn = 0; turn < 3; turn++) {
      expect(await hub.renew(again.token)).toBe(ResultCode.OK);
      await hub.pass(20 * SECOND);
    }
    expect(told.some((what) => what.startsWith('delete'))).toBe(true);
    expect(await again.commit()).toBe(ResultCode.ABORTED);
    expect(replicas()).toHaveLength(2);
  });
});
