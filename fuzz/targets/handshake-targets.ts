/**
 * Both sides of the handshake. The fuzzer knows the cluster's hello key, so that what it sends gets past
 * the MAC, and can finish a handshake with parameters that nobody would send.
 */

import { Random } from '../../sim/random.ts';
import { micros } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { HandshakeState } from '../../src/crypto/index.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import { handshakeStart } from '../../src/session/handshake-start.ts';
import { Front, type FrontOutcome, type Initiator, signPacket } from '../../src/session/index.ts';
import {
  decodePacket,
  encodeMessage,
  HELLO_MAC_BYTES,
  type HelloPacket,
  initiatorParameters,
  isFailure,
  type Packet,
  PacketType,
  packetSize,
  ResultCode,
  responderParameters,
  type SessionTag,
} from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt, putNumber } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, type Target } from '../engine/target.ts';
import { CLUSTER, drive, isSigned, keys, newInitiator, PARAMETERS, signed } from './handshake-support.ts';
import { START } from './session-peer.ts';
import { bytesUpTo, MESSAGE_VALUES, packet } from './values.ts';
import { datagramLayout, messageLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 4_096;
const ATTACKER = { host: '10.0.0.66', port: 6_666 };
const HONEST = { host: '10.0.0.5', port: 50_000 };
const SESSION_PORT = 41_234;
/** Handshakes that the front remembers: few, so that its maximum is met. */
const ACCEPTED_MAX = 6;
/** [HS-24] No answer to an address that has not proven itself is longer than so many times its HELLO. */
const AMPLIFICATION_MAX = 3;
const BUFFER = new Uint8Array(65_536);
const NO_MAC = new Uint8Array(HELLO_MAC_BYTES);

// ---------------------------------------------------------------- the responder

const FrontStep = {
  /** A datagram as it is. */
  RAW: 0,
  /** A datagram that gets the right MAC. */
  SIGNED: 1,
  /** A HELLO with the right cookie and MAC around these bytes of Noise. */
  NOISE: 2,
  /** The same around a Noise message that carries these parameters. */
  PARAMETERS: 3,
  /** u32 milliseconds pass. */
  WAIT: 4,
} as const;
const FRONT_STEPS = 5;

class FrontStage {
  readonly front: Front;
  now: number = START;
  words = new Set<string>();
  readonly #random = new Random(1);

  constructor() {
    this.front = new Front({
      suite: bestSuite(),
      secrets: [{ keys: keys(), rights: { read: true, write: true, node: true, admin: true } }],
      entropy: (count) => this.#random.bytes(count),
      clusterId: CLUSTER,
      acceptedMax: ACCEPTED_MAX,
    });
  }

  carryOut(operation: number, content: Uint8Array): void {
    switch (operation) {
      case FrontStep.RAW:
        return this.send(content);
      case FrontStep.SIGNED:
        return this.send(signed(content));
      case FrontStep.NOISE:
        return this.#proven(content);
      case FrontStep.PARAMETERS:
        return this.#proven(this.#noiseAround(content));
      default:
        this.now += numberAt(content, 0, 4) * 1_000;
    }
  }

  send(bytes: Uint8Array): void {
    const outcome = this.front.handleDatagram(micros(this.now), ATTACKER.host, ATTACKER.port, bytes.slice());
    // [HELLO-2] Silence, whatever it is, without the MAC.
    check(outcome === undefined || isSigned(bytes), 'an answer to a wrong MAC');
    this.#judge(outcome, bytes);
  }

  #judge(outcome: FrontOutcome | undefined, bytes: Uint8Array): void {
    if (outcome === undefined) this.words.add('silent');
    else if (outcome.kind === 'reply') {
      check(isSigned(outcome.bytes), 'a reply without its MAC');
      const reply = decodePacket(outcome.bytes);
      check(!isFailure(reply), `a reply that is refused: ${String(reply)}`);
      const isCookie = reply.type === PacketType.COOKIE;
      check(!isCookie || outcome.bytes.length <= AMPLIFICATION_MAX * bytes.length, 'a reply that amplifies');
      this.words.add(`type ${reply.type}`);
    } else {
      const { bytes: answer, session } = outcome.acceptance.welcome({
        now: micros(this.now),
        port: SESSION_PORT,
        local: PARAMETERS,
        pool: new CreditPool(1e7),
      });
      check(isSigned(answer), 'a WELCOME without its MAC');
      drive(session);
      this.words.add('accepted');
    }
  }

  /** Sends a HELLO that has passed the cookie. */
  #proven(noise: Uint8Array): void {
    const hello: HelloPacket = {
      type: PacketType.HELLO,
      version: 1,
      secretId: keys().secretId,
      tag: { high: 1, low: 2 },
      cookie: undefined,
      noise: new Uint8Array(0),
      mac: NO_MAC,
    };
    const first = signPacket(bestSuite(), keys(), hello);
    const outcome = this.front.handleDatagram(micros(this.now), ATTACKER.host, ATTACKER.port, first);
    const reply = outcome?.kind === 'reply' ? decodePacket(outcome.bytes) : 'no reply';
    check(typeof reply !== 'string' && reply.type === PacketType.COOKIE, 'no cookie for a right HELLO');
    const bytes = noise.length === 0 ? Uint8Array.of(0) : noise;
    this.send(signPacket(bestSuite(), keys(), { ...hello, cookie: reply.cookie, noise: bytes }));
  }

  #noiseAround(parameters: Uint8Array): Uint8Array {
    const start = handshakeStart(bestSuite(), keys(), CLUSTER);
    const ephemeral = bestSuite().keyPair(this.#random.bytes(32));
    const options = { ...start.basis, role: 'initiator' as const, ephemeral };
    return new HandshakeState(bestSuite(), options, start).writeMessage(parameters);
  }

  /** Somebody honest gets in, or hears that there is no room. */
  honest(): void {
    const random = new Random(2);
    const initiator = newInitiator(random, this.now);
    for (let round = 0; round < 3 && initiator.outcome === undefined; round++) {
      initiator.handleTimeout(micros(this.now));
      const sent = initiator.pollTransmit(micros(this.now), BUFFER);
      if (sent === undefined) break;
      const hello = BUFFER.slice(0, sent.bytes);
      const outcome = this.front.handleDatagram(micros(this.now), HONEST.host, HONEST.port, hello);
      if (outcome === undefined) continue;
      const answer =
        outcome.kind === 'reply'
          ? outcome.bytes
          : outcome.acceptance.welcome({
              now: micros(this.now),
              port: SESSION_PORT,
              local: PARAMETERS,
              pool: new CreditPool(1e7),
            }).bytes;
      initiator.handleDatagram(micros(this.now), answer);
    }
    const { outcome } = initiator;
    const isBusy = outcome?.kind === 'refused' && outcome.code === ResultCode.BUSY;
    check(outcome?.kind === 'established' || isBusy, `an honest handshake ends as ${outcome?.kind}`);
    this.words.add(outcome.kind);
  }
}

/** A HELLO of the right secret, with anything in its other fields. */
function anyHello(random: Random, tag?: SessionTag): Uint8Array {
  const drawn = packet(random);
  const hello = drawn.type === PacketType.HELLO ? drawn : undefined;
  const second = random.chance(0.5);
  return signPacket(bestSuite(), keys(), {
    type: PacketType.HELLO,
    version: random.chance(0.8) ? 1 : random.integer(256),
    secretId: random.chance(0.9) ? keys().secretId : random.bytes(8),
    tag: tag ?? hello?.tag ?? { high: 5, low: 6 },
    cookie: second ? random.bytes(24) : undefined,
    noise: second ? random.bytes(1 + random.integer(100)) : new Uint8Array(0),
    mac: NO_MAC,
  });
}

function millisStep(operation: number, random: Random): StepText {
  const content = new Uint8Array(4);
  putNumber(content, 0, 4, random.pick([1, 100, 4_000, 10_000, 60_000, 2 ** 31]));
  return { operation, content };
}

const front: Target = {
  name: 'front',
  description: 'the answering side of the handshake, with and without the right MAC',
  weight: 3,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const steps = Array.from({ length: 1 + random.integer(4) }, (): StepText => {
      const choice = random.integer(8);
      if (choice < 2) return { operation: FrontStep.RAW, content: anyHello(random) };
      if (choice < 4) return { operation: FrontStep.SIGNED, content: anyHello(random) };
      if (choice < 5) return { operation: FrontStep.NOISE, content: bytesUpTo(random, 400) };
      if (choice < 6) return millisStep(FrontStep.WAIT, random);
      const content = encodeMessage(initiatorParameters, MESSAGE_VALUES.initiatorParameters(random) as never);
      return { operation: FrontStep.PARAMETERS, content };
    });
    return scriptOf(new Uint8Array(0), steps);
  },
  layout: (input) => scriptLayout(input, 0, (step) => layoutOf(step, FRONT_STEPS, 'initiatorParameters')),
  run(input) {
    const stage = new FrontStage();
    for (const { operation, content } of stepsOf(input, 0)) {
      stage.carryOut(operation % FRONT_STEPS, content);
      for (const count of stage.front.dropped.values()) check(count <= input.length, 'counted too often');
    }
    stage.honest();
    return [...stage.words].sort().join(', ');
  },
};

function layoutOf(
  { operation, content }: Step,
  operations: number,
  parameters: 'initiatorParameters' | 'responderParameters',
): Layout | undefined {
  switch (operation % operations) {
    case FrontStep.RAW:
    case FrontStep.SIGNED:
      return datagramLayout(content);
    case FrontStep.PARAMETERS:
      return messageLayout(parameters, content);
    case FrontStep.WAIT: {
      const layout = new LayoutBuilder();
      layout.number(0, 4);
      return layout;
    }
    default:
      return undefined;
  }
}

// ---------------------------------------------------------------- the initiator

/** Steps against an initiator: those of {@link FrontStep}, where NOISE is a WELCOME of any bytes, and COOKIE. */
const INITIATOR_STEPS = 6;
const COOKIE_STEP = 5;
const TAG_AT = 4;

class InitiatorStage {
  readonly initiator: Initiator;
  now: number = START;
  readonly #random = new Random(1);
  #hello: HelloPacket | undefined;

  constructor() {
    this.initiator = newInitiator(this.#random, START);
    this.#poll();
  }

  carryOut(operation: number, content: Uint8Array): void {
    switch (operation) {
      case FrontStep.RAW:
        return this.#raw(content);
      case FrontStep.SIGNED:
        return this.#send(signed(this.#tagged(content)));
      case FrontStep.NOISE:
        return this.#welcome(content);
      case FrontStep.PARAMETERS:
        return this.#welcome(this.#noiseAround(content));
      case FrontStep.WAIT:
        this.now += numberAt(content, 0, 4) * 1_000;
        return this.#poll();
      default:
        return this.#cookie(content);
    }
  }

  /** [HS-14] Without its tag and MAC a packet changes nothing. */
  #raw(content: Uint8Array): void {
    const before = [this.initiator.outcome, this.initiator.nextTimeout()];
    this.initiator.handleDatagram(micros(this.now), content.slice());
    const after = [this.initiator.outcome, this.initiator.nextTimeout()];
    check(isSigned(content) || (before[0] === after[0] && before[1] === after[1]), 'a wrong MAC counts');
    this.#poll();
  }

  #send(bytes: Uint8Array): void {
    this.initiator.handleDatagram(micros(this.now), bytes.slice());
    this.#poll();
  }

  #poll(): void {
    this.initiator.handleTimeout(micros(this.now));
    for (let sent = 0; ; sent++) {
      check(sent < 2, 'one HELLO after the other');
      const transmit = this.initiator.pollTransmit(micros(this.now), BUFFER);
      if (transmit === undefined) return;
      const hello = decodePacket(BUFFER.slice(0, transmit.bytes));
      check(!isFailure(hello) && hello.type === PacketType.HELLO, 'sent what is no HELLO');
      check(packetSize(hello) === transmit.bytes, 'a HELLO and something behind it');
      this.#hello = hello;
    }
  }

  #tagged(content: Uint8Array): Uint8Array {
    const bytes = content.slice();
    putNumber(bytes, TAG_AT, 4, this.#hello!.tag.high);
    putNumber(bytes, TAG_AT + 4, 4, this.#hello!.tag.low);
    return bytes;
  }

  #cookie(content: Uint8Array): void {
    const cookie = new Uint8Array(24).fill(content[0] ?? 0);
    const clusterId = new Uint8Array(16).fill(content[1] ?? 9);
    this.#signed({ type: PacketType.COOKIE, tag: this.#hello!.tag, cookie, clusterId, mac: NO_MAC });
  }

  #welcome(noise: Uint8Array): void {
    this.#signed({ type: PacketType.WELCOME, tag: this.#hello!.tag, noise, mac: NO_MAC });
  }

  #signed(answer: Packet): void {
    this.#send(signPacket(bestSuite(), keys(), answer));
  }

  /** Noise message 2 around these parameters; where no message 1 has come yet, the parameters themselves. */
  #noiseAround(parameters: Uint8Array): Uint8Array {
    const { noise } = this.#hello!;
    const start = handshakeStart(bestSuite(), keys(), CLUSTER);
    const ephemeral = bestSuite().keyPair(this.#random.bytes(32));
    const options = { ...start.basis, role: 'responder' as const, ephemeral };
    const state = new HandshakeState(bestSuite(), options, start);
    return state.readMessage(noise) === undefined ? parameters : state.writeMessage(parameters);
  }

  /** How it ended, or ends when nobody answers any more. */
  finalWord(): string {
    for (let tries = 0; this.initiator.outcome === undefined; tries++) {
      check(tries < 64, 'asks for ever');
      this.now = Math.max(this.now, this.initiator.nextTimeout()!);
      this.#poll();
    }
    const { outcome } = this.initiator;
    if (outcome.kind === 'established') drive(outcome.session);
    return outcome.kind;
  }
}

/** A front packet of any type to an initiator. */
function anyAnswer(random: Random): Uint8Array {
  for (;;) {
    const drawn = packet(random);
    if (drawn.type >= PacketType.SEALED) continue;
    return signPacket(bestSuite(), keys(), drawn);
  }
}

const initiator: Target = {
  name: 'initiator',
  description: 'the asking side of the handshake, answered by somebody who has the hello key',
  weight: 2,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const cookie = { operation: COOKIE_STEP, content: Uint8Array.of(random.integer(3), 9) };
    const parameters = encodeMessage(
      responderParameters,
      MESSAGE_VALUES.responderParameters(random) as never,
    );
    const steps = Array.from({ length: random.integer(3) }, (): StepText => {
      const choice = random.integer(6);
      if (choice < 1) return { operation: FrontStep.RAW, content: anyAnswer(random) };
      if (choice < 3) return { operation: FrontStep.SIGNED, content: anyAnswer(random) };
      if (choice < 4) return { operation: FrontStep.NOISE, content: bytesUpTo(random, 200) };
      if (choice < 5) return millisStep(FrontStep.WAIT, random);
      return { operation: COOKIE_STEP, content: Uint8Array.of(random.integer(3), random.pick([9, 9, 8])) };
    });
    const end = { operation: FrontStep.PARAMETERS, content: parameters };
    return scriptOf(new Uint8Array(0), random.chance(0.7) ? [cookie, ...steps, end] : steps);
  },
  layout: (input) => scriptLayout(input, 0, (step) => layoutOf(step, INITIATOR_STEPS, 'responderParameters')),
  run(input) {
    const stage = new InitiatorStage();
    for (const { operation, content } of stepsOf(input, 0)) {
      stage.carryOut(operation % INITIATOR_STEPS, content);
    }
    return stage.finalWord();
  },
};

export const handshakeTargets: readonly Target[] = [front, initiator];
