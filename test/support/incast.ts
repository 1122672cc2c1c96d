/**
 * Many senders, one receiver, whole sessions in virtual time: every sender streams one object to the
 * receiver at once, over a switch port of finite rate and queue, while the receiver asks queries.
 */

import type { LinkFaults } from '../../sim/faults.ts';
import { NO_FAULTS } from '../../sim/faults.ts';
import type { ReceiveLimits, SwitchPort } from '../../sim/queues.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { type NetworkStatistics, VirtualNetwork } from '../../sim/virtual-network.ts';
import { seconds } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import { FLOW_WINDOW_BYTES } from '../../src/session/index.ts';
import { UdpTransport } from '../../src/udp/transport.ts';
import { RECORD_BYTES_MAX, Role } from '../../src/wire/index.ts';
import { frontSecret, SECRET, SILENT } from './transport.ts';

const RECEIVER = '10.0.0.1';
const ECHO = 1;
const STREAM = 2;
const STEPS_MAX = 20_000_000;

export interface IncastOptions {
  readonly seed?: number;
  readonly senders: number;
  readonly bytesEach: number;
  readonly port: SwitchPort;
  readonly receive?: ReceiveLimits;
  readonly faults?: Partial<LinkFaults>;
  /** Time between one answer and the next query to the first sender; 0 asks none. */
  readonly queryEveryMicros?: number;
}

export interface Incast {
  /** Plaintext that arrived, of what the port could carry, until the last flow was over. */
  readonly share: number;
  /** When each flow was over, from the start. */
  readonly endsMicros: readonly number[];
  readonly queryMicros: readonly number[];
  readonly statistics: NetworkStatistics;
}

export async function incast(options: IncastOptions): Promise<Incast> {
  const clock = new VirtualClock();
  const random = new Random(options.seed ?? 1);
  const network = new VirtualNetwork(clock, random, { ...NO_FAULTS, ...options.faults });
  const transport = (ip: string): UdpTransport => {
    const entropy = random.fork(`entropy ${ip}`);
    return new UdpTransport({
      host: network.host(ip),
      clock,
      entropy: { bytes: (count) => entropy.bytes(count), fraction: () => entropy.fraction() },
      suite: nodeSuite,
      secrets: [frontSecret(SECRET)],
      defer: (run) => clock.schedule(0, run),
      resolve: async (name) => name,
      datagramBytesMax: 1_472,
      log: SILENT,
    });
  };
  network.setPort(RECEIVER, options.port);
  if (options.receive !== undefined) network.setReceiveLimits(RECEIVER, options.receive);
  const receiver = transport(RECEIVER);
  let over = false;
  const play = async (): Promise<Omit<Incast, 'statistics'>> => {
    const connections: Connection[] = [];
    for (let index = 0; index < options.senders; index++) {
      const address = `10.0.1.${index + 1}:7400`;
      await transport(address.split(':')[0]!).listen({
        address,
        role: Role.NODE,
        clusterId: new Uint8Array(16),
        onConnection: (connection) => answer(connection, options.bytesEach),
      });
      connections.push(await receiver.connect({ address, role: Role.CLIENT }));
    }
    const startedAt = clock.now();
    const queryMicros: number[] = [];
    let streaming = true;
    const asking = async (): Promise<void> => {
      while (streaming && options.queryEveryMicros) {
        const askedAt = clock.now();
        await connections[0]!.query(ECHO, new Uint8Array(8));
        queryMicros.push(clock.now() - askedAt);
        await clock.sleep(options.queryEveryMicros);
      }
    };
    const asked = asking();
    const endsMicros = await Promise.all(
      connections.map(async (connection) => {
        const call = connection.call(STREAM, new Uint8Array(0), {
          receives: true,
          timeoutMicros: seconds(100),
        });
        await call.reply;
        let bytes = 0;
        for (let isLast = false; !isLast; ) {
          const record = await call.receive.next();
          bytes += record!.plainBytes;
          isLast = record!.dataLeft === 0;
        }
        if (bytes !== options.bytesEach) throw new Error(`a flow brought ${bytes} bytes`);
        return clock.now() - startedAt;
      }),
    );
    streaming = false;
    await asked;
    over = true;
    const span = Math.max(...endsMicros);
    const carried = (options.port.bytesPerSecond * span) / 1_000_000;
    return { share: (options.bytesEach * options.senders) / carried, endsMicros, queryMicros };
  };
  let failure: unknown;
  const playing = play().catch((error: unknown) => {
    failure = error;
    over = true;
    return undefined;
  });
  const result = await clock.run({ until: () => over, untilMicros: seconds(300), stepsMax: STEPS_MAX });
  if (result !== 'done') throw new Error(`seed ${options.seed ?? 1}: no end of it: ${result}`);
  const played = await playing;
  if (played === undefined) throw failure;
  return { ...played, statistics: network.statistics };
}

/** A sender: streams `bytes` when asked, and answers queries. */
function answer(connection: Connection, bytes: number): void {
  connection.onQuery = (query) => {
    if (query.kind !== STREAM) return query.reply(0);
    const flow = query.send(FLOW_WINDOW_BYTES);
    query.reply(0);
    const payload = new Uint8Array(RECORD_BYTES_MAX);
    const stream = async (): Promise<void> => {
      for (let left = bytes; left > 0; ) {
        const plainBytes = Math.min(left, RECORD_BYTES_MAX);
        left -= plainBytes;
        await flow.write({
          encoding: 0,
          plainBytes,
          dataLeft: left,
          payload: payload.subarray(0, plainBytes),
        });
      }
    };
    void stream();
  };
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
