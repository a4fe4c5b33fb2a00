/** How the parts of the world tell what can happen next. */
import type { World } from './world.ts';

/** A line of a trace; the number says what of, where that is needed. */
export type Say = (number: number) => string;

export class Emit {
  /** Only what happens when nothing else does: time passes. */
  resting = false;
  readonly #scratch: World;
  readonly #happens: (next: World, calm: boolean, say: Say, number: number) => void;

  constructor(scratch: World, happens: (next: World, calm: boolean, say: Say, number: number) => void) {
    this.#scratch = scratch;
    this.#happens = happens;
  }

  /** A copy to be changed; one at a time. */
  begin(w: World): World {
    return this.#scratch.copy(w);
  }

  /** It happens sooner or later: nobody has to fail or to want anything for it. */
  readonly calm = (say: Say, number = 0): void => {
    if (!this.resting) this.#happens(this.#scratch, true, say, number);
  };

  /** It may happen or not: a fault, a wish, somebody who acts on what is old. */
  readonly other = (say: Say, number = 0): void => {
    if (!this.resting) this.#happens(this.#scratch, false, say, number);
  };

  /** Time that passes because nothing else happens. */
  readonly atRest = (say: Say, number = 0): void => {
    if (this.resting) this.#happens(this.#scratch, true, say, number);
  };
}

export type Change = (next: World) => void;

/** For what is told by what it changes. */
export function calmly(w: World, on: Emit): (say: Say, change: Change) => void {
  return (say, change) => {
    const next = on.begin(w);
    change(next);
    on.calm(say);
  };
}
