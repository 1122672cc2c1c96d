/** `gramline lab` as people run it. */

import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { labTrouble, listLabs, openLab, processesOf, removeLab } from '../../lab/lab.ts';
import { findProgram } from '../../lab/programs.ts';
import { run } from '../../lab/tool.ts';
import { endAll, gramline, Started } from '../cli/support.ts';

const NAME = `tool-${process.pid}`;
const trouble = labTrouble({ lossPercent: 1 }) ?? tried();
const said = trouble === undefined ? '' : ` (skipped: ${trouble})`;

function tried(): string | undefined {
  try {
    openLab({ name: `${NAME}-try`, hosts: 1, lossPercent: 1 }).close();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Namespaces of this test that stand now. */
function standing(name = NAME): string {
  return execFileSync(findProgram('ip')!, ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(`-${name}-`))
    .join('\n');
}

afterAll(async () => {
  const left = trouble === undefined ? listLabs().filter(({ name }) => name.startsWith(NAME)) : [];
  for (const lab of left) {
    for (const pid of processesOf(lab)) process.kill(pid, 'SIGKILL');
    removeLab(lab);
  }
  await endAll();
});

describe.skipIf(trouble !== undefined)(`gramline lab${said}`, () => {
  it('makes a lab, runs commands in it, lists it, and removes it', async () => {
    const named = ['--name', NAME];
    const up = await gramline(['lab', 'up', ...named, '--hosts', '2', '--loss', '0.5%', '--mtu', '9000']);
    expect(up).toMatchObject({ code: 0, stderr: '' });
    expect(up.stdout).toContain(
      `The lab '${NAME}' stands: 2 hosts, MTU 9000, 0.5 % lost, any rate, offload on.`,
    );
    expect(up.stdout).toMatch(/^2 +10\.231\.77\.2 +gramline-lab-tool-\d+-h2$/m);
    expect(up.stdout).toContain(`gramline lab run --name ${NAME} 1 -- ping`);

    const again = await gramline(['lab', 'up', ...named]);
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toBe(
      `gramline: the lab '${NAME}' stands already: remove it with gramline lab down --name ${NAME}\n`,
    );

    // Words, options and streams of the command are its own.
    const words = ['sh', '-c', 'cat; echo "$0 $1" >&2; exit 7', '--name', '-x'];
    const ran = await gramline(['lab', 'run', ...named, '2', '--', ...words], { input: 'from stdin' });
    expect(ran).toMatchObject({ code: 7, stdout: 'from stdin', stderr: '--name -x\n' });
    const address = await gramline([
      'lab',
      'run',
      ...named,
      '2',
      'ip',
      '-4',
      '-o',
      'address',
      'show',
      'eth0',
    ]);
    expect(address.stdout).toContain('10.231.77.2/24');
    const ended = new Started(['lab', 'run', ...named, '1', '--', 'sh', '-c', 'echo up; exec sleep 600']);
    await ended.says(/up/);
    expect((await ended.end('SIGTERM')).code).toBe(128 + 15);
    expect(await gramline(['lab', 'run', ...named, '3', '--', 'true'])).toMatchObject({
      code: 1,
      stderr: `gramline: the lab '${NAME}' has hosts 1 to 2, not 3\n`,
    });

    const { labs } = JSON.parse((await gramline(['lab', 'list', '--json'])).stdout);
    expect(labs).toContainEqual({
      name: NAME,
      settings: 'MTU 9000, 0.5 % lost, any rate, offload on',
      hosts: [1, 2].map((number) => ({
        number,
        address: `10.231.77.${number}`,
        namespace: `gramline-lab-${NAME}-h${number}`,
      })),
    });

    // What still runs ends with its network.
    const left = new Started(['lab', 'run', ...named, '1', '--', 'sh', '-c', 'echo up; exec sleep 600']);
    await left.says(/up/);
    expect((await gramline(['lab', 'list'])).stdout).toContain(`${NAME}: MTU 9000`);
    const down = await gramline(['lab', 'down', ...named]);
    expect(down).toMatchObject({ code: 0, stdout: `removed the lab '${NAME}'\n`, stderr: '' });
    expect((await left.finished).code).toBe(128 + 15);
    expect(standing()).toBe('');
    expect(await gramline(['lab', 'down', ...named])).toMatchObject({
      code: 1,
      stderr: `gramline: no lab '${NAME}' stands: make one with gramline lab up --name ${NAME}\n`,
    });
  }, 120_000);

  it('removes what it made when it is interrupted on the way', async () => {
    const long = `${NAME}-long`;
    const up = new Started(['lab', 'up', '--name', long, '--hosts', '40']);
    await vi.waitFor(() => expect(standing(long)).not.toBe(''), { timeout: 30_000, interval: 10 });
    const { code, stdout, stderr } = await up.end('SIGINT');
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: '',
      stderr: 'gramline: interrupted by SIGINT\n',
    });
    expect(standing(long)).toBe('');
  }, 120_000);
});

describe('the command line of gramline lab', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** Runs the tool in this process; its exit code and what it said on stderr. */
  async function refusalOf(words: readonly string[]): Promise<readonly [code: number, stderr: string]> {
    let stderr = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    });
    const code = await run(words);
    vi.restoreAllMocks();
    return [code, stderr];
  }

  it.each([
    ['up --hosts 0', "'0' is no number of hosts: write a number from 1 to 200"],
    ['up --hosts 201', "'201' is no number of hosts"],
    ['up --hosts 2.5', "'2.5' is no number of hosts"],
    ['up --mtu 575', "'575' is no MTU: write a number from 576 to 65535"],
    ['up --mtu 65536', "'65536' is no MTU"],
    ['up --loss 100.1%', "'100.1%' is no loss"],
    ['up --loss -1', "'-1' is no loss"],
    ['up --loss much', "'much' is no loss"],
    ['up --rate 1', "'1' is no rate: write 8kbit to 100gbit"],
    ['up --rate 7kbit', "'7kbit' is no rate"],
    ['up --rate 101gbit', "'101gbit' is no rate"],
    ['up --offload maybe', "--offload is on or off, not 'maybe'"],
    ['up --name ../x', "'../x' is no name of a lab"],
    ['up 3', 'too many arguments'],
    ['run x -- true', "'x' is no number of a host"],
    ['run', "missing required argument 'HOST'"],
    ['run 1', "missing required argument 'COMMAND'"],
    ['run 1 --', 'name a command'],
    ['run 1 --name x -- true', 'write --name before HOST'],
    ['down --all --name x', '--name or --all, not both'],
    ['sideways', "unknown command 'sideways'"],
  ])('refuses `%s` in one line', async (words, message) => {
    const [code, stderr] = await refusalOf(words.split(' '));
    expect(stderr).toContain(`gramline: ${message}`);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect(code).toBe(2);
  });

  it.each(['up', 'list', 'down', 'run 1 -- true'])('says that `%s` needs root', async (words) => {
    vi.spyOn(process, 'getuid').mockReturnValue(1_000);
    const [code, stderr] = await refusalOf(words.split(' '));
    expect(stderr).toBe('gramline: a lab needs root, for network namespaces: run it with sudo\n');
    expect(code).toBe(1);
  });
});
