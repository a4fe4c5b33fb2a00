/** What localnode says of a pod: the parts of its status that a kubelet writes, as a strategic merge patch. */
import type { ContainerStatus, ObjectCondition, Pod, PodStatus } from '../kube/core-resources.ts';
import type { EndedProcess, ProcessState } from './process-state.ts';

/** Conditions that are not in it stay as they are: they are the scheduler's and the agent's. */
export type PodStatusPatch = Required<Pick<PodStatus, 'phase' | 'conditions'>> &
  Omit<PodStatus, 'phase' | 'conditions'> & { hostIPs?: { ip: string }[] };

/** Empty texts are written too: a merge would keep the old ones. */
type ConditionFacts = Required<Pick<ObjectCondition, 'type' | 'status' | 'reason' | 'message'>>;

/**
 * @param address the node's; processes of a localnode share it.
 * @param now for conditions that change.
 */
export function podStatusPatch(pod: Pod, process: ProcessState, address: string, now: Date): PodStatusPatch {
  const isRunning = process.state === 'running';
  return {
    phase: phaseOf(process),
    hostIP: address,
    hostIPs: [{ ip: address }],
    podIP: address,
    podIPs: [{ ip: address }],
    startTime: pod.status?.startTime ?? wholeSeconds(now),
    containerStatuses: pod.spec.containers.slice(0, 1).map(({ name, image = '' }) => ({
      name,
      image,
      imageID: '',
      containerID: `localnode://${pod.metadata.uid}`,
      ready: isRunning,
      started: isRunning,
      restartCount: 0,
      state: containerState(process),
    })),
    conditions: withTimes(conditionsOf(pod, process), pod, now),
  };
}

/** The status of a pod that localnode cannot run. */
export function rejectedStatusPatch(pod: Pod, unsupported: readonly string[], now: Date): PodStatusPatch {
  const reason = 'UnsupportedPod';
  const message = `localnode does not support: ${unsupported.join(', ')}`;
  return { phase: 'Failed', reason, message, conditions: withTimes([condition('Ready', 'False', reason)], pod, now) };
}

/** Whether the API server has all of the patch already. It drops empty texts, and adds fields of its own. */
export function isReported(status: PodStatus | undefined, { conditions, ...rest }: PodStatusPatch): boolean {
  return (
    contains(status, rest) &&
    // Times change with the status only.
    conditions.every(({ lastTransitionTime: _, ...wanted }) =>
      status?.conditions?.some((existing) => contains(existing, wanted)),
    )
  );
}

function contains(existing: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return (existing ?? '') === (wanted ?? '');
  if (typeof existing !== 'object' || existing === null) return false;
  return Object.entries(wanted).every(([field, value]) => contains(existing[field as keyof typeof existing], value));
}

function phaseOf(process: ProcessState): NonNullable<PodStatus['phase']> {
  if (process.state === 'absent') return 'Pending';
  if (process.state === 'running') return 'Running';
  return process.exitCode === 0 ? 'Succeeded' : 'Failed';
}

function containerState(process: ProcessState): NonNullable<ContainerStatus['state']> {
  if (process.state === 'absent') return { waiting: { reason: 'ContainerCreating' } };
  if (process.state === 'running') return { running: { startedAt: wholeSeconds(process.startedAt) } };
  return { terminated: termination(process) };
}

function termination(process: EndedProcess): NonNullable<NonNullable<ContainerStatus['state']>['terminated']> {
  const { exitCode, reason, message, startedAt, finishedAt } = process;
  const signal = reason === 'Error' && exitCode > 128 && exitCode <= 128 + 64 ? exitCode - 128 : undefined;
  return {
    exitCode,
    ...(signal === undefined ? {} : { signal }),
    reason,
    ...(message === undefined || message === '' ? {} : { message }),
    ...(startedAt === undefined ? {} : { startedAt: wholeSeconds(startedAt) }),
    finishedAt: wholeSeconds(finishedAt),
  };
}

function conditionsOf(pod: Pod, process: ProcessState): ConditionFacts[] {
  const closed = closedGate(pod);
  const containersReady = {
    absent: condition('ContainersReady', 'False', 'ContainersNotReady'),
    running: condition('ContainersReady', 'True'),
    ended: condition('ContainersReady', 'False', phaseOf(process) === 'Succeeded' ? 'PodCompleted' : 'PodFailed'),
  }[process.state];
  const ready =
    containersReady.status === 'True' && closed !== undefined
      ? condition('Ready', 'False', 'ReadinessGatesNotReady', `the readiness gate ${closed} is not True`)
      : { ...containersReady, type: 'Ready' };
  return [
    condition('PodReadyToStartContainers', process.state === 'running' ? 'True' : 'False'),
    condition('Initialized', 'True'),
    containersReady,
    ready,
  ];
}

function condition(type: string, status: ConditionFacts['status'], reason = '', message = ''): ConditionFacts {
  return { type, status, reason, message };
}

function closedGate(pod: Pod): string | undefined {
  return pod.spec.readinessGates
    ?.map(({ conditionType }) => conditionType)
    .find((gate) => !pod.status?.conditions?.some(({ type, status }) => type === gate && status === 'True'));
}

function withTimes(conditions: readonly ConditionFacts[], pod: Pod, now: Date): ObjectCondition[] {
  return conditions.map((condition) => {
    const existing = pod.status?.conditions?.find(({ type }) => type === condition.type);
    const since = existing?.status === condition.status ? existing.lastTransitionTime : undefined;
    return { ...condition, lastTransitionTime: since ?? wholeSeconds(now) };
  });
}

/** `metav1.Time`, which has no fractions: with them, what was written would never equal what is read. */
export function wholeSeconds(moment: Date): string {
  return moment.toISOString().replace(/\.\d+Z$/, 'Z');
}
