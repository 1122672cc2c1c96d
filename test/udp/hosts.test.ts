/** What every datagram host promises, with offload and without, and both ways between them. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { LibC } from '../../src/native/index.ts';
import type { DatagramHost, DatagramSocket } from '../../src/udp/host.ts';
import { tryOffload } from '../../src/udp/offload.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import { eventually } from '../support/cluster.ts';

const offloaded = tryOffload();
const hosts: [string, DatagramHost][] = [['plain', plainHost]];
if (offloaded !== undefined) hosts.push(['with offload', offloaded]);
const pairs = hosts.flatMap(([from, sender]) =>
  hosts.map(([to, receiver]): [string, string, DatagramHost, DatagramHost] => [from, to, sender, receiver]),
);

/** A socket that keeps what it gets. */
async function open(host: DatagramHost, address = '127.0.0.1') {
  const got: Uint8Array[] = [];
  const state = { refused: 0 };
  const socket = await host.open({
    host: address,
    port: 0,
    onDatagram: (bytes) => got.push(bytes.slice()),
    onRefused: () => {
      state.refused += 1;
    },
  });
  return { socket, got, state };
}

async function connectBoth(left: DatagramSocket, right: DatagramSocket): Promise<void> {
  await left.connect(right.host, right.port);
  await right.connect(left.host, left.port);
}

/** Bytes that show where they belong. */
function numbered(bytes: number): Uint8Array {
  return new Uint8Array(65_536).map((_, at) => (at < bytes ? (at * 31 + (at >> 8)) & 0xff : 0));
}

const total = (parts: readonly Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);

describe.skipIf(offloaded === undefined)('segmentation offload', () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([
    ['at once', false],
    ['a turn later', true],
  ])('gives the buffer of a send that had to wait back when it is closed %s', async (_when, later) => {
    const [left, right] = [await open(offloaded!), await open(offloaded!)];
    await connectBoth(left.socket, right.socket);
    vi.spyOn(LibC.prototype, 'sendMessage').mockReturnValue(-1);
    vi.spyOn(LibC.prototype, 'failure').mockReturnValue('EAGAIN');
    let sent = 0;
    left.socket.send(numbered(3_000), 3_000, 1_200, undefined, () => {
      sent += 1;
    });
    if (later) await eventually('all is there', () => total(right.got) === 3_000);
    await left.socket.close();
    expect(sent).toBe(1);
    await right.socket.close();
  });

  it('works on this machine', () => {
    expect(offloaded?.offload).toBe(true);
  });
});

describe.each(pairs)('from a host %s to one %s', (_from, _to, sender, receiver) => {
  it.each([
    ['one datagram', 1_000, 1_000],
    ['equal segments', 12_000, 1_200],
    ['a shorter last segment', 10_001, 1_200],
    ['44 Ethernet-sized segments', 44 * 1_472, 1_472],
    ['one large datagram', 62_000, 62_000],
  ])('carries %s', async (_what, bytes, segmentBytes) => {
    const [left, right] = [await open(sender), await open(receiver)];
    await connectBoth(left.socket, right.socket);
    const buffer = numbered(bytes);
    let sent = 0;
    left.socket.send(buffer, bytes, segmentBytes, undefined, () => {
      sent += 1;
    });
    await eventually('all is there', () => total(right.got) === bytes);
    expect(Buffer.concat(right.got).equals(buffer.subarray(0, bytes))).toBe(true);
    // Glued or not, what arrives ends where datagrams end.
    for (const part of right.got.slice(0, -1)) expect(part.length % segmentBytes).toBe(0);
    expect(sent).toBe(1);
    await Promise.all([left.socket.close(), right.socket.close()]);
  });

  it('carries to an address before it is connected', async () => {
    const [left, right] = [await open(sender), await open(receiver)];
    left.socket.send(numbered(500), 500, 500, { host: '127.0.0.1', port: right.socket.port }, undefined);
    await eventually('it is there', () => total(right.got) === 500);
    await Promise.all([left.socket.close(), right.socket.close()]);
  });

  it('takes nothing from others once it is connected [SES-2]', async () => {
    const [left, right, other] = [await open(sender), await open(receiver), await open(sender)];
    await connectBoth(left.socket, right.socket);
    const to = { host: '127.0.0.1', port: right.socket.port };
    other.socket.send(numbered(100), 100, 100, to, undefined);
    left.socket.send(numbered(200), 200, 200, undefined, undefined);
    await eventually('the peer is heard', () => right.got.length > 0);
    expect(right.got.map((part) => part.length)).toEqual([200]);
    await Promise.all([left, right, other].map(({ socket }) => socket.close()));
  });

  it('says that the peer has closed its port', async () => {
    const [left, right] = [await open(sender), await open(receiver)];
    await connectBoth(left.socket, right.socket);
    await right.socket.close();
    await eventually('it is refused', () => {
      left.socket.send(numbered(10), 10, 10, undefined, undefined);
      return left.state.refused > 0;
    });
    await left.socket.close();
  });

  it('carries over IPv6', async () => {
    const [left, right] = [await open(sender, '::1'), await open(receiver, '::1')];
    await connectBoth(left.socket, right.socket);
    left.socket.send(numbered(5_000), 5_000, 1_232, undefined, undefined);
    await eventually('all is there', () => total(right.got) === 5_000);
    expect(Buffer.concat(right.got).equals(numbered(5_000).subarray(0, 5_000))).toBe(true);
    await Promise.all([left.socket.close(), right.socket.close()]);
  });
});

describe.each(hosts)('a host %s', (_name, host) => {
  it('says what is known of its buffer, and where it is bound', async () => {
    const { socket } = await open(host);
    expect(socket.receiveBufferBytes).toBeGreaterThan(60_000);
    expect(socket.host).toBe('127.0.0.1');
    expect(socket.port).toBeGreaterThan(0);
    await socket.close();
  });

  it('names a port that is taken', async () => {
    const { socket } = await open(host);
    const options = { host: '127.0.0.1', port: socket.port, onDatagram() {}, onRefused() {} };
    await expect(host.open(options)).rejects.toMatchObject({
      code: 'GRAMLINE_IN_USE',
      message: expect.stringContaining(String(socket.port)),
    });
    await socket.close();
  });

  it('names an address that this machine has not', async () => {
    const options = { host: '203.0.113.7', port: 0, onDatagram() {}, onRefused() {} };
    await expect(host.open(options)).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
  });

  it('gives the buffer back even when it is closed, and closes once', async () => {
    const { socket } = await open(host);
    await Promise.all([socket.close(), socket.close()]);
    let sent = 0;
    socket.send(new Uint8Array(10), 10, 10, { host: '127.0.0.1', port: 9 }, () => {
      sent += 1;
    });
    expect(sent).toBe(1);
  });

  it('frees its descriptor and its port', async () => {
    const { socket } = await open(host);
    await socket.close();
    const again = await host.open({
      host: '127.0.0.1',
      port: socket.port,
      onDatagram() {},
      onRefused() {},
    });
    expect(again.port).toBe(socket.port);
    await again.close();
  });
});
