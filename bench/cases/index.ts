/** All cases, in the order in which they run. */

import type { Bench } from '../bench.ts';
import { bulk, bulkLab } from './bulk.ts';
import { getFile, putFile } from './files.ts';
import { handshake } from './handshake.ts';
import { incast, incastLab } from './incast.ts';
import { nodeMemory, sessions } from './memory.ts';
import { profileBulk, profileRate } from './profiles.ts';
import { latencyUnderLoad, query, queryScale } from './query.ts';
import { rate } from './rate.ts';
import { rateFollower, stateEtcd } from './state.ts';

export interface Case {
  readonly about: string;
  readonly run: (bench: Bench) => Promise<void>;
  /** The same in namespaces, where that differs. */
  readonly runInLab?: (bench: Bench) => Promise<void>;
  /** The same under the profiler. */
  readonly profile?: (bench: Bench) => Promise<void>;
}

export const CASES: Readonly<Record<string, Case>> = {
  bulk: {
    about: 'one flow from memory to memory, beside Node TLS 1.3',
    run: bulk,
    runInLab: bulkLab,
    profile: profileBulk,
  },
  put: { about: 'storing a file, beside scp', run: putFile },
  get: { about: 'fetching a file, beside scp, rsync, uftp, srt and ngtcp2', run: getFile },
  query: { about: 'the time of one WhereIs, beside a raw dgram echo', run: query },
  'query-scale': { about: 'the same with millions of objects, beside ten thousand', run: queryScale },
  rate: {
    about: 'WhereIs a second with 256 under way, beside ioredis and NATS',
    run: rate,
    profile: profileRate,
  },
  'latency-under-load': {
    about: 'WhereIs during a transfer of the same client, beside idle',
    run: latencyUnderLoad,
  },
  handshake: { about: 'full handshakes a second, beside Node TLS 1.3', run: handshake },
  sessions: { about: 'memory of a coordinator per idle session', run: sessions },
  'node-memory': { about: 'memory of a node while an object passes through', run: nodeMemory },
  'rate-follower': { about: 'WhereIs a second of a follower, beside a lone coordinator', run: rateFollower },
  'state-etcd': { about: 'commits a second to a state in etcd, beside etcd alone', run: stateEtcd },
  incast: { about: 'eight nodes sending to one client, beside one node', run: incast, runInLab: incastLab },
};
