import { beforeEach, describe, expect, it, vi } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { nobleSuite } from '../../src/crypto/noble-suite.ts';
import type { Suite } from '../../src/crypto/suite.ts';
import { rising } from './support.ts';

/** A `node:crypto` that takes any point beside a private key, or compares the two, as it is told. */
const node = vi.hoisted(() => ({ comparesPoints: false, point: '', formats: [] as unknown[] }));

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  return {
    ...real,
    createPrivateKey(input: { readonly format: string; readonly key: object }) {
      node.formats.push(input.format);
      if (input.format !== 'jwk') return real.createPrivateKey(input as never);
      if (node.comparesPoints) throw new Error('Invalid JWK data');
      return real.createPrivateKey({ ...input, key: { ...input.key, x: node.point } } as never);
    },
  };
});

const PRIVATE_KEY = rising(32);
const PUBLIC_KEY = nobleSuite.keyPair(PRIVATE_KEY).publicKey;

/** The provider of a program that has just started. */
async function freshSuite(): Promise<Suite> {
  vi.resetModules();
  return (await import('../../src/crypto/node-suite.ts')).nodeSuite;
}

describe('a private key', () => {
  beforeEach(() => {
    node.point = Buffer.from(PUBLIC_KEY).toString('base64url');
    node.formats = [];
  });

  it.each([
    ['as JWK, the quick way, where any point may stand beside it', false, ['jwk', 'jwk']],
    ['as PKCS #8 where the point is compared, which is found out once', true, ['jwk', 'der', 'der']],
  ])('is imported %s', async (_how, comparesPoints, formats) => {
    node.comparesPoints = comparesPoints;
    const suite = await freshSuite();
    for (let count = 0; count < 2; count++) {
      expect(toHex(suite.keyPair(PRIVATE_KEY).publicKey)).toBe(toHex(PUBLIC_KEY));
    }
    expect(node.formats).toEqual(formats);
  });
});
