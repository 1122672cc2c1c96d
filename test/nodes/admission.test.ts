import { beforeEach, describe, expect, it } from 'vitest';
import { seconds } from '../../src/base/units.ts';
import { admissionProof } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { JOINING_MAX, JOINING_MICROS_MAX } from '../../src/nodes/admission.ts';
import { ADMISSION_ROLE } from '../../src/nodes/roles.ts';
import {
  admitQuery,
  decodeMessage,
  encodeMessage,
  isFailure,
  joinQuery,
  joinReply,
  QueryKind,
  ResultCode,
  whereToQuery,
} from '../../src/wire/index.ts';
import { FakeConnection, HANDSHAKE_HASH, Hub, SECRET } from './coordinator-support.ts';

const NODE_ID = new Uint8Array(16).fill(7);
const OTHER_ID = new Uint8Array(16).fill(8);
const HASHES = [1, 2, 3].map((fill) => new Uint8Array(32).fill(fill));

let hub: Hub;
beforeEach(async () => {
  hub = await Hub.open();
});

function joinBody(nodeId: Uint8Array): Uint8Array {
  const fields = { incarnation: 1, name: 'n', address: '10.0.0.1:1', offload: false, draining: false };
  return encodeMessage(joinQuery, { nodeId, ...fields, quotaBytes: 1e9, freeBytes: 1e9 });
}

describe('the admission of a node', () => {
  it('begins with another nonce every time [ADM-3]', async () => {
    const connection = new FakeConnection();
    hub.connect(connection);
    const nonces = new Set<string>();
    for (let tries = 0; tries < 5; tries++) {
      const reply = await connection.ask(QueryKind.JOIN, joinBody(NODE_ID));
      const message = decodeMessage(joinReply, reply.body);
      if (isFailure(message)) throw new Error(message);
      expect(message.nonce).toHaveLength(32);
      nonces.add(Buffer.from(message.nonce).toString('hex'));
    }
    expect(nonces.size).toBe(5);
  });

  it('is refused while the same or a later incarnation is up, and replaces an earlier one [ADM-4]', async () => {
    const first = await hub.join(NODE_ID, '10.0.0.1:1', 5);
    for (const incarnation of [5, 4]) {
      await expect(hub.join(NODE_ID, '10.0.0.1:2', incarnation)).rejects.toThrow(
        `not admitted: ${ResultCode.CONFLICT}`,
      );
      expect(first.isOpen).toBe(true);
    }
    await hub.join(NODE_ID, '10.0.0.1:3', 6);
    expect(first.isOpen).toBe(false);
    expect(hub.coordinator.nodes).toMatchObject([{ address: '10.0.0.1:3' }]);
  });

  it('is refused on a session under which a node is up [ADM-9]', async () => {
    const connection = await hub.join(NODE_ID);
    for (const nodeId of [NODE_ID, OTHER_ID])
      expect((await connection.ask(QueryKind.JOIN, joinBody(nodeId))).code).toBe(ResultCode.CONFLICT);
    expect(hub.coordinator.nodes).toHaveLength(1);
  });
});

describe('many nodes that come at once [MEM-6]', () => {
  const idOf = (n: number): Uint8Array => new Uint8Array(16).fill(n + 1);
  const asks = async (n: number): Promise<number> => {
    const connection = new FakeConnection();
    hub.connect(connection);
    return (await connection.ask(QueryKind.JOIN, joinBody(idOf(n)))).code;
  };

  it('are told to wait while 64 have not said what they hold', async () => {
    const joined: FakeConnection[] = [];
    for (let n = 0; n < JOINING_MAX; n++) joined.push(await hub.join(idOf(n)));
    expect(await asks(100)).toBe(ResultCode.BUSY);
    expect(await hub.inventory(joined[3]!, [])).toBe(ResultCode.OK);
    expect(await asks(100)).toBe(ResultCode.OK);
    await hub.join(idOf(100));
    expect(await asks(101)).toBe(ResultCode.BUSY);
    await joined[5]!.close();
    await hub.pass(1);
    expect(await asks(101)).toBe(ResultCode.OK);
  });

  it('are told so by ADMIT, too, where more of them asked in time', async () => {
    const connections = Array.from({ length: JOINING_MAX + 3 }, () => new FakeConnection());
    const nonces: Uint8Array[] = [];
    for (const [n, connection] of connections.entries()) {
      hub.connect(connection);
      const reply = decodeMessage(joinReply, (await connection.ask(QueryKind.JOIN, joinBody(idOf(n)))).body);
      if (isFailure(reply)) throw new Error('no nonce');
      nonces.push(reply.nonce);
    }
    const codes: number[] = [];
    for (const [n, connection] of connections.entries()) {
      const proof = admissionProof(nodeSuite, SECRET, HANDSHAKE_HASH, nonces[n]!, ADMISSION_ROLE);
      codes.push((await connection.ask(QueryKind.ADMIT, encodeMessage(admitQuery, { proof }))).code);
    }
    expect(codes.filter((code) => code === ResultCode.OK)).toHaveLength(JOINING_MAX);
    expect(codes.slice(JOINING_MAX)).toEqual([ResultCode.BUSY, ResultCode.BUSY, ResultCode.BUSY]);
  });

  it('do not wait for ever for nodes that say nothing', async () => {
    for (let n = 0; n < JOINING_MAX; n++) await hub.join(idOf(n));
    await hub.pass(JOINING_MICROS_MAX - seconds(2));
    expect(await asks(100)).toBe(ResultCode.BUSY);
    await hub.pass(seconds(4));
    expect(await asks(100)).toBe(ResultCode.OK);
  });
});

describe('an inventory', () => {
  it('of another length than it says strikes nothing, and what it adds stays [MSG-8]', async () => {
    const node = await hub.join(NODE_ID);
    const [held, also, found] = HASHES as [Uint8Array, Uint8Array, Uint8Array];
    expect(await hub.inventory(node, [held, also])).toBe(ResultCode.OK);
    const again = await hub.join(NODE_ID, '10.0.0.1:1', 2);
    for (const entries of [1, 3]) {
      expect(await hub.inventory(again, [held, found], entries)).not.toBe(ResultCode.OK);
      expect(await hub.whereIs(also)).toBe(ResultCode.OK);
    }
    expect(await hub.whereIs(found)).toBe(ResultCode.OK);
    expect(await hub.inventory(again, [held, found])).toBe(ResultCode.OK);
    await hub.pass(1_000_000);
    expect(await hub.whereIs(also)).toBe(ResultCode.CORRUPT);
  });
});

describe('a placement', () => {
  const place = async (bytes: number, replicas: number, token: number): Promise<number> => {
    const query = { token: new Uint8Array(8).fill(token), bytes, replicas: 1, hash: undefined };
    const body = encodeMessage(whereToQuery, query);
    // The number of replicas stands behind token and size.
    body[14] = replicas;
    return (await hub.client.ask(QueryKind.WHERE_TO, body)).code;
  };

  it('needs a node, and space on as many as are wanted and up [DEFS-5]', async () => {
    expect(await place(1, 1, 1)).toBe(ResultCode.NO_SPACE);
    await hub.join(NODE_ID);
    expect(await place(6e8, 3, 2)).toBe(ResultCode.OK);
    await hub.join(OTHER_ID, '10.0.0.2:1');
    // One of the two has room, both are wanted: nothing is reserved, and its room is still there.
    expect(await place(6e8, 2, 3)).toBe(ResultCode.NO_SPACE);
    expect(await place(9e8, 1, 4)).toBe(ResultCode.OK);
    expect(await place(6e8, 1, 5)).toBe(ResultCode.NO_SPACE);
  });

  it('of no replica or of nine is no question [DEFS-6]', async () => {
    await hub.join(NODE_ID);
    for (const replicas of [0, 9, 255])
      expect([replicas, await place(1, replicas, 6)]).toEqual([replicas, ResultCode.MALFORMED]);
    expect(await place(1, 8, 7)).toBe(ResultCode.OK);
  });
});
