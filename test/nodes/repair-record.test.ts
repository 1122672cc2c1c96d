/** What the leader notes of repair, and what is made of it [REP-7]. */

import { describe, expect, it } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { NOTHING_KNOWN, RepairBook, readRepair, reportOf } from '../../src/nodes/repair-record.ts';
import { REPAIR_KEY } from '../../src/nodes/state-keys.ts';
import { RepairKnown } from '../../src/wire/index.ts';

const SOME = { missing: 5, copying: 2, surplus: 2 ** 32 - 1, scanning: true };
const NONE = { missing: 0, copying: 0, surplus: 0, scanning: false };

describe('the note of repair', () => {
  it('is read in its epoch, and in no other', async () => {
    const state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
    expect(readRepair(state, 7)).toEqual(NOTHING_KNOWN);
    await new RepairBook(state, 7).note(SOME);
    expect(readRepair(state, 7)).toEqual({
      repair: RepairKnown.LOOKING,
      missing: 5,
      copying: 2,
      surplus: 2 ** 32 - 1,
    });
    for (const epoch of [6, 8, undefined]) expect(readRepair(state, epoch)).toEqual(NOTHING_KNOWN);
    await new RepairBook(state, 8).note(NONE);
    expect(readRepair(state, 8)).toEqual({ repair: RepairKnown.ALL, missing: 0, copying: 0, surplus: 0 });
    expect(reportOf(NONE)).toEqual(readRepair(state, 8));
  });

  it('is not written again while nothing changes, and tried again when it failed', async () => {
    const state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
    let isFailing = true;
    let commits = 0;
    const book = new RepairBook(
      {
        commit: (compare, operations) => {
          commits += 1;
          return isFailing ? Promise.reject(new Error('away')) : state.commit(compare, operations);
        },
      },
      1,
    );
    await expect(book.note(NONE)).rejects.toThrow('away');
    isFailing = false;
    for (let round = 0; round < 3; round++) await book.note(NONE);
    expect(commits).toBe(2);
    await book.note(SOME);
    expect(commits).toBe(3);
  });

  it('says nothing where it cannot be read', async () => {
    const state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
    await new RepairBook(state, 1).note(SOME);
    const value = state.get(REPAIR_KEY)!;
    const newer = value.slice();
    newer[0] = 2;
    for (const bad of [value.slice(0, -1), new Uint8Array(0), newer]) {
      await state.commit([], [{ key: REPAIR_KEY, value: bad }]);
      expect(readRepair(state, 1)).toEqual(NOTHING_KNOWN);
    }
  });
});
