/** Writes into the shared state who the nodes are [MEM-1]: what is noted in one turn goes in one commit. */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { type Micros, seconds } from '../base/units.ts';
import { decodeMemberOrder, encodeMember, encodeMemberOrder, memberKey } from './member-record.ts';
import type { Member, Membership } from './membership.ts';
import type { StateOperation, StateStore } from './ports.ts';
import { MEMBER_ORDER_KEY } from './state-keys.ts';
import type { StateWriter } from './state-writer.ts';

/** Records of one commit. */
const RECORDS_MAX = 32;
/** How often a commit is tried whose number was given meanwhile. */
const TRIES_MAX = 4;
/** The state is told of free space this often, where it has changed. */
export const LOAD_RECORD_MICROS: Micros = seconds(3);

/** What is to be written of a node: as it is when its turn comes, or that it is gone. */
interface Note {
  readonly member: Member;
  readonly isGone: boolean;
  /** Whether those who follow members are to hear of it. */
  readonly isNews: boolean;
}

interface MemberBookOptions {
  readonly writer: StateWriter;
  readonly state: Pick<StateStore, 'get'>;
  readonly members: Pick<Membership, 'order'>;
}

export class MemberBook {
  readonly #writer: StateWriter;
  readonly #state: Pick<StateStore, 'get'>;
  readonly #members: Pick<Membership, 'order'>;
  readonly #onFailure: (error: unknown) => void;
  /** By node: as many as there are members at most. */
  readonly #notes = new Map<string, Note>();
  /** Free bytes and objects as they were written last. */
  readonly #written = new WeakMap<Member, string>();
  #writing: Promise<void> | undefined;

  /**
   * @param onFailure Told why notes were not written; they stay for the next `flush`.
   */
  constructor({ writer, state, members }: MemberBookOptions, onFailure: (error: unknown) => void) {
    this.#writer = writer;
    this.#state = state;
    this.#members = members;
    this.#onFailure = onFailure;
  }

  /** Notes that wait to be written. */
  get size(): number {
    return this.#notes.size;
  }

  /** Something has changed that all coordinators should know. */
  note(member: Member): void {
    this.#notes.set(toHex(member.nodeId), { member, isGone: false, isNews: true });
    void this.flush();
  }

  /** The node is no member any more. */
  strike(member: Member): void {
    this.#notes.set(toHex(member.nodeId), { member, isGone: true, isNews: true });
    void this.flush();
  }

  /** Notes those whose load is another than was written. */
  noteLoads(members: readonly Member[]): void {
    for (const member of members) {
      if (member.connection === undefined || this.#written.get(member) === loadOf(member)) continue;
      const key = toHex(member.nodeId);
      if (!this.#notes.has(key)) this.#notes.set(key, { member, isGone: false, isNews: false });
    }
    void this.flush();
  }

  /** Writes all notes; resolves when that is done or failed. */
  flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(): Promise<void> {
    // What the rest of this turn notes goes along.
    await Promise.resolve();
    for (let tries = 1; this.#notes.size > 0; ) {
      const page = [...this.#notes].slice(0, RECORDS_MAX);
      for (const [key] of page) this.#notes.delete(key);
      try {
        if (await this.#commit(page.map(([, note]) => note))) {
          tries = 1;
          continue;
        }
        if (tries >= TRIES_MAX) throw outrun();
        tries += 1;
        this.#putBack(page);
      } catch (error) {
        this.#putBack(page);
        return this.#onFailure(error);
      }
    }
  }

  /**
   * Whether the notes were written. Those with news are numbered by one more than the last, and only behind that: so
   * whoever knows all up to a number knows all that will ever be numbered up to there [MEM-3].
   */
  async #commit(notes: readonly Note[]): Promise<boolean> {
    const before = this.#state.get(MEMBER_ORDER_KEY);
    const changed = Math.max(decodeMemberOrder(before), this.#members.order) + 1;
    const operations = notes.map(({ member, isGone, isNews }): StateOperation => {
      if (!isGone) this.#written.set(member, loadOf(member));
      const record = isNews ? { ...member.record, changed } : member.record;
      return { key: memberKey(member.nodeId), value: isGone ? undefined : encodeMember(record) };
    });
    if (!notes.some(({ isNews }) => isNews)) return (await this.#writer.commit([], operations)).ok;
    const number = { key: MEMBER_ORDER_KEY, value: encodeMemberOrder(changed) };
    const { ok } = await this.#writer.commit(
      [{ key: MEMBER_ORDER_KEY, equals: before }],
      [number, ...operations],
    );
    return ok;
  }

  /** What was noted anew meanwhile stays. */
  #putBack(page: readonly (readonly [string, Note])[]): void {
    for (const [key, note] of page) if (!this.#notes.has(key)) this.#notes.set(key, note);
  }
}

/** A commit of before whose outcome was not known came through, again and again. */
function outrun(): GramlineError {
  return new GramlineError('GRAMLINE_BUSY', 'other changes of members came first: they are tried again', {
    retryable: true,
  });
}

function loadOf({ freeBytes, objects, full }: Member): string {
  return `${freeBytes} ${objects} ${full}`;
}
