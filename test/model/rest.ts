/** What must be true when nothing happens any more and nobody fails. */
import { isTerminal } from '../../src/api/phases.ts';
import type { Configuration } from './model.ts';
import { gone, versions } from './objects.ts';
import { Issued, Lock, Owner, podExists, Qemu, Run, VmWish, vm, type World } from './world.ts';

interface Rest {
  /** For the statistics: the phase, and where the VM is. */
  what: string;
  problem: string | undefined;
}

const places = ['source', 'target', 'target', 'down, started again'];

export function problemAtRest(w: World, configuration: Configuration): Rest {
  const { common, source, targets } = w;
  const owner = vm.owner(common.vm);
  const lock = vm.lock(common.vm);
  const status = common.object === gone ? undefined : versions.at(common.object).status;
  const deleted = common.object === gone;
  const what = `${deleted ? 'deleted' : `${status?.phase} ${status?.reason}`}, VM ${places[owner]}`;
  const answer = (problem: string | undefined): Rest => ({ what, problem });
  // The VM has ended before the migration took it, or another migration works on it: it begins when that is over.
  if (status?.phase === 'Pending' && lock !== Lock.held) return answer(undefined);
  if (!deleted && owner === Owner.restarted && status?.sourcePod === undefined) return answer(undefined);
  if (!deleted && !isTerminal(status?.phase)) {
    const { source: { verdict: atSource } = {}, target: { verdict: atTarget } = {} } = status ?? {};
    return answer(
      `I3: at rest in ${status?.phase} (${status?.reason}); the source said ${atSource}, the target ${atTarget}`,
    );
  }
  if (lock === Lock.held) return answer('I3: at rest with the VM locked');
  if (!deleted && versions.at(common.object).metadata.deletionTimestamp !== undefined)
    return answer('I3: the deleted migration stays');
  if (configuration.mustSucceed && status?.phase !== 'Succeeded')
    return answer(`I8: it ended ${status?.phase} (${status?.reason})`);
  const left = [source, ...targets].findIndex((side, index) => index !== owner && podExists(side.pod));
  if (left >= 0 && !(left === 0 && owner === Owner.restarted && vm.wish(common.vm) !== VmWish.none))
    return answer(`I5: the pod of the ${left === 0 ? 'source' : `target of attempt ${left}`} stays`);
  if (targets.some(({ qemu }, index) => qemu === Qemu.up && owner !== index + 1))
    return answer('I5: the QEMU of a target stays');
  if (owner !== Owner.source && source.qemu === Qemu.up) return answer('I5: the QEMU of the source stays');
  if (owner === Owner.source && source.qemu === Qemu.up) return answer(sourceAtRest(w));
  const target = targets[owner - 1];
  if (target?.qemu === Qemu.up && target.run !== Run.running && (configuration.guest ?? 'running') === 'running')
    return answer('I2: the guest stands still at the target');
  if (target?.qemu === Qemu.up && target.traces !== 0) return answer('I5: traces of the attempt stay in the target');
  const down = owner === Owner.source ? source.qemu !== Qemu.up : target?.qemu !== Qemu.up;
  if (down && owner !== Owner.restarted && vm.wish(common.vm) === VmWish.none && lock !== Lock.others)
    return answer('I3: the VM is down, and is not started again');
  return answer(undefined);
}

function sourceAtRest({ source }: World): string | undefined {
  if (source.issued === Issued.running && source.run !== Run.running) return 'I2: the guest stands still at the source';
  return source.traces === 0 ? undefined : 'I5: traces of the attempt stay in the source';
}
