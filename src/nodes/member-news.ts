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
import type { LastChange, Membership } from './membership.ts';
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
      for (const [finish, message] of [...this.#waiting]) if (this.#isNews(message)) finish();
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
    const waitMicros = micros(Math.min(WAIT_MICROS_MAX, message.waitMillis * 1_000));
    if (this.#isNews(message) || waitMicros === 0 || this.#isClosed) return Promise.resolve();
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

  /** Whether an asker must hear of something. */
  #isNews(message: MembersQuery): boolean {
    const newest = this.#members.changes.at(-1);
    return this.#mustBeginAnew(message) || (newest !== undefined && isBehind(message, newest));
  }

  /** [MEM-3] Who was collected since may not all be known any more; who does not wait is just listing all. */
  #mustBeginAnew({ after, waitMillis }: MembersQuery): boolean {
    return waitMillis > 0 && after < this.#members.forgottenUpTo;
  }

  /** As many as fit one reply, in the order of their changes. */
  #page(place: MembersQuery): MemberChange[] {
    const { changes } = this.#members;
    const page: MemberChange[] = [];
    let room = BODY_BYTES_MAX - MEMBERS_FIXED_BYTES;
    for (let index = firstBehind(changes, place); index < changes.length; index++) {
      const change = asTold(changes[index]!);
      room -= memberChangeSize(change);
      if (room < 0 || page.length === MEMBERS_MAX) break;
      page.push(change);
    }
    return page;
  }
}

function asTold({ changed, member, isGone }: LastChange): MemberChange {
  const { nodeId, incarnation, name, address } = member;
  return { changed, nodeId, incarnation, state: isGone ? NodeState.GONE : member.state, name, address };
}

/** Whether a change stands behind the place that an asker knows. */
function isBehind({ after, afterId }: MembersQuery, { changed, member }: LastChange): boolean {
  return changed > after || (changed === after && Buffer.compare(member.nodeId, afterId) > 0);
}

/** Where the changes begin that stand behind a place: a thousand askers share one order. */
function firstBehind(changes: readonly LastChange[], place: MembersQuery): number {
  let [low, high] = [0, changes.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(place, changes[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}
