/** What repair has to do, as the leader notes it in the shared state for those who follow [REP-7]. */

import { assert } from '../base/assert.ts';
import { Reader, RepairKnown, type StatusReply, Writer } from '../wire/index.ts';
import type { StateStore } from './ports.ts';
import type { RepairStatus } from './repair.ts';
import { REPAIR_KEY } from './state-keys.ts';
import type { StateWriter } from './state-writer.ts';

/** What STATUS says of repair. */
export type RepairReport = Pick<StatusReply, 'repair' | 'missing' | 'copying' | 'surplus'>;

export const NOTHING_KNOWN: RepairReport = {
  repair: RepairKnown.UNKNOWN,
  missing: 0,
  copying: 0,
  surplus: 0,
};

const RECORD_VERSION = 1;
const RECORD_BYTES = 1 + 6 + 1 + 3 * 4;

export function reportOf({ scanning, ...counts }: RepairStatus): RepairReport {
  return { repair: scanning ? RepairKnown.LOOKING : RepairKnown.ALL, ...counts };
}

/** What the leader of `epoch` noted last. */
export function readRepair(state: Pick<StateStore, 'get'>, epoch: number | undefined): RepairReport {
  const value = state.get(REPAIR_KEY);
  if (value === undefined || epoch === undefined) return NOTHING_KNOWN;
  const reader = new Reader(value);
  const version = reader.u8();
  const isOf = reader.u48() === epoch;
  const scanning = reader.u8() === 1;
  const counts = { missing: reader.u32(), copying: reader.u32(), surplus: reader.u32() };
  const isReadable = reader.failure === undefined && version === RECORD_VERSION;
  return isReadable && isOf ? reportOf({ scanning, ...counts }) : NOTHING_KNOWN;
}

/** Notes what repair has to do, where that has changed since. */
export class RepairBook {
  readonly #writer: StateWriter;
  readonly #epoch: number;
  #written = '';

  constructor(writer: StateWriter, epoch: number) {
    this.#writer = writer;
    this.#epoch = epoch;
  }

  /** @throws what the commit rejects with; the next call tries again. */
  async note(status: RepairStatus): Promise<void> {
    const value = encode(this.#epoch, status);
    const text = value.toString();
    if (text === this.#written) return;
    await this.#writer.commit([], [{ key: REPAIR_KEY, value }]);
    this.#written = text;
  }
}

function encode(epoch: number, { scanning, missing, copying, surplus }: RepairStatus): Uint8Array {
  const writer = new Writer(new Uint8Array(RECORD_BYTES));
  writer.u8(RECORD_VERSION);
  writer.u48(epoch);
  writer.u8(scanning ? 1 : 0);
  for (const count of [missing, copying, surplus]) writer.u32(count);
  assert(writer.at === RECORD_BYTES, 'a record of repair has one length');
  return writer.buffer;
}
