/**
 * Two hosts in network namespaces, joined by a veth pair of Ethernet's MTU and a bottleneck whose short
 * queue overflows: loss by the kernel, as DESIGN section 11 has it. A lab, which needs root, `ip` and `tc`.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { droppedBy, type Lab, labTrouble, openLab } from '../../lab/lab.ts';
import { makeSecret } from '../../src/index.ts';
import { ChildRole } from '../support/child-role.ts';

/** Slow enough that any sender outruns it: the queue overflows on a busy machine, too. */
const BOTTLENECK = { bitsPerSecond: 80_000_000, burstBytes: 16_384, queueBytes: 32_768 };
const MOVE_BYTES = 5_000_000;

let lab: Lab | undefined;

/** Makes both hosts; says why not where it cannot. */
function makeHosts(): string | undefined {
  const trouble = labTrouble({ rate: BOTTLENECK });
  if (trouble !== undefined) return trouble;
  try {
    lab = openLab({ name: `bottleneck-${process.pid}`, hosts: 2, joined: 'cable', rate: BOTTLENECK });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const dropped = (): number => lab!.hosts.reduce((sum, host) => sum + droppedBy(host), 0);

const obstacle = makeHosts();
const children: ChildRole[] = [];
const root = await mkdtemp(join(tmpdir(), 'gramline-'));
afterAll(async () => {
  for (const child of children) await child.kill();
  lab?.close();
  await rm(root, { recursive: true, force: true });
});

describe('two hosts behind a bottleneck that drops', () => {
  it.skipIf(obstacle !== undefined)(
    `move 5 MB there and back unharmed${obstacle === undefined ? '' : ` (skipped: ${obstacle})`}`,
    async () => {
      const secret = makeSecret();
      const start = async (spec: Parameters<typeof ChildRole.start>[0]): Promise<ChildRole> => {
        const child = await ChildRole.start(spec);
        children.push(child);
        return child;
      };
      const [near, server] = lab!.hosts;
      const far = { secret, netns: server!.namespace, listen: `${server!.address}:0` };
      const hub = await start({ ...far, kind: 'coordinator', directory: join(root, 'hub') });
      const coordinators = [hub.address];
      await start({ ...far, kind: 'node', coordinators, directory: join(root, 'node'), name: 'far' });
      const { moved } = await start({
        kind: 'mover',
        netns: near!.namespace,
        secret,
        coordinators,
        moveBytes: MOVE_BYTES,
      });
      console.log(
        `put ${moved!.putSeconds.toFixed(1)} s, get ${moved!.getSeconds.toFixed(1)} s, ${dropped()} dropped`,
      );
      expect(moved!.isSame).toBe(true);
      expect(dropped()).toBeGreaterThan(5);
    },
    30_000,
  );
});
