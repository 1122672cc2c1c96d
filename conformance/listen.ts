/**
 * The responder's side: a coordinator by hand, for a command that is started anew for each case. What the
 * command sends is looked at; what it gets is the case's to choose.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatAddress } from '../src/base/address.ts';
import { refused } from '../src/cli/failures.ts';
import { checkHelloMac, HandshakeState, helloMac, sessionSecrets } from '../src/crypto/index.ts';
import {
  type CookiePacket,
  decodeMessage,
  decodePacket,
  encodeMessage,
  encodePacket,
  HELLO_MAC_BYTES,
  type HelloPacket,
  type InitiatorParameters,
  initiatorParameters,
  isFailure,
  PacketType,
  packetSize,
  type RefusedPacket,
  type ResponderParameters,
  responderParameters,
  type WelcomePacket,
} from '../src/wire/index.ts';
import { CaseFailure, expectThat } from './expectations.ts';
import { type HelloSecret, prologueOf, randomTag } from './handshake.ts';
import { RawSession } from './peer.ts';
import type { Runnable } from './run-cases.ts';
import { type Endpoint, UdpPort } from './udp-port.ts';

/** A command may take a while to start on a busy machine. */
export const HELLO_MILLIS = 15_000;
const ADDRESS_WORD = '{address}';
const SCRATCH_WORD = '{scratch}';
const REMOVE_TRIES = 5;
const STDERR_SHOWN = 300;
const LAST_WORDS_MILLIS = 300;
const NO_MAC = new Uint8Array(HELLO_MAC_BYTES);

/** What is played, and for whom. */
export interface ListenTarget extends HelloSecret {
  /** Where to listen; port 0 takes a free one for each case. */
  readonly listen: Endpoint;
  /**
   * Program and parameters; `{address}` stands for where we listen, `{scratch}` for an empty directory that is
   * there as long as the case.
   */
  readonly command: readonly string[];
  /** What a command that is a node must prove to know, and we to it. */
  readonly admissionSecret: Uint8Array;
}

export interface ListenCase {
  /** `L-001`. A number is never given to another case. */
  readonly id: string;
  readonly title: string;
  readonly group: string;
  readonly clauses: readonly string[];
  readonly run: (context: ListenContext) => Promise<void>;
}

/** A HELLO whose MAC holds. */
export interface ReceivedHello {
  readonly packet: HelloPacket;
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
  readonly atMillis: number;
  /** When it can have come at the earliest. */
  readonly notBeforeMillis: number;
}

/** What a command's handshake has come to at our end. */
export interface Accepted {
  readonly session: RawSession;
  readonly parameters: InitiatorParameters;
  readonly hello: ReceivedHello;
  readonly welcome: Uint8Array;
}

type Signed = Omit<CookiePacket, 'mac'> | Omit<WelcomePacket, 'mac'> | Omit<RefusedPacket, 'mac'>;

export class ListenContext implements Runnable {
  readonly target: ListenTarget;
  /** Every HELLO so far. */
  readonly hellos: ReceivedHello[] = [];
  readonly clusterId: Uint8Array = new Uint8Array(randomBytes(16));
  readonly #run: (context: ListenContext) => Promise<void>;
  readonly #sessions: RawSession[] = [];
  readonly #commands: ChildProcess[] = [];
  readonly #scratch: string[] = [];
  #front: UdpPort | undefined;
  #said = '';
  #strangers = 0;
  #isClosed = false;

  constructor(target: ListenTarget, run: (context: ListenContext) => Promise<void>) {
    this.target = target;
    this.#run = run;
  }

  /** Opens the front port and starts the command; then the case has its turn. */
  async run(): Promise<void> {
    const { listen } = this.target;
    const front = await UdpPort.open(listen.host, listen.port);
    if (this.#isClosed) return front.close();
    this.#front = front;
    front.onDatagram = ({ bytes, host, port, ...times }) => {
      const packet = decodePacket(bytes);
      if (isFailure(packet) || packet.type !== PacketType.HELLO || !this.#isSigned(bytes, packet)) {
        this.#strangers += 1;
        return;
      }
      this.hellos.push({ packet, bytes, from: { host, port }, ...times });
    };
    await this.startCommand();
    await this.#run(this);
  }

  get front(): UdpPort {
    return this.#front!;
  }

  /** `host:port` of the front port. */
  get address(): string {
    return formatAddress(this.target.listen.host, this.front.port);
  }

  /** Starts the command, once more where a case wants it. */
  async startCommand(): Promise<void> {
    const { address } = this;
    let words = this.target.command.map((word) => word.replaceAll(ADDRESS_WORD, address));
    if (words.some((word) => word.includes(SCRATCH_WORD))) {
      const scratch = await mkdtemp(join(tmpdir(), 'gramline-conformance-'));
      this.#scratch.push(scratch);
      words = words.map((word) => word.replaceAll(SCRATCH_WORD, scratch));
    }
    const [program, ...parameters] = words;
    // A group of its own: what the command itself has started ends with it.
    const child = spawn(program!, parameters, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.#commands.push(child);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-STDERR_SHOWN);
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(refused(`${program} can't be started: ${error.message}`, error)));
    });
    if (this.#isClosed) this.close();
  }

  /** The first HELLO that `look` likes; the ones that came before count, too. */
  async hello(
    look: (hello: ReceivedHello) => boolean,
    expected: string,
    clause?: string,
    millis = HELLO_MILLIS,
  ): Promise<ReceivedHello> {
    const deadline = performance.now() + millis;
    for (let isOver = false; ; ) {
      const found = this.hellos.find(look);
      if (found !== undefined) return found;
      const left = deadline - performance.now();
      if (isOver || left <= 0 || this.front.isClosed) throw new CaseFailure(expected, this.summary, clause);
      // What a command sent before it ended may still be on its way.
      isOver = this.#commands.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
      await this.front.waitForNews(Math.min(left, LAST_WORDS_MILLIS));
    }
  }

  /** The HELLO that a command begins with. */
  firstHello(): Promise<ReceivedHello> {
    return this.hello(() => true, 'a HELLO whose MAC holds', 'HELLO-1');
  }

  /** Lets the command act for a while. */
  async idle(millis: number): Promise<void> {
    const deadline = performance.now() + millis;
    for (let left = millis; left > 0 && !this.front.isClosed; left = deadline - performance.now()) {
      await this.front.waitForNews(left);
    }
  }

  /** The bytes of an answer of the front port, signed. */
  signed(packet: Signed): Uint8Array {
    const whole = { ...packet, mac: NO_MAC };
    const bytes = new Uint8Array(packetSize(whole));
    encodePacket(whole, bytes);
    return this.resigned(bytes, () => undefined);
  }

  /** A front packet with some of its bytes changed, and a MAC that is right for them. */
  resigned(packet: Uint8Array, change: (bytes: Uint8Array) => void): Uint8Array {
    const { suite, keys } = this.target;
    const bytes = packet.slice();
    change(bytes);
    bytes.set(
      helloMac(suite, keys.helloKey, bytes.subarray(0, -HELLO_MAC_BYTES)),
      bytes.length - HELLO_MAC_BYTES,
    );
    return bytes;
  }

  /** A COOKIE for a HELLO. */
  cookie(hello: ReceivedHello, cookie: Uint8Array, clusterId: Uint8Array = this.clusterId): Uint8Array {
    return this.signed({ type: PacketType.COOKIE, tag: hello.packet.tag, cookie, clusterId });
  }

  /**
   * Answers the first HELLO by a COOKIE, again where it asks again; the HELLO that brings it back. Those that
   * `isMeant` does not like are left alone.
   */
  async prove(
    isMeant: (hello: ReceivedHello) => boolean = () => true,
  ): Promise<{ readonly hello: ReceivedHello; readonly cookie: Uint8Array }> {
    await this.hello(isMeant, 'a HELLO whose MAC holds', 'HELLO-1');
    const cookie = new Uint8Array(randomBytes(24));
    const deadline = performance.now() + HELLO_MILLIS;
    for (let seen = 0; performance.now() < deadline && !this.front.isClosed; ) {
      for (; seen < this.hellos.length; seen++) {
        const hello = this.hellos[seen]!;
        if (hello.packet.cookie !== undefined || !isMeant(hello)) continue;
        this.front.send(this.cookie(hello, cookie), hello.from);
      }
      const back = this.hellos.find(
        ({ packet }) => packet.cookie !== undefined && String(packet.cookie) === String(cookie),
      );
      if (back !== undefined) return { hello: back, cookie };
      await this.front.waitForNews(200);
    }
    throw new CaseFailure('a HELLO with the cookie that it was given', this.summary, 'HS-12');
  }

  /** Opens the Noise message of a HELLO, and makes a session and a WELCOME of it. Nothing is sent. */
  async welcome(hello: ReceivedHello, local: Partial<ResponderParameters> = {}): Promise<Accepted> {
    const { suite, keys, listen } = this.target;
    const handshake = new HandshakeState(suite, {
      role: 'responder',
      pattern: 'NNpsk0',
      prologue: prologueOf(this.clusterId),
      psks: [keys.psk],
      ephemeral: suite.keyPair(new Uint8Array(randomBytes(32))),
    });
    const payload = handshake.readMessage(hello.packet.noise);
    expectThat(payload !== undefined, 'Noise message 1 that opens', 'one that does not', 'HS-8');
    const parameters = decodeMessage(initiatorParameters, payload);
    if (isFailure(parameters)) {
      throw new CaseFailure('11 bytes of parameters', `${payload.length} bytes: ${parameters}`, 'HS-15');
    }
    const port = await UdpPort.open(listen.host);
    const answer: ResponderParameters = {
      port: port.port,
      tag: randomTag(),
      datagramBytesMax: 1_200,
      windowBytes: 1 << 20,
      idleMillis: 10_000,
      ...local,
    };
    const noise = handshake.writeMessage(encodeMessage(responderParameters, answer));
    const handshakeHash = handshake.handshakeHash.slice();
    const secrets = sessionSecrets(suite, handshake.split(), handshakeHash);
    const session = new RawSession({
      suite,
      port,
      to: hello.from,
      side: 'responder',
      sendSecret: secrets.responder,
      receiveSecret: secrets.initiator,
      handshakeHash,
      localTag: answer.tag,
      peerTag: hello.packet.tag,
      local: answer,
      peer: parameters,
    });
    this.#sessions.push(session);
    const welcome = this.signed({ type: PacketType.WELCOME, tag: hello.packet.tag, noise });
    return { session, parameters, hello, welcome };
  }

  /** The whole handshake, up to the first SEALED packet. */
  async accept(
    local: Partial<ResponderParameters> = {},
    isMeant: (hello: ReceivedHello) => boolean = () => true,
  ): Promise<Accepted> {
    const { hello } = await this.prove(isMeant);
    const accepted = await this.welcome(hello, local);
    const send = (): void => this.front.send(accepted.welcome, hello.from);
    send();
    const look = (): true | undefined => accepted.session.packets.length > 0 || undefined;
    await accepted.session.until(look, 'a SEALED packet after WELCOME', { clause: 'SES-3', again: send });
    return accepted;
  }

  /** What came, for a verdict. */
  get summary(): string {
    const said = this.#said.trim().split('\n').at(-1) ?? '';
    const ended = this.#commands.filter(({ exitCode }) => exitCode !== null).map(({ exitCode }) => exitCode);
    const parts = [`${this.hellos.length} HELLOs`];
    if (this.#strangers > 0)
      parts.push(`${this.#strangers} datagrams that are none, or under another secret`);
    if (ended.length > 0) parts.push(`the command ended with ${ended.join(', ')}`);
    if (said !== '') parts.push(`it said '${said}'`);
    return parts.join(', ');
  }

  get breach(): { readonly clause: string; readonly text: string } | undefined {
    return this.#sessions.flatMap((session) => session.breaches)[0];
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#sessions) session.close();
    this.#front?.close();
    for (const { pid, exitCode, signalCode } of this.#commands) {
      if (pid === undefined || exitCode !== null || signalCode !== null) continue;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
    // What the command was just writing may be in the way for a moment.
    for (const path of this.#scratch)
      rmSync(path, { recursive: true, force: true, maxRetries: REMOVE_TRIES });
  }

  #isSigned(bytes: Uint8Array, packet: HelloPacket): boolean {
    const { suite, keys } = this.target;
    if (String(packet.secretId) !== String(keys.secretId)) return false;
    return checkHelloMac(suite, keys.helloKey, bytes.subarray(0, -HELLO_MAC_BYTES), packet.mac);
  }
}

/** Rejects with one sentence when the command sends no HELLO under our secret. */
export async function checkCommand(target: ListenTarget): Promise<void> {
  const context = new ListenContext(target, async (own) => {
    await own.firstHello();
  });
  try {
    await context.run();
  } catch (error) {
    if (!(error instanceof CaseFailure)) throw error;
    throw refused(`the command sends no HELLO under this secret: ${context.summary}`);
  } finally {
    context.close();
  }
}
