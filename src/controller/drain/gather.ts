import { labels } from '../../api/labels.ts';
import type { ControllerContext } from '../context.ts';
import { podEvidence } from '../pod-evidence.ts';
import type { EvictionRequest } from './admission-review.ts';
import type { EvictionFacts } from './decide.ts';

/**
 * From the caches alone: every eviction in the cluster is asked about.
 * @returns undefined when the pod is not one of ours, or is so new that nothing is known of it yet
 */
export function gatherFacts(context: ControllerContext, request: EvictionRequest): EvictionFacts | undefined {
  const { namespace, name, dryRun } = request;
  const pod = context.pods.cache.get(`${namespace}/${name}`);
  const vmKey = `${namespace}/${pod?.metadata.labels?.[labels.virtualMachine]}`;
  const virtualMachine = pod && context.virtualMachines.cache.get(vmKey);
  if (pod === undefined || virtualMachine === undefined) return undefined;
  const { uid = '', ownerReferences = [] } = pod.metadata;
  // Anybody can put our label on a pod.
  if (!ownerReferences.some(({ controller, uid }) => controller === true && uid === virtualMachine.metadata.uid))
    return undefined;
  const migrationUID = pod.metadata.labels?.[labels.migration];
  return {
    now: context.now(),
    dryRun,
    pod: {
      ...podEvidence(context, pod, virtualMachine),
      name,
      uid,
      ...(migrationUID === undefined ? {} : { migrationUID }),
    },
    virtualMachine,
    migrations: context.migrations.cache.byIndex('virtualMachine', vmKey),
  };
}
