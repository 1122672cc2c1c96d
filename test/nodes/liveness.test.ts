import { beforeEach, describe, expect, it } from 'vitest';
import { type Micros, micros, millis, seconds } from '../../src/base/units.ts';
import { lookAfter, PROBE_MICROS, SILENCE_MICROS, TRIES_MAX, TRY_MICROS } from '../../src/nodes/liveness.ts';
import { Member } from '../../src/nodes/membership.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import { ANSWER_MICROS, SilenceWatch } from '../../src/nodes/silence.ts';

class FakePeer {
  heardAt: Micros = micros(0);
  pings = 0;

  ping(): void {
    this.pings += 1;
  }
}

let peer: FakePeer;
let member: Member;

beforeEach(() => {
  peer = new FakePeer();
  member = new Member(new Uint8Array(16));
  member.connection = peer as unknown as Connection;
});

/** Looks every 250 ms from `from` to `to`; when the member failed, if it did. */
function failedBetween(from: number, to: number): number | undefined {
  for (let at = from; at <= to; at += millis(250)) {
    if (lookAfter(micros(at), [member]).length > 0) return at;
  }
  return undefined;
}

describe('a node at its leader [MEM-2]', () => {
  it('that speaks every second is not asked', () => {
    for (let second = 1; second < 60; second++) {
      peer.heardAt = seconds(second);
      expect(failedBetween(seconds(second), seconds(second + 1))).toBeUndefined();
    }
    expect(peer.pings).toBe(0);
  });

  it('that a blocked event loop keeps quiet for 2 s is sent something once, and not asked', () => {
    peer.heardAt = seconds(10);
    expect(failedBetween(seconds(10), seconds(10) + PROBE_MICROS - 1)).toBeUndefined();
    expect(peer.pings).toBe(0);
    expect(failedBetween(seconds(10) + PROBE_MICROS, seconds(12))).toBeUndefined();
    expect([peer.pings, member.tries]).toEqual([1, 0]);
    peer.heardAt = seconds(12);
    expect(failedBetween(seconds(12), seconds(12) + PROBE_MICROS)).toBeUndefined();
    expect([peer.pings, member.tries]).toEqual([2, 0]);
  });

  it('that stays silent is asked three times, then it has failed', () => {
    peer.heardAt = seconds(10);
    const failedAt = failedBetween(seconds(10), seconds(30));
    expect([peer.pings, member.tries]).toEqual([1 + TRIES_MAX, TRIES_MAX]);
    expect(failedAt).toBe(seconds(10) + SILENCE_MICROS + TRIES_MAX * TRY_MICROS);
  });

  it('that answers the last try lives, and is given three tries again', () => {
    peer.heardAt = seconds(10);
    expect(failedBetween(seconds(10), seconds(10) + SILENCE_MICROS + 2 * TRY_MICROS)).toBeUndefined();
    expect([peer.pings, member.tries]).toEqual([1 + TRIES_MAX, TRIES_MAX]);
    peer.heardAt = micros(seconds(10) + SILENCE_MICROS + 2 * TRY_MICROS);
    const failedAt = failedBetween(peer.heardAt, seconds(60));
    expect(failedAt).toBe(peer.heardAt + SILENCE_MICROS + TRIES_MAX * TRY_MICROS);
    expect(peer.pings).toBe(2 * (1 + TRIES_MAX));
  });

  it('is asked first by a leader that stood still itself', () => {
    peer.heardAt = seconds(10);
    expect(failedBetween(seconds(10), seconds(11))).toBeUndefined();
    // The leader wakes up a minute later; the node's packets are not read yet.
    expect(lookAfter(seconds(70), [member])).toEqual([]);
    expect([peer.pings, member.tries]).toEqual([1, 1]);
    peer.heardAt = micros(seconds(70) + 1);
    expect(failedBetween(seconds(70), seconds(72))).toBeUndefined();
  });

  it('that has no session is not looked after', () => {
    member.connection = undefined;
    expect(failedBetween(0, seconds(60))).toBeUndefined();
  });
});

describe('a peer that is waited for [LEAD-10]', () => {
  const silence = seconds(1);

  it('is asked after the silence, and given up when that was in vain', () => {
    const watch = new SilenceWatch(peer as unknown as Connection, silence);
    expect(watch.isSilent(micros(silence - 1))).toBe(false);
    expect(peer.pings).toBe(0);
    expect(watch.isSilent(silence)).toBe(false);
    expect(peer.pings).toBe(1);
    expect(watch.isSilent(micros(silence + ANSWER_MICROS - 1))).toBe(false);
    expect(watch.isSilent(micros(silence + ANSWER_MICROS))).toBe(true);
    expect(peer.pings).toBe(1);
  });

  it('that answers is waited for again', () => {
    const watch = new SilenceWatch(peer as unknown as Connection, silence);
    expect(watch.isSilent(silence)).toBe(false);
    peer.heardAt = micros(silence + 1);
    expect(watch.isSilent(micros(silence + ANSWER_MICROS))).toBe(false);
    expect(watch.isSilent(micros(2 * silence + 1))).toBe(false);
    expect(peer.pings).toBe(2);
  });
});
