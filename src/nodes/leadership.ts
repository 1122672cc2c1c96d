/**
 * Who leads: at most one coordinator of a cluster, by a lease of the shared state [LEAD-1].
 *
 *   following -- nobody leads: take a lease, commit under comparison --> leading (a new epoch)
 *   leading -- lease not renewed in time --> suspended -- renewed after all --> leading
 *   leading, suspended -- the state names another, or nobody --> following
 *
 * Time is counted from before the engine was asked, so that the lease here never outlasts the one there.
 * What a leader commits compares the record that names it: once another leads, nothing that this one
 * began takes effect [LEAD-2].
 */

import { concatBytes, equalBytes } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import { ADDRESS_BYTES_MAX, Reader, SECRET_ID_BYTES, text8Size, Writer } from '../wire/index.ts';
import type {
  Clock,
  CommitResult,
  Comparison,
  Entropy,
  Log,
  StateLease,
  StateOperation,
  StateStore,
} from './ports.ts';
import { sleep, toldSeldom } from './roles.ts';
import { COORDINATOR_END, COORDINATOR_PREFIX, EPOCH_KEY, isBehind, LEADER_KEY } from './state-keys.ts';
import type { StateWriter } from './state-writer.ts';

/** How long a leader that is not heard of still leads, where others could take over. */
export const LEADER_LEASE_MICROS: Micros = seconds(2);
/** The same where the state is one coordinator's own: nobody else can write there. */
const LONE_LEASE_MICROS: Micros = seconds(3_600);
/** Renewals in one lease. */
const RENEWALS = 4;
/** What the clocks of two machines may differ by within one lease, as a part of it. */
const DRIFT_DIVISOR = 50;
/** Before the first try to lead, so that not all try at once; and between tries that failed, doubled up to the most. */
const CAMPAIGN_MICROS: Micros = millis(50);
const CAMPAIGN_MICROS_MAX: Micros = seconds(1);
/** Coordinators of one cluster that are known at most. */
export const COORDINATORS_KNOWN_MAX = 64;

const ID_BYTES = 8;
const RECORD_VERSION = 1;
const PRESENCE_VERSION = 2;
const SECRETS_MAX = 16;

/** A coordinator as the state names it. */
export interface CoordinatorRecord {
  /** 8 bytes of chance, drawn at every start. */
  readonly id: Uint8Array;
  /** `host:port` of its front port. */
  readonly address: string;
  readonly offload: boolean;
  /** Ids of the secrets that it accepts, as they stand in every HELLO. */
  readonly secretIds: readonly Uint8Array[];
}

/** Who leads, and since when. */
export interface LeaderRecord {
  readonly epoch: number;
  readonly id: Uint8Array;
  readonly address: string;
}

export interface LeadershipOptions {
  readonly state: StateStore;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  /** `host:port` under which others reach this coordinator. */
  readonly address: string;
  readonly offload: boolean;
  /** Ids of the secrets that are accepted here; none: whoever has others is let be. */
  readonly secretIds?: readonly Uint8Array[] | undefined;
  /** A new epoch of this coordinator begins. */
  readonly onGained: (epoch: number) => void;
  /** It is over. */
  readonly onLost: () => void;
}

export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #id: Uint8Array;
  readonly #stop = new AbortController();
  readonly #leaseMicros: Micros;
  readonly #stopWatching: () => void;
  #lease: StateLease | undefined;
  /** Until when the lease surely holds, as it was renewed last. */
  #validUntil: Micros = micros(0);
  /** Who leads, as the state has it. */
  #leader: LeaderRecord | undefined;
  /** The record under which this coordinator leads, or led until now. */
  #mine: Uint8Array | undefined;
  #epoch = 0;
  /** Wakes the loop: the leader has changed. */
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  readonly #tellFailure: (error: unknown) => void;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    const { state, entropy, clock, log } = options;
    this.#tellFailure = toldSeldom(clock, (reason) =>
      log.warn('the shared state does not answer', { reason }),
    );
    this.#id = entropy.bytes(ID_BYTES);
    this.#leaseMicros = state.isShared ? LEADER_LEASE_MICROS : LONE_LEASE_MICROS;
    this.#leader = decodeLeader(state.get(LEADER_KEY));
    this.#stopWatching = state.watch(state.revision, (changes) => {
      for (const { key, value } of changes) {
        if (equalBytes(key, LEADER_KEY)) this.#onLeader(value);
      }
    });
  }

  /**
   * Begins to try. Resolves after the first try: a lone coordinator leads then.
   *
   * @throws GRAMLINE_DENIED when a coordinator runs on this state that accepts none of our secrets [LEAD-12]
   */
  async start(): Promise<void> {
    this.#requireSameSecret();
    const tried = this.#try().catch((error: unknown) => this.#onFailure(error));
    await tried;
    this.#running = this.#run();
  }

  /** Whether this coordinator is named as the leader, and its lease surely holds. */
  get isLeading(): boolean {
    return this.#mine !== undefined && this.#options.clock.now() < this.#validUntil;
  }

  /** Whether it is named as the leader, and could not renew its lease. */
  get isSuspended(): boolean {
    return this.#mine !== undefined && !this.isLeading;
  }

  /** The epoch in which this coordinator leads, or led last. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Who leads, as far as is known here. */
  get leader(): LeaderRecord | undefined {
    return this.#leader;
  }

  /** All coordinators that run, as far as is known here. */
  get coordinators(): (CoordinatorRecord & { readonly isSelf: boolean })[] {
    const found: (CoordinatorRecord & { readonly isSelf: boolean })[] = [];
    const { state } = this.#options;
    for (const [key, value] of state.range(COORDINATOR_PREFIX, COORDINATOR_END, COORDINATORS_KNOWN_MAX)) {
      const record = isBehind(key, COORDINATOR_PREFIX)
        ? decodeCoordinator(key.subarray(1), value)
        : undefined;
      if (record !== undefined) found.push({ ...record, isSelf: equalBytes(record.id, this.#id) });
    }
    return found;
  }

  /**
   * Commits under this epoch.
   *
   * @throws GRAMLINE_NOT_LEADER when this coordinator does not lead, or not any more: then nothing has changed
   */
  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    const mine = this.#mine;
    if (mine === undefined || !this.isLeading) throw this.notLeading();
    const fence = { key: LEADER_KEY, equals: mine };
    const result = await this.#options.state.commit([fence, ...compare], operations);
    if (!result.ok && !this.#isNamed(mine)) {
      throw this.notLeading();
    }
    return result;
  }

  /** Commits under one epoch of this coordinator, and under none after it. */
  writerOf(epoch: number): StateWriter {
    return {
      commit: async (compare, operations) => {
        if (this.#epoch !== epoch) throw this.notLeading();
        return this.commit(compare, operations);
      },
    };
  }

  /** Why a query that only a leader answers is refused: another leads, or nobody can say yet. */
  notLeading(): GramlineError {
    if (this.isSuspended) {
      return new GramlineError('GRAMLINE_BUSY', 'the shared state is out of reach: try again', {
        retryable: true,
      });
    }
    return new GramlineError('GRAMLINE_NOT_LEADER', 'another coordinator leads: ask that one', {
      retryable: true,
    });
  }

  /** Gives the leadership up, so that another need not wait for its lease to end. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#running;
    this.#stopWatching();
    const mine = this.#mine;
    this.#mine = undefined;
    const present = { key: this.#presenceKey, value: undefined };
    try {
      // One that cannot be reached any more lets both end by itself.
      if (mine === undefined) {
        if (this.#lease !== undefined) await this.#options.state.commit([], [present]);
        return;
      }
      const fence = { key: LEADER_KEY, equals: mine };
      await this.#options.state.commit([fence], [{ key: LEADER_KEY, value: undefined }, present]);
    } catch (error) {
      this.#options.log.info('the leadership ends by its lease', { reason: String(error) });
    }
  }

  #requireSameSecret(): void {
    const { secretIds: own = [] } = this.#options;
    if (own.length === 0) return;
    for (const { address, secretIds } of this.coordinators) {
      const isShared = secretIds.some((id) => own.some((mine) => equalBytes(id, mine)));
      if (isShared || secretIds.length === 0) continue;
      throw new GramlineError(
        'GRAMLINE_DENIED',
        `the coordinator at ${address} runs on this state with another secret: all of them need the same secret file`,
      );
    }
  }

  get #presenceKey(): Uint8Array {
    return concatBytes(COORDINATOR_PREFIX, this.#id);
  }

  async #run(): Promise<void> {
    const { clock, entropy } = this.#options;
    const { signal } = this.#stop;
    let wait = CAMPAIGN_MICROS;
    while (!signal.aborted) {
      const isIdle = this.#mine !== undefined || this.#leader !== undefined;
      const pause = isIdle ? this.#leaseMicros / RENEWALS : wait * (0.5 + entropy.fraction());
      await sleep(clock, micros(Math.round(pause)), this.#wake.signal);
      if (signal.aborted) return;
      // What woke us may be that nobody leads: then a moment's chance decides who tries first.
      if (this.#wake.signal.aborted) {
        this.#wake = new AbortController();
        wait = CAMPAIGN_MICROS;
        continue;
      }
      try {
        await this.#try();
        wait = CAMPAIGN_MICROS;
      } catch (error) {
        wait = micros(Math.min(2 * wait, CAMPAIGN_MICROS_MAX));
        this.#onFailure(error);
      }
    }
  }

  /** Keeps the lease; leads where nobody does. */
  async #try(): Promise<void> {
    await this.#renew();
    if (this.#mine === undefined && this.#leader === undefined) await this.#campaign();
  }

  /** Renews the lease that says that this coordinator is there, or takes a new one. */
  async #renew(): Promise<void> {
    const { state, clock } = this.#options;
    const lease = this.#lease;
    if (lease !== undefined) {
      const askedAt = clock.now();
      if (await state.keepAlive(lease)) return this.#hold(askedAt);
      mark('leader-lease-lost');
      this.#lease = undefined;
      // What it kept has gone, or goes at any moment.
      if (this.#mine !== undefined) this.#lose();
    }
    const askedAt = clock.now();
    const fresh = await state.lease(this.#leaseMicros);
    const value = encodeCoordinator(this.#options);
    await state.commit([], [{ key: this.#presenceKey, value, lease: fresh }]);
    this.#lease = fresh;
    this.#hold(askedAt);
  }

  #hold(askedAt: Micros): void {
    const { isSuspended } = this;
    this.#validUntil = micros(askedAt + this.#leaseMicros - this.#leaseMicros / DRIFT_DIVISOR);
    if (isSuspended && this.isLeading) mark('leader-resumed');
  }

  async #campaign(): Promise<void> {
    const { state, log, address } = this.#options;
    // Somebody leads whose record this version cannot read.
    if (state.get(LEADER_KEY) !== undefined) return;
    const before = state.get(EPOCH_KEY);
    const epoch = (before === undefined ? 0 : new Reader(before).u48()) + 1;
    const record = encodeLeader({ epoch, id: this.#id, address });
    const compare = [
      { key: LEADER_KEY, equals: undefined },
      { key: EPOCH_KEY, equals: before },
    ];
    const operations = [
      { key: LEADER_KEY, value: record, lease: this.#lease },
      { key: EPOCH_KEY, value: encodeEpoch(epoch) },
    ];
    // Leading begins before the commit is answered: the watch tells first.
    await state.commit(compare, operations);
    if (this.#mine !== undefined) log.info('this coordinator leads', { epoch });
  }

  #onLeader(value: Uint8Array | undefined): void {
    const { onGained } = this.#options;
    this.#leader = decodeLeader(value);
    if (this.#mine !== undefined && !equalMaybe(this.#mine, value)) this.#lose();
    const isMine = this.#leader !== undefined && equalBytes(this.#leader.id, this.#id);
    // A commit of ours whose answer was lost may be told later, and is as good.
    if (isMine && this.#mine === undefined && !this.#stop.signal.aborted) {
      this.#mine = value;
      this.#epoch = this.#leader!.epoch;
      if (this.#epoch > 1) mark('leader-new-epoch');
      onGained(this.#epoch);
    }
    this.#wake.abort();
  }

  #lose(): void {
    this.#mine = undefined;
    mark('leader-lost');
    this.#options.log.warn('this coordinator leads no longer', { epoch: this.#epoch });
    this.#options.onLost();
  }

  #isNamed(mine: Uint8Array): boolean {
    return equalMaybe(mine, this.#options.state.get(LEADER_KEY));
  }

  #onFailure(error: unknown): void {
    if (!this.#stop.signal.aborted) this.#tellFailure(error);
  }
}

function equalMaybe(left: Uint8Array, right: Uint8Array | undefined): boolean {
  return right !== undefined && equalBytes(left, right);
}

function encodeEpoch(epoch: number): Uint8Array {
  const writer = new Writer(new Uint8Array(6));
  writer.u48(epoch);
  return writer.buffer;
}

function encodeLeader({ epoch, id, address }: LeaderRecord): Uint8Array {
  const writer = new Writer(new Uint8Array(1 + 6 + ID_BYTES + text8Size(address)));
  writer.u8(RECORD_VERSION);
  writer.u48(epoch);
  writer.fixed(id, ID_BYTES);
  writer.text8(address);
  return writer.buffer;
}

/** Undefined when there is none, or none that this version can read. */
function decodeLeader(value: Uint8Array | undefined): LeaderRecord | undefined {
  if (value === undefined) return undefined;
  const reader = new Reader(value);
  const version = reader.u8();
  const record = { epoch: reader.u48(), id: reader.bytes(ID_BYTES).slice(), address: reader.text8() };
  return version === RECORD_VERSION && reader.failure === undefined ? record : undefined;
}

function encodeCoordinator({ address, offload, secretIds = [] }: LeadershipOptions): Uint8Array {
  const ids = secretIds.slice(0, SECRETS_MAX);
  const size = 1 + text8Size(address) + 1 + 1 + ids.length * SECRET_ID_BYTES;
  const writer = new Writer(new Uint8Array(size));
  writer.u8(PRESENCE_VERSION);
  writer.text8(address);
  writer.u8(offload ? 1 : 0);
  writer.u8(ids.length);
  for (const id of ids) writer.fixed(id, SECRET_ID_BYTES);
  return writer.buffer;
}

function decodeCoordinator(id: Uint8Array, value: Uint8Array): CoordinatorRecord | undefined {
  const reader = new Reader(value);
  const version = reader.u8();
  const address = reader.text8();
  const offload = reader.u8() === 1;
  const count = Math.min(reader.u8(), SECRETS_MAX);
  const secretIds = Array.from({ length: count }, () => reader.bytes(SECRET_ID_BYTES).slice());
  const isFit = text8Size(address) <= ADDRESS_BYTES_MAX + 1;
  if (version !== PRESENCE_VERSION || reader.failure !== undefined || !isFit) return undefined;
  return { id: id.slice(), address, offload, secretIds };
}
