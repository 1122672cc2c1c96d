import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { lockDirectory } from '../../src/store/directory-lock.ts';
import { bundleModule } from '../support/bundle.ts';
import { temporaryDirectory } from './support.ts';

let bundle: string;

beforeAll(async () => {
  bundle = await bundleModule('src/store/directory-lock.ts');
});

afterAll(() => rmSync(bundle, { force: true }));

/** A process that tries to lock `directory` and says `held` or the code of the refusal; it lives on until killed. */
function startLocker(directory: string): { child: ChildProcess; outcome: Promise<string> } {
  const script = `
    const { lockDirectory } = await import(${JSON.stringify(pathToFileURL(bundle).href)});
    const outcome = await lockDirectory(${JSON.stringify(directory)}).then(() => 'held', (error) => error.code);
    process.stdout.write(outcome);
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, outcome: once(child.stdout!, 'data').then(([data]) => String(data)) };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function claims(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('in-use.'));
}

describe('the lock of a directory', () => {
  test('a directory is made, held once in this process, and free again when released', async () => {
    const directory = join(temporaryDirectory(), 'deep', 'down');
    const lock = await lockDirectory(directory);
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await lock.release();
    expect(claims(directory)).toEqual([]);
    const again = await lockDirectory(directory);
    // The first lock is over: releasing it again does not free what the second one holds.
    await lock.release();
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await again.release();
  });

  test('a directory has one lock, whatever name it is called by', async () => {
    const directory = temporaryDirectory();
    const alias = join(temporaryDirectory(), 'alias');
    symlinkSync(directory, alias);
    const lock = await lockDirectory(directory);
    await expect(lockDirectory(alias)).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await lock.release();
  });

  test('of many openers in one process exactly one wins', async () => {
    const directory = temporaryDirectory();
    const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(directory)));
    const winners = attempts.filter((attempt) => attempt.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    await winners[0]?.value.release();
  });

  test('a living process keeps others out, is named to them, and leaves no lock when it is killed', async () => {
    const directory = temporaryDirectory();
    const { child, outcome } = startLocker(directory);
    expect(await outcome).toBe('held');
    const refusal = lockDirectory(directory);
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await expect(refusal).rejects.toThrowError(`${directory} is in use by process ${child.pid}.`);
    expect(claims(directory)).toHaveLength(1);
    await kill(child);
    const lock = await lockDirectory(directory);
    expect(claims(directory)).toHaveLength(1);
    await lock.release();
  });

  test('of many processes that find a stale lock at most one wins, and then one can', async () => {
    const directory = temporaryDirectory();
    const first = startLocker(directory);
    expect(await first.outcome).toBe('held');
    await kill(first.child);
    const lockers = Array.from({ length: 6 }, () => startLocker(directory));
    const outcomes = await Promise.all(lockers.map(({ outcome }) => outcome));
    expect(outcomes.filter((outcome) => outcome === 'held').length).toBeLessThanOrEqual(1);
    expect(outcomes.filter((outcome) => outcome !== 'held' && outcome !== 'GRAMLINE_IN_USE')).toEqual([]);
    await Promise.all(lockers.map(({ child }) => kill(child)));
    await (await lockDirectory(directory)).release();
  });

  test.each([
    ['another boot', (own: string) => own.replace(/\.[0-9a-f]{8}\./, '.00000000.')],
    ['an earlier process of the same id', (own: string) => own.replace(/^(in-use\.[0-9]+)\.[0-9]+/, '$1.1')],
  ])('a lock left by %s is taken over', async (_, rename) => {
    const directory = temporaryDirectory();
    const lock = await lockDirectory(directory);
    const stale = rename(claims(directory)[0]!);
    await lock.release();
    writeFileSync(join(directory, stale), '');
    await (await lockDirectory(directory)).release();
    expect(claims(directory)).toEqual([]);
  });

  test('a file of another form is no lock', async () => {
    const directory = temporaryDirectory();
    for (const name of ['in-use.txt', 'in-use.1.2.3', 'lock.mdb']) writeFileSync(join(directory, name), '');
    await (await lockDirectory(directory)).release();
    expect(readdirSync(directory)).toHaveLength(3);
  });

  test('a path that is no directory is refused with its reason', async () => {
    const path = join(temporaryDirectory(), 'file');
    writeFileSync(path, '');
    await expect(lockDirectory(path)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
  });
});
