/**
 * The crypto room: who said it, unseen and unrepeated?
 *
 * The providers are imported by their own paths: whoever opens a session takes one, as a rule from
 * `best-suite.ts`, and the rooms that import this file stay free of `node:crypto` and of C. So is
 * `passphrase.ts`, which few need and which is slow to load.
 */

export * from './cluster-keys.ts';
export * from './cookie.ts';
export * from './hkdf.ts';
export * from './noise.ts';
export * from './packet-protection.ts';
export * from './replay-window.ts';
export * from './suite.ts';
