/**
 * `npm run demo`: a Linux guest counts, moves to another node while it counts, and goes on counting there. Sets everything up,
 * shows it as a user of the cluster would see it, and leaves nothing running (`-- --keep`: until Ctrl-C).
 */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KubeClient } from '../src/kube/client.ts';
import { KubeTransport, loadKubeConfig } from '../src/kube/transport.ts';
import { startCluster } from '../test/cluster/cluster.ts';
import { followConsoles } from '../test/e2e/consoles.ts';
import { readHeartbeats } from '../test/guest/heartbeat.ts';
import { HeartbeatRecorder } from '../test/guest/heartbeat-recorder.ts';
import { ensureLinuxGuest } from '../test/guest/linux/linux.ts';
import { checkout } from './cache.ts';
import { ensureQemu } from './prerequisites.ts';
import { showProgress } from './progress.ts';

const { values: flags } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')));
process.once('SIGTERM', () => interrupted.abort(new Error('terminated')));
const { signal } = interrupted;
const say = (line = '') => console.log(line);
const patience = () => AbortSignal.any([signal, AbortSignal.timeout(120_000)]);

async function demo(): Promise<void> {
  await ensureQemu(showProgress);
  const guest = await ensureLinuxGuest(showProgress);
  await using cluster = await startCluster({
    nodes: ['node-a', 'node-b'],
    controller: true,
    agents: true,
    log: showProgress,
    signal,
  });
  await using transport = new KubeTransport(loadKubeConfig(cluster.adminKubeconfig));
  await using recorder = new HeartbeatRecorder();
  await using _consoles = followConsoles(cluster, new KubeClient(transport), recorder, 'web');

  const vm = await rendered(cluster.directory, 'virtual-machine.yaml', guest);
  const migration = await rendered(cluster.directory, 'migration.yaml', guest);
  const counting = recorder.waitFor(/counter=20 /, patience());
  counting.catch(() => {}); // awaited below, after kubectl
  await shown(cluster.env, 'kubectl', 'apply', '-f', vm);
  say('The guest boots …');
  await counting;
  await shown(cluster.env, 'kubectl', 'get', 'vm', '-o', 'wide');
  say();

  say('$ kubectl get vmm -w');
  const watch = spawn('kubectl', ['get', 'vmm', '-w'], {
    env: environment(cluster.env),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    await cluster.kubectl('apply', '-f', migration);
    await cluster.kubectl('wait', '--for=condition=Finished', 'vmm/web-1', '--timeout=120s');
    await cluster.kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'vm/web', '--timeout=60s');
    const after = readHeartbeats(recorder.output).last;
    await recorder.waitFor(new RegExp(`counter=${after + 20} `), patience());
  } finally {
    watch.kill();
  }
  say();
  await shown(cluster.env, 'kubectl', 'get', 'vm');
  say();
  const { status } = JSON.parse(await cluster.kubectl('get', 'vmm', 'web-1', '-o', 'json'));
  tell(recorder, status);
  if (flags.keep) {
    say(
      `\nTo play with it:\n\n    export KUBECONFIG=${cluster.adminKubeconfig} PATH=${cluster.env.PATH?.split(':')[0]}:$PATH\n    kubectl get vm,vmm\n`,
    );
    say(`Manifests: ${vm}\n           ${migration}\nCtrl-C ends it and removes everything.`);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
}

interface MigrationStatus {
  phase: string;
  message: string;
  downtime?: string;
  source?: { qemuDowntimeMilliseconds?: number };
}

/** What the guest saw, in its own words, beside what was measured from outside. Throws when its count was broken. */
function tell(recorder: HeartbeatRecorder, status: MigrationStatus): void {
  const report = readHeartbeats(recorder.output);
  const move = report.moves.at(-1);
  const before = recorder.output.filter(({ side }) => side === move?.from).map(({ text }) => text);
  const lastBefore = [...before.join('').matchAll(/counter=(\d+)/g)].at(-1)?.[1];
  say(`${status.phase}: ${status.message}`);
  say(
    `  the guest counted to ${lastBefore ?? '?'} on the one node and went on to ${report.last} on the other, without a gap`,
  );
  say(
    `  its longest pause between two counts: ${Math.round(move?.gapMilliseconds ?? Number.NaN)} ms (it counts every 50 ms)`,
  );
  say(`  its memory: ${report.passes} checks, ${report.errors} errors`);
  say(
    `  downtime: ${status.downtime} by the source agent's clock, ${status.source?.qemuDowntimeMilliseconds} ms by QEMU's own`,
  );
  if (status.phase !== 'Succeeded' || report.faults.length > 0 || move === undefined) {
    throw new Error(`the guest's life was broken: ${[status.message, ...report.faults].join('; ')}`);
  }
}

/** The sample with the places of this machine's guest files. */
async function rendered(folder: string, name: string, guest: { kernel: string; initrd: string }): Promise<string> {
  const sample = await readFile(join(checkout, 'deploy/samples', name), 'utf8');
  const path = join(folder, name);
  await writeFile(
    path,
    sample
      .replace('/var/lib/vmferry/guest/vmlinuz', guest.kernel)
      .replace('/var/lib/vmferry/guest/initrd', guest.initrd),
  );
  return path;
}

function environment(env: Record<string, string>): NodeJS.ProcessEnv {
  return { ...process.env, ...env };
}

/** Runs a command as a user would, and shows both. */
async function shown(env: Record<string, string>, command: string, ...args: string[]): Promise<void> {
  say(`$ ${command} ${args.join(' ')}`);
  const child = spawn(command, args, { env: environment(env), stdio: ['ignore', 'inherit', 'inherit'], signal });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ended with exit code ${code}`)),
    );
  });
}

try {
  await demo();
} catch (error) {
  if (!signal.aborted) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  } else process.exitCode = 130;
}
