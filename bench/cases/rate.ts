/** Small questions a second, one client process and one server process, 256 under way. */

import type { Bench, Side } from '../bench.ts';
import { accepts, findProgram, freePort, startProgram, until } from '../processes.ts';
import { hasPackage } from '../roles/stores.ts';

const WINDOW = 256;
const OBJECTS = 10_000;
const READY_MILLIS_MAX = 10_000;
const GOAL_PER_SECOND = 500_000;

const WHERE_IS = 'WhereIs';
const MANY = 'whereIsMany';
const REDIS = 'ioredis GET';
const NATS = 'NATS request';

export async function rate(bench: Bench): Promise<void> {
  const { seconds } = bench.options;
  const { client } = await bench.cluster();
  await client.call('fill', { count: OBJECTS });
  const sides: Side[] = [
    { name: WHERE_IS, run: () => client.call<number>('rate', { seconds, window: WINDOW }) },
  ];
  if (await client.call<boolean>('hasMany')) {
    sides.push({ name: MANY, run: () => client.call<number>('rateOfMany', { seconds, batch: WINDOW }) });
  } else bench.skip(MANY, 'this version does not have it');
  for (const peer of [await redisSide(bench), await natsSide(bench)])
    if (peer !== undefined) sides.push(peer);
  const samples = await bench.alternate(sides);
  for (const ours of [WHERE_IS, MANY]) {
    const values = samples.get(ours);
    if (values !== undefined)
      bench.add({ name: ours, unit: '1/s', ours: values, goal: { atLeast: GOAL_PER_SECOND } });
    const common = { name: ours, unit: '1/s', ours, ratioOf: 'ours/theirs' } as const;
    bench.compare(samples, [
      { ...common, theirs: REDIS, ...(ours === WHERE_IS ? { goal: { atLeast: 2 } } : {}) },
      { ...common, theirs: NATS },
    ]);
  }
}

async function redisSide(bench: Bench): Promise<Side | undefined> {
  if (!hasPackage('ioredis')) return absent(bench, REDIS, 'the package ioredis is not installed');
  const port = await startServer(bench, REDIS, 'redis-server', (port) => [
    ...['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', bench.root],
  ]);
  if (port === undefined) return undefined;
  const child = await bench.child({ role: 'redisClient', options: { port } });
  return sampling(bench, REDIS, child.call);
}

async function natsSide(bench: Bench): Promise<Side | undefined> {
  if (!hasPackage('nats')) return absent(bench, NATS, 'the package nats is not installed');
  const port = await startServer(bench, NATS, 'nats-server', (port) => [
    '--addr',
    '127.0.0.1',
    '--port',
    `${port}`,
  ]);
  if (port === undefined) return undefined;
  await bench.child({ role: 'natsResponder', options: { port } });
  const child = await bench.child({ role: 'natsClient', options: { port } });
  return sampling(bench, NATS, child.call);
}

function sampling(
  bench: Bench,
  name: string,
  call: <R>(operation: string, parameters: unknown) => Promise<R>,
): Side {
  return { name, run: () => call<number>('rate', { seconds: bench.options.seconds, window: WINDOW }) };
}

async function startServer(
  bench: Bench,
  name: string,
  program: string,
  parameters: (port: number) => readonly string[],
): Promise<number | undefined> {
  const path = findProgram(program);
  if (path === undefined) return absent(bench, name, `${program} is not installed`);
  const port = await freePort();
  const server = startProgram(bench.scope, path, parameters(port));
  await until(
    () => accepts(port),
    READY_MILLIS_MAX,
    () => `${program} ${server.output()}`,
  );
  return port;
}

function absent(bench: Bench, name: string, why: string): undefined {
  bench.skip(name, why);
  return undefined;
}
