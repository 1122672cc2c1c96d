/** A node and a coordinator that is made of answers. */

import { describe, expect, it } from 'vitest';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { micros } from '../../src/base/units.ts';
import { admissionProof } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { allBuckets } from '../../src/nodes/holdings.ts';
import { StorageNode } from '../../src/nodes/index.ts';
import type { Connection, ListenOptions, Transport } from '../../src/nodes/ports.ts';
import { lz4Compression } from '../../src/store/index.ts';
import { admitReply, digestReply, encodeMessage, joinReply, QueryKind } from '../../src/wire/index.ts';
import { SILENT } from '../support/transport.ts';
import { FakeConnection } from './coordinator-support.ts';

const SECRET = new Uint8Array(32).fill(2);
const NONCE = new Uint8Array(32).fill(4);
const NO_BYTES = new Uint8Array(0);
const RUN_MICROS = 100_000;

/** Starts a node whose coordinator answers ADMIT with `proof`; resolves to what the node asked, and its state. */
async function join(proof: (connection: Connection) => Uint8Array, differs = allBuckets()) {
  const asked: number[] = [];
  const connections: FakeConnection[] = [];
  class Answering extends FakeConnection {
    override async query(kind: number) {
      asked.push(kind);
      if (kind === QueryKind.JOIN) return { code: 0, body: encodeMessage(joinReply, { nonce: NONCE }) };
      if (kind === QueryKind.DIGEST) return { code: 0, body: encodeMessage(digestReply, { differs }) };
      const message = { clusterId: new Uint8Array(16).fill(9), address: '10.0.0.2:1', proof: proof(this) };
      return { code: 0, body: encodeMessage(admitReply, message) };
    }
    override call(): never {
      const kind = QueryKind.INVENTORY;
      asked.push(kind);
      const send = { recordBytes: 65_536, write: async () => {}, delivered: async () => {}, reset: () => {} };
      return { reply: Promise.resolve({ code: 0, body: NO_BYTES }), send, receive: undefined } as never;
    }
  }
  const clock = new VirtualClock();
  const transport: Transport = {
    offload: false,
    connect: async () => {
      const connection = new Answering();
      connections.push(connection);
      return connection;
    },
    listen: async ({ address, clusterId }: ListenOptions) => ({ address, clusterId, close: async () => {} }),
  };
  const node = await StorageNode.open({
    transport,
    clock,
    entropy: { bytes: (count) => new Uint8Array(count), fraction: () => 0.5 },
    suite: nodeSuite,
    store: new MemoryObjectStore({
      nodeId: new Uint8Array(16),
      quotaBytes: 1e9,
      wallMillis: () => 0,
    } as never),
    compression: lz4Compression,
    coordinators: ['10.0.0.1:7400'],
    admissionSecret: SECRET,
    listen: '10.0.0.2:1',
    name: 'n',
    log: SILENT,
  });
  await clock.run({ untilMicros: micros(RUN_MICROS), stepsMax: 10_000 });
  const seen = { asked: [...asked], joined: node.isJoined, error: String(node.lastError) };
  const [first] = connections;
  const outcome = { ...seen, open: first!.isOpen, obeys: first!.onQuery !== undefined };
  await node.close();
  return outcome;
}

describe('a node that joins', () => {
  const truth =
    (role: string, secret = SECRET) =>
    (connection: Connection) =>
      admissionProof(nodeSuite, secret, connection.handshakeHash, NONCE, role);

  it('sends its inventory to a coordinator that knows the admission secret, and obeys it [ADM-8]', async () => {
    const { asked, joined, open, obeys } = await join(truth('coordinator'));
    const { JOIN, ADMIT, DIGEST, INVENTORY, MEMBERS } = QueryKind;
    expect(asked.slice(0, 5)).toEqual([JOIN, ADMIT, DIGEST, INVENTORY, MEMBERS]);
    expect([joined, open, obeys]).toEqual([true, true, true]);
  });

  it('sends no inventory where the coordinator knows what it holds [DIG-3]', async () => {
    const { asked, joined } = await join(truth('coordinator'), new Uint8Array(8));
    const { JOIN, ADMIT, DIGEST, MEMBERS } = QueryKind;
    expect(asked.slice(0, 4)).toEqual([JOIN, ADMIT, DIGEST, MEMBERS]);
    expect(joined).toBe(true);
  });

  it.each([
    ['of another secret', truth('coordinator', new Uint8Array(32))],
    ['of the node itself, sent back', truth('node')],
    ['made up', () => new Uint8Array(32)],
  ])('tells nothing to a coordinator whose proof is %s, and leaves it [ADM-8]', async (_what, proof) => {
    const { asked, joined, error, open, obeys } = await join(proof);
    expect(new Set(asked)).toEqual(new Set([QueryKind.JOIN, QueryKind.ADMIT]));
    expect([joined, open, obeys]).toEqual([false, false, false]);
    expect(error).toContain('does not know the admission secret');
  });
});
