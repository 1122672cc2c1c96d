/**
 * Questions to etcd through its JSON gateway, over HTTP: endpoints, tokens, time limits. What the
 * questions say is in `etcd-messages.ts`.
 *
 * One endpoint is the current one, for everything. Whoever finds it dead moves all to the next:
 * a member that does not answer one question is not worth a watch either.
 */

import { Pool } from 'undici';
import { GramlineError } from '../base/errors.ts';
import { MIB } from '../base/units.ts';
import { EtcdRefusal, EtcdSilence, isDefiniteRefusal, isTokenRefusal, isUnsent } from './etcd-errors.ts';
import { checkEndpoints } from './state-choice.ts';

/** Connections to one endpoint: the watch, transactions under way, a probe, and leases kept alive. */
const CONNECTIONS_MAX = 16;
/** A connection stands by then, or the endpoint counts as dead. */
const CONNECT_MILLIS_MAX = 1_000;
/** etcd checks a password by then: that takes it a tenth of a second of its processor's time. */
const AUTHENTICATE_MILLIS_MAX = 5_000;
/** An endpoint that was slower than another so often in a row is left. */
const SLOW_ANSWERS_MAX = 3;
/** The longest line of a stream; etcd cuts what it tells a watcher into far smaller ones. */
const LINE_BYTES_MAX = 64 * MIB;
const LINE_END = 0x0a;
const HTTP_OK = 200;
/** Of a server that is no gateway of etcd, or wants https. */
const HTTP_STRANGE: ReadonlySet<number> = new Set([400, 404]);

/** Who we are to etcd, and whom we believe to be etcd. */
export interface EtcdAccess {
  /** Name and password of a user of etcd's own authentication; both or neither. */
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** PEM texts: who signs for etcd, and, where it asks clients for one, our certificate and its key. */
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

export interface AskOptions {
  /** Milliseconds until the question is given up. */
  readonly millis: number;
  /** Milliseconds after which the next endpoint is asked as well. */
  readonly nextMillis: number;
}

export interface EtcdStream {
  /** One JSON text each. Rejects when the connection breaks. */
  readonly lines: AsyncIterable<string>;
  /** Where it comes from: an argument of `leave`. */
  readonly endpoint: number;
}

export class EtcdClient {
  /** The endpoints as given, for messages. */
  readonly where: string;
  readonly #pools: readonly Pool[];
  readonly #access: EtcdAccess;
  readonly #closing = new AbortController();
  #current = 0;
  #slowAnswers = 0;
  #token: string | undefined;
  #authenticating: Promise<string> | undefined;
  /** Told when another endpoint has become the current one. */
  onMove: () => void = () => undefined;

  /**
   * @param endpoints URLs, `http:` or `https:`, without a path; tried in this order.
   * @throws GRAMLINE_INVALID when one is no such URL, or they are none or too many
   */
  constructor(endpoints: readonly string[], access: EtcdAccess = {}) {
    const origins = checkEndpoints(endpoints);
    if ((access.user === undefined) !== (access.password === undefined))
      throw new GramlineError('GRAMLINE_INVALID', 'A user of etcd needs a password, and a password a user.');
    if ((access.certificate === undefined) !== (access.key === undefined))
      throw new GramlineError('GRAMLINE_INVALID', 'A certificate needs its key, and a key its certificate.');
    this.where = origins.join(', ');
    this.#access = access;
    this.#pools = origins.map(
      (origin) =>
        new Pool(origin, {
          connections: CONNECTIONS_MAX,
          // Time limits are ours: those of the library look only now and then.
          headersTimeout: 0,
          bodyTimeout: 0,
          connect: {
            timeout: CONNECT_MILLIS_MAX,
            ...(access.ca === undefined ? {} : { ca: access.ca }),
            ...(access.certificate === undefined ? {} : { cert: access.certificate, key: access.key! }),
          },
        }),
    );
  }

  /**
   * Asks something that changes nothing, or may be done twice. The next endpoint is asked as well
   * when one fails or is slow; the first answer counts.
   *
   * @throws EtcdRefusal, EtcdSilence, or what the network says
   */
  ask(path: string, body: string, { millis, nextMillis }: AskOptions): Promise<unknown> {
    const controller = new AbortController();
    const first = this.#current;
    let next = 0;
    let failures = 0;
    let hedge: NodeJS.Timeout | undefined;
    let limit: NodeJS.Timeout | undefined;
    return new Promise<unknown>((resolve, reject) => {
      const start = (): void => {
        clearTimeout(hedge);
        if (next === this.#pools.length) return;
        const endpoint = (first + next++) % this.#pools.length;
        hedge = setTimeout(start, nextMillis);
        const post = (token: string | undefined): Promise<unknown> =>
          this.#post(endpoint, path, body, token, controller.signal);
        this.#attempt(endpoint, post).then(
          (answer) => {
            this.#compare(first, endpoint);
            resolve(answer);
          },
          (error: unknown) => {
            // Another one has answered, or the time is over.
            if (controller.signal.aborted) return;
            if (isDefiniteRefusal(error)) return reject(error);
            this.leave(endpoint);
            failures += 1;
            if (failures === this.#pools.length) reject(error);
            else start();
          },
        );
      };
      limit = setTimeout(() => {
        this.leave(first);
        reject(new EtcdSilence(`no answer within ${millis / 1_000} s`));
      }, millis);
      start();
    }).finally(() => {
      clearTimeout(hedge);
      clearTimeout(limit);
      controller.abort();
    });
  }

  /**
   * Sends something that must not be done twice. Only where nothing of it was sent the next endpoint
   * is tried; any other failure leaves open whether it has happened, and later calls go elsewhere.
   *
   * @throws EtcdRefusal, EtcdSilence, or what the network says
   */
  async send(path: string, body: string, millis: number): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      const endpoint = this.#current;
      try {
        return await this.#attempt(endpoint, (token) =>
          limited(millis, (signal) => this.#post(endpoint, path, body, token, signal)),
        );
      } catch (error) {
        if (!isDefiniteRefusal(error)) this.leave(endpoint);
        if (!isUnsent(error) || tries >= this.#pools.length) throw error;
      }
    }
  }

  /** Opens a stream of answers at the current endpoint; `signal` ends it. */
  async stream(path: string, body: string, signal: AbortSignal): Promise<EtcdStream> {
    const endpoint = this.#current;
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    const authorization = await this.#authorization(endpoint);
    const { statusCode, body: answer } = await this.#pools[endpoint]!.request({
      path,
      method: 'POST',
      body,
      // A member that has lost its leader ends the stream instead of telling nothing.
      headers: { ...headersOf(authorization), 'grpc-metadata-hasleader': 'true' },
      signal: ends,
    });
    if (statusCode !== HTTP_OK) throw refusalOf(statusCode, await answer.text());
    return { endpoint, lines: linesOf(answer) };
  }

  /** Goes on to the next endpoint, unless others have gone already. */
  leave(endpoint: number): void {
    if (this.#current !== endpoint || this.#pools.length === 1) return;
    this.#moveTo((endpoint + 1) % this.#pools.length);
  }

  /** Gets a new token for what comes next: the old one may have ended. */
  forgetToken(): void {
    this.#token = undefined;
  }

  /** Ends what is under way, and all connections. */
  async close(): Promise<void> {
    this.#closing.abort(new EtcdSilence('the store was closed'));
    await Promise.all(this.#pools.map((pool) => pool.destroy()));
  }

  /** `winner` answered a question that went to `first` first. */
  #compare(first: number, winner: number): void {
    if (this.#current !== first) return;
    this.#slowAnswers = winner === first ? 0 : this.#slowAnswers + 1;
    if (this.#slowAnswers >= SLOW_ANSWERS_MAX) this.#moveTo(winner);
  }

  #moveTo(endpoint: number): void {
    this.#current = endpoint;
    this.#slowAnswers = 0;
    this.onMove();
  }

  /** Posts with a token where one is needed, and once more with a new one where that has ended. */
  async #attempt(
    endpoint: number,
    post: (authorization: string | undefined) => Promise<unknown>,
  ): Promise<unknown> {
    const authorization = await this.#authorization(endpoint);
    try {
      return await post(authorization);
    } catch (error) {
      if (authorization === undefined || !isTokenRefusal(error)) throw error;
      if (this.#token === authorization) this.#token = undefined;
      return post(await this.#authorization(endpoint));
    }
  }

  async #authorization(endpoint: number): Promise<string | undefined> {
    const { user } = this.#access;
    if (user === undefined) return undefined;
    if (this.#token !== undefined) return this.#token;
    // Many may need it at once: one asks, with a time limit that is nobody's own.
    this.#authenticating ??= this.#authenticate(endpoint).finally(() => {
      this.#authenticating = undefined;
    });
    return this.#authenticating;
  }

  async #authenticate(endpoint: number): Promise<string> {
    const { user, password } = this.#access;
    const body = JSON.stringify({ name: user, password });
    const answer = await limited(AUTHENTICATE_MILLIS_MAX, (signal) =>
      this.#post(endpoint, '/v3/auth/authenticate', body, undefined, signal),
    );
    const { token } = answer as { readonly token?: unknown };
    if (typeof token !== 'string') throw new EtcdRefusal('authentication gave no token', 0);
    this.#token = token;
    return token;
  }

  async #post(
    endpoint: number,
    path: string,
    body: string,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { statusCode, body: answer } = await this.#pools[endpoint]!.request({
      path,
      method: 'POST',
      body,
      headers: headersOf(authorization),
      signal,
    });
    const text = await answer.text();
    if (statusCode !== HTTP_OK) throw refusalOf(statusCode, text);
    // A stream answers with several texts, one a line: whoever asks wants the first.
    const end = text.indexOf('\n');
    return JSON.parse(end < 0 ? text : text.slice(0, end));
  }
}

/** Runs `work` with a signal that ends it after `millis`. */
async function limited<Result>(
  millis: number,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const silence = new EtcdSilence(`no answer within ${millis / 1_000} s`);
  const limit = setTimeout(() => controller.abort(silence), millis);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(limit);
  }
}

function headersOf(authorization: string | undefined): Record<string, string> {
  return authorization === undefined
    ? { 'content-type': 'application/json' }
    : { 'content-type': 'application/json', authorization };
}

function refusalOf(statusCode: number, text: string): Error {
  try {
    const { message, error, code } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const said = typeof message === 'string' ? message : error;
    if (typeof said === 'string') return new EtcdRefusal(said, typeof code === 'number' ? code : 0);
  } catch {
    // It is no JSON: then it does not come from etcd's gateway.
  }
  if (HTTP_STRANGE.has(statusCode)) {
    return new GramlineError(
      'GRAMLINE_INVALID',
      `What answers at etcd's URL is no etcd 3.4 or newer, or wants https (HTTP status ${statusCode}): check the URL.`,
    );
  }
  return new EtcdRefusal(`HTTP status ${statusCode}`, 0);
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_END); end >= 0; end = chunk.indexOf(LINE_END, start)) {
      const tail = chunk.subarray(start, end);
      yield (parts.length === 0 ? tail : Buffer.concat([...parts, tail])).toString();
      parts = [];
      length = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      length += chunk.length - start;
      if (length > LINE_BYTES_MAX) throw new EtcdRefusal('a line of the stream is too long', 0);
    }
  }
}
