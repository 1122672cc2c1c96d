import { describe, expect, it } from 'vitest';
import { micros, type PacketNumber, seconds } from '../../src/base/units.ts';
import { SendKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { ControlSealer } from '../../src/session/control-sealer.ts';
import { FrameType } from '../../src/wire/index.ts';
import { START } from '../support/session-pair.ts';

const HOUR = seconds(3_600);
const nothingElsewhere = (): boolean => false;

/** A sealer that is to update after `sealingsMax` sealings, with `sealings` of them done and acknowledged. */
function sealer(sealings: number, sealingsMax: number): ControlSealer {
  const keys = new SendKeys(nodeSuite, new Uint8Array(32).fill(3));
  const made = new ControlSealer(keys, { high: 1, low: 2 }, START, sealingsMax);
  const buffer = new Uint8Array(100);
  for (let number = 0; number < sealings; number++) {
    made.write(number as PacketNumber, [{ type: FrameType.PING }], buffer, 0);
  }
  made.onAcked(made.epochBits);
  return made;
}

describe('a key update of the sender', () => {
  it('comes after as many sealings as a key may make, and not one before [KEY-5]', () => {
    const early = sealer(2, 3);
    early.updateWhenDue(START, nothingElsewhere);
    expect(early.epochBits).toBe(0);
    const due = sealer(3, 3);
    due.updateWhenDue(START, nothingElsewhere);
    expect(due.epochBits).toBe(1);
  });

  it('comes after an hour, and not a microsecond before [KEY-5]', () => {
    const made = sealer(1, 1_000);
    made.updateWhenDue(micros(START + HOUR - 1), nothingElsewhere);
    expect(made.epochBits).toBe(0);
    made.updateWhenDue(micros(START + HOUR), nothingElsewhere);
    expect(made.epochBits).toBe(1);
  });

  it('waits for an acknowledgement of the epoch, and for records of the one before [KEY-12] [REC-4]', () => {
    const made = sealer(3, 3);
    made.updateWhenDue(START, () => true);
    expect(made.epochBits).toBe(0);
    made.updateWhenDue(START, nothingElsewhere);
    const buffer = new Uint8Array(100);
    for (let number = 3; number < 6; number++) {
      made.write(number as PacketNumber, [{ type: FrameType.PING }], buffer, 0);
    }
    made.onAcked(0);
    made.updateWhenDue(START, nothingElsewhere);
    expect(made.epochBits, 'only epoch 0 was acknowledged').toBe(1);
    made.onAcked(1);
    made.updateWhenDue(START, nothingElsewhere);
    expect(made.epochBits).toBe(2);
  });
});
