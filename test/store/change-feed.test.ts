import { expect, it } from 'vitest';
import { ChangeFeed, WATCHERS_MAX } from '../../src/store/change-feed.ts';

it('a feed has so many watchers; one more is refused, and finds room when another has stopped', () => {
  const feed = new ChangeFeed(1);
  const heard = Array.from({ length: WATCHERS_MAX }, () => 0);
  const stops = heard.map((_, index) =>
    feed.watch(1, (changes) => {
      heard[index]! += changes.length;
    }),
  );
  const more = (): (() => void) => feed.watch(1, () => undefined);
  expect(more).toThrowError(expect.objectContaining({ code: 'GRAMLINE_BUSY' }));
  stops[0]!();
  more();
  expect(more).toThrowError(expect.objectContaining({ code: 'GRAMLINE_BUSY' }));
  feed.publish([{ key: new Uint8Array(1), value: undefined, revision: 2 }]);
  expect([heard[0], new Set(heard.slice(1))]).toEqual([0, new Set([1])]);
});
