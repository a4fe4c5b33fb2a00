/** What a pod that may run its guest looks like to people. */
import { qemuEnded } from '../../api/labels.ts';
import type { VirtualMachine } from '../../api/objects.ts';
import { lacksEvidence } from '../pod-evidence.ts';
import type { PodFacts } from './facts.ts';
import type { Standing } from './report.ts';
import { unprovenEnd } from './unproven-end.ts';

type PowerState = NonNullable<VirtualMachine['spec']['powerState']>;

const running: Standing = { phase: 'Running', reason: 'GuestRunning', message: '' };

/** QEMU's run states that need a word of their own. One that is not listed is told as it is. */
const runStates: Record<string, (powerState: PowerState) => Standing> = {
  running: () => running,
  paused,
  prelaunch: paused,
  suspended: () => ({
    phase: 'Paused',
    reason: 'GuestSuspended',
    message: 'The guest sleeps (ACPI S3) until something wakes it.',
  }),
  'io-error': () => ({
    phase: 'Paused',
    reason: 'IOError',
    message:
      'QEMU stopped the guest at a disk error. Repair the disk; set spec.powerState to Paused, then to Running, to go on.',
  }),
  watchdog: () => ({
    phase: 'Paused',
    reason: 'WatchdogExpired',
    message: "QEMU stopped the guest at its watchdog's request.",
  }),
  'internal-error': () => ({
    phase: 'Failed',
    reason: 'QemuInternalError',
    message: 'QEMU stopped the guest at an internal error. Delete the pod to start the VM again.',
  }),
  'guest-panicked': () => ({
    phase: 'Failed',
    reason: 'GuestPanicked',
    message: 'The guest has panicked. Delete the pod to start the VM again.',
  }),
  shutdown: () => ({
    phase: 'Stopping',
    reason: 'GuestShutdown',
    message: 'The guest has shut down; QEMU is about to end.',
  }),
  [qemuEnded]: () => ({
    phase: 'Stopping',
    reason: 'QemuEnded',
    message: 'QEMU has ended, and its node has yet to report it.',
  }),
};

function paused(powerState: PowerState): Standing {
  return powerState === 'Paused'
    ? { phase: 'Paused', reason: 'Paused', message: '' }
    : { phase: 'Paused', reason: 'Resuming', message: 'The guest is to go on; its agent has yet to tell QEMU.' };
}

/** What is last known, and if nobody can say whether it still holds, that, with what would settle it. */
export function standingOf(pod: PodFacts, vm: VirtualMachine): Standing {
  const known = lastKnown(pod, vm);
  return lacksEvidence(pod)
    ? { ...known, ...doubt(pod, known), message: unprovenEnd(pod, vm), ready: 'Unknown' }
    : known;
}

/** Neither what the guest was told to do nor what became of its pod is in doubt. */
function doubt(pod: PodFacts, { phase }: Standing): Partial<Standing> {
  if (pod.container.state === 'lost') return { phase: 'Failed', reason: 'ContainerLost' };
  if (pod.rejection !== undefined) return { phase: 'Failed', reason: 'PodRejected' };
  return phase === 'Running' || phase === 'Starting' ? { reason: 'NodeNotReady' } : {};
}

/** The first line that fits says it. */
function lastKnown(pod: PodFacts, vm: VirtualMachine): Standing {
  const { name, nodeName, container } = pod;
  if (pod.deleting) {
    const message = `Pod ${name} was deleted; what follows its guest's end is up to restartPolicy ${vm.spec.restartPolicy ?? 'Always'}.`;
    return { phase: 'Stopping', reason: 'PodDeleted', message };
  }
  if (nodeName === undefined) {
    return pod.unschedulable === undefined
      ? { phase: 'Pending', reason: 'Scheduling', message: `Pod ${name} is being placed.` }
      : { phase: 'Pending', reason: 'Unschedulable', message: `No node takes pod ${name}: ${pod.unschedulable}` };
  }
  if (container.state !== 'running') {
    const why = container.state === 'waiting' ? container.message : '';
    return why === ''
      ? starting(pod, nodeName)
      : { phase: 'Starting', reason: 'Starting', message: `Pod ${name} is starting on ${nodeName}: ${why}` };
  }
  return guestStanding(pod, nodeName, vm);
}

/** The same before and after the container started: the guest's own report follows at once, and is worth the write. */
function starting({ name }: PodFacts, nodeName: string): Standing {
  const message = `Pod ${name} is starting on ${nodeName}, whose agent has yet to report the guest.`;
  return { phase: 'Starting', reason: 'Starting', message };
}

function guestStanding(pod: PodFacts, nodeName: string, vm: VirtualMachine): Standing {
  const guest = vm.status?.guest;
  if (guest?.podUID !== pod.uid) {
    // A target pod became the VM's because its agent had said that it took the guest over.
    return pod.role === 'target' ? running : starting(pod, nodeName);
  }
  const known = runStates[guest.runState];
  if (known !== undefined) return known(vm.spec.powerState ?? 'Running');
  const message = `QEMU's run state is ${guest.runState}.`;
  return { phase: 'Running', reason: 'UnusualRunState', message, ready: guest.running === true ? 'True' : 'False' };
}
