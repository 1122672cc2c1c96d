import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  endAll,
  eventually,
  gramline,
  reason,
  Started,
  scratch,
  startCluster,
  transcript,
} from './support.ts';

const { path, remove } = await scratch();
const textPort = await freePort();
const cluster = await startCluster(path, {
  nodes: 2,
  quota: '8MB',
  coordinator: ['--defs-text', `127.0.0.1:${textPort}`, '--log-level', 'trace'],
});
const { env } = cluster;
const NO_HASH = 'ab'.repeat(32);
const HASH_RULE = /^gramline: '.*' is no hash: it has 64 hex digits \(SHA-256\)$/;

afterAll(async () => {
  await endAll();
  await remove();
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('an object on its way through the command line', () => {
  it('is put, found, fetched and removed, and every step speaks JSON', async () => {
    const bytes = randomBytes(3_000_000);
    await writeFile(path('object'), bytes);
    const hash = sha256(bytes);
    const put = JSON.parse((await gramline(['put', path('object'), '--json'], { env })).stdout);
    expect(put).toEqual({
      hash,
      bytes: bytes.length,
      seconds: expect.any(Number),
      replicas: 2,
      existed: false,
    });
    const found = JSON.parse((await gramline(['where-is', hash.toUpperCase(), '--json'], { env })).stdout);
    const several = await gramline(['where-is', hash, '0'.repeat(64), '--json'], { env });
    expect(several.code).toBe(1);
    const lines = several.stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { code: 0, hash, bytes: found.bytes },
      { code: 3, hash: '0'.repeat(64), locations: [], revision: null },
    ]);
    const { length } = bytes;
    const revision = expect.any(Number);
    expect(found).toEqual({
      code: 0,
      hash,
      locations: expect.any(Array),
      revision,
      stale: false,
      bytes: length,
    });
    expect(found.locations).toHaveLength(2);
    expect(found.locations[0]).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    });
    const get = JSON.parse((await gramline(['get', hash, '-o', path('copy'), '--json'], { env })).stdout);
    expect(get).toEqual({ hash, bytes: bytes.length, seconds: expect.any(Number), replicas: 2 });
    expect(sha256(await readFile(path('copy')))).toBe(hash);
    expect(readdirSync(path('.')).filter((name) => name.endsWith('.part'))).toEqual([]);
    const removed = await gramline(['rm', hash, '--json'], { env });
    expect(JSON.parse(removed.stdout)).toEqual({ hash, removed: true });
    expect((await gramline(['where-is', hash], { env })).code).toBe(1);
  });

  it('may be empty', async () => {
    await writeFile(path('empty'), '');
    const put = await gramline(['put', path('empty'), '--json'], { env });
    const { hash, bytes } = JSON.parse(put.stdout);
    expect({ hash, bytes }).toEqual({ hash: sha256(new Uint8Array(0)), bytes: 0 });
    expect((await gramline(['get', hash, '-o', path('empty copy')], { env })).code).toBe(0);
    expect((await stat(path('empty copy'))).size).toBe(0);
  });

  it('comes from standard input and goes to standard output', async () => {
    const input = 'through a pipe\n'.repeat(10_000);
    const { stdout } = await gramline(['put', '-'], { env, input });
    const hash = stdout.trimEnd();
    expect(hash).toBe(sha256(Buffer.from(input)));
    const got = await gramline(['get', hash, '-o', '-'], { env });
    expect(got.stdout === input).toBe(true);
    expect(got.stderr).toBe('');
    expect(got.code).toBe(0);
  });

  it('says when it was there already', async () => {
    const first = await gramline(['put', '-', '--replicas', '1'], { env, input: 'twice' });
    const again = await gramline(['put', '-'], { env, input: 'twice' });
    expect(first.stderr).toMatch(/1 replica$/m);
    expect(again.stderr).toMatch(/was there already/);
    // The hash stands alone, for scripts.
    expect(again.stdout).toBe(`${sha256(Buffer.from('twice'))}\n`);
  });

  it('replaces a file as a whole, and writes into a device instead of replacing it', async () => {
    const { stdout } = await gramline(['put', '-', '--json'], { env, input: 'new' });
    const { hash } = JSON.parse(stdout);
    await writeFile(path('old'), 'an older and longer text');
    expect((await gramline(['get', hash, '-o', path('old')], { env })).code).toBe(0);
    expect(await readFile(path('old'), 'utf8')).toBe('new');
    await symlink('/dev/null', path('null'));
    expect((await gramline(['get', hash, '-o', path('null')], { env })).code).toBe(0);
    expect((await stat(path('null'))).isCharacterDevice()).toBe(true);
  });

  it('leaves nothing behind when a get is interrupted', async () => {
    const bytes = new Uint8Array(6_000_000);
    const hash = sha256(bytes);
    await writeFile(path('zeros'), bytes);
    expect((await gramline(['put', path('zeros'), '--replicas', '1'], { env })).code).toBe(0);
    await mkdir(path('interrupted'));
    const names = (): readonly string[] => readdirSync(path('interrupted'));
    // With its nodes asleep, a get waits between its first and its last byte.
    for (const node of cluster.nodes) node.process.kill('SIGSTOP');
    const waiting = new Started(['get', hash, '-o', path('interrupted/file')], { env });
    await eventually('there is a temporary file', () => names().length > 0);
    expect(names()).toEqual([expect.stringMatching(/^\.file\.[0-9a-f]{12}\.part$/)]);
    const cut = await waiting.end('SIGINT');
    for (const node of cluster.nodes) node.process.kill('SIGCONT');
    expect([cut.code, cut.stdout, cut.stderr]).toEqual([1, '', 'gramline: interrupted by SIGINT\n']);
    expect(cut.millis).toBeLessThan(2_000);
    expect(names()).toEqual([]);
    // At any other moment, it is whole or not there. When all is said, a signal may meet Node on its way out.
    const started = new Started(['get', hash, '-o', path('interrupted/file')], { env });
    await eventually('there is a file', () => names().length > 0);
    const ended = await started.end('SIGINT');
    const isWhole = ended.stdout !== '';
    if (isWhole) expect(sha256(readFileSync(path('interrupted/file')))).toBe(hash);
    else expect([ended.code, ended.stderr]).toEqual([1, 'gramline: interrupted by SIGINT\n']);
    expect(names()).toEqual(isWhole ? ['file'] : []);
    await gramline(['rm', hash], { env });
  });
});

describe('questions to the cluster', () => {
  it('shows its nodes, in text and in JSON', async () => {
    const status = JSON.parse((await gramline(['status', '--json'], { env })).stdout);
    expect(Object.keys(status).sort()).toEqual([
      'bytes',
      'coordinators',
      'nodes',
      'objects',
      'repair',
      'revision',
      'stale',
    ]);
    expect(status.repair).toEqual({
      missing: expect.any(Number),
      copying: 0,
      surplus: 0,
      scanning: expect.any(Boolean),
    });
    expect(status.coordinators).toEqual([
      { address: cluster.address, leads: true, answers: true, offload: expect.any(Boolean) },
    ]);
    expect(status.nodes.map((node: { name: string }) => node.name).sort()).toEqual(['n1', 'n2']);
    for (const node of status.nodes) {
      expect(node).toMatchObject({
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        address: expect.any(String),
        state: 'up',
        quotaBytes: 8_000_000,
        freeBytes: expect.any(Number),
        offload: expect.any(Boolean),
      });
    }
    const { stdout } = await gramline(['status'], { env });
    expect(stdout).toMatch(/^NAME +STATE +ADDRESS/m);
    expect(stdout).toMatch(/^n1 +up +127\.0\.0\.1:\d+/m);
    expect(stdout).toMatch(/^repair: /m);
    expect(stdout.includes(String.fromCharCode(27)), 'no colour outside a terminal').toBe(false);
  });

  it('reserves space, and answers a conflict with code 1', async () => {
    const { stdout } = await gramline(['put', '-', '--json'], { env, input: 'a conflict' });
    const { hash } = JSON.parse(stdout);
    const placed = JSON.parse((await gramline(['where-to', '120KiB', '--json'], { env })).stdout);
    expect(placed).toEqual({
      code: 0,
      hash: null,
      locations: [expect.any(Object)],
      revision: expect.any(Number),
      leaseSeconds: 30,
    });
    const free = await gramline(['where-to', NO_HASH, '120', '--json'], { env });
    expect(JSON.parse(free.stdout)).toMatchObject({ code: 0, hash: NO_HASH });
    const conflict = await gramline(['where-to', hash, '120', '--json'], { env });
    expect(conflict.code).toBe(1);
    expect(JSON.parse(conflict.stdout)).toEqual({ code: 1, hash, locations: [], revision: null });
    expect(reason(conflict)).toMatch(/exists already$/);
  });

  it('answers the DEFS text protocol where it was asked for', async () => {
    const { stdout } = await gramline(['put', '-', '--json'], { env, input: 'by text' });
    expect(await askText(`1 ${JSON.parse(stdout).hash}`)).toBe('0 127.0.0.1');
    expect(await askText(`1 ${NO_HASH}`)).toBe('3');
    expect(await askText('0 120')).toBe('0 127.0.0.1');
    expect(await askText('0 9000000')).toBe('2');
  });
});

describe('refusals', () => {
  it('names a file that is missing', async () => {
    const finished = await gramline(['put', path('nowhere')], { env });
    expect(finished.code).toBe(1);
    expect(reason(finished)).toBe(`gramline: no such file or directory: ${path('nowhere')}`);
  });

  it('refuses a directory, to read from and to write to', async () => {
    await mkdir(path('folder'));
    const put = await gramline(['put', path('folder')], { env });
    expect([put.code, reason(put)]).toEqual([1, expect.stringMatching(/folder is a directory/)]);
    const { stdout } = await gramline(['put', '-', '--json'], { env, input: 'x' });
    const get = await gramline(['get', JSON.parse(stdout).hash, '-o', path('folder')], { env });
    expect([get.code, reason(get)]).toEqual([1, expect.stringMatching(/folder is a directory/)]);
    const deep = await gramline(['get', JSON.parse(stdout).hash, '-o', path('no/such/file')], { env });
    expect([deep.code, reason(deep)]).toEqual([1, expect.stringMatching(/cannot write in .*ENOENT/)]);
  });

  it.skipIf(process.getuid?.() === 0)('refuses a file that it may not read (not as root)', async () => {
    await writeFile(path('locked'), 'x');
    chmodSync(path('locked'), 0);
    const finished = await gramline(['put', path('locked')], { env });
    expect([finished.code, reason(finished)]).toEqual([1, expect.stringMatching(/no permission for/)]);
  });

  it('refuses what does not fit, and says how much there is', async () => {
    await writeFile(path('large'), new Uint8Array(9_000_000));
    const finished = await gramline(['put', path('large')], { env });
    expect(finished.code).toBe(1);
    expect(reason(finished)).toMatch(
      /^gramline: 9000000 bytes do not fit: the emptiest of 2 nodes has [1-9]\d* bytes free/,
    );
    const whereTo = await gramline(['where-to', '9MB', '--json'], { env });
    expect(JSON.parse(whereTo.stdout)).toMatchObject({ code: 2, locations: [] });
    expect(whereTo.code).toBe(1);
  });

  it('refuses more replicas than there are nodes', async () => {
    const finished = await gramline(['put', '-', '--replicas', '3'], { env, input: 'x' });
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(/3 replicas need as many nodes/),
    ]);
  });

  it('answers an unknown hash with code 3 in JSON, and fails', async () => {
    const finished = await gramline(['where-is', NO_HASH, '--json'], { env });
    expect(finished.code).toBe(1);
    expect(JSON.parse(finished.stdout)).toEqual({ code: 3, hash: NO_HASH, locations: [], revision: null });
    for (const command of [
      ['get', NO_HASH, '-o', path('never')],
      ['rm', NO_HASH],
    ]) {
      expect((await gramline(command, { env })).code, command[0]).toBe(1);
    }
    expect(existsSync(path('never'))).toBe(false);
  });

  it('takes anything but 64 hex digits as wrong usage', async () => {
    const wrong = ['abc', `${NO_HASH}0`, 'g'.repeat(64)];
    const commands = wrong.map((hash) => ['where-is', hash]);
    commands.push(['rm', 'abc'], ['get', 'abc', '-o', '-'], ['where-to', 'abc', '1']);
    for (const command of commands) {
      const finished = await gramline(command, { env });
      expect([finished.code, reason(finished)], command.join(' ')).toEqual([
        2,
        expect.stringMatching(HASH_RULE),
      ]);
    }
  });

  it('says in one line when nothing answers, because of the address or of the secret', async () => {
    await gramline(['secret', '-o', path('other.secret')]);
    const port = await freePort();
    const results = await Promise.all([
      gramline(['status', '--coordinators', `127.0.0.1:${port}`], { env }),
      gramline(['status', '--secret-file', path('other.secret')], { env }),
      gramline(['put', fileURLToPath(import.meta.url), '--json', '--secret-file', path('other.secret')], {
        env,
      }),
    ]);
    for (const [index, address] of [`127.0.0.1:${port}`, cluster.address, cluster.address].entries()) {
      const { code, stdout } = results[index]!;
      expect([code, stdout]).toEqual([3, '']);
      expect(reason(results[index]!)).toMatch(`no coordinator answered at ${address}, or the secret differs`);
    }
  });

  it('goes on to the next coordinator', async () => {
    const port = await freePort();
    const coordinators = `127.0.0.1:${port},${cluster.address}`;
    const finished = await gramline(['status', '--coordinators', coordinators, '--json'], { env });
    expect(finished.code).toBe(0);
  });
});

describe('secrets', () => {
  it('never show: not in output, errors, logs at trace level or command lines', async () => {
    const children = [cluster.coordinator, ...cluster.nodes];
    const said = children.flatMap((child) => [child.stdout, child.stderr]);
    const commandLines = children.map((child) => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8'));
    const environments = children.map((child) => readFileSync(`/proc/${child.pid}/environ`, 'utf8'));
    expect(cluster.coordinator.stderr, 'the log is really there').toMatch(/"msg":"a node is up"/);
    expect(transcript.length).toBeGreaterThan(40);
    const haystack = [...transcript, ...said, ...commandLines, ...environments].join('\n').toLowerCase();
    expect(cluster.secretHex).toMatch(/^[0-9a-f]{64}$/);
    expect(haystack.includes(cluster.secretHex)).toBe(false);
    expect(haystack.includes(Buffer.from(cluster.secretHex, 'hex').toString('base64').toLowerCase())).toBe(
      false,
    );
  });
});

async function askText(text: string): Promise<string> {
  const socket = createSocket('udp4');
  try {
    const reply = new Promise<string>((resolve) =>
      socket.once('message', (bytes) => resolve(bytes.toString())),
    );
    socket.send(text, textPort, '127.0.0.1');
    return await reply;
  } finally {
    socket.close();
  }
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}
