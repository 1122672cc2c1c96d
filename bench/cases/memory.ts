/** What sessions and transfers cost in resident memory. */

import { readFileSync } from 'node:fs';
import type { Bench } from '../bench.ts';
import type { Alive } from '../roles/handshakes.ts';

/** Sessions that are opened and closed before the first look: whatever is made once is made then. */
const WARM_SESSIONS = 200;
/** Descriptors beside those of the sessions. */
const SPARE_DESCRIPTORS = 500;
/** With fewer of the sessions still open, their memory says nothing. */
const ALIVE_SHARE_MIN = 0.99;
const SETTLE_MILLIS = 3_000;
const SAMPLE_MILLIS = 50;
const SMALL_BYTES = 1 << 20;
const PAGE_BYTES = 4_096;

export async function sessions(bench: Bench): Promise<void> {
  const { secretHex, options } = bench;
  const count = options.sessions;
  const descriptors = count + SPARE_DESCRIPTORS;
  const coordinator = await bench.child({
    role: 'coordinator',
    flags: ['--expose-gc'],
    descriptors,
    options: { secretHex, directory: bench.directory('state'), listen: '127.0.0.1:0' },
  });
  const { address } = coordinator.ready;
  const opener = await bench.child({ role: 'sessions', descriptors, options: { secretHex, address } });
  await opener.call('openTo', { count: WARM_SESSIONS });
  await opener.call('closeAll');
  await settle();
  const idle = await coordinator.rssBytes();
  await opener.call('openTo', { count });
  await settle();
  const grown = (await coordinator.rssBytes()) - idle;
  const { count: alive, ended, failures } = await opener.call<Alive>('alive');
  if (failures > 0) bench.notes.push(`sessions: ${failures} tries to open one failed and were repeated.`);
  if (alive < count)
    bench.notes.push(`sessions: ${count - alive} of ${count} had ended: ${ended.join(', ')}.`);
  if (alive < count * ALIVE_SHARE_MIN) throw new Error(`only ${alive} of ${count} sessions are open`);
  bench.add({
    name: `per session of ${count}`,
    unit: 'KiB',
    ours: [grown / alive / 1024],
    goal: { atMost: 24 },
  });
}

export async function nodeMemory(bench: Bench): Promise<void> {
  const bytes = bench.options.megabytes * 2 ** 20;
  const cluster = await bench.cluster({ flags: { node: ['--expose-gc'] } });
  const [node] = cluster.nodes;
  const { client } = cluster;
  const pass = async (size: number): Promise<void> => {
    const { hash } = await client.call<{ hash: string }>('putRandom', { bytes: size });
    await client.call('getAll', { hashes: [hash] });
    await client.call('remove', { hash });
  };
  await pass(SMALL_BYTES);
  await settle();
  const idle = await node!.rssBytes();
  let most = idle;
  const sampler = setInterval(() => {
    most = Math.max(most, residentBytes(node!.pid));
  }, SAMPLE_MILLIS);
  try {
    await pass(bytes);
  } finally {
    clearInterval(sampler);
  }
  bench.add({ name: 'idle', unit: 'MiB', ours: [idle / 2 ** 20] });
  bench.add({
    name: 'above idle, most',
    unit: 'MiB',
    ours: [(most - idle) / 2 ** 20],
    goal: { atMost: 128 },
  });
}

/** Of another process. */
function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MILLIS));
}
