/** What the controller reads before it decides on the migration, and what it decides. */
import type { VirtualMachine } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import { protocol } from '../../src/api/protocol.ts';
import type { ControllerEffect, ControllerFacts, PodFacts } from '../../src/migration/controller-facts.ts';
import { Pending } from './effects.ts';
import type { Model } from './model.ts';
import { bare, epoch, nodes, sourcePodReference, targetPodReference, versions } from './objects.ts';
import { Pod, VmWish, vm, type World } from './world.ts';

export const controllerPending = new Pending<ControllerEffect>();

/**
 * How late it is: nothing has expired; the agents' 5 s; the debt's 15 s; everything. In the last case it counts who was heard of: an
 * agent that was there all the time has looked at everything and said what it had to say; nobody is claimed to be there otherwise.
 */
const lateness = [0, 7_000, 20_000, 1e9] as const;

export const everything = 3;

export interface Decision {
  /** Number of the version to be saved; 0 when the status stays. */
  saves: number;
  effects: number;
  /** Where the terminal status says that the VM runs, when this decision is the one that ends the migration. */
  ends: { phase: string; node: string | undefined } | undefined;
}

export const names = [sourcePodReference, targetPodReference(1), targetPodReference(2)];

function podFacts(code: number, index: number): PodFacts {
  if ((code & Pod.exists) === 0 || (code & (Pod.removed | Pod.again)) !== 0) return { exists: false };
  const { name = '', uid = '' } = names[index] ?? {};
  const placed = (code & Pod.placed) !== 0;
  const terminated = (code & Pod.terminated) !== 0;
  return {
    exists: true,
    name,
    uid,
    resourceVersion: String(code),
    ...(placed ? { nodeName: [nodes.source, ...nodes.targets][index] ?? '' } : {}),
    deleting: (code & Pod.deleting) !== 0,
    held: true,
    ...(terminated ? { terminated: { exitCode: (code & Pod.exitedCleanly) === 0 ? 137 : 0 } } : {}),
    ...((code & Pod.fenced) === 0 ? {} : { fenced: 'its node was fenced.' }),
    running: placed && !terminated,
  };
}

const placements = [
  { nodeName: nodes.source, podName: sourcePodReference.name, podUID: sourcePodReference.uid, generation: 1 },
  { nodeName: nodes.targets[0], podName: targetPodReference(1).name, podUID: targetPodReference(1).uid, generation: 2 },
  { nodeName: nodes.targets[1], podName: targetPodReference(2).name, podUID: targetPodReference(2).uid, generation: 2 },
  { nodeName: 'node-d', podName: 'web-3', podUID: 'restarted-pod', generation: 3 },
];

function virtualMachine(code: number, uid: string): VirtualMachine {
  const locks = [undefined, { name: 'move', uid }, undefined, { name: 'another', uid: 'another' }];
  const lock = locks[vm.lock(code)];
  const placement = placements[vm.owner(code)];
  const wish = vm.wish(code);
  return {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: {
      namespace: 'default',
      name: 'web',
      uid: 'web-uid',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: epoch,
      ...(wish === VmWish.delete ? { deletionTimestamp: epoch } : {}),
    },
    spec: {
      memory: '1Gi',
      firmware: { bios: {} },
      ...(wish === VmWish.stop ? { powerState: 'Stopped' as const } : {}),
    },
    status: { ...(placement === undefined ? {} : { placement }), ...(lock === undefined ? {} : { migration: lock }) },
  };
}

function gather(w: World, late: number, sourceThere: boolean, targetThere: boolean): ControllerFacts {
  const { controller } = w;
  const migration = versions.at(controller.seen);
  const now = lateness[late] ?? 0;
  const agent = (there: boolean) => ({ since: 0, seenAt: there ? now : 0 });
  const { attempt = 1 } = migration.status ?? {};
  return {
    now,
    migration,
    virtualMachine: virtualMachine(controller.vm, migration.metadata.uid),
    sourcePod: podFacts(controller.sourcePod, 0),
    targetPod: attempt === 2 ? podFacts(controller.secondPod, 2) : podFacts(controller.firstPod, 1),
    debts: attempt === 2 ? [podFacts(controller.firstPod, 1)].filter(({ exists }) => exists) : [],
    agents: { source: agent(sourceThere), target: agent(targetThere) },
    room: { fullNodes: [] },
    protocol,
  };
}

export function decide(model: Model, w: World, late: number, sourceThere: boolean, targetThere: boolean): Decision {
  const { controller } = w;
  const presence = (sourceThere ? 1 : 0) | (targetThere ? 2 : 0);
  const key = String.fromCharCode(
    controller.seen,
    controller.vm | (controller.sourcePod << 8),
    controller.firstPod | (controller.secondPod << 8),
    late | (presence << 2),
  );
  const known = model.decisions.controller.get(key) as Decision | undefined;
  if (known !== undefined) return known;
  const facts = gather(w, late, sourceThere, targetThere);
  const { migration } = facts;
  const { status, effects } = model.steps.controllerStep(facts);
  const saved = status?.phase === undefined ? controller.seen : versions.of(bare({ ...migration, status }));
  const ends = isTerminal(status?.phase) && !isTerminal(migration.status?.phase);
  const decision: Decision = {
    saves: saved === controller.seen ? 0 : saved,
    effects: controllerPending.of(effects),
    ends: ends
      ? { phase: status?.phase ?? '', node: / (?:runs|is) on (node-[abcd])/.exec(status?.message ?? '')?.[1] }
      : undefined,
  };
  model.decisions.controller.set(key, decision);
  return decision;
}
