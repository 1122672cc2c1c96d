/** What the clients of a failover run were told, and whether it holds. Pure; tested in `test/bench/`. */

import type { WorkerEvent } from './worker.ts';

export interface Strike {
  readonly kind: string;
  /** Monotonic milliseconds. */
  readonly at: number;
}

export interface HeldInterval {
  readonly fencing: number;
  readonly from: number;
  readonly until: number;
}

export class Ledger {
  /** Objects whose put was acknowledged. */
  readonly hashes: string[] = [];
  /** When cycles began and ended, by client, in their order. */
  readonly #cycles = new Map<number, { readonly began: number; readonly ended: number }[]>();
  readonly locks = new Map<string, HeldInterval[]>();
  /** What was written last to each user session and acknowledged. */
  readonly sessions = new Map<string, { readonly number: number; readonly value: number }>();
  readonly errors = new Map<string, number>();

  take(client: number, event: WorkerEvent): void {
    switch (event.kind) {
      case 'cycle': {
        const cycles = this.#cycles.get(client) ?? [];
        cycles.push({ began: event.began, ended: event.ended });
        this.#cycles.set(client, cycles);
        this.hashes.push(event.hash);
        return;
      }
      case 'lock': {
        const held = this.locks.get(event.name) ?? [];
        held.push({ fencing: event.fencing, from: event.from, until: event.until });
        this.locks.set(event.name, held);
        return;
      }
      case 'session':
        this.sessions.set(event.token, { number: event.number, value: event.value });
        return;
      case 'error': {
        const key = `${event.what}: ${event.reason}`;
        this.errors.set(key, (this.errors.get(key) ?? 0) + 1);
        return;
      }
      case 'end':
    }
  }

  get cycles(): number {
    return this.hashes.length;
  }

  get held(): number {
    return [...this.locks.values()].reduce((sum, held) => sum + held.length, 0);
  }

  /** How long cycles took, in milliseconds; most of them while nothing failed. */
  get cycleMillis(): number[] {
    return [...this.#cycles.values()].flatMap((cycles) => cycles.map(({ began, ended }) => ended - began));
  }

  /** Milliseconds from a strike to the end of the first cycle that began after it, for each client. */
  recoveries(strike: Strike, endAt: number): number[] {
    return [...this.#cycles.values()].map((cycles) => {
      const first = cycles.find(({ began }) => began >= strike.at);
      return (first?.ended ?? endAt) - strike.at;
    });
  }

  /** Pairs of holders of one lock of whom both believed that they held it, or whose tokens do not grow. */
  lockBreaches(): string[] {
    const breaches: string[] = [];
    for (const [name, held] of this.locks) {
      const inOrder = [...held].sort((left, right) => left.from - right.from);
      for (const [index, next] of inOrder.entries()) {
        const earlier = inOrder[index - 1];
        if (earlier === undefined) continue;
        if (next.fencing <= earlier.fencing)
          breaches.push(`${name}: token ${next.fencing} came after ${earlier.fencing}`);
        if (next.from < earlier.until)
          breaches.push(
            `${name}: ${earlier.fencing} was held until ${earlier.until}, ${next.fencing} from ${next.from}`,
          );
      }
    }
    return breaches;
  }
}

/** The value below which the share `p` of all lies (nearest rank). */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? 0;
}
