/** Labs of network namespaces: what stands, what it does to packets, and that nothing is left of it. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  formatRate,
  type Lab,
  type LabHost,
  type LabOptions,
  labTrouble,
  listLabs,
  nameTrouble,
  openLab,
  processesOf,
  removeLab,
  setDeviceOffloads,
  setLoss,
  settingsOf,
} from '../../lab/lab.ts';
import { execute, type LabProgram, programTrouble } from '../../lab/programs.ts';

const NEEDS = { lossPercent: 1, rate: { bitsPerSecond: 1e9 }, offload: 'off' } as const;
const trouble = labTrouble(NEEDS) ?? tried();
const said = trouble === undefined ? '' : ` (skipped: ${trouble})`;
const PREFIX = `test-${process.pid}`;
const open: Lab[] = [];
let labs = 0;

/** Whether this machine lets anybody make a lab: containers often don't, whoever asks. */
function tried(): string | undefined {
  try {
    openLab({ name: `try-${process.pid}`, hosts: 2, ...NEEDS }).close();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function labOf(options: Partial<LabOptions> & { readonly hosts: number }): Lab {
  labs += 1;
  const lab = openLab({ name: `${PREFIX}-${labs}`, ...options });
  open.push(lab);
  return lab;
}

/** Namespaces of this test's labs that stand now. */
function standing(): string[] {
  return execute('ip', ['netns', 'list'])
    .split('\n')
    .filter((line) => line.includes(PREFIX));
}

const inside = (host: LabHost, program: string, ...words: string[]): string =>
  execute('ip', ['netns', 'exec', host.namespace, program, ...words]);

/** Sends `count` datagrams from one host to a port of another, and does not care who hears them. */
function sendDatagrams(from: LabHost, to: LabHost, count: number): void {
  inside(
    from,
    process.execPath,
    '-e',
    `const socket = require('node:dgram').createSocket('udp4');
     let sent = 0;
     const next = () => sent++ < ${count} ? socket.send('x', 9, '${to.address}', () => setImmediate(next)) : socket.close();
     next();`,
  );
}

/** Packets that the loss of a host has taken. */
function lostAt(host: LabHost): number {
  return Number(/counter packets (\d+)/.exec(inside(host, 'nft', 'list', 'ruleset'))?.[1] ?? 0);
}

/** Datagrams that came to a host, to whatever port. */
function arrivedAt(host: LabHost): number {
  const [names, values] = inside(host, 'cat', '/proc/net/snmp')
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '));
  return Number(values![names!.indexOf('InDatagrams')]) + Number(values![names!.indexOf('NoPorts')]);
}

afterEach(() => {
  for (const lab of open.splice(0)) lab.close();
});

describe.skipIf(trouble !== undefined)(`a lab${said}`, () => {
  it.each(['cable', 'switch'] as const)('carries datagrams between its hosts, by a %s', (joined) => {
    const { hosts } = labOf({ hosts: 2, joined });
    sendDatagrams(hosts[0]!, hosts[1]!, 50);
    sendDatagrams(hosts[1]!, hosts[0]!, 20);
    expect(hosts.map(arrivedAt)).toEqual([20, 50]);
  });

  it('joins any number of hosts by a switch, and numbers them and their addresses', () => {
    const { hosts } = labOf({ hosts: 5 });
    expect(hosts.map(({ number, address }) => [number, address])).toEqual(
      [1, 2, 3, 4, 5].map((number) => [number, `10.231.77.${number}`]),
    );
    sendDatagrams(hosts[4]!, hosts[2]!, 10);
    expect(hosts.map(arrivedAt)).toEqual([0, 0, 10, 0, 0]);
  });

  it('loses the share of packets that it was told to, as they come in', () => {
    const { hosts } = labOf({ hosts: 2, lossPercent: 10 });
    sendDatagrams(hosts[0]!, hosts[1]!, 3_000);
    // 300 at 16 of standard deviation.
    expect(lostAt(hosts[1]!)).toBeGreaterThan(200);
    expect(lostAt(hosts[1]!)).toBeLessThan(400);
    setLoss(hosts[1]!, 100);
    const before = arrivedAt(hosts[1]!);
    sendDatagrams(hosts[0]!, hosts[1]!, 50);
    expect(arrivedAt(hosts[1]!)).toBe(before);
    setLoss(hosts[1]!, 0);
    sendDatagrams(hosts[0]!, hosts[1]!, 50);
    expect(arrivedAt(hosts[1]!)).toBe(before + 50);
  });

  it('has the MTU, rate and offloads that it was told to, and says so', () => {
    const { hosts } = labOf({
      hosts: 2,
      mtuBytes: 9_000,
      lossPercent: 0.5,
      rate: { bitsPerSecond: 100e6 },
      offload: 'off',
    });
    for (const host of hosts) {
      expect(inside(host, 'ip', 'link', 'show', 'dev', 'eth0')).toContain('mtu 9000');
      expect(inside(host, 'tc', 'qdisc', 'show', 'dev', 'eth0')).toMatch(/tbf .*rate 100Mbit/);
      expect(inside(host, 'ethtool', '-k', 'eth0')).toContain('generic-segmentation-offload: off');
      expect(inside(host, 'nft', 'list', 'ruleset')).toContain('mod 100000 < 500');
      expect(inside(host, 'ip', 'route')).toContain('224.0.0.0/4 dev eth0');
      expect(settingsOf(host)).toBe('MTU 9000, 0.5 % lost, 100 mbit/s, offload off');
      setDeviceOffloads(host, 'on');
      expect(inside(host, 'ethtool', '-k', 'eth0')).toContain('generic-segmentation-offload: on');
    }
    // A switch has a queue at each port, too: many senders to one host overflow it.
    const hub = hosts[0]!.namespace.replace(/h1$/, 'hub');
    expect(execute('tc', ['-n', hub, 'qdisc', 'show', 'dev', 'port2'])).toMatch(/tbf .*rate 100Mbit/);
  });

  it('is found by its namespaces alone, with what runs in it, and removed', async () => {
    const { name, hosts } = labOf({ hosts: 3 });
    open.pop();
    const [program, ...rest] = [...hosts[1]!.prefix, 'sleep', '600'];
    const child = spawn(program!, rest, { stdio: 'ignore' });
    const exit = once(child, 'exit');
    const found = listLabs().find((lab) => lab.name === name)!;
    expect(found.hosts).toEqual(hosts);
    expect(found.namespaces).toHaveLength(4);
    // `ip netns exec` becomes the command after it has entered.
    await vi.waitFor(() => expect(processesOf(found)).toEqual([child.pid]), 10_000);
    child.kill();
    await exit;
    expect(processesOf(found)).toEqual([]);
    removeLab(found);
    expect(standing()).toEqual([]);
  });

  it('leaves namespaces of others alone', () => {
    const foreign = [`gramline-${PREFIX}-h1`, `x-gramline-lab-${PREFIX}-h1`, `gramline-lab-${PREFIX}-x1`];
    try {
      for (const namespace of foreign) execute('ip', ['netns', 'add', namespace]);
      expect(listLabs().filter(({ name }) => name.includes(PREFIX))).toEqual([]);
      labOf({ hosts: 1 }).close();
      expect(
        standing()
          .map((line) => line.split(' ')[0])
          .sort(),
      ).toEqual([...foreign].sort());
    } finally {
      for (const namespace of foreign) execute('ip', ['netns', 'del', namespace]);
    }
  });

  it('stands once under a name, and the second try leaves the first alone', () => {
    const { name, hosts } = labOf({ hosts: 2 });
    expect(() => openLab({ name, hosts: 2 })).toThrow(`the lab '${name}' stands already`);
    expect(listLabs().find((lab) => lab.name === name)!.hosts).toEqual(hosts);
  });

  it.each([
    ['a rate that tc refuses', { hosts: 3, rate: { bitsPerSecond: 1e9, burstBytes: -1 } }, /^tc .* failed/],
    ['an MTU that the kernel refuses', { hosts: 2, mtuBytes: 70_000 }, /^ip .* failed/],
    ['a cable with three ends', { hosts: 3, joined: 'cable' }, /a cable joins two hosts/],
  ] as const)('that fails halfway leaves nothing: %s', (_case, options, message) => {
    expect(() => labOf(options)).toThrow(message);
    expect(standing()).toEqual([]);
  });

  it('goes away whole when a part of it is gone already, and once is enough', () => {
    const lab = labOf({ hosts: 3 });
    execute('ip', ['netns', 'del', lab.hosts[1]!.namespace]);
    const [found] = listLabs().filter(({ name }) => name === lab.name);
    expect(found!.hosts.map(({ number }) => number)).toEqual([1, 3]);
    lab.close();
    expect(standing()).toEqual([]);
    lab.close();
    // What others found before it went away is nothing any more.
    expect(processesOf(found!)).toEqual([]);
    expect(settingsOf(lab.hosts[0]!)).toBe('');
    removeLab(found!);
  });
});

describe('what a lab needs', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('is named when it is missing: the system, the right, the program', () => {
    if (process.platform === 'linux') {
      vi.spyOn(process, 'getuid').mockReturnValue(1_000);
      expect(labTrouble()).toBe('a lab needs root, for network namespaces: run it with sudo');
      vi.spyOn(process, 'getuid').mockReturnValue(0);
      expect(programTrouble(['ip', 'nft'], ['/nowhere'])).toMatch(/^ip is not installed .*iproute2/);
    }
    const programs: readonly LabProgram[] = ['ip'];
    vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin');
    expect(programTrouble(programs)).toBe('a lab needs Linux');
  });

  it('is a name of letters, digits and hyphens', () => {
    for (const name of ['a', '7', 'a-b', 'x'.repeat(32)]) expect(nameTrouble(name)).toBeUndefined();
    for (const name of ['', '-a', 'a-', 'A', 'a b', 'a/b', '..', 'x'.repeat(33), 'a\n']) {
      expect(nameTrouble(name), name).toContain('is no name of a lab');
    }
  });

  it('is written as people write rates', () => {
    expect([1e9, 2.5e9, 80e6, 8_000, 900].map(formatRate)).toEqual([
      '1 gbit/s',
      '2.5 gbit/s',
      '80 mbit/s',
      '8 kbit/s',
      '900 bit/s',
    ]);
  });
});
