/** What no kubectl can do to a node: small programs that run on it as its root, in the pod of its recorder, which sees all of it. */
import type { Pod } from '../../../src/kube/core-resources.ts';
import { recorderPods, testNamespace } from './consoles.ts';
import { kubectl } from './site.ts';

/** Runs a program of Node 24 with `fs` and `net` at hand. @returns what it printed */
async function runInPod(pod: string, program: string, input?: Buffer): Promise<string> {
  const source = `const fs = require('node:fs'), net = require('node:net'); ${program}`;
  return await kubectl(['-n', testNamespace, 'exec', '-i', pod, '--', 'node', '-e', source], input);
}

export async function onEveryNode(program: string, input?: Buffer): Promise<void> {
  for (const pod of await recorderPods()) await runInPod(pod, program, input);
}

async function onNode(nodeName: string, program: string): Promise<string> {
  const [pod] = await recorderPods(nodeName);
  if (pod === undefined) throw new Error(`no recorder runs on ${nodeName}`);
  return await runInPod(pod, program);
}

/** An agent that stands still, as under a debugger; its liveness probe ends it after a minute. */
export function freezeAgent(nodeName: string): Promise<string> {
  return signalAgent(nodeName, 'SIGSTOP');
}

export function thawAgent(nodeName: string): Promise<string> {
  return signalAgent(nodeName, 'SIGCONT');
}

function signalAgent(nodeName: string, signal: 'SIGSTOP' | 'SIGCONT'): Promise<string> {
  return onNode(
    nodeName,
    `const isAgent = (pid) => {
       try { return fs.readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0').includes('/vmferry/agent/main.mjs'); }
       catch { return false; }
     };
     const agents = fs.readdirSync('/proc').filter((name) => Number(name) > 0 && isAgent(name));
     if (agents.length !== 1) throw new Error('there are ' + agents.length + ' agents');
     process.kill(Number(agents[0]), '${signal}');`,
  );
}

/**
 * Lets a VM's QEMU need more memory than its pod may have, so that the kernel ends it: its limit is set to little more than it uses,
 * and its second monitor is sent a command of two million words. QEMU by itself keeps far below the limit.
 */
export async function exhaustMemory({ metadata, spec, status }: Pod): Promise<void> {
  const container = status?.containerStatuses?.[0]?.containerID?.replace(/^.*:\/\//, '') ?? '';
  const socket = `/var/lib/kubelet/pods/${metadata.uid}/volumes/kubernetes.io~empty-dir/run/qmp2`;
  await onNode(
    spec.nodeName ?? '',
    `const root = '/proc/1/root/sys/fs/cgroup';
     const v2 = fs.existsSync(root + '/cgroup.controllers');
     const [usage, limit] = v2 ? ['memory.current', 'memory.max'] : ['memory.usage_in_bytes', 'memory.limit_in_bytes'];
     const find = (folder) => fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
       .flatMap(({ name }) => name.includes('${container}') ? [folder + '/' + name] : find(folder + '/' + name));
     const [group] = find(v2 ? root : root + '/memory');
     const used = Number(fs.readFileSync(group + '/' + usage, 'utf8'));
     fs.writeFileSync(group + '/' + limit, String(used + 4 * 1024 * 1024));
     const monitor = net.connect('${socket}');
     setTimeout(() => { throw new Error('QEMU has withstood it'); }, 60_000);
     monitor.on('error', () => undefined).on('close', () => process.exit());
     monitor.write('{"execute": [' + '1,'.repeat(1e6));`,
  );
}
