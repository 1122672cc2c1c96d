import { expect, it, vi } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { Member } from '../../src/nodes/membership.ts';
import {
  RESERVATION_LEASE_MICROS,
  RESERVATION_MICROS_MAX,
  RESERVATIONS_MAX,
  Reservations,
} from '../../src/nodes/reservations.ts';
import { encodeMessage, QueryKind, ResultCode, whereToQuery } from '../../src/wire/index.ts';
import { Hub } from './coordinator-support.ts';
import { freshToken } from './tokens.ts';

it('reservations are so many at most, and when they have lapsed there is room and space again [DEFS-4]', () => {
  const lapsed: number[] = [];
  const reservations = new Reservations(({ bytes }) => lapsed.push(bytes));
  const member = new Member(new Uint8Array(16));
  const hold = (): void => reservations.hold(micros(0), freshToken(), 'client', [member], 1);
  for (let n = 1; n < RESERVATIONS_MAX; n++) hold();
  expect(reservations.full).toBe(false);
  hold();
  expect([reservations.full, member.reservedBytes]).toEqual([true, RESERVATIONS_MAX * 1_024]);
  reservations.expire(RESERVATION_LEASE_MICROS);
  expect([lapsed.length, reservations.size, member.reservedBytes]).toEqual([RESERVATIONS_MAX, 0, 0]);
});

it('a reservation ends a day after it was made, however often it is renewed [DEFS-4]', () => {
  const reservations = new Reservations(() => undefined);
  const [madeAt, token] = [1_000_000, freshToken()];
  reservations.hold(micros(madeAt), token, 'client', [new Member(new Uint8Array(16))], 1);
  const endsAt = madeAt + RESERVATION_MICROS_MAX;
  for (let now = madeAt; now < endsAt; now += RESERVATION_LEASE_MICROS / 2) {
    expect(reservations.renew(micros(now), token)).toBe(true);
  }
  expect(reservations.renew(micros(endsAt - 1), token)).toBe(true);
  expect(reservations.renew(micros(endsAt), token)).toBe(false);
  expect(reservations.size).toBe(0);
});

it('one more is refused as busy', async () => {
  const hub = await Hub.open();
  await hub.join(new Uint8Array(16).fill(1), '10.0.1.1:1');
  const ask = async (): Promise<number> => {
    const message = { token: freshToken(), bytes: 1, replicas: 1, hash: undefined };
    return (await hub.client.ask(QueryKind.WHERE_TO, encodeMessage(whereToQuery, message))).code;
  };
  expect(await ask()).toBe(ResultCode.OK);
  const full = vi.spyOn(Reservations.prototype, 'full', 'get').mockReturnValue(true);
  expect(await ask()).toBe(ResultCode.BUSY);
  full.mockRestore();
  expect(await ask()).toBe(ResultCode.OK);
});
