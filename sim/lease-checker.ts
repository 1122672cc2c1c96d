/**
 * A second, plainly kept ledger of what the coordinator promises: which token holds which space until
 * when, and how much each node has said that it has free. Fed by the queries that the coordinator gets
 * and the replies that it gives (`coordinator-watch.ts`), it judges `Invariant.PLACED_WITHIN` and
 * `Invariant.LEASE_ONCE`.
 *
 * What a node has free is what it told last, less what was committed since: news of its disk may be on
 * the way. What its disk really holds is judged at the disk (`capacity-checker.ts`).
 */

import { toHex } from '../src/base/bytes.ts';
import { Invariant, type Violations } from './checkers.ts';

/** How long a reservation may last at most, however often it is renewed [DEFS-4]. */
const RESERVATION_MICROS_MAX = 24 * 3_600 * 1_000_000;
/** Space is accounted in such pieces, rounded up [DEFS-7]. */
const PIECE_BYTES = 1_024;

interface Grant {
  readonly host: string;
  readonly nodes: readonly string[];
  readonly bytes: number;
  readonly heldAt: number;
  readonly leaseMicros: number;
  deadline: number;
}

/** Space at a node for an object that it copies. */
export interface CopyGrant {
  readonly node: string;
  readonly bytes: number;
}

/** What a COMMIT met when it arrived. */
export interface CommitArrival {
  readonly isHeld: boolean;
  readonly isYoung: boolean;
  /** The put had made the object before: this is the same query once more [DEFS-17]. */
  readonly isRepeated: boolean;
}

export class LeaseChecker {
  readonly #violations: Violations;
  readonly #grants = new Map<string, Grant>();
  /** Bytes that each node has said that it has free. */
  readonly #told = new Map<string, number>();
  /** Copies under way, which need space as reservations do. */
  readonly #copies = new Set<CopyGrant>();
  /** Tokens whose commits have taken their space here. */
  readonly #taken = new Set<string>();
  #startedAt = 0;
  #leaseMicros = 30_000_000;

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** A coordinator starts: it knows of no reservation and of no node. */
  onStart(nowMicros: number): void {
    this.#grants.clear();
    this.#copies.clear();
    this.#told.clear();
    this.#taken.clear();
    this.#startedAt = nowMicros;
  }

  /** A node was admitted, or told its load. */
  onFree(node: string, freeBytes: number): void {
    this.#told.set(node, freeBytes);
  }

  /** WHERE_TO was answered OK: `nodes` were named as places to `host`. */
  onPlaced(
    nowMicros: number,
    host: string,
    token: Uint8Array,
    placed: { readonly bytes: number; readonly nodes: readonly string[]; readonly leaseMicros: number },
  ): void {
    const key = toHex(token);
    const held = this.#live(nowMicros, key);
    this.#leaseMicros = placed.leaseMicros;
    if (held !== undefined) {
      if (held.host !== host) this.#breach(`the token ${key} of ${held.host} is granted to ${host}, too`);
      if (held.nodes.join() !== placed.nodes.join()) {
        this.#breach(`the token ${key} holds ${held.nodes.join()} and now ${placed.nodes.join()}, too`);
      }
      held.deadline = this.#deadline(nowMicros, held);
      return;
    }
    const bytes = accounted(placed.bytes);
    if (new Set(placed.nodes).size < placed.nodes.length) {
      this.#violations.report(Invariant.PLACED_WITHIN, `${key}: one node is named twice`);
    }
    for (const node of placed.nodes) {
      const told = this.#told.get(node);
      const reserved = this.#reserved(nowMicros, node);
      // A store under way counts twice, until it is committed: what takes no room fits all the same.
      if (told !== undefined && bytes <= Math.max(0, told - reserved)) continue;
      this.#violations.report(
        Invariant.PLACED_WITHIN,
        `${key}: ${bytes} bytes on node ${node.slice(0, 8)}, which has ${told ?? 'never joined'} free with ${reserved} reserved`,
      );
    }
    const grant = { host, nodes: placed.nodes, bytes, heldAt: nowMicros, leaseMicros: placed.leaseMicros };
    this.#grants.set(key, { ...grant, deadline: nowMicros + placed.leaseMicros });
  }

  /** COPY was sent to `node`, which is to store so many bytes. */
  onCopyBegins(nowMicros: number, node: string, bytes: number): CopyGrant {
    const copy = { node, bytes: accounted(bytes) };
    const told = this.#told.get(node);
    const reserved = this.#reserved(nowMicros, node);
    if (told === undefined || copy.bytes > Math.max(0, told - reserved)) {
      this.#violations.report(
        Invariant.PLACED_WITHIN,
        `a copy of ${copy.bytes} bytes on node ${node.slice(0, 8)}, which has ${told ?? 'never joined'} free with ${reserved} reserved`,
      );
    }
    this.#copies.add(copy);
    return copy;
  }

  /** It was answered, or never will be. */
  onCopyEnds(copy: CopyGrant, isStored: boolean): void {
    const told = this.#told.get(copy.node);
    if (!this.#copies.delete(copy) || !isStored || told === undefined) return;
    this.#told.set(copy.node, Math.max(0, told - copy.bytes));
  }

  /** RENEW was answered OK. */
  onRenewed(nowMicros: number, token: Uint8Array): void {
    const held = this.#live(nowMicros, toHex(token));
    if (held !== undefined) held.deadline = this.#deadline(nowMicros, held);
    else if (!this.#isYoung(nowMicros)) this.#breach(`the token ${toHex(token)} is renewed after its end`);
  }

  /** RELEASE was answered OK. */
  onReleased(token: Uint8Array): void {
    this.#grants.delete(toHex(token));
  }

  /** COMMIT arrived; whether the state says that its put has made the object already. */
  onCommitArrives(nowMicros: number, token: Uint8Array, isRepeated = false): CommitArrival {
    const isHeld = this.#live(nowMicros, toHex(token)) !== undefined;
    return { isHeld, isYoung: this.#isYoung(nowMicros), isRepeated };
  }

  /** COMMIT was answered: `isNew` says OK, otherwise that the object of another put was there. */
  onCommitted(
    arrival: CommitArrival,
    commit: { readonly token: Uint8Array; readonly bytes: number; readonly nodes: readonly string[] },
    isNew: boolean,
  ): void {
    const key = toHex(commit.token);
    if (isNew && (arrival.isRepeated || this.#taken.has(key))) {
      // What it reserved is free again.
      this.#grants.delete(key);
      return;
    }
    if (isNew) this.#taken.add(key);
    if (!arrival.isHeld && !arrival.isYoung) {
      if (isNew) this.#breach(`the token ${key} is committed after its end`);
      return;
    }
    this.#grants.delete(key);
    for (const node of commit.nodes) {
      const told = this.#told.get(node);
      if (told !== undefined) this.#told.set(node, Math.max(0, told - accounted(commit.bytes)));
    }
  }

  #live(nowMicros: number, key: string): Grant | undefined {
    const grant = this.#grants.get(key);
    if (grant === undefined || grant.deadline > nowMicros) return grant;
    this.#grants.delete(key);
    return undefined;
  }

  #reserved(nowMicros: number, node: string): number {
    let sum = 0;
    for (const copy of this.#copies) if (copy.node === node) sum += copy.bytes;
    for (const [key, grant] of this.#grants) {
      if (grant.deadline <= nowMicros) this.#grants.delete(key);
      else if (grant.nodes.includes(node)) sum += grant.bytes;
    }
    return sum;
  }

  #deadline(nowMicros: number, grant: Grant): number {
    return Math.min(nowMicros + grant.leaseMicros, grant.heldAt + RESERVATION_MICROS_MAX);
  }

  /** A coordinator that has just started honours what it may have forgotten [DEFS-8]. */
  #isYoung(nowMicros: number): boolean {
    return nowMicros < this.#startedAt + this.#leaseMicros;
  }

  #breach(detail: string): void {
    this.#violations.report(Invariant.LEASE_ONCE, detail);
  }
}

function accounted(bytes: number): number {
  return Math.ceil(bytes / PIECE_BYTES) * PIECE_BYTES;
}
