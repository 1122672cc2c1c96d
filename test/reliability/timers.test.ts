import { describe, expect, it } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { TimerTable } from '../../src/reliability/index.ts';

describe('a timer table', () => {
  it('tells the earliest of all timers', () => {
    const timers = new TimerTable<'a' | 'b'>();
    expect(timers.next()).toBeUndefined();
    timers.set('a', micros(20));
    timers.set('b', micros(10));
    expect(timers.next()).toBe(10);
    timers.set('b', micros(30));
    expect(timers.next()).toBe(20);
  });

  it('tells when a timer runs', () => {
    const timers = new TimerTable<'a' | 'b'>();
    timers.set('a', micros(20));
    expect(timers.get('a')).toBe(20);
    expect(timers.get('b')).toBeUndefined();
  });

  it('hands out each due timer once, and none before its time', () => {
    const timers = new TimerTable<'a' | 'b' | 'c'>();
    timers.set('a', micros(20));
    timers.set('b', micros(10));
    timers.set('c', micros(21));
    expect(timers.takeDue(micros(9))).toBeUndefined();
    expect([timers.takeDue(micros(20)), timers.takeDue(micros(20))].sort()).toEqual(['a', 'b']);
    expect(timers.takeDue(micros(20))).toBeUndefined();
    expect(timers.next()).toBe(21);
  });

  it('forgets a timer that is stopped, and all when cleared', () => {
    const timers = new TimerTable<'a' | 'b'>();
    timers.set('a', micros(1));
    timers.set('b', micros(2));
    timers.set('a', undefined);
    expect(timers.get('a')).toBeUndefined();
    expect(timers.takeDue(micros(5))).toBe('b');
    timers.set('a', micros(1));
    timers.clear();
    expect(timers.next()).toBeUndefined();
  });
});
