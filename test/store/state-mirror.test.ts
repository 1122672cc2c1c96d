import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { STATE_KEY_BYTES_MAX } from '../../src/store/state-limits.ts';
import { differences, keyBehind, openLmdbMirror, type StateMirror } from '../../src/store/state-mirror.ts';
import { temporaryDirectory } from './support.ts';

const NO_KEY = new Uint8Array();

async function open(): Promise<StateMirror> {
  const mirror = await openLmdbMirror();
  onTestFinished(() => mirror.close());
  return mirror;
}

function all(mirror: StateMirror): string[] {
  return mirror
    .range(NO_KEY, undefined, 1e6)
    .map(([key, value]) => `${Buffer.from(key)}=${Buffer.from(value)}`);
}

test('a mirror reads what was applied a moment ago, and its bytes belong to the reader', async () => {
  const mirror = await open();
  mirror.apply([
    { key: utf8('a'), value: utf8('1') },
    { key: utf8('b'), value: utf8('2') },
  ]);
  mirror.get(utf8('a'))!.fill(0);
  expect(all(mirror)).toEqual(['a=1', 'b=2']);
  mirror.apply([
    { key: utf8('a'), value: undefined },
    { key: utf8('c'), value: utf8('3') },
  ]);
  expect(all(mirror)).toEqual(['b=2', 'c=3']);
  expect(mirror.get(utf8('a'))).toBeUndefined();
  const longest = new Uint8Array(STATE_KEY_BYTES_MAX).fill(0xff);
  mirror.apply([{ key: longest, value: new Uint8Array(2_000_000).fill(7) }]);
  expect(mirror.get(longest)).toHaveLength(2_000_000);
  expect(mirror.range(NO_KEY, undefined, 9)).toHaveLength(3);
});

test('mirrors are apart, and leave nothing behind, on Linux not even when their process is killed', async () => {
  // Other tests have mirrors elsewhere.
  const directory = temporaryDirectory();
  vi.stubEnv('TMPDIR', directory);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const [one, two] = [await openLmdbMirror(), await openLmdbMirror()];
  if (process.platform === 'linux') expect(readdirSync(directory)).toEqual([]);
  one.apply([{ key: utf8('a'), value: utf8('1') }]);
  expect([all(one), all(two)]).toEqual([['a=1'], []]);
  // Larger than the map that lmdb begins with.
  for (let part = 0; part < 40; part++)
    one.apply([{ key: new Uint8Array([part]), value: new Uint8Array(1_000_000) }]);
  expect(one.get(new Uint8Array([39]))).toHaveLength(1_000_000);
  await Promise.all([one.close(), two.close()]);
  expect(readdirSync(directory)).toEqual([]);
});

test('the differences bring a mirror to what was read, page by page, and are no more than that', async () => {
  const mirror = await open();
  const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 3 });
  const table = fc.uniqueArray(fc.tuple(key, fc.uint8Array({ maxLength: 1, max: 1 })), {
    selector: ([name]) => Buffer.from(name).toString('hex'),
    maxLength: 20,
  });
  fc.assert(
    fc.property(table, table, fc.integer({ min: 1, max: 7 }), (from, to, pageEntries) => {
      mirror.apply(mirror.range(NO_KEY, undefined, 1e6).map(([name]) => ({ key: name, value: undefined })));
      mirror.apply(from.map(([name, value]) => ({ key: name, value })));
      const wanted = to.toSorted(([left], [right]) => Buffer.compare(left, right));
      const changes: { key: Uint8Array; value: Uint8Array | undefined }[] = [];
      let start: Uint8Array = NO_KEY;
      for (let at = 0; ; at += pageEntries) {
        const page = wanted.slice(at, at + pageEntries);
        const isLast = at + pageEntries >= wanted.length;
        const end = isLast ? undefined : keyBehind(page.at(-1)![0]);
        changes.push(...differences(mirror, page, start, end));
        if (end === undefined) break;
        start = end;
      }
      for (const { key: name, value } of changes) {
        const held = mirror.get(name);
        expect(
          held === undefined ? value !== undefined : value === undefined || Buffer.compare(held, value) !== 0,
        ).toBe(true);
      }
      mirror.apply(changes);
      expect(mirror.range(NO_KEY, undefined, 1e6)).toEqual(wanted);
    }),
  );
});
