/**
 * A subject for the tests of the runner: answers `echo` and `add`, and misbehaves as it is told to. The words
 * on its command line say which ops hang, end it, or are answered by nonsense.
 */

import { createInterface } from 'node:readline';

const faults = new Map(process.argv.slice(2).map((word) => word.split('=')));
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue;
  const { id, op, ...fields } = JSON.parse(line);
  switch (faults.get(op)) {
    case 'hang':
      continue;
    case 'end':
      process.stderr.write('out of coffee\n');
      process.exit(3);
      break;
    case 'nonsense':
      process.stdout.write('well...\n');
      continue;
    case 'other-id':
      say({ id: id + 1, ok: {} });
      continue;
    case 'endless':
      for (let part = 0; part < 100; part++) process.stdout.write('x'.repeat(100_000));
      continue;
    case 'wrong':
      say({ id, ok: { sum: 'four' } });
      continue;
    default:
  }
  if (op === 'echo') say({ ok: fields, id });
  else if (op === 'add') say({ id, ok: { sum: fields.left + fields.right } });
  else if (op === 'refuse') say({ id, refused: true });
  else if (op === 'complain') say({ id, error: 'what is that?' });
  else say({ id, unsupported: true });
}
