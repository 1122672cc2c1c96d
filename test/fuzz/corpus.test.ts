/** The corpus of the specification holds; one that was tampered with is refused. */

import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mustHold } from '../../fuzz/engine/campaign.ts';
import { ENTRIES_MAX, readCorpus, writeCorpus } from '../../fuzz/engine/corpus.ts';
import { readCrash, saveCrash } from '../../fuzz/engine/crash.ts';
import { specFolder } from '../../fuzz/engine/places.ts';
import { TARGETS } from '../../fuzz/targets/index.ts';
import { toHex } from '../../src/base/bytes.ts';
import { folder, plainTarget } from './support.ts';

const CORPUS = join(specFolder()!, 'corpus');
const CORPUS_BYTES_MAX = 300_000;

describe('the corpus of the specification', () => {
  const corpus = readCorpus(CORPUS, TARGETS);

  it.each(TARGETS.map((target) => [target.name, target] as const))(
    '%s: every input holds',
    async (name, target) => {
      const inputs = corpus.get(name) ?? [];
      expect(inputs.length).toBeGreaterThan(0);
      for (const input of inputs) await mustHold(target, input);
    },
    120_000,
  );

  it('is small, sorted, and has no input twice', () => {
    const bytes = readdirSync(CORPUS).reduce((sum, name) => sum + statSync(join(CORPUS, name)).size, 0);
    expect(bytes).toBeLessThan(CORPUS_BYTES_MAX);
    for (const inputs of corpus.values()) {
      const lines = inputs.map(toHex);
      expect(lines).toEqual([...new Set(lines)].sort());
    }
  });
});

describe('a corpus on disk', () => {
  const one = plainTarget(() => 'held', 'one');
  const other = plainTarget(() => 'held', 'other');

  function written(): string {
    const path = folder();
    const inputs = [Uint8Array.of(2, 3), Uint8Array.of(1), Uint8Array.of(2, 3), new Uint8Array(0)];
    writeCorpus(
      path,
      new Map([
        ['one', inputs],
        ['other', [Uint8Array.of(9)]],
        ['none', []],
      ]),
    );
    return path;
  }

  it('comes back sorted and without repetitions', () => {
    const corpus = readCorpus(written(), [one, other]);
    expect([...corpus].map(([name, inputs]) => [name, inputs.map(toHex)])).toEqual([
      ['one', ['', '01', '0203']],
      ['other', ['09']],
    ]);
  });

  it.each([
    [
      'without its list of checksums',
      (path: string) => rmSync(join(path, 'SHA256SUMS')),
      /SHA256SUMS is missing/,
    ],
    [
      'whose list is no list',
      (path: string) => writeFileSync(join(path, 'SHA256SUMS'), 'x\n'),
      /no checksum/,
    ],
    [
      'with a file changed',
      (path: string) => appendFileSync(join(path, 'one.hex'), '00\n'),
      /one.hex is not what/,
    ],
    [
      'with a file more',
      (path: string) => writeFileSync(join(path, 'more.hex'), '00\n'),
      /more.hex is not in/,
    ],
    ['with a file less', (path: string) => rmSync(join(path, 'other.hex')), /other.hex is missing/],
    [
      'with a file that cannot be read',
      (path: string) => {
        rmSync(join(path, 'other.hex'));
        mkdirSync(join(path, 'other.hex'));
      },
      /other.hex cannot be read \(EISDIR\)/,
    ],
  ])('%s is refused in one line', (_name, tamper, reason) => {
    const path = written();
    tamper(path);
    expect(() => readCorpus(path, [one, other])).toThrow(reason);
    expect(() => readCorpus(path, [one, other])).toThrow(/^the corpus in .* is not as it was written: .*$/);
  });

  it.each([
    ['an entry that is no hex', ['0', 'zz'], /line 1 is no hex/],
    ['an entry too large', ['00', '00'.repeat(257)], /line 2 has more than 256 bytes/],
    ['too many entries', new Array<string>(ENTRIES_MAX + 1).fill('00'), /more than 10000 entries/],
  ])('with %s is refused, though its checksum is right', async (_name, lines, reason) => {
    const { createHash } = await import('node:crypto');
    const path = folder();
    const text = `${lines.join('\n')}\n`;
    writeFileSync(join(path, 'one.hex'), text);
    const sum = createHash('sha256').update(text).digest('hex');
    writeFileSync(join(path, 'SHA256SUMS'), `${sum}  one.hex\n`);
    expect(() => readCorpus(path, [one])).toThrow(reason);
  });

  it('of a target that does not exist is refused', () => {
    expect(() => readCorpus(written(), [one])).toThrow(/other.hex is of no target/);
  });
});

describe('a crash on disk', () => {
  it('comes back as it was; anything else is refused', () => {
    const path = folder();
    const crash = { target: 'one', sentence: 'Finding: no', input: Uint8Array.of(1, 2) };
    expect(readCrash(saveCrash(path, crash))).toEqual(crash);
    for (const text of [
      '',
      'gramline fuzz crash 1\n',
      'gramline fuzz crash 1\ntarget a\nsays b\ninput zz\n',
    ]) {
      writeFileSync(join(path, 'x'), text);
      expect(() => readCrash(join(path, 'x'))).toThrow(/is no crash file/);
    }
    writeFileSync(join(path, 'x'), new Uint8Array(2 ** 20 + 1));
    expect(() => readCrash(join(path, 'x'))).toThrow(/too large/);
  });
});
