/** What the holder of a cluster secret cannot do without the admission secret, or without the right. */

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admissionProof } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { allBuckets } from '../../src/nodes/holdings.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import {
  admitQuery,
  type Codec,
  commitQuery,
  copyQuery,
  decodeMessage,
  digestQuery,
  encodeMessage,
  hashQuery,
  inventoryQuery,
  isFailure,
  joinQuery,
  joinReply,
  loadNotice,
  lockQuery,
  lockReply,
  membersQuery,
  NoticeKind,
  QueryKind,
  RECEIPT_BYTES,
  ResultCode,
  Role,
  readQuery,
  removeQuery,
  sessionQuery,
  sessionWriteQuery,
  settleQuery,
  statusQuery,
  storeQuery,
  storeReply,
  tokenQuery,
  unlockQuery,
  whereIsManyQuery,
  whereToQuery,
} from '../../src/wire/index.ts';
import { collect, TestCluster } from '../support/cluster.ts';
import { SILENT } from '../support/transport.ts';

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));
const secrets = {
  readOnly: random(32),
  writeOnly: random(32),
  readWrite: random(32),
  nodeOnly: random(32),
};

const cluster = await TestCluster.open({
  nodes: 2,
  grants: [
    { secret: secrets.readOnly, rights: { read: true } },
    { secret: secrets.writeOnly, rights: { write: true } },
    { secret: secrets.readWrite, rights: { read: true, write: true } },
    { secret: secrets.nodeOnly, rights: { node: true } },
  ],
});
const app = cluster.client();
const object = random(100_000);
let hash = '';
beforeAll(async () => {
  hash = (await app.put(object, { replicas: 2 })).hash;
});
afterAll(() => cluster.close());

const connections: Connection[] = [];
afterAll(() => Promise.all(connections.map((connection) => connection.close())));

async function connect(secret = cluster.secret, address = cluster.address, role: number = Role.NODE) {
  const connection = await cluster.clientTransport({ secret }).connect({ address, role: role as never });
  connections.unshift(connection);
  return connection;
}

async function code<Query>(
  connection: Connection,
  kind: number,
  codec: Codec<Query>,
  message: Query,
): Promise<number> {
  return (await connection.query(kind, encodeMessage(codec, message))).code;
}

function joinMessage(nodeId: Uint8Array = random(16)) {
  return {
    nodeId,
    incarnation: 1_000,
    name: 'intruder',
    address: '127.0.0.1:9',
    quotaBytes: 1e12,
    freeBytes: 1e12,
    offload: false,
  };
}

async function challenge(connection: Connection, nodeId?: Uint8Array): Promise<Uint8Array> {
  const reply = await connection.query(QueryKind.JOIN, encodeMessage(joinQuery, joinMessage(nodeId)));
  expect(reply.code).toBe(ResultCode.OK);
  const message = decodeMessage(joinReply, reply.body);
  if (isFailure(message)) throw new Error(message);
  return message.nonce;
}

const admit = (connection: Connection, proof: Uint8Array): Promise<number> =>
  code(connection, QueryKind.ADMIT, admitQuery, { proof });

const proofFor = (
  connection: Connection,
  nonce: Uint8Array,
  secret = cluster.admissionSecret,
  role = 'node',
) => admissionProof(nodeSuite, secret, connection.handshakeHash, nonce, role);

describe('a client with the cluster secret and without the admission secret', () => {
  it('is not admitted by a proof made up, of another secret, or of another role [ADM-1]', async () => {
    const connection = await connect();
    const makers = [
      () => random(32),
      () => new Uint8Array(32),
      (nonce: Uint8Array) => proofFor(connection, nonce, cluster.secret),
      (nonce: Uint8Array) => proofFor(connection, nonce, cluster.admissionSecret, 'coordinator'),
    ];
    for (const make of makers) {
      expect(await admit(connection, make(await challenge(connection)))).toBe(ResultCode.DENIED);
    }
    expect(cluster.coordinator.nodes).toHaveLength(2);
  });

  it('is not admitted by a proof of another session', async () => {
    const honest = await connect();
    const thief = await connect();
    // The honest proof, over the honest nonce and over the thief's.
    const proof = proofFor(honest, await challenge(honest));
    const nonce = await challenge(thief);
    expect(await admit(thief, proof)).toBe(ResultCode.DENIED);
    await challenge(thief);
    expect(await admit(thief, proofFor(honest, nonce))).toBe(ResultCode.DENIED);
    expect(cluster.coordinator.nodes).toHaveLength(2);
  });

  it('is not admitted by a proof of an earlier nonce, or without a challenge [ADM-3] [ADM-6]', async () => {
    const connection = await connect();
    const old = proofFor(connection, await challenge(connection));
    const fresh = await challenge(connection);
    expect(await admit(connection, old)).toBe(ResultCode.DENIED);
    // A challenge serves one try: the right proof comes too late.
    expect(await admit(connection, proofFor(connection, fresh))).toBe(ResultCode.DENIED);
    expect(await admit(await connect(), random(32))).toBe(ResultCode.DENIED);
    expect(cluster.coordinator.nodes).toHaveLength(2);
  });

  it('cannot take the place of a node that is up, or report for it [ADM-7]', async () => {
    const connection = await connect();
    const victim = cluster.coordinator.nodes[0]!;
    const nonce = await challenge(connection, victim.nodeId);
    expect(await admit(connection, proofFor(connection, nonce, cluster.secret))).toBe(ResultCode.DENIED);
    connection.notify(NoticeKind.LOAD, encodeMessage(loadNotice, { freeBytes: 0, objects: 0, full: true }));
    const raw = new Uint8Array(Buffer.from(hash, 'hex'));
    expect(await code(connection, QueryKind.CORRUPT, hashQuery, { hash: raw })).toBe(ResultCode.DENIED);
    expect(
      await code(connection, QueryKind.INVENTORY, inventoryQuery, { entries: 0, buckets: allBuckets() }),
    ).toBe(ResultCode.DENIED);
    const digest = { entries: 0, digests: new Uint8Array(64 * 8) };
    expect(await code(connection, QueryKind.DIGEST, digestQuery, digest)).toBe(ResultCode.DENIED);
    const entries = [{ token: random(8), hash: raw }];
    expect(await code(connection, QueryKind.SETTLE, settleQuery, { entries })).toBe(ResultCode.DENIED);
    expect(cluster.coordinator.nodes.map(({ state }) => state)).toEqual([0, 0]);
    expect((await app.whereIs(hash)).replicas).toHaveLength(2);
  });

  it('cannot start a node that serves', async () => {
    const warnings: string[] = [];
    const log = { ...SILENT, warn: (text: string) => warnings.push(text) };
    const node = await cluster.addNode(9, { admissionSecret: random(32), log });
    await expect.poll(() => String(node.lastError)).toMatch(/admission secret differs/);
    expect(node.isJoined).toBe(false);
    expect(cluster.coordinator.nodes).toHaveLength(2);
    await node.close();
  });

  it('cannot commit what no node stored, nor make itself a replica [DEFS-8]', async () => {
    const connection = await connect();
    const nodeId = cluster.coordinator.nodes[0]!.nodeId;
    const token = random(8);
    const where = { token, bytes: 1_000, replicas: 1, hash: undefined };
    expect(await code(connection, QueryKind.WHERE_TO, whereToQuery, where)).toBe(ResultCode.OK);
    const forged = random(32);
    for (const receipts of [
      [],
      [{ nodeId, receipt: random(RECEIPT_BYTES) }],
      [{ nodeId: random(16), receipt: random(RECEIPT_BYTES) }],
    ]) {
      const commit = { token, hash: forged, bytes: 1_000, replicas: 2, receipts };
      const answer = await code(connection, QueryKind.COMMIT, commitQuery, commit);
      expect([ResultCode.DENIED, ResultCode.MALFORMED]).toContain(answer);
    }
    await expect(app.whereIs(forged)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
  });

  it('cannot turn a true receipt into one for other bytes, another node, token or size [DEFS-8]', async () => {
    const [first, second] = cluster.coordinator.nodes;
    const connection = await connect();
    const atNode = await connect(cluster.secret, first!.address, Role.CLIENT);
    const token = random(8);
    const bytes = random(5_000);
    const where = { token, bytes: bytes.length, replicas: 2, hash: undefined };
    expect(await code(connection, QueryKind.WHERE_TO, whereToQuery, where)).toBe(ResultCode.OK);
    const call = atNode.call(QueryKind.STORE, encodeMessage(storeQuery, { token, bytes: bytes.length }), {
      sends: true,
    });
    await call.send.write({ encoding: 0, plainBytes: bytes.length, dataLeft: 0, payload: bytes });
    const stored = decodeMessage(storeReply, (await call.reply).body);
    if (isFailure(stored)) throw new Error(stored);
    const { hash: storedHash, receipt } = stored;
    const { nodeId } = first!;
    const truth = {
      token,
      hash: storedHash,
      bytes: bytes.length,
      replicas: 2,
      receipts: [{ nodeId, receipt }],
    };
    const commit = (message: typeof truth) => code(connection, QueryKind.COMMIT, commitQuery, message);
    const flipped = receipt.slice();
    flipped[0]! ^= 1;
    const other = random(8);
    expect(await code(connection, QueryKind.WHERE_TO, whereToQuery, { ...where, token: other })).toBe(
      ResultCode.OK,
    );
    const lies: (typeof truth)[] = [
      { ...truth, hash: random(32) },
      { ...truth, bytes: bytes.length + 1 },
      { ...truth, token: other },
      { ...truth, receipts: [{ nodeId: second!.nodeId, receipt }] },
      { ...truth, receipts: [{ nodeId, receipt: flipped }] },
      {
        ...truth,
        receipts: [
          { nodeId, receipt },
          { nodeId: second!.nodeId, receipt },
        ],
      },
    ];
    for (const lie of lies) expect(await commit(lie)).toBe(ResultCode.DENIED);
    await expect(app.whereIs(storedHash)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    // The truth passes, and names one replica: the check above was no blanket refusal.
    expect(await commit(truth)).toBe(ResultCode.OK);
    expect((await app.whereIs(storedHash)).replicas).toHaveLength(1);
    await code(connection, QueryKind.RELEASE, tokenQuery, { token: other });
  });

  it('cannot order a node to delete or to copy, whatever role it claims [ADM-5]', async () => {
    const raw = new Uint8Array(Buffer.from(hash, 'hex'));
    for (const role of [Role.CLIENT, Role.NODE, Role.COORDINATOR]) {
      for (const { address } of cluster.coordinator.nodes) {
        const connection = await connect(cluster.secret, address, role);
        const copy = { token: random(8), hash: raw, bytes: object.length, sources: [] };
        const answers = [
          await code(connection, QueryKind.DELETE, hashQuery, { hash: raw }),
          await code(connection, QueryKind.COPY, copyQuery, copy),
        ];
        for (const answer of answers) expect([ResultCode.UNSUPPORTED, ResultCode.DENIED]).toContain(answer);
      }
    }
    expect((await collect(app.get(hash))).equals(object)).toBe(true);
    expect((await app.whereIs(hash)).replicas).toHaveLength(2);
  });
});

describe('a secret with fewer rights', () => {
  const raw = () => new Uint8Array(Buffer.from(hash, 'hex'));
  const statusBody = encodeMessage(statusQuery, { cursor: 0 });
  const read = () => ({ hash: raw(), offset: 0, length: 0, creditBytes: 1_048_576, recordBytes: 65_536 });
  /** A lock that nobody has, and a place in it for the time of a test. */
  const lockMessage = () => ({
    name: `lock ${Buffer.from(random(8)).toString('hex')}`,
    token: random(16),
    shared: false,
    leaseMillis: 1_000,
    waitMillis: 0,
    fencing: 0,
  });
  const owner = () => ({ id: random(16), token: random(16) });
  const written = { number: 1, lifetimeSeconds: 1, data: random(3) };
  const coordinatorQueries: Record<string, { kind: number; body: () => Uint8Array }> = {
    STATUS: { kind: QueryKind.STATUS, body: () => statusBody },
    WHERE_IS: { kind: QueryKind.WHERE_IS, body: () => encodeMessage(hashQuery, { hash: raw() }) },
    WHERE_TO: {
      kind: QueryKind.WHERE_TO,
      body: () => encodeMessage(whereToQuery, { token: random(8), bytes: 1, replicas: 1, hash: undefined }),
    },
    COMMIT: {
      kind: QueryKind.COMMIT,
      body: () =>
        encodeMessage(commitQuery, { token: random(8), hash: raw(), bytes: 1, replicas: 1, receipts: [] }),
    },
    RELEASE: { kind: QueryKind.RELEASE, body: () => encodeMessage(tokenQuery, { token: random(8) }) },
    RENEW: { kind: QueryKind.RENEW, body: () => encodeMessage(tokenQuery, { token: random(8) }) },
    REMOVE: {
      kind: QueryKind.REMOVE,
      body: () => encodeMessage(removeQuery, { token: random(8), hash: random(32) }),
    },
    JOIN: { kind: QueryKind.JOIN, body: () => encodeMessage(joinQuery, joinMessage()) },
    ADMIT: { kind: QueryKind.ADMIT, body: () => encodeMessage(admitQuery, { proof: random(32) }) },
    WHERE_IS_MANY: {
      kind: QueryKind.WHERE_IS_MANY,
      body: () => encodeMessage(whereIsManyQuery, { hashes: [raw()] }),
    },
    MEMBERS: {
      kind: QueryKind.MEMBERS,
      body: () => encodeMessage(membersQuery, { after: 0, afterId: new Uint8Array(16), waitMillis: 0 }),
    },
    LOCK: { kind: QueryKind.LOCK, body: () => encodeMessage(lockQuery, lockMessage()) },
    UNLOCK: { kind: QueryKind.UNLOCK, body: () => encodeMessage(unlockQuery, lockMessage()) },
    SESSION_WRITE: {
      kind: QueryKind.SESSION_WRITE,
      body: () => encodeMessage(sessionWriteQuery, { ...owner(), ...written }),
    },
    SESSION_READ: { kind: QueryKind.SESSION_READ, body: () => encodeMessage(sessionQuery, owner()) },
    SESSION_END: { kind: QueryKind.SESSION_END, body: () => encodeMessage(sessionQuery, owner()) },
  };
  const READS = ['STATUS', 'WHERE_IS', 'WHERE_IS_MANY', 'MEMBERS', 'SESSION_READ'];
  const TENURES = ['LOCK', 'UNLOCK', 'SESSION_WRITE', 'SESSION_END'];
  const WRITES = ['WHERE_TO', 'COMMIT', 'RELEASE', 'RENEW', 'REMOVE', ...TENURES];

  it.each([
    ['readOnly', READS],
    ['writeOnly', WRITES],
    ['readWrite', [...READS, ...WRITES]],
    ['nodeOnly', ['JOIN']],
  ] as const)('may ask a coordinator, as %s, exactly what it says [MSG-6]', async (name, allowed) => {
    const connection = await connect(secrets[name]);
    for (const [query, { kind, body }] of Object.entries(coordinatorQueries)) {
      const answer = (await connection.query(kind, body())).code;
      // COMMIT without receipts, and ADMIT without the proof, are denied for their own reasons.
      if (query === 'COMMIT' || query === 'ADMIT') {
        if (!(allowed as readonly string[]).includes(query))
          expect([query, answer]).toEqual([query, ResultCode.DENIED]);
      } else {
        const isDenied = answer === ResultCode.DENIED;
        expect([query, isDenied]).toEqual([query, !(allowed as readonly string[]).includes(query)]);
      }
    }
    expect((await app.whereIs(hash)).replicas).toHaveLength(2);
  });

  it('carries out nothing that it may not: no lock, no user session [MSG-6]', async () => {
    const [reader, writer] = [await connect(secrets.readOnly), await connect(secrets.writeOnly)];
    const lock = lockMessage();
    expect(await code(reader, QueryKind.LOCK, lockQuery, lock)).toBe(ResultCode.DENIED);
    // Whoever may write is the first to hold it, and a reader cannot give it back.
    const held = await writer.query(QueryKind.LOCK, encodeMessage(lockQuery, { ...lock, token: random(16) }));
    expect(decodeMessage(lockReply, held.body)).toMatchObject({ held: true, ahead: 0 });
    expect(await code(reader, QueryKind.UNLOCK, unlockQuery, lock)).toBe(ResultCode.DENIED);
    const mine = owner();
    expect(await code(reader, QueryKind.SESSION_WRITE, sessionWriteQuery, { ...mine, ...written })).toBe(
      ResultCode.DENIED,
    );
    expect(await code(reader, QueryKind.SESSION_READ, sessionQuery, mine)).toBe(ResultCode.NOT_FOUND);
    expect(await code(writer, QueryKind.SESSION_WRITE, sessionWriteQuery, { ...mine, ...written })).toBe(
      ResultCode.OK,
    );
    expect(await code(writer, QueryKind.SESSION_READ, sessionQuery, mine)).toBe(ResultCode.DENIED);
    expect(await code(reader, QueryKind.SESSION_END, sessionQuery, mine)).toBe(ResultCode.DENIED);
    expect(await code(reader, QueryKind.SESSION_READ, sessionQuery, mine)).toBe(ResultCode.OK);
    expect(await code(writer, QueryKind.SESSION_END, sessionQuery, mine)).toBe(ResultCode.OK);
  });

  it.each([
    ['readOnly', ResultCode.OK, ResultCode.DENIED],
    ['writeOnly', ResultCode.DENIED, ResultCode.OK],
    ['nodeOnly', ResultCode.DENIED, ResultCode.DENIED],
  ] as const)(
    'may read and store at a node, as %s, exactly what it says [MSG-6]',
    async (name, reads, stores) => {
      const connection = await connect(secrets[name], cluster.nodes[0]!.address, Role.CLIENT);
      const reading = connection.call(QueryKind.READ, encodeMessage(readQuery, read()), {
        receives: true,
      });
      expect((await reading.reply).code).toBe(reads);
      reading.receive.stop(ResultCode.ABORTED);
      const storing = connection.call(
        QueryKind.STORE,
        encodeMessage(storeQuery, { token: random(8), bytes: 3 }),
        {
          sends: true,
        },
      );
      const written = storing.send.write({ encoding: 0, plainBytes: 3, dataLeft: 0, payload: random(3) });
      written.catch(() => undefined);
      expect((await storing.reply).code).toBe(stores);
    },
  );

  it('lets a client fail with a sentence, and change nothing', async () => {
    const reader = cluster.client({ secret: secrets.readOnly });
    expect((await collect(reader.get(hash))).equals(object)).toBe(true);
    await expect(reader.put(random(10))).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
    await expect(reader.rm(hash)).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
    const writer = cluster.client({ secret: secrets.writeOnly });
    expect((await writer.put(random(10))).replicas).toBe(2);
    await expect(collect(writer.get(hash))).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
    expect((await collect(app.get(hash))).equals(object)).toBe(true);
  });
});
