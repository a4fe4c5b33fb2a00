import { type VirtualMachine, virtualMachines } from '../../api/objects.ts';
import type { JsonPatchOperation } from '../../kube/client.ts';
import { isConflict, isInvalid, isNotFound } from '../../kube/errors.ts';
import type { AgentContext } from '../context.ts';
import type { GuestReport } from './guest-step.ts';

/**
 * Writes `status.guest`, and nothing else. The patch tests that the VM is the one that was read, that this pod still owns it,
 * and that nobody has reported since, so that a write that was delayed on its way is refused instead of undoing a later one.
 * @returns false when it was refused for one of these: look again when the newer state has come.
 * @throws ApiError
 */
export async function publishGuest(
  { client, virtualMachines: informer }: Pick<AgentContext, 'client' | 'virtualMachines'>,
  { metadata: { namespace, name, uid }, status }: VirtualMachine,
  report: GuestReport,
  signal: AbortSignal,
): Promise<boolean> {
  const sequence: JsonPatchOperation[] =
    status?.guest === undefined ? [] : [{ op: 'test', path: '/status/guest/sequence', value: status.guest.sequence }];
  const operations: JsonPatchOperation[] = [
    { op: 'test', path: '/metadata/uid', value: uid },
    { op: 'test', path: '/status/placement/podUID', value: report.podUID },
    ...sequence,
    { op: 'add', path: '/status/guest', value: report },
  ];
  try {
    const options = { subresource: 'status', signal } as const;
    informer.observe(await client.jsonPatch(virtualMachines, { namespace, name }, operations, options));
    return true;
  } catch (error) {
    if (isInvalid(error) || isConflict(error) || isNotFound(error)) return false;
    throw error;
  }
}
