/** Where objects are, as a coordinator answers: one by one and many at once, from memory and from the store. */

import { beforeEach, describe, expect, it } from 'vitest';
import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import { Catalog } from '../../src/nodes/catalog.ts';
import type { HashFilter } from '../../src/nodes/catalog-held.ts';
import { CatalogIndex } from '../../src/nodes/catalog-index.ts';
import { LOAD_ENTRIES_MAX } from '../../src/nodes/catalog-mirror.ts';
import {
  BODY_BYTES_MAX,
  decodeMessage,
  encodeMessage,
  hashQuery,
  isFailure,
  QueryKind,
  ResultCode,
  WHERE_IS_HASHES_MAX,
  type WhereIsManyReply,
  whereIsManyQuery,
  whereIsManyReply,
  whereIsReply,
} from '../../src/wire/index.ts';
import { FakeConnection, Hub } from './coordinator-support.ts';
import { freshToken, removal } from './tokens.ts';

const node = (n: number): Uint8Array => new Uint8Array(16).fill(n + 1);

function name(n: number): Uint8Array {
  const hash = new Uint8Array(32).fill(7);
  new DataView(hash.buffer).setUint32(0, Math.imul(n + 1, 0x9e3779b1));
  return hash;
}

let hub: Hub;

async function put(hash: Uint8Array, nodes: readonly number[]): Promise<void> {
  const put = await hub.put(hash, nodes.map(node));
  await put.commit();
}

async function ask(hashes: readonly Uint8Array[]): Promise<WhereIsManyReply> {
  const { code, body } = await hub.client.ask(
    QueryKind.WHERE_IS_MANY,
    encodeMessage(whereIsManyQuery, { hashes }),
  );
  const message = decodeMessage(whereIsManyReply, body);
  if (code !== ResultCode.OK || isFailure(message)) throw new Error(`code ${code}`);
  expect(body.length).toBeLessThanOrEqual(BODY_BYTES_MAX);
  return message;
}

/** What WHERE_IS says: a code, and for OK the size and the addresses. */
async function one(hash: Uint8Array): Promise<object> {
  const { code, body } = await hub.client.ask(QueryKind.WHERE_IS, encodeMessage(hashQuery, { hash }));
  if (code !== ResultCode.OK) return { code };
  const message = decodeMessage(whereIsReply, body);
  if (isFailure(message)) throw new Error('unreadable');
  return { code, bytes: message.bytes, addresses: message.locations.map(({ address }) => address).sort() };
}

/** The same of WHERE_IS_MANY, for each answer. */
function each({ locations, answers }: WhereIsManyReply): object[] {
  return answers.map((found) => {
    if (found.code !== ResultCode.OK) return { code: found.code };
    const addresses = found.replicas.map((index) => locations[index]!.address).sort();
    return { code: found.code, bytes: found.bytes, addresses };
  });
}

beforeEach(async () => {
  hub = await Hub.open();
});

describe('a coordinator that is asked for many objects', () => {
  it('answers each as it answers it alone [DEFS-27], and names every location once', async () => {
    const nodes = await Promise.all([0, 1, 2].map((n) => hub.join(node(n), `10.0.1.${n}:1`)));
    for (let n = 0; n < 20; n++) await put(name(n), [n % 3, (n + 1) % 3]);
    await put(name(20), [0]);
    await hub.inventory(nodes[0]!, []);
    await hub.pass(seconds(1));
    // Never joined.
    await put(name(21), [9]);
    await hub.remove(name(5));
    const hashes = Array.from({ length: 24 }, (_, n) => name(n));
    const many = await ask(hashes);
    expect(each(many)).toEqual(await Promise.all(hashes.map(one)));
    expect(many.locations).toHaveLength(3);
    expect(new Set(each(many).map((found) => (found as { code: number }).code))).toEqual(
      new Set([ResultCode.OK, ResultCode.NOT_FOUND, ResultCode.BUSY]),
    );
    expect(many.revision).toBe(hub.state.revision);
  });

  it('answers that an object is lost [DEFS-11]', async () => {
    const connection = await hub.join(node(0));
    await put(name(1), [0]);
    await connection.ask(QueryKind.CORRUPT, encodeMessage(hashQuery, { hash: name(1) }));
    expect(await one(name(1))).toEqual({ code: ResultCode.CORRUPT });
    expect(each(await ask([name(1)]))).toEqual([{ code: ResultCode.CORRUPT }]);
  });

  it('ranks nodes that are up first, each in its turn, then those that are down [DEFS-9]', async () => {
    const connections = await Promise.all([0, 1, 2, 3].map((n) => hub.join(node(n), `10.0.1.${n}:1`)));
    await put(name(1), [0, 1, 2, 3]);
    await connections[1]!.close();
    await hub.pass(1);
    const firsts = new Map<string, number>();
    for (let round = 0; round < 300; round++) {
      const { locations, answers } = await ask([name(1)]);
      const found = answers[0]!;
      if (found.code !== ResultCode.OK) throw new Error('not found');
      const addresses = found.replicas.map((index) => locations[index]!.address);
      expect(addresses.at(-1)).toBe('10.0.1.1:1');
      expect(new Set(addresses).size).toBe(4);
      firsts.set(addresses[0]!, (firsts.get(addresses[0]!) ?? 0) + 1);
    }
    expect(firsts.size).toBe(3);
    for (const count of firsts.values()) expect(count).toBeGreaterThan(50);
  });

  it('tells a new address of a node that joined again', async () => {
    await hub.join(node(0), '10.0.1.1:1');
    await put(name(1), [0]);
    await ask([name(1)]);
    await hub.join(node(0), '10.0.1.2:9', 2);
    expect((await ask([name(1)])).locations.map(({ address }) => address)).toEqual(['10.0.1.2:9']);
  });

  it('answers as many as fit, at least one, and the rest when asked again [DEFS-28]', async () => {
    const long = (n: number): string => `${'h'.repeat(70)}${100 + n}:7400`;
    for (let n = 0; n < 40; n++) await hub.join(node(n), long(n));
    const hashes: Uint8Array[] = [];
    for (let n = 0; n < WHERE_IS_HASHES_MAX; n++) {
      hashes.push(name(n));
      await put(
        name(n),
        Array.from({ length: 8 }, (_, replica) => (n * 8 + replica) % 40),
      );
    }
    const found: object[] = [];
    let asked = 0;
    while (found.length < hashes.length) {
      const answers = each(await ask(hashes.slice(found.length)));
      expect(answers.length).toBeGreaterThan(0);
      found.push(...answers);
      asked += 1;
    }
    expect(found).toEqual(await Promise.all(hashes.map(one)));
    expect(asked).toBeGreaterThan(10);
  });

  it('refuses bodies that are none, and secrets that may not read [QRY-9] [MSG-6]', async () => {
    const whole = encodeMessage(whereIsManyQuery, { hashes: [name(1), name(2)] });
    const bodies = [
      new Uint8Array(0),
      whole.subarray(0, -1),
      concatBytes(whole, new Uint8Array(1)),
      new Uint8Array([0]),
    ];
    for (const body of bodies) {
      expect((await hub.client.ask(QueryKind.WHERE_IS_MANY, body)).code).toBe(ResultCode.MALFORMED);
      expect((await hub.client.ask(QueryKind.WHERE_IS, body)).code).toBe(ResultCode.MALFORMED);
    }
    const stranger = new FakeConnection();
    hub.connect(stranger);
    Object.assign(stranger.rights, { read: false });
    expect((await stranger.ask(QueryKind.WHERE_IS_MANY, whole)).code).toBe(ResultCode.DENIED);
    expect((await stranger.ask(QueryKind.WHERE_IS, name(1))).code).toBe(ResultCode.DENIED);
  });

  it('answers in the turn in which it is asked', async () => {
    await hub.join(node(0));
    await put(name(1), [0]);
    const codes: number[] = [];
    for (const [kind, body] of [
      [QueryKind.WHERE_IS, name(1)],
      [QueryKind.WHERE_IS_MANY, encodeMessage(whereIsManyQuery, { hashes: [name(1)] })],
    ] as const) {
      hub.client.onQuery!({
        kind,
        body,
        reply: (code) => codes.push(code),
        send: () => expect.fail('no flow'),
        receive: () => expect.fail('no flow'),
      });
    }
    expect(codes).toEqual([ResultCode.OK, ResultCode.OK]);
  });

  it('asks the state store for nothing once the catalog is in memory', async () => {
    await hub.join(node(0));
    await put(name(1), [0]);
    hub.state.get = () => expect.fail('asked the store');
    expect(await one(name(1))).toMatchObject({ code: ResultCode.OK });
    expect(await one(name(2))).toEqual({ code: ResultCode.NOT_FOUND });
  });
});

describe('a catalog that is read into memory', () => {
  const pages = 5;
  const entries = pages * LOAD_ENTRIES_MAX + 3;

  async function filled(): Promise<Catalog> {
    const catalog = new Catalog(hub.state);
    await Promise.all(
      Array.from({ length: entries }, (_, n) =>
        catalog.commit({
          hash: name(n),
          bytes: n,
          replicas: [node(n % 5), node(n % 7)],
          wanted: 2,
          token: freshToken(),
          nowMillis: 1,
        }),
      ),
    );
    return new Catalog(hub.state);
  }

  it('says of what it has not met that the store knows, and afterwards nothing of the kind', async () => {
    const catalog = await filled();
    let turns = 0;
    await catalog.load(async () => {
      turns += 1;
      expect(catalog.find(name(entries))).toBe('elsewhere');
      expect(catalog.isIndexed).toBe(false);
      return false;
    });
    expect(turns).toBe(pages);
    expect([catalog.isIndexed, catalog.find(name(entries))]).toEqual([true, 'unknown']);
    for (let n = 0; n < entries; n++) {
      expect(catalog.find(name(n))).toBe('here');
      const ids = [...catalog.found.replicas.subarray(0, catalog.found.count)].map((number) =>
        catalog.numbers.id(number),
      );
      expect([catalog.found.bytes, ids]).toEqual([n, [node(n % 5), node(n % 7)]]);
    }
  });

  it('follows what changes meanwhile', async () => {
    const catalog = await filled();
    let turn = 0;
    await catalog.load(async () => {
      turn += 1;
      for (let n = turn; n < entries; n += 97) await catalog.remove(name(n), removal(5));
      await catalog.commit({
        hash: name(entries + turn),
        bytes: 1,
        replicas: [node(1)],
        wanted: 2,
        token: freshToken(),
        nowMillis: 5,
      });
      await catalog.removeReplica(name(turn * 11), node((turn * 11) % 5));
      return false;
    });
    for (let n = 0; n <= entries + turn; n++) {
      const entry = catalog.lookup(name(n));
      expect(catalog.find(name(n))).toBe(entry === undefined ? 'unknown' : 'here');
      if (entry === undefined) continue;
      const ids = [...catalog.found.replicas.subarray(0, catalog.found.count)].map((number) =>
        catalog.numbers.id(number),
      );
      expect([catalog.found.bytes, ids]).toEqual([entry.bytes, entry.replicas]);
    }
  });

  it('tells what a node holds as the store does, whatever changes while it is told', async () => {
    const catalog = await filled();
    const others = Array.from({ length: 9_000 }, (_, n) => name(1_000_000 + n));
    await Promise.all(
      others.map((hash) =>
        catalog.commit({
          hash: hash,
          bytes: 1,
          replicas: [node(1)],
          wanted: 2,
          token: freshToken(),
          nowMillis: 1,
        }),
      ),
    );
    const unread = new Catalog(hub.state);
    await catalog.load(async () => false);
    const held = async (from: Catalog, pause = async () => {}, isAsked?: HashFilter): Promise<string[]> => {
      const hashes: string[] = [];
      for await (const { hash, entry } of from.heldBy(node(3), pause, isAsked)) {
        expect(entry).toEqual(from.lookup(hash));
        hashes.push(toHex(hash));
      }
      return hashes.sort();
    };
    const all = await held(unread);
    expect(await held(catalog)).toEqual(all);
    const few = new CatalogIndex();
    for (const hash of all.slice(-5)) few.put(fromHex(hash)!, 0, [], 0);
    const isFew = (hash: Uint8Array): boolean => few.find(hash) !== 'unknown';
    expect(await held(catalog, undefined, isFew)).toEqual(all.slice(-5));
    expect(await held(unread, undefined, isFew)).toEqual(all.slice(-5));
    // Enough to cut segments that have been told, and ones that have not.
    let added = 0;
    const told = await held(catalog, async () => {
      const fresh = Array.from({ length: 1_500 }, () => name(entries + added++));
      if (added < 20_000)
        await Promise.all(
          fresh.map((hash) =>
            catalog.commit({
              hash: hash,
              bytes: 1,
              replicas: [node(1)],
              wanted: 2,
              token: freshToken(),
              nowMillis: 1,
            }),
          ),
        );
    });
    expect(added).toBeGreaterThan(3_000);
    expect(told).toEqual(all);
  });

  it('stops when it is told to, and goes on asking the store', async () => {
    const catalog = await filled();
    await catalog.load(async () => true);
    expect(catalog.isIndexed).toBe(false);
    expect(catalog.find(name(entries))).toBe('elsewhere');
  });

  it('sees what reached the store by a commit that failed', async () => {
    const catalog = await filled();
    await catalog.load(async () => false);
    const commit = hub.state.commit.bind(hub.state);
    hub.state.commit = async (...args) => {
      await commit(...args);
      throw new Error('the answer was lost');
    };
    await expect(
      catalog.commit({
        hash: name(entries),
        bytes: 9,
        replicas: [node(1)],
        wanted: 2,
        token: freshToken(),
        nowMillis: 1,
      }),
    ).rejects.toThrow('lost');
    expect([catalog.find(name(entries)), catalog.found.bytes]).toEqual(['here', 9]);
    await expect(catalog.remove(name(entries), removal(1))).rejects.toThrow('lost');
    expect(catalog.find(name(entries))).toBe('unknown');
  });
});
