/** What is planted into sessions, roles and stores is found by the targets that are to find it. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { runCampaign } from '../../fuzz/engine/campaign.ts';
import { type Crash, readCrash, saveCrash } from '../../fuzz/engine/crash.ts';
import { TARGETS } from '../../fuzz/targets/index.ts';
import { LockQueues } from '../../src/nodes/lock-queue.ts';
import { Reservations } from '../../src/nodes/reservations.ts';
import { AckTracker } from '../../src/reliability/index.ts';
import { violation } from '../../src/session/events.ts';
import { Front } from '../../src/session/index.ts';
import { QueryBook } from '../../src/session/queries.ts';
import { ReceiveFlow } from '../../src/session/receive-flow.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import { folder } from './support.ts';

/** A planted fault is met by so many short campaigns at most. */
const CAMPAIGNS_MAX = 60;
const CAMPAIGN_INPUTS = 50;

afterEach(() => {
  vi.restoreAllMocks();
});

/** A record's bytes come out with one of them changed. */
function spoilRecords(): void {
  const take = ReceiveFlow.prototype.take;
  vi.spyOn(ReceiveFlow.prototype, 'take').mockImplementation(function (this: ReceiveFlow) {
    const record = take.call(this);
    if (record !== undefined && record.payload.length > 0) record.payload[0]! ^= 1;
    return record;
  });
}

/** A front port that answers what it should not even look at. */
function talkToStrangers(): void {
  const handleDatagram = Front.prototype.handleDatagram;
  vi.spyOn(Front.prototype, 'handleDatagram').mockImplementation(function (this: Front, ...call) {
    return handleDatagram.apply(this, call) ?? { kind: 'reply', bytes: Uint8Array.of(0) };
  });
}

const FAULTS: readonly (readonly [string, string, () => void, RegExp])[] = [
  [
    'a session that gives a record of another place',
    'session-records',
    () => {
      const take = ReceiveFlow.prototype.take;
      vi.spyOn(ReceiveFlow.prototype, 'take').mockImplementation(function (this: ReceiveFlow) {
        const record = take.call(this);
        return record === undefined || record.offset === 0
          ? record
          : { ...record, offset: record.offset - 1 };
      });
    },
    /records do not tile the flow/,
  ],
  [
    'a session that closes for a clause that does not exist',
    'session-frames',
    () => {
      vi.spyOn(QueryBook.prototype, 'onReply').mockReturnValue(violation('XYZ-99', 'no reason'));
    },
    /closed for \[XYZ-99\], which the specification lacks/,
  ],
  [
    'a session that does not acknowledge',
    'session-frames',
    () => {
      vi.spyOn(AckTracker.prototype, 'onReceived').mockReturnValue(undefined as never);
    },
    /does not acknowledge any more/,
  ],
  ['a session that changes a byte', 'session-datagrams', spoilRecords, /honest bytes arrive as others/],
  ['a front port that talks to strangers', 'front', talkToStrangers, /an answer to a wrong MAC/],
  [
    'a coordinator that keeps reservations for ever',
    'coordinator',
    () => {
      vi.spyOn(Reservations.prototype, 'expire').mockReturnValue(undefined as never);
    },
    /reservations outlive their lease/,
  ],
  [
    'a coordinator that lets everybody hold a lock at once',
    'coordinator',
    () => {
      vi.spyOn(LockQueues.prototype, 'holds').mockReturnValue(true);
    },
    /a place with \d+ ahead that holds/,
  ],
  [
    'a node that decompresses otherwise',
    'node',
    () => {
      vi.spyOn(lz4Compression, 'decompress').mockImplementation((_payload, bytes) => new Uint8Array(bytes));
    },
    /a STORE is answered/,
  ],
  [
    'a decompressor that trusts what it is told',
    'lz4',
    () => {
      vi.spyOn(lz4Compression, 'decompress').mockImplementation((_payload, bytes) => new Uint8Array(bytes));
    },
    /decompressed/,
  ],
];

describe('the fuzzer finds', () => {
  it.each(FAULTS)(
    '%s',
    async (_fault, name, plant, sentence) => {
      const target = TARGETS.find((one) => one.name === name)!;
      plant();
      let crashes: readonly Crash[] = [];
      for (let seed = 1; seed <= CAMPAIGNS_MAX && crashes.length === 0; seed++) {
        const options = { targets: [target], inputs: CAMPAIGN_INPUTS, seed, corpus: new Map() };
        crashes = (await runCampaign(options)).crashes;
      }
      const crash = crashes.find((one) => sentence.test(one.sentence));
      expect(crash, crashes.map((one) => one.sentence).join()).toBeDefined();
      // Saved, read again and run again, it fails again; without the fault, it holds.
      const again = readCrash(saveCrash(folder(), crash!)).input;
      await expect((async () => target.run(again))()).rejects.toThrow(sentence);
      vi.restoreAllMocks();
      expect(await target.run(again)).toEqual(expect.any(String));
    },
    120_000,
  );
});
