import { expect, it, vi } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { Member } from '../../src/nodes/membership.ts';
import { RESERVATION_LEASE_MICROS, RESERVATIONS_MAX, Reservations } from '../../src/nodes/reservations.ts';
import { encodeMessage, QueryKind, ResultCode, whereToQuery } from '../../src/wire/index.ts';
import { Hub } from './coordinator-support.ts';
import { freshToken } from './tokens.ts';

it('reservations are so many at most, and when they have lapsed there is room and space again [DEFS-4]', () => {
  const lapsed: number[] = [];
  const reservations = new Reservations(({ bytes }) => lapsed.push(bytes));
  const member = new Member(new Uint8Array(16));
  for (let n = 0; n < RESERVATIONS_MAX; n++) {
    expect(reservations.full).toBe(false);
    reservations.hold(micros(0), freshToken(), 'client', [member], 1);
  }
  expect([reservations.full, member.reservedBytes]).toEqual([true, RESERVATIONS_MAX * 1_024]);
  reservations.expire(RESERVATION_LEASE_MICROS);
  expect([lapsed.length, reservations.size, member.reservedBytes]).toEqual([RESERVATIONS_MAX, 0, 0]);
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
