/** Whether an attempt's stream is encrypted, and the keys for it in QEMU. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { streamCredentialsID } from '../../migration/attempt.ts';
import { sourceSide, targetSide } from '../../migration/evidence.ts';
import type { AgentContext } from '../context.ts';
import { installStreamCredentials } from '../credentials/stream-credentials.ts';

/** It is unless the migration says otherwise. */
export function isEncrypted({ spec }: VirtualMachineMigration): boolean {
  return spec.transfer?.encryption !== 'None';
}

interface Attempt {
  readonly podUID: string;
  readonly attempt: number;
}

const ends = {
  source: { endpoint: 'client', peer: targetSide },
  target: { endpoint: 'server', peer: sourceSide },
} as const;

/**
 * Gives QEMU this side's keys, and the other side's certificate as the only one to trust.
 * @returns the migration parameters that make use of them; none when the stream is not encrypted.
 * @throws Error when the other side has not published its certificate; what `installStreamCredentials` throws.
 */
export async function streamParameters(
  { credentials, qemus }: AgentContext,
  migration: VirtualMachineMigration,
  { podUID, attempt }: Attempt,
  side: keyof typeof ends,
): Promise<{ 'tls-creds'?: string }> {
  if (!isEncrypted(migration)) return {};
  const { name, uid } = migration.metadata;
  const { endpoint, peer } = ends[side];
  const peerCertificate = peer(migration.status ?? {})?.certificates?.stream;
  if (peerCertificate === undefined) throw new Error(`vmm/${name}: the other side has published no certificate`);
  const { stream } = await credentials.of(podUID, uid, attempt);
  const id = streamCredentialsID(uid, attempt);
  await installStreamCredentials(qemus.get(podUID), { id, endpoint, own: stream, peerCertificate });
  return { 'tls-creds': id };
}
