/**
 * How a node finds the coordinator that leads, joins it, and finds the next one when that is gone.
 *
 *   connecting -- nothing answers --> wait, doubled each time --> connecting to the next one
 *   connected -- admitted --> joined -- gone, or silent --> connecting to another one
 *   connected -- NOT_LEADER, another is named --> connecting to that one               [LEAD-5]
 *   connected -- NOT_LEADER, nobody is known but who was lost just now, or BUSY --> asked again in a moment,
 *                on the same session: a thousand nodes that wait for a leader make no thousand handshakes
 */

import { isGramlineError } from '../base/errors.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import { Role } from '../wire/index.ts';
import { CoordinatorTurns } from './coordinator-turns.ts';
import type { Clock, Connection, Entropy, Log, Transport } from './ports.ts';
import { sleep } from './roles.ts';
import { untilSilent } from './silence.ts';

/** Between tries to reach a coordinator, doubled up to the most, with jitter. */
const RETRY_MICROS: Micros = millis(200);
const RETRY_MICROS_MAX: Micros = seconds(5);
/** How long a coordinator may take to answer a HELLO; less where another can be asked. */
const CONNECT_MICROS: Micros = seconds(5);
const CONNECT_AROUND_MICROS: Micros = seconds(1);
/** One that does not lead, and knows of nobody who does, is asked again so often, with jitter, ever less, and for so long. */
const LEADER_RETRY_MICROS: Micros = millis(100);
const LEADER_RETRY_MICROS_MAX: Micros = millis(300);
const LEADER_RETRY_GROWTH = 1.3;
const LEADER_MICROS: Micros = seconds(10);
/** Coordinators that name another one after the other: after so many, nobody knows. */
export const HOPS_MAX = 4;
/** A coordinator that acknowledges nothing for this long is asked for a sign of life; sooner where there are others [LEAD-10]. */
const SILENCE_MICROS: Micros = millis(2_000);
const SILENCE_AROUND_MICROS: Micros = millis(1_500);

export interface JoiningOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  /** `host:port` of coordinators. */
  readonly coordinators: readonly string[];
  /** Ends it all. */
  readonly signal: AbortSignal;
  /** Asks to be admitted over a new session. Rejects with what the coordinator answers. */
  readonly admit: (connection: Connection) => Promise<void>;
  /** Tells the coordinator that has admitted this node what it holds. */
  readonly introduce: (connection: Connection) => Promise<void>;
  readonly onJoined: (connection: Connection, address: string) => void;
  readonly onLeft: () => void;
  /** It did not work, and is tried again. */
  readonly onFailure: (error: unknown) => Promise<void>;
}

/** Joins, and joins again, until the signal aborts. */
export async function stayJoined(options: JoiningOptions): Promise<void> {
  const { clock, entropy, log, signal, coordinators } = options;
  const turns = new CoordinatorTurns(coordinators);
  let wait = RETRY_MICROS;
  let hops = 0;
  let named: string | undefined;
  while (!signal.aborted) {
    const address = named ?? turns.current(clock.now());
    named = undefined;
    try {
      const connection = await join(options, turns, address);
      [wait, hops] = [RETRY_MICROS, 0];
      const silenceMicros = turns.areSeveral ? SILENCE_AROUND_MICROS : SILENCE_MICROS;
      await untilSilent(clock, connection, silenceMicros, signal);
      options.onLeft();
      if (signal.aborted) return await connection.close();
      log.warn(connection.isOpen ? 'the coordinator is silent' : 'the coordinator is gone', { address });
      if (connection.isOpen) connection.abandon();
      turns.lose(address, clock.now());
    } catch (error) {
      if (signal.aborted) return;
      const leader = leaderNamed(error, turns, clock.now());
      if (leader !== undefined && hops < HOPS_MAX) {
        hops += 1;
        named = leader;
        continue;
      }
      hops = 0;
      if (isGramlineError(error, 'GRAMLINE_NO_COORDINATOR')) turns.lose(address, clock.now());
      else turns.pass(clock.now());
      log.warn('could not join', { address, reason: String(error) });
      await options.onFailure(error);
      await sleep(clock, jittered(wait, entropy), signal);
      wait = micros(Math.min(wait * 2, RETRY_MICROS_MAX));
    }
  }
}

async function join(options: JoiningOptions, turns: CoordinatorTurns, address: string): Promise<Connection> {
  const { transport, signal } = options;
  const timeoutMicros = turns.areSeveral ? CONNECT_AROUND_MICROS : CONNECT_MICROS;
  const connection = await transport.connect({ address, role: Role.NODE, timeoutMicros, signal });
  try {
    turns.find(address);
    await untilAdmitted(options, turns, connection);
    await options.introduce(connection);
    // Whoever closed meanwhile did not see this session.
    signal.throwIfAborted();
    options.onJoined(connection, address);
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Asks to be admitted, and again while nobody leads, or the leader has no time. */
async function untilAdmitted(
  options: JoiningOptions,
  turns: CoordinatorTurns,
  connection: Connection,
): Promise<void> {
  const { clock, entropy, signal, admit } = options;
  const giveUpAt = micros(clock.now() + LEADER_MICROS);
  let retryMicros = LEADER_RETRY_MICROS;
  for (;;) {
    try {
      return await admit(connection);
    } catch (error) {
      const waitMicros = waitAfter(error, turns, clock.now(), retryMicros);
      if (waitMicros === undefined || clock.now() >= giveUpAt || !connection.isOpen) throw error;
      await sleep(clock, jittered(waitMicros, entropy), signal);
      signal.throwIfAborted();
      retryMicros = micros(Math.min(LEADER_RETRY_MICROS_MAX, Math.round(retryMicros * LEADER_RETRY_GROWTH)));
    }
  }
}

/** After what time the same coordinator may answer otherwise; undefined where it will not. */
function waitAfter(
  error: unknown,
  turns: CoordinatorTurns,
  now: Micros,
  retryMicros: Micros,
): Micros | undefined {
  if (!isGramlineError(error)) return undefined;
  if (error.code === 'GRAMLINE_BUSY') {
    return error.retryAfterMillis === undefined ? retryMicros : millis(error.retryAfterMillis);
  }
  const isUnknown = error.code === 'GRAMLINE_NOT_LEADER' && leaderNamed(error, turns, now) === undefined;
  return isUnknown ? retryMicros : undefined;
}

/** Who leads, as a coordinator said, unless it was lost a moment ago. */
function leaderNamed(error: unknown, turns: CoordinatorTurns, now: Micros): string | undefined {
  const leader = isGramlineError(error) ? error.leader : undefined;
  return leader === undefined || turns.isLost(leader, now) ? undefined : leader;
}

function jittered(span: Micros, entropy: Entropy): Micros {
  return micros(Math.round(span * (0.5 + entropy.fraction())));
}
