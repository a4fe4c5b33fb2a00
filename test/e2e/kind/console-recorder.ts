/**
 * Runs on each node under test, in a pod beside the VMs' pods: follows the serial console of every QEMU from the moment it exists,
 * and prints what it gives, one JSON object a line. QEMUs of one machine are on one clock, also in the nodes of kind.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { argumentsOf, findQemu } from '../../../src/agent/qemu/process.ts';
import { RunVolume } from '../../../src/agent/qemu/run-volume.ts';
import { HeartbeatRecorder, type SerialChunk } from '../../guest/heartbeat-recorder.ts';
import type { ConsoleLine } from './console-line.ts';

const podsDirectory = '/var/lib/kubelet/pods';
const run = randomUUID();
let number = 0;
/** Pods whose console is followed, and whose they are: `namespace/name` of a VM. */
const followed = new Map<string, string>();

class PrintingRecorder extends HeartbeatRecorder {
  override push({ side, atMilliseconds, text }: SerialChunk): void {
    const line: ConsoleLine = { run, number: number++, vm: followed.get(side) ?? '', side, atMilliseconds, text };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

const recorder = new PrintingRecorder();
for (;;) {
  for (const podUID of readdirSync(podsDirectory)) {
    const socket = join(podsDirectory, podUID, 'volumes/kubernetes.io~empty-dir/run/serial');
    if (followed.has(podUID) || !existsSync(socket)) continue;
    const vm = nameOfGuest(podUID);
    if (vm === undefined) continue;
    followed.set(podUID, vm);
    recorder.follow(podUID, socket);
  }
  // A target's socket is there long before its guest runs.
  await delay(10);
}

/** As its QEMU calls itself; undefined when there is none, or none any more. */
function nameOfGuest(podUID: string): string | undefined {
  using volume = RunVolume.open(podsDirectory, podUID);
  const qemu = findQemu(volume.identity);
  const args = qemu === undefined ? undefined : argumentsOf(qemu);
  return args?.[args.indexOf('-name') + 1];
}
