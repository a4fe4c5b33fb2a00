/**
 * How an agent's words get into the object: in the background, each write tested against what the agent had read. What is not
 * written yet is lost in a crash; what is refused is said again on the newest object.
 */
import type { Emit, Say } from './emit.ts';
import type { Model } from './model.ts';
import { lateWrites, patched, queues, takesBack } from './objects.ts';
import type { World } from './world.ts';

export interface Writer {
  side: 'source' | 'target';
  of: (w: World) => { queue: number; late: number };
  /** Of its side as it has seen it; undefined when that has not been opened. */
  sequence: (w: World) => number | undefined;
  /** Gets the newest object. */
  see: (w: World) => void;
}

const saysOf = (side: Writer['side']) => ({
  writes: (number: number) => {
    const fields = Object.entries(queues.at(number).fields);
    const what = fields.map(([name, value]) => (name === 'verdict' ? String(value) : name));
    return `the ${side}'s agent writes to the object: ${what.join(', ')}`;
  },
  refused: () => `a write of the ${side}'s agent is refused: its copy was old`,
  unanswered: () => `the ${side}'s agent writes to the object, and gets no answer`,
  delayed: () => `a write of the ${side}'s agent gets stuck on its way, and is sent again`,
  landed: () => `the stuck write of the ${side}'s agent arrives`,
});
const says = { source: saysOf('source'), target: saysOf('target') } satisfies Record<string, Record<string, Say>>;

/** What the agent's process has to say is written, or is lost on the way. */
export function write(model: Model, w: World, writer: Writer, on: Emit): void {
  const { common } = w;
  const { side, see } = writer;
  const { queue, late } = writer.of(w);
  const sequence = writer.sequence(w);
  if (queue === 0 || sequence === undefined) return;
  const letter = lateWrites.of({ ...queues.at(queue), sequence });
  const version = patched(common.object, letter);
  const next = on.begin(w);
  if (version === -1) {
    see(next);
    on.calm(says[side].refused);
    return;
  }
  land(next, side, version);
  writer.of(next).queue = 0;
  see(next);
  on.calm(says[side].writes, queue);
  const price = model.priceOf('write unanswered', common.faults);
  if (price !== undefined) {
    const lost = on.begin(w);
    lost.common.faults -= price;
    land(lost, side, version);
    on.other(says[side].unanswered);
  }
  const wait = late === 0 ? model.priceOf('write delayed', common.faults) : undefined;
  if (wait !== undefined) {
    const stuck = on.begin(w);
    stuck.common.faults -= wait;
    writer.of(stuck).late = letter;
    on.other(says[side].delayed);
  }
}

/** Also when its sender is long gone. */
export function arrival(w: World, { side, of }: Writer, on: Emit): void {
  const { late } = of(w);
  if (late === 0) return;
  const version = patched(w.common.object, late);
  const next = on.begin(w);
  if (version !== -1) land(next, side, version);
  of(next).late = 0;
  on.calm(says[side].landed);
}

function land(w: World, side: Writer['side'], version: number): void {
  w.must(!takesBack(w.common.object, version, side), `rule 6: a final word of the ${side} is taken back`);
  w.common.object = version;
}
