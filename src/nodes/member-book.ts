/** Writes into the shared state who the nodes are [MEM-1]: what is noted in one turn goes in one commit. */

import { toHex } from '../base/bytes.ts';
import { type Micros, seconds } from '../base/units.ts';
import { encodeMember, memberKey } from './member-record.ts';
import type { Member } from './membership.ts';
import type { StateOperation } from './ports.ts';
import type { StateWriter } from './state-writer.ts';

/** Records of one commit. */
const RECORDS_MAX = 32;
/** The state is told of free space this often, where it has changed. */
export const LOAD_RECORD_MICROS: Micros = seconds(3);

/** What is to be written of a node: as it is when its turn comes, or that it is gone. */
interface Note {
  readonly member: Member;
  readonly isGone: boolean;
}

export class MemberBook {
  readonly #writer: StateWriter;
  readonly #onFailure: (error: unknown) => void;
  /** By node: as many as there are members at most. */
  readonly #notes = new Map<string, Note>();
  /** Free bytes and objects as they were written last. */
  readonly #written = new WeakMap<Member, string>();
  #writing: Promise<void> | undefined;

  /** @param onFailure Told why notes were not written; they stay for the next `flush`. */
  constructor(writer: StateWriter, onFailure: (error: unknown) => void) {
    this.#writer = writer;
    this.#onFailure = onFailure;
  }

  /** Notes that wait to be written. */
  get size(): number {
    return this.#notes.size;
  }

  /** Something has changed that all coordinators should know. */
  note(member: Member): void {
    this.#notes.set(toHex(member.nodeId), { member, isGone: false });
    void this.flush();
  }

  /** The node is no member any more. */
  strike(member: Member): void {
    this.#notes.set(toHex(member.nodeId), { member, isGone: true });
    void this.flush();
  }

  /** Notes those whose load is another than was written. */
  noteLoads(members: readonly Member[]): void {
    for (const member of members) {
      if (member.connection === undefined || this.#written.get(member) === loadOf(member)) continue;
      this.#notes.set(toHex(member.nodeId), { member, isGone: false });
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
    while (this.#notes.size > 0) {
      const page = [...this.#notes].slice(0, RECORDS_MAX);
      for (const [key] of page) this.#notes.delete(key);
      const operations = page.map(([, { member, isGone }]): StateOperation => {
        if (!isGone) this.#written.set(member, loadOf(member));
        return { key: memberKey(member.nodeId), value: isGone ? undefined : encodeMember(member.record) };
      });
      try {
        await this.#writer.commit([], operations);
      } catch (error) {
        // What was noted anew meanwhile stays.
        for (const [key, note] of page) if (!this.#notes.has(key)) this.#notes.set(key, note);
        return this.#onFailure(error);
      }
    }
  }
}

function loadOf({ freeBytes, objects, full }: Member): string {
  return `${freeBytes} ${objects} ${full}`;
}
