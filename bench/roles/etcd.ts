/** Compare-and-set of small values in etcd: by the store, and by plain requests to etcd's JSON gateway. */

import { randomBytes } from 'node:crypto';
import { Pool, request } from 'undici';
import { openEtcdStateStore } from '../../src/store/etcd-state-store.ts';
import type { Role } from './index.ts';
import { sampleRate } from './sampling.ts';

/** About what a catalog's entry has. */
const KEY_BYTES = 32;
const VALUE_BYTES = 100;
const CONNECTIONS = 8;

/** Whether an etcd serves reads at `url`. */
export async function isEtcdReady(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${url}/v3/kv/range`, {
      method: 'POST',
      body: '{"key":"AA=="}',
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

export async function etcdStore({ url }: { readonly url: string }): Promise<Role> {
  const store = await openEtcdStateStore({ endpoints: [url] });
  const value = new Uint8Array(randomBytes(VALUE_BYTES));
  const commit = async (): Promise<void> => {
    const key = new Uint8Array(randomBytes(KEY_BYTES));
    const { ok } = await store.commit([{ key, equals: undefined }], [{ key, value }]);
    if (!ok) throw new Error('a new key was there already');
  };
  return {
    ready: {},
    operations: {
      rate: (sampling: { readonly seconds: number; readonly window: number }) => sampleRate(sampling, commit),
    },
  };
}

export async function etcdPlain({ url }: { readonly url: string }): Promise<Role> {
  const pool = new Pool(url, { connections: CONNECTIONS });
  const value = randomBytes(VALUE_BYTES).toString('base64');
  const setting = (): string => {
    const key = Buffer.concat([Buffer.from('plain/'), randomBytes(KEY_BYTES)]).toString('base64');
    return `"compare":[{"key":"${key}","target":"CREATE","create_revision":"0"}],"success":[{"request_put":{"key":"${key}","value":"${value}"}}]`;
  };
  const send = async (batch: number): Promise<void> => {
    const inner = Array.from({ length: batch }, () => `{"request_txn":{${setting()}}}`);
    const text = batch === 1 ? `{${setting()}}` : `{"success":[${inner.join()}]}`;
    const answer = await pool.request({ path: '/v3/kv/txn', method: 'POST', body: text });
    const { succeeded } = (await answer.body.json()) as { readonly succeeded?: boolean };
    if (succeeded !== true) throw new Error('a transaction failed');
  };
  return {
    ready: {},
    operations: {
      rate: (sampling: { readonly seconds: number; readonly window: number; readonly batch: number }) =>
        sampleRate({ ...sampling, perRun: sampling.batch }, () => send(sampling.batch)),
    },
  };
}
