import { describe, expect, it } from 'vitest';
import { Outstanding } from '../../src/nodes/outstanding.ts';

/** Promise jobs that are due by now have run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('work under way on borrowed bytes', () => {
  it.each([0, 1])('is waited for when it has %i bytes', async (bytes) => {
    let finish = (): void => undefined;
    const work = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const outstanding = new Outstanding(10);
    const released: string[] = [];
    outstanding.add(work, bytes, () => released.push('released'));
    let isDrained = false;
    const drained = outstanding.drained().then(() => {
      isDrained = true;
    });
    await settled();
    expect(isDrained).toBe(false);
    finish();
    await drained;
    expect(released).toEqual(['released']);
  });

  it('tells of the failure of work without bytes', async () => {
    const outstanding = new Outstanding(10);
    outstanding.add(Promise.reject(new Error('no room')), 0, () => undefined);
    await expect(outstanding.drained()).rejects.toThrow('no room');
  });
});
