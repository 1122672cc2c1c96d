/** The front port: silence towards strangers, cookies, and what a HELLO must look like. */

import { equalBytes, toHex } from '../../src/base/bytes.ts';
import { encodeMessage, initiatorParameters, PacketType, ResultCode } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import { frontAnswer, glue, helloBytes, nameOf, randomTag } from '../handshake.ts';
import { PING } from '../peer.ts';
import { COOKIE_DEAD_MILLIS, expectCookie, flipped, HAS_COOKIE, proven, silent } from './front-steps.ts';

const texts: readonly CaseText[] = [
  {
    title: 'a HELLO without a cookie is answered by COOKIE',
    clauses: ['HS-11', 'HELLO-1'],
    run: async (context) => {
      const cookie = await (await context.initiator()).cookie();
      expectThat(cookie.clusterId.length === 16, 'a cluster id of 16 bytes', `${cookie.clusterId.length}`);
    },
  },
  {
    title: 'a HELLO with a cookie is answered by WELCOME, and the session lives',
    clauses: ['HS-8', 'HS-13', 'HS-16', 'KEY-2', 'KEY-3', 'HS-12'],
    run: async (context) => {
      await (await context.connect()).checkAlive('KEY-3');
    },
  },
  {
    title: 'an unproven address gets no more than three times what it sent',
    clauses: ['HS-24'],
    run: async (context) => {
      const initiator = await context.initiator();
      const hello = initiator.hello();
      initiator.port.send(hello, initiator.front);
      let received = 0;
      for (let datagram = await initiator.port.receive(1_500); datagram !== undefined; ) {
        received += datagram.bytes.length;
        datagram = await initiator.port.receive(300);
      }
      expectThat(received > 0, 'a COOKIE', 'no answer', 'HS-11');
      expectThat(received <= 3 * hello.length, `at most ${3 * hello.length} bytes`, `${received}`);
    },
  },
  {
    title: 'every HELLO without a cookie is answered, also by the same tag',
    clauses: ['HS-11'],
    run: async (context) => {
      const initiator = await context.initiator();
      for (let round = 0; round < 5; round++) await initiator.cookie();
    },
  },
  {
    title: 'a cookie holds for several HELLOs',
    clauses: ['HS-17'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { cookie, clusterId } = await initiator.cookie();
      for (let round = 0; round < 3; round++) {
        const answer = await initiator.ask(
          initiator.hello({ cookie, noise: initiator.noise(clusterId) }),
          PacketType.WELCOME,
        );
        expectThat(answer?.type === PacketType.WELCOME, 'WELCOME', nameOf(answer));
        context.keep(initiator.session(answer)).send([PING]);
        initiator.port.onDatagram = undefined;
      }
    },
  },
  silent('a wrong MAC is not answered', ['HELLO-2'], (initiator) => [
    initiator.hello({ mac: (right) => flipped(right, 0) }),
    initiator.hello({ mac: (right) => flipped(right, 15) }),
  ]),
  silent('a MAC of zeros is not answered', ['HELLO-2'], (initiator) => [
    initiator.hello({ mac: () => new Uint8Array(16) }),
  ]),
  silent('a bit that changes after the MAC was made is not answered', ['HELLO-1', 'HELLO-2'], (initiator) =>
    [9, 17, 18, 25].map((at) => flipped(initiator.hello(), at)),
  ),
  silent('a wrong MAC with a valid cookie is not answered', ['HELLO-2'], (initiator) =>
    proven(initiator, (cookie, clusterId) =>
      initiator.hello({ cookie, noise: initiator.noise(clusterId), mac: (right) => flipped(right, 3) }),
    ),
  ),
  silent('an unknown secret id is not answered', ['HELLO-3'], (initiator, context) => [
    initiator.hello({ secretId: context.random(8) }),
    initiator.hello({ secretId: new Uint8Array(8) }),
  ]),
  silent('another magic is not answered', ['PKT-6'], (initiator) => [
    initiator.hello({ magic: 0x47524d4b }),
    initiator.hello({ magic: 0 }),
  ]),
  silent('unknown flag bits of HELLO are not answered', ['PKT-10'], (initiator) =>
    [2, 4, 8, 16, 32, 64, 128].map((flags) => initiator.hello({ flags })),
  ),
  silent('unknown flag bits beside a valid cookie are not answered', ['PKT-10'], (initiator) =>
    proven(initiator, (cookie, clusterId) =>
      initiator.hello({ cookie, noise: initiator.noise(clusterId), flags: HAS_COOKIE | 0x80 }),
    ),
  ),
  silent('packets of unknown types are not answered', ['PKT-2', 'PKT-13'], (initiator) =>
    [0, 7, 8, 0x7f, 0x80, 0xff].map((type) => initiator.hello({ type })),
  ),
  silent('packets that only a responder sends are not answered', ['PKT-13'], (initiator) =>
    [PacketType.COOKIE, PacketType.WELCOME, PacketType.REFUSED].map((type) => initiator.hello({ type })),
  ),
  silent('session packets at the front port are not answered', ['PKT-13'], (initiator) =>
    [PacketType.SEALED, PacketType.SEGMENT].map((type) => initiator.hello({ type })),
  ),
  silent('a HELLO cut at any byte is not answered', ['PKT-4', 'PKT-3'], (initiator) => {
    const hello = initiator.hello();
    return Array.from({ length: hello.length }, (_, bytes) => hello.subarray(0, bytes));
  }),
  silent('a HELLO cut at any byte, with a length that agrees, is not answered', ['PKT-4'], (initiator) => {
    const hello = initiator.hello();
    return Array.from({ length: hello.length - 4 }, (_, index) => {
      const cut = hello.slice(0, index + 4);
      cut[2] = cut.length >>> 8;
      cut[3] = cut.length;
      return cut;
    });
  }),
  silent('a length that is not that of the datagram is not answered', ['PKT-3', 'PKT-15'], (initiator) =>
    [0, 3, 64, 66, 0xffff].map((length) => initiator.hello({ length })),
  ),
  silent('bytes behind a HELLO are not answered', ['PKT-15'], (initiator) => [
    glue(initiator.hello(), new Uint8Array(1)),
    glue(initiator.hello(), new Uint8Array(100)),
  ]),
  silent('two HELLOs in one datagram are not answered', ['PKT-15'], (initiator) => [
    glue(initiator.hello(), initiator.hello()),
  ]),
  silent('a Noise message without a cookie is not answered', ['HS-12'], (initiator, context) => [
    initiator.hello({ noise: context.random(59) }),
  ]),
  silent('the flag of a cookie without a Noise message is not answered', ['HS-12'], (initiator) => [
    initiator.hello({ flags: HAS_COOKIE }),
    initiator.hello({ cookie: new Uint8Array(24), noise: new Uint8Array(0) }),
  ]),
  silent(
    'a cookie field that is not zero, without the flag, is not answered',
    ['HS-12'],
    (initiator, context) => [initiator.hello({ flags: 0, cookie: context.random(24) })],
  ),
  silent('an empty datagram and noise are not answered', ['PKT-13'], (_, context) => [
    new Uint8Array(0),
    ...Array.from({ length: 64 }, (_unused, index) => context.random(1 + index * 20)),
  ]),
  silent('a Noise message under another psk opens nothing', ['HS-3', 'HS-8'], (initiator, context) =>
    proven(initiator, (cookie, clusterId) =>
      initiator.hello({ cookie, noise: initiator.noise(clusterId, { psk: context.random(32) }) }),
    ),
  ),
  silent('a Noise message with any byte changed opens nothing', ['HS-3', 'HS-5'], async (initiator) => {
    const { cookie, clusterId } = await initiator.cookie();
    const noise = initiator.noise(clusterId);
    return Array.from({ length: noise.length }, (_, at) =>
      initiator.hello({ cookie, noise: flipped(noise, at) }),
    );
  }),
  silent('a Noise message that is too short opens nothing', ['HS-4'], async (initiator) => {
    const { cookie, clusterId } = await initiator.cookie();
    const noise = initiator.noise(clusterId);
    return [1, 16, 31, 32, 47, 48, 58].map((bytes) =>
      initiator.hello({ cookie, noise: noise.slice(0, bytes) }),
    );
  }),
  silent('a Noise message with bytes behind it opens nothing', ['HS-3'], (initiator, context) =>
    proven(initiator, (cookie, clusterId) =>
      initiator.hello({ cookie, noise: glue(initiator.noise(clusterId), context.random(1)) }),
    ),
  ),
  silent('a prologue of another cluster opens nothing', ['HS-13'], (initiator, context) =>
    proven(initiator, (cookie) => initiator.hello({ cookie, noise: initiator.noise(context.random(16)) })),
  ),
  silent('an ephemeral key of zeros opens nothing', ['HS-6'], (initiator, context) =>
    proven(initiator, (cookie, clusterId) => {
      const ephemeral = { ...context.randomPair(), publicKey: new Uint8Array(32) };
      return initiator.hello({ cookie, noise: initiator.noise(clusterId, { ephemeral }) });
    }),
  ),
  silent('an ephemeral key of small order opens nothing', ['HS-6'], (initiator, context) =>
    proven(initiator, (cookie, clusterId) => {
      const publicKey = new Uint8Array(32);
      publicKey[0] = 1;
      const ephemeral = { ...context.randomPair(), publicKey };
      return initiator.hello({ cookie, noise: initiator.noise(clusterId, { ephemeral }) });
    }),
  ),
  silent('parameters of another length open nothing', ['HS-15'], async (initiator) => {
    const { cookie, clusterId } = await initiator.cookie();
    const right = encodeMessage(initiatorParameters, initiator.parameters);
    const wrong = [new Uint8Array(0), right.slice(0, 10), glue(right, new Uint8Array(1))];
    return wrong.map((payload) =>
      initiator.hello({ cookie, noise: initiator.noise(clusterId, { payload }) }),
    );
  }),
  silent('an unknown role opens nothing', ['HS-15'], async (initiator) => {
    const { cookie, clusterId } = await initiator.cookie();
    return [0, 4, 255].map((role) => {
      const payload = encodeMessage(initiatorParameters, initiator.parameters);
      payload[0] = role;
      return initiator.hello({ cookie, noise: initiator.noise(clusterId, { payload }) });
    });
  }),
  ...[1, 2, 3].map(
    (role): CaseText => ({
      title: `role ${role} opens a session`,
      clauses: ['HS-15'],
      run: async (context) => {
        await (await context.connect({ role: role as 1 | 2 | 3 })).checkAlive();
      },
    }),
  ),
  {
    title: 'a cookie that was made up is no cookie',
    clauses: ['COOKIE-1', 'HS-11'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { clusterId } = await initiator.cookie();
      const noise = initiator.noise(clusterId);
      await expectCookie(initiator, initiator.hello({ cookie: context.random(24), noise }), 'COOKIE-1');
    },
  },
  {
    title: 'a cookie with any bit changed is no cookie',
    clauses: ['COOKIE-1'],
    run: async (context) => {
      const initiator = await context.initiator();
      for (let at = 0; at < 24; at++) {
        const { cookie, clusterId } = await initiator.cookie();
        const noise = initiator.noise(clusterId);
        await expectCookie(initiator, initiator.hello({ cookie: flipped(cookie, at), noise }), 'COOKIE-1');
      }
    },
  },
  {
    title: 'a cookie of another port is no cookie',
    clauses: ['COOKIE-1'],
    run: async (context) => {
      const [first, second] = [await context.initiator(), await context.initiator()];
      const { cookie, clusterId } = await first.cookie();
      const hello = first.hello({ cookie, noise: first.noise(clusterId) });
      second.port.send(hello, second.front);
      const datagram = await second.port.receive(3_000);
      const answer = datagram && frontAnswer(context.target, first.tag, datagram.bytes);
      expectThat(answer?.type === PacketType.COOKIE, 'a new COOKIE', nameOf(answer));
    },
  },
  {
    title: 'a cookie of another tag is no cookie',
    clauses: ['COOKIE-1'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { cookie, clusterId } = await initiator.cookie();
      const tag = randomTag();
      const noise = initiator.noise(clusterId);
      initiator.port.send(helloBytes(context.target, { tag, cookie, noise }), initiator.front);
      const datagram = await initiator.port.receive(3_000);
      const answer = datagram && frontAnswer(context.target, tag, datagram.bytes);
      expectThat(answer?.type === PacketType.COOKIE, 'a new COOKIE', nameOf(answer));
    },
  },
  {
    title: 'a cookie older than 5 s is no cookie',
    clauses: ['COOKIE-2'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { cookie, clusterId } = await initiator.cookie();
      await initiator.port.receive(COOKIE_DEAD_MILLIS);
      const noise = initiator.noise(clusterId);
      await expectCookie(initiator, initiator.hello({ cookie, noise }), 'COOKIE-2');
    },
  },
  {
    title: 'another version with a valid cookie is refused as UNSUPPORTED',
    clauses: ['HS-19', 'PKT-7'],
    run: async (context) => {
      const initiator = await context.initiator();
      for (const version of [0, 2, 255]) {
        const { cookie, clusterId } = await initiator.cookie();
        const answer = await initiator.ask(
          initiator.hello({ version, cookie, noise: initiator.noise(clusterId) }),
          PacketType.REFUSED,
        );
        expectThat(answer?.type === PacketType.REFUSED, 'REFUSED', nameOf(answer));
        expectThat(answer.code === ResultCode.UNSUPPORTED, 'code UNSUPPORTED (12)', `${answer.code}`);
      }
    },
  },
  {
    title: 'another version without a cookie is answered by COOKIE',
    clauses: ['HS-11', 'HS-19'],
    run: async (context) => {
      const initiator = await context.initiator();
      await expectCookie(initiator, initiator.hello({ version: 2 }), 'HS-11');
    },
  },
  {
    title: 'the same HELLO again gets the same WELCOME, byte for byte',
    clauses: ['HS-17'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { cookie, clusterId } = await initiator.cookie();
      const hello = initiator.hello({ cookie, noise: initiator.noise(clusterId) });
      const seen: Uint8Array[] = [];
      for (let round = 0; round < 4; round++) {
        initiator.port.send(hello, initiator.front);
        const datagram = await initiator.port.receive(2_000);
        // Where the cookie was slow a second one may come.
        if (datagram?.bytes[0] === PacketType.WELCOME) seen.push(datagram.bytes);
      }
      expectThat(seen.length > 1, 'an answer to each HELLO', `${seen.length}`);
      for (const bytes of seen) expectBytes(bytes, seen[0]!, 'the WELCOME');
    },
  },
  {
    title: 'the same ephemeral key under a new cookie opens nothing new',
    clauses: ['HS-17'],
    run: async (context) => {
      const initiator = await context.initiator();
      const first = await initiator.cookie();
      const noise = initiator.noise(first.clusterId);
      const welcome = await initiator.ask(
        initiator.hello({ cookie: first.cookie, noise }),
        PacketType.WELCOME,
      );
      const { cookie } = await initiator.cookie();
      const again = await initiator.ask(initiator.hello({ cookie, noise }), PacketType.WELCOME);
      expectThat(welcome?.type === PacketType.WELCOME, 'WELCOME', nameOf(welcome));
      expectThat(again?.type === PacketType.WELCOME, 'the same WELCOME', nameOf(again));
      expectThat(equalBytes(welcome.noise, again.noise), 'the same WELCOME', 'another one');
    },
  },
  {
    title: 'every handshake has another key, another tag and another port',
    clauses: ['HS-1', 'SES-6', 'SES-1'],
    run: async (context) => {
      const initiators = await Promise.all([1, 2, 3, 4].map(() => context.initiator()));
      const keys = new Set<string>();
      const tags = new Set<string>();
      const ports = new Set<number>();
      for (const initiator of initiators) {
        const { cookie, clusterId } = await initiator.cookie();
        const welcome = await initiator.ask(
          initiator.hello({ cookie, noise: initiator.noise(clusterId) }),
          PacketType.WELCOME,
        );
        expectThat(welcome?.type === PacketType.WELCOME, 'WELCOME', nameOf(welcome));
        keys.add(toHex(welcome.noise.subarray(0, 32)));
        const session = context.keep(initiator.session(welcome));
        tags.add(`${session.peerTag.high} ${session.peerTag.low}`);
        ports.add(session.options.to.port);
      }
      expectThat(keys.size === 4, '4 ephemeral keys', `${keys.size}`, 'HS-1');
      expectThat(tags.size === 4, '4 tags', `${tags.size}`, 'SES-6');
      expectThat(ports.size === 4, '4 ports', `${ports.size}`, 'SES-1');
      expectThat(
        !ports.has(context.target.front.port),
        'ports beside the front port',
        'the front port',
        'SES-1',
      );
    },
  },
  {
    title: 'a HELLO after one that was wrong is answered as if nothing had been',
    clauses: ['HS-5', 'HS-11'],
    run: async (context) => {
      const initiator = await context.initiator();
      const { cookie, clusterId } = await initiator.cookie();
      const spoiled = flipped(initiator.noise(clusterId), 40);
      initiator.port.send(initiator.hello({ cookie, noise: spoiled }), initiator.front);
      const answer = await initiator.ask(
        initiator.hello({ cookie, noise: initiator.noise(clusterId) }),
        PacketType.WELCOME,
      );
      expectThat(answer?.type === PacketType.WELCOME, 'WELCOME', nameOf(answer), 'HS-5');
      await context.keep(initiator.session(answer)).checkAlive('HS-5');
    },
  },
  {
    title: 'the prologue is magic, version and cluster id',
    clauses: ['HS-13', 'HS-8'],
    run: async (context) => {
      await (await context.connect()).checkAlive('HS-13');
    },
  },
];

export const frontCases = section('front port', 1, texts);
