/** The child's end: takes its role from the first line of standard input, then runs operations. */

import { createInterface } from 'node:readline';
import { type Operations, type RoleName, roles } from './roles/index.ts';

interface Request {
  readonly id: number;
  readonly operation: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

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
    const run = operation === 'rss' ? residentBytes : operations[operation];
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
