import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { endAll, eventually, gramline, isAlive, reason, Started, scratch, startCluster } from './support.ts';

const { path, remove } = await scratch();
const cluster = await startCluster(path, { nodes: 1, quota: '8MB' });
const { env } = cluster;

afterAll(async () => {
  await endAll();
  await remove();
});

describe('gramline secret', () => {
  it('prints 64 hex digits, another time others', async () => {
    const [one, two] = await Promise.all([gramline(['secret']), gramline(['secret', '--json'])]);
    expect(one.stdout).toMatch(/^[0-9a-f]{64}\n$/);
    expect(JSON.parse(two.stdout).secret).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.parse(two.stdout).secret).not.toBe(one.stdout.trim());
  });

  it('writes a file for its owner alone, and never overwrites one', async () => {
    const file = path('new.secret');
    const made = await gramline(['secret', '-o', file]);
    expect([made.code, made.stderr]).toEqual([0, '']);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const before = await readFile(file, 'utf8');
    expect(made.stdout.includes(before.trim())).toBe(false);
    const again = await gramline(['secret', '-o', file]);
    expect([again.code, reason(again)]).toEqual([1, expect.stringMatching(/new\.secret exists/)]);
    expect(await readFile(file, 'utf8')).toBe(before);
  });

  it('is refused in a file that others can read, with what to do about it', async () => {
    const file = path('open.secret');
    await writeFile(file, `${'ab'.repeat(32)}\n`);
    await chmod(file, 0o644);
    const finished = await gramline(['status', '--secret-file', file]);
    expect([finished.code, reason(finished)]).toEqual([
      1,
      `gramline: others can read ${file}: run chmod 600 ${file}`,
    ]);
  });

  it('must be named, must be there, and must be one', async () => {
    const unnamed = await gramline(['status']);
    expect([unnamed.code, reason(unnamed)]).toEqual([
      2,
      expect.stringMatching(/--secret-file FILE, or GRAMLINE_SECRET_FILE/),
    ]);
    const missing = await gramline(['status', '--secret-file', path('no.secret')]);
    expect([missing.code, reason(missing)]).toEqual([1, expect.stringMatching(/there is no such file/)]);
    await writeFile(path('bad.secret'), 'deadbeef-and-more\n', { mode: 0o600 });
    const bad = await gramline(['status', '--secret-file', path('bad.secret')]);
    expect([bad.code, reason(bad)]).toEqual([1, expect.stringMatching(/holds neither 64 hex digits nor/)]);
    expect(bad.stderr.includes('deadbeef'), 'what the file holds stays there').toBe(false);
  });

  it('may be a passphrase, with a warning; a short one is refused', async () => {
    const file = path('phrase.secret');
    await writeFile(file, 'passphrase: correct horse battery\n', { mode: 0o600 });
    const own = { GRAMLINE_SECRET_FILE: file };
    const hub = new Started(['coordinator', '--listen', '127.0.0.1:0', '--state', `lmdb:${path('phrase')}`], {
      env: own,
    });
    const address = await hub.says(/ready on (\S+:\d+)/);
    const finished = await gramline(['status', '--coordinators', address], { env: own });
    expect(finished.code).toBe(0);
    expect(reason(finished)).toMatch(/holds a passphrase, which can be guessed/);
    expect((await hub.end()).code).toBe(0);
    await writeFile(file, 'passphrase: short\n');
    const short = await gramline(['status', '--coordinators', address], { env: own });
    expect([short.code, reason(short)]).toEqual([
      1,
      expect.stringMatching(/a passphrase needs 12 characters/),
    ]);
  });
});

describe('a coordinator', () => {
  it('names the port that is taken', async () => {
    const port = Number(cluster.address.split(':')[1]);
    const parameters = ['coordinator', '--listen', cluster.address, '--state', `lmdb:${path('second')}`];
    const finished = await gramline(parameters, { env });
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(`^gramline: UDP port ${port} on 127.0.0.1 is taken`),
    ]);
  });

  it('refuses a catalog that another one uses', async () => {
    const finished = await gramline(
      ['coordinator', '--listen', '127.0.0.1:0', '--state', `lmdb:${path('catalog')}`],
      { env },
    );
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(/catalog is in use by process \d+/),
    ]);
  });

  it('gives its own port back when the text port is taken', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const { port } = socket.address();
    const parameters = ['coordinator', '--listen', '127.0.0.1:0', '--state', `lmdb:${path('third')}`];
    const finished = await gramline([...parameters, '--defs-text', `127.0.0.1:${port}`], { env });
    socket.close();
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(`UDP port ${port} on 127.0.0.1 is taken`),
    ]);
  });

  it('says in JSON that it is ready, and ends within two seconds of either signal', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const parameters = [
        'coordinator',
        '--listen',
        '127.0.0.1:0',
        '--state',
        `lmdb:${path('fourth')}`,
        '--json',
      ];
      const hub = new Started(parameters, { env });
      const line = await hub.says(/^\{.*\}$/m);
      expect(JSON.parse(line)).toEqual({
        role: 'coordinator',
        address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        directory: path('fourth'),
        state: `lmdb:${path('fourth')}`,
        defsText: null,
      });
      const ended = await hub.end(signal);
      expect([ended.code, ended.stderr]).toEqual([0, '']);
      expect(ended.millis).toBeLessThan(2_000);
    }
  });
});

describe('a node', () => {
  const nodeParameters = (name: string): string[] => [
    'node',
    '--directory',
    path(name),
    '--name',
    name,
    '--listen',
    '127.0.0.1:0',
  ];

  it('refuses the directory of another', async () => {
    const finished = await gramline(nodeParameters('n1'), { env });
    expect([finished.code, reason(finished)]).toEqual([
      1,
      expect.stringMatching(/n1 is in use by process \d+/),
    ]);
  });

  it('keeps trying until there is a coordinator, and says what it waits for', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${socket.address().port}`;
    await new Promise<void>((resolve) => socket.close(resolve));
    const node = new Started([...nodeParameters('early'), '--coordinators', address], { env });
    expect(await node.says(/^gramline: not joined yet: .*$/m)).toBe(
      `gramline: not joined yet: no coordinator answered at ${address}, or the secret differs; trying on`,
    );
    const hub = new Started(['coordinator', '--listen', address, '--state', `lmdb:${path('late')}`], { env });
    await node.says(/^node early ready on/m);
    expect(
      node.stderr.split('\n').filter((line) => line !== ''),
      'told once',
    ).toHaveLength(1);
    expect((await node.end()).code).toBe(0);
    expect((await hub.end()).code).toBe(0);
  });

  it('says that its admission secret differs, and ends at once when told to', async () => {
    await gramline(['secret', '-o', path('admission.secret')]);
    const node = new Started(
      [...nodeParameters('stranger'), '--admission-secret-file', path('admission.secret')],
      { env },
    );
    await node.says(/not joined yet: the coordinator refused this node: its admission secret differs/);
    const { stdout } = await gramline(['status', '--json'], { env });
    expect(JSON.parse(stdout).nodes).toHaveLength(1);
    const ended = await node.end('SIGINT');
    expect([ended.code, ended.stdout]).toEqual([0, '']);
    expect(ended.millis).toBeLessThan(2_000);
  });

  it('ends within two seconds in the middle of a put, and the put fails or goes elsewhere', async () => {
    const input = randomBytes(6_000_000);
    await writeFile(path('midway'), input);
    const node = new Started([...nodeParameters('victim'), '--quota', '100MB'], { env });
    await node.says(/ready on/);
    const put = new Started(['put', path('midway'), '--replicas', '2', '--json'], { env });
    await eventually('the put is under way or over', async () => {
      const { stdout } = await gramline(['status', '--json'], { env });
      return (
        put.process.exitCode !== null ||
        JSON.parse(stdout).nodes.some(
          (n: { freeBytes: number; quotaBytes: number }) => n.freeBytes < n.quotaBytes,
        )
      );
    });
    const ended = await node.end('SIGTERM');
    expect(ended.code).toBe(0);
    expect(ended.millis).toBeLessThan(2_000);
    const finished = await put.finished;
    expect([0, 1]).toContain(finished.code);
  });

  it('ends at once on a second signal', async () => {
    const node = new Started(nodeParameters('hasty'), { env });
    await node.says(/ready on/);
    node.process.kill('SIGTERM');
    const ended = await node.end('SIGTERM');
    expect(ended.signal).toBeNull();
    expect(ended.millis).toBeLessThan(1_000);
    expect(isAlive(node.pid)).toBe(false);
  });

  it('needs a directory, a name and a size that make sense', async () => {
    for (const [parameters, rule] of [
      [['node'], /required option '--directory <DIR>' not specified/],
      [['node', '--directory', path('x'), '--quota', 'much'], /'much' is no size/],
      [['node', '--directory', path('x'), '--name', 'a\nb'], /no control characters/],
      [['node', '--directory', path('x'), '--coordinators', 'nowhere'], /'nowhere' is no address/],
      [['node', '--directory', path('x'), '--log-level', 'loud'], /'loud' is no log level/],
      [['coordinator', '--state', 'redis:x'], /'redis:x' is no state: write lmdb:DIR, or etcd:/],
      [['coordinator', '--state', 'lmdb:'], /'lmdb:' is no state/],
      [['coordinator', '--state', 'etcd:x'], /'x' is no URL of an etcd: write http:\/\/HOST:2379/],
      [['coordinator', '--state', 'etcd:http://x/y'], /'http:\/\/x\/y' is no URL of an etcd/],
      [
        ['coordinator', '--state', 'etcd:http://me:hidden@x:2379'],
        /^(?!.*hidden).* at x:2379 has .* in it.*: use --etcd-user and --etcd-password-file$/,
      ],
      [
        ['coordinator', '--state', 'etcd:http://x', '--etcd-user', 'me'],
        /--etcd-user needs --etcd-password-/,
      ],
      [['coordinator', '--etcd-user', 'me'], /--etcd-user is for a state in etcd/],
      [['coordinator', '--cluster-id', 'abc'], /--cluster-id abc: write 32 hex digits/],
      [['coordinator', '--state-wait', 'long'], /--state-wait long: write seconds/],
    ] as const) {
      const finished = await gramline(parameters, { env });
      expect([finished.code, reason(finished)], parameters.join(' ')).toEqual([
        2,
        expect.stringMatching(rule),
      ]);
    }
  });
});
