/** The two QEMUs as they were seen to behave, and what must never be done to them. */
import { seenByTarget } from './objects.ts';
import { Connection, Migration, Node, Owner, Qemu, Run, type Target, vm, type World } from './world.ts';

/** The attempt whose target is or may be connected with the source. */
export const partner = (w: World): Target => w.target(w.source.attempt);

/** The source's guest executes. Every memory that a target has loaded is older from now on. */
export function sourceRuns(w: World): void {
  for (const target of w.targets) {
    w.must(target.run !== Run.running, 'I1: two copies run');
    w.must(target.reallyRan === 0, 'I1: the source runs on from older memory than the target had run');
    if (target.migration >= Migration['postcopy-active']) target.reallyOld = 1;
  }
  w.must(vm.owner(w.common.vm) !== Owner.restarted, 'I1: the source runs beside the VM that was started again');
  w.source.run = Run.running;
}

/** `cont` at the target, in whatever state it is. */
export function continueTarget(w: World, target: Target): void {
  if (target.qemu !== Qemu.up) return;
  w.must(target.run !== Run.inmigrate, 'cont was sent to a target that is not complete');
  if (target.run !== Run.paused) return;
  w.must(w.source.run !== Run.running, 'I1: two copies run');
  w.must(
    w.targets.every(({ run }) => run !== Run.running),
    'I1: two copies run',
  );
  w.must(target.reallyOld === 0, 'I1: the target runs from older memory than the source had run');
  w.must(vm.owner(w.common.vm) !== Owner.restarted, 'I1: the target runs beside the VM that was started again');
  w.must(mayNotRunAnyMore(w), 'rule 1: the target runs while the source could still run by itself');
  target.run = Run.running;
  target.reallyRan = 1;
}

/** Only then is it certain that the source's QEMU does not resume by itself. */
function mayNotRunAnyMore({ source }: World): boolean {
  const spread = source.migration === Migration['postcopy-active'] || source.migration === Migration['postcopy-paused'];
  return source.qemu !== Qemu.up || source.run === Run.postmigrate || spread;
}

/** `cont` at the source. */
export function continueSource(w: World): void {
  const { source } = w;
  if (source.qemu !== Qemu.up || source.frozen !== 0) return;
  w.must(
    source.migration !== Migration['postcopy-active'] && source.migration !== Migration['postcopy-paused'],
    'cont was sent to the source in post-copy',
  );
  w.must(source.run !== Run['finish-migrate'], 'cont was sent to the source while QEMU was migrating');
  if (source.run === Run.postmigrate || source.run === Run.paused) sourceRuns(w);
}

/** By quit, kill or the kubelet, because of something that was decided. */
export function endSource(w: World, because: string): void {
  const { source } = w;
  if (source.qemu !== Qemu.up) return;
  const spread = source.migration === Migration['postcopy-active'] || source.migration === Migration['postcopy-paused'];
  const other = partner(w);
  w.must(
    !spread || other.qemu !== Qemu.up,
    `I2: ${because} ends the source while it holds memory of the target's guest`,
  );
  if (spread) {
    sourceEnds(w, 0);
    return;
  }
  w.must(vm.owner(w.common.vm) !== Owner.source, `${because} ends the source before ownership has moved`);
  // A node that died has taken with it what could have proven that the target never ran.
  const handedOver = w.targets.some(({ reallyContinued, node }) => reallyContinued !== 0 || node !== Node.up);
  w.must(handedOver, `I2: ${because} ends the source, and no target has taken over`);
  sourceEnds(w, 0);
}

export function endTarget(w: World, attempt: number, because: string): void {
  const target = w.target(attempt);
  if (target.qemu !== Qemu.up) return;
  const memoryLost = target.migration === Migration['postcopy-paused'] || isSpread(w, attempt);
  w.must(
    target.reallyRan === 0 || memoryLost || target.run !== Run.running,
    `I2: ${because} ends the target that runs the guest`,
  );
  // Once it has refused, nobody can bring it back.
  w.must(
    target.refused !== 0 || !isOnlyCopy(w, attempt),
    `I2: ${because} ends the target, the only copy left, although the source had told`,
  );
  targetEnds(w, target);
}

/** Nothing else is left of the guest, and somebody in the world can know that. */
export function isOnlyCopy(w: World, attempt: number): boolean {
  const target = w.target(attempt);
  const complete = target.migration >= Migration['postcopy-active'] && target.migration !== Migration.failed;
  const memoryLost = target.migration === Migration['postcopy-paused'] || isSpread(w, attempt);
  const newest = target.qemu === Qemu.up && complete && target.reallyOld === 0 && !memoryLost;
  return newest && w.source.qemu !== Qemu.up && toldProvably(w, attempt);
}

/** The target still lacks memory that ended with the source. */
function isSpread(w: World, attempt: number): boolean {
  return w.target(attempt).migration === Migration['postcopy-active'] && w.source.qemu !== Qemu.up;
}

function toldProvably(w: World, attempt: number): boolean {
  const { source } = w;
  const target = w.target(attempt);
  if (target.heard !== 0) return true;
  if (seenByTarget(attempt)(target.seen).seen.word === 'Completed') return true;
  return source.attempt === attempt && source.node === Node.up && source.told !== 0;
}

export function sourceEnds(w: World, exit: number): void {
  const { source } = w;
  source.qemu = Qemu.gone;
  source.run = Run.none;
  source.frozen = 0;
  source.exit = exit;
  for (const target of w.targets) {
    if (target.connection === Connection.open) target.connection = Connection.cut;
  }
}

export function targetEnds(w: World, target: Target): void {
  target.qemu = Qemu.gone;
  target.run = Run.none;
  target.silent = 0;
  if (target.connection === Connection.open) target.connection = Connection.cut;
  // The handshake ends with the connection.
  if (w.source.frozen !== 0 && partner(w) === target) {
    w.source.frozen = 0;
    w.source.migration = Migration.failed;
  }
}

/** `migrate`, as the agent issues it once its note and its stamp are there. */
export function migrate(w: World, encrypted: boolean): 'begun' | 'refused' {
  const { source } = w;
  const busy = source.migration > Migration.none && source.migration < Migration.completed;
  if (source.run === Run.postmigrate || busy) return 'refused';
  const target = partner(w);
  if (target.qemu !== Qemu.up || target.listening === 0 || target.connection !== Connection.waits) {
    source.migration = Migration.failed;
    return 'begun';
  }
  target.connection = Connection.open;
  if (target.silent !== 0) {
    source.migration = Migration.setup;
    source.frozen = encrypted ? 1 : 0;
  } else {
    source.migration = Migration.active;
    target.migration = Migration.active;
  }
  return 'begun';
}

export function cancel(w: World): void {
  const { source } = w;
  if (source.qemu !== Qemu.up || source.frozen !== 0) return;
  const postCopy =
    source.migration === Migration['postcopy-active'] || source.migration === Migration['postcopy-paused'];
  w.must(!postCopy, 'migrate_cancel was sent in post-copy');
  if (source.migration < Migration.setup || source.migration > Migration.device) return;
  source.migration = Migration.cancelled;
  const target = partner(w);
  if (target.connection !== Connection.waits) target.connection = Connection.cut;
}

export function continueSwitchover(w: World): void {
  const { source } = w;
  if (source.qemu === Qemu.up && source.migration === Migration['pre-switchover']) source.migration = Migration.device;
}
