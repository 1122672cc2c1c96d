/**
 * The crypto room: who said it, unseen and unrepeated?
 *
 * The two providers are imported by their own paths (`node-suite.ts`, `noble-suite.ts`): whoever opens
 * a session chooses one, and the rooms that import this file stay free of `node:crypto`.
 */

export * from './cluster-keys.ts';
export * from './cookie.ts';
export * from './hkdf.ts';
export * from './noise.ts';
export * from './packet-protection.ts';
export * from './passphrase.ts';
export * from './replay-window.ts';
export * from './suite.ts';
