/** `gramline conformance` as people run it: what it prints, what it writes, and how it ends. */

import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ListenCase } from '../../conformance/listen.ts';
import { listenCases } from '../../conformance/listen-cases/initiators.ts';
import { nodeCases } from '../../conformance/listen-cases/nodes.ts';
import { formatSecret } from '../../src/open.ts';
import { gramline, MAIN, Started, scratch } from '../cli/support.ts';
import { brokenPeers } from './broken/peers.ts';
import { bundlePeer, Peer, randomSecret } from './support.ts';

const TEST_MILLIS = 120_000;
const SUBJECT = new URL('subject.mjs', import.meta.url).pathname;
const HASH = 'a'.repeat(64);
/** One line that people can do something with: no stack, no internal error. */
const ONE_LINE = /^gramline: (?!internal error)[^\n]+\n$/;

const secret = randomSecret();
let files: Awaited<ReturnType<typeof scratch>>;
let peer: Peer;
let secretFile: string;

beforeAll(async () => {
  files = await scratch();
  secretFile = files.path('secret');
  await writeFile(secretFile, formatSecret(secret), { mode: 0o600 });
  await writeFile(files.path('other'), formatSecret(randomSecret()), { mode: 0o600 });
  peer = await Peer.start({ role: 'coordinator', bundle: await bundlePeer(), secret });
}, TEST_MILLIS);

afterAll(async () => {
  await peer?.end();
  await files?.remove();
});

const conformance = (...words: string[]) => gramline(['conformance', ...words]);
const wire = (...words: string[]) => conformance('wire', peer.address, '--secret-file', secretFile, ...words);

describe('gramline conformance wire', () => {
  it('prints a verdict for each section and the clauses that were kept', async () => {
    const { code, stdout, stderr } = await wire('--cases', 'W-001,W-002,W-005');
    expect(stderr).toBe('');
    expect(stdout).toContain('front port  pass  3 of 3');
    expect(stdout).toMatch(/clauses kept: \d+\n {2}HELLO-1 /);
    expect(stdout).toContain('3 cases: 3 passed, 0 failed, 0 skipped');
    expect(code).toBe(0);
  });

  it('prints JSON and writes JUnit where asked', async () => {
    const junit = files.path('report.xml');
    const { code, stdout } = await wire('--cases', 'HS-24', '--json', '--junit', junit);
    expect(code).toBe(0);
    const told = JSON.parse(stdout);
    expect(told).toMatchObject({ passed: 1, failed: 0, skipped: 0 });
    expect(told.cases[0]).toMatchObject({
      id: 'W-003',
      group: 'front port',
      outcome: 'pass',
      clauses: ['HS-24'],
    });
    expect(told.clauses).toEqual([{ clause: 'HS-24', outcome: 'pass', cases: 1, failed: [] }]);
    const xml = await readFile(junit, 'utf8');
    expect(xml).toContain('<testsuites name="gramline conformance" tests="1" failures="0" skipped="0">');
    expect(xml).toMatch(/<testcase classname="front port" name="W-003 [^"]+\[HS-24\]" time="\d+\.\d{3}"\/>/);
  });

  it(
    'ends with 1 where a case fails, and says by which clause',
    async () => {
      const broken = brokenPeers.find(({ name }) => name === 'answers a wrong MAC')!;
      const other = await Peer.start({ role: 'coordinator', bundle: await bundlePeer(broken), secret });
      try {
        const junit = files.path('failed.xml');
        const run = await conformance(
          'wire',
          other.address,
          '--secret-file',
          secretFile,
          '--cases',
          'W-006,W-001',
          '--junit',
          junit,
        );
        expect(run.code).toBe(1);
        expect(run.stdout).toMatch(
          /W-006 {2}FAIL {5}HELLO-2 {2}a wrong MAC is not answered: expected no answer; saw \d+ bytes/,
        );
        expect(run.stdout).toContain('clauses broken: 1\n  HELLO-2');
        expect(run.stderr).toBe('gramline: 1 of 2 cases failed\n');
        expect(await readFile(junit, 'utf8')).toContain(
          '<failure type="HELLO-2" message="expected no answer',
        );
      } finally {
        await other.end();
      }
    },
    TEST_MILLIS,
  );

  it('lists its cases', async () => {
    const { code, stdout } = await conformance('wire', '--list', '--cases', 'REPLAY-3');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^W-\d{3} {2}.+\[.*REPLAY-3.*\]$/m);
    expect(stdout.split('\n').length).toBeGreaterThan(3);
  });

  it(
    'says in a line that nobody answers, or that the secret is another',
    async () => {
      const runs = [
        ['127.0.0.1:9', '--secret-file', secretFile],
        [peer.address, '--secret-file', files.path('other')],
      ].map((words) => conformance('wire', ...words));
      for (const { code, stdout, stderr } of await Promise.all(runs)) {
        expect(stderr).toMatch(ONE_LINE);
        expect(stderr).toContain('nothing answered');
        expect(stdout).toBe('');
        expect(code).toBe(1);
      }
    },
    TEST_MILLIS,
  );

  it.each([
    [['wire'], 'name the peer'],
    [['wire', 'nonsense'], 'is no address'],
    [['wire', '127.0.0.1:9'], 'name the secret file'],
    [['wire', '127.0.0.1:9', '--role', 'client'], 'write coordinator or node'],
    [['wire', '127.0.0.1:9', '--cases', 'no such case'], 'no case matches'],
    [['wire', '127.0.0.1:9', '--case-seconds', '0'], 'write a number from 1'],
    [['listen'], 'missing required argument'],
    [['listen', '127.0.0.1:0', '--secret-file', 'x'], 'name the command'],
    [['listen', '--role', 'hub', '--', 'true'], '--role hub: write client or node'],
    [['vectors'], 'missing required argument'],
    [['dance'], 'unknown command'],
  ])('takes %j for wrong usage', async (words, why) => {
    const { code, stderr } = await conformance(...words);
    expect(stderr).toContain(why);
    expect(code).toBe(2);
  });
});

describe('gramline conformance vectors', () => {
  const good = {
    name: 'sum',
    clause: ['PKT-9'],
    op: 'add',
    in: { left: 1, right: 2 },
    out: { ok: { sum: 3 } },
  };
  const file = (cases: unknown) => JSON.stringify({ title: 'Sums', clauses: ['PKT-9'], cases });

  it('asks a program, and ends with 0, 1 or 2', async () => {
    const folder = await mkdtemp(files.path('vectors-'));
    const ask = () => conformance('vectors', '--vectors', folder, '--', process.execPath, SUBJECT);
    await writeFile(`${folder}/sums.json`, file([good]));
    expect(await ask()).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('Sums  pass  1 of 1'),
    });
    await writeFile(`${folder}/sums.json`, file([good, { ...good, name: 'wrong', out: { ok: { sum: 4 } } }]));
    const failed = await ask();
    expect(failed.code).toBe(1);
    expect(failed.stdout).toContain('at ok.sum expected 4; saw 3');
    await writeFile(`${folder}/sums.json`, '{');
    const unread = await ask();
    expect(unread.stderr).toMatch(ONE_LINE);
    expect(unread.stderr).toContain('is no vector file: it is no JSON');
    expect(unread.code).toBe(2);
  });

  it('says in a line that the program is not there', async () => {
    const folder = await mkdtemp(files.path('vectors-'));
    await writeFile(`${folder}/sums.json`, file([good]));
    const { code, stderr } = await conformance('vectors', '--vectors', folder, '--', '/no/such/program');
    expect(stderr).toMatch(ONE_LINE);
    expect(stderr).toContain("/no/such/program can't be started");
    expect(code).toBe(1);
  });
});

describe('gramline conformance subject', () => {
  it(
    'passes every vector of this version',
    async () => {
      const command = [process.execPath, MAIN, 'conformance', 'subject'];
      const { code, stdout, stderr } = await new Started(['conformance', 'vectors', '--', ...command])
        .finished;
      expect(stderr + (code === 0 ? '' : stdout)).toBe('');
      expect(stdout).toMatch(/(\d{4,}) cases: \1 passed, 0 failed, 0 skipped/);
    },
    2 * TEST_MILLIS,
  );
});

describe('gramline conformance listen', () => {
  const listen = (command: readonly string[], ...words: string[]) =>
    gramline(['conformance', 'listen', '--secret-file', secretFile, ...words, '--', ...command]);

  /** Many of them wait for what never comes: one in so many is run, unless all are asked for. */
  const oneIn = process.env.GRAMLINE_CONFORMANCE === 'all' ? 1 : 5;
  const some = (cases: readonly ListenCase[]): string =>
    cases
      .filter((_, index) => index % oneIn === 0)
      .map(({ id }) => id)
      .join();

  it.concurrent.each([
    ['client', some(listenCases), ['where-is', HASH, '--coordinators', '{address}']],
    [
      'node',
      some(nodeCases),
      ['node', '--directory', '{scratch}', '--coordinators', '{address}', '--log-level', 'fatal'],
    ],
  ])(
    'finds nothing wrong with our own %s',
    async (role, cases, words) => {
      const command = [process.execPath, MAIN, ...words, '--secret-file', secretFile];
      const options = ['--role', role, '--cases', cases, '--secret-file', secretFile];
      const all = ['conformance', 'listen', ...options, '--', ...command];
      const { code, stdout, stderr } = await new Started(all).finished;
      expect(stderr + (code === 0 ? '' : stdout)).toBe('');
      expect(stdout).toContain('0 failed, 0 skipped');
    },
    4 * TEST_MILLIS,
  );

  it(
    'says in a line that a command sends nothing, or under another secret',
    async () => {
      const silent = await listen([process.execPath, '--eval', 'console.error("no idea")']);
      expect(silent.stderr).toMatch(ONE_LINE);
      expect(silent.stderr).toContain(
        "sends no HELLO under this secret: 0 HELLOs, the command ended with 0, it said 'no idea'",
      );
      expect(silent.code).toBe(1);
      const words = ['status', '--coordinators', '{address}', '--secret-file', files.path('other')];
      const stranger = await listen([process.execPath, MAIN, ...words]);
      expect(stranger.stderr).toMatch(ONE_LINE);
      expect(stranger.stderr).toContain('under another secret');
      expect(stranger.code).toBe(1);
      const missing = await listen(['/no/such/program']);
      expect(missing.stderr).toContain("can't be started");
      expect(missing.code).toBe(1);
    },
    TEST_MILLIS,
  );
});
