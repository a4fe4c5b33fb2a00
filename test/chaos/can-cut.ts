import { spawnSync } from 'node:child_process';
import { ensureNetworkCuts } from '../../dev/prerequisites.ts';

/** Whether cables can be cut here: that needs root, network namespaces and nftables. Says so in one line when they cannot. */
export async function canCutCables(say: (line: string) => void): Promise<boolean> {
  const lack = process.getuid?.() === 0 ? await complaint() : 'this is not root';
  if (lack !== undefined) say(`SKIPPED: all faults of the network, because no cable can be cut here: ${lack}`);
  return lack === undefined;
}

async function complaint(): Promise<string | undefined> {
  try {
    await ensureNetworkCuts(() => {});
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { status, stderr, error } = spawnSync('unshare', ['--net', 'nft', 'list', 'tables'], { env, encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}
