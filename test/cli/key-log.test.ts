/** `GRAMLINE_KEYLOG` as people set it: for a whole command, by the environment. */

import { chmod, readFile, writeFile } from 'node:fs/promises';
import { afterAll, expect, it } from 'vitest';
import { endAll, gramline, scratch } from './support.ts';

const { path, remove } = await scratch();
afterAll(async () => {
  await endAll();
  await remove();
});

const secretFile = path('cluster.secret');
await gramline(['secret', '-o', secretFile]);
const status = ['status', '--coordinators', '127.0.0.1:1', '--secret-file', secretFile];

it('is named on stderr when it is on, and written nowhere but into its file [LOG-2]', async () => {
  const keyLog = path('keys.log');
  const ran = await gramline(status, { env: { GRAMLINE_KEYLOG: keyLog } });
  // Nothing answers there, so no session has keys.
  expect(ran.code).toBe(3);
  expect(ran.stderr.split('\n')[0]).toBe(
    `gramline: GRAMLINE_KEYLOG is set: whoever can read ${keyLog} can read all that this process sends and receives`,
  );
  expect(await readFile(keyLog, 'utf8')).toBe('');
});

it('refuses in one line, exit code 1, what it cannot write or others can read', async () => {
  const open = path('open.log');
  await writeFile(open, '');
  await chmod(open, 0o644);
  for (const [keyLog, why] of [
    [path('none/keys.log'), 'cannot be written (ENOENT)'],
    [open, `run chmod 600 ${open}`],
  ] as const) {
    const ran = await gramline(status, { env: { GRAMLINE_KEYLOG: keyLog } });
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toMatch(/^gramline: GRAMLINE_KEYLOG: .*\n$/);
    expect(ran.stderr).toContain(why);
  }
});
