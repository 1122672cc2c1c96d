import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { GramlineError } from '../../src/base/errors.ts';
import {
  CATALOG_BYTES_MAX,
  Catalog,
  CHANGES_MAX,
  COMMIT_TRIES_MAX,
  TOMBSTONE_PAGE_MAX,
} from '../../src/nodes/catalog.ts';
import { DONE_MAX, decodeTombstone, hasReplica, NO_TOKEN } from '../../src/nodes/catalog-entry.ts';
import { PAGE_ENTRIES_MAX } from '../../src/nodes/catalog-held.ts';
import { tombstoneKey } from '../../src/nodes/state-keys.ts';
import type { StateWriter } from '../../src/nodes/state-writer.ts';
import { REPLICAS_MAX } from '../../src/wire/index.ts';
import { freshToken, removal } from './tokens.ts';

const hash = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const node = (n: number): Uint8Array => new Uint8Array(16).fill(n);

let state: MemoryStateStore;
let catalog: Catalog;

/** Whether a commit made the entry. */
async function create(
  hash: Uint8Array,
  bytes: number,
  replicas: readonly Uint8Array[],
  nowMillis: number,
): Promise<boolean> {
  return (
    (await catalog.commit({ hash, bytes, replicas, wanted: 2, token: freshToken(), nowMillis })) === 'created'
  );
}

/** A catalog that has been read anew. */
async function readAnew(): Promise<Catalog> {
  const fresh = new Catalog(state);
  await fresh.load(async () => false);
  return fresh;
}

/** The hashes of what a node holds; `pause` runs between the pages. */
async function heldBy(n: number, pause: () => Promise<void> = async () => {}): Promise<Uint8Array[]> {
  const hashes: Uint8Array[] = [];
  for await (const held of catalog.heldBy(node(n), pause)) hashes.push(held.hash);
  return hashes;
}

beforeEach(() => {
  state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
  catalog = new Catalog(state);
});

describe('the catalog', () => {
  it('keeps an entry with its replicas, size and the totals', async () => {
    expect(await create(hash(1), 500, [node(1), node(2)], 7)).toBe(true);
    const entry = catalog.lookup(hash(1))!;
    expect(entry).toMatchObject({ bytes: 500, createdMillis: 7, replicas: [node(1), node(2)] });
    expect(catalog.totals).toEqual({ objects: 1, bytes: 500 });
    expect((await readAnew()).totals).toEqual({ objects: 1, bytes: 500 });
  });

  it('creates an entry once, however many race for it', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, n) => create(hash(1), 10, [node(n)], 0)),
    );
    expect(outcomes.filter((created) => created)).toHaveLength(1);
    expect(catalog.totals).toEqual({ objects: 1, bytes: 10 });
  });

  it('counts totals right when commits to many objects overlap', async () => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => create(hash(n), n, [node(1)], 0)));
    await Promise.all([3, 4, 5].map((n) => catalog.remove(hash(n), removal(1))));
    const bytes = Array.from({ length: 40 }, (_, n) => n).reduce((sum, n) => sum + n, 0) - 12;
    expect(catalog.totals).toEqual({ objects: 37, bytes });
    expect((await readAnew()).totals).toEqual(catalog.totals);
  });

  it('does not count a commit that failed, nor one that failed beside another', async () => {
    state.fail(true);
    await expect(create(hash(1), 10, [node(1)], 0)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    state.fail(false);
    const [, failed] = await Promise.allSettled([
      create(hash(2), 20, [node(1)], 0),
      create(hash(3), 40, [node(1)], 0),
    ]);
    expect(failed?.status).toBe('fulfilled');
    expect(catalog.totals).toEqual({ objects: 2, bytes: 60 });
    expect((await readAnew()).totals).toEqual({ objects: 2, bytes: 60 });
  });

  it('takes objects up to what its totals can say; one byte more is refused, and spoils nothing', async () => {
    // Found by `gramline fuzz`: a node's inventory named objects of 2^47 bytes and more.
    expect(await create(hash(1), CATALOG_BYTES_MAX, [node(1)], 0)).toBe(true);
    await expect(create(hash(2), 1, [node(1)], 0)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    await expect(catalog.adopt(hash(3), 1, node(1), () => true)).rejects.toMatchObject({
      code: 'GRAMLINE_NO_SPACE',
    });
    expect(catalog.totals).toEqual({ objects: 1, bytes: CATALOG_BYTES_MAX });
    expect((await readAnew()).totals).toEqual(catalog.totals);
    // A replica more of an object that is counted takes nothing.
    expect(await catalog.adopt(hash(1), CATALOG_BYTES_MAX, node(2), () => true)).toBe(true);
    await catalog.remove(hash(1), removal(1));
    expect(await create(hash(2), 1, [node(1)], 0)).toBe(true);
  });

  it('remembers what was removed, until it is stored again [DEFS-18]', async () => {
    await create(hash(1), 10, [node(1)], 0);
    expect(await catalog.remove(hash(1), removal(5))).toBe('removed');
    expect(await catalog.remove(hash(1), removal(5))).toBe('unknown');
    expect(catalog.lookup(hash(1))).toBeUndefined();
    expect(catalog.isRemoved(hash(1))).toBe(true);
    await create(hash(1), 10, [node(1)], 6);
    expect(catalog.isRemoved(hash(1))).toBe(false);
  });

  it('makes and removes an object once for each token, however often that is asked [DEFS-17] [DEFS-30]', async () => {
    const put = {
      hash: hash(1),
      bytes: 10,
      replicas: [node(1)],
      wanted: 2,
      token: freshToken(),
      nowMillis: 1,
    };
    const gone = removal(2);
    expect([await catalog.commit(put), await catalog.commit(put)]).toEqual(['created', 'repeated']);
    expect([await catalog.remove(hash(1), gone), await catalog.remove(hash(1), gone)]).toEqual([
      'removed',
      'repeated',
    ]);
    expect(await catalog.commit(put)).toBe('repeated');
    expect(catalog.lookup(hash(1))).toBeUndefined();
    const other = { ...put, token: freshToken(), replicas: [node(2)] };
    expect([await catalog.commit(other), await catalog.commit(put)]).toEqual(['created', 'repeated']);
    expect(await catalog.remove(hash(1), gone)).toBe('repeated');
    expect(catalog.lookup(hash(1))).toMatchObject({ madeBy: other.token, replicas: [node(2)] });
    // Who adds replicas made nothing.
    const third = { ...put, token: freshToken(), replicas: [node(3)] };
    expect([await catalog.commit(third), await catalog.commit(third)]).toEqual(['added', 'added']);
    expect((await readAnew()).hasMade(hash(1), put.token)).toBe(true);
  });

  it('brings nothing back by a commit that arrives when its object has been made and removed [DEFS-17]', async () => {
    const strays: (() => Promise<{ readonly ok: boolean }>)[] = [];
    const giveUp: StateWriter = {
      commit: async (...change) => {
        strays.push(() => state.commit(...change));
        throw new GramlineError('GRAMLINE_IO', 'no answer', { retryable: true });
      },
    };
    const given = new Catalog(state, undefined, giveUp);
    const put = {
      hash: hash(1),
      bytes: 10,
      replicas: [node(1)],
      wanted: 2,
      token: freshToken(),
      nowMillis: 1,
    };
    await expect(given.commit(put)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    await expect(given.adopt(hash(1), 10, node(2), () => true)).rejects.toMatchObject({
      code: 'GRAMLINE_IO',
    });
    expect(await catalog.commit(put)).toBe('created');
    expect(await catalog.remove(hash(1), removal(2))).toBe('removed');
    expect(await Promise.all(strays.map(async (arrive) => (await arrive()).ok))).toEqual([false, false]);
    expect(catalog.lookup(hash(1))).toBeUndefined();
  });

  it('does not take a put without a token for the maker of what inventories told of', async () => {
    await catalog.adopt(hash(1), 10, node(1), () => true);
    const put = { hash: hash(1), bytes: 10, replicas: [node(2)], wanted: 2, token: NO_TOKEN, nowMillis: 1 };
    expect(await catalog.commit(put)).toBe('added');
    expect(catalog.lookup(hash(1))!.replicas).toEqual([node(1), node(2)]);
  });

  it('knows of an object the last tokens that were done, and not one more', async () => {
    const tokens: Uint8Array[] = [];
    for (let round = 0; 2 * round <= DONE_MAX; round++) {
      const [put, gone] = [freshToken(), removal(1)];
      tokens.push(put, gone.token);
      const made = { hash: hash(1), bytes: 10, replicas: [node(1)], wanted: 2, token: put, nowMillis: 1 };
      expect(await catalog.commit(made)).toBe('created');
      expect(await catalog.remove(hash(1), gone)).toBe('removed');
    }
    const known = tokens.map((token) => catalog.hasMade(hash(1), token));
    expect(known).toEqual(tokens.map((_, index) => index >= tokens.length - DONE_MAX));
  });

  it('does not name itself the maker of what inventories told of', async () => {
    await catalog.adopt(hash(1), 10, node(1), () => true);
    await catalog.remove(hash(1), removal(1));
    expect(decodeTombstone(state.get(tombstoneKey(hash(1)))!).done).toHaveLength(1);
  });

  it('tells a change that others outrun again and again to come later', async () => {
    await create(hash(1), 10, [node(1)], 0);
    let commits = 0;
    state.commit = async () => {
      commits += 1;
      return { ok: false, revision: 1 };
    };
    await expect(catalog.remove(hash(1), removal(1))).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    expect(commits).toBe(COMMIT_TRIES_MAX);
  });

  it('forgets tombstones after a month, not before', async () => {
    await create(hash(1), 10, [node(1)], 0);
    await catalog.remove(hash(1), removal(1_000));
    const month = 30 * 24 * 3_600_000;
    await catalog.sweepTombstones(1_000 + month, async () => false);
    expect(catalog.isRemoved(hash(1))).toBe(true);
    await catalog.sweepTombstones(1_001 + month, async () => false);
    expect(catalog.isRemoved(hash(1))).toBe(false);
  });

  it('forgets all tombstones that are old enough, however many there are, and no younger one', async () => {
    const count = 2 * TOMBSTONE_PAGE_MAX + 1;
    for (let n = 0; n < count; n++) {
      await create(hash(n), 1, [node(1)], 0);
      await catalog.remove(hash(n), removal(n === 100 ? 5_000 : 0));
    }
    let pauses = 0;
    await catalog.sweepTombstones(30 * 24 * 3_600_000 + 1, async () => {
      pauses += 1;
      return false;
    });
    expect(pauses).toBe(2);
    const left = Array.from({ length: count }, (_, n) => n).filter((n) => catalog.isRemoved(hash(n)));
    expect(left).toEqual([100]);
  });

  it('adds replicas up to the maximum and strikes lost ones [DEFS-16]', async () => {
    await create(hash(1), 10, [node(1)], 0);
    await catalog.commit({
      hash: hash(1),
      bytes: 10,
      replicas: Array.from({ length: REPLICAS_MAX + 1 }, (_, n) => node(n)),
      wanted: 2,
      token: freshToken(),
      nowMillis: 1,
    });
    expect(catalog.lookup(hash(1))!.replicas).toHaveLength(REPLICAS_MAX);
    expect(await catalog.removeReplica(hash(1), node(1))).toBe(true);
    expect(hasReplica(catalog.lookup(hash(1))!, node(1))).toBe(false);
    expect(await catalog.removeReplica(hash(1), node(99))).toBe(false);
  });

  it('does not strike a replica that was written after the node joined', async () => {
    const joined = catalog.revision;
    await create(hash(1), 10, [node(1)], 0);
    expect(await catalog.removeReplica(hash(1), node(1), joined)).toBe(false);
    expect(await catalog.removeReplica(hash(1), node(1), catalog.revision)).toBe(true);
  });

  it('lists what a node holds', async () => {
    await create(hash(1), 10, [node(1), node(2)], 0);
    await create(hash(2), 10, [node(2)], 0);
    expect(await heldBy(2)).toEqual([hash(1), hash(2)]);
    expect(await heldBy(1)).toEqual([hash(1)]);
  });

  it('lists them page by page, and none twice or not at all when others change between pages', async () => {
    const numbered = (n: number): Uint8Array => {
      const name = hash(0);
      new DataView(name.buffer).setUint32(0, n);
      return name;
    };
    const entries = 2 * PAGE_ENTRIES_MAX + 1;
    await Promise.all(Array.from({ length: entries }, (_, n) => create(numbered(2 * n), 1, [node(1)], 0)));
    let limits = 0;
    const range = state.range.bind(state);
    state.range = (start, end, limit) => {
      limits = Math.max(limits, limit);
      return range(start, end, limit);
    };
    let pauses = 0;
    const found = await heldBy(1, async () => {
      pauses += 1;
      // One that was told goes, and so does the last of its page; one comes behind.
      await catalog.remove(numbered(0), removal(1));
      await catalog.remove(numbered(2 * (PAGE_ENTRIES_MAX - 1)), removal(1));
      await create(numbered(2 * entries + 1), 1, [node(1)], 1);
    });
    expect(found.map((name) => new DataView(name.buffer).getUint32(0))).toEqual([
      ...Array.from({ length: entries }, (_, n) => 2 * n),
      2 * entries + 1,
    ]);
    expect(pauses).toBe(2);
    expect(limits).toBe(PAGE_ENTRIES_MAX);
  });

  it('refuses one change more than its maximum as busy, and takes it when they are through', async () => {
    const nothing = (): void => undefined;
    const changes = Array.from({ length: CHANGES_MAX }, (_, n) => catalog.afterChanges(hash(n % 8), nothing));
    await expect(create(hash(9), 1, [node(1)], 0)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    await Promise.all(changes);
    expect(await create(hash(9), 1, [node(1)], 0)).toBe(true);
  });
});
