/** What a person has to say when nodes were cut off, because nobody else can. */
import { setTimeout as delay } from 'node:timers/promises';
import { annotations } from '../../../src/api/labels.ts';
import type { KindSystem } from './system.ts';

const lookMilliseconds = 1_000;

/**
 * Somebody who knows that a node of this VM was off. A kubelet that was cut off just when it started a container may know no more of
 * it when it is back (`ContainerStatusUnknown`); that it has ended is then for an operator to say. Disposing ends the watch.
 */
export function operatorOf(system: KindSystem, vm: string): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const watching = (async () => {
    while (!signal.aborted) {
      // Whatever does not work, the case tells.
      await fenceForgotten(system, vm).catch(() => undefined);
      await delay(lookMilliseconds, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await watching;
    },
  };
}

async function fenceForgotten(system: KindSystem, vm: string): Promise<void> {
  const pods = await system.podsOf(vm);
  const forgotten = pods.find(
    ({ status }) => status?.containerStatuses?.[0]?.state?.terminated?.reason === 'ContainerStatusUnknown',
  );
  if (forgotten === undefined) return;
  await system.kubectl('annotate', 'vm', vm, '--overwrite', `${annotations.fenced}=${forgotten.metadata.uid}`);
}
