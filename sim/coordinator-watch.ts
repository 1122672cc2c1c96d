/**
 * What a coordinator is asked and what it answers, told to the checkers of its promises. It sees the
 * queries of `nodes/ports.ts` as the role does, and changes nothing.
 */

import { equalBytes, toHex } from '../src/base/bytes.ts';
import { decodeEntry, decodeTombstone } from '../src/nodes/catalog-entry.ts';
import type { Connection, IncomingQuery, ListenOptions, StateStore, Transport } from '../src/nodes/ports.ts';
import { objectKey, tombstoneKey } from '../src/nodes/state-keys.ts';
import {
  type Codec,
  type CommitQuery,
  commitQuery,
  copyQuery,
  decodeMessage,
  isFailure,
  type JoinQuery,
  joinQuery,
  loadNotice,
  NoticeKind,
  QueryKind,
  ResultCode,
  removeQuery,
  tokenQuery,
  whereToQuery,
  whereToReply,
} from '../src/wire/index.ts';
import type { CommitChecker } from './commit-checker.ts';
import type { LeaseChecker } from './lease-checker.ts';

export interface CoordinatorWatchOptions {
  readonly leases: LeaseChecker;
  readonly commits: CommitChecker;
  /** What is durable. */
  readonly truth: () => Pick<StateStore, 'get'>;
  /** The coordinator's own clock. */
  readonly now: () => number;
}

type Answered = (code: number, body: Uint8Array) => void;

/** `transport`, with what the listening role is asked and answers shown to the checkers. */
export function watchCoordinator(transport: Transport, options: CoordinatorWatchOptions): Transport {
  const watch = new CoordinatorWatch(options);
  return {
    get offload() {
      return transport.offload;
    },
    connect: (connect) => transport.connect(connect),
    listen: (listen: ListenOptions) =>
      transport.listen({
        ...listen,
        onConnection: (connection) => {
          listen.onConnection(connection);
          watch.onConnection(connection);
        },
      }),
  };
}

class CoordinatorWatch {
  readonly #options: CoordinatorWatchOptions;
  /** The last session that was admitted for each node. */
  readonly #sessions = new Map<string, Connection>();

  constructor(options: CoordinatorWatchOptions) {
    this.#options = options;
  }

  /** The role has set its handlers: they are shown everything first. */
  onConnection(connection: Connection): void {
    const { onQuery, onNotice } = connection;
    let joining: JoinQuery | undefined;
    let node: string | undefined;
    connection.onQuery = (query) => {
      const join = query.kind === QueryKind.JOIN ? read(joinQuery, query) : undefined;
      const answered =
        query.kind === QueryKind.ADMIT
          ? (code: number): void => {
              if (code !== ResultCode.OK || joining === undefined) return;
              node = toHex(joining.nodeId);
              this.#sessions.set(node, connection);
              this.#options.leases.onFree(node, joining.freeBytes);
            }
          : this.#answered(connection, query);
      if (join !== undefined) joining = join;
      onQuery?.(answered === undefined ? query : watched(query, answered));
    };
    const { query: send } = connection;
    connection.query = async (kind, body, options) => {
      const asked = kind === QueryKind.COPY ? decodeMessage(copyQuery, body) : undefined;
      const isCopy =
        asked !== undefined && !isFailure(asked) && asked.sources.length > 0 && node !== undefined;
      if (!isCopy) return send.call(connection, kind, body, options);
      const { leases, now } = this.#options;
      const copy = leases.onCopyBegins(now(), node!, asked.bytes);
      let isStored = false;
      try {
        const reply = await send.call(connection, kind, body, options);
        isStored = reply.code === ResultCode.OK;
        return reply;
      } finally {
        leases.onCopyEnds(copy, isStored);
      }
    };
    connection.onNotice = (kind, body) => {
      const isCurrent = node !== undefined && this.#sessions.get(node) === connection;
      const load = kind === NoticeKind.LOAD && isCurrent ? decodeMessage(loadNotice, body) : undefined;
      if (load !== undefined && !isFailure(load)) this.#options.leases.onFree(node!, load.freeBytes);
      onNotice?.(kind, body);
    };
  }

  #answered(connection: Connection, query: IncomingQuery): Answered | undefined {
    const { leases, commits, now } = this.#options;
    switch (query.kind) {
      case QueryKind.WHERE_TO: {
        const asked = read(whereToQuery, query);
        return (code, body) => {
          const reply = code === ResultCode.OK ? decodeMessage(whereToReply, body) : undefined;
          if (asked === undefined || reply === undefined || isFailure(reply)) return;
          const nodes = reply.locations.map((location) => toHex(location.nodeId));
          const leaseMicros = reply.leaseMillis * 1_000;
          leases.onPlaced(now(), connection.peerHost, asked.token, {
            bytes: asked.bytes,
            nodes,
            leaseMicros,
          });
        };
      }
      case QueryKind.RENEW: {
        const asked = read(tokenQuery, query);
        return (code) => {
          if (asked !== undefined && code === ResultCode.OK) leases.onRenewed(now(), asked.token);
        };
      }
      case QueryKind.RELEASE: {
        const asked = read(tokenQuery, query);
        return (code) => {
          if (asked !== undefined && code === ResultCode.OK) leases.onReleased(asked.token);
        };
      }
      case QueryKind.COMMIT: {
        const asked = read(commitQuery, query);
        if (asked === undefined) return undefined;
        commits.onCommitArrives(asked);
        const { truth } = this.#options;
        const isRepeated = hasMade(truth(), asked);
        const arrival = leases.onCommitArrives(now(), asked.token, isRepeated);
        return (code) => {
          if (code !== ResultCode.OK && code !== ResultCode.CONFLICT) return;
          const nodes = [...new Set(asked.receipts.map(({ nodeId }) => toHex(nodeId)))];
          leases.onCommitted(arrival, { ...asked, nodes }, code === ResultCode.OK);
          // What it made, now or before, may have been removed since.
          const isThere = truth().get(objectKey(asked.hash)) !== undefined;
          if (isThere || !hasMade(truth(), asked)) commits.onCommitted(asked.hash);
        };
      }
      case QueryKind.REMOVE: {
        const asked = read(removeQuery, query);
        if (asked === undefined) return undefined;
        commits.onRemovalBegins(asked);
        return () => commits.onRemovalEnds(asked.hash);
      }
      default:
        return undefined;
    }
  }
}

/** Whether the put has made its object already [DEFS-17]. */
function hasMade(truth: Pick<StateStore, 'get'>, { hash, token }: CommitQuery): boolean {
  const entry = truth.get(objectKey(hash));
  const tombstone = truth.get(tombstoneKey(hash));
  const makers = [
    ...(entry === undefined ? [] : [decodeEntry(entry).madeBy]),
    ...(tombstone === undefined ? [] : decodeTombstone(tombstone).done),
  ];
  return makers.some((maker) => equalBytes(maker, token));
}

function read<Message extends object>(codec: Codec<Message>, query: IncomingQuery): Message | undefined {
  const message = decodeMessage(codec, query.body);
  return isFailure(message) ? undefined : message;
}

/** `query`, whose reply is shown to `answered` before it leaves. */
function watched(query: IncomingQuery, answered: Answered): IncomingQuery {
  return {
    ...query,
    reply: (code, body = new Uint8Array(0)) => {
      answered(code, body);
      query.reply(code, body);
    },
  };
}
