/** `gramline coordinator --state etcd:...`: waiting for etcd, and what it refuses. */

import { chmod, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ETCD_PROGRAM, EtcdProcesses, etcdCall } from '../../bench/etcd-processes.ts';
import { endAll, gramline, reason, Started, scratch } from './support.ts';

const { path, remove } = await scratch();
const env = { GRAMLINE_SECRET_FILE: path('cluster.secret') };
await gramline(['secret', '-o', path('cluster.secret')]);
/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1';
const ID = '00112233445566778899aabbccddeeff';

afterAll(async () => {
  await endAll();
  await remove();
});

function coordinator(...parameters: readonly string[]): readonly string[] {
  return ['coordinator', '--listen', '127.0.0.1:0', ...parameters];
}

describe('a coordinator whose etcd is down', () => {
  it('says so, tries again as long as it was told to, and ends with 3', async () => {
    const finished = await gramline(coordinator('--state', `etcd:${NOWHERE}`, '--state-wait', '1'), { env });
    const lines = finished.stderr.trim().split('\n');
    expect([finished.code, lines]).toEqual([
      3,
      [
        expect.stringMatching(`^gramline: etcd does not answer at ${NOWHERE}: trying again for 1 s \\(`),
        expect.stringMatching(`^gramline: etcd has not answered at ${NOWHERE} for 1 s: .*Start it, or check`),
      ],
    ]);
  });

  it('waits a minute when nothing else is said, and ends at once when told to', async () => {
    const hub = new Started(coordinator('--state', `etcd:${NOWHERE}`), { env });
    await hub.says(/trying again for 60 s/);
    const ended = await hub.end('SIGTERM');
    expect([ended.code, ended.stdout]).toEqual([0, '']);
  });

  it('does not wait with --state-wait 0', async () => {
    const finished = await gramline(coordinator('--state', `etcd:${NOWHERE}`, '--state-wait', '0'), { env });
    expect([finished.code, reason(finished)]).toEqual([
      3,
      expect.stringMatching(`^gramline: etcd does not answer at ${NOWHERE}: .*Start it, or check the URLs`),
    ]);
  });

  it('refuses a password that others can read, and a file that is not there', async () => {
    await writeFile(path('password'), 'right\n');
    await chmod(path('password'), 0o640);
    const access = ['--etcd-user', 'me', '--etcd-password-file', path('password')];
    const open = await gramline(coordinator('--state', `etcd:${NOWHERE}`, ...access), { env });
    expect([open.code, reason(open)]).toEqual([
      1,
      `gramline: others can read ${path('password')}: run chmod 600 ${path('password')}`,
    ]);
    const missing = await gramline(
      coordinator('--state', `etcd:${NOWHERE}`, '--etcd-ca-file', path('none')),
      {
        env,
      },
    );
    expect([missing.code, reason(missing)]).toEqual([1, expect.stringContaining('no such file')]);
  });
});

describe('a state to be moved', () => {
  it.each([
    [[], 2, "required option '--from <WHERE>' not specified"],
    [['--from', 'lmdb:none', '--state', 'lmdb:none'], 1, 'are the same'],
    [['--from', 'lmdb:none', '--state', 'lmdb:some'], 1, 'there is no state in'],
    [['--from', 'somewhere', '--state', 'lmdb:some'], 2, 'is no state: write lmdb:DIR'],
  ])('is refused with %j', async (words, code, text) => {
    const finished = await gramline(['move-state', ...words], { cwd: path('.') });
    expect([finished.code, finished.stderr]).toEqual([code, expect.stringContaining(text)]);
  });
});

describe('a coordinator on lmdb', () => {
  it('keeps the cluster id that it is given, and refuses another afterwards, naming both', async () => {
    const state = ['--state', `lmdb:${path('lmdb')}`];
    const hub = new Started(coordinator(...state, '--cluster-id', ID), { env });
    await hub.says(/ready on/);
    expect((await hub.end()).code).toBe(0);
    const other = 'ff'.repeat(16);
    const refusal = await gramline(coordinator(...state, '--cluster-id', other), { env });
    expect([refusal.code, reason(refusal)]).toEqual([
      1,
      expect.stringMatching(`belongs to cluster ${ID}, not ${other}`),
    ]);
  });
});

describe.skipIf(ETCD_PROGRAM === undefined)(
  `a coordinator on etcd${ETCD_PROGRAM === undefined ? ' (skipped: etcd is not installed)' : ''}`,
  () => {
    let etcd: EtcdProcesses;
    beforeAll(async () => {
      etcd = await EtcdProcesses.start();
    });
    afterAll(() => etcd?.stop());

    it('starts when etcd comes, says where its state is, and finds it again', async () => {
      const [url] = etcd.urls;
      await etcd.signal(0, 'SIGTERM');
      const state = ['--state', `etcd:${url}`, '--cluster-id', ID, '--json'];
      const hub = new Started(coordinator(...state), { env });
      await hub.says(/trying again for 60 s/);
      etcd.restart(0);
      const line = await hub.says(/^\{.*\}$/m);
      expect(JSON.parse(line)).toEqual({
        role: 'coordinator',
        address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        directory: null,
        state: `etcd:${url}`,
        defsText: null,
      });
      const coordinators = ['--coordinators', JSON.parse(line).address];
      expect((await gramline(['status', ...coordinators], { env })).code).toBe(0);
      expect((await hub.end()).code).toBe(0);
      const other = 'ff'.repeat(16);
      const refusal = await gramline(coordinator('--state', `etcd:${url}`, '--cluster-id', other), { env });
      expect([refusal.code, reason(refusal)]).toEqual([
        1,
        expect.stringMatching(`etcd at ${url} belongs to cluster ${ID}, not ${other}`),
      ]);
    });

    it('takes over the state of a coordinator on lmdb, with what was put a moment before', async () => {
      const [url] = etcd.urls;
      const old = { from: `lmdb:${path('old')}`, to: `etcd:${url}` };
      await etcdCall(url!, '/v3/kv/deleterange', { key: 'AA==', range_end: 'AA==' });
      const nodeAt = (address: string): Started =>
        new Started(['node', '--directory', path('data'), '--coordinators', address], { env });
      const first = new Started(coordinator('--state', old.from), { env });
      const before = await first.says(/ready on (\S+),/);
      const node = nodeAt(before);
      await node.says(/ready on/);
      await writeFile(path('object'), 'what was put a moment before');
      const put = await gramline(['put', path('object'), '--coordinators', before], { env });
      const hash = put.stdout.trim();
      const moved = ['move-state', '--from', old.from, '--state', old.to];
      const early = await gramline(moved, { env });
      expect([early.code, reason(early)]).toEqual([1, expect.stringContaining('is in use by process')]);
      for (const role of [node, first]) expect((await role.end()).code).toBe(0);
      const finished = await gramline(moved, { env });
      expect([finished.code, finished.stdout]).toEqual([
        0,
        expect.stringMatching(
          /^moved \d+ entries from .*old to etcd at .*, and compared them\nstart coordinators with/,
        ),
      ]);
      const second = new Started(coordinator('--state', old.to), { env });
      const after = await second.says(/ready on (\S+),/);
      const back = nodeAt(after);
      await back.says(/ready on/);
      const got = await gramline(['get', hash, '-o', '-', '--coordinators', after], { env });
      expect([got.code, got.stdout]).toEqual([0, 'what was put a moment before']);
      const again = await gramline(moved, { env });
      expect([again.code, reason(again)]).toEqual([
        1,
        expect.stringContaining('a coordinator runs on the state'),
      ]);
      await gramline(['secret', '-o', path('other.secret')]);
      const stranger = await gramline(coordinator('--state', old.to), {
        env: { GRAMLINE_SECRET_FILE: path('other.secret') },
      });
      expect([stranger.code, reason(stranger)]).toEqual([
        1,
        `gramline: the coordinator at ${after} runs on this state with another secret: all of them need the same secret file`,
      ]);
    });
  },
);
