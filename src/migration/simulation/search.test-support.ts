/** Looks through everything that can happen, breadth first, and lets every state found come to rest with the faults stopped. */
import { isTerminal } from '../../api/phases.ts';
import { happenings } from './happenings.test-support.ts';
import { latest, type Steps, Violation, type World } from './world.test-support.ts';

export interface Outcome {
  states: number;
  /** Whether nothing was left to look at. */
  complete: boolean;
  /** Every rule that was broken, and what had happened until it first was; the shortest way there. */
  broken: Map<string, string[]>;
}

interface Limits {
  maxStates: number;
  /** Which happenings are left out. */
  without?: (what: string) => boolean;
  /** What must be true of every state at rest, beside being over. */
  atRest?: (w: World) => string | undefined;
}

export function search(first: World, steps: Steps, { maxStates, without, atRest }: Limits): Outcome {
  const states = [first];
  const cameFrom = [{ what: 'begin', from: -1 }];
  const seen = new Set([JSON.stringify(first)]);
  const restOf = new Map<string, string>();
  const broken = new Map<string, string[]>();
  const traceTo = (index: number): string[] => {
    const { what = '', from = -1 } = cameFrom[index] ?? {};
    return from === -1 ? [what] : [...traceTo(from), what];
  };
  const report = (index: number, what: string, rule: string) => {
    if (!broken.has(rule)) broken.set(rule, [...traceTo(index), what]);
  };
  for (let index = 0; index < states.length; index++) {
    const w = states[index] as World;
    const rule = comeToRest(w, steps, restOf, atRest);
    if (rule !== '') report(index, 'and comes to rest', rule);
    for (const { what, next } of happenings(w, steps)) {
      if (without?.(what)) continue;
      try {
        const after = next();
        const key = after && JSON.stringify(after);
        if (after === undefined || key === undefined || seen.has(key) || states.length >= maxStates) continue;
        seen.add(key);
        states.push(after);
        cameFrom.push({ what, from: index });
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        report(index, what, error.message);
      }
    }
  }
  return { states: states.length, complete: states.length < maxStates, broken };
}

/**
 * One way through the world: each choice, 0 to 999, says what happens next; one in 25 asks for a fault or a wish. Then everything
 * comes to rest.
 * @returns the rule broken, and the way.
 */
export function walk(w: World, steps: Steps, choices: readonly number[]): { broken: string; trace: string[] } {
  const trace: string[] = [];
  let here = w;
  try {
    for (const choice of choices) {
      const possible = [...happenings(here, steps)].filter(({ what }) => isDisturbance(what) === choice >= 960);
      // From the chosen one on, the first that changes anything.
      for (let offset = 0; offset < possible.length; offset++) {
        const { what = '', next } = possible[(choice + offset) % possible.length] ?? {};
        trace.push(what);
        const after = next?.();
        if (after !== undefined) {
          here = after;
          break;
        }
        trace.pop();
      }
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return { broken: error.message, trace };
  }
  return { broken: comeToRest(here, steps, new Map(), undefined), trace };
}

function isDisturbance(what: string): boolean {
  return what.startsWith('FAULT') || what === 'cancel' || what === 'delete';
}

/** The first state on the undisturbed way from `w` of which `reached` is true. */
export function calmlyUntil(w: World, steps: Steps, reached: (w: World) => boolean): World {
  if (reached(w)) return w;
  const here = JSON.stringify(w);
  const next = takeTurns(w, here, steps, false, 0) ?? takeTurns(w, here, steps, true, 0);
  if (next === undefined) throw new Error('it comes to rest before');
  return calmlyUntil(next, steps, reached);
}

/** @returns the rule broken when the state at rest is not an end, or else nothing. */
function comeToRest(from: World, steps: Steps, known: Map<string, string>, atRest: Limits['atRest']): string {
  const passed: string[] = [];
  const answered = (answer: string) => {
    for (const key of passed) known.set(key, answer);
    return answer;
  };
  let w = from;
  for (let count = 0; count < 400; count++) {
    const key = JSON.stringify({ ...w, faults: 0, wish: false });
    const answer = known.get(key);
    if (answer !== undefined) return answered(answer);
    passed.push(key);
    const here = JSON.stringify(w);
    try {
      // Time passes only when there is nothing else to do.
      const next = takeTurns(w, here, steps, false, count) ?? takeTurns(w, here, steps, true, count);
      if (next === undefined) return answered(problemAtRest(w) ?? atRest?.(w) ?? '');
      w = next;
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return answered(error.message);
    }
  }
  return answered('I3: it never comes to rest');
}

/** What happens next of all that is calm; everybody gets a turn. */
function takeTurns(w: World, here: string, steps: Steps, late: boolean, count: number): World | undefined {
  const possible = [...happenings(w, steps, { calm: true, late })]
    .map(({ next }) => next())
    .filter((next) => next !== undefined && JSON.stringify(next) !== here);
  return possible[count % Math.max(1, possible.length)];
}

function problemAtRest(w: World): string | undefined {
  const { status, metadata } = latest(w);
  const { source, target, vm } = w;
  // The VM has ended before the migration took it: it begins when the VM runs again.
  if (status?.phase === 'Pending' && !vm.locked && source.endTold) return undefined;
  if (!isTerminal(status?.phase)) {
    const { source: { verdict: atSource } = {}, target: { verdict: atTarget } = {} } = status ?? {};
    return `I3: at rest in phase ${status?.phase}, lock ${vm.locked}, source ${atSource}, target ${atTarget}`;
  }
  // A lock that a sleeping leader took for a migration that is gone is undone by the VM's own reconciler.
  if (vm.locked && w.objectRemoved && target.pod === 'none') return undefined;
  if (vm.locked) return `I3: at rest in phase ${status?.phase} with the lock held`;
  if (metadata.deletionTimestamp !== undefined && !w.objectRemoved) return 'I3: the deleted migration stays';
  if (vm.owner === 'source' && (target.pod === 'waiting' || target.pod === 'placed')) return 'I5: the target pod stays';
  if (vm.owner === 'target' && !source.removed) return 'I5: the source pod stays';
  if (source.up && source.issued?.resumeTarget && source.run !== 'running') return `I2: the guest stays ${source.run}`;
  return undefined;
}
