/** Nodes that come, stand still, go and leave for good, as people see it. */

import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { endAll, gramline, Started, scratch } from './support.ts';

const TEST_MILLIS = 60_000;

const { path, remove } = await scratch();
const secretFile = path('cluster.secret');
await gramline(['secret', '-o', secretFile]);
const env: Record<string, string> = { GRAMLINE_SECRET_FILE: secretFile };

afterAll(async () => {
  await endAll();
  await remove();
});

async function startNode(name: string, ...more: readonly string[]): Promise<Started> {
  const directory = path(name);
  await mkdir(directory, { recursive: true });
  const words = ['node', '--directory', directory, '--name', name, '--listen', '127.0.0.1:0', ...more];
  const started = new Started(words, { env });
  if (more.length === 0) await started.says(/ready on/);
  return started;
}

interface Told {
  readonly node: string;
  readonly state: string;
}

/** What `gramline events --json` has told so far. */
function told(events: Started): string[] {
  const lines = events.stdout.trim().split('\n');
  return lines
    .filter((line) => line.endsWith('}'))
    .map((line) => {
      const { node, state } = JSON.parse(line) as Told;
      return `${node} ${state}`;
    });
}

it(
  'tells who comes and goes, gives up nobody who stood still for 2 s, and empties a node that drains',
  async () => {
    const words = ['coordinator', '--listen', '127.0.0.1:0', '--state', `lmdb:${path('state')}`, '--json'];
    const hub = new Started([...words, '--repair-delay', '1'], { env });
    env.GRAMLINE_COORDINATORS = JSON.parse(await hub.says(/^\{.*\}$/m)).address;
    const [one, two] = await Promise.all([startNode('one'), startNode('two')]);
    const events = new Started(['events', '--json'], { env });
    await events.says(/"node":"(?:one|two)"[\s\S]*"node":"(?:one|two)"/);
    expect(told(events).sort()).toEqual(['one up', 'two up']);

    await writeFile(path('file'), 'what is kept');
    const put = JSON.parse((await gramline(['put', path('file'), '--json'], { env })).stdout);
    expect(put.replicas).toBe(2);

    // Its event loop answers nothing for 2 s, as in a long computation.
    two.process.kill('SIGSTOP');
    await pause(2_000);
    two.process.kill('SIGCONT');
    await startNode('three');
    await events.says(/"node":"three"/);
    expect(told(events)).toHaveLength(3);

    expect((await one.end('SIGINT')).code).toBe(0);
    await events.says(/"node":"one"[^\n]*"state":"down"/);
    const drained = await (await startNode('one', '--drain')).finished;
    expect([drained.code, drained.stderr]).toEqual([0, '']);
    expect(drained.stdout).toContain('drained: 1 object is elsewhere; this directory can be removed');
    const { stdout } = await gramline(['where-is', put.hash, '--json'], { env });
    expect(JSON.parse(stdout).locations).toHaveLength(2);
    const got = await gramline(['get', put.hash, '-o', '-'], { env });
    expect(got.stdout).toBe('what is kept');
    expect(told(events)).toContain('one draining');
    expect(told(events).filter((line) => line.endsWith('failed'))).toEqual([]);
    expect((await events.end('SIGINT')).code).toBe(0);
  },
  TEST_MILLIS,
);
