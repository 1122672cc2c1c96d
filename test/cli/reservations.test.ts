/** What the command line leaves at a coordinator, which runs in this process and can be looked into. */

import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { makeSecret } from '../../src/index.ts';
import { TestCluster } from '../support/cluster.ts';
import { endAll, eventually, gramline, Started, scratch } from './support.ts';

const { path, remove } = await scratch();
const secret = makeSecret();
const writeOnly = makeSecret();
const cluster = await TestCluster.open({
  nodes: 0,
  secret,
  admissionSecret: secret,
  grants: [{ secret: writeOnly, rights: { write: true } }],
});
const env = await envOf('cluster', secret);
const node = new Started(
  ['node', '--directory', path('node'), '--listen', '127.0.0.1:0', '--quota', '80MB'],
  { env },
);
await node.says(/ready on/);

afterAll(async () => {
  await endAll();
  await cluster.close();
  await remove();
});

async function envOf(name: string, bytes: Uint8Array): Promise<Readonly<Record<string, string>>> {
  const file = path(`${name}.secret`);
  await writeFile(file, Buffer.from(bytes).toString('hex'), { mode: 0o600 });
  return { GRAMLINE_SECRET_FILE: file, GRAMLINE_COORDINATORS: cluster.address };
}

describe('space that was reserved', () => {
  it('is given back when a put is interrupted', async () => {
    await writeFile(path('object'), randomBytes(1_000_000));
    // With its node asleep, a put waits between its reservation and its first byte.
    node.process.kill('SIGSTOP');
    const put = new Started(['put', path('object'), '--replicas', '1'], { env });
    await eventually('space is reserved', () => cluster.coordinator.reservations === 1);
    const { code, stderr, millis } = await put.end('SIGINT');
    // Before its end, not by the lease after it.
    const left = cluster.coordinator.reservations;
    node.process.kill('SIGCONT');
    expect([code, stderr]).toEqual([1, 'gramline: interrupted by SIGINT\n']);
    expect(left).toBe(0);
    expect(millis).toBeLessThan(2_000);
  });

  it('is answered with the revision of that answer, and without a further question', async () => {
    // A secret that may place objects, and may not ask for the status.
    const placed = await gramline(['where-to', '120', '--json'], { env: await envOf('write', writeOnly) });
    expect(placed.stderr).toBe('');
    expect(JSON.parse(placed.stdout)).toMatchObject({ code: 0, revision: expect.any(Number) });
  });
});
