/** The shell around a session, handed its input by a socket that says when that was all. */

import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { BufferPool } from '../../src/udp/buffers.ts';
import { SessionConnection } from '../../src/udp/connection.ts';
import type { DatagramSocket } from '../../src/udp/host.ts';
import { makeSession, START } from '../support/session-pair.ts';
import { ALL_RIGHTS } from '../support/transport.ts';

/** A connection whose deferred work and datagrams the test has in its hands. */
function open() {
  const clock = new VirtualClock();
  const deferred: (() => void)[] = [];
  const sent: Uint8Array[] = [];
  const state = { socketClosed: false };
  const socket: DatagramSocket = {
    host: '10.0.0.1',
    port: 1,
    drains: true,
    connect: async () => undefined,
    send(buffer, bytes, _segmentBytes, _to, onSent) {
      sent.push(buffer.slice(0, bytes));
      onSent?.();
    },
    async close() {
      state.socketClosed = true;
    },
  };
  const connection = new SessionConnection({
    session: makeSession('responder', { now: clock.now() }),
    socket,
    clock,
    defer: (run) => deferred.push(run),
    turn: (run) => deferred.push(run),
    buffers: new BufferPool(4),
    peerHost: '10.0.0.2',
    peerPort: 2,
    peerRole: 3,
    rights: ALL_RIGHTS,
    onLive: () => undefined,
    onClosed: () => undefined,
  });
  const runDeferred = (): void => {
    for (const run of deferred.splice(0)) run();
  };
  runDeferred();
  return { connection, sent, state, runDeferred };
}

describe('a connection whose input comes in slices', () => {
  it('ends when the peer closes in a slice behind which others wait', async () => {
    const { connection, sent, state, runDeferred } = open();
    const peer = makeSession('initiator');
    const buffer = new Uint8Array(65_536);
    peer.close(START);
    const { bytes } = peer.pollTransmit(START, buffer)!;
    const before = sent.length;
    connection.handleDatagram(buffer.slice(0, bytes));
    connection.handleDrained(true);
    connection.handleDatagram(new Uint8Array(100));
    connection.handleDrained(false);
    runDeferred();
    expect(state.socketClosed).toBe(true);
    expect((await connection.closed).kind).toBe('peer');
    // The peer's CLOSE is answered once.
    expect(sent.length - before).toBe(1);
  });
});
