import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { micros, millis } from '../../src/base/units.ts';
import { LATE_MILLIS, systemClock } from '../../src/udp/clock.ts';

/** Nothing else runs in this process for so long. */
function standStill(spanMillis: number): void {
  const end = performance.now() + spanMillis;
  while (performance.now() < end);
}

const soon = (): ReturnType<typeof micros> => micros(systemClock.now() + millis(1));

describe('a timer of the system clock', () => {
  it('runs behind what arrived while the process stood still', async () => {
    const [from, to] = [createSocket('udp4'), createSocket('udp4')];
    onTestFinished(() => {
      from.close();
      to.close();
    });
    to.bind(0, '127.0.0.1');
    await once(to, 'listening');
    // Connected, so that it leaves at once.
    from.connect(to.address().port, '127.0.0.1');
    await once(from, 'connect');
    const seen: string[] = [];
    to.on('message', () => seen.push('datagram'));
    const isOver = new Promise<void>((resolve) => {
      systemClock.setTimer(soon(), () => {
        seen.push('timer');
        resolve();
      });
    });
    from.send('x');
    standStill(3 * LATE_MILLIS);
    expect(seen).toEqual([]);
    await isOver;
    expect(seen).toEqual(['datagram', 'timer']);
  });

  it('can be cancelled while it waits for that, and runs once where it is not', async () => {
    let [cancelled, kept] = [0, 0];
    const late = systemClock.setTimer(soon(), () => {
      cancelled += 1;
    });
    systemClock.setTimer(soon(), () => {
      kept += 1;
    });
    // Behind both, in the same round of timers.
    setTimeout(() => late.cancel(), 1);
    standStill(3 * LATE_MILLIS);
    await new Promise((resolve) => setTimeout(resolve, 5 * LATE_MILLIS));
    expect([cancelled, kept]).toEqual([0, 1]);
  });

  it('runs not before its time, and at once where that is over', async () => {
    const startedAt = systemClock.now();
    const at = await new Promise<number>((resolve) => {
      systemClock.setTimer(micros(startedAt + millis(5)), () => resolve(systemClock.now()));
    });
    expect(at - startedAt).toBeGreaterThanOrEqual(4_000);
    await new Promise<void>((resolve) => {
      systemClock.setTimer(micros(0), resolve);
    });
  });
});
