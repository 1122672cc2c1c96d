import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { seconds } from '../../src/base/units.ts';
import {
  RETRY_MILLIS_MAX,
  retryMillisOf,
  toldSeldom,
  WARNINGS_MAX,
  withFewWarnings,
} from '../../src/nodes/roles.ts';
import { busyReply, encodeMessage, ResultCode } from '../../src/wire/index.ts';

describe('a busy peer', () => {
  const retryAfter = (retryMillis: number): number | undefined =>
    retryMillisOf({ code: ResultCode.BUSY, body: encodeMessage(busyReply, { retryMillis }) });

  it('is asked again when it says so, and not much later [MSG-10]', () => {
    expect([0, 250, RETRY_MILLIS_MAX].map(retryAfter)).toEqual([0, 250, RETRY_MILLIS_MAX]);
    expect(retryAfter(0xffffffff)).toBe(RETRY_MILLIS_MAX);
  });

  it('need not say when', () => {
    expect(retryMillisOf({ code: ResultCode.BUSY, body: new Uint8Array() })).toBeUndefined();
    expect(retryMillisOf({ code: ResultCode.OK, body: new Uint8Array() })).toBeUndefined();
  });
});

describe('a failure that comes again and again', () => {
  it('is told at first, each reason once, and every now and then', async () => {
    const clock = new VirtualClock();
    const told: string[] = [];
    const tell = toldSeldom(clock, (reason) => told.push(reason));
    for (const reason of ['a', 'a', 'b', 'b', 'a']) tell(reason);
    expect(told).toEqual(['a', 'b']);
    await clock.run({ untilMicros: seconds(29), stepsMax: 10 });
    tell('a');
    expect(told).toHaveLength(2);
    await clock.run({ untilMicros: seconds(30), stepsMax: 10 });
    tell('a');
    expect(told).toEqual(['a', 'b', 'a']);
  });

  it('is remembered of so many', () => {
    const told: string[] = [];
    const tell = toldSeldom(new VirtualClock(), (reason) => told.push(reason));
    for (let n = 0; n < 17; n++) tell(`${n}`);
    tell('16');
    tell('0');
    expect(told).toHaveLength(18);
  });
});

describe('warnings that strangers can cause', () => {
  it('are told so many in a while, and then how many there were besides', async () => {
    const clock = new VirtualClock();
    const told: string[] = [];
    const note = (message: string, fields?: object): void => {
      told.push(fields === undefined ? message : `${message} ${JSON.stringify(fields)}`);
    };
    const log = withFewWarnings(clock, { info: note, warn: note, error: note });
    for (let n = 0; n < WARNINGS_MAX + 5; n++) log.warn('no');
    expect(told).toHaveLength(WARNINGS_MAX);
    log.info('other');
    await clock.run({ untilMicros: seconds(31), stepsMax: 10 });
    log.warn('no');
    expect(told.slice(WARNINGS_MAX)).toEqual(['other', 'warnings were left out {"count":5}', 'no']);
  });
});
