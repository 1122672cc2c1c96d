import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { payloadBytesTo } from '../../src/udp/interfaces.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import { ResultCode, Role } from '../../src/wire/index.ts';
import { loopbackTransport } from '../support/transport.ts';

const isLinux = process.platform === 'linux';

describe('the payload that an interface carries', () => {
  it.runIf(isLinux)('is the MTU of loopback less the headers, for loopback', () => {
    const mtu = Number(readFileSync('/sys/class/net/lo/mtu', 'utf8'));
    expect(payloadBytesTo('127.0.0.1')).toBe(mtu - 28);
    expect(payloadBytesTo('127.1.2.3')).toBe(mtu - 28);
  });

  it.runIf(isLinux)('is that of loopback for our own addresses, and of the interface for neighbours', () => {
    for (const [name, addresses] of Object.entries(networkInterfaces())) {
      for (const { family, address, internal, cidr } of addresses ?? []) {
        if (family !== 'IPv4' || internal || cidr === null) continue;
        const lo = Number(readFileSync('/sys/class/net/lo/mtu', 'utf8'));
        const mtu = Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'));
        expect(payloadBytesTo(address)).toBe(lo - 28);
        if (cidr.endsWith('/32')) continue;
        const neighbour = address.replace(/\d+$/, (last) => String(Number(last) ^ 1));
        expect(payloadBytesTo(neighbour)).toBe(mtu - 28);
      }
    }
  });

  it('is unknown for a host that no interface is in a network with', () => {
    expect(payloadBytesTo('203.0.113.77')).toBeUndefined();
  });

  it('bounds the size that is probed [MTU-7]', async () => {
    const sent: number[] = [];
    const host = {
      ...plainHost,
      payloadBytesTo: () => 3_000,
      open: async (options: Parameters<typeof plainHost.open>[0]) => {
        const socket = await plainHost.open(options);
        const { send } = socket;
        return {
          ...socket,
          send: (...args: Parameters<typeof send>) => {
            sent.push(args[2]);
            send(...args);
          },
        };
      },
    };
    const server = loopbackTransport();
    const listener = await server.listen({
      address: '127.0.0.1:0',
      role: Role.NODE,
      clusterId: new Uint8Array(16),
      onConnection: (peer) => {
        peer.onQuery = async (query) => {
          const flow = query.receive();
          while ((await flow.next()) !== undefined);
          query.reply(ResultCode.OK);
        };
      },
    });
    const connection = await loopbackTransport({ host }).connect({
      address: listener.address,
      role: Role.CLIENT,
    });
    const call = connection.call(32, new Uint8Array(0), { sends: true });
    for (let left = 40; left >= 0; left--) {
      await call.send.write({
        encoding: 0,
        plainBytes: 60_000,
        dataLeft: left * 60_000,
        payload: new Uint8Array(60_000),
      });
    }
    expect((await call.reply).code).toBe(ResultCode.OK);
    expect(Math.max(...sent)).toBe(1_472);
    await connection.close();
    await listener.close();
  });

  it('leaves sessions within a configured range of ports [SES-1]', async () => {
    const sessionPorts = { first: 42_100, last: 42_140 };
    const ports: number[] = [];
    const server = loopbackTransport({ sessionPorts });
    const listener = await server.listen({
      address: '127.0.0.1:0',
      role: Role.NODE,
      clusterId: new Uint8Array(16),
      onConnection: () => undefined,
    });
    const client = loopbackTransport();
    const connections = await Promise.all(
      Array.from({ length: 5 }, () => client.connect({ address: listener.address, role: Role.CLIENT })),
    );
    for (const connection of connections) ports.push(connection.peerPort);
    for (const port of ports) {
      expect(port).toBeGreaterThanOrEqual(sessionPorts.first);
      expect(port).toBeLessThanOrEqual(sessionPorts.last);
    }
    expect(new Set(ports).size).toBe(ports.length);
    await Promise.all(connections.map((connection) => connection.close()));
    await listener.close();
  });
});
