/**
 * What a wire case is, and what it is given: the peer's address and secrets, ports and sessions that are
 * closed afterwards, and the longer ways to a state that a clause is about.
 */

import { randomBytes } from 'node:crypto';
import { admissionProof, type ClusterKeys, type KeyPair, type Suite } from '../src/crypto/index.ts';
import {
  admitQuery,
  admitReply,
  decodeMessage,
  encodeMessage,
  type InitiatorParameters,
  inventoryQuery,
  isFailure,
  joinQuery,
  joinReply,
  QueryKind,
  ResultCode,
  Role,
  storeQuery,
} from '../src/wire/index.ts';
import { CaseFailure, CaseSkipped, expectThat } from './expectations.ts';
import { RawInitiator } from './handshake.ts';
import { PING, type RawSession } from './peer.ts';
import { type Endpoint, UdpPort } from './udp-port.ts';
import { Upload } from './upload.ts';

/** What is being held against the specification. */
export interface Target {
  readonly suite: Suite;
  readonly keys: ClusterKeys;
  /** IP address and port of the front port. */
  readonly front: Endpoint;
  readonly role: 'coordinator' | 'node';
  readonly admissionSecret: Uint8Array;
  /** Keys of a cluster secret that carries the right to read and no other, where there is one. */
  readonly readKeys?: ClusterKeys;
}

export interface WireCase {
  /** `W-001`. A number is never given to another case. */
  readonly id: string;
  readonly title: string;
  readonly group: string;
  /** The clauses that it checks; the first is the one that a failure speaks against, unless it says otherwise. */
  readonly clauses: readonly string[];
  /** The role that it can be asked of; both when absent. */
  readonly role?: 'coordinator' | 'node';
  readonly run: (context: WireContext) => Promise<void>;
}

/** A case as its file states it: the number follows from its place. */
export interface CaseText {
  readonly title: string;
  readonly clauses: readonly string[];
  readonly role?: 'coordinator' | 'node';
  readonly run: (context: WireContext) => Promise<void>;
}

/** Numbers the cases of a section from `first` on. New ones go to the end: numbers stay. */
export function section(group: string, first: number, texts: readonly CaseText[]): WireCase[] {
  return texts.map((text, index) => ({ ...text, group, id: `W-${String(first + index).padStart(3, '0')}` }));
}

/** A node that a case has joined to a coordinator. */
export interface JoinedNode {
  readonly session: RawSession;
  readonly nodeId: Uint8Array;
  readonly nonce: Uint8Array;
  readonly incarnation: number;
}

const NODE_QUOTA_BYTES = 1_000_000_000;
/** An inventory that is about all that its node holds [MSG-8]. */
export const ALL_BUCKETS: Uint8Array = new Uint8Array(8).fill(0xff);

export class WireContext {
  readonly target: Target;
  readonly #ports: UdpPort[] = [];
  readonly #sessions: RawSession[] = [];

  constructor(target: Target) {
    this.target = target;
  }

  get suite(): Suite {
    return this.target.suite;
  }

  /** A new port, for packets that belong to no session. */
  async port(): Promise<UdpPort> {
    const port = await UdpPort.open(this.target.front.host);
    this.#ports.push(port);
    return port;
  }

  /** A handshake that has not begun. */
  async initiator(parameters: Partial<InitiatorParameters> = {}): Promise<RawInitiator> {
    return new RawInitiator(this.target, await this.port(), this.target.front, parameters);
  }

  /** A session that has sent nothing yet. */
  async handshake(parameters: Partial<InitiatorParameters> = {}): Promise<RawSession> {
    return this.keep(await (await this.initiator(parameters)).connect());
  }

  /** A session that is live. */
  async connect(parameters: Partial<InitiatorParameters> = {}): Promise<RawSession> {
    const session = await this.handshake(parameters);
    session.send([PING]);
    return session;
  }

  /** A session under the secret that carries the right to read alone; skips the case when there is none. */
  async connectReader(): Promise<RawSession> {
    const { suite, readKeys, front } = this.target;
    if (readKeys === undefined)
      throw new CaseSkipped('it needs a secret that may only read: --read-secret-file');
    const initiator = new RawInitiator({ suite, keys: readKeys }, await this.port(), front);
    const session = this.keep(await initiator.connect());
    session.send([PING]);
    return session;
  }

  /** Takes a session into the care of this context: it is closed at the end, and its breaches count. */
  keep(session: RawSession): RawSession {
    this.#sessions.push(session);
    return session;
  }

  randomPair(): KeyPair {
    return this.suite.keyPair(this.random(32));
  }

  random(bytes: number): Uint8Array {
    return new Uint8Array(randomBytes(bytes));
  }

  /** Asks JOIN with a fresh node id; the nonce that came back. */
  async join(session: RawSession, nodeId: Uint8Array, incarnation = 1): Promise<Uint8Array> {
    const body = encodeMessage(joinQuery, {
      nodeId,
      incarnation,
      name: 'conformance',
      address: '127.0.0.1:9',
      quotaBytes: NODE_QUOTA_BYTES,
      freeBytes: NODE_QUOTA_BYTES,
      offload: false,
      draining: false,
    });
    const answer = await session.ask(QueryKind.JOIN, body, 'ADM-3');
    const reply = decodeMessage(joinReply, answer.body);
    if (answer.code !== ResultCode.OK || isFailure(reply)) {
      throw new CaseFailure('OK and a nonce of 32 bytes to JOIN', `code ${answer.code}`, 'ADM-3');
    }
    return reply.nonce;
  }

  /** The proof of [ADM-1] for a role on `session`. */
  proof(session: RawSession, nonce: Uint8Array, role = 'node'): Uint8Array {
    const { suite, admissionSecret } = this.target;
    return admissionProof(suite, admissionSecret, session.handshakeHash, nonce, role);
  }

  /** A node that is up: joined and admitted, its inventory not sent. */
  async joined(nodeId = this.random(16), incarnation = 1): Promise<JoinedNode> {
    const session = await this.connect({ role: Role.NODE });
    const nonce = await this.join(session, nodeId, incarnation);
    const proof = this.proof(session, nonce);
    const answer = await session.ask(QueryKind.ADMIT, encodeMessage(admitQuery, { proof }), 'ADM-1');
    if (answer.code === ResultCode.DENIED) {
      throw new CaseSkipped('the coordinator knows another admission secret: --admission-secret-file');
    }
    expectThat(answer.code === ResultCode.OK, 'OK to a right proof', `code ${answer.code}`, 'ADM-1');
    const reply = decodeMessage(admitReply, answer.body);
    expectThat(!isFailure(reply), 'a body of ADMIT that decodes', `${answer.body.length} bytes`, 'ADM-8');
    return { session, nodeId, nonce, incarnation };
  }

  /**
   * A flow towards the peer that has been granted credit: STORE at a node, INVENTORY at a coordinator. `bytes` is
   * what the query announces: of a node's object, or of inventory entries of 39 bytes.
   */
  async upload(bytes = 39 * 1_000, parameters: Partial<InitiatorParameters> = {}): Promise<Upload> {
    const isNode = this.target.role === 'node';
    const session = isNode ? await this.connect(parameters) : (await this.joined()).session;
    return this.uploadOn(session, bytes);
  }

  /** The same on a session that is there. */
  async uploadOn(session: RawSession, bytes: number): Promise<Upload> {
    const isNode = this.target.role === 'node';
    const body = isNode
      ? encodeMessage(storeQuery, { token: this.random(8), bytes })
      : encodeMessage(inventoryQuery, { entries: Math.ceil(bytes / 39), buckets: ALL_BUCKETS });
    return this.uploadFor(session, session.query(isNode ? QueryKind.STORE : QueryKind.INVENTORY, body));
  }

  /** The flow of a query that has been sent, once it has credit. */
  async uploadFor(session: RawSession, id: number): Promise<Upload> {
    const upload = new Upload(session, id);
    await upload.granted();
    return upload;
  }

  /** Rules that the peer broke beside what the cases looked at. */
  get breach(): { readonly clause: string; readonly text: string } | undefined {
    return this.#sessions.flatMap((session) => session.breaches)[0];
  }

  close(): void {
    for (const session of this.#sessions) session.close();
    for (const port of this.#ports) port.close();
  }
}
