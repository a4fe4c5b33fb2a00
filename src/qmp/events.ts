import { migrationStatus } from './commands.ts';
import { anything, boolean, integer, object, type Shape, type TypeOf, word } from './shape.ts';

const shutdownCause = word(
  'none',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'host-ui',
  'host-error',
  'subsystem-reset',
);
const byWhom = object({ guest: boolean, reason: shutdownCause });
const panic = object({ action: word('pause', 'poweroff', 'run') }, { info: anything });

interface EventShape {
  readonly data: Shape<unknown>;
  /** Of several that a slow reader has not read, only the newest is kept. QEMU or the guest can make any number of them. */
  readonly onlyNewest?: true;
}

/** Every event in use. MIGRATION comes only with the capability `events`. */
export const events = {
  MIGRATION: { data: object({ status: migrationStatus }) },
  MIGRATION_PASS: { data: object({ pass: integer }), onlyNewest: true },
  STOP: { data: object({}) },
  RESUME: { data: object({}) },
  SUSPEND: { data: object({}) },
  WAKEUP: { data: object({}) },
  SHUTDOWN: { data: byWhom },
  POWERDOWN: { data: object({}), onlyNewest: true },
  RESET: { data: byWhom, onlyNewest: true },
  GUEST_PANICKED: { data: panic, onlyNewest: true },
  GUEST_CRASHLOADED: { data: panic, onlyNewest: true },
} satisfies Record<string, EventShape>;

export type EventName = keyof typeof events;

interface EventOf<N extends string, D> {
  readonly name: N;
  readonly data: D;
  /** The host's clock when QEMU made it, in milliseconds since 1970 with a fraction; undefined when QEMU could not read it. */
  readonly timestampMilliseconds: number | undefined;
}

/** An event that is not in the table, or not of the form known: told apart by its name, kept for the log. */
interface OtherEvent extends EventOf<'OTHER', Readonly<Record<string, unknown>>> {
  readonly event: string;
}

export type QmpEvent = { [N in EventName]: EventOf<N, TypeOf<(typeof events)[N]['data']>> }[EventName] | OtherEvent;
