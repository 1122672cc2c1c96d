import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { endAll, eventually, gramline, isAlive, reason, Started, scratch } from './support.ts';

const { path, remove } = await scratch();
const bytes = randomBytes(5_000_000);
await writeFile(path('input'), bytes);
await mkdir(path('tmp'));
/** Clusters of this file make their directories here, so that leftovers are seen. */
const env = { TMPDIR: path('tmp') };

afterAll(async () => {
  await endAll();
  await remove();
});

describe('gramline up', () => {
  it('runs its job once and reports it in one JSON object', async () => {
    const finished = await gramline(['up', path('input'), '--once', '--json', '--nodes', '2'], { env });
    expect([finished.code, finished.stderr]).toEqual([0, '']);
    const hash = createHash('sha256').update(bytes).digest('hex');
    const report = JSON.parse(finished.stdout);
    expect(report).toMatchObject({
      file: path('input'),
      bytes: bytes.length,
      replicas: 2,
      sha256Put: hash,
      sha256Got: hash,
      identical: true,
      segmentsResent: expect.any(Number),
    });
    for (const field of [
      'putSeconds',
      'getSeconds',
      'datagramsSent',
      'datagramsReceived',
      'whereIsP50Micros',
    ]) {
      expect(report[field], field).toBeGreaterThan(0);
    }
    expect(readdirSync(path('tmp'))).toEqual([]);
  });

  it('stays until Ctrl-C, usable as it says, and leaves nothing behind', async () => {
    const up = new Started(['up', path('input'), '--nodes', '1'], { env });
    await up.says(/gramline --help/);
    expect(up.stdout).toMatch(/^Identical: what came back is what was stored\.$/m);
    const exported = Object.fromEntries(
      [...up.stdout.matchAll(/export (\w+)=(\S+)/g)].map((match) => [match[1], match[2]]),
    );
    const status = await gramline(['status', '--json'], { env: exported });
    expect(JSON.parse(status.stdout)).toMatchObject({ objects: 1, bytes: bytes.length });
    const children = childrenOf(up.pid);
    expect(children).toHaveLength(2);
    const secret = readFileSync(exported.GRAMLINE_SECRET_FILE!, 'utf8').trim();
    for (const child of [up.pid, ...children]) {
      for (const facts of ['cmdline', 'environ'])
        expect(readFileSync(`/proc/${child}/${facts}`, 'utf8').includes(secret)).toBe(false);
    }
    const ended = await up.end('SIGINT');
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    expect(ended.millis).toBeLessThan(2_000);
    expect(children.filter(isAlive)).toEqual([]);
    expect(readdirSync(path('tmp'))).toEqual([]);
    expect((ended.stdout + ended.stderr).includes(secret)).toBe(false);
  });

  it('ends everything within two seconds of Ctrl-C at any moment', async () => {
    for (const waitMillis of [150, 400, 700, 1_000]) {
      const up = new Started(['up', '--json'], { env });
      await new Promise((resolve) => setTimeout(resolve, waitMillis));
      const children = childrenOf(up.pid);
      const ended = await up.end('SIGINT');
      expect(ended.millis, `after ${waitMillis} ms`).toBeLessThan(2_000);
      expect(children.filter(isAlive), `after ${waitMillis} ms`).toEqual([]);
      // Earlier than its first line of code, Node ends itself.
      if (ended.signal === null && ended.code !== 0)
        expect(ended.stderr).toBe('gramline: interrupted by SIGINT\n');
      expect(readdirSync(path('tmp')), `after ${waitMillis} ms`).toEqual([]);
    }
  });

  it('takes its children along when it is killed, and they tidy up', async () => {
    const up = new Started(['up', path('input')], { env });
    await up.says(/gramline --help/);
    const children = childrenOf(up.pid);
    expect(children).toHaveLength(4);
    up.process.kill('SIGKILL');
    await eventually('all children are gone', () => !children.some(isAlive));
    await eventually('the directory is gone', () => readdirSync(path('tmp')).length === 0);
  });

  it('goes on without a node that ends, and ends with its coordinator', async () => {
    const up = new Started(['up', path('input'), '--nodes', '2'], { env });
    await up.says(/gramline --help/);
    const children = childrenOf(up.pid).map((pid) => ({
      pid,
      command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0'),
    }));
    const node = children.find(({ command }) => command.includes('n2'))!;
    process.kill(node.pid, 'SIGKILL');
    expect(await up.says(/^gramline: node n2 ended.*$/m)).toBe('gramline: node n2 ended: killed by SIGKILL');
    const hub = children.find(({ command }) => command.includes('coordinator'))!;
    process.kill(hub.pid, 'SIGKILL');
    const finished = await up.finished;
    expect(finished.code).toBe(1);
    expect(finished.stderr).toMatch(/\ngramline: the coordinator ended: killed by SIGKILL\n$/);
    expect(readdirSync(path('tmp'))).toEqual([]);
  });

  it('refuses a file that is missing, a directory, and numbers that make no sense, before it starts anything', async () => {
    for (const [parameters, code, rule] of [
      [['up', path('nowhere')], 1, /no such file or directory/],
      [['up', path('tmp')], 1, /is a directory/],
      [['up', '--nodes', '0'], 2, /--nodes 0: write a number from 1 to 64/],
      [['up', '--nodes', 'three'], 2, /--nodes three/],
    ] as const) {
      const finished = await gramline(parameters, { env });
      expect([finished.code, reason(finished)], parameters.join(' ')).toEqual([
        code,
        expect.stringMatching(rule),
      ]);
    }
    expect(readdirSync(path('tmp'))).toEqual([]);
  });

  it('says in one line when it has nowhere to put its cluster', async () => {
    const finished = await gramline(['up', path('input')], { env: { TMPDIR: path('absent') } });
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(/no such file or directory: .*absent/),
    ]);
    expect(existsSync(path('absent'))).toBe(false);
  });
});

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((text) => text.trim() !== '')
      .map(Number);
  } catch {
    return [];
  }
}
