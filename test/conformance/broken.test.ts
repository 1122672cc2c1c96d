/**
 * The runner can fail: it must find every broken peer, and by the clause that it breaks. That an unbroken one
 * passes is `wire.test.ts`'s matter. All of them: GRAMLINE_CONFORMANCE=all.
 */

import { beforeAll, describe, expect, it } from 'vitest';
import { wireCases } from '../../conformance/cases/all.ts';
import { type ListenCase, ListenContext } from '../../conformance/listen.ts';
import { listenCases } from '../../conformance/listen-cases/initiators.ts';
import { nodeCases } from '../../conformance/listen-cases/nodes.ts';
import { RUN_LIMITS, runJobs, runWireCases } from '../../conformance/run-cases.ts';
import { findTarget } from '../../conformance/target.ts';
import type { Verdict } from '../../conformance/verdicts.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { deriveClusterKeys } from '../../src/crypto/index.ts';
import { brokenInitiators } from './broken/initiators.ts';
import { brokenNodes } from './broken/nodes.ts';
import { type BrokenPeer, brokenPeers } from './broken/peers.ts';
import { bundlePeer, clientCommand, nodeCommand, occurrences, Peer, randomSecret } from './support.ts';

const PEERS_LEAST = 25;
/** All of them take two cores a minute and a half: one in so many is judged, unless all are asked for. */
const ONE_IN = process.env.GRAMLINE_CONFORMANCE === 'all' ? 1 : 5;
/** Peers that run at once: most of their time they wait. */
const PEERS_AT_ONCE = 8;
/** Bundling, a process, and cases that wait for what never comes; on a busy machine. */
const TEST_MILLIS = 180_000;

/** Runs the cases of the clause against the peer until one of them fails by it. */
async function judge(broken: BrokenPeer): Promise<Verdict[]> {
  const [secret, reader] = [randomSecret(), randomSecret()];
  const role = broken.role ?? 'coordinator';
  const peer = await Peer.start({ role, bundle: await bundlePeer(broken), secret, reader });
  try {
    const target = await findTarget({ address: peer.address, secret, readSecret: reader, role });
    const cases = wireCases.filter(({ clauses }) => clauses.includes(broken.caughtBy));
    return await runWireCases(target, cases, RUN_LIMITS, (verdict) =>
      verdict.brokenClause === broken.caughtBy ? 'enough' : undefined,
    );
  } finally {
    await peer.end();
  }
}

/** Runs what is handed in, so much at a time, in order. */
class Lanes {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** The same for a client or a node, of which the runner is the coordinator. */
async function judgeInitiator(
  broken: Omit<BrokenPeer, 'role'>,
  commandOf: (bundle: string, secret: Uint8Array) => readonly string[],
  cases: readonly ListenCase[],
): Promise<Verdict[]> {
  const secret = randomSecret();
  const suite = bestSuite();
  const command = commandOf(await bundlePeer(broken), secret);
  const keys = deriveClusterKeys(suite, secret);
  const listen = { host: '127.0.0.1', port: 0 };
  const target = { suite, keys, listen, command, admissionSecret: secret };
  const asked = cases.filter(({ clauses }) => clauses.includes(broken.caughtBy));
  const jobs = asked.map((facts) => ({ facts, start: () => new ListenContext(target, facts.run) }));
  return runJobs(jobs, RUN_LIMITS, (verdict) =>
    verdict.brokenClause === broken.caughtBy ? 'enough' : undefined,
  );
}

function sampled<Broken>(all: readonly Broken[]): readonly Broken[] {
  return all.filter((_broken, index) => index % ONE_IN === 0);
}

function expectCaught(verdicts: readonly Verdict[], clause: string): void {
  const failed = verdicts.filter(({ outcome }) => outcome === 'fail');
  const found = failed.map(({ id, brokenClause, detail }) => `${id} [${brokenClause}] ${detail}`);
  const clauses = failed.map(({ brokenClause }) => brokenClause);
  expect(clauses, found.join('\n')).toContain(clause);
}

describe('the broken peers', () => {
  it(`are at least ${PEERS_LEAST}, each with a name of its own`, () => {
    const names = [...brokenPeers, ...brokenInitiators, ...brokenNodes].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(brokenPeers.length).toBeGreaterThanOrEqual(PEERS_LEAST);
  });

  it.each([...brokenPeers, ...brokenInitiators, ...brokenNodes])(
    'one that $name differs by one line, which is there once',
    (broken) => {
      expect(occurrences(broken)).toBe(1);
      expect(broken.replace).not.toBe(broken.find);
    },
  );
});

describe('the runner', () => {
  const lanes = new Lanes(PEERS_AT_ONCE);
  const judged = new Map<string, Promise<Verdict[]>>();

  beforeAll(() => {
    const begin = (name: string, work: () => Promise<Verdict[]>): void => {
      const verdicts = lanes.run(work);
      // Its own test says so.
      verdicts.catch(() => undefined);
      judged.set(name, verdicts);
    };
    // These wait longest.
    for (const broken of sampled(brokenInitiators)) {
      begin(broken.name, () => judgeInitiator(broken, clientCommand, listenCases));
    }
    for (const broken of sampled(brokenNodes))
      begin(broken.name, () => judgeInitiator(broken, nodeCommand, nodeCases));
    for (const broken of sampled(brokenPeers)) begin(broken.name, () => judge(broken));
  });

  it.each(sampled(brokenPeers))(
    'finds a peer that $name, by [$caughtBy]',
    async (broken) => {
      expectCaught(await judged.get(broken.name)!, broken.caughtBy);
    },
    TEST_MILLIS,
  );

  it.each(sampled(brokenNodes))(
    'finds a node that $name, by [$caughtBy]',
    async (broken) => {
      expectCaught(await judged.get(broken.name)!, broken.caughtBy);
    },
    TEST_MILLIS,
  );

  it.each(sampled(brokenInitiators))(
    'finds an initiator that $name, by [$caughtBy]',
    async (broken) => {
      expectCaught(await judged.get(broken.name)!, broken.caughtBy);
    },
    TEST_MILLIS,
  );
});
