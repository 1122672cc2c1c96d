/**
 * A run as one document of the qlog kind: a trace for each machine, and one for the network, with events
 * of a time, a name and data. Programs that read qlog find packets and recovery; what is ours alone has
 * the prefix `gramline`.
 */

import { type Fate, packetNames, type SessionMeasures, type TraceObserver } from './trace.ts';
import type { Address } from './virtual-network.ts';

/** Events of one document; of more only their number is told. */
export const QLOG_EVENTS_MAX = 1_000_000;

interface QlogEvent {
  /** Milliseconds since the start. */
  readonly time: number;
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Gathers a run. */
export class QlogDocument implements TraceObserver {
  readonly #traces = new Map<string, QlogEvent[]>();
  /** What each session was told to measure last, so that only news is written. */
  readonly #measures = new Map<string, string>();
  #events = 0;
  #left = 0;

  onEvent(nowMicros: number, who: string, what: string): void {
    this.#add('events', nowMicros, 'gramline:event', { who, what });
  }

  onDatagram(
    nowMicros: number,
    fate: Fate,
    from: Address,
    to: Address,
    bytes: Uint8Array,
    reason?: string,
  ): void {
    const data = {
      header: { packet_type: packetNames(bytes) },
      raw: { length: bytes.length },
      from: addressOf(from),
      to: addressOf(to),
    };
    if (fate === 'sent') return this.#add(from.host, nowMicros, 'transport:packet_sent', data);
    if (fate === 'received') return this.#add(to.host, nowMicros, 'transport:packet_received', data);
    this.#add('network', nowMicros, 'transport:packet_dropped', { ...data, trigger: reason });
  }

  onSession(nowMicros: number, from: Address, to: Address, session: SessionMeasures): void {
    const data = {
      smoothed_rtt: session.rttMicros / 1000,
      packets_in_flight: session.memory.packetsInFlight,
      datagram_size: session.datagramBytes,
    };
    const key = `${addressOf(from)} ${addressOf(to)}`;
    const text = JSON.stringify(data);
    if (this.#measures.get(key) === text) return;
    this.#measures.set(key, text);
    this.#add(from.host, nowMicros, 'recovery:metrics_updated', { session: key, ...data });
  }

  /** The document. */
  toJSON(): Readonly<Record<string, unknown>> {
    const traces = [...this.#traces].map(([name, events]) => ({
      vantage_point: { name, type: name === 'network' || name === 'events' ? 'network' : 'server' },
      common_fields: { time_format: 'relative', reference_time: 0, protocol_type: ['GRAMLINE'] },
      events,
    }));
    return {
      qlog_version: '0.3',
      qlog_format: 'JSON',
      title: 'gramline sim',
      ...(this.#left === 0 ? {} : { events_left_out: this.#left }),
      traces,
    };
  }

  #add(trace: string, nowMicros: number, name: string, data: QlogEvent['data']): void {
    if (this.#events >= QLOG_EVENTS_MAX) {
      this.#left += 1;
      return;
    }
    this.#events += 1;
    let events = this.#traces.get(trace);
    if (events === undefined) {
      events = [];
      this.#traces.set(trace, events);
    }
    events.push({ time: nowMicros / 1000, name, data });
  }
}

function addressOf({ host, port }: Address): string {
  return `${host}:${port}`;
}
