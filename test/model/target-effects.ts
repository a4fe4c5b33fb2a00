/** What the effects of a target's agent do to the world. */
import { protocol } from '../../src/api/protocol.ts';
import type { TargetEffect } from '../../src/migration/target-step.ts';
import { causes, queues } from './objects.ts';
import { continueTarget, endTarget } from './qemu.ts';
import { preflightOf } from './source-effects.ts';
import { refusedPlainly, targetPending } from './target-facts.ts';
import { Qemu, Run, runStates, type Target, type World } from './world.ts';

export function crashTarget(target: Target): void {
  target.pending = 0;
  target.queue = 0;
  target.refusalAsked = 0;
}

/** What is only queued is lost in a crash: it can be queued at once. */
export function say(w: World, attempt: number): void {
  const target = w.target(attempt);
  while (target.pending !== 0 && targetPending.first(target.pending).kind.startsWith('publish')) {
    const effect = targetPending.first(target.pending);
    target.pending = targetPending.rest(target.pending);
    act(w, attempt, effect);
  }
}

function publish(target: Target, attempt: number, fields: object): void {
  const before = target.queue === 0 ? {} : queues.at(target.queue).fields;
  target.queue = queues.of({ side: 'target', attempt, fields: { ...before, ...fields }, postCopy: false });
}

export function act(w: World, attempt: number, effect: TargetEffect): void {
  const target = w.target(attempt);
  switch (effect.kind) {
    case 'listen':
      if (target.qemu !== Qemu.up) return;
      target.listening = 1;
      target.traces = 1;
      return;
    case 'publishReady':
      if (target.qemu === Qemu.up)
        publish(target, attempt, {
          protocol,
          preflight: preflightOf(runStates[target.run] ?? ''),
          endpoint: effect.endpoint,
        });
      return;
    case 'recordContinued':
      w.must(target.refused === 0, 'the target continues after it had refused');
      target.continued = 1;
      target.reallyContinued = 1;
      return;
    case 'recordRefused':
      w.must(target.continued === 0, 'the target refuses after it had continued');
      target.refused = effect.cause === undefined ? refusedPlainly : causes.of(effect.cause);
      return;
    case 'continueGuest':
      w.must(target.continued !== 0, 'the guest is continued at the target without a note of it');
      continueTarget(w, target);
      return;
    case 'endQemu':
      endTarget(w, attempt, "the target's agent");
      return;
    case 'stopGuest':
      w.must(false, 'I1: source and target both say that they ran the guest');
      if (target.run === Run.running) target.run = Run.paused;
      return;
    case 'removeTraces':
      if (target.qemu === Qemu.up) target.traces = 0;
      target.tidied = 1;
      return;
    case 'publishVerdict':
      publish(target, attempt, { verdict: effect.verdict, ...effect.cause });
      return;
  }
}
