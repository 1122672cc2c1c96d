/**
 * What a link of the virtual network does to datagrams: its faults, and its queue. Model: smoltcp's
 * fault injector. `virtual-network.ts` applies them.
 */

import type { Random } from './random.ts';

/** The faults of one direction between two hosts. Every one works alone. */
export interface LinkFaults {
  /** Least time that a datagram travels. */
  readonly delayMicros: number;
  /** Up to this much more, drawn for each datagram. Order is kept: jitter alone reorders nothing. */
  readonly jitterMicros: number;
  readonly lossProbability: number;
  readonly duplicateProbability: number;
  readonly reorderProbability: number;
  /** A reordered datagram arrives up to this much later than it would, behind others that overtake it. */
  readonly reorderMicros: number;
  /** One random bit of the datagram is turned. */
  readonly bitFlipProbability: number;
  /** A random tail of the datagram is lost, perhaps all of it. */
  readonly truncateProbability: number;
  /** Largest UDP payload; larger datagrams vanish. */
  readonly mtuBytes: number;
  /** 0 = unlimited. Counts the payload and {@link DATAGRAM_OVERHEAD_BYTES}. */
  readonly bytesPerSecond: number;
  /** Most bytes that wait for a limited link; what does not fit is dropped at the tail. */
  readonly queueBytes: number;
}

/** IPv4 and UDP headers, which take their share of a limited link. */
export const DATAGRAM_OVERHEAD_BYTES = 28;
/** What an IPv4 UDP datagram can hold. */
export const DATAGRAM_PAYLOAD_BYTES_MAX = 65_507;

/** A perfect link: 50 us, like a quiet LAN, and nothing else. */
export const NO_FAULTS: LinkFaults = {
  delayMicros: 50,
  jitterMicros: 0,
  lossProbability: 0,
  duplicateProbability: 0,
  reorderProbability: 0,
  reorderMicros: 0,
  bitFlipProbability: 0,
  truncateProbability: 0,
  mtuBytes: DATAGRAM_PAYLOAD_BYTES_MAX,
  bytesPerSecond: 0,
  queueBytes: 256 * 1024,
};

/** The worst that {@link drawFaults} may draw. */
export interface FaultLimits {
  readonly delayMicrosMax: number;
  readonly jitterMicrosMax: number;
  readonly lossMax: number;
  readonly duplicateMax: number;
  readonly reorderMax: number;
  readonly reorderMicrosMax: number;
  readonly bitFlipMax: number;
  readonly truncateMax: number;
  readonly mtuBytesMin: number;
  /** 0 = never a limited link. */
  readonly bytesPerSecondMin: number;
}

export const DEFAULT_FAULT_LIMITS: FaultLimits = {
  delayMicrosMax: 5_000,
  jitterMicrosMax: 2_000,
  lossMax: 0.3,
  duplicateMax: 0.2,
  reorderMax: 0.2,
  reorderMicrosMax: 5_000,
  bitFlipMax: 0.05,
  truncateMax: 0.05,
  mtuBytesMin: 1_200,
  bytesPerSecondMin: 1_000_000,
};

/** A link of 1 Gbit/s is the fastest of the limited ones that are drawn. */
const BYTES_PER_SECOND_MAX = 125_000_000;
const MTU_CHOICES_BYTES = [DATAGRAM_PAYLOAD_BYTES_MAX, 8_972, 1_472, 1_200] as const;

/**
 * Faults within `limits`. Each is off half of the time, so that seeds try the faults alone and in
 * all mixtures, not always all at once.
 */
export function drawFaults(random: Random, limits: Partial<FaultLimits> = {}): LinkFaults {
  const most = { ...DEFAULT_FAULT_LIMITS, ...limits };
  const upTo = (max: number): number => (random.chance(0.5) ? random.fraction() * max : 0);
  const microsUpTo = (max: number): number => Math.round(upTo(max));
  const mtuChoices = MTU_CHOICES_BYTES.filter((bytes) => bytes >= most.mtuBytesMin);
  const least = Math.min(most.bytesPerSecondMin, BYTES_PER_SECOND_MAX);
  const isLimited = least > 0 && random.chance(0.5);
  const limitedRate = Math.round(least * (BYTES_PER_SECOND_MAX / Math.max(least, 1)) ** random.fraction());
  return {
    delayMicros: Math.round(random.fraction() * most.delayMicrosMax),
    jitterMicros: microsUpTo(most.jitterMicrosMax),
    lossProbability: upTo(most.lossMax),
    duplicateProbability: upTo(most.duplicateMax),
    reorderProbability: upTo(most.reorderMax),
    reorderMicros: Math.round(random.fraction() * most.reorderMicrosMax),
    bitFlipProbability: upTo(most.bitFlipMax),
    truncateProbability: upTo(most.truncateMax),
    mtuBytes: mtuChoices.length > 0 ? random.pick(mtuChoices) : most.mtuBytesMin,
    bytesPerSecond: isLimited ? limitedRate : 0,
    queueBytes: 65_536 + random.integer(1_048_576),
  };
}

/** One direction between two hosts. Its draws are its own, so that links do not disturb each other. */
export class Link {
  readonly fromIp: string;
  readonly toIp: string;
  readonly random: Random;
  faults: LinkFaults;
  isCut = false;
  lastArrivalMicros = 0;
  #freeMicros = 0;

  constructor(fromIp: string, toIp: string, random: Random, faults: LinkFaults) {
    this.fromIp = fromIp;
    this.toIp = toIp;
    this.random = random;
    this.faults = faults;
  }

  /** When the last bit of a datagram has left, or undefined when the queue has no room for it. */
  depart(nowMicros: number, payloadBytes: number): number | undefined {
    const { bytesPerSecond, queueBytes } = this.faults;
    if (bytesPerSecond === 0) return nowMicros;
    const startMicros = Math.max(this.#freeMicros, nowMicros);
    const bytes = payloadBytes + DATAGRAM_OVERHEAD_BYTES;
    const waitingBytes = ((startMicros - nowMicros) * bytesPerSecond) / 1_000_000;
    // An idle link takes any datagram: the queue is for those that wait.
    if (waitingBytes > 0 && waitingBytes + bytes > queueBytes) return undefined;
    this.#freeMicros = startMicros + (bytes * 1_000_000) / bytesPerSecond;
    return this.#freeMicros;
  }

  arrive(departMicros: number): number {
    const { delayMicros, jitterMicros } = this.faults;
    const jitter = jitterMicros > 0 ? this.random.integer(jitterMicros + 1) : 0;
    return Math.max(departMicros + delayMicros + jitter, this.lastArrivalMicros);
  }
}
