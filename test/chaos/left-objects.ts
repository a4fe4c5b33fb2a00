/** What a migration has made inside QEMU and not taken away: everything it makes there is named after it. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { RunVolume } from '../../src/agent/qemu/run-volume.ts';
import type { PodFolder } from './pod-folders.ts';

const patienceMilliseconds = 2000;

/** Names in `/objects` that begin with `m-`; `its monitor does not answer` where QEMU cannot be asked. */
export async function leftObjects(pod: PodFolder): Promise<string[]> {
  try {
    return (await objectNames(pod)).filter((name) => name.startsWith('m-'));
  } catch (error) {
    return [`its monitor does not answer (${error instanceof Error ? error.message : error}), whatever is`];
  }
}

/** `qom-list` is not among the commands that the product knows. */
async function objectNames(pod: PodFolder): Promise<string[]> {
  using volume = RunVolume.open(join(pod.path, '..'), pod.uid);
  using held = volume.socket('qmp2');
  const signal = AbortSignal.timeout(patienceMilliseconds);
  const socket = connect({ path: held.path, signal });
  try {
    await once(socket, 'connect', { signal });
    socket.write(
      '{"execute":"qmp_capabilities"}\n{"execute":"qom-list","arguments":{"path":"/objects"},"id":"list"}\n',
    );
    for await (const line of createInterface({ input: socket, signal })) {
      const { id, return: items } = JSON.parse(line) as { id?: string; return?: { name: string }[] };
      if (id === 'list') return (items ?? []).map(({ name }) => name);
    }
    throw new Error('it hung up');
  } finally {
    socket.destroy();
  }
}
