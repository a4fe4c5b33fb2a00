import type { Qemu } from '../qemu/qemu.ts';

/**
 * Ends a QEMU that does not own its VM. Asked in-band first, so that it closes its files in order; one that does not answer (it
 * loads, or waits on a dead network) is killed. Returns when the process is gone.
 * @throws when it is there still.
 */
export async function endQemu(qemu: Qemu): Promise<void> {
  try {
    const monitor = await qemu.monitor();
    await monitor.execute('quit', {}, { timeoutMilliseconds: 1000 });
  } catch {
    // Whatever it answered: what counts is whether the process is there.
  }
  for (let look = 0; look < 20; look++) {
    if ((await qemu.presence()) === 'absent') return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await qemu.kill();
}
