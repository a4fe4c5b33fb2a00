/**
 * The decision against a small world: an API server with compare-and-swap and preconditions, nodes that bind, start, end and
 * report pods when they please, fall silent while their guests run on, or lose their power; an owner who changes his mind, a
 * migration that takes the lock, an operator who fences what is off and mistypes UIDs, somebody who removes pods and
 * migrations by force, and controllers that crash between any two writes or fall asleep and wake much later.
 */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { annotations, outOfServiceTaint } from '../../api/labels.ts';
import type { VirtualMachine } from '../../api/objects.ts';
import type { Node } from '../../kube/core-resources.ts';
import { fencedBy, isReady } from '../fencing.ts';
import { fencedUID, isGone } from '../pod-evidence.ts';
import { type VirtualMachineStep, virtualMachineStep } from './decide.ts';
import type { VirtualMachineEffect } from './effects.ts';
import { aNewPod, aVirtualMachine, ended, epoch, theFacts } from './examples.testing.ts';
import type { PodFacts, VirtualMachineFacts } from './facts.ts';

interface WorldPod {
  facts: PodFacts;
  /** Whether this pod's QEMU executes the guest at this moment; what the API server says may lag behind. */
  guestRuns: boolean;
  ended?: number;
  /** Its node has started it, and may not have said so. */
  started?: boolean;
}

interface WorldNode {
  ready: boolean;
  /** For good: what an operator has fenced stays off. */
  off: boolean;
  tainted: boolean;
}

interface Sleeper {
  base: string;
  decision: VirtualMachineStep;
  saved: boolean;
  locked: boolean;
}

class World {
  vm: VirtualMachine | undefined = aVirtualMachine({ metadata: { finalizers: [] } });
  pods: WorldPod[] = [];
  /** Removed by force, and perhaps still there on their nodes. */
  ghosts: WorldPod[] = [];
  readonly nodes = new Map<string, WorldNode>(
    ['node-a', 'node-b', 'node-c'].map((name) => [name, { ready: true, off: false, tainted: false }]),
  );
  now = epoch;
  readonly created = new Map<string, number>();
  /** Whether a node takes what waits to be the target of a migration. */
  roomForTargets = true;
  /** UIDs of migrations that were removed by force. */
  readonly goneMigrations = new Set<string>();
  readonly sleepers: Sleeper[] = [];
  private counter = 1;

  next(): string {
    return String(++this.counter);
  }

  facts() {
    if (this.vm === undefined) return undefined;
    const { podUID, nodeName } = this.vm.status?.placement ?? {};
    const placementFenced = podUID === undefined ? undefined : this.fenced(podUID, nodeName, false);
    return theFacts({
      virtualMachine: this.vm,
      pods: this.pods.map((pod) => this.seen(pod)),
      now: this.now,
      lockHolderExists: !this.goneMigrations.has(this.vm.status?.migration?.uid ?? ''),
      ...(placementFenced === undefined ? {} : { placementFenced }),
    });
  }

  /** What the controller makes of a pod: what its node has said of it, and what is known of the node. */
  seen({ facts }: WorldPod): PodFacts {
    const { uid, nodeName, container } = facts;
    const alive = container.state !== 'terminated' && container.state !== 'lost';
    const fenced = nodeName === undefined ? undefined : this.fenced(uid, nodeName, alive);
    return { ...facts, nodeReady: isReady(this.node(nodeName)), ...(fenced === undefined ? {} : { fenced }) };
  }

  fenced(podUID: string, nodeName: string | undefined, reportedAlive: boolean): string | undefined {
    return fencedBy({ podUID, nodeName, reportedAlive, node: this.node(nodeName), fencedUID: fencedUID(this.vm) });
  }

  node(name = ''): Node | undefined {
    const node = this.nodes.get(name);
    if (node === undefined) return undefined;
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name },
      spec: { taints: node.tainted ? [{ key: outOfServiceTaint, effect: 'NoExecute' }] : [] },
      status: { conditions: [{ type: 'Ready', status: node.ready ? 'True' : 'Unknown' }] },
    };
  }

  /** Whether what happens on this pod's node reaches the API server. */
  heard({ facts }: WorldPod): boolean {
    return this.nodes.get(facts.nodeName ?? '')?.ready ?? false;
  }

  isOff({ facts }: WorldPod): boolean {
    return this.nodes.get(facts.nodeName ?? '')?.off ?? false;
  }

  running(): WorldPod[] {
    return [...this.pods, ...this.ghosts].filter(({ guestRuns }) => guestRuns);
  }

  annotate(uid: string): void {
    this.changeVm((vm) => ({ ...vm, metadata: { ...vm.metadata, annotations: { [annotations.fenced]: uid } } }));
  }

  change(pod: WorldPod | undefined, change: Partial<PodFacts>): void {
    if (pod !== undefined) pod.facts = { ...pod.facts, ...change, resourceVersion: this.next() };
  }

  changeVm(change: (vm: VirtualMachine) => VirtualMachine): void {
    if (this.vm === undefined) return;
    const changed = change(this.vm);
    this.vm = { ...changed, metadata: { ...changed.metadata, resourceVersion: this.next() } };
  }

  find(uid: string | undefined): WorldPod | undefined {
    return this.pods.find(({ facts }) => facts.uid === uid);
  }

  owner(): WorldPod | undefined {
    return this.find(this.vm?.status?.placement?.podUID);
  }

  /** Objects that nothing holds any more go away, as the API server and the kubelet see to it. */
  sweep(): void {
    this.pods = this.pods.filter((pod) => pod.facts.held || !pod.facts.deleting || !isGone(this.seen(pod)));
  }

  create(facts: PodFacts): WorldPod | undefined {
    if (this.pods.some((pod) => pod.facts.name === facts.name)) return undefined;
    this.created.set(facts.name, (this.created.get(facts.name) ?? 0) + 1);
    const pod: WorldPod = { facts, guestRuns: false };
    this.pods.push(pod);
    return pod;
  }

  save(base: string, decision: VirtualMachineStep): boolean {
    if (this.vm === undefined || this.vm.metadata.resourceVersion !== base) return false;
    this.changeVm((vm) => ({ ...vm, status: decision.status }));
    return true;
  }

  execute(effect: VirtualMachineEffect, locked: boolean): void {
    const harmless = effect.kind === 'tell' && effect.reason === 'FenceRefused';
    if (locked && !harmless) expect(effect).toMatchObject({ kind: 'reportGuestRunning', running: true });
    switch (effect.kind) {
      case 'addFinalizer':
      case 'removeFinalizer':
        this.changeVm((vm) => {
          const names = effect.kind === 'addFinalizer' ? ['vmferry.io/virtual-machine'] : [];
          return { ...vm, metadata: { ...vm.metadata, finalizers: names } };
        });
        if (effect.kind === 'removeFinalizer') {
          expect(this.running()).toEqual([]);
          if (this.vm?.metadata.deletionTimestamp !== undefined) this.vm = undefined;
        }
        return;
      case 'createPod':
        this.create(aNewPod({ name: effect.podName, uid: `uid-${this.next()}`, resourceVersion: this.next() }));
        return;
      case 'tell':
        return;
    }
    const pod = this.find(effect.pod.uid);
    if (pod === undefined) return;
    if (effect.kind === 'admitPod') this.change(pod, { gated: false });
    if (effect.kind === 'reportGuestRunning') this.change(pod, { guestRunning: effect.running });
    if (
      effect.kind === 'deletePod' &&
      (!effect.unchanged || effect.pod.resourceVersion === pod.facts.resourceVersion)
    ) {
      this.change(pod, { deleting: true });
    }
    if (effect.kind === 'releasePod') {
      expect(pod.guestRuns).toBe(false);
      this.change(pod, { deleting: true, held: false });
      if (effect.force) this.pods = this.pods.filter((other) => other !== pod);
    }
    this.sweep();
  }

  checkStep(decision: VirtualMachineStep): void {
    if (!decision.effects.some(({ kind }) => kind === 'createPod')) return;
    const name = decision.status.placement?.podName;
    expect(this.pods.filter((pod) => pod.facts.name !== name && !isGone(this.seen(pod)))).toEqual([]);
  }

  /** One reconcile that is interrupted before effect number `crashBefore`. */
  reconcile(crashBefore = Number.POSITIVE_INFINITY): boolean {
    const facts = this.facts();
    if (facts === undefined) return false;
    const decision = virtualMachineStep(facts);
    this.checkStep(decision);
    const { metadata, status = {} } = facts.virtualMachine;
    const changed = !isDeepStrictEqual(decision.status, status);
    if (changed) this.save(metadata.resourceVersion, decision);
    for (const effect of decision.effects.slice(0, crashBefore)) this.execute(effect, isLocked(facts));
    return changed || decision.effects.length > 0;
  }

  fallAsleep(afterSave: boolean): void {
    const facts = this.facts();
    if (facts === undefined) return;
    const decision = virtualMachineStep(facts);
    const base = facts.virtualMachine.metadata.resourceVersion;
    const { status = {} } = facts.virtualMachine;
    const saved = isDeepStrictEqual(decision.status, status) || (afterSave && this.save(base, decision));
    this.sleepers.push({ base, decision, saved, locked: isLocked(facts) });
  }

  wake(): void {
    const sleeper = this.sleepers.shift();
    if (sleeper === undefined || !(sleeper.saved || this.save(sleeper.base, sleeper.decision))) return;
    for (const effect of sleeper.decision.effects) this.execute(effect, sleeper.locked);
  }
}

/** By a migration that works on it. */
function isLocked({ virtualMachine, lockHolderExists }: VirtualMachineFacts): boolean {
  return virtualMachine.status?.migration !== undefined && lockHolderExists;
}

const steps: Record<string, (world: World, choice: number) => void> = {
  reconcile: (world) => void world.reconcile(),
  crash: (world, choice) => void world.reconcile(choice % 3),
  fallAsleep: (world, choice) => world.fallAsleep(choice % 2 === 0),
  wake: (world) => world.wake(),
  bind: (world, choice) => {
    const waiting = world.pods.filter(
      ({ facts: { nodeName, gated, deleting, role } }) =>
        nodeName === undefined && !gated && !deleting && (role === 'start' || world.roomForTargets),
    );
    const free = [...world.nodes].flatMap(([name, { ready, tainted }]) => (ready && !tainted ? [name] : []));
    const nodeName = free[choice % free.length];
    if (nodeName !== undefined) world.change(waiting[choice % waiting.length], { nodeName });
  },
  startContainer: (world) => {
    for (const pod of [...world.pods, ...world.ghosts]) {
      if (pod.facts.nodeName === undefined || pod.facts.container.state !== 'unreported' || pod.ended !== undefined)
        continue;
      if (world.isOff(pod)) continue;
      if (!pod.started) pod.guestRuns = pod.facts.role === 'start';
      pod.started = true;
      if (world.heard(pod)) world.change(pod, { container: { state: 'running' } });
    }
  },
  qemuEnds: (world, choice) => {
    const alive = [...world.pods, ...world.ghosts].filter(({ facts }) => facts.container.state === 'running');
    const pod = alive[choice % alive.length];
    if (pod === undefined) return;
    pod.guestRuns = false;
    pod.ended ??= choice % 3;
  },
  reportEnd: (world, choice) => {
    const over = world.pods.filter(
      (pod) => pod.ended !== undefined && pod.facts.container.state !== 'terminated' && world.heard(pod),
    );
    const pod = over[choice % over.length];
    if (pod?.ended !== undefined) world.change(pod, { container: ended(pod.ended) });
    world.sweep();
  },
  loseTrack: (world, choice) => {
    const alive = world.pods.filter((pod) => pod.facts.container.state === 'running' && world.heard(pod));
    world.change(alive[choice % alive.length], { container: { state: 'lost' } });
  },
  nodeFallsSilent: (world, choice) => {
    const node = world.nodes.get(choice % 2 === 0 ? 'node-a' : 'node-b');
    if (node !== undefined) node.ready = false;
  },
  nodeComesBack: (world, choice) => {
    const node = world.nodes.get(choice % 2 === 0 ? 'node-a' : 'node-b');
    if (node !== undefined) node.ready = !node.off;
  },
  nodeLosesPower: (world, choice) => {
    const node = world.nodes.get(choice % 2 === 0 ? 'node-a' : 'node-b');
    if (node === undefined) return;
    node.off = true;
    node.ready = choice % 3 === 0;
    for (const pod of [...world.pods, ...world.ghosts]) if (world.isOff(pod)) pod.guestRuns = false;
  },
  powerLossIsNoticed: (world) => {
    for (const node of world.nodes.values()) node.ready &&= !node.off;
  },
  operatorTaints: (world) => {
    for (const node of world.nodes.values()) node.tainted ||= node.off;
  },
  operatorTaintsByMistake: (world, choice) => {
    const node = [...world.nodes.values()][choice % 3];
    if (node === undefined || node.tainted || !node.ready) return;
    node.tainted = true;
    world.reconcile();
    world.reconcile();
    node.tainted = false;
  },
  operatorAnnotates: (world, choice) => {
    // Nothing of it runs, and nothing of it can come to run.
    const over = [...world.pods, ...world.ghosts].filter(
      (pod) => pod.facts.nodeName !== undefined && (world.isOff(pod) || pod.ended !== undefined),
    );
    const pod = over[choice % over.length];
    if (pod !== undefined) world.annotate(pod.facts.uid);
  },
  operatorMistypes: (world, choice) => {
    const healthy = world.pods.filter((pod) => pod.facts.container.state === 'running' && world.heard(pod));
    const before = fencedUID(world.vm) ?? '';
    world.annotate(healthy[choice % healthy.length]?.facts.uid ?? 'none');
    world.reconcile();
    world.reconcile();
    world.annotate(choice % 2 === 0 ? before : 'none');
  },
  podIsRemovedByForce: (world, choice) => {
    const pod = world.pods[choice % world.pods.length];
    if (pod === undefined || pod.facts.gated) return;
    world.pods = world.pods.filter((other) => other !== pod);
    if (pod.facts.nodeName !== undefined) world.ghosts.push(pod);
  },
  deletePodFromOutside: (world, choice) => world.change(world.pods[choice % world.pods.length], { deleting: true }),
  reportGuest: (world) => {
    const owner = world.owner();
    if (owner === undefined || owner.facts.container.state !== 'running' || !world.heard(owner)) return;
    const { guestRuns: running, facts } = owner;
    const guest = { podUID: facts.uid, running, runState: running ? 'running' : 'paused', sequence: 1 };
    world.changeVm((vm) => ({ ...vm, status: { ...vm.status, guest } }));
  },
  wish: (world, choice) => {
    const powerState = (['Running', 'Paused', 'Stopped'] as const)[choice % 3] ?? 'Running';
    const restartPolicy = (['Always', 'OnFailure', 'Never'] as const)[choice % 5] ?? 'Always';
    world.changeVm((vm) => ({ ...vm, spec: { ...vm.spec, powerState, restartPolicy } }));
  },
  deleteVirtualMachine: (world) => {
    const deletionTimestamp = new Date(world.now).toISOString();
    world.changeVm((vm) => ({ ...vm, metadata: { ...vm.metadata, deletionTimestamp } }));
    if (world.vm?.metadata.finalizers?.length === 0) world.vm = undefined;
  },
  migrationTakesLock: (world, choice) => {
    const owner = world.owner();
    if (owner === undefined || !owner.guestRuns || owner.facts.deleting || world.vm?.status?.migration !== undefined)
      return;
    if (!world.nodes.get('node-b')?.ready || world.nodes.get('node-b')?.off) return;
    const uid = `m-${world.next()}`;
    world.changeVm((vm) => ({ ...vm, status: { ...vm.status, migration: { name: 'm', uid } } }));
    const target = {
      name: `web-${uid}`,
      uid: `target-${uid}`,
      role: 'target',
      migrationUID: uid,
    } as const;
    // Sometimes the scheduler takes its time.
    const placed = choice % 3 === 2 ? {} : ({ nodeName: 'node-b', container: { state: 'running' } } as const);
    world.create({ ...aNewPod(target), gated: false, ...placed });
  },
  migrationIsRemovedByForce: (world) => {
    const lock = world.vm?.status?.migration;
    if (lock !== undefined) world.goneMigrations.add(lock.uid);
  },
  migrationMovesOwnership: (world) => {
    const lock = world.vm?.status?.migration;
    const source = world.owner();
    const target = world.pods.find(({ facts }) => facts.migrationUID === lock?.uid);
    if (lock === undefined || !source?.guestRuns || target === undefined || target.ended !== undefined) return;
    if (world.isOff(target) || target.facts.container.state !== 'running' || world.goneMigrations.has(lock.uid)) return;
    source.guestRuns = false;
    target.guestRuns = true;
    const { name: podName, uid: podUID, nodeName = '' } = target.facts;
    const generation = (world.vm?.status?.placement?.generation ?? 0) + 1;
    world.changeVm((vm) => ({ ...vm, status: { ...vm.status, placement: { podName, podUID, nodeName, generation } } }));
  },
  migrationEnds: (world, choice) => {
    const lock = world.vm?.status?.migration;
    const owner = world.owner();
    if (lock === undefined || world.goneMigrations.has(lock.uid)) return;
    for (const pod of world.pods) {
      if (pod.facts.migrationUID === lock.uid && pod.facts.nodeName === undefined)
        world.change(pod, { deleting: true });
      // Sometimes a loser stays behind on a node that does not answer.
      if (pod === owner || pod.facts.container.state !== 'running' || choice % 2 === 1) continue;
      if (!world.heard(pod) || world.isOff(pod)) continue;
      pod.guestRuns = false;
      pod.ended ??= 0;
      world.change(pod, { container: ended(pod.ended) });
    }
    world.changeVm((vm) => {
      const { migration: _, ...status } = vm.status ?? {};
      return { ...vm, status };
    });
  },
  aMoment: (world) => {
    world.now += 700;
  },
  aLongTime: (world) => {
    world.now += 400_000;
  },
};

/** Several steps at once that usually happen together, so that histories get somewhere. */
const courses: Record<string, readonly string[]> = {
  settle: ['reconcile', 'reconcile', 'reconcile', 'reconcile'],
  nodesWork: ['bind', 'startContainer', 'reportEnd', 'reportGuest'],
  comesToRun: ['reconcile', 'reconcile', 'reconcile', 'bind', 'startContainer', 'reportGuest', 'reconcile'],
  ends: ['qemuEnds', 'reportEnd', 'reconcile', 'aLongTime'],
  isFenced: ['nodeLosesPower', 'powerLossIsNoticed', 'operatorTaints', 'reconcile'],
  isAnnotated: ['nodeLosesPower', 'powerLossIsNoticed', 'operatorAnnotates', 'reconcile'],
  isMistaken: ['comesToRun', 'nodeFallsSilent', 'operatorMistypes', 'aLongTime', 'comesToRun'],
  isTornAway: ['comesToRun', 'podIsRemovedByForce', 'aLongTime', 'comesToRun'],
  vanishes: ['podIsRemovedByForce', 'reconcile', 'qemuEnds', 'operatorAnnotates', 'reconcile'],
  isForgotten: ['comesToRun', 'migrationTakesLock', 'migrationIsRemovedByForce', 'reconcile', 'bind', 'reconcile'],
  migrates: ['migrationTakesLock', 'reconcile', 'migrationMovesOwnership', 'reconcile', 'migrationEnds', 'reconcile'],
};
for (const [name, course] of Object.entries(courses)) {
  steps[name] = (world, choice) => {
    for (const each of course) steps[each]?.(world, choice);
  };
}

const step = fc.record({
  name: fc.oneof(fc.constantFrom(...Object.keys(courses)), fc.constantFrom(...Object.keys(steps))),
  choice: fc.nat({ max: 29 }),
});

test('whatever happens: one guest at a time, one pod per generation, nothing done under a lock, nothing released alive', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (history) => {
      const world = new World();
      for (const { name, choice } of history) {
        steps[name]?.(world, choice);
        expect(world.running().length).toBeLessThanOrEqual(1);
      }
    }),
    { numRuns: 3_000 },
  );
});

test('a leader that slept through a whole life of the VM creates a pod that never runs', () => {
  const world = new World();
  const go = (...course: string[]) => {
    for (const name of course) steps[name]?.(world, 0);
  };
  const names = () => world.pods.map(({ facts }) => facts.name);
  go('reconcile', 'fallAsleep', 'comesToRun', 'ends', 'settle', 'comesToRun');
  expect(names()).toEqual(['web-2']);
  go('wake', 'nodesWork');
  expect(names()).toEqual(['web-2', 'web-1']);
  expect(world.pods.map(({ guestRuns }) => guestRuns)).toEqual([true, false]);
  go('settle');
  expect(names()).toEqual(['web-2']);
});

test('without a sleeper, no generation is created twice', () => {
  const awake = step.filter(({ name }) => name !== 'fallAsleep');
  fc.assert(
    fc.property(fc.array(awake, { maxLength: 40 }), (history) => {
      const world = new World();
      for (const { name, choice } of history) steps[name]?.(world, choice);
      for (const [name, times] of world.created) expect({ name, times }).toEqual({ name, times: 1 });
    }),
    { numRuns: 1_000 },
  );
});

test('left alone, every state comes to rest and is then never written again', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (history) => {
      const world = new World();
      for (const { name, choice } of history) steps[name]?.(world, choice);
      for (let rounds = 0; world.reconcile(); rounds++) expect(rounds).toBeLessThan(8);
    }),
    { numRuns: 1_000 },
  );
});

/** A migration is removed by force before its target was placed. */
const forgotten = [
  { name: 'comesToRun', choice: 0 },
  { name: 'migrationTakesLock', choice: 2 },
  { name: 'migrationIsRemovedByForce', choice: 0 },
];

test('with nodes that do their work, a VM that is wanted comes to run, and one that is not comes to an end', () => {
  fc.assert(
    fc.property(
      fc.array(
        step.filter(({ name }) => name !== 'loseTrack'),
        { maxLength: 40 },
      ),
      fc.boolean(),
      (history, wanted) => {
        const world = new World();
        for (const { name, choice } of history) steps[name]?.(world, choice);
        const { vm } = world;
        if (vm === undefined) return;
        const lasting = wanted && vm.metadata.deletionTimestamp === undefined;
        if (!lasting) steps.deleteVirtualMachine?.(world, 0);
        else world.changeVm((vm) => ({ ...vm, spec: { ...vm.spec, powerState: 'Running', restartPolicy: 'Always' } }));
        steps.migrationEnds?.(world, 0);
        world.roomForTargets = false;
        for (const node of world.nodes.values()) node.ready = !node.off;
        steps.operatorTaints?.(world, 0);
        for (let round = 0; round < 30; round++) {
          for (const ghost of world.ghosts) {
            ghost.guestRuns = false;
            ghost.ended ??= 0;
          }
          const { podUID } = world.vm?.status?.placement ?? {};
          if (podUID !== undefined && world.find(podUID) === undefined) world.annotate(podUID);
          for (const pod of world.pods) {
            const unwanted = pod.facts.deleting || !lasting || pod !== world.owner();
            if (unwanted && pod.facts.container.state === 'running') pod.ended ??= 0;
            if (pod.ended !== undefined) pod.guestRuns = false;
          }
          for (const name of [
            'reportEnd',
            'reportEnd',
            'bind',
            'startContainer',
            'reportGuest',
            'aLongTime',
            'reconcile',
          ]) {
            steps[name]?.(world, 0);
          }
        }
        if (lasting) expect(world.vm?.status?.phase).toBe('Running');
        else expect([world.vm, world.pods]).toEqual([undefined, []]);
      },
    ),
    { numRuns: 500, examples: [[forgotten, true]] },
  );
});
