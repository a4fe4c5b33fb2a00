/** Looks through everything that can happen, breadth first, to the end; and then asks of every state found whether it ends well. */
import { Emit, type Say } from './emit.ts';
import { beginning, happenings, settle } from './happenings.ts';
import { type Configuration, Model, type Steps } from './model.ts';
import { problemAtRest } from './rest.ts';
import { Numbers, States } from './states.ts';
import { World } from './world.ts';

export interface Outcome {
  states: number;
  transitions: number;
  /** Steps from the beginning to the state that is farthest. */
  depth: number;
  seconds: number;
  /** Whether nothing was left to look at. */
  complete: boolean;
  /** How many states at rest there are, by what they are. */
  ends: Map<string, number>;
  violations: Violation[];
}

export interface Violation {
  rule: string;
  /** What happened, from the beginning; the shortest way there. */
  trace: string[];
}

interface Options {
  /** Stop at the first violation. */
  first?: boolean;
}

const defaultMaxStates = 20_000_000;

export function search(steps: Steps, configuration: Configuration, { first = false }: Options = {}): Outcome {
  const begun = performance.now();
  const exploration = new Exploration(steps, configuration);
  exploration.explore(first);
  if (!first || exploration.violations.length === 0) exploration.checkEnds();
  const { found, transitions, depth, complete, violations, ends } = exploration;
  const seconds = (performance.now() - begun) / 1000;
  return { states: found.size, transitions, depth, seconds, complete, violations, ends };
}

class Exploration {
  readonly found: States;
  readonly violations: Violation[] = [];
  readonly ends = new Map<string, number>();
  transitions = 0;
  depth = 0;
  complete = true;
  readonly #model: Model;
  readonly #parents = new Numbers();
  /** Successors without faults of state n: from `#calmFrom[n]` on. */
  readonly #calm = new Numbers();
  readonly #calmFrom = new Numbers();
  readonly #rules = new Set<string>();
  readonly #maxStates: number;

  constructor(steps: Steps, configuration: Configuration) {
    this.#model = new Model(steps, configuration);
    this.#maxStates = configuration.maxStates ?? defaultMaxStates;
    const first = beginning(this.#model);
    this.found = new States(first.bytes);
    this.found.add(first.words);
    this.#parents.push(-1);
  }

  explore(stopAtFirst: boolean): void {
    const here = new World();
    let index = 0;
    let changed = false;
    const emit = new Emit(new World(), (next, calm, say, number) => {
      this.transitions++;
      if (next.broken !== undefined) {
        this.#report(index, next.broken, say(number));
        return;
      }
      settle(next);
      const answer = this.found.add(next.words);
      const state = answer < 0 ? -1 - answer : answer;
      if (answer >= 0) this.#parents.push(index);
      if (!calm || state === index) return;
      changed = true;
      this.#calm.push(state);
    });
    let levelEnds = 1;
    for (; index < this.found.size; index++) {
      if (index === levelEnds) {
        this.depth++;
        levelEnds = this.found.size;
      }
      if (this.found.size >= this.#maxStates) {
        this.complete = false;
        return;
      }
      this.#calmFrom.push(this.#calm.length);
      this.found.read(index, here.words);
      changed = false;
      emit.resting = false;
      happenings(this.#model, here, emit);
      if (!changed) {
        emit.resting = true;
        happenings(this.#model, here, emit);
      }
      if (stopAtFirst && this.violations.length > 0) return;
    }
    this.#calmFrom.push(this.#calm.length);
  }

  /**
   * Without faults everything must end well, in whatever order it happens: the graph of the calm successors has no circle, and
   * each of its ends is a good one.
   */
  checkEnds(): void {
    if (!this.complete) return;
    const { size } = this.found;
    const color = new Uint8Array(size);
    const stack = new Numbers();
    const here = new World();
    for (let start = 0; start < size; start++) {
      if (color[start] !== 0) continue;
      stack.push(start);
      while (stack.length > 0) {
        const state = stack.at(stack.length - 1);
        if (color[state] !== 0) {
          if (color[state] === 1) color[state] = 2;
          stack.length--;
          continue;
        }
        color[state] = 1;
        const [from, to] = [this.#calmFrom.at(state), this.#calmFrom.at(state + 1)];
        if (from === to) this.#atRest(state, here);
        for (let edge = from; edge < to; edge++) {
          const next = this.#calm.at(edge);
          if (color[next] === 0) stack.push(next);
          else if (color[next] === 1) this.#report(next, 'I3: it goes round in circles for ever', 'and so on');
        }
      }
    }
  }

  #atRest(state: number, here: World): void {
    this.found.read(state, here.words);
    const { problem, what } = problemAtRest(here, this.#model.configuration);
    this.ends.set(what, (this.ends.get(what) ?? 0) + 1);
    if (problem !== undefined) this.#report(state, problem, 'and nothing happens any more');
  }

  #report(index: number, rule: string, last: string): void {
    if (this.#rules.has(rule)) return;
    this.#rules.add(rule);
    this.violations.push({ rule, trace: [...this.#traceTo(index), last] });
  }

  #traceTo(index: number): string[] {
    const parent = this.#parents.at(index);
    if (parent < 0) return [];
    return [...this.#traceTo(parent), this.#between(parent, index)];
  }

  /** What leads from one state to the other: found once more. */
  #between(parent: number, child: number): string {
    const wanted = new World();
    this.found.read(child, wanted.words);
    const here = new World();
    this.found.read(parent, here.words);
    let answer = '?';
    const emit = new Emit(new World(), (next, _calm, say: Say, number) => {
      settle(next);
      if (next.words.every((word, at) => word === wanted.words[at])) answer = say(number);
    });
    happenings(this.#model, here, emit);
    emit.resting = true;
    if (answer === '?') happenings(this.#model, here, emit);
    return answer;
  }
}
