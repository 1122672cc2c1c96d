/**
 * The nodes that a coordinator knows: who is up, how much room each has, what is reserved there.
 * In memory only: nodes join again after a restart, and bring their inventory.
 */

import { toHex } from '../base/bytes.ts';
import { KIB } from '../base/units.ts';
import { encodeLocation, type Location, NodeState, type NodeStatus } from '../wire/index.ts';
import { NodeNumbers } from './node-numbers.ts';
import type { Placeable } from './placement.ts';
import type { Connection } from './ports.ts';

/** Nodes that one coordinator knows at most; one more is refused as busy. */
export const NODES_MAX = 4_096;

export interface MemberOptions {
  readonly nodeId: Uint8Array;
  readonly incarnation: number;
  readonly name: string;
  readonly address: string;
  readonly quotaBytes: number;
  readonly freeBytes: number;
  readonly offload: boolean;
}

/** A node, up or down. */
export class Member implements Placeable {
  readonly nodeId: Uint8Array;
  incarnation: number;
  name: string;
  address: string;
  quotaBytes: number;
  freeBytes: number;
  offload: boolean;
  objects = 0;
  full = false;
  /** Undefined while it is down. */
  connection: Connection | undefined;
  /** Space that is promised and not yet stored. */
  reservedBytes = 0;
  /** The reply that named this node last, and where in its table: scratch of `locator.ts`. */
  namedIn = 0;
  namedAs = 0;
  #encodedAddress: string | undefined;
  #encodedLocation: Uint8Array = new Uint8Array();

  constructor(options: MemberOptions) {
    this.nodeId = options.nodeId;
    this.incarnation = options.incarnation;
    this.name = options.name;
    this.address = options.address;
    this.quotaBytes = options.quotaBytes;
    this.freeBytes = options.freeBytes;
    this.offload = options.offload;
  }

  get isUp(): boolean {
    return this.connection !== undefined;
  }

  get availableBytes(): number {
    return this.full ? 0 : Math.max(0, this.freeBytes - this.reservedBytes);
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

  get status(): NodeStatus {
    return {
      nodeId: this.nodeId,
      name: this.name,
      address: this.address,
      state: !this.isUp ? NodeState.DOWN : this.full ? NodeState.FULL : NodeState.UP,
      quotaBytes: this.quotaBytes,
      freeBytes: this.availableBytes,
      objects: this.objects,
      offload: this.offload,
    };
  }
}

export class Membership {
  readonly #members = new Map<string, Member>();
  readonly #numbers: NodeNumbers;
  /** The same members by the number of their id; holes where an id is not of a member. */
  readonly #byNumber: (Member | undefined)[] = [];

  /** @param numbers Those by which objects name the nodes that hold them. */
  constructor(numbers: NodeNumbers = new NodeNumbers()) {
    this.#numbers = numbers;
  }

  get all(): readonly Member[] {
    return [...this.#members.values()];
  }

  get up(): readonly Member[] {
    return this.all.filter((member) => member.isUp);
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
  admit(options: MemberOptions, connection: Connection): Member {
    const key = toHex(options.nodeId);
    const member = this.#members.get(key) ?? new Member(options);
    Object.assign(member, options, { connection, full: false });
    this.#members.set(key, member);
    const number = this.#numbers.of(options.nodeId);
    if (number !== undefined) {
      while (this.#byNumber.length < number) this.#byNumber.push(undefined);
      this.#byNumber[number] = member;
    }
    return member;
  }
}

/** Space is accounted in KiB, rounded up, as the seed's table has it [DEFS-7]. */
export function accountedBytes(bytes: number): number {
  return Math.ceil(bytes / KIB) * KIB;
}
