import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeSecret, openClient, openCoordinator, openNode } from '../../src/index.ts';

const root = await mkdtemp(join(tmpdir(), 'gramline-'));
afterAll(() => rm(root, { recursive: true, force: true }));

describe('a cluster in one process on real sockets', () => {
  it('puts, finds, gets and removes an object', async () => {
    const secret = makeSecret();
    const hub = await openCoordinator({ secret, listen: '127.0.0.1:0', directory: join(root, 'hub') });
    const nodes = await Promise.all(
      [1, 2, 3].map((n) =>
        openNode({
          secret,
          coordinators: [hub.address],
          directory: join(root, `n${n}`),
          listen: '127.0.0.1:0',
          name: `n${n}`,
        }),
      ),
    );
    await Promise.all(nodes.map((node) => node.joined));
    const app = await openClient({ secret, coordinators: [hub.address] });
    const bytes = randomBytes(20_000_000);
    const stored = await app.put(bytes);
    expect(stored.replicas).toBe(2);
    const places = await app.whereIs(stored.hash);
    expect(places.bytes).toBe(bytes.length);
    expect([...places]).toHaveLength(2);
    const parts: Uint8Array[] = [];
    for await (const part of app.get(stored.hash)) parts.push(part);
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    const status = await app.status();
    expect(status.nodes).toHaveLength(3);
    expect(status.objects).toBe(1);
    await app.rm(stored.hash);
    await expect(app.whereIs(stored.hash)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    await app.close();
    await Promise.all(nodes.map((node) => node.close()));
    await hub.close();
  });
});
