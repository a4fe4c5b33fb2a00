/**
 * Steps that are wrong on purpose, to prove that the check can fail: each breaks one rule of the protocol in the way somebody might
 * by mistake, and has to be found out.
 */
import { heardDirectly } from '../../src/migration/evidence.ts';
import type { SourceFacts } from '../../src/migration/source-step.ts';
import type { Configuration, Steps } from './model.ts';
import { shippedSteps } from './shipped-steps.ts';

export interface WrongVariant {
  mistake: string;
  /** The rule that has to be found broken first. */
  breaks: RegExp;
  steps?: Partial<Steps>;
  configuration: Configuration;
}

const { sourceStep, targetStep, controllerStep } = shippedSteps;
const told = heardDirectly('Completed');
const transferring: Configuration = { name: 'transferring', from: 'transferring' };
const complete: Configuration = { name: 'complete', from: 'the source complete' };

/** What the source or the target has said, as if the controller had read it. */
function withWord(
  facts: Parameters<Steps['controllerStep']>[0],
  side: 'source' | 'target',
  verdict: 'Aborted' | 'TookOver',
): Parameters<Steps['controllerStep']>[0] {
  const { migration } = facts;
  const said = migration.status?.[side];
  if (said === undefined) return facts;
  const status = { ...migration.status, [side]: { ...said, verdict, reason: 'TransferFailed' } };
  return { ...facts, migration: { ...migration, status } };
}

const inPostCopy = ({ qemu }: SourceFacts) => qemu.presence === 'present' && qemu.migration === 'postcopy-active';

export const wrongVariants: readonly WrongVariant[] = [
  {
    mistake: "the target continues on its own QEMU's word that it is complete",
    breaks: /rule 1|I1/,
    steps: {
      targetStep: (facts) => {
        const own = facts.qemu.presence === 'present' && facts.qemu.migration === 'completed';
        return targetStep(own ? { ...facts, sourceWord: told } : facts);
      },
    },
    configuration: transferring,
  },
  {
    mistake: 'the complete target is continued because the source is gone',
    breaks: /I1: the target runs from older memory/,
    steps: {
      targetStep: ({ sourceGone, ...facts }) => {
        const own = facts.qemu.presence === 'present' && facts.qemu.migration === 'completed';
        if (sourceGone === undefined) return targetStep(facts);
        return targetStep(own ? { ...facts, sourceWord: told } : { ...facts, sourceGone });
      },
    },
    configuration: {
      ...transferring,
      faults: 2,
      faultKinds: ['connection lost', 'source node dies'],
    },
  },
  {
    mistake: 'the source ends as soon as it has told, before ownership has moved',
    breaks: /before ownership has moved/,
    steps: {
      sourceStep: (facts) =>
        facts.journal.told ? { effects: [{ kind: 'endQemu', because: moved }] } : sourceStep(facts),
    },
    configuration: complete,
  },
  {
    mistake: 'ownership moves, and the source is ended, before the target has taken over',
    breaks: /I2|I4/,
    steps: {
      controllerStep: (facts) =>
        controllerStep(
          facts.migration.status?.source?.verdict === 'Completed' ? withWord(facts, 'target', 'TookOver') : facts,
        ),
    },
    configuration: complete,
  },
  {
    mistake: 'the source runs on after it has told, because nobody answers for so long',
    breaks: /I1/,
    steps: {
      sourceStep: (facts) =>
        sourceStep(
          facts.journal.told && facts.targetWord === undefined && facts.now > 0
            ? { ...facts, targetWord: heardDirectly('Gone') }
            : facts,
        ),
    },
    configuration: { ...complete, faults: 1, faultKinds: ['deadline'] },
  },
  {
    mistake: 'the source runs on because the target has ended, whether or not it had run the guest',
    breaks: /I1/,
    steps: {
      sourceStep: (facts) =>
        sourceStep(facts.targetWord === 'Lost' ? { ...facts, targetWord: heardDirectly('Gone') } : facts),
    },
    configuration: { ...complete, faults: 1, faultKinds: ['target QEMU dies'] },
  },
  {
    mistake: 'the target is deleted on the cancel, while the source was last seen active',
    breaks: /I2/,
    steps: {
      controllerStep: (facts) => {
        const { migration, targetPod } = facts;
        const step = controllerStep(facts);
        const waits = migration.status?.abort !== undefined && migration.status.source?.verdict === undefined;
        return waits && targetPod.exists ? { ...step, effects: [{ kind: 'deletePod', pod: targetPod }] } : step;
      },
    },
    configuration: { ...transferring, wishes: 1, wishKinds: ['cancel'] },
  },
  {
    mistake: "the target is deleted on a deadline, without the source's word",
    breaks: /I2/,
    steps: {
      controllerStep: (facts) => {
        const { migration, targetPod, now } = facts;
        const silent = migration.status?.plan !== undefined && migration.status.source?.verdict === undefined;
        const late = silent && now > 0 && targetPod.exists && !targetPod.deleting;
        return late
          ? { status: migration.status, effects: [{ kind: 'deletePod', pod: targetPod }] }
          : controllerStep(facts);
      },
    },
    configuration: { ...complete, faults: 1, faultKinds: ['deadline'] },
  },
  {
    mistake: "the last migration's completed is read as this one's: the stamp is ignored",
    breaks: /rule 1: the source tells/,
    steps: {
      sourceStep: (facts) => {
        const { qemu, journal } = facts;
        const old = journal.issued !== undefined && qemu.presence === 'present' && qemu.migration === 'completed';
        return sourceStep(old ? { ...facts, qemu: { ...qemu, stamped: true, runState: 'postmigrate' } } : facts);
      },
    },
    configuration: { name: 'earlier', earlier: 'completed', faults: 1, faultKinds: ['source agent crashes'] },
  },
  {
    mistake: "the last migration's failed is read as this one's: the stamp is ignored",
    breaks: /I8/,
    steps: {
      sourceStep: (facts) =>
        sourceStep(facts.qemu.presence === 'present' ? { ...facts, qemu: { ...facts.qemu, stamped: true } } : facts),
    },
    configuration: {
      name: 'earlier',
      earlier: 'failed',
      faults: 1,
      faultKinds: ['source agent crashes'],
      mustSucceed: true,
    },
  },
  {
    mistake: "the VM's controller starts the VM again while a migration holds it",
    breaks: /rule 9/,
    configuration: { ...transferring, faults: 1, faultKinds: ['source QEMU dies'], startsWhileLocked: true },
  },
  {
    mistake: 'the source is ended in post-copy, when it has told',
    breaks: /I2/,
    steps: {
      sourceStep: (facts) =>
        facts.journal.told && inPostCopy(facts)
          ? { effects: [{ kind: 'endQemu', because: moved }] }
          : sourceStep(facts),
    },
    configuration: { ...complete, postCopy: true },
  },
  {
    mistake: 'migrate_cancel is sent in post-copy',
    breaks: /in post-copy/,
    steps: {
      sourceStep: (facts) =>
        facts.abort !== undefined && inPostCopy(facts) ? { effects: [{ kind: 'cancelTransfer' }] } : sourceStep(facts),
    },
    configuration: { ...complete, postCopy: true, wishes: 1, wishKinds: ['cancel'] },
  },
  {
    mistake: 'the target continues the guest without a note',
    breaks: /without a note/,
    steps: {
      targetStep: (facts) => {
        const step = targetStep(facts);
        return { ...step, effects: step.effects.filter(({ kind }) => kind !== 'recordContinued') };
      },
    },
    configuration: complete,
  },
  {
    mistake: 'the target forgets that it has continued the guest, and attests that it never did',
    breaks: /I1/,
    steps: { targetStep: (facts) => targetStep({ ...facts, journal: { ...facts.journal, continued: false } }) },
    configuration: { ...complete, faults: 1, faultKinds: ['target QEMU dies'] },
  },
  {
    mistake: 'the source forgets that it has told',
    breaks: /rule 6/,
    steps: { sourceStep: (facts) => sourceStep({ ...facts, journal: { ...facts.journal, told: false } }) },
    configuration: { ...complete, faults: 1, faultKinds: ['source QEMU dies'] },
  },
  {
    mistake: 'the target refuses after it has continued, when the source is gone',
    breaks: /refuses/,
    steps: {
      targetStep: (facts) =>
        facts.sourceGone === undefined || facts.qemu.presence !== 'present'
          ? targetStep(facts)
          : { effects: [{ kind: 'recordRefused' }] },
    },
    configuration: { ...complete, faults: 1, faultKinds: ['source node dies'] },
  },
  {
    mistake: 'the source tells before its QEMU has entered postmigrate',
    breaks: /rule 1/,
    steps: {
      sourceStep: (facts) => {
        const early = facts.qemu.presence === 'present' && facts.qemu.migration === 'device';
        const complete = { migration: 'completed', runState: 'postmigrate' };
        return sourceStep(early ? { ...facts, qemu: { ...facts.qemu, ...complete } as SourceFacts['qemu'] } : facts);
      },
    },
    configuration: transferring,
  },
  {
    mistake: 'the VM is given back before the losing QEMU is gone or said to be owed',
    breaks: /I5|I1/,
    steps: {
      controllerStep: (facts) => {
        const { phase } = facts.migration.status ?? {};
        const step = controllerStep(facts);
        if (phase !== 'Succeeded' || facts.virtualMachine?.status?.migration?.name !== 'move') return step;
        return { ...step, effects: [{ kind: 'unlockVirtualMachine', result: phase }, ...step.effects] };
      },
    },
    configuration: complete,
  },
  {
    mistake: "the controller takes its own abort for the source's word, and tries again",
    breaks: /I[1-8]/,
    steps: {
      controllerStep: (facts) => {
        const { abort, source } = facts.migration.status ?? {};
        if (abort === undefined || source?.verdict !== undefined) return controllerStep(facts);
        const step = controllerStep(withWord(facts, 'source', 'Aborted'));
        const again = step.status?.attempt !== facts.migration.status?.attempt;
        return again || source === undefined ? step : { ...step, status: { ...step.status, source } };
      },
    },
    configuration: { ...transferring, backoffLimit: 1, faults: 1, faultKinds: ['target node dies'] },
  },
  {
    mistake: 'a target node that is silent for long is taken to be gone',
    breaks: /I[1-8]/,
    steps: {
      controllerStep: (facts) => {
        const silent = facts.now > 30_000 && (facts.agents.target?.seenAt ?? 0) === 0 && facts.targetPod.exists;
        return controllerStep(
          silent
            ? { ...facts, targetPod: { ...facts.targetPod, fenced: 'it is silent.' } as typeof facts.targetPod }
            : facts,
        );
      },
    },
    configuration: { ...complete, faults: 3, faultKinds: ['deadline'] },
  },
  {
    mistake: "the fencing of the target's pod is taken for the source's",
    breaks: /I[1-8]/,
    steps: {
      controllerStep: (facts) => {
        const { sourcePod, targetPod } = facts;
        const wrong = targetPod.exists && targetPod.fenced !== undefined && sourcePod.exists;
        return controllerStep(
          wrong ? { ...facts, sourcePod: { ...sourcePod, fenced: 'its node was fenced.' } } : facts,
        );
      },
    },
    configuration: { ...complete, faults: 1, faultKinds: ['target node dies'] },
  },
  {
    mistake: 'a deadline of the controller passes while the agent that could speak is away',
    breaks: /I[1-8]/,
    steps: {
      controllerStep: (facts) => {
        const there = { since: 0, seenAt: facts.now };
        return controllerStep({ ...facts, agents: { source: there, target: there } });
      },
    },
    configuration: { ...complete, faults: 2, faultKinds: ['deadline', 'source QEMU dies', 'target QEMU dies'] },
  },
  {
    mistake:
      'a target node that has booted again takes its lost QEMU for one that it had seen, and attests that it never ran',
    breaks: /I1/,
    steps: {
      targetStep: (facts) =>
        targetStep(
          facts.qemu.presence === 'notYet' && facts.published.endpoint
            ? { ...facts, qemu: { presence: 'gone' } }
            : facts,
        ),
    },
    configuration: { ...complete, faults: 1, faultKinds: ['target node dies'] },
  },
  {
    mistake: 'a source node that has booted again believes its empty journal, and says that it has aborted',
    breaks: /I[12]/,
    steps: {
      sourceStep: (facts) =>
        facts.journal.issued === undefined && facts.journal.aborted === undefined && facts.abort !== undefined
          ? { effects: [{ kind: 'recordAborted', cause: facts.abort }] }
          : sourceStep(facts),
    },
    configuration: { ...complete, faults: 1, faultKinds: ['source node dies'] },
  },
  {
    mistake: 'a target that ended is removed before it could say whether it had run the guest',
    breaks: /I[1-8]/,
    steps: {
      controllerStep: (facts) => {
        const step = controllerStep(facts);
        const { targetPod, migration } = facts;
        const ended =
          targetPod.exists && targetPod.terminated !== undefined && migration.status?.target?.verdict === undefined;
        return ended ? { ...step, effects: [{ kind: 'releasePod', pod: targetPod }] } : step;
      },
    },
    configuration: { ...complete, faults: 1, faultKinds: ['target QEMU dies'] },
  },
];

const moved = 'OwnershipMoved' as Extract<
  ReturnType<Steps['sourceStep']>['effects'][number],
  { kind: 'endQemu' }
>['because'];
