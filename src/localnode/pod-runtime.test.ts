/** Real processes, without an API server: what survives localnode, and what it still knows when it comes back. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { LaunchPlan } from './launch-plan.ts';
import { planLaunch } from './launch-plan.ts';
import { examplePod, podUID } from './pod.testing.ts';
import { PodRuntime } from './pod-runtime.ts';
import type { ProcessState } from './process-state.ts';

/** Longer than a unix socket's path may be. */
const address = '10.0.0.1';
const longName = 'x'.repeat(200);

class TestNode implements Disposable {
  readonly root = mkdtempSync(path.join(tmpdir(), 'vmferry-localnode-'));
  readonly ended = vi.fn<(uid: string) => void>();
  runtime: PodRuntime;

  constructor() {
    this.runtime = new PodRuntime(this.root, this.ended);
  }

  get folder(): string {
    return this.runtime.folder(podUID);
  }

  /** What is left of localnode when it comes back: nothing but the root. */
  restart(): void {
    this.runtime[Symbol.dispose]();
    this.runtime = new PodRuntime(this.root, this.ended);
  }

  plan(...command: string[]): LaunchPlan {
    return planLaunch(examplePod({ command }), { podFolder: this.folder, address });
  }

  start(...command: string[]): Promise<ProcessState> {
    return this.runtime.start(podUID, this.plan(...command));
  }

  observe(): Promise<ProcessState> {
    return this.runtime.observe(podUID);
  }

  pid(): number {
    return JSON.parse(readFileSync(path.join(this.folder, 'process.json'), 'utf8')).pid;
  }

  /** Processes that work in this node's folders. */
  processes(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && workingDirectory(pid)?.startsWith(this.root));
  }

  [Symbol.dispose](): void {
    this.runtime[Symbol.dispose]();
    for (const pid of this.processes()) process.kill(pid, 'SIGKILL');
    rmSync(this.root, { recursive: true, force: true });
  }
}

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

let node: TestNode;
const begin = () => {
  node = new TestNode();
  return node;
};
afterEach(() => node[Symbol.dispose]());

const sleeping = ['sleep', '1000'];

describe('a process that is started', () => {
  test('runs in its run volume, as itself, in a session without a terminal, with its output in a log', async () => {
    begin();
    expect(await node.start(...sleeping)).toMatchObject({ state: 'running', startedAt: expect.any(Date) });
    const pid = node.pid();
    expect(workingDirectory(pid)).toBe(path.join(node.folder, 'volumes/kubernetes.io~empty-dir/run'));
    await expect.poll(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\x001000\x00');
    const [, , , session] = fieldsOf(pid);
    expect([Number(session) === pid, Number(session) === process.pid]).toEqual([false, false]);
    const files = [0, 1, 2].map((file) => readlinkSync(`/proc/${pid}/fd/${file}`));
    expect(files).toEqual(['/dev/null', path.join(node.folder, 'log'), path.join(node.folder, 'log')]);
  });

  test('obeys SIGTERM, SIGINT, SIGHUP and SIGPIPE as any other', async () => {
    begin();
    await node.start(...sleeping);
    expect(/^SigIgn:\t(\w+)$/m.exec(readFileSync(`/proc/${node.pid()}/status`, 'utf8'))?.[1]).toBe('0'.repeat(16));
  });

  test('has its arguments as they are', async () => {
    begin();
    const odd = ['', ' a  b ', '"$HOME" `id`', "'", '*', '-n', 'ä\n'];
    await node.start('sh', '-c', 'printf "%s|" "$@" >arguments', 'sh', ...odd);
    await expect.poll(() => node.observe()).toMatchObject({ state: 'ended', exitCode: 0 });
    const written = readFileSync(path.join(node.plan('').workingDirectory, 'arguments'), 'utf8');
    expect(written.split('|')).toEqual([...odd, '']);
  });

  test('is never started twice', async () => {
    begin();
    await node.start(...sleeping);
    const pid = node.pid();
    expect(await node.start(...sleeping)).toMatchObject({ state: 'running' });
    expect(node.pid()).toBe(pid);
    // Both shims and shells: one pair stays.
    await expect.poll(() => node.processes()).toHaveLength(2);
  });
});

describe('how a process ended', () => {
  test.each([
    ['well', ['true'], { exitCode: 0, reason: 'Completed', message: '' }],
    ['with what it printed last', ['sh', '-c', 'echo oh; echo no >&2; exit 3'], { exitCode: 3, message: 'oh\nno\n' }],
    ['by a signal', ['sh', '-c', 'kill -s SEGV $$$$'], { exitCode: 128 + 11, reason: 'Error' }],
    [
      'before it began, without a program',
      ['/no/such/program'],
      { exitCode: 127, message: expect.stringContaining('/no/such/program') },
    ],
  ])('%s', async (_scenario, command, end) => {
    begin();
    await node.start(...command);
    await expect.poll(() => node.observe()).toMatchObject({ state: 'ended', ...end });
  });

  test('of a long log, the last lines count', async () => {
    begin();
    await node.start('sh', '-c', 'for i in $(seq 1000); do echo line $i; done; exit 1');
    await expect.poll(() => node.observe()).toMatchObject({ state: 'ended' });
    const { message = '' } = (await node.observe()) as { message?: string };
    expect(message).toMatch(/line 1000\n$/);
    expect(message.trim().split('\n')).toHaveLength(80);
  });

  test('is told at once', async () => {
    begin();
    await node.start(...sleeping);
    node.runtime.signal(podUID, 'SIGTERM');
    await vi.waitFor(() => expect(node.ended).toHaveBeenCalledWith(podUID));
    expect(await node.observe()).toMatchObject({ state: 'ended', exitCode: 128 + 15 });
  });

  test('is unknown when the shim was killed before', async () => {
    begin();
    await node.start(...sleeping);
    const pid = node.pid();
    for (const other of node.processes()) if (other !== pid) process.kill(other, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await expect
      .poll(() => node.observe(), { timeout: 10_000 })
      .toMatchObject({ state: 'ended', exitCode: 255, message: 'Its exit code is not known.' });
  });
});

describe('a localnode that comes back', () => {
  test('finds the process again, and sees it end', async () => {
    begin();
    const before = await node.start(...sleeping);
    node.restart();
    expect(await node.observe()).toEqual(before);
    process.kill(node.pid(), 'SIGKILL');
    await vi.waitFor(() => expect(node.ended).toHaveBeenCalled());
    expect(await node.observe()).toMatchObject({ state: 'ended', exitCode: 128 + 9 });
  });

  test('knows how a process ended meanwhile', async () => {
    begin();
    await node.start('sh', '-c', 'echo bye; exit 7');
    node.runtime[Symbol.dispose]();
    await expect.poll(() => existsSync(path.join(node.folder, 'exit-code'))).toBe(true);
    node.restart();
    await expect.poll(() => node.observe()).toMatchObject({ state: 'ended', exitCode: 7, message: 'bye\n' });
  });

  test('after a restart of the machine does not take another process for its own', async () => {
    begin();
    await node.start(...sleeping);
    const record = path.join(node.folder, 'process.json');
    const text = readFileSync(record, 'utf8');
    writeFileSync(record, JSON.stringify({ ...JSON.parse(text), bootID: 'an-earlier-boot' }));
    expect(await node.observe()).toMatchObject({ state: 'ended', exitCode: 255, reason: 'NodeRebooted' });
    node.runtime.signal(podUID, 'SIGKILL');
    writeFileSync(record, text);
    expect(await node.observe()).toMatchObject({ state: 'running' });
  });

  test('does not take a process with the same pid for its own', async () => {
    begin();
    await node.start('true');
    await expect.poll(() => node.observe()).toMatchObject({ state: 'ended' });
    rmSync(path.join(node.folder, 'exit-code'));
    const record = path.join(node.folder, 'process.json');
    writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, 'utf8')), pid: process.pid }));
    expect(await node.observe()).toMatchObject({ state: 'ended', reason: 'Error' });
  });
});

describe('a pod that must not start any more', () => {
  test('is not started by a shim on its way', async () => {
    begin();
    for (const folder of node.plan('true').folders) mkdirSync(folder, { recursive: true });
    node.runtime.forbidStart(podUID);
    expect(await node.start(...sleeping)).toMatchObject({ state: 'ended', reason: 'NeverStarted' });
    await expect.poll(() => node.processes()).toEqual([]);
    expect(await node.observe()).toMatchObject({ reason: 'NeverStarted' });
  });

  test('runs on if it was started before', async () => {
    begin();
    await node.start(...sleeping);
    node.runtime.forbidStart(podUID);
    expect(await node.observe()).toMatchObject({ state: 'running' });
  });

  test('leaves nothing', async () => {
    begin();
    await node.start(...sleeping);
    node.runtime.signal(podUID, 'SIGKILL');
    await vi.waitFor(() => expect(node.ended).toHaveBeenCalled());
    node.runtime.remove(podUID);
    expect(node.runtime.uids()).toEqual([]);
    await expect.poll(() => node.processes()).toEqual([]);
    expect(await node.observe()).toEqual({ state: 'absent' });
  });
});

test('a root too long for a unix socket’s path is no hindrance, sockets being named relative to the run volume', async () => {
  begin();
  const deep = path.join(node.root, longName);
  using runtime = new PodRuntime(deep, node.ended);
  const listen = "require('node:net').createServer().listen('qmp')";
  const plan = planLaunch(examplePod({ command: [process.execPath, '-e', listen] }), {
    podFolder: runtime.folder(podUID),
    address,
  });
  expect(await runtime.start(podUID, plan)).toMatchObject({ state: 'running' });
  const socket = path.join(plan.workingDirectory, 'qmp');
  await expect.poll(() => existsSync(socket), { timeout: 10_000 }).toBe(true);
  expect(execFileSync('stat', ['-c', '%F', socket], { encoding: 'utf8' }).trim()).toBe('socket');
});

/** From the state on, field 3 of /proc/PID/stat. */
function fieldsOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
}
