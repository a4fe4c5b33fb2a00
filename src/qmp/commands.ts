import {
  anything,
  array,
  boolean,
  integer,
  number,
  object,
  open,
  type Shape,
  since,
  string,
  stringOrNull,
  type TypeOf,
  word,
} from './shape.ts';

const nothing = object({});

/** What the virtual CPUs do. */
const runState = word(
  'running',
  'paused',
  'inmigrate',
  'finish-migrate',
  'postmigrate',
  'prelaunch',
  'suspended',
  'shutdown',
  'guest-panicked',
  'io-error',
  'internal-error',
  'watchdog',
  'restore-vm',
  'save-vm',
  'debug',
);

/** Where a migration is in QEMU. New states keep appearing: treat an unknown one as "still running". */
export const migrationStatus = word(
  'none',
  'setup',
  'wait-unplug',
  'active',
  'pre-switchover',
  'device',
  'postcopy-device',
  'postcopy-active',
  'postcopy-paused',
  'postcopy-recover-setup',
  'postcopy-recover',
  'completed',
  'cancelling',
  'cancelled',
  'failing',
  'failed',
);
export type MigrationStatus = TypeOf<typeof migrationStatus>;

const ramStatistics = object(
  {
    /** Bytes on the wire. */
    transferred: integer,
    /** Guest bytes; jumps up at each pass. */
    remaining: integer,
    total: integer,
    /** Zero pages. */
    duplicate: integer,
    normal: integer,
    'normal-bytes': integer,
    /** Pages per second, as of the last pass; 0 in the first. */
    'dirty-pages-rate': integer,
    mbps: number,
    /** The number of the pass. */
    'dirty-sync-count': integer,
    'page-size': integer,
  },
  {
    'postcopy-requests': integer,
    'multifd-bytes': integer,
    'pages-per-second': integer,
    'precopy-bytes': integer,
    'downtime-bytes': integer,
    'postcopy-bytes': integer,
  },
);

/** Absent members are facts: `{}` is "no migration has run in this process", `ram` is missing in setup, failed and cancelled. */
const migrationInfo = object(
  {},
  {
    status: migrationStatus,
    /** Milliseconds, like all the times here. */
    'total-time': integer,
    'setup-time': integer,
    'expected-downtime': integer,
    /** From STOP to the end of the source's work, stay in pre-switchover included; when completed. */
    downtime: integer,
    'cpu-throttle-percentage': integer,
    'error-desc': string,
    /** Why a migration would be refused now. */
    'blocked-reasons': array(string),
    /** Bytes of the whole machine, devices included. */
    remaining: since('11.1', integer),
    ram: ramStatistics,
    vfio: object({ transferred: integer }),
    /** Target: where it listens. */
    'socket-address': array(
      object({ type: word('inet', 'unix', 'vsock', 'fd') }, { host: string, port: string, path: string }),
    ),
  },
);

/** Those that something here relies on; a reply has more. Numbers are sent to QEMU as they are: whole ones only. */
const migrationParameters = object(
  {},
  {
    /** Bytes per second, 0 = unlimited. QEMU's default is 1 Gbit/s. */
    'max-bandwidth': integer,
    /** Milliseconds, up to 2000000. */
    'downtime-limit': integer,
    'avail-switchover-bandwidth': since('8.2', integer),
    'max-postcopy-bandwidth': integer,
    'multifd-channels': integer,
    'multifd-compression': word('none', 'zlib', 'zstd'),
    'multifd-zlib-level': integer,
    'multifd-zstd-level': integer,
    'xbzrle-cache-size': integer,
    'cpu-throttle-initial': integer,
    'cpu-throttle-increment': integer,
    'cpu-throttle-tailslow': boolean,
    'max-cpu-throttle': integer,
    'throttle-trigger-threshold': integer,
    /** Names of objects made by object-add; '' clears. */
    'tls-creds': stringOrNull,
    'tls-hostname': stringOrNull,
    'tls-authz': stringOrNull,
    'announce-initial': integer,
    'announce-max': integer,
    'announce-rounds': integer,
    'announce-step': integer,
  },
);

/** Name and on or off, as QEMU lists and takes it. */
const capabilityState = object({ capability: string, state: boolean });
export type CapabilityState = TypeOf<typeof capabilityState>;

/** What `yank` cuts: the sockets of the migration, of a block node, of a character device. */
const yankInstance = object({ type: word('migration', 'block-node', 'chardev') }, { 'node-name': string, id: string });

const cpuModel = object({ name: string }, { props: anything });

const pciDevice = object({
  bus: integer,
  slot: integer,
  function: integer,
  qdev_id: string,
  id: object({ device: integer, vendor: integer }),
});

interface CommandShape {
  readonly arguments: Shape<unknown>;
  readonly result: Shape<unknown>;
  /** QEMU runs it in the monitor's own thread, even when its main loop is blocked. */
  readonly outOfBand?: true;
}

/** Every command in use: what it takes and what of its answer is read. Names as in QEMU, underscores included. */
export const commands = {
  'query-status': { arguments: nothing, result: object({ running: boolean, status: runState }) },
  'query-version': {
    arguments: nothing,
    result: object({ qemu: object({ major: integer, minor: integer, micro: integer }), package: string }),
  },
  'query-qmp-schema': {
    arguments: nothing,
    result: array(
      object(
        { name: string, 'meta-type': string },
        { 'arg-type': string, members: array(object({}, { name: string })) },
      ),
    ),
  },
  'query-name': { arguments: nothing, result: object({}, { name: string }) },
  'query-uuid': { arguments: nothing, result: object({ UUID: string }) },
  'query-kvm': { arguments: nothing, result: object({ enabled: boolean, present: boolean }) },
  'query-machines': {
    arguments: nothing,
    result: array(
      object(
        { name: string, 'cpu-max': integer, deprecated: boolean },
        { alias: string, 'is-default': boolean, 'default-cpu-type': string },
      ),
    ),
  },
  'query-cpu-definitions': {
    arguments: nothing,
    result: array(
      object(
        { name: string, typename: string, static: boolean, deprecated: boolean },
        { 'migration-safe': boolean, 'unavailable-features': array(string), 'alias-of': string },
      ),
    ),
  },
  'query-cpu-model-expansion': {
    arguments: object({ type: word('static', 'full'), model: cpuModel }),
    result: object({ model: cpuModel }),
  },
  'query-cpus-fast': {
    arguments: nothing,
    result: array(object({ 'cpu-index': integer, 'thread-id': integer, 'qom-path': string })),
  },
  'query-memory-size-summary': {
    arguments: nothing,
    /** Bytes. */
    result: object({ 'base-memory': integer }, { 'plugged-memory': integer }),
  },
  'query-block-jobs': {
    arguments: nothing,
    result: array(
      object(
        { type: string, device: string, len: integer, offset: integer, ready: boolean, status: string },
        { error: string },
      ),
    ),
  },
  'query-pci': { arguments: nothing, result: array(object({ bus: integer, devices: array(pciDevice) })) },
  'qom-get': { arguments: object({ path: string, property: string }), result: anything },
  /** A child's type is `child<its type>`. */
  'qom-list': { arguments: object({ path: string }), result: array(object({ name: string, type: string })) },

  'query-migrate': { arguments: nothing, result: migrationInfo },
  'query-migrate-capabilities': { arguments: nothing, result: array(capabilityState) },
  'query-migrate-parameters': { arguments: nothing, result: migrationParameters },
  'migrate-set-capabilities': { arguments: object({ capabilities: array(capabilityState) }), result: nothing },
  'migrate-set-parameters': { arguments: migrationParameters, result: nothing },
  /** Answers at once; what becomes of it is told by MIGRATION events and query-migrate. */
  migrate: { arguments: object({ uri: string }, { resume: boolean }), result: nothing },
  /** Once per process, with `-incoming defer`. Without `exit-on-error: false` a failed target exits with status 1. */
  'migrate-incoming': {
    arguments: object({ uri: string }, { 'exit-on-error': since('9.1', boolean) }),
    result: nothing,
  },
  /** Succeeds also when nothing runs. */
  migrate_cancel: { arguments: nothing, result: nothing },
  /** `state` must be the status that the migration is in. */
  'migrate-continue': { arguments: object({ state: migrationStatus }), result: nothing },
  /** All four times in milliseconds. */
  'announce-self': {
    arguments: object(
      { initial: integer, max: integer, rounds: integer, step: integer },
      { interfaces: array(string), id: string },
    ),
    result: nothing,
  },

  cont: { arguments: nothing, result: nothing },
  stop: { arguments: nothing, result: nothing },
  /** QEMU may be gone before its answer is read: QmpDisconnected is a success too. */
  quit: { arguments: nothing, result: nothing },
  system_powerdown: { arguments: nothing, result: nothing },
  'object-add': { arguments: open(object({ 'qom-type': string, id: string })), result: nothing },
  'object-del': { arguments: object({ id: string }), result: nothing },

  'query-yank': { arguments: nothing, result: array(yankInstance), outOfBand: true },
  yank: { arguments: object({ instances: array(yankInstance) }), result: nothing, outOfBand: true },
  'migrate-recover': { arguments: object({ uri: string }), result: nothing, outOfBand: true },
  'migrate-pause': { arguments: nothing, result: nothing, outOfBand: true },
} satisfies Record<string, CommandShape>;

export type CommandName = keyof typeof commands;
export type OutOfBandCommandName = {
  [K in CommandName]: (typeof commands)[K] extends { outOfBand: true } ? K : never;
}[CommandName];
export type CommandArguments<K extends CommandName> = TypeOf<(typeof commands)[K]['arguments']>;
export type CommandResult<K extends CommandName> = TypeOf<(typeof commands)[K]['result']>;
