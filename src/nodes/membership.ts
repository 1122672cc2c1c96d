/**
 * The nodes that a coordinator knows: who is up, how much room each has, what is reserved there.
 *
 * The leader hears from the nodes themselves, and writes who they are into the shared state; every other
 * coordinator reads it there [MEM-1].
 */

import { equalBytes, toHex } from '../base/bytes.ts';
import { KIB, type Micros } from '../base/units.ts';
import { encodeLocation, type Location, NodeState, type NodeStatus } from '../wire/index.ts';
import { decodeMember, decodeMemberOrder, type MemberRecord, memberKey, Standing } from './member-record.ts';
import { NodeNumbers } from './node-numbers.ts';
import type { Placeable } from './placement.ts';
import type { Connection, StateChange, StateStore } from './ports.ts';
import { isBehind, MEMBER_ORDER_KEY, NODE_END, NODE_PREFIX } from './state-keys.ts';

/** Nodes that one coordinator knows at most; one more is refused as busy. */
export const NODES_MAX = 4_096;
/** Nodes of which it is remembered that they were collected: who asks for older news is told all anew. */
export const COLLECTED_KEPT_MAX = 1_024;

/** What a node says of itself when it joins. */
export interface MemberOptions {
  readonly nodeId: Uint8Array;
  readonly incarnation: number;
  readonly name: string;
  readonly address: string;
  readonly quotaBytes: number;
  readonly freeBytes: number;
  readonly offload: boolean;
  readonly draining: boolean;
}

/** A node, up or not. */
export class Member implements Placeable {
  readonly nodeId: Uint8Array;
  incarnation = 0;
  name = '';
  address = '';
  quotaBytes = 0;
  freeBytes = 0;
  offload = false;
  draining = false;
  objects = 0;
  full = false;
  standing: Standing = Standing.DOWN;
  /** Wall-clock milliseconds since which it stands so. */
  sinceMillis = 0;
  /** Number of its last change that is news, as the state has it [MEM-3]. */
  changed = 0;
  /** Its session, at the leader; undefined where there is none. */
  connection: Connection | undefined;
  /** Asked in vain for a sign of life so often [MEM-2], last at `askedAt`. */
  tries = 0;
  askedAt: Micros | undefined;
  /** When it was sent something last because it was silent. */
  probedAt: Micros | undefined;
  /** Space that is promised and not yet stored. */
  reservedBytes = 0;
  /** The reply that named this node last, and where in its table: scratch of `locator.ts`. */
  namedIn = 0;
  namedAs = 0;
  #encodedAddress: string | undefined;
  #encodedLocation: Uint8Array = new Uint8Array();

  constructor(nodeId: Uint8Array) {
    this.nodeId = nodeId;
  }

  get isUp(): boolean {
    return this.standing === Standing.UP;
  }

  /** Whether new objects may be placed there: it is here, and has not said that it leaves. */
  get takes(): boolean {
    return this.connection !== undefined && !this.draining;
  }

  get availableBytes(): number {
    return this.full || this.draining ? 0 : Math.max(0, this.freeBytes - this.reservedBytes);
  }

  get location(): Location {
    return { nodeId: this.nodeId, address: this.address };
  }

  /** The location as it stands in a reply: node id and address. */
  get locationBytes(): Uint8Array {
    if (this.#encodedAddress !== this.address) {
      this.#encodedLocation = encodeLocation(this.location);
      this.#encodedAddress = this.address;
    }
    return this.#encodedLocation;
  }

  get state(): NodeState {
    if (this.standing === Standing.FAILED) return NodeState.FAILED;
    if (this.standing === Standing.DOWN) return NodeState.DOWN;
    if (this.draining) return NodeState.DRAINING;
    return this.full ? NodeState.FULL : NodeState.UP;
  }

  get status(): NodeStatus {
    return {
      nodeId: this.nodeId,
      name: this.name,
      address: this.address,
      state: this.state,
      quotaBytes: this.quotaBytes,
      freeBytes: this.availableBytes,
      objects: this.objects,
      offload: this.offload,
    };
  }

  get record(): MemberRecord {
    const { nodeId, incarnation, standing, draining, full, offload, sinceMillis, changed } = this;
    const { quotaBytes, freeBytes, objects, name, address } = this;
    return {
      ...{ nodeId, incarnation, standing, draining, full, offload, sinceMillis, changed },
      ...{ quotaBytes, freeBytes, objects, name, address },
    };
  }

  /** The node stands otherwise from now on. */
  stand(standing: Standing, wallMillis: number): void {
    if (this.standing !== standing) this.sinceMillis = wallMillis;
    this.standing = standing;
  }
}

/** The last change of a node: it is a member as it is now, or was collected. */
export interface LastChange {
  readonly changed: number;
  readonly member: Member;
  readonly isGone: boolean;
}

export class Membership {
  readonly #members = new Map<string, Member>();
  readonly #numbers: NodeNumbers;
  /** The same members by the number of their id; holes where an id is not of a member. */
  readonly #byNumber: (Member | undefined)[] = [];
  /** Nodes that are no members any more, oldest first. */
  #collected: LastChange[] = [];
  /** What {@link changes} tells, until something changes. */
  #changes: readonly LastChange[] | undefined;
  /** Of the last change that the state has told of. */
  #order = 0;
  /** Nodes that were collected up to this change are not all remembered. */
  #forgottenUpTo = 0;
  readonly #onChanged = new Set<() => void>();
  readonly #state: StateStore | undefined;
  /** Whether what is known here is newer than what the state says: at the leader, which writes that. */
  #isAuthority = false;

  /**
   * @param numbers Those by which objects name the nodes that hold them.
   * @param state Where the members are read from; default: there are none but those that are admitted.
   */
  constructor(numbers: NodeNumbers = new NodeNumbers(), state?: StateStore) {
    this.#numbers = numbers;
    this.#state = state;
  }

  /** Reads all members from the state, and follows it from then on; what is returned ends that. */
  follow(): () => void {
    const state = this.#state;
    if (state === undefined) return () => undefined;
    this.#read(state);
    this.#forgottenUpTo = this.#order;
    return state.watch(state.revision, (changes) => {
      let isChange = false;
      // Who is collected has no record: the change that did it came along.
      for (const { key, value } of changes) {
        if (equalBytes(key, MEMBER_ORDER_KEY)) this.#order = Math.max(this.#order, decodeMemberOrder(value));
      }
      for (const change of changes) {
        if (isBehind(change.key, NODE_PREFIX) && this.#apply(change)) isChange = true;
      }
      if (isChange) for (const tell of [...this.#onChanged]) tell();
    });
  }

  /** From now on this coordinator knows better than the state, or not any more: then it believes that again. */
  lead(isAuthority: boolean): void {
    this.#isAuthority = isAuthority;
    if (isAuthority || this.#state === undefined) return;
    this.#read(this.#state);
    // Whom this coordinator admitted as a leader, and could not make durable any more, is no member.
    for (const { nodeId } of this.all) {
      if (this.#state.get(memberKey(nodeId)) === undefined) this.#drop(nodeId);
    }
  }

  #read(state: StateStore): void {
    for (const [key, value] of state.range(NODE_PREFIX, NODE_END, NODES_MAX)) {
      this.#apply({ key, value });
    }
    this.#order = Math.max(this.#order, decodeMemberOrder(state.get(MEMBER_ORDER_KEY)));
  }

  /** Calls `tell` whenever the state says something new of members; what is returned ends that. */
  onChanged(tell: () => void): () => void {
    const own = (): void => tell();
    this.#onChanged.add(own);
    return () => {
      this.#onChanged.delete(own);
    };
  }

  get all(): readonly Member[] {
    return [...this.#members.values()];
  }

  get up(): readonly Member[] {
    return this.all.filter((member) => member.isUp);
  }

  /** The last change of each node that the state has told of, by its number and then by node id [MEM-3]. */
  get changes(): readonly LastChange[] {
    this.#changes ??= [
      ...this.all.map((member) => ({ changed: member.changed, member, isGone: false })),
      ...this.#collected,
    ]
      .filter(({ changed }) => changed > 0)
      .sort(
        (left, right) =>
          left.changed - right.changed || Buffer.compare(left.member.nodeId, right.member.nodeId),
      );
    return this.#changes;
  }

  /** Number of the last change that is known here [MEM-3]. */
  get order(): number {
    return this.#order;
  }

  /** Up to this change it is not known who was collected. */
  get forgottenUpTo(): number {
    return this.#forgottenUpTo;
  }

  get(nodeId: Uint8Array): Member | undefined {
    return this.#members.get(toHex(nodeId));
  }

  /** The member whose id has this number. */
  byNumber(number: number): Member | undefined {
    return this.#byNumber[number];
  }

  /** Whether one more node would be too many. */
  get full(): boolean {
    return this.#members.size >= NODES_MAX;
  }

  /** Takes a node in, or takes it in again under its new incarnation. */
  admit(options: MemberOptions, connection: Connection, wallMillis: number): Member {
    const member = this.#member(options.nodeId);
    Object.assign(member, options, {
      connection,
      full: false,
      tries: 0,
      askedAt: undefined,
      probedAt: undefined,
    });
    member.stand(Standing.UP, wallMillis);
    return member;
  }

  #member(nodeId: Uint8Array): Member {
    const key = toHex(nodeId);
    const known = this.#members.get(key);
    if (known !== undefined) return known;
    const member = new Member(nodeId);
    this.#members.set(key, member);
    const number = this.#numbers.of(nodeId);
    if (number !== undefined) {
      while (this.#byNumber.length < number) this.#byNumber.push(undefined);
      this.#byNumber[number] = member;
    }
    return member;
  }

  /** Takes what the state says of one member; whether that is news. */
  #apply({ key, value }: Pick<StateChange, 'key' | 'value'>): boolean {
    if (value === undefined) {
      this.#collect(key.subarray(1));
      return true;
    }
    const record = decodeMember(key, value);
    // One that a newer version wrote stays as it was.
    if (record === undefined || (this.full && this.get(record.nodeId) === undefined)) return false;
    const isNew = this.get(record.nodeId) === undefined;
    const member = this.#member(record.nodeId);
    const isNews = isNew || member.changed !== record.changed;
    this.#order = Math.max(this.#order, record.changed);
    if (isNews) this.#changes = undefined;
    if (isNew || !this.#isAuthority) Object.assign(member, record);
    // At the leader, too, something is news when it is durable.
    else member.changed = record.changed;
    return isNews;
  }

  #drop(nodeId: Uint8Array): void {
    this.#changes = undefined;
    this.#members.delete(toHex(nodeId));
    const number = this.#numbers.of(nodeId);
    if (number !== undefined) this.#byNumber[number] = undefined;
  }

  #collect(nodeId: Uint8Array): void {
    const member = this.#members.get(toHex(nodeId));
    if (member === undefined) return;
    // It is here again already: its record is on its way.
    if (member.connection !== undefined) return;
    this.#drop(nodeId);
    this.#collected.push({ changed: this.#order, member, isGone: true });
    if (this.#collected.length <= COLLECTED_KEPT_MAX) return;
    this.#forgottenUpTo = this.#collected[0]!.changed;
    this.#collected = this.#collected.slice(1);
  }
}

/** Space is accounted in KiB, rounded up, as the seed's table has it [DEFS-7]. */
export function accountedBytes(bytes: number): number {
  return Math.ceil(bytes / KIB) * KIB;
}
