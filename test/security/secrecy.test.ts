/** Where secrets must not be: on the wire, in the log, in errors, in what one sees of an object. */

import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deriveClusterKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { openClient, openCoordinator, openNode, readSecret } from '../../src/index.ts';
import type { Log, LogFields } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { systemEntropy } from '../../src/udp/clock.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import { TOKEN_BYTES } from '../../src/wire/index.ts';
import { collect, eventually, TestCluster } from '../support/cluster.ts';
import { tappedHost } from '../support/tapped-host.ts';
import { frontSecret } from '../support/transport.ts';

const MARKER = 'a sentence of the object that nobody else may read';
const OBJECT = Buffer.concat([Buffer.from(MARKER), randomBytes(300_000), Buffer.from(MARKER)]);

const lines: string[] = [];
const note = (message: string, fields?: LogFields): void => {
  lines.push(message, JSON.stringify(fields), inspect(fields));
};
const log: Log = { info: note, warn: note, error: note };
const wire = tappedHost(plainHost);
const drawn: Uint8Array[] = [];
const entropy = {
  fraction: systemEntropy.fraction,
  bytes: (count: number): Uint8Array => {
    const bytes = systemEntropy.bytes(count);
    drawn.push(bytes.slice());
    return bytes;
  },
};

const cluster = await TestCluster.open({ nodes: 2, log, entropy, transport: { host: wire } });
const otherSecret = new Uint8Array(randomBytes(32));
const app = cluster.client();
const errors: unknown[] = [];
const tokens: Uint8Array[] = [];
const receipts: Uint8Array[] = [];

/** What is secret, by name. */
const secrets = new Map<string, Uint8Array>();

beforeAll(async () => {
  const keep = async (work: Promise<unknown>): Promise<void> => {
    await work.then(
      () => expect.fail('this was to fail'),
      (error: unknown) => errors.push(error),
    );
  };
  const { hash } = await app.put(OBJECT, { replicas: 2 });
  expect((await collect(app.get(hash))).equals(OBJECT)).toBe(true);
  const reserved = await app.whereTo(OBJECT.length, { replicas: 2 });
  tokens.push(new Uint8Array(Buffer.from(reserved.token, 'hex')));
  const { bytes } = await app.whereIs(hash);
  for (const { nodeId } of reserved.replicas) {
    const subject = { nodeId: new Uint8Array(Buffer.from(nodeId, 'hex')), token: tokens[0]!, bytes };
    const name = new Uint8Array(Buffer.from(hash, 'hex'));
    receipts.push(new Receipts(nodeSuite, cluster.admissionSecret).make({ ...subject, hash: name }));
  }
  await app.release(reserved.token);
  await app.status();

  // Failures of every kind that a caller meets.
  await keep(collect(app.get(createHash('sha256').digest('hex'))));
  await keep(app.put(OBJECT, { replicas: 7 }));
  await keep(app.put(new Uint8Array(0), { bytes: 1e15, replicas: 1 }).then(() => app.whereTo(1e13)));
  await keep(app.release('no token'));
  await keep(app.whereIs('no hash'));
  await keep(app.put(OBJECT, { signal: AbortSignal.timeout(1) }));
  const foreign = cluster.client({ secret: otherSecret });
  await keep(foreign.status({ timeoutMicros: 300_000 as never }));
  const stranger = await cluster.addNode(5, { admissionSecret: otherSecret });
  await eventually('it is refused', () => stranger.lastError);
  errors.push(stranger.lastError);
  const common = { secret: cluster.secret, coordinators: ['127.0.0.1:1'] };
  await keep(openClient({ ...common, secret: cluster.secret.subarray(1) }));
  await keep(openClient({ ...common, coordinators: [] }));
  await keep(
    openCoordinator({ ...common, listen: cluster.address, directory: join(cluster.directory, 'x') }),
  );
  await keep(
    openNode({
      ...common,
      admissionSecret: cluster.admissionSecret.subarray(1),
      directory: join(cluster.directory, 'y'),
    }),
  );
  // Secret files with the secret in them, and yet wrong.
  const hex = Buffer.from(cluster.secret).toString('hex');
  const files = {
    short: hex.slice(2),
    long: `${hex}00`,
    base64: Buffer.from(cluster.secret).toString('base64'),
  };
  for (const [name, text] of Object.entries(files)) {
    const path = join(cluster.directory, name);
    await writeFile(path, text, { mode: 0o600 });
    await keep(readSecret(path));
  }
  await writeFile(join(cluster.directory, 'open'), hex, { mode: 0o644 });
  await keep(readSecret(join(cluster.directory, 'open')));
  await app.rm(hash);

  const keys = deriveClusterKeys(nodeSuite, cluster.secret);
  secrets.set('cluster secret', cluster.secret);
  secrets.set('psk', keys.psk);
  secrets.set('hello key', keys.helloKey);
  secrets.set('admission secret', cluster.admissionSecret);
  secrets.set('other secret', otherSecret);
  secrets.set('other psk', frontSecret(otherSecret).keys.psk);
  for (const [index, token] of tokens.entries()) secrets.set(`token ${index}`, token);
  for (const [index, receipt] of receipts.entries()) secrets.set(`receipt ${index}`, receipt);
  // Ephemeral keys, tags before they are sent, tokens of puts: whatever the client drew. Tags travel in
  // clear and have the length of tokens, so only those that the wire did not show are looked for in texts.
  const sent = Buffer.concat(wire.seen.map(({ bytes }) => bytes));
  for (const [index, bytes] of drawn.entries()) {
    if (bytes.length === 32) secrets.set(`ephemeral key or nonce ${index}`, bytes);
    if (bytes.length === TOKEN_BYTES && !sent.includes(Buffer.from(bytes)))
      secrets.set(`token drawn ${index}`, bytes);
  }
}, 30_000);
afterAll(() => cluster.close());

/** The ways in which bytes turn up in a text. */
function spellings(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes);
  const hex = buffer.toString('hex');
  return [
    hex,
    hex.toUpperCase(),
    // As `inspect` shows a Buffer.
    hex.replaceAll(/(..)(?=.)/g, '$1 ').slice(0, 3 * 6 - 1),
    buffer.toString('base64').replace(/=*$/, ''),
    buffer.toString('base64url'),
    buffer.toString('latin1'),
    // As JSON and `inspect` show a Uint8Array.
    [...bytes].join(','),
    [...bytes].join(', '),
    [...bytes].map((byte, index) => `"${index}":${byte}`).join(','),
  ];
}

function expectNoSecretIn(where: string, text: string): void {
  for (const [name, bytes] of secrets) {
    for (const spelling of spellings(bytes)) {
      expect(text.includes(spelling), `${name} is in ${where}`).toBe(false);
    }
  }
}

const shown = (value: unknown): string =>
  [
    inspect(value, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null }),
    inspect(value, {
      depth: 12,
      getters: true,
      compact: true,
      breakLength: Number.POSITIVE_INFINITY,
      maxArrayLength: null,
    }),
    String(value),
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ??
      '',
  ].join('\n');

describe('a secret', () => {
  it('is found by this test where it is', () => {
    const leaky = { at: { depth: { key: cluster.secret } } };
    expect(() => expectNoSecretIn('a leak', shown(leaky))).toThrow(/cluster secret is in a leak/);
    expect(() => expectNoSecretIn('a leak', `x${Buffer.from(tokens[0]!).toString('hex')}`)).toThrow(
      /token 0/,
    );
    expect(secrets.size).toBeGreaterThan(12);
  });

  it('is in no datagram, nor is the object', () => {
    const capture = Buffer.concat(wire.seen.map(({ bytes }) => bytes));
    expect(capture.length).toBeGreaterThan(2 * 3 * OBJECT.length);
    for (const [name, bytes] of secrets) {
      expect(capture.includes(Buffer.from(bytes)), `${name} on the wire`).toBe(false);
      expect(capture.includes(Buffer.from(bytes).toString('hex')), `${name} in hex on the wire`).toBe(false);
    }
    expect(capture.includes(MARKER)).toBe(false);
    expect(capture.includes(OBJECT.subarray(1_000, 1_016))).toBe(false);
    expect(capture.includes(createHash('sha256').update(OBJECT).digest())).toBe(false);
    expect(capture.includes('node-0')).toBe(false);
  });

  it('is in no line of the log', () => {
    expect(lines.length).toBeGreaterThan(10);
    expectNoSecretIn('the log', lines.join('\n'));
    expect(lines.join('\n')).not.toContain(MARKER);
  });

  it('is in no error, its stack or its causes', () => {
    expect(errors.length).toBeGreaterThanOrEqual(14);
    for (const error of errors) {
      expect(error).toBeInstanceOf(Error);
      let cause: unknown = error;
      for (let depth = 0; cause instanceof Error && depth < 10; depth++) {
        expectNoSecretIn(`an error: ${cause.message}`, `${cause.message}\n${cause.stack}\n${shown(cause)}`);
        cause = cause.cause;
      }
    }
  });

  it('is in nothing that can be seen of a client, a coordinator, a node or a transport', async () => {
    const client = cluster.client();
    await client.status();
    const opened = await openClient({ secret: cluster.secret, coordinators: [cluster.address] });
    await opened.status();
    const connections = cluster.transports.flatMap((transport) => [...transport.connections]);
    expect(connections.length).toBeGreaterThan(2);
    const objects = {
      client,
      opened,
      coordinator: cluster.coordinator,
      node: cluster.nodes[0],
      transports: cluster.transports,
      connections,
      sessions: connections.map(({ session }) => session),
    };
    for (const [name, value] of Object.entries(objects)) expectNoSecretIn(name, shown(value));
    await opened.close();
  });
});
