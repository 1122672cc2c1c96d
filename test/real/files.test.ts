/** Files as streams: the file system knows what a stream does not. */

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeSecret, openClient, openCoordinator, openNode, type Progress } from '../../src/index.ts';

/** Above what a stream of unknown size may have. */
const LARGE_BYTES = 65 * 1024 * 1024;

const root = await mkdtemp(join(tmpdir(), 'gramline-'));
const path = (name: string): string => join(root, name);
const secret = makeSecret();
const hub = await openCoordinator({ secret, listen: '127.0.0.1:0', directory: path('hub') });
const common = { secret, coordinators: [hub.address] };
const node = await openNode({ ...common, directory: path('node'), listen: '127.0.0.1:0' });
await node.joined;
const app = await openClient(common);

afterAll(async () => {
  await app.close();
  await node.close();
  await hub.close();
  await rm(root, { recursive: true, force: true });
});

describe('a file that is put as a stream', () => {
  it('may be larger than a stream of unknown size', async () => {
    const file = await open(path('large'), 'w');
    await file.truncate(LARGE_BYTES);
    await file.write(randomBytes(1_000), 0, 1_000, LARGE_BYTES / 2);
    await file.close();
    const seen: Progress[] = [];
    const onProgress = (progress: Progress): number => seen.push(progress);
    const stored = await app.put(createReadStream(path('large')), { onProgress });
    expect(stored).toMatchObject({ bytes: LARGE_BYTES, replicas: 1 });
    expect(seen[0]?.totalBytes).toBe(LARGE_BYTES);
    const digest = createHash('sha256');
    for await (const part of createReadStream(path('large'))) digest.update(part);
    expect(stored.hash).toBe(digest.digest('hex'));
  });

  it('from one byte to another has the size that is said, never that of the file', async () => {
    const part = { start: 10, end: 1_009 };
    await writeFile(path('small'), randomBytes(5_000));
    expect(await app.put(createReadStream(path('small'), part), { bytes: 1_000 })).toMatchObject({
      bytes: 1_000,
    });
    expect(await app.put(createReadStream(path('small'), part))).toMatchObject({ bytes: 1_000 });
    await expect(app.put(createReadStream(path('large'), { start: 1 }))).rejects.toMatchObject({
      code: 'GRAMLINE_INVALID',
      message: expect.stringContaining('pass the option bytes'),
    });
  });

  it('that is missing says so, and takes nothing else along', async () => {
    for (const bytes of [undefined, 5]) {
      const put = app.put(createReadStream(path('missing')), { bytes });
      await expect(put).rejects.toMatchObject({ code: 'ENOENT' });
    }
  });

  it('is closed when the put is refused', async () => {
    await writeFile(path('refused'), 'x');
    const stream = createReadStream(path('refused'));
    await expect(app.put(stream, { replicas: 8 })).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    expect(stream.destroyed).toBe(true);
  });
});
