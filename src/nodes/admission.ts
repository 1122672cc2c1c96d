/**
 * How nodes come, stay and go, at the coordinator: challenge, admission, load, inventory, damage.
 *
 *   connected -- JOIN --> challenged -- ADMIT, right proof --> up -- session ends --> down
 *   challenged -- ADMIT, wrong proof --> connected;   down -- a new session joins --> up
 *
 * The secret never travels: the node proves that it knows it by a MAC over this session's
 * handshake hash and our nonce [ADM-1], so that the proof is worth nothing in another session.
 */

import { formatAddress, tryParseAddress } from '../base/address.ts';
import { toHex } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import { admissionProof, checkAdmissionProof, type Suite } from '../crypto/index.ts';
import {
  ADMISSION_NONCE_BYTES,
  admitQuery,
  admitReply,
  decodeMessage,
  digestQuery,
  digestReply,
  encodeMessage,
  hashQuery,
  inventoryQuery,
  isFailure,
  type JoinQuery,
  joinQuery,
  joinReply,
  loadNotice,
  NoticeKind,
  QueryKind,
  ResultCode,
} from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import { hasReplica } from './catalog-entry.ts';
import { type DeletionOrder, Deletions } from './deletions.ts';
import { allBuckets, isNoBucket } from './holdings.ts';
import { takeInventory } from './inventory.ts';
import type { MemberBook } from './member-book.ts';
import { Standing } from './member-record.ts';
import type { Member, Membership } from './membership.ts';
import type { Pace } from './pace.ts';
import type { Clock, CloseReason, Compression, Connection, Entropy, IncomingQuery, Log } from './ports.ts';
import { ADMISSION_ROLE, ADMITTING_ROLE, readQuery, replyBusy } from './roles.ts';

const DELETE_TIMEOUT_MICROS: Micros = seconds(24 * 3_600);
/** Orders that are given again in one sweep. */
const RETRIES_PER_SWEEP_MAX = 256;
/** Objects in one inventory at most: as many as a store of objects takes. */
export const INVENTORY_ENTRIES_MAX = 10_000_000;

/** Nodes that are admitted and whose inventories are not taken yet, at most [MEM-6]. */
export const JOINING_MAX = 64;
/** One that takes longer to tell what it holds is not counted any more. */
export const JOINING_MICROS_MAX: Micros = seconds(30);
export interface AdmissionOptions {
  readonly suite: Suite;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly clusterId: Uint8Array;
  readonly admissionSecret: Uint8Array;
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly book: MemberBook;
  /** What inventories of all nodes together may take of a turn. */
  readonly pace: Pace;
  readonly compression: Compression | undefined;
  /** `host:port` of the coordinator's own front port. */
  readonly frontAddress: () => string;
}

interface Challenge {
  readonly nonce: Uint8Array;
  readonly join: JoinQuery;
}

interface Admitted {
  readonly member: Member;
  /** Revision of the catalog when the node joined: what was written later, its inventory may lack. */
  readonly revision: number;
  /** Whether its inventory is still to come. */
  isJoining: boolean;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #challenges = new WeakMap<Connection, Challenge>();
  readonly #admitted = new WeakMap<Connection, Admitted>();
  readonly deletions: Deletions;
  /** What the log was last told of orders that wait, and what it is to be told. */
  #ordersReported = 0;
  #ordersLeft = 0;
  #lastRefusal = '';
  /** Nodes that were admitted, and when, and have not told what they hold yet: oldest first. */
  readonly #joining = new Map<Connection, Micros>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.deletions = new Deletions(options.clock);
  }

  /** The node behind a connection, once it is admitted and as long as this is its newest session [ADM-7]. */
  memberOf(connection: Connection): Member | undefined {
    const member = this.#admitted.get(connection)?.member;
    return member?.connection === connection ? member : undefined;
  }

  /** Whether a member is here, and has told what it holds. */
  hasTold({ connection }: Member): boolean {
    return connection !== undefined && this.#admitted.get(connection)?.isJoining === false;
  }

  join(connection: Connection, query: IncomingQuery): void {
    const join = readQuery(query, joinQuery);
    if (join === undefined) return;
    // [ADM-9] One session is one node.
    if (this.memberOf(connection) !== undefined) return query.reply(ResultCode.CONFLICT);
    // [MEM-6] Of a thousand nodes that come at once only some are taken in at a time.
    if (this.#joining.size >= JOINING_MAX) return replyBusy(query);
    // [ADM-3] A fresh nonce for every try.
    const nonce = this.#options.entropy.bytes(ADMISSION_NONCE_BYTES);
    this.#challenges.set(connection, { nonce, join });
    query.reply(ResultCode.OK, encodeMessage(joinReply, { nonce }));
  }

  admit(connection: Connection, query: IncomingQuery): void {
    const { suite, admissionSecret, members, clusterId, catalog, log } = this.#options;
    const message = readQuery(query, admitQuery);
    if (message === undefined) return;
    const challenge = this.#challenges.get(connection);
    this.#challenges.delete(connection);
    const proven =
      challenge !== undefined &&
      checkAdmissionProof(
        suite,
        admissionSecret,
        connection.handshakeHash,
        challenge.nonce,
        ADMISSION_ROLE,
        message.proof,
      );
    if (!proven) {
      log.warn('a node was refused: its admission secret differs', { host: connection.peerHost });
      return query.reply(ResultCode.DENIED);
    }
    const { join } = challenge;
    const known = members.get(join.nodeId);
    // [ADM-4] Of two that claim one id, the newer start wins; the same start twice is a copied directory.
    if (known?.connection !== undefined && known.incarnation >= join.incarnation) {
      mark('node-refused');
      log.warn('a node was refused: another with the same id is up', { host: connection.peerHost });
      return query.reply(ResultCode.CONFLICT);
    }
    // [MEM-4] What was given up comes back as a new one.
    if (known?.standing === Standing.FAILED && known.incarnation >= join.incarnation) {
      mark('node-incarnation');
      return query.reply(ResultCode.STALE_EPOCH);
    }
    if (known === undefined && members.full) return replyBusy(query);
    // [MEM-6] More were let in by JOIN than there are places for.
    if (this.#joining.size >= JOINING_MAX) return replyBusy(query);
    const replaced = known?.connection;
    const address = reachableAddress(join.address, connection.peerHost);
    const member = members.admit({ ...join, address }, connection, this.#options.clock.wallMillis());
    this.#options.book.note(member);
    if (replaced !== undefined) mark('node-replaced');
    void replaced?.close();
    this.#joining.set(connection, this.#options.clock.now());
    this.#admitted.set(connection, { member, revision: catalog.revision, isJoining: true });
    if (isLoopback(address) && !isLoopback(this.#options.frontAddress())) {
      const advice = 'start it with an address of this machine as its coordinator';
      log.warn('a node can be reached from its own machine only', { name: member.name, address, advice });
    }
    log.info('a node is up', { name: member.name, address, node: toHex(member.nodeId) });
    // [ADM-8] The node, too, must know whom it will obey.
    const proof = admissionProof(
      suite,
      admissionSecret,
      connection.handshakeHash,
      challenge.nonce,
      ADMITTING_ROLE,
    );
    query.reply(ResultCode.OK, encodeMessage(admitReply, { clusterId, address, proof }));
  }

  onNotice(connection: Connection, kind: number, body: Uint8Array): void {
    const member = this.memberOf(connection);
    if (member === undefined || kind !== NoticeKind.LOAD) return;
    const load = decodeMessage(loadNotice, body);
    if (isFailure(load)) return;
    if (load.full && !member.full)
      this.#options.log.warn('the disk of a node is full', { name: member.name });
    member.freeBytes = load.freeBytes;
    member.objects = load.objects;
    if (member.full !== load.full) this.#options.book.note(member);
    member.full = load.full;
  }

  onClosed(connection: Connection, reason: CloseReason): void {
    this.#endJoining(connection);
    const member = this.memberOf(connection);
    if (member === undefined) return;
    // [MEM-2] Only a node that says so leaves.
    const standing = reason.kind === 'peer' ? Standing.DOWN : Standing.FAILED;
    this.#leave(member, standing, reason.kind);
  }

  /** A node has been silent for too long. */
  fail(member: Member): void {
    const { connection } = member;
    this.#leave(member, Standing.FAILED, 'silence');
    void connection?.close();
  }

  #leave(member: Member, standing: Standing, reason: string): void {
    member.connection = undefined;
    member.stand(standing, this.#options.clock.wallMillis());
    this.#options.book.note(member);
    const text = standing === Standing.DOWN ? 'a node is down' : 'a node has failed';
    this.#options.log.warn(text, { name: member.name, reason });
  }

  #endJoining(connection: Connection): void {
    this.#joining.delete(connection);
    const admitted = this.#admitted.get(connection);
    if (admitted !== undefined) admitted.isJoining = false;
  }

  /** [MEM-6] Nodes that take their time keep no others waiting. */
  freePlaces(now: Micros): void {
    for (const [connection, since] of this.#joining) {
      if (now < micros(since + JOINING_MICROS_MAX)) return;
      this.#joining.delete(connection);
    }
  }

  /** Compares what a node holds, in short, with what the catalog says [DIG-2]. */
  digest(connection: Connection, query: IncomingQuery): void {
    const message = readQuery(query, digestQuery);
    if (message === undefined) return;
    const member = this.memberOf(connection);
    if (member === undefined) return query.reply(ResultCode.DENIED);
    const holdings = this.#options.catalog.holdingsOf(member.nodeId);
    const differs = holdings?.differencesFrom(message.digests) ?? allBuckets();
    member.objects = message.entries;
    if (isNoBucket(differs)) {
      mark('digest-equal');
      this.#endJoining(connection);
    } else mark('digest-differs');
    query.reply(ResultCode.OK, encodeMessage(digestReply, { differs }));
  }

  /**
   * Compares what the node has with what the catalog says. Replicas that it lacks are struck, ones
   * that the catalog lacks are added, removed objects are deleted there [DEFS-12].
   */
  async inventory(connection: Connection, query: IncomingQuery): Promise<void> {
    const { catalog, log } = this.#options;
    const message = readQuery(query, inventoryQuery);
    if (message === undefined) return;
    const admitted = this.#admitted.get(connection);
    const member = this.memberOf(connection);
    if (admitted === undefined || member === undefined) return query.reply(ResultCode.DENIED);
    if (message.entries > INVENTORY_ENTRIES_MAX) return replyBusy(query);
    const outcome = await takeInventory({
      query,
      entries: message.entries,
      buckets: message.buckets,
      nodeId: member.nodeId,
      catalog,
      pace: this.#options.pace,
      compression: this.#options.compression,
      joinedRevision: admitted.revision,
      isCurrent: () => this.memberOf(connection) !== undefined,
      adopt: (hash, bytes) => this.#adopt(hash, bytes, member.nodeId),
    });
    this.#endJoining(connection);
    if (outcome === undefined) return query.reply(ResultCode.ABORTED);
    if (outcome.struck > 0) mark('inventory-strikes');
    log.info('inventory taken', { name: member.name, ...outcome });
    query.reply(ResultCode.OK);
  }

  /** A node found one of its objects damaged: that replica no longer counts. */
  async corrupt(connection: Connection, query: IncomingQuery): Promise<void> {
    const message = readQuery(query, hashQuery);
    if (message === undefined) return;
    const member = this.memberOf(connection);
    if (member === undefined) return query.reply(ResultCode.DENIED);
    mark('damage-reported');
    await this.#options.catalog.removeReplica(message.hash, member.nodeId);
    this.#options.log.warn('an object was damaged', { name: member.name, hash: toHex(message.hash) });
    query.reply(ResultCode.OK);
  }

  /** Tells a node, if it is up, to delete an object. It finds out by its inventory otherwise. */
  tellToDelete(
    nodeId: Uint8Array,
    hash: Uint8Array,
    order: DeletionOrder | undefined = this.deletions.start(nodeId, hash),
  ): void {
    const { connection } = this.#options.members.get(nodeId) ?? {};
    if (connection === undefined) return order?.takeBack();
    if (order === undefined) return this.#keepOrder(nodeId, hash, 'too many orders are under way');
    void this.#order(connection, nodeId, hash).finally(() => order.end());
  }

  /** Gives orders again that nodes have not carried out, where they are up and the object is still gone. */
  async retryDeletions(): Promise<void> {
    const { catalog, members } = this.#options;
    const { unconfirmed } = this.deletions;
    this.#reportOrders(unconfirmed.length);
    let tries = 0;
    for (const { nodeId, hash } of unconfirmed) {
      if (tries >= RETRIES_PER_SWEEP_MAX) return;
      if (this.deletions.isRunning(nodeId, hash)) continue;
      tries += 1;
      // In the object's turn: a commit that comes later finds the order under way.
      await catalog.afterChanges(hash, (isRemoved, entry) => {
        mark('deletion-again');
        // [REP-5] Or only this replica was too many.
        const isGone = isRemoved || (entry !== undefined && !hasReplica(entry, nodeId));
        if (isGone && members.get(nodeId)?.isUp === true) this.tellToDelete(nodeId, hash);
        else this.deletions.drop(nodeId, hash);
      });
    }
  }

  async #order(connection: Connection, nodeId: Uint8Array, hash: Uint8Array): Promise<void> {
    const body = encodeMessage(hashQuery, { hash });
    let reason: string;
    try {
      // Only its answer, or the end of the session, says that it will not be carried out any more.
      const reply = await connection.query(QueryKind.DELETE, body, { timeoutMicros: DELETE_TIMEOUT_MICROS });
      if (reply.code === ResultCode.OK || reply.code === ResultCode.NOT_FOUND) {
        return this.deletions.drop(nodeId, hash);
      }
      reason = `code ${reply.code}`;
    } catch (error) {
      reason = String(error);
    }
    // When its session is over, the inventory of the next one sees to it.
    if (this.#options.members.get(nodeId)?.connection === connection) this.#keepOrder(nodeId, hash, reason);
    else this.deletions.drop(nodeId, hash);
  }

  /** One line when their number changes, not one for each. */
  #reportOrders(waiting: number): void {
    if (waiting === this.#ordersReported && this.#ordersLeft === 0) return;
    if (waiting > 0) {
      const fields = { waiting, leftToInventory: this.#ordersLeft, reason: this.#lastRefusal };
      this.#options.log.warn('nodes have not deleted all removed objects, and are told again', fields);
    }
    this.#ordersReported = waiting;
    this.#ordersLeft = 0;
  }

  #keepOrder(nodeId: Uint8Array, hash: Uint8Array, reason: string): void {
    if (!this.deletions.keep(nodeId, hash)) this.#ordersLeft += 1;
    this.#lastRefusal = reason;
  }

  async #adopt(hash: Uint8Array, bytes: number, nodeId: Uint8Array): Promise<boolean> {
    return this.#options.catalog.adopt(hash, bytes, nodeId, (isRemoved) => {
      if (isRemoved) {
        mark('inventory-deletes');
        this.tellToDelete(nodeId, hash);
      }
      // What it is about to delete it holds no longer.
      return !isRemoved && !this.deletions.isRunning(nodeId, hash);
    });
  }
}

/** What the node said, with the host that we see where it named none. */
function reachableAddress(claimed: string, peerHost: string): string {
  const parsed = tryParseAddress(claimed);
  if (parsed === undefined) return claimed;
  const unspecified = parsed.host === '0.0.0.0' || parsed.host === '::';
  return unspecified ? formatAddress(peerHost, parsed.port) : claimed;
}

/** Whether an address names a machine to itself only. */
function isLoopback(address: string): boolean {
  const host = tryParseAddress(address)?.host ?? '';
  return host.startsWith('127.') || host.startsWith('::ffff:127.') || host === '::1' || host === 'localhost';
}
