/** COPY, at a node that is one object store and its driver, with sources that are whole nodes. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { contentOf, SimCluster } from '../../sim/cluster.ts';
import { ADMISSION_SECRET } from '../../sim/machines.ts';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { COPIES_MAX, Copier } from '../../src/nodes/copying.ts';
import type { IncomingQuery } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { lz4Compression } from '../../src/store/index.ts';
import {
  copyQuery,
  decodeMessage,
  encodeMessage,
  isFailure,
  noSpaceReply,
  QueryKind,
  ResultCode,
  storeReply,
} from '../../src/wire/index.ts';
import { SILENT } from '../support/transport.ts';

const NODE_ID = new Uint8Array(16).fill(0x77);
const QUOTA_BYTES = 1_000_000;
const BYTES = 200_000;

interface Answer {
  readonly code: number;
  readonly body: Uint8Array;
}

let cluster: SimCluster;
let store: MemoryObjectStore;
let copier: Copier;
let putAside: string[];
let session: AbortController;
let hash: Uint8Array;
let tokens: number;
const receipts = new Receipts(nodeSuite, ADMISSION_SECRET);

beforeEach(async () => {
  cluster = new SimCluster({ seed: 3, nodes: 3 });
  await cluster.start();
  const client = cluster.client();
  const content = contentOf(cluster.random, BYTES);
  const stored = await cluster.drive(client.role.put(content, { replicas: 2 }));
  hash = new Uint8Array(Buffer.from(stored.hash, 'hex'));
  const { clock, watched: transport } = client.process!;
  store = new MemoryObjectStore({ nodeId: NODE_ID, quotaBytes: QUOTA_BYTES, wallMillis: () => 0 });
  putAside = [];
  session = new AbortController();
  tokens = 0;
  copier = new Copier({
    ...{ clock, transport, store, receipts },
    compression: lz4Compression,
    log: SILENT,
    onChanged: () => undefined,
    isReported: () => true,
    putAside: async (damaged) => void putAside.push(Buffer.from(damaged).toString('hex')),
  });
});

afterEach(async () => {
  session.abort(new Error('the session has ended'));
  await cluster.drive(copier.close());
  await cluster.close();
});

/** Nodes that hold the object, then the others. */
function addresses(): string[] {
  const name = Buffer.from(hash).toString('hex');
  const rank = (holds: boolean): number => (holds ? 0 : 1);
  return [...cluster.nodes]
    .sort((left, right) => rank(left.holds(name)) - rank(right.holds(name)))
    .map(({ address }) => address);
}

function ask(
  sources: readonly string[],
  bytes = BYTES,
): { readonly token: Uint8Array; readonly answer: Promise<Answer> } {
  const token = new Uint8Array(8).fill(++tokens);
  const locations = sources.map((address, index) => ({ nodeId: new Uint8Array(16).fill(index), address }));
  const body = encodeMessage(copyQuery, { token, hash, bytes, sources: locations });
  const answer = new Promise<Answer>((resolve) => {
    const query = {
      kind: QueryKind.COPY,
      body,
      reply: (code: number, reply = new Uint8Array(0)) => resolve({ code, body: reply }),
    };
    copier.handle(query as unknown as IncomingQuery, session.signal);
  });
  return { token, answer };
}

async function copy(
  sources: readonly string[],
  bytes = BYTES,
): Promise<Answer & { readonly token: Uint8Array }> {
  const { token, answer } = ask(sources, bytes);
  return { token, ...(await cluster.drive(answer)) };
}

/** Whether an answer is the receipt for the object. */
function isProof({ code, body, token }: Answer & { readonly token: Uint8Array }): boolean {
  const reply = decodeMessage(storeReply, body);
  if (code !== ResultCode.OK || isFailure(reply)) return false;
  return (
    Buffer.compare(reply.hash, hash) === 0 &&
    receipts.check({ nodeId: NODE_ID, token, hash, bytes: BYTES }, reply.receipt)
  );
}

describe('a copy', () => {
  it('is read from a source, stored under the token, and vouched for [REP-4]', async () => {
    const answer = await copy(addresses().slice(0, 1));
    expect(isProof(answer)).toBe(true);
    expect(store.pending()).toMatchObject([{ token: answer.token }]);
    expect(store.objects).toBe(1);
  });

  it('goes on at the next source where one lacks the object, is damaged or gone [REP-4]', async () => {
    const [one, other, none] = addresses();
    expect(isProof(await copy([none!, one!]))).toBe(true);
    await store.remove(hash);
    cluster.nodes.find(({ address }) => address === one)!.store.corrupt(hash, BYTES - 1);
    expect(isProof(await copy([one!, other!]))).toBe(true);
    await store.remove(hash);
    cluster.nodes.find(({ address }) => address === one)!.crash();
    expect(isProof(await copy([one!, other!]))).toBe(true);
  });

  it('is refused by what the sources say when none gives it, and leaves nothing [REP-4]', async () => {
    const [, , none] = addresses();
    expect((await copy([none!])).code).toBe(ResultCode.NOT_FOUND);
    for (const node of cluster.nodes.slice(0, 3)) if (node.store.objects > 0) node.store.corrupt(hash);
    expect((await copy(addresses())).code).toBe(ResultCode.CORRUPT);
    expect([store.objects, store.freeBytes]).toEqual([0, QUOTA_BYTES]);
  });

  it('that finds no space is refused before anything is read [REP-4]', async () => {
    const answer = await copy(addresses(), QUOTA_BYTES + 1);
    expect(answer.code).toBe(ResultCode.NO_SPACE);
    expect(decodeMessage(noSpaceReply, answer.body)).toEqual({ freeBytes: QUOTA_BYTES, nodesUp: 1 });
  });

  it('is made anew where the object waits to be settled under another token', async () => {
    await copy(addresses());
    const again = await copy(addresses());
    expect(isProof(again)).toBe(true);
    expect(store.pending()).toMatchObject([{ token: again.token }]);
  });

  it('is one of so many at once, and one more is refused as busy', async () => {
    const asked = Array.from({ length: COPIES_MAX + 1 }, () => ask([]));
    const answers = await cluster.drive(Promise.all(asked.map(({ answer }) => answer)));
    expect(answers.map(({ code }) => code)).toEqual([
      ...Array.from({ length: COPIES_MAX }, () => ResultCode.NOT_FOUND),
      ResultCode.BUSY,
    ]);
    expect((await copy(addresses())).code).toBe(ResultCode.OK);
  });

  it('ends with the session of the coordinator, and leaves nothing', async () => {
    const { answer } = ask(addresses());
    await cluster.pass(200);
    session.abort(new Error('the session has ended'));
    expect((await cluster.drive(answer)).code).not.toBe(ResultCode.OK);
    expect([store.objects, store.freeBytes]).toEqual([0, QUOTA_BYTES]);
  });
});

describe('a check', () => {
  it('reads what is held through, and vouches for it [REP-5]', async () => {
    await copy(addresses());
    await store.settle(hash, true);
    expect(isProof(await copy([]))).toBe(true);
  });

  it('of what is not held is answered NOT_FOUND', async () => {
    expect((await copy([])).code).toBe(ResultCode.NOT_FOUND);
  });

  it('that finds damage puts the object aside, and vouches for nothing [REP-5]', async () => {
    await copy(addresses());
    store.corrupt(hash, BYTES - 1);
    expect((await copy([])).code).toBe(ResultCode.CORRUPT);
    expect(putAside).toEqual([Buffer.from(hash).toString('hex')]);
  });
});
