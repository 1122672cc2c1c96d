/**
 * The front door: introduces the roles to this machine's sockets, disks and clock.
 */

import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { ReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { toHex, utf8 } from './base/bytes.ts';
import { GramlineError } from './base/errors.ts';
import { bestSuite } from './crypto/best-suite.ts';
import { CLUSTER_SECRET_BYTES, deriveClusterKeys } from './crypto/index.ts';
import { DefsTextGateway } from './gateways/defs-text.ts';
import { keyLogOf } from './key-log.ts';
import {
  Client,
  Coordinator,
  type Log,
  type PutOptions,
  type PutResult,
  type Rights,
  StorageNode,
} from './nodes/index.ts';
import { REPAIR_BYTES_PER_SECOND_MIN } from './nodes/repair.ts';
import { lz4Compression } from './store/compression.ts';
import { nodeHashing } from './store/hashing.ts';
import { type EtcdStateOptions, openState } from './store/open-state.ts';
import {
  deferToTurn,
  machineHost,
  reachableAddress,
  systemClock,
  systemEntropy,
  UdpTransport,
} from './udp/index.ts';
import { plainHost } from './udp/sockets.ts';

const ALL_RIGHTS: Rights = { read: true, write: true, node: true, admin: true };
/** Group and others may not read a secret file. */
const FOREIGN_MODE = 0o077;
/** Salt of passphrases: the same everywhere, so that all machines of a cluster agree [SECRET-1]. */
const PASSPHRASE_SALT = utf8('gramline passphrase v1');
const PASSPHRASE_PREFIX = 'passphrase:';
export const DEFAULT_LISTEN = '0.0.0.0:7400';

/** A secret, or a secret with what it allows. */
export interface SecretGrant {
  /** 32 bytes. */
  readonly secret: Uint8Array;
  readonly rights?: Partial<Rights>;
}

export interface CommonOptions {
  /** The cluster secret, 32 bytes; a coordinator or node may accept several. The first is used to connect. */
  readonly secret: Uint8Array | readonly SecretGrant[];
  /** Structured log; silent by default. */
  readonly log?: Log;
  /** UDP ports for sessions, both ends included, where a firewall wants to know; default any free one. */
  readonly sessionPorts?: { readonly first: number; readonly last: number };
  /** Idle time after which a silent peer counts as gone, milliseconds. Default 10,000. */
  readonly idleMillis?: number;
}

export interface CoordinatorOpenOptions extends CommonOptions {
  /** `host:port`, default `0.0.0.0:7400`; port 0 takes a free one. */
  readonly listen?: string;
  /** `host:port` under which others reach this coordinator; default what it listens on, or an address of this machine. */
  readonly advertise?: string;
  /** Directory of the catalog: short for the state `lmdb:DIRECTORY`. */
  readonly directory?: string;
  /** Where the catalog is kept, in place of `directory`: `lmdb:DIRECTORY`, or `etcd:URL,URL,...` of etcd 3.4 or newer. */
  readonly state?: string;
  /** How to reach a state in etcd. */
  readonly etcd?: EtcdStateOptions;
  /** The state of any other cluster is refused; 16 bytes. */
  readonly clusterId?: Uint8Array;
  /** What nodes must know beside the cluster secret; default the cluster secret itself. */
  readonly admissionSecret?: Uint8Array;
  /** `host:port` of the seed's text protocol: unencrypted, no secret asked. Off by default. */
  readonly defsText?: string;
  /** How long the replicas of a node that went still count before they are copied elsewhere: 1,000 to 86,400,000, default 60,000. */
  readonly repairDelayMillis?: number;
  /** What repair may copy and check in a second: at least 100,000, default 50,000,000. */
  readonly repairBytesPerSecond?: number;
}

export interface NodeOpenOptions extends CommonOptions {
  readonly coordinators: readonly string[];
  /** Where objects are stored. */
  readonly directory: string;
  /** Most bytes of objects, default 10 GB. */
  readonly quotaBytes?: number;
  /** `host:port` of the node's front port, default a free port. */
  readonly listen?: string;
  /** What people call it, default the host's name. */
  readonly name?: string;
  readonly admissionSecret?: Uint8Array;
  /** It wants to leave for good: it takes no new objects, and those that it holds are copied elsewhere [REP-6]. */
  readonly draining?: boolean;
}

export interface ClientOpenOptions extends CommonOptions {
  readonly coordinators: readonly string[];
}

const QUOTA_BYTES_DEFAULT = 10_000_000_000;
const SILENT: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * Starts a coordinator.
 *
 * @throws GRAMLINE_IN_USE when its port or directory is taken, GRAMLINE_INVALID when the state is another
 *   cluster's, GRAMLINE_TIMEOUT when etcd does not answer within `etcd.waitMillis`
 */
export async function openCoordinator(options: CoordinatorOpenOptions): Promise<Coordinator> {
  checkRepairOptions(options);
  const state = await openState({
    state: stateOf(options),
    clusterId: options.clusterId,
    entropy: systemEntropy.bytes,
    etcd: options.etcd,
    log: options.log,
  });
  try {
    const coordinator = await Coordinator.open({
      transport: transportOf(options),
      clock: systemClock,
      entropy: systemEntropy,
      suite: bestSuite(),
      state,
      clusterId: state.clusterId,
      compression: lz4Compression,
      admissionSecret: admissionSecretOf(options),
      listen: options.listen ?? DEFAULT_LISTEN,
      secretIds: secretIdsOf(options),
      repairDelayMillis: options.repairDelayMillis,
      repairBytesPerSecond: options.repairBytesPerSecond,
      advertise: (bound) => options.advertise ?? reachableAddress(bound),
      log: options.log ?? SILENT,
    });
    const closing = closingAlso(coordinator, () => state.close());
    return options.defsText === undefined ? closing : await withDefsText(closing, options.defsText, options);
  } catch (error) {
    await state.close();
    throw error;
  }
}

function checkRepairOptions({
  repairDelayMillis: delay,
  repairBytesPerSecond: rate,
}: CoordinatorOpenOptions): void {
  if (delay !== undefined && !(delay >= 1_000 && delay <= 86_400_000)) {
    throw new GramlineError('GRAMLINE_INVALID', `repair cannot wait ${delay} ms: give 1,000 to 86,400,000`);
  }
  if (rate !== undefined && !(rate >= REPAIR_BYTES_PER_SECOND_MIN && Number.isFinite(rate))) {
    const least = REPAIR_BYTES_PER_SECOND_MIN;
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `repair cannot move ${rate} bytes a second: give ${least} or more`,
    );
  }
}

function stateOf({ state, directory }: CoordinatorOpenOptions): string {
  if (state !== undefined && directory === undefined) return state;
  if (state === undefined && directory !== undefined) return `lmdb:${directory}`;
  throw new GramlineError('GRAMLINE_INVALID', 'name the state or its directory, one of the two');
}

/** Opens the text gateway of a coordinator. Closes both when it cannot. */
async function withDefsText(
  coordinator: Coordinator,
  listen: string,
  options: CommonOptions,
): Promise<Coordinator> {
  try {
    const gateway = await DefsTextGateway.open({
      // Text datagrams do not carry their length: glued together by offload they could not be told apart.
      host: plainHost,
      entropy: systemEntropy,
      coordinator,
      listen,
      resolve: resolveHost,
      log: options.log ?? SILENT,
    });
    return closingAlso(coordinator, () => gateway.close());
  } catch (error) {
    await coordinator.close();
    throw error;
  }
}

/** Starts a node; it joins by itself, now or when a coordinator comes: see its `joined`. */
export async function openNode(options: NodeOpenOptions): Promise<StorageNode> {
  checkCoordinators(options.coordinators);
  const log = options.log ?? SILENT;
  // Stores are loaded where they are opened: clients start sooner without.
  const { openObjectStore } = await import('./store/object-store.ts');
  const store = await openObjectStore({
    directory: options.directory,
    quotaBytes: options.quotaBytes ?? QUOTA_BYTES_DEFAULT,
    wallMillis: systemClock.wallMillis,
    entropy: systemEntropy.bytes,
    log,
  });
  try {
    const node = await StorageNode.open({
      transport: transportOf(options),
      clock: systemClock,
      entropy: systemEntropy,
      suite: bestSuite(),
      store,
      compression: lz4Compression,
      coordinators: options.coordinators,
      admissionSecret: admissionSecretOf(options),
      listen: options.listen ?? '0.0.0.0:0',
      name: options.name ?? hostname(),
      draining: options.draining ?? false,
      log,
    });
    return closingAlso(node, () => store.close());
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A client. Connects when first used. */
export async function openClient(options: ClientOpenOptions): Promise<Client> {
  checkCoordinators(options.coordinators);
  const client = new Client({
    transport: transportOf(options),
    clock: systemClock,
    entropy: systemEntropy,
    hashing: nodeHashing,
    compression: lz4Compression,
    coordinators: options.coordinators,
    log: options.log ?? SILENT,
  });
  const put = client.put.bind(client);
  client.put = (source, options = {}) =>
    source instanceof ReadStream ? putFile(put, source, options) : put(source, options);
  return client;
}

/** A put of a file that is being read: the file system knows its size. */
async function putFile(put: Client['put'], source: ReadStream, options: PutOptions): Promise<PutResult> {
  // Nobody else listens until the first byte is read, and what fails before would end the process.
  source.on('error', () => undefined);
  try {
    return await put(source, { ...options, bytes: options.bytes ?? (await sizeOfFile(source)) });
  } finally {
    source.destroy();
  }
}

/** The size of the whole file behind `source`; undefined where only a part of it is read, or it has none. */
async function sizeOfFile(source: ReadStream): Promise<number | undefined> {
  // The options of `createReadStream`, which its types do not show.
  const { start, end } = source as { readonly start?: number; readonly end?: number };
  const isWhole = start === undefined && (end === undefined || end === Number.POSITIVE_INFINITY);
  // A stream of an open file has no path.
  if (!isWhole || source.bytesRead > 0 || source.path === undefined) return undefined;
  const facts = await stat(source.path);
  return facts.isFile() ? facts.size : undefined;
}

/** A new cluster secret: 32 random bytes. */
export function makeSecret(): Uint8Array {
  return new Uint8Array(randomBytes(CLUSTER_SECRET_BYTES));
}

/** The text of a secret file: 64 hex digits and a line end. */
export function formatSecret(secret: Uint8Array): string {
  return `${toHex(secret)}\n`;
}

/**
 * Reads a secret from a file that only its owner can read: 64 hex digits, or a line
 * `passphrase: ...`, which is stretched (half a second, 128 MiB).
 *
 * @param onWarning Told in a sentence when the secret is weaker than it could be.
 * @throws GRAMLINE_INVALID when it is missing, readable by others, or no secret
 */
export async function readSecret(
  path: string,
  onWarning: (sentence: string) => void = () => undefined,
): Promise<Uint8Array> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & FOREIGN_MODE) !== 0) {
      throw new GramlineError('GRAMLINE_INVALID', `others can read ${path}: run chmod 600 ${path}`);
    }
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (error instanceof GramlineError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new GramlineError('GRAMLINE_INVALID', `secret file ${path}: ${why}: make one with gramline secret`);
  }
  if (/^[0-9a-fA-F]{64}$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  if (text.startsWith(PASSPHRASE_PREFIX) && !/[\r\n]/.test(text)) {
    const { PASSPHRASE_CHARS_MIN, stretchPassphrase } = await import('./crypto/passphrase.ts');
    const secret = stretchPassphrase(text.slice(PASSPHRASE_PREFIX.length).trim(), PASSPHRASE_SALT);
    if (secret === undefined) {
      throw new GramlineError(
        'GRAMLINE_INVALID',
        `secret file ${path}: a passphrase needs ${PASSPHRASE_CHARS_MIN} characters: choose a longer one`,
      );
    }
    onWarning(`${path} holds a passphrase, which can be guessed: gramline secret makes a stronger secret`);
    return secret;
  }
  throw new GramlineError(
    'GRAMLINE_INVALID',
    `secret file ${path} holds neither 64 hex digits nor a line 'passphrase: ...': make one with gramline secret`,
  );
}

function transportOf(options: CommonOptions): UdpTransport {
  const grants = options.secret instanceof Uint8Array ? [{ secret: options.secret }] : options.secret;
  if (grants.length === 0) throw new GramlineError('GRAMLINE_INVALID', 'at least one secret is needed');
  const log = options.log ?? SILENT;
  return new UdpTransport({
    host: machineHost((sentence) => log.info(sentence)),
    clock: systemClock,
    entropy: systemEntropy,
    suite: bestSuite(),
    secrets: grants.map(({ secret, rights }: SecretGrant) => ({
      keys: deriveClusterKeys(bestSuite(), checkedSecret(secret)),
      rights: rights === undefined ? ALL_RIGHTS : { ...NO_RIGHTS, ...rights },
    })),
    defer: deferToTurn,
    turn: setImmediate,
    resolve: resolveHost,
    log,
    keyLog: keyLogOf(log),
    ...(options.sessionPorts === undefined ? {} : { sessionPorts: options.sessionPorts }),
    ...(options.idleMillis === undefined ? {} : { idleMicros: (options.idleMillis * 1000) as never }),
  });
}

const NO_RIGHTS: Rights = { read: false, write: false, node: false, admin: false };

function secretIdsOf({ secret }: CommonOptions): Uint8Array[] {
  const secrets = secret instanceof Uint8Array ? [secret] : secret.map((grant) => grant.secret);
  return secrets.map((each) => deriveClusterKeys(bestSuite(), checkedSecret(each)).secretId);
}

function admissionSecretOf(options: CommonOptions & { readonly admissionSecret?: Uint8Array }): Uint8Array {
  if (options.admissionSecret !== undefined) return checkedSecret(options.admissionSecret);
  return options.secret instanceof Uint8Array ? options.secret : options.secret[0]!.secret;
}

function checkedSecret(secret: Uint8Array): Uint8Array {
  if (secret.length === CLUSTER_SECRET_BYTES) return secret;
  throw new GramlineError(
    'GRAMLINE_INVALID',
    `a secret has ${CLUSTER_SECRET_BYTES} bytes, not ${secret.length}`,
  );
}

function checkCoordinators(coordinators: readonly string[]): void {
  if (coordinators.length > 0) return;
  throw new GramlineError('GRAMLINE_INVALID', 'name at least one coordinator, as HOST:PORT');
}

async function resolveHost(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw new GramlineError('GRAMLINE_NO_COORDINATOR', `the name ${host} does not resolve: check it`, {
      cause: error,
      retryable: true,
    });
  }
}

/** Makes `close` of a role close what was opened for it, too. */
function closingAlso<Role extends { close(): Promise<void> }>(role: Role, also: () => Promise<void>): Role {
  const close = role.close.bind(role);
  let closing: Promise<void> | undefined;
  role.close = () => {
    closing ??= close().finally(also);
    return closing;
  };
  return role;
}
