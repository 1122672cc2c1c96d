/** `gramline sim` as a program, with its worker processes. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MARKS } from '../../src/base/marks.ts';
import { bundleModule } from '../support/bundle.ts';

const TIMEOUT_MILLIS = 180_000;

let bundle = '';
let directory = '';

beforeAll(async () => {
  bundle = await bundleModule('sim/tool.ts');
  directory = mkdtempSync(join(tmpdir(), 'gramline-sim-'));
}, TIMEOUT_MILLIS);

afterAll(() => {
  rmSync(bundle, { force: true });
  rmSync(directory, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

/** Runs the tool; `onError` sees what it writes to stderr, and may end it. */
function sim(
  words: readonly string[],
  onError?: (kill: (name: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  const script = `const { run } = await import(${JSON.stringify(bundle)});
    process.exitCode = await run(process.argv.slice(1));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script, '--', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, error] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes;
  });
  child.stderr.on('data', (bytes: Buffer) => {
    error += bytes;
    onError?.((name) => child.kill(name));
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, error })));
}

describe('gramline sim', { timeout: TIMEOUT_MILLIS }, () => {
  test('says the same of the same seeds, however many processes run them', async () => {
    const words = ['--seeds', '5', '--from', '7', '--json'];
    const [one, two] = await Promise.all([sim([...words, '--jobs', '1']), sim([...words, '--jobs', '3'])]);
    expect([one.code, two.code]).toEqual([0, 0]);
    const [first, second] = [JSON.parse(one.out), JSON.parse(two.out)];
    expect(first).toMatchObject({ seeds: 5, failed: 0, complete: true, failures: [] });
    expect(Object.keys(first.marks)).toEqual(Object.keys(MARKS));
    for (const name of ['events', 'datagrams', 'simulatedHours', 'faults', 'outcomes', 'marks']) {
      expect(second[name], name).toEqual(first[name]);
    }
    expect(first.events).toBeGreaterThan(1_000);
  });

  test('has a summary for people, with every kind of fault and every mark', async () => {
    const { code, out } = await sim(['--seeds', '3', '--nodes', '2', '--clients', '1', '--loss', '5%']);
    expect(code).toBe(0);
    expect(out).toMatch(/^3 seeds, 0 failed, in \d+\.\d s/);
    expect(out).toMatch(/simulated hours, \d+\.\d+ a second/);
    for (const name of [...Object.keys(MARKS), 'pauses', 'partitions']) expect(out).toContain(name);
  });

  test('fails when marks are missed that must be hit, and names them', async () => {
    const { code, error } = await sim(['--seeds', '1', '--faults', 'none', '--require-marks', '--json']);
    expect(code).toBe(1);
    expect(error).toMatch(/^gramline: no seed hit .*damage-found/m);
  });

  test.each([
    [['--loss', '10'], "--loss is a percentage from 0% to 50%, such as 10%, not '10'"],
    [['--nodes', '0'], "--nodes is a whole number from 1 to 250, not '0'"],
    [['--faults', 'rain'], "not 'rain'"],
    [['--seed', '1', '--seeds', '2'], '--seed is one seed'],
    [['--trace'], 'name it with --seed'],
    [['--everything'], "unknown option '--everything'"],
  ])('%j is one line and exit code 2', async (words, line) => {
    const { code, out, error } = await sim(words);
    expect([code, out]).toEqual([2, '']);
    expect(error).toContain(line);
    expect(error.trim().split('\n')).toHaveLength(1);
  });

  test('writes a timeline and a qlog document of one seed, which runs as it does without', async () => {
    const [trace, qlog] = [join(directory, 'trace'), join(directory, 'qlog')];
    const words = ['--seed', '5', '--nodes', '2', '--loss', '10%'];
    const plain = await sim(words);
    const shown = await sim([...words, '--trace', trace, '--qlog', qlog]);
    expect([plain.code, shown.code]).toEqual([0, 0]);
    expect(shown.out).toBe(plain.out);
    expect(plain.out).toMatch(/^seed 5: [0-9a-f]{16}, faults: /);

    const lines = readFileSync(trace, 'utf8').trimEnd().split('\n');
    expect(lines.filter((line) => !/^ *\d+\.\d{3} ms {2}\S/.test(line))).toEqual([]);
    expect(lines.some((line) => line.includes('HELLO'))).toBe(true);
    expect(lines.some((line) => line.includes('all faults heal'))).toBe(true);

    const document = JSON.parse(readFileSync(qlog, 'utf8'));
    expect(document).toMatchObject({ qlog_version: '0.3', qlog_format: 'JSON' });
    const names = new Map<string, number>();
    for (const { vantage_point, events } of document.traces) {
      expect(vantage_point.name).toBeTypeOf('string');
      let before = 0;
      for (const { time, name, data } of events) {
        expect(time).toBeGreaterThanOrEqual(before);
        expect(data).toBeTypeOf('object');
        before = time;
        names.set(name, (names.get(name) ?? 0) + 1);
      }
    }
    const sent = names.get('transport:packet_sent') ?? 0;
    const received = names.get('transport:packet_received') ?? 0;
    const dropped = names.get('transport:packet_dropped') ?? 0;
    expect(sent).toBe(lines.filter((line) => / > 10\.\d+\.\d+\.\d+:\d+ {2}/.test(line)).length);
    expect(dropped).toBeGreaterThan(0);
    // Copies arrive, too.
    expect(received + dropped).toBeGreaterThanOrEqual(sent);
    expect(names.get('recovery:metrics_updated')).toBeGreaterThan(0);
    expect(names.get('gramline:event')).toBeGreaterThan(0);
  });

  test('a trace that cannot be written is one line and exit code 1', async () => {
    const { code, error } = await sim(['--seed', '1', '--trace', join(directory, 'missing', 'trace')]);
    expect(code).toBe(1);
    expect(error).toMatch(/^gramline: no such file or directory: .*trace\n$/);
  });

  test('Ctrl-C ends it with what it has', async () => {
    // The first line on stderr says how far it is.
    const { code, out, error } = await sim(['--seeds', '1000000', '--jobs', '1', '--json'], (kill) =>
      kill('SIGINT'),
    );
    expect(error).toMatch(/^gramline: \d+ of 1000000 seeds, 0 failed/);
    expect(error).toContain('interrupted by SIGINT');
    expect(code).toBe(1);
    const told = JSON.parse(out);
    expect(told).toMatchObject({ complete: false, failed: 0 });
    expect(told.seeds).toBeGreaterThanOrEqual(0);
  });
});
