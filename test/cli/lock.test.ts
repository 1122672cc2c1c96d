/** `gramline lock`, against a coordinator that runs in this process. */

import { writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { makeSecret } from '../../src/index.ts';
import { TestCluster } from '../support/cluster.ts';
import { endAll, gramline, reason, Started, scratch } from './support.ts';

const { path, remove } = await scratch();
const secret = makeSecret();
const cluster = await TestCluster.open({ nodes: 0, secret, admissionSecret: secret });
const file = path('cluster.secret');
await writeFile(file, Buffer.from(secret).toString('hex'), { mode: 0o600 });
const env = { GRAMLINE_SECRET_FILE: file, GRAMLINE_COORDINATORS: cluster.address };
const SAY = ['--', process.execPath, '-e'] as const;

afterAll(async () => {
  await endAll();
  await cluster.close();
  await remove();
});

/** Holds a lock until it is told to end. */
async function holder(name: string): Promise<Started> {
  const held = new Started(['lock', name, ...SAY, 'console.log("held"); setInterval(() => {}, 1e6)'], {
    env,
  });
  await held.says(/held/);
  return held;
}

describe('gramline lock', () => {
  it('runs a command with the fencing token in its environment, and ends as it does [LOCK-4]', async () => {
    const say = 'console.log(process.env.GRAMLINE_FENCING_TOKEN); process.exit(7)';
    const first = await gramline(['lock', 'a', ...SAY, say], { env });
    const second = await gramline(['lock', 'a', ...SAY, say], { env });
    expect([first.code, second.code, first.stderr]).toEqual([7, 7, '']);
    expect(Number(second.stdout)).toBeGreaterThan(Number(first.stdout));
  });

  it('says with --json what it did', async () => {
    const { code, stdout } = await gramline(['lock', 'json', '--json', '--', 'true'], { env });
    expect(code).toBe(0);
    const said = { name: 'json', fencing: expect.any(Number), heldSeconds: expect.any(Number), exitCode: 0 };
    expect(JSON.parse(stdout)).toEqual(said);
  });

  it('gives up in one line when somebody else holds the lock for too long', async () => {
    const other = await holder('busy');
    const late = await gramline(['lock', 'busy', '--wait', '0.2', '--', 'true'], { env });
    expect(late.code).toBe(1);
    expect(reason(late)).toMatch(/^gramline: the lock busy was not obtained within 0.2 s/);
    expect((await other.end()).code).toBe(143);
    expect((await gramline(['lock', 'busy', '--wait', '5', '--', 'true'], { env })).code).toBe(0);
  });

  it('holds a lock together with others that share it', async () => {
    const shared = ['lock', 'both', '--shared', '--wait', '0'];
    const other = new Started([...shared, ...SAY, 'console.log("held"); setInterval(() => {}, 1e6)'], {
      env,
    });
    await other.says(/held/);
    expect((await gramline([...shared, '--', 'true'], { env })).code).toBe(0);
    expect((await gramline(['lock', 'both', '--wait', '0', '--', 'true'], { env })).code).toBe(1);
    await other.end();
  });

  it('passes signals on to the command', async () => {
    const say =
      'process.on("SIGHUP", () => process.exit(5)); console.log("held"); setInterval(() => {}, 1e6)';
    const held = new Started(['lock', 'signal', ...SAY, say], { env });
    await held.says(/held/);
    expect((await held.end('SIGHUP')).code).toBe(5);
  });

  it('tells its command to end when the lock is lost, and ends with 1', async () => {
    const own = await TestCluster.open({ nodes: 0, secret, admissionSecret: secret });
    const say =
      'process.on("SIGTERM", () => { console.log("told"); process.exit(0); }); console.log("held"); setInterval(() => {}, 1e6)';
    const held = new Started(['lock', 'lost', '--lease', '1', ...SAY, say], {
      env: { ...env, GRAMLINE_COORDINATORS: own.address },
    });
    await held.says(/held/);
    await own.close();
    const { code, stdout, stderr } = await held.finished;
    expect([code, stdout, stderr]).toEqual([
      1,
      'held\ntold\n',
      expect.stringMatching(/^gramline: the lock lost .*; .*node was told to end\n$/),
    ]);
  });

  it('ends in one line when it is interrupted while it waits', async () => {
    const other = await holder('wait');
    const waits = new Started(['lock', 'wait', '--', 'true'], { env });
    // Nothing says that it waits: it has asked when it is this old.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const ended = await waits.end('SIGINT');
    expect([ended.code, ended.stderr]).toEqual([1, 'gramline: interrupted by SIGINT\n']);
    await other.end();
  });

  it('refuses in one line a command that is not there', async () => {
    const { code, stderr } = await gramline(['lock', 'a', '--', path('no-such-command')], { env });
    expect([code, stderr]).toEqual([1, `gramline: cannot run ${path('no-such-command')}: no such command\n`]);
  });

  it.each([
    [['lock', 'a']],
    [['lock', 'a', '--lease', '0', '--', 'true']],
    [['lock', 'a', '--wait', 'x', '--', 'true']],
  ])('is used wrongly by %j', async (words) => {
    const wrong = await gramline(words, { env });
    expect(wrong.code).toBe(2);
    reason(wrong);
  });
});
