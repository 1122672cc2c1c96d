/**
 * Whether the nodes of a leader live [MEM-2]. Any packet of a node shows it. One that has been silent for
 * longer than a busy event loop keeps quiet is asked, a few times; then it has failed.
 *
 *   heard -- silent for SILENCE --> asked (1) -- TRY --> asked (2) -- TRY --> asked (3) -- TRY --> failed
 *   asked -- anything heard --> heard
 *
 * A node that a blocked event loop keeps quiet for 2 s is not even asked. A leader that stood still itself
 * asks, too, before it believes that others did. Pure: time is an argument.
 */

import { mark } from '../base/marks.ts';
import { type Micros, micros, millis } from '../base/units.ts';
import type { Member } from './membership.ts';
import type { Connection } from './ports.ts';

/**
 * A node that says nothing for this long is sent something: where its process has died, and not its machine,
 * its system says so. Nodes say something every second.
 */
export const PROBE_MICROS: Micros = millis(1_250);
/** A node that says nothing for this long is asked. */
export const SILENCE_MICROS: Micros = millis(2_500);
/** How long it has to answer each time. */
export const TRY_MICROS: Micros = millis(500);
export const TRIES_MAX = 3;
/** Nodes are looked at this often. */
export const LIVENESS_MICROS: Micros = millis(250);

function probe(now: Micros, member: Member, connection: Connection): void {
  const { heardAt } = connection;
  if (now < micros(heardAt + PROBE_MICROS) || (member.probedAt ?? 0) > heardAt) return;
  member.probedAt = now;
  connection.ping();
}

/** Looks at all members that have a session here; asks the silent ones, and returns those that have failed. */
export function lookAfter(now: Micros, members: readonly Member[]): Member[] {
  const failed: Member[] = [];
  for (const member of members) {
    const { connection, askedAt } = member;
    if (connection === undefined) continue;
    const isAnswered = askedAt !== undefined && connection.heardAt >= askedAt;
    if (askedAt === undefined || isAnswered) {
      member.tries = 0;
      member.askedAt = undefined;
      if (now < micros(connection.heardAt + SILENCE_MICROS)) {
        probe(now, member, connection);
        continue;
      }
    } else if (now < micros(askedAt + TRY_MICROS)) continue;
    if (member.tries >= TRIES_MAX) {
      mark('node-failed');
      failed.push(member);
      continue;
    }
    member.tries += 1;
    member.askedAt = now;
    connection.ping();
  }
  return failed;
}
