import { calmly, type Emit } from './emit.ts';
import { partner, sourceRuns, targetEnds } from './qemu.ts';
import { attempts, Connection, Issued, Migration, Qemu, Run, type World } from './world.ts';

type Happens = ReturnType<typeof calmly>;

/** What the QEMUs do by themselves. */
export function engines(w: World, postCopy: boolean, on: Emit): void {
  const happens = calmly(w, on);
  if (w.source.qemu === Qemu.up) sourceEngine(w, postCopy, happens);
  for (const attempt of attempts) {
    const target = w.target(attempt);
    if (target.qemu === Qemu.up && target.migration === Migration.active) targetEngine(w, attempt, happens);
    if (
      target.qemu === Qemu.up &&
      target.migration === Migration['postcopy-active'] &&
      target.connection === Connection.cut &&
      w.source.migration !== Migration.completed
    )
      happens(says.targetPaused, (next) => {
        next.target(attempt).migration = Migration['postcopy-paused'];
      });
  }
}

const says = {
  stops: () => "the source's QEMU stops the guest and waits in pre-switchover",
  begins: () => "the target's QEMU answers at last: the transfer begins",
  told: () => "the source's QEMU says completed",
  postmigrate: () => "the source's QEMU enters postmigrate",
  failed: () => "the source's QEMU notices the broken connection: failed",
  resume: () => "the source's QEMU lets the guest run on by itself (RESUME)",
  back: () => "the source's QEMU is back in the state that the stopped guest had",
  postCopy: () => 'the switchover to post-copy: the guest is spread over both',
  sent: () => 'the last page has been sent: both QEMUs say completed',
  sourcePaused: () => "the source's QEMU loses the connection in post-copy",
  targetPaused: () => "the target's QEMU loses the connection in post-copy",
  complete: () => "the target's QEMU has everything: completed and paused",
  exits: () => "the target's QEMU exits: the stream broke off",
  notLoaded: () => "the target's QEMU stays, and says failed",
};

function sourceEngine(w: World, postCopy: boolean, happens: Happens): void {
  const { source } = w;
  const target = partner(w);
  const open = target.connection === Connection.open && target.qemu === Qemu.up && target.silent === 0;
  const broken = target.connection === Connection.cut || target.qemu !== Qemu.up;
  switch (source.migration) {
    case Migration.setup:
      if (open)
        happens(says.begins, (next) => {
          next.source.frozen = 0;
          next.source.migration = Migration.active;
          partner(next).migration = Migration.active;
        });
      break;
    case Migration.active:
      if (open)
        happens(says.stops, (next) => {
          next.source.migration = Migration['pre-switchover'];
          next.source.run = Run['finish-migrate'];
        });
      break;
    case Migration.device:
      if (open && target.migration === Migration.completed)
        happens(says.told, (next) => {
          next.source.migration = Migration.completed;
        });
      // The agent that would have to send migrate-start-postcopy sends nothing else meanwhile, and not when it cancels.
      if (open && postCopy && target.migration === Migration.active && source.pending === 0 && source.cancel === 0)
        happens(says.postCopy, (next) => {
          next.source.migration = Migration['postcopy-active'];
          const other = partner(next);
          other.migration = Migration['postcopy-active'];
          other.run = Run.paused;
        });
      break;
    case Migration['postcopy-active']:
      if (open && target.migration === Migration['postcopy-active'])
        happens(says.sent, (next) => {
          next.source.migration = Migration.completed;
          next.source.run = Run.postmigrate;
          partner(next).migration = Migration.completed;
        });
      if (broken)
        happens(says.sourcePaused, (next) => {
          next.source.migration = Migration['postcopy-paused'];
        });
      break;
    case Migration.completed:
      if (source.run === Run['finish-migrate'])
        happens(says.postmigrate, (next) => {
          next.source.run = Run.postmigrate;
        });
      break;
    case Migration.failed:
    case Migration.cancelled:
      if (source.run === Run['finish-migrate']) backAsBefore(source.issued, happens);
      break;
  }
  const waits =
    source.migration === Migration.setup ||
    source.migration === Migration.active ||
    source.migration === Migration.device;
  if (broken && waits && source.frozen === 0)
    happens(says.failed, (next) => {
      next.source.migration = Migration.failed;
      const other = partner(next);
      if (other.connection === Connection.open) other.connection = Connection.cut;
    });
}

function backAsBefore(issued: number, happens: Happens): void {
  if (issued === Issued.stopped)
    happens(says.back, (next) => {
      next.source.run = Run.paused;
    });
  else happens(says.resume, sourceRuns);
}

function targetEngine(w: World, attempt: number, happens: Happens): void {
  const target = w.target(attempt);
  const { source } = w;
  if (target.silent !== 0) return;
  if (source.attempt === attempt && source.migration === Migration.device && target.connection === Connection.open)
    happens(says.complete, (next) => {
      const other = next.target(attempt);
      other.migration = Migration.completed;
      other.run = Run.paused;
      other.reallyOld = 0;
    });
  if (target.connection === Connection.cut) {
    happens(says.exits, (next) => targetEnds(next, next.target(attempt)));
    happens(says.notLoaded, (next) => {
      next.target(attempt).migration = Migration.failed;
    });
  }
}
