/** Looks after the guests of the VMs that live on this node, except while a migration has one: then they are its own. */

import { labels } from '../../api/labels.ts';
import type { VirtualMachine } from '../../api/objects.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import { objectKey } from '../../kube/resource.ts';
import { QmpError } from '../../qmp/errors.ts';
import type { EventName, QmpEvent } from '../../qmp/events.ts';
import type { AgentContext } from '../context.ts';
import { isMigrating } from '../pods-here.ts';
import { warmPreflight } from '../preflight.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { attendGuest, type GuestLook } from './attend-guest.ts';
import type { Wish } from './guest-step.ts';
import { publishGuest } from './publish-guest.ts';

interface Attached {
  readonly podUID: string;
  readonly detach: () => void;
}

/** Events after which the guest may be in another run state. */
const telling: ReadonlySet<string> = new Set<EventName>([
  'STOP',
  'RESUME',
  'SUSPEND',
  'WAKEUP',
  'SHUTDOWN',
  'GUEST_PANICKED',
  'GUEST_CRASHLOADED',
] satisfies QmpEvent['name'][]);

const maxBackoffMilliseconds = 1_000;
/** The newer state is on its way to the cache. */
const refusedWriteMilliseconds = 50;
/** The API server's default for `terminationGracePeriodSeconds`. */
const defaultGraceSeconds = 30;

export function startVirtualMachineAgent(context: AgentContext): AsyncDisposable {
  const { virtualMachines, pods, qemus, podQueue, logger } = context;
  const attached = new Map<string, Attached>();

  const controller = new Controller({
    name: 'guest',
    concurrency: 16,
    logger,
    maxBackoffMilliseconds,
    reconcile: (key, signal) => reconcile(key, signal),
    observer: context.observerOf('guest'),
  });

  async function reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const podUID = placedHere(virtualMachines.cache.get(key), context);
    if (podUID === undefined) {
      forget(key);
      return {};
    }
    attach(key, podUID);
    const looked = await podQueue.run(podUID, () => look(key, podUID), signal);
    if (looked === undefined) return {};
    const { vm, report, answers, lookAgainAfter } = looked;
    if (report !== undefined && !(await publishGuest(context, vm, report, signal)))
      return { requeueAfterMilliseconds: refusedWriteMilliseconds };
    if (answers) await warm(qemus.get(podUID), logger);
    return lookAgainAfter === undefined ? {} : { requeueAfterMilliseconds: lookAgainAfter };
  }

  /** In the pod's place in the queue: what was true before waiting for it need not be true any more. */
  async function look(key: string, podUID: string): Promise<(GuestLook & { readonly vm: VirtualMachine }) | undefined> {
    const vm = virtualMachines.cache.get(key);
    if (vm === undefined || placedHere(vm, context) !== podUID) return undefined;
    // The lock may still be on its way to the cache when its migration is there already.
    if (vm.status?.migration !== undefined || isMigrating(context, podUID)) return undefined;
    const seconds = vm.spec.terminationGracePeriodSeconds ?? defaultGraceSeconds;
    const guestLook = await attendGuest({
      qemu: qemus.get(podUID),
      state: context.state,
      wish: wishOf(vm, context),
      gracePeriodMilliseconds: seconds * 1000,
      published: vm.status?.guest,
      logger: logger.child({ virtualMachine: key }),
    });
    return { vm, ...guestLook };
  }

  function attach(key: string, podUID: string): void {
    if (attached.get(key)?.podUID === podUID) return;
    forget(key);
    const qemu = qemus.get(podUID);
    const stopEvents = qemu.onEvent(({ name }) => {
      if (telling.has(name)) controller.enqueue(key);
    });
    const stopChanges = qemu.onChange(() => controller.enqueue(key));
    const detach = () => {
      stopEvents();
      stopChanges();
    };
    attached.set(key, { podUID, detach });
  }

  function forget(key: string): void {
    attached.get(key)?.detach();
    attached.delete(key);
  }

  virtualMachines.onChange((key) => controller.enqueue(key));
  pods.onChange((_key, current, previous) => {
    const { namespace = '', labels: podLabels } = (current ?? previous)?.metadata ?? {};
    const name = podLabels?.[labels.virtualMachine];
    if (name !== undefined) controller.enqueue(objectKey({ namespace, name }));
  });
  controller.start();

  return {
    async [Symbol.asyncDispose]() {
      await controller[Symbol.asyncDispose]();
      for (const key of [...attached.keys()]) forget(key);
    },
  };
}

function placedHere(vm: VirtualMachine | undefined, { nodeName }: AgentContext): string | undefined {
  const placement = vm?.status?.placement;
  return placement?.nodeName === nodeName ? placement.podUID : undefined;
}

function wishOf(vm: VirtualMachine, { pods }: AgentContext): Wish {
  const { podName: name = '', podUID } = vm.status?.placement ?? {};
  const pod = pods.cache.get(objectKey({ namespace: vm.metadata.namespace, name }));
  const podIsDeleted = pod?.metadata.uid === podUID && pod?.metadata.deletionTimestamp !== undefined;
  if (podIsDeleted || vm.metadata.deletionTimestamp !== undefined) return 'End';
  return ({ Running: 'Run', Paused: 'Pause', Stopped: 'End' } as const)[vm.spec.powerState ?? 'Running'];
}

/** What a migration will want to know at once is asked now. */
async function warm(qemu: Qemu, logger: AgentContext['logger']): Promise<void> {
  try {
    await qemu.features();
    await warmPreflight(qemu);
  } catch (error) {
    // It is asked again when it is needed.
    logger.debug({ err: error, podUID: qemu.podUID }, 'QEMU was not asked ahead of time');
    if (!(error instanceof QmpError)) throw error;
  }
}
