/** Our own coordinator and node pass every wire case, over real UDP on loopback, as processes of their own. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wireCases } from '../../conformance/cases/all.ts';
import { RUN_LIMITS, runWireCases } from '../../conformance/run-cases.ts';
import { findTarget } from '../../conformance/target.ts';
import { clauseVerdicts } from '../../conformance/verdicts.ts';
import { bundlePeer, Peer, randomSecret } from './support.ts';

const TEST_MILLIS = 600_000;
const CASES_LEAST = 300;
const CLAUSES_LEAST = 130;

describe.each(['coordinator', 'node'] as const)('our own %s', (role) => {
  const [secret, reader] = [randomSecret(), randomSecret()];
  let peer: Peer;

  beforeAll(async () => {
    peer = await Peer.start({ role, bundle: await bundlePeer(), secret, reader });
  }, TEST_MILLIS);

  afterAll(() => peer?.end());

  it(
    'passes every case',
    async () => {
      const target = await findTarget({ address: peer.address, secret, readSecret: reader, role });
      const verdicts = await runWireCases(target, wireCases, RUN_LIMITS);
      const failed = verdicts.filter(({ outcome }) => outcome === 'fail');
      expect(failed.map(({ id, brokenClause, detail }) => `${id} [${brokenClause}] ${detail}`)).toEqual([]);
      const skipped = verdicts.filter(({ outcome }) => outcome === 'skipped');
      for (const { id } of skipped)
        expect(wireCases.find((wireCase) => wireCase.id === id)?.role).not.toBe(role);
      expect(verdicts.length - skipped.length).toBeGreaterThan(CASES_LEAST);
      const kept = clauseVerdicts(verdicts).filter(({ outcome }) => outcome === 'pass');
      expect(kept.length).toBeGreaterThan(CLAUSES_LEAST);
    },
    TEST_MILLIS,
  );
});

describe('the wire cases', () => {
  it('have a number each', () => {
    expect(new Set(wireCases.map(({ id }) => id)).size).toBe(wireCases.length);
  });

  it('have a title of their own, and a clause', () => {
    const titles = wireCases.map(({ group, title }) => `${group}: ${title}`);
    expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
    expect(wireCases.filter(({ clauses }) => clauses.length === 0)).toEqual([]);
  });
});
