/** The roles of Gramline, each a process of its own, through the front door of the package. */

import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { type Client, type GetOptions, openClient, openCoordinator, openNode } from '../../src/index.ts';
import type { Role } from './index.ts';
import { type Extent, type Latencies, sampleLatencies, sampleRate, strider } from './sampling.ts';

interface Common {
  readonly secretHex: string;
}

const PUTS_AT_ONCE = 64;
const SMALL_OBJECT_BYTES = 64;
/** What may wait to be written: pieces that wait together are written together. */
const WRITE_BUFFER_BYTES = 4 << 20;
const QUOTA_BYTES = 100e9;
/** Load that is to run before a latency is taken under it. */
const LOAD_LEAD_MILLIS = 300;

function secretOf({ secretHex }: Common): Uint8Array {
  return new Uint8Array(Buffer.from(secretHex, 'hex'));
}

export async function coordinator(
  options: Common & { readonly directory?: string; readonly state?: string; readonly listen: string },
): Promise<Role> {
  const { directory, state, listen } = options;
  const isFilled = directory !== undefined && existsSync(directory) && readdirSync(directory).length > 0;
  // A catalog of millions is read for a minute: what is measured is the time after that.
  let loaded = (): void => undefined;
  const inMemory = new Promise<void>((resolve) => {
    loaded = resolve;
  });
  const log = {
    info: (message: string): void => {
      if (message === 'the catalog is in memory') loaded();
    },
    warn: () => undefined,
    error: () => undefined,
  };
  const where = state === undefined ? { directory: directory! } : { state };
  const { address } = await openCoordinator({ secret: secretOf(options), ...where, listen, log });
  if (isFilled) await inMemory;
  return { ready: { address } };
}

export async function node(
  options: Common & {
    readonly directory: string;
    readonly coordinator: string;
    readonly listen: string;
    readonly name: string;
  },
): Promise<Role> {
  const { directory, listen, name } = options;
  const opened = await openNode({
    secret: secretOf(options),
    coordinators: [options.coordinator],
    directory,
    listen,
    name,
    quotaBytes: QUOTA_BYTES,
  });
  await opened.joined;
  return { ready: { address: opened.address } };
}

/** `whereIsMany` is asked for by name: versions without it can be measured, too. */
type ManyClient = Client & { whereIsMany?: (hashes: readonly string[]) => Promise<readonly unknown[]> };

export async function client(options: Common & { readonly coordinator: string }): Promise<Role> {
  const app: ManyClient = await openClient({
    secret: secretOf(options),
    coordinators: [options.coordinator],
  });
  let hashes: string[] = [];
  return {
    ready: {},
    operations: {
      ...transfers(app),
      offload: async (): Promise<boolean> => (await app.status()).coordinators[0]!.offload,
      /** Whether who answers this client leads. */
      isLed: async (): Promise<boolean> => {
        const { coordinators } = await app.status();
        return coordinators.find(({ answers }) => answers)!.leads;
      },
      hasMany: (): boolean => app.whereIsMany !== undefined,
      /** Stores `count` small objects, and asks for them from then on. */
      fill: async ({ count }: { count: number }): Promise<void> => {
        hashes = await putSmall(app, count);
      },
      /** Asks for the objects whose hashes stand in a file, one a line. */
      askFor: async ({ path }: { path: string }): Promise<void> => {
        hashes = (await readFile(path, 'utf8')).trim().split('\n');
      },
      latencies: (extent: Extent): Promise<Latencies> => {
        const next = strider(hashes);
        return sampleLatencies(extent, () => app.whereIs(next()));
      },
      /** The same while an object is moved over and over by this client. */
      latenciesDuring: ({ transfer, hash, bytes, ...extent }: LoadedSampling) => {
        const next = strider(hashes);
        const sample = (): Promise<Latencies> => sampleLatencies(extent, () => app.whereIs(next()));
        return duringTransfers(app, { transfer, hash, bytes }, sample);
      },
      rate: ({ seconds, window }: { seconds: number; window: number }): Promise<number> => {
        const next = strider(hashes);
        return sampleRate({ seconds, window }, () => app.whereIs(next()));
      },
      /** One batch after another. */
      rateOfMany: ({ seconds, batch }: { seconds: number; batch: number }): Promise<number> => {
        const next = strider(hashes);
        const ask = (): Promise<unknown> => app.whereIsMany!(Array.from({ length: batch }, next));
        return sampleRate({ seconds, window: 1, perRun: batch }, ask);
      },
    },
  };
}

interface LoadedSampling extends Extent {
  readonly transfer: 'put' | 'get';
  /** Of the object that is got. */
  readonly hash: string;
  /** Size of the objects that are put. */
  readonly bytes: number;
}

function transfers(app: Client) {
  return {
    putFile: async ({ path }: { path: string }) => {
      const start = performance.now();
      const { hash } = await app.put(createReadStream(path), { replicas: 1 });
      return { hash, seconds: (performance.now() - start) / 1000 };
    },
    getFile: async ({ hash, path }: { hash: string; path: string }) => {
      const start = performance.now();
      await pipeline(app.get(hash), createWriteStream(path, { highWaterMark: WRITE_BUFFER_BYTES }));
      return { seconds: (performance.now() - start) / 1000 };
    },
    /** Stores one object of random bytes; says which node has it. */
    putRandom: async ({ bytes }: { bytes: number }) => {
      const { hash } = await app.put(randomBytes(bytes), { replicas: 1 });
      return { hash, node: (await app.whereIs(hash)).replicas[0]!.nodeId };
    },
    /** Fetches objects at once, checks them, and drops them. */
    getAll: async ({ hashes }: { hashes: readonly string[] }) => {
      const start = performance.now();
      await Promise.all(hashes.map((hash) => drain(app, hash)));
      return { seconds: (performance.now() - start) / 1000 };
    },
    remove: async ({ hash }: { hash: string }): Promise<void> => app.rm(hash).then(() => undefined),
  };
}

async function drain(app: Client, hash: string, options: GetOptions = {}): Promise<void> {
  await app.getInto(hash, async () => undefined, options);
}

async function putSmall(app: Client, count: number): Promise<string[]> {
  const hashes: string[] = [];
  let started = 0;
  const putter = async (): Promise<void> => {
    while (started < count) {
      started += 1;
      hashes.push((await app.put(randomBytes(SMALL_OBJECT_BYTES), { replicas: 1 })).hash);
    }
  };
  await Promise.all(Array.from({ length: PUTS_AT_ONCE }, putter));
  return hashes;
}

/** Runs `sample` while objects are moved. Throws when nothing moved meanwhile. */
async function duringTransfers(
  app: Client,
  load: Pick<LoadedSampling, 'transfer' | 'hash' | 'bytes'>,
  sample: () => Promise<Latencies>,
): Promise<Latencies> {
  const stop = new AbortController();
  const { signal } = stop;
  let [moved, steps] = [0, 0];
  const onProgress = (): void => {
    steps += 1;
  };
  const payload = load.transfer === 'put' ? randomBytes(load.bytes) : Buffer.alloc(0);
  const mover = async (): Promise<void> => {
    while (!signal.aborted) {
      if (load.transfer === 'get') await drain(app, load.hash, { signal, onProgress });
      else {
        // Other bytes each time: the same ones would be there already.
        payload.writeUInt32LE(moved, 0);
        const { hash } = await app.put(payload, { replicas: 1, signal, onProgress });
        await app.rm(hash);
      }
      moved += 1;
    }
  };
  const moving = mover().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  const sampling = (async () => {
    await new Promise((resolve) => setTimeout(resolve, LOAD_LEAD_MILLIS));
    const before = steps;
    const latencies = await sample();
    if (steps === before) throw new Error(`no ${load.transfer} was under way`);
    return latencies;
  })();
  try {
    // A load that fails is no load: then the sample says nothing.
    return await Promise.race([sampling, moving.then(() => sampling)]);
  } finally {
    stop.abort();
    await moving;
  }
}
