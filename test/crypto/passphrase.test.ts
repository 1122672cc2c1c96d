/** Passphrases: cost, normal form, and the shortest that passes. */

import { scryptSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { PASSPHRASE_CHARS_MIN, stretchPassphrase } from '../../src/crypto/passphrase.ts';

const SALT = utf8('gramline lab');

describe('a passphrase', () => {
  it('is stretched by scrypt with N = 2^17, r = 8, p = 1 over its NFKC form [SECRET-1]', () => {
    const twin = scryptSync('Grüße aus Köln', SALT, 32, { N: 2 ** 17, r: 8, p: 1, maxmem: 2 ** 28 });
    expect(stretchPassphrase('Grüße aus Köln', SALT)).toEqual(new Uint8Array(twin));
    expect(stretchPassphrase('Gru\u0308ße aus Ko\u0308ln', SALT)).toEqual(new Uint8Array(twin));
  });

  it('gives another secret under another salt', () => {
    expect(stretchPassphrase('correct horse battery', SALT)).not.toEqual(
      stretchPassphrase('correct horse battery', utf8('another cluster')),
    );
  });

  it('is refused below 12 characters, counted as code points of the normal form [SECRET-2]', () => {
    expect(stretchPassphrase('', SALT)).toBeUndefined();
    expect(stretchPassphrase('x'.repeat(PASSPHRASE_CHARS_MIN - 1), SALT)).toBeUndefined();
    expect(stretchPassphrase('🐘'.repeat(PASSPHRASE_CHARS_MIN - 1), SALT)).toBeUndefined();
    expect(stretchPassphrase('u\u0308'.repeat(PASSPHRASE_CHARS_MIN - 1), SALT)).toBeUndefined();
    expect(stretchPassphrase('x'.repeat(PASSPHRASE_CHARS_MIN), SALT)).toHaveLength(32);
  });

  it('needs a salt of 8 bytes', () => {
    expect(() => stretchPassphrase('correct horse battery', utf8('7 bytes'))).toThrow(AssertionError);
  });
});
