/** `gramline fuzz` as a program: options, exit codes, saved crashes, the same seed twice. */

import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeCorpus } from '../../fuzz/engine/corpus.ts';
import { saveCrash } from '../../fuzz/engine/crash.ts';
import { run } from '../../fuzz/tool.ts';
import { bundleModule } from '../support/bundle.ts';
import { folder } from './support.ts';

const MILLIS_MAX = 120_000;
let tool: string;

beforeAll(async () => {
  tool = await bundleModule('fuzz/tool.ts');
});
afterAll(() => rmSync(tool));

function fuzz(...words: string[]): SpawnSyncReturns<string> {
  const script = `import(${JSON.stringify(pathToFileURL(tool).href)})
    .then((tool) => tool.run(${JSON.stringify(words)}))
    .then((code) => { process.exitCode = code; });`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

function smallCorpus(): string {
  const path = folder();
  writeCorpus(path, new Map([['frames', [Uint8Array.of(1), Uint8Array.of(0, 0)]]]));
  return path;
}

describe('gramline fuzz', () => {
  it(
    'runs a campaign in several jobs, and says what it did',
    () => {
      const corpus = smallCorpus();
      const words = ['--inputs', '601', '--jobs', '2', '--target', 'frames,messages', '--corpus', corpus];
      const { status, stdout, stderr } = fuzz(...words, '--json', '--crashes', folder());
      expect([status, stderr]).toEqual([0, '']);
      const report = JSON.parse(stdout);
      expect(report).toMatchObject({ inputs: 601, jobs: 2, guided: true, crashes: [] });
      expect(report.targets.map(({ name }: { name: string }) => name)).toEqual(['frames', 'messages']);
      expect(report.digests).toHaveLength(2);
    },
    MILLIS_MAX,
  );

  it(
    'does the same again with one job and the same seed',
    () => {
      const digestOf = (seed: string): unknown => {
        const words = ['--inputs', '300', '--seed', seed, '--target', 'frames,arguments'];
        return JSON.parse(fuzz(...words, '--corpus', smallCorpus(), '--json').stdout).digests;
      };
      const first = digestOf('7');
      expect(digestOf('7')).toEqual(first);
      expect(digestOf('8')).not.toEqual(first);
    },
    MILLIS_MAX,
  );

  it(
    'adds to the corpus on demand, and reduces it again',
    () => {
      const corpus = smallCorpus();
      const shared = ['--target', 'frames', '--corpus', corpus];
      expect(fuzz(...shared, '--inputs', '1500', '--grow').status).toBe(0);
      const { status, stdout } = fuzz(...shared, '--json', 'minimise');
      expect(status).toBe(0);
      const [row] = JSON.parse(stdout).targets;
      expect(row.before).toBeGreaterThan(10);
      expect(row.after).toBeGreaterThan(5);
      expect(row.after).toBeLessThan(row.before);
      expect(fuzz(...shared, '--inputs', '50').status).toBe(0);
    },
    MILLIS_MAX,
  );

  it(
    'names its targets, and replays a crash that holds by now',
    () => {
      expect(fuzz('--list').stdout).toMatch(/^frames +\S/m);
      const path = saveCrash(folder(), { target: 'frames', sentence: 'Finding: x', input: Uint8Array.of(1) });
      const { status, stdout } = fuzz('replay', path);
      expect([status, stdout]).toEqual([0, 'frames: frame 1 first: holds now (was: Finding: x)\n']);
    },
    MILLIS_MAX,
  );

  it(
    'refuses what is wrong in one line, with exit code 1 or 2',
    async () => {
      const corpus = smallCorpus();
      appendFileSync(join(corpus, 'frames.hex'), '00\n');
      const unknown = saveCrash(folder(), { target: 'none', sentence: 'x', input: Uint8Array.of(1) });
      const cases: [string[], number, RegExp][] = [
        [['--inputs', '0'], 2, /'0': write a whole number from 1/],
        [['--seconds', 'ten'], 2, /'ten': write a whole number/],
        [['--seed', '-1'], 2, /'-1': write a whole number/],
        [['--jobs', '65'], 2, /'65': write a whole number from 1 to 64/],
        [['--target', 'nothing'], 2, /no target 'nothing'/],
        [['--target', ','], 2, /names no target/],
        [['--whatever'], 2, /unknown option/],
        [['replay'], 2, /missing required argument/],
        [['--corpus', corpus], 1, /frames.hex is not what SHA256SUMS says/],
        [['--corpus', join(corpus, 'none')], 1, /SHA256SUMS is missing/],
        [['replay', join(corpus, 'none')], 1, /no such file or directory/],
        [['replay', join(corpus, 'frames.hex')], 1, /is no crash file/],
        [['replay', unknown], 1, /there is no target 'none'/],
      ];
      for (const [words, code, reason] of cases) {
        const lines: string[] = [];
        const spy = vi
          .spyOn(process.stderr, 'write')
          .mockImplementation((text) => lines.push(String(text)) > 0);
        const status = await run(words);
        spy.mockRestore();
        expect([words, status, lines.join('').trimEnd().split('\n').length]).toEqual([words, code, 1]);
        expect(lines.join('')).toMatch(reason);
      }
    },
    MILLIS_MAX,
  );
});
