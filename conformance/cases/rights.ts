/** What a secret allows its holder. These cases need a second secret, which carries the right to read alone. */

import { QueryKind, ResultCode } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';

/** Bodies that decode, so that nothing but the right is missing. */
function ask(
  name: string,
  role: 'coordinator' | 'node',
  kind: number,
  body: Uint8Array,
  isAllowed: boolean,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connectReader();
    const { code } = await session.ask(kind, body, 'MSG-6');
    const isDenied = code === ResultCode.DENIED;
    expectThat(isDenied !== isAllowed, isAllowed ? 'another code than DENIED' : 'DENIED (5)', `code ${code}`);
    await session.checkAlive('MSG-6');
  };
  return {
    title: `${name} of a reader is ${isAllowed ? 'answered' : 'DENIED'}`,
    role,
    clauses: ['MSG-6'],
    run,
  };
}

/** A WHERE_TO of one byte and one replica, without a hash. */
const WHERE_TO = new Uint8Array(16);
WHERE_TO[13] = 1;
WHERE_TO[14] = 1;
/** A COMMIT for one replica, without a receipt. */
const COMMIT = new Uint8Array(48);
COMMIT[46] = 1;

/** A WHERE_IS_MANY of one hash. */
const WHERE_IS_MANY = new Uint8Array(33);
WHERE_IS_MANY[0] = 1;
/** A LOCK of the name `a`, without a wait. */
const LOCK = new Uint8Array(27);
LOCK.set([1, 0x61]);
LOCK.set([0, 0, 0x75, 0x30], 19);
/** An UNLOCK of the same. */
const UNLOCK = LOCK.slice(0, 24).fill(0, 18);
/** A SESSION_WRITE of number 1, for a second, without data. */
const SESSION_WRITE = new Uint8Array(44);
SESSION_WRITE[37] = 1;
SESSION_WRITE[41] = 1;
const SESSION = new Uint8Array(32);

const texts: readonly CaseText[] = [
  ask('STATUS', 'coordinator', QueryKind.STATUS, new Uint8Array(4), true),
  ask('WHERE_IS', 'coordinator', QueryKind.WHERE_IS, new Uint8Array(32), true),
  ask('WHERE_TO', 'coordinator', QueryKind.WHERE_TO, WHERE_TO, false),
  ask('COMMIT', 'coordinator', QueryKind.COMMIT, COMMIT, false),
  ask('RELEASE', 'coordinator', QueryKind.RELEASE, new Uint8Array(8), false),
  ask('RENEW', 'coordinator', QueryKind.RENEW, new Uint8Array(8), false),
  ask('REMOVE', 'coordinator', QueryKind.REMOVE, new Uint8Array(40), false),
  ask('JOIN', 'coordinator', QueryKind.JOIN, new Uint8Array(38), false),
  ask('READ', 'node', QueryKind.READ, new Uint8Array(54).fill(1), true),
  ask('STORE', 'node', QueryKind.STORE, new Uint8Array(14), false),
  ask('MEMBERS', 'coordinator', QueryKind.MEMBERS, new Uint8Array(26), true),
  ask('WHERE_IS_MANY', 'coordinator', QueryKind.WHERE_IS_MANY, WHERE_IS_MANY, true),
  ask('LOCK', 'coordinator', QueryKind.LOCK, LOCK, false),
  ask('UNLOCK', 'coordinator', QueryKind.UNLOCK, UNLOCK, false),
  ask('SESSION_WRITE', 'coordinator', QueryKind.SESSION_WRITE, SESSION_WRITE, false),
  ask('SESSION_READ', 'coordinator', QueryKind.SESSION_READ, SESSION, true),
  ask('SESSION_END', 'coordinator', QueryKind.SESSION_END, SESSION, false),
];

export const rightsCases = section('rights', 631, texts);
