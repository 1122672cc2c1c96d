/** Moving a state to another store: nothing is lost on the way, and revisions go on growing. */

import { describe, expect, test } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { micros } from '../../src/base/units.ts';
import type { StateChange, StateStore } from '../../src/nodes/ports.ts';
import { isPassing, LEADER_KEY } from '../../src/nodes/state-keys.ts';
import { moveState, PAGE_ENTRIES_MAX, withRevisionBase } from '../../src/store/state-moving.ts';
import { systemClock } from '../../src/udp/index.ts';
import { changes, textAt } from './state-store-contract.ts';

const EVERYTHING = [new Uint8Array(1), new Uint8Array(8).fill(255)] as const;

function empty(): MemoryStateStore {
  return new MemoryStateStore({ clusterId: new Uint8Array(16).fill(3), clock: systemClock });
}

/** A store that has seen `commits`, and holds as many entries. */
async function used(commits: number): Promise<MemoryStateStore> {
  const store = empty();
  for (let count = 0; count < commits; count++)
    await store.commit([], changes({ [`o${count}`]: `${count}` }));
  return store;
}

function entriesOf(store: StateStore): string[] {
  return Array.from(store.range(...EVERYTHING, 100_000), ([key, value]) => `${key}=${value}`);
}

describe('a state that is moved', () => {
  test.each([0, 1, PAGE_ENTRIES_MAX - 1, PAGE_ENTRIES_MAX, PAGE_ENTRIES_MAX + 1, 3 * PAGE_ENTRIES_MAX])(
    'arrives with all of its %i entries',
    async (count) => {
      const [from, to] = [await used(count), empty()];
      expect(await moveState({ from, to, isPassing })).toBe(count);
      const own = entriesOf(to).filter((entry) => !entry.startsWith('114='));
      expect(own).toEqual(entriesOf(from));
    },
  );

  test('leaves behind who led, and who ran', async () => {
    const [from, to] = [await used(1), empty()];
    const lease = await from.lease(micros(60_000_000));
    await from.commit([], [{ key: LEADER_KEY, value: utf8('me'), lease }, ...changes({ m12345678: 'here' })]);
    expect(await moveState({ from, to, isPassing })).toBe(1);
    expect([to.get(LEADER_KEY), textAt(to, 'm12345678'), textAt(to, 'o0')]).toEqual([
      undefined,
      undefined,
      '0',
    ]);
  });

  test('goes on with greater revisions, in what is read, committed and watched', async () => {
    const [from, to] = [await used(500), empty()];
    await moveState({ from, to, isPassing });
    const store = withRevisionBase(to);
    const before = store.revision;
    expect(before).toBeGreaterThanOrEqual(from.revision);
    const heard: StateChange[] = [];
    store.watch(before, (news) => heard.push(...news));
    const { revision } = await store.commit([], changes({ x: '1' }));
    expect([revision, store.revision]).toEqual([before + 1, before + 1]);
    expect(heard.map((change) => change.revision)).toEqual([before + 1]);
  });

  test('can be moved on, and its revisions grow again', async () => {
    const [first, second, third] = [await used(500), empty(), empty()];
    await moveState({ from: first, to: second, isPassing });
    const moved = withRevisionBase(second);
    await moveState({ from: moved, to: third, isPassing });
    const last = withRevisionBase(third);
    expect(last.revision).toBeGreaterThanOrEqual(moved.revision);
    expect(textAt(last, 'o499')).toBe('499');
  });

  test('is not moved to where there is another', async () => {
    const [from, to] = [await used(3), await used(1)];
    await expect(moveState({ from, to, isPassing })).rejects.toMatchObject({
      code: 'GRAMLINE_INVALID',
      message: expect.stringContaining('not empty'),
    });
    expect(entriesOf(to)).toHaveLength(1);
  });

  test('is not opened when only a part of it has arrived, and is moved by beginning again', async () => {
    const [from, to] = [await used(5 * PAGE_ENTRIES_MAX), empty()];
    const onProgress = (entries: number): void => {
      if (entries > 2 * PAGE_ENTRIES_MAX) throw new Error('interrupted');
    };
    await expect(moveState({ from, to, isPassing, onProgress })).rejects.toThrow('interrupted');
    expect(() => withRevisionBase(to)).toThrow('move it again');
    expect(await moveState({ from, to, isPassing })).toBe(5 * PAGE_ENTRIES_MAX);
    expect(textAt(withRevisionBase(to), 'o7')).toBe('7');
  });

  test('is refused where somebody wrote meanwhile', async () => {
    const [from, to] = [await used(PAGE_ENTRIES_MAX + 1), empty()];
    const onProgress = (): void => void to.commit([], changes({ o1: 'other' }));
    await expect(moveState({ from, to, isPassing, onProgress })).rejects.toMatchObject({
      code: 'GRAMLINE_CORRUPT',
    });
    expect(() => withRevisionBase(to)).toThrow('move it again');
  });
});
