/**
 * Kills coordinators, etcd members and nodes under load, and counts what was lost: three coordinators on three
 * etcd members, four nodes and twenty clients, each a process of its own on this machine.
 *
 *   npm run failover -- [--repeats 20] [--clients 20] [--faults leader,etcd,node,stop] [--json] [--log FILE]
 *
 * After each fault clients go on working; what was killed is started again. At the end every acknowledged
 * put must be there, every acknowledged write of a user session, and no lock may have had two holders.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { openClient, readSecret } from '../../src/open.ts';
import { ETCD_PROGRAM, EtcdProcesses } from '../etcd-processes.ts';
import { freeUdpPort } from '../processes.ts';
import { Ledger, percentile, type Strike } from './ledger.ts';
import { runWorker, type WorkerEvent, type WorkerSetup } from './worker.ts';

/** The one argument of a client's process. */
const WORKER = 'worker';
if (process.argv[2] === WORKER) await runWorker();

const ROOT = process.cwd();
const COORDINATORS = 3;
const NODES = 4;
const LOCKS = ['red', 'green', 'blue', 'white', 'black'];
/** From a fault until what it ended is started again. */
const FAULT_MILLIS = 7_000;
const STOP_MILLIS = 10_000;
/** Then the cluster is whole again, and works for a while. */
const HEALTHY_MILLIS_MAX = 60_000;
const SETTLE_MILLIS = 2_000;
const GOAL_MILLIS = 5_000;
const FAULTS = ['leader', 'etcd', 'node', 'stop'] as const;
type Fault = (typeof FAULTS)[number];

const SAID: Readonly<Record<Fault, string>> = {
  leader: 'kill -9 of the leading coordinator',
  etcd: 'kill -9 of the etcd leader',
  node: 'kill -9 of a node',
  stop: 'SIGSTOP of the leading coordinator for 10 s',
};

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const { values } = parseArgs({
  options: {
    repeats: { type: 'string', default: '20' },
    clients: { type: 'string', default: '20' },
    faults: { type: 'string', default: FAULTS.join() },
    json: { type: 'boolean', default: false },
    log: { type: 'string' },
  },
});
/** What roles say, when, and when faults strike. */
const log = values.log === undefined ? undefined : createWriteStream(values.log);
const note = (who: string, text: string): void => {
  for (const line of text.trimEnd().split('\n')) log?.write(`${now().toFixed(0)} ${who}: ${line}\n`);
};
const repeats = Number(values.repeats);
const clientsCount = Number(values.clients);
const faults = values.faults.split(',') as Fault[];
const isWhole = (number: number): boolean => Number.isInteger(number) && number >= 1 && number <= 1_000;
if (!isWhole(repeats) || !isWhole(clientsCount) || !faults.every((fault) => FAULTS.includes(fault))) {
  console.error(`usage: --repeats and --clients are 1 to 1000, --faults some of ${FAULTS.join()}`);
  process.exit(2);
}
if (ETCD_PROGRAM === undefined) {
  console.error('etcd is not installed: on Debian, apt-get install etcd-server');
  process.exit(1);
}

/** A process of the cluster, which can die and be started again. */
class Role {
  readonly name: string;
  readonly #parameters: readonly string[];
  process!: ChildProcess;
  #output = '';

  constructor(name: string, parameters: readonly string[]) {
    this.name = name;
    this.#parameters = parameters;
  }

  /** Resolves when it says that it is ready. */
  async start(): Promise<void> {
    const level = log === undefined ? [] : ['--log-level', 'info'];
    const command = [join(ROOT, 'dist', 'cli', 'main.js'), ...this.#parameters, '--json', ...level];
    this.process = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
    const collect = (chunk: Buffer): void => {
      note(this.name, chunk.toString());
      this.#output = (this.#output + chunk.toString()).slice(-4_000);
    };
    this.process.stderr!.on('data', collect);
    const ended = once(this.process, 'exit').then(() => {
      throw new Error(`${this.name} ended: ${this.#output}`);
    });
    ended.catch(() => undefined);
    await Promise.race([once(this.process.stdout!, 'data'), ended]);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}

const directory = mkdtempSync(join(tmpdir(), 'gramline-failover-'));
const started: (() => Promise<unknown> | unknown)[] = [
  () => rmSync(directory, { recursive: true, force: true }),
];
const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

try {
  await main();
} finally {
  for (const end of started.reverse()) await end();
}

async function main(): Promise<void> {
  const etcd = await EtcdProcesses.start({ members: 3 });
  started.push(() => etcd.stop());
  const secretFile = join(directory, 'cluster.secret');
  await once(
    spawn(process.execPath, [join(ROOT, 'dist', 'cli', 'main.js'), 'secret', '-o', secretFile]),
    'exit',
  );
  const addresses: string[] = [];
  const coordinators = new Map<string, Role>();
  for (let index = 0; index < COORDINATORS; index++) {
    const address = `127.0.0.1:${await freeUdpPort()}`;
    const state = `etcd:${etcd.urls.join()}`;
    const parameters = ['coordinator', '--secret-file', secretFile, '--listen', address, '--state', state];
    addresses.push(address);
    coordinators.set(address, new Role(`coordinator ${index + 1}`, parameters));
  }
  const known = addresses.join();
  const nodes = Array.from({ length: NODES }, (_, index) => {
    const own = ['--directory', join(directory, `node-${index + 1}`), '--name', `node-${index + 1}`];
    return new Role(`node ${index + 1}`, [
      'node',
      '--secret-file',
      secretFile,
      '--coordinators',
      known,
      ...own,
    ]);
  });
  started.push(() => Promise.all([...coordinators.values(), ...nodes].map((role) => role.kill())));
  for (const role of coordinators.values()) await role.start();
  await Promise.all(nodes.map((node) => node.start()));
  const observer = await openClient({ secret: await readSecret(secretFile), coordinators: addresses });
  started.push(() => observer.close());
  const ledger = new Ledger();
  const workers = Array.from({ length: clientsCount }, (_, index) =>
    startWorker({ index, secretFile, coordinators: rotated(addresses, index), locks: LOCKS }, ledger),
  );
  started.push(() => workers.map(({ child }) => child.kill('SIGKILL')));
  await pause(SETTLE_MILLIS * 2);

  /** All coordinators, nodes and one leader are there. */
  const healthy = async (): Promise<void> => {
    const until = now() + HEALTHY_MILLIS_MAX;
    for (;;) {
      try {
        const status = await observer.status({ signal: AbortSignal.timeout(2_000) });
        const leads = status.coordinators.filter((one) => one.leads).length;
        const up = status.nodes.filter((node) => node.state === 0).length;
        if (leads === 1 && up === NODES && status.coordinators.length === COORDINATORS && !status.stale)
          return;
      } catch {
        // Asked again.
      }
      if (now() > until) throw new Error('the cluster does not become whole again');
      await pause(100);
    }
  };
  const leader = async (): Promise<Role> => {
    await healthy();
    const status = await observer.status();
    return coordinators.get(status.coordinators.find(({ leads }) => leads)!.address)!;
  };

  const strikes: Strike[] = [];
  const strike = async (fault: Fault): Promise<void> => {
    const begin = (): void => {
      note('fault', SAID[fault]);
      strikes.push({ kind: fault, at: now() });
    };
    switch (fault) {
      case 'leader': {
        const role = await leader();
        begin();
        await role.kill();
        await pause(FAULT_MILLIS);
        return role.start();
      }
      case 'stop': {
        const role = await leader();
        begin();
        role.process.kill('SIGSTOP');
        await pause(STOP_MILLIS);
        role.process.kill('SIGCONT');
        return;
      }
      case 'node': {
        await healthy();
        const node = nodes[Math.floor(Math.random() * nodes.length)]!;
        begin();
        await node.kill();
        await pause(FAULT_MILLIS);
        return node.start();
      }
      case 'etcd': {
        await healthy();
        const member = await etcd.leader();
        begin();
        await etcd.signal(member, 'SIGKILL');
        await pause(FAULT_MILLIS);
        etcd.restart(member);
        return etcd.ready();
      }
    }
  };
  for (let round = 1; round <= repeats; round++) {
    for (const fault of faults) {
      await strike(fault);
      await healthy();
      await pause(SETTLE_MILLIS);
    }
    say(`round ${round} of ${repeats}: ${ledger.cycles} puts, ${ledger.held} locks acknowledged`);
  }
  const endAt = now();
  await Promise.all(workers.map((worker) => worker.stop()));

  say('looking for all that was acknowledged');
  const lost = await missing(observer, ledger.hashes);
  const lostSessions: string[] = [];
  for (const [token, { number, value }] of ledger.sessions) {
    const session = await observer.session({ resume: token }).catch(() => undefined);
    const held = session === undefined ? -1 : new DataView(session.data.slice().buffer).getUint32(0);
    if (session === undefined || session.number < number || held < value)
      lostSessions.push(token.slice(0, 8));
  }
  const breaches = ledger.lockBreaches();
  report({ ledger, strikes, endAt, lost, lostSessions, breaches });
  if (lost.length + lostSessions.length + breaches.length > 0) process.exitCode = 1;
}

/** Objects that are not found, or whose bytes do not come. */
async function missing(
  observer: Awaited<ReturnType<typeof openClient>>,
  hashes: readonly string[],
): Promise<string[]> {
  const lost: string[] = [];
  for (let from = 0; from < hashes.length; from += 64) {
    await Promise.all(
      hashes.slice(from, from + 64).map(async (hash) => {
        try {
          // Checked against its hash as it comes.
          for await (const part of observer.get(hash)) void part;
        } catch {
          lost.push(hash);
        }
      }),
    );
  }
  return lost;
}

interface Outcome {
  readonly ledger: Ledger;
  readonly strikes: readonly Strike[];
  readonly endAt: number;
  readonly lost: readonly string[];
  readonly lostSessions: readonly string[];
  readonly breaches: readonly string[];
}

function report({ ledger, strikes, endAt, lost, lostSessions, breaches }: Outcome): void {
  const rows = faults.map((fault) => {
    const own = strikes.filter(({ kind }) => kind === fault);
    const recoveries = own.flatMap((strike) => ledger.recoveries(strike, endAt));
    const at = (share: number): number => Math.round(percentile(recoveries, share));
    return { fault, times: own.length, p50Millis: at(0.5), p95Millis: at(0.95), maxMillis: at(1) };
  });
  if (rows.some(({ p95Millis }) => p95Millis > GOAL_MILLIS)) process.exitCode = 1;
  const totals = {
    cycleP50Millis: Math.round(percentile(ledger.cycleMillis, 0.5)),
    commits: ledger.cycles,
    commitsLost: lost.length,
    locksHeld: ledger.held,
    locksHeldTwice: breaches.length,
    sessions: ledger.sessions.size,
    sessionsLost: lostSessions.length,
  };
  if (values.json) {
    console.log(JSON.stringify({ faults: rows, ...totals, errors: Object.fromEntries(ledger.errors) }));
    return;
  }
  for (const { fault, times, p50Millis, p95Millis, maxMillis } of rows) {
    const verdict = p95Millis <= GOAL_MILLIS ? 'reached' : 'NOT reached';
    console.log(
      `${SAID[fault]}, ${times} times: correct answers again after ${p50Millis} ms (p50), ${p95Millis} ms (p95), ${maxMillis} ms (max); goal ${GOAL_MILLIS} ms at p95: ${verdict}`,
    );
  }
  console.log(`median of a put, a look and a get: ${totals.cycleP50Millis} ms`);
  console.log(`acknowledged commits lost: ${totals.commitsLost} of ${totals.commits}`);
  console.log(`locks held twice: ${totals.locksHeldTwice} of ${totals.locksHeld}`);
  console.log(`user sessions lost: ${totals.sessionsLost} of ${totals.sessions}`);
  for (const breach of breaches.slice(0, 20)) console.log(`  ${breach}`);
  const errors = [...ledger.errors].sort((left, right) => right[1] - left[1]);
  for (const [what, count] of errors.slice(0, 10)) console.log(`  told to clients ${count} times: ${what}`);
}

function startWorker(setup: WorkerSetup, ledger: Ledger) {
  const child = spawn(process.execPath, [process.argv[1]!, WORKER], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.write(`${JSON.stringify(setup)}\n`);
  const ended = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = JSON.parse(line) as WorkerEvent;
      if (log !== undefined)
        note(`client ${setup.index}`, event.kind === 'error' ? event.reason : event.kind);
      ledger.take(setup.index, event);
      if (event.kind === 'end') resolve();
    });
    child.on('exit', () => resolve());
  });
  return {
    child,
    stop: async (): Promise<void> => {
      child.stdin.write('end\n');
      await Promise.race([ended, pause(60_000)]);
    },
  };
}

function rotated(items: readonly string[], by: number): string[] {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
