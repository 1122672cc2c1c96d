/** A cluster on the virtual network with the text gateway in front of its coordinator. */

import { lookup } from 'node:dns/promises';
import { NO_FAULTS } from '../../sim/faults.ts';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { type VirtualHost, VirtualNetwork } from '../../sim/virtual-network.ts';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import { micros } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { DefsTextGateway } from '../../src/gateways/defs-text.ts';
import { Client, Coordinator, StorageNode } from '../../src/nodes/index.ts';
import type { Entropy } from '../../src/nodes/ports.ts';
import { lz4Compression, nodeHashing } from '../../src/store/index.ts';
import { UdpTransport } from '../../src/udp/index.ts';
import { frontSecret, SECRET, SILENT } from '../support/transport.ts';

export const HUB_IP = '10.10.10.10';
export const NODE_IP = '10.10.10.1';
const STEPS_MAX = 20_000_000;
const ADDRESS = /^[0-9.]+$/;

export interface TextCluster extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly coordinator: Coordinator;
  readonly gateway: DefsTextGateway;
  readonly client: Client;
  /** Runs virtual time until `work` is done. */
  settle<Result>(work: Promise<Result>): Promise<Result>;
  /** Lets virtual time pass. */
  pass(spanMicros: number): Promise<void>;
  /** Sends each request from a port of its own; the replies in the order of the requests, undefined where none came. */
  ask(requests: readonly (string | Uint8Array)[]): Promise<readonly (string | undefined)[]>;
}

/** Starts it with one node of `quotaBytes`. */
export async function openTextCluster(seed: number, quotaBytes: number): Promise<TextCluster> {
  const random = new Random(seed);
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, random, NO_FAULTS);
  const transportOn = (host: VirtualHost, name: string): UdpTransport =>
    new UdpTransport({
      host,
      clock,
      entropy: bound(random.fork(name)),
      suite: nodeSuite,
      secrets: [frontSecret(SECRET)],
      defer: (run) => clock.schedule(0, run),
      resolve: async (address) => (ADDRESS.test(address) ? address : (await lookup(address)).address),
      log: SILENT,
    });
  const settle = async <Result>(work: Promise<Result>): Promise<Result> => {
    let isDone = false;
    const finish = (): void => {
      isDone = true;
    };
    work.then(finish, finish);
    await clock.run({ until: () => isDone, stepsMax: STEPS_MAX });
    return work;
  };
  const pass = async (spanMicros: number): Promise<void> => {
    await clock.run({ untilMicros: micros(clock.now() + spanMicros), stepsMax: STEPS_MAX });
  };

  const hub = network.host(HUB_IP);
  const clusterId = random.bytes(16);
  const coordinator = await settle(
    Coordinator.open({
      transport: transportOn(hub, 'hub'),
      clock,
      entropy: random.fork('hub entropy'),
      suite: nodeSuite,
      state: new MemoryStateStore({ clusterId }),
      clusterId,
      admissionSecret: SECRET,
      listen: `${HUB_IP}:7400`,
      log: SILENT,
    }),
  );
  const node = await settle(
    StorageNode.open({
      transport: transportOn(network.host(NODE_IP), 'node'),
      clock,
      entropy: random.fork('node entropy'),
      suite: nodeSuite,
      store: new MemoryObjectStore({
        nodeId: random.bytes(16),
        quotaBytes,
        wallMillis: () => clock.wallMillis(),
      }),
      compression: lz4Compression,
      coordinators: [`${HUB_IP}:7400`],
      admissionSecret: SECRET,
      listen: `${NODE_IP}:7500`,
      name: 'n1',
      log: SILENT,
    }),
  );
  await settle(node.joined);
  const gateway = await settle(
    DefsTextGateway.open({
      host: hub,
      entropy: random.fork('gateway'),
      coordinator,
      listen: `${HUB_IP}:7403`,
      resolve: async (host) => host,
      log: SILENT,
    }),
  );
  const supervisor = network.host('10.10.10.99');
  const client = new Client({
    transport: transportOn(supervisor, 'client'),
    clock,
    entropy: random.fork('client entropy'),
    hashing: nodeHashing,
    compression: lz4Compression,
    coordinators: [`${HUB_IP}:7400`],
    log: SILENT,
  });

  return {
    clock,
    coordinator,
    gateway,
    client,
    settle,
    pass,
    async ask(requests) {
      const replies: (string | undefined)[] = requests.map(() => undefined);
      const sockets = await settle(
        Promise.all(
          requests.map((_, index) =>
            supervisor.open({
              host: supervisor.ip,
              port: 0,
              onDatagram: (bytes) => {
                replies[index] = `${replies[index] ?? ''}${fromUtf8(bytes)}`;
              },
              onRefused: () => undefined,
            }),
          ),
        ),
      );
      for (const [index, request] of requests.entries()) {
        const bytes = typeof request === 'string' ? utf8(request) : request;
        sockets[index]!.send(bytes, bytes.length, bytes.length, { host: HUB_IP, port: 7403 }, undefined);
      }
      await pass(10_000);
      await settle(Promise.all(sockets.map((socket) => socket.close())));
      return replies;
    },
    async [Symbol.asyncDispose]() {
      await settle(Promise.all([client.close(), gateway.close(), node.close()]));
      await settle(coordinator.close());
    },
  };
}

/** The same stream with methods that may be passed around alone. */
function bound(random: Random): Entropy {
  return { bytes: (count) => random.bytes(count), fraction: () => random.fraction() };
}
