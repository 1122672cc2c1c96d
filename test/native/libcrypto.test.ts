/** How the functions of OpenSSL are found, and that it may fail. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { loadKoffi, type NativeLibrary } from '../../src/native/koffi.ts';
import { bindLibcrypto, loadLibcrypto } from '../../src/native/libcrypto.ts';

afterEach(() => vi.unstubAllEnvs());

describe('libcrypto', () => {
  it('is not used where the environment says so', () => {
    vi.stubEnv('GRAMLINE_CRYPTO', 'node');
    expect(loadLibcrypto()).toBeUndefined();
  });

  it('is not bound by half: one function missing is all missing', () => {
    const names: string[] = [];
    const library: NativeLibrary = {
      func(prototype) {
        names.push(/(\w+)\(/.exec(prototype)![1]!);
        return () => 0;
      },
    };
    expect(Object.keys(bindLibcrypto(library))).toHaveLength(names.length);
    expect(new Set(names).size).toBe(names.length);
    for (const missing of names) {
      const func: NativeLibrary['func'] = (prototype) => {
        if (prototype.includes(` ${missing}(`)) throw new Error(`no ${missing}`);
        return () => 0;
      };
      expect(() => bindLibcrypto({ func }), missing).toThrow(missing);
    }
  });

  it.skipIf(loadKoffi() === undefined)('is found in the running program, where koffi works', () => {
    expect(Number(loadLibcrypto()?.aes256Gcm())).not.toBe(0);
  });
});
