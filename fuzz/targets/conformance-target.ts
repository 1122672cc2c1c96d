/**
 * The JSON-lines protocol of the conformance runner: our own subject answers as the one written from the
 * specification does. Both are loaded when they are first needed.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../sim/random.ts';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import { same } from '../engine/comparison.ts';
import { type Layout, LayoutBuilder } from '../engine/layout.ts';
import { specFolder } from '../engine/places.ts';
import { check, type Target } from '../engine/target.ts';

const REQUEST_BYTES_MAX = 8_192;
const ID = 7;
/** Operations that take bytes: the reference answers them all. Others may lack fields that it counts on. */
const BY_BYTES = /\.(?:decode|split)$/;
const SLOW_OPERATION = 'key.passphrase';
/** Without vectors to start from: one request of the smallest kind. */
const REQUEST = '{"op":"frames.decode","bytes":"01"}';
/** What a field may be that should be something else. */
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  2 ** 53,
  '',
  '0',
  'zz',
  '00',
  'ff'.repeat(40),
  [],
  {},
  [[]],
  'constructor',
  '__proto__',
];
/** Edits on top of one another in one drawn request. */
const EDITS_MAX = 3;

type Answer = (request: unknown) => object;

interface Subjects {
  readonly ours: Answer;
  readonly reference: Answer;
}

let subjects: Subjects | undefined;
let requests: readonly string[] | undefined;

async function load(): Promise<Subjects> {
  const [ours, reference] = await Promise.all([
    import('../../conformance/subject.ts'),
    import('../../spec/reference/answer.ts'),
  ]);
  return { ours: ours.answer, reference: reference.answer };
}

/** Requests of the vectors, as text. */
function knownRequests(): readonly string[] {
  const folder = join(specFolder() ?? '', 'vectors');
  if (!existsSync(folder)) return [REQUEST];
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const cases = names.sort().flatMap((name) => {
    const file = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
      cases: { op: string; in: object }[];
    };
    return file.cases.map(({ op, in: fields }) => JSON.stringify({ op, ...fields }));
  });
  return cases.filter((text) => text.length <= REQUEST_BYTES_MAX);
}

/** Words, numbers and what stands in quotes. */
function jsonLayout(input: Uint8Array): Layout {
  const layout = new LayoutBuilder();
  let start = 0;
  for (let at = 0; at <= input.length; at++) {
    if (at < input.length && !MARKS.has(input[at]!)) continue;
    layout.bytes(start, at - start);
    layout.item(start, Math.min(at + 1, input.length) - start);
    start = at + 1;
  }
  return layout;
}

const MARKS: ReadonlySet<number> = new Set(utf8('{}[]:,"'));

/** `value` with one thing in it changed, taken away or doubled. */
function edited(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.chance(0.15)) {
    if (typeof value === 'number' && random.chance(0.5)) return value + random.integer(3) - 1;
    if (typeof value === 'string' && random.chance(0.5))
      return value.slice(0, random.integer(value.length + 1));
    return random.pick(ODD_VALUES);
  }
  if (Array.isArray(value)) {
    const at = random.integer(value.length + 1);
    if (at === value.length) return [...value, random.pick([...ODD_VALUES, ...value])];
    if (random.chance(0.2)) return value.toSpliced(at, 1);
    return value.with(at, edited(value[at], random));
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return { odd: random.pick(ODD_VALUES) };
  const at = random.integer(entries.length);
  const [name, inner] = entries[at]!;
  if (random.chance(0.1)) return Object.fromEntries(entries.toSpliced(at, 1));
  return { ...value, [name]: edited(inner, random) };
}

export const conformanceTarget: Target = {
  name: 'conformance',
  description: 'requests of the conformance protocol, beside the answers of the reference',
  weight: 2,
  inputBytesMax: REQUEST_BYTES_MAX,
  generate(random) {
    requests ??= knownRequests();
    const text = random.pick(requests);
    let request: unknown = JSON.parse(text);
    for (let edits = random.integer(EDITS_MAX + 1); edits > 0; edits--) request = edited(request, random);
    return utf8(JSON.stringify(request) ?? 'null');
  },
  layout: jsonLayout,
  async run(input) {
    subjects ??= await load();
    const text = fromUtf8(input);
    let fields: unknown;
    try {
      fields = JSON.parse(text ?? '');
    } catch {
      return 'no JSON';
    }
    const isObject = typeof fields === 'object' && fields !== null && !Array.isArray(fields);
    const request = isObject ? { ...(fields as object), id: ID } : fields;
    const { op } = (request ?? {}) as { op?: unknown };
    // It takes half a second and 128 MiB, on purpose.
    if (op === SLOW_OPERATION) return 'too slow';
    const ours = subjects.ours(structuredClone(request));
    const kind = kindOf(ours);
    if (typeof op === 'string' && BY_BYTES.test(op)) checkBeside(ours, kind, request);
    return kind === 'unsupported' || kind === 'error' ? kind : `${String(op)}: ${kind}`;
  },
};

/** Whether our reply is that of the reference; to a request that is none, it may not be `ok`. */
function checkBeside(ours: object, kind: string, request: unknown): void {
  const reference = referenceAnswer(subjects!.reference, structuredClone(request));
  if (reference === undefined) {
    return check(kind === 'refused' || kind === 'error', `ours says ${kind} to a request that is none`);
  }
  check(kind === kindOf(reference), `ours says ${kind}, the reference says ${kindOf(reference)}`);
  check(same(ours, reference), 'ours answers otherwise than the reference');
}

/** Undefined for a request that is none: its author need not expect what lacks fields. */
function referenceAnswer(answer: Answer, request: unknown): object | undefined {
  try {
    const reply = answer(request);
    return kindOf(reply) === 'error' ? undefined : reply;
  } catch {
    return undefined;
  }
}

/** Which kind of reply this is: there are four [CONF-2]. */
function kindOf(reply: object): string {
  const kinds = ['ok', 'refused', 'unsupported', 'error'].filter((name) => Object.hasOwn(reply, name));
  check(kinds.length === 1, `a reply of ${kinds.length} kinds`);
  check('id' in reply && (reply.id === ID || reply.id === null), 'a reply to another request');
  return kinds[0]!;
}
