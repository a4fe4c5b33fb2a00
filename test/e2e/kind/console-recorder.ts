/**
 * Runs on each node under test, in a pod beside the VMs' pods: follows the serial console of every QEMU from the moment it exists,
 * and prints what it gives, one JSON object a line. QEMUs of one machine are on one clock, also in the nodes of kind.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { argumentsOf, findQemu, type ProcessIdentity } from '../../../src/agent/qemu/process.ts';
import { RunVolume } from '../../../src/agent/qemu/run-volume.ts';
import { HeartbeatRecorder, type SerialChunk } from '../../guest/heartbeat-recorder.ts';
import type { ConsoleLine } from './console-line.ts';

const podsDirectory = '/var/lib/kubelet/pods';
const run = randomUUID();
let number = 0;
/** Pods whose console is followed, and whose they are: `namespace/name` of a VM. */
const followed = new Map<string, string>();

function print(side: string, said: Pick<ConsoleLine, 'atMilliseconds' | 'text' | 'startedAtMilliseconds'>): void {
  const line: ConsoleLine = { run, number: number++, vm: followed.get(side) ?? '', side, ...said };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

class PrintingRecorder extends HeartbeatRecorder {
  override push({ side, ...said }: SerialChunk): void {
    print(side, said);
  }
}

const recorder = new PrintingRecorder();
for (;;) {
  for (const podUID of readdirSync(podsDirectory)) {
    const socket = join(podsDirectory, podUID, 'volumes/kubernetes.io~empty-dir/run/serial');
    if (followed.has(podUID) || !existsSync(socket)) continue;
    const atMilliseconds = monotonicMilliseconds();
    using volume = RunVolume.open(podsDirectory, podUID);
    const qemu = findQemu(volume.identity);
    if (qemu === undefined) continue;
    const vm = nameOfGuest(qemu);
    if (vm === undefined) continue;
    followed.set(podUID, vm);
    print(podUID, { atMilliseconds, text: '', startedAtMilliseconds: startOf(qemu) });
    recorder.follow(podUID, socket);
  }
  // A target's socket is there long before its guest runs.
  await delay(10);
}

/** As its QEMU calls itself; undefined when it has ended. */
function nameOfGuest(qemu: ProcessIdentity): string | undefined {
  const args = argumentsOf(qemu);
  return args?.[args.indexOf('-name') + 1];
}

/** By the monotonic clock, to some 20 ms: both numbers of the kernel are in hundredths of a second since boot. */
function startOf({ startTime }: ProcessIdentity): number {
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return monotonicMilliseconds() - (uptime * 1000 - startTime * 10);
}

function monotonicMilliseconds(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
