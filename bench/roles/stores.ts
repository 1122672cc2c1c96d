/**
 * Clients of Redis and NATS. Their packages are looked up when they are needed: the benchmark runs
 * without them, and says what it left out. `NODE_PATH` may name a directory that has them.
 */

import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import type { Role } from './index.ts';
import { sampleRate } from './sampling.ts';

const require = createRequire(import.meta.url);
const KEYS = 10_000;
/** About the size of a WhereIs reply with one location. */
const VALUE_BYTES = 64;
const SUBJECT = 'bench.where-is';

/** What is used of `ioredis`. */
interface Redis {
  set(key: string, value: string): Promise<unknown>;
  get(key: string): Promise<string | null>;
}

/** What is used of `nats`. */
interface Nats {
  request(subject: string, payload: Uint8Array): Promise<unknown>;
  subscribe(
    subject: string,
    options: { callback: (error: unknown, message: { respond(payload: Uint8Array): void }) => void },
  ): unknown;
  flush(): Promise<void>;
}

/** Whether a package of that name can be loaded. */
export function hasPackage(name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

interface Sampling {
  readonly seconds: number;
  readonly window: number;
}

export async function redisClient({ port }: { readonly port: number }): Promise<Role> {
  const { Redis: Client } = require('ioredis') as { Redis: new (options: object) => Redis };
  const redis = new Client({ host: '127.0.0.1', port, enableAutoPipelining: true });
  const keys = Array.from({ length: KEYS }, () => randomBytes(32).toString('hex'));
  await Promise.all(keys.map((key) => redis.set(key, randomBytes(VALUE_BYTES / 2).toString('hex'))));
  let at = 0;
  const get = (): Promise<unknown> => {
    at = (at + 7_919) % KEYS;
    return redis.get(keys[at]!);
  };
  return {
    ready: {},
    operations: { rate: (sampling: Sampling): Promise<number> => sampleRate(sampling, get) },
  };
}

async function connectNats(port: number): Promise<Nats> {
  const { connect } = require('nats') as { connect: (options: object) => Promise<Nats> };
  return connect({ servers: `127.0.0.1:${port}` });
}

/** Answers every request with a value. */
export async function natsResponder({ port }: { readonly port: number }): Promise<Role> {
  const nats = await connectNats(port);
  const value = randomBytes(VALUE_BYTES);
  nats.subscribe(SUBJECT, { callback: (_error, message) => message.respond(value) });
  await nats.flush();
  return { ready: {} };
}

export async function natsClient({ port }: { readonly port: number }): Promise<Role> {
  const nats = await connectNats(port);
  const question = randomBytes(32);
  return {
    ready: {},
    operations: {
      rate: (sampling: Sampling): Promise<number> =>
        sampleRate(sampling, () => nats.request(SUBJECT, question)),
    },
  };
}
