/** Which datagram size a session arrives at on a real path. */

import { afterEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../src/nodes/ports.ts';
import type { SessionConnection } from '../../src/udp/connection.ts';
import { Role } from '../../src/wire/index.ts';
import { eventually } from '../support/cluster.ts';
import { loopbackTransport } from '../support/transport.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function pair(clientMax?: number, serverMax?: number) {
  const accepted: Connection[] = [];
  const limit = (max?: number) => (max === undefined ? {} : { datagramBytesMax: max });
  const listener = await loopbackTransport(limit(serverMax)).listen({
    address: '127.0.0.1:0',
    role: Role.COORDINATOR,
    clusterId: new Uint8Array(16).fill(3),
    onConnection: (connection) => {
      connection.onQuery = (query) => query.reply(0);
      accepted.push(connection);
    },
  });
  const client = await loopbackTransport(limit(clientMax)).connect({
    address: listener.address,
    role: Role.CLIENT,
  });
  closers.push(
    () => listener.close(),
    () => client.close(),
  );
  const server = await eventually('the session is accepted', () => accepted[0]);
  // Larger datagrams are looked for only while there is bulk to send: a flow that stays open says so.
  for (const end of [client, server]) end.call(1, new Uint8Array(0), { sends: true });
  return [(client as SessionConnection).session, (server as SessionConnection).session] as const;
}

describe('the datagram size of a session on loopback', () => {
  it('reaches 62,000 bytes at both ends', async () => {
    const sessions = await pair();
    await eventually('both ends reach it', () =>
      sessions.every(({ datagramBytes }) => datagramBytes === 62_000),
    );
  });

  it.each([
    [1_472, undefined],
    [undefined, 1_472],
  ])('stays at 1,472 bytes when the client takes %s and the server %s', async (clientMax, serverMax) => {
    const sessions = await pair(clientMax, serverMax);
    await eventually('both ends reach it', () =>
      sessions.every(({ datagramBytes }) => datagramBytes === 1_472),
    );
    // Longer than a lost probe takes to be repeated.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sessions.map(({ datagramBytes }) => datagramBytes)).toEqual([1_472, 1_472]);
  });
});
