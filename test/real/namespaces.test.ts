/**
 * Two hosts in network namespaces, joined by a veth pair of Ethernet's MTU and a bottleneck whose short
 * queue overflows: loss by the kernel, as DESIGN section 11 has it. Needs root, `ip` and `tc`.
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeSecret } from '../../src/index.ts';
import { ChildRole } from '../support/child-role.ts';

const HOSTS = [`gl${process.pid}a`, `gl${process.pid}b`] as const;
const ADDRESSES = ['10.83.7.1', '10.83.7.2'] as const;
/** Slow enough that any sender outruns it: the queue overflows on a busy machine, too. */
const BOTTLENECK = 'rate 80mbit burst 16kb limit 32kb';
const MOVE_BYTES = 5_000_000;

const run = (command: string): string =>
  execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Makes both hosts; says why not where it cannot. */
function makeHosts(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    for (const host of HOSTS) run(`ip netns add ${host}`);
    run(`ip link add v0 netns ${HOSTS[0]} type veth peer name v0 netns ${HOSTS[1]}`);
    for (const [index, host] of HOSTS.entries()) {
      run(`ip -n ${host} addr add ${ADDRESSES[index]}/24 dev v0 && ip -n ${host} link set v0 up`);
      run(`ip -n ${host} link set lo up`);
      run(`tc -n ${host} qdisc add dev v0 root tbf ${BOTTLENECK}`);
    }
    return undefined;
  } catch (error) {
    removeHosts();
    return `cannot make network namespaces (${String((error as Error).message).split('\n')[0]})`;
  }
}

function removeHosts(): void {
  for (const host of HOSTS) {
    try {
      run(`ip netns del ${host}`);
    } catch {
      // It was never made.
    }
  }
}

const dropped = (): number =>
  HOSTS.map((host) => /dropped (\d+)/.exec(run(`tc -n ${host} -s qdisc show dev v0`))?.[1]).reduce(
    (sum, count) => sum + Number(count ?? 0),
    0,
  );

const obstacle = makeHosts();
const children: ChildRole[] = [];
const root = await mkdtemp(join(tmpdir(), 'gramline-'));
afterAll(async () => {
  for (const child of children) await child.kill();
  if (obstacle === undefined) removeHosts();
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
      const listen = `${ADDRESSES[1]}:0`;
      const far = { secret, netns: HOSTS[1], listen };
      const hub = await start({ ...far, kind: 'coordinator', directory: join(root, 'hub') });
      const coordinators = [hub.address];
      await start({ ...far, kind: 'node', coordinators, directory: join(root, 'node'), name: 'far' });
      const { moved } = await start({
        kind: 'mover',
        netns: HOSTS[0],
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
