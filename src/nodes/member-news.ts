/**
 * Who comes, goes and changes, told to whoever asks [MEM-3]. There is no queue: an asker says up to which
 * change it knows, and is told who has changed since, each as it is now. So news come together by themselves
 * where somebody is slow, and any coordinator can go on where another one was lost.
 */

import { type Micros, micros, millis } from '../base/units.ts';
import {
  BODY_BYTES_MAX,
  encodeMessage,
  MEMBERS_FIXED_BYTES,
  MEMBERS_MAX,
  type MemberChange,
  type MembersQuery,
  memberChangeSize,
  membersQuery,
  membersReply,
  NodeState,
  ResultCode,
} from '../wire/index.ts';
import type { Member, Membership } from './membership.ts';
import type { Clock, IncomingQuery } from './ports.ts';
import { readQuery, replyBusy } from './roles.ts';

/** How long an answer waits for news at most. */
const WAIT_MICROS_MAX: Micros = millis(30_000);
/** Askers that wait for news at once. */
export const ASKERS_MAX = 16_384;

export class MemberNews {
  readonly #clock: Clock;
  readonly #members: Membership;
  /** What each asker knows, and what ends its wait. */
  readonly #waiting = new Map<() => void, MembersQuery>();
  #isClosed = false;

  constructor(clock: Clock, members: Membership) {
    this.#clock = clock;
    this.#members = members;
    members.onChanged(() => {
      const newest = this.#newest();
      for (const [finish, message] of [...this.#waiting])
        if (this.#mustBeginAnew(message) || isNewer(message, newest)) finish();
    });
  }

  /** Nobody waits any more. */
  close(): void {
    this.#isClosed = true;
    for (const finish of [...this.#waiting.keys()]) finish();
  }

  /** Answers MEMBERS when there is something to tell, or when the wait is over. */
  async answer(query: IncomingQuery): Promise<void> {
    const message = readQuery(query, membersQuery);
    if (message === undefined) return;
    if (this.#waiting.size >= ASKERS_MAX) return replyBusy(query);
    await this.#news(message);
    const full = this.#mustBeginAnew(message);
    const members = full ? [] : this.#page(message);
    const revision = this.#members.order;
    query.reply(ResultCode.OK, encodeMessage(membersReply, { revision, full, members }));
  }

  /** Resolves when there is something to tell, or nothing to wait for any more. */
  #news(message: MembersQuery): Promise<void> {
    const isNews = this.#mustBeginAnew(message) || isNewer(message, this.#newest());
    const waitMicros = micros(Math.min(WAIT_MICROS_MAX, message.waitMillis * 1_000));
    if (isNews || waitMicros === 0 || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        timer.cancel();
        this.#waiting.delete(finish);
        resolve();
      };
      const timer = this.#clock.setTimer(micros(this.#clock.now() + waitMicros), finish);
      this.#waiting.set(finish, message);
    });
  }

  /** [MEM-3] Who was collected since may not all be known any more; who does not wait is just listing all. */
  #mustBeginAnew({ after, waitMillis }: MembersQuery): boolean {
    return waitMillis > 0 && after < this.#members.forgottenUpTo;
  }

  /** The last change that is known here. */
  #newest(): Place | undefined {
    const { all, collected } = this.#members;
    let newest: Place | undefined;
    for (const place of all) if (isLater(place, newest)) newest = place;
    for (const { changed, last } of collected) {
      const place = { changed, nodeId: last.nodeId };
      if (isLater(place, newest)) newest = place;
    }
    return newest;
  }

  /** As many as fit one reply, in the order of their changes. */
  #page(place: MembersQuery): MemberChange[] {
    const { all, collected } = this.#members;
    const changes = [
      ...all.map((member) => changeOf(member, member.changed, member.state)),
      ...collected.map(({ changed, last }) => changeOf(last, changed, NodeState.GONE)),
    ];
    const news = changes
      .filter(({ changed, nodeId }) => isBehind(place, changed, nodeId))
      .sort((left, right) => left.changed - right.changed || Buffer.compare(left.nodeId, right.nodeId));
    const page: MemberChange[] = [];
    let room = BODY_BYTES_MAX - MEMBERS_FIXED_BYTES;
    for (const change of news) {
      room -= memberChangeSize(change);
      if (room < 0 || page.length === MEMBERS_MAX) break;
      page.push(change);
    }
    return page;
  }
}

function changeOf(
  { nodeId, incarnation, name, address }: Member,
  changed: number,
  state: NodeState,
): MemberChange {
  return { changed, nodeId, incarnation, state, name, address };
}

/** A place in the order of changes. */
interface Place {
  readonly changed: number;
  readonly nodeId: Uint8Array;
}

function isLater(place: Place, than: Place | undefined): boolean {
  return (
    than === undefined ||
    place.changed > than.changed ||
    (place.changed === than.changed && Buffer.compare(place.nodeId, than.nodeId) > 0)
  );
}

function isNewer(known: MembersQuery, newest: Place | undefined): boolean {
  return newest !== undefined && isBehind(known, newest.changed, newest.nodeId);
}

/** Whether a change stands behind the place that an asker knows. What is not in the state yet has no place. */
function isBehind({ after, afterId }: MembersQuery, changed: number, nodeId: Uint8Array): boolean {
  if (changed === 0) return false;
  return changed > after || (changed === after && Buffer.compare(nodeId, afterId) > 0);
}
