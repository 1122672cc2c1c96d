/** The child's end: takes its role from the first line of standard input, then runs operations. */

import { writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { createInterface } from 'node:readline';
import { type Operations, type RoleName, roles } from './roles/index.ts';

interface Request {
  readonly id: number;
  readonly operation: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** What every child can do. */
const COMMON: Operations = { rss: residentBytes, startProfile, stopProfile };
const profiler = new Session();

/** Never returns: the process ends when its standard input does. */
export async function runChild(): Promise<void> {
  // The terminal's Ctrl-C reaches children, too; the parent ends them.
  process.on('SIGINT', () => undefined);
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const first = JSON.parse((await lines.next()).value as string) as {
    role: RoleName;
    options: Readonly<Record<string, unknown>>;
  };
  let operations: Operations = {};
  await answer(0, async () => {
    const role = await roles[first.role](first.options as never);
    operations = role.operations ?? {};
    return role.ready;
  });
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) process.exit(0);
    const { id, operation, parameters } = JSON.parse(value) as Request;
    const run = COMMON[operation] ?? operations[operation];
    // Not awaited: operations may overlap.
    void answer(id, () => {
      if (run === undefined) throw new Error(`there is no operation ${operation}`);
      return run(parameters as never);
    });
  }
}

async function answer(id: number, run: () => unknown): Promise<void> {
  try {
    const result = (await run()) ?? null;
    console.log(JSON.stringify({ id, result }));
  } catch (error) {
    console.log(
      JSON.stringify({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  }
}

async function residentBytes(): Promise<number> {
  const { gc } = globalThis as { gc?: () => void };
  for (let round = 0; gc !== undefined && round < 3; round++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return process.memoryUsage().rss;
}

/** From here on the processor's time is sampled: not what came before, such as starting and filling. */
async function startProfile({ intervalMicros }: { intervalMicros: number }): Promise<void> {
  profiler.connect();
  await profiler.post('Profiler.enable');
  await profiler.post('Profiler.setSamplingInterval', { interval: intervalMicros });
  await profiler.post('Profiler.start');
}

async function stopProfile({ path }: { path: string }): Promise<void> {
  const { profile } = await profiler.post('Profiler.stop');
  profiler.disconnect();
  await writeFile(path, JSON.stringify(profile));
}
