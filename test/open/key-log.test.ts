/** `GRAMLINE_KEYLOG`: who gets the keys, how loudly, and what is refused. */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { makeSecret, openClient, openCoordinator, openNode } from '../../src/index.ts';
import { formatKeyLine } from '../../src/key-log.ts';

const root = await mkdtemp(join(tmpdir(), 'gramline-'));
const LINE = /^GRAMLINE_KEYS [0-9a-f]{16} \d+ [0-9a-f]{64} [0-9a-f]{64}$/;
const secret = makeSecret();

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** What went to stderr, and to the log, from now on. */
function listen() {
  const stderr: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr.push(String(text));
    return true;
  });
  const warnings: string[] = [];
  const log = { info() {}, warn: (message: string) => void warnings.push(message), error() {} };
  return { stderr, warnings, log };
}

describe('GRAMLINE_KEYLOG', () => {
  it('has the keys of every session of a whole cluster, both directions', async () => {
    const path = join(root, 'keys.log');
    vi.stubEnv('GRAMLINE_KEYLOG', path);
    const { stderr, warnings, log } = listen();
    const hub = await openCoordinator({ secret, listen: '127.0.0.1:0', directory: join(root, 'hub'), log });
    const coordinators = [hub.address];
    const node = await openNode({
      secret,
      coordinators,
      directory: join(root, 'node'),
      listen: '127.0.0.1:0',
      log,
    });
    await node.joined;
    const app = await openClient({ secret, coordinators, log });
    await app.put(randomBytes(100_000));
    await Promise.all([app.close(), node.close(), hub.close()]);

    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(lines.filter((line) => !LINE.test(line))).toEqual([]);
    // Node and client with the coordinator, client with the node: three sessions of two directions, each
    // logged by both of its ends.
    const counts = new Map<string, number>();
    for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1);
    expect(counts.size).toBe(6);
    expect([...counts.values()]).toEqual(Array(6).fill(2));
    expect(new Set(lines.map((line) => line.split(' ')[1])).size).toBe(6);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    // Loud: once on stderr, and in the log of every part.
    expect(stderr).toEqual([expect.stringContaining(path)]);
    expect(warnings.filter((line) => line.includes(`read ${path}`))).toHaveLength(3);
  });

  it('appends to a file that is there', async () => {
    const path = join(root, 'older.log');
    await writeFile(path, '# an older line\n', { mode: 0o600 });
    vi.stubEnv('GRAMLINE_KEYLOG', path);
    listen();
    const hub = await openCoordinator({ secret, listen: '127.0.0.1:0', directory: join(root, 'hub2') });
    const app = await openClient({ secret, coordinators: [hub.address] });
    await app.status();
    await Promise.all([app.close(), hub.close()]);
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(lines[0]).toBe('# an older line');
    expect(lines).toHaveLength(5);
  });

  it.each([
    ['is not set', undefined],
    ['is empty', ''],
  ])('writes nothing and says nothing when it %s [LOG-1]', async (_case, value) => {
    vi.stubEnv('GRAMLINE_KEYLOG', value);
    const { stderr, warnings, log } = listen();
    const app = await openClient({ secret, coordinators: ['127.0.0.1:1'], log });
    await app.close();
    expect([...stderr, ...warnings]).toEqual([]);
  });

  it('refuses a path that cannot be written, in one line [LOG-2]', async () => {
    listen();
    const fifo = join(root, 'pipe');
    execFileSync('mkfifo', [fifo]);
    for (const path of [root, join(root, 'none', 'keys.log'), fifo, '/dev/null']) {
      vi.stubEnv('GRAMLINE_KEYLOG', path);
      const opening = openClient({ secret, coordinators: ['127.0.0.1:1'] });
      await expect(opening).rejects.toMatchObject({
        code: 'GRAMLINE_INVALID',
        message: expect.stringMatching(new RegExp(`^GRAMLINE_KEYLOG: ${path} (cannot be written|is no)`)),
      });
    }
  });

  it('refuses a file that others can read [LOG-2]', async () => {
    listen();
    const path = join(root, 'open.log');
    await writeFile(path, '');
    await chmod(path, 0o640);
    vi.stubEnv('GRAMLINE_KEYLOG', path);
    const opening = openClient({ secret, coordinators: ['127.0.0.1:1'] });
    await expect(opening).rejects.toThrow(`others can read ${path}: run chmod 600 ${path}`);
    await chmod(path, 0o600);
    await (await openClient({ secret, coordinators: ['127.0.0.1:1'] })).close();
  });

  it('writes the tag as it stands in packets', () => {
    const line = formatKeyLine(
      { high: 0xff, low: 1 },
      12,
      new Uint8Array(32).fill(0xab),
      new Uint8Array(32).fill(5),
    );
    expect(line).toBe(`GRAMLINE_KEYS 000000ff00000001 12 ${'ab'.repeat(32)} ${'05'.repeat(32)}\n`);
  });
});
