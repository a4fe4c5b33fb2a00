/** Phase, message and conditions: what people and `kubectl wait` see of a decision. */
import type { VirtualMachinePhase } from '../../api/phases.ts';
import type { Status, VirtualMachineFacts } from './facts.ts';

export interface Standing {
  readonly phase: VirtualMachinePhase;
  /** One CamelCase word, the reason of the Ready condition. */
  readonly reason: string;
  /** Empty when the phase says it all. */
  readonly message: string;
  /** Absent: True exactly when the VM is Running. */
  readonly ready?: 'True' | 'False' | 'Unknown';
}

type Condition = NonNullable<Status['conditions']>[number];
type Judgement = Pick<Condition, 'status' | 'reason' | 'message'>;

/** The status with the standing told in it; equal to what it was if nothing new is told. */
export function report(facts: VirtualMachineFacts, status: Status, standing: Standing): Status {
  const { now, virtualMachine } = facts;
  const { message: _, ...rest } = status;
  const judged: Record<string, Judgement | undefined> = {
    Ready: readiness(standing),
    LiveMigratable: migratability(facts, standing),
    Paused:
      standing.reason === 'Paused'
        ? { status: 'True', reason: 'PausedByOwner', message: '' }
        : { status: 'False', reason: 'NotPaused', message: '' },
    Stopping:
      standing.reason === 'Stopping' ? { status: 'True', reason: 'PowerDown', message: standing.message } : undefined,
  };
  const before = status.conditions ?? [];
  const conditions = Object.entries(judged).flatMap(([type, judgement]) => {
    if (judgement === undefined) return [];
    const previous = before.find((condition) => condition.type === type);
    const lastTransitionTime =
      previous?.status === judgement.status ? previous.lastTransitionTime : new Date(now).toISOString();
    return [{ type, ...judgement, lastTransitionTime }];
  });
  return {
    ...rest,
    phase: standing.phase,
    ...(standing.message === '' ? {} : { message: keptTail(standing.message, longestMessage) }),
    observedGeneration: virtualMachine.metadata.generation,
    conditions: [...conditions, ...before.filter(({ type }) => !(type in judged))],
  };
}

/** Since when the VM is being stopped, by the controller's clock: milliseconds since the epoch. */
export function stoppingSince(status: Status): number | undefined {
  const stamp = status.conditions?.find(({ type }) => type === 'Stopping')?.lastTransitionTime;
  return stamp === undefined ? undefined : Date.parse(stamp);
}

/** The API's bound of `status.message` and of `status.lastEnd.message`, in characters. */
export const longestMessage = 1024;

/** A text within the API's bound; of one too long its end, where QEMU says what went wrong. */
export function keptTail(text: string, limit: number): string {
  return text.length <= limit ? text : `…${text.slice(1 - limit).toWellFormed()}`;
}

function readiness({ phase, reason, message, ready }: Standing): Judgement {
  return { status: ready ?? (phase === 'Running' ? 'True' : 'False'), reason, message };
}

/** The first blocker gives the reason, and the message lists them all. */
function migratability({ virtualMachine }: VirtualMachineFacts, { phase }: Standing): Judgement {
  if (phase !== 'Running' && phase !== 'Paused') {
    return { status: 'False', reason: 'NotRunning', message: 'The VM does not run.' };
  }
  const { guest, hardware, placement } = virtualMachine.status ?? {};
  const blockers = [
    ...(hardware?.cpu.model === 'host'
      ? [{ reason: 'HostCPUModel', message: "CPU model host is the node's own CPU, which other nodes may not have." }]
      : []),
    ...(guest?.podUID === placement?.podUID ? (guest?.blockers ?? []) : []).map((message) => ({
      reason: 'QemuRefuses',
      message,
    })),
  ];
  const [first] = blockers;
  return first === undefined
    ? { status: 'True', reason: 'NoBlockers', message: '' }
    : {
        status: 'False',
        reason: first.reason,
        message: keptTail(blockers.map(({ message }) => message).join(' '), 4096),
      };
}
