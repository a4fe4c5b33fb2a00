import type { CommandOptions, QmpConnection } from './connection.ts';

/** What a QEMU binary can do. Plain data, for pure functions. */
export interface Features {
  /** Names of the migration capabilities it lists, in its order. */
  readonly capabilities: readonly string[];
  /** Names of the migration parameters it lists. */
  readonly parameters: readonly string[];
  /** `migrate-incoming` takes `exit-on-error`: a target that fails to load can stay and tell why. Not asked of a source. */
  readonly incomingExitOnError: boolean;
  /** multifd and post-copy may be on together. */
  readonly multifdWithPostcopy: boolean;
  /** A target leaves the image locks alone until `cont`, whatever `late-block-activate` says. */
  readonly lateActivationAlways: boolean;
}

/** By version and package; of targets only, see probe. */
const incomingExitOnError = new Map<string, boolean>();

/**
 * Asks a QEMU what it can do. Names that it lists are facts; versions are compared only for behaviours no list shows.
 *
 * The schema is asked of a target only, once per QEMU version in this process: making it keeps QEMU's main loop for 30 ms,
 * which a running guest would feel, and the answer is kept for other VMs, so that it must not come from a QEMU whose guest
 * may have broken out. No guest has run yet in a target.
 * @throws what `execute` throws.
 */
export async function probe(
  connection: QmpConnection,
  side: 'source' | 'target',
  options: CommandOptions = {},
): Promise<Features> {
  const { major, minor } = connection.version;
  const atLeast = (wantedMajor: number, wantedMinor: number) =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  const [capabilities, parameters, exitOnError] = await Promise.all([
    connection.execute('query-migrate-capabilities', {}, options),
    connection.execute('query-migrate-parameters', {}, options),
    side === 'target' && takesExitOnError(connection, options),
  ]);
  return {
    capabilities: capabilities.map(({ capability }) => capability),
    parameters: Object.keys(parameters),
    incomingExitOnError: exitOnError,
    multifdWithPostcopy: atLeast(10, 1),
    lateActivationAlways: atLeast(10, 0),
  };
}

async function takesExitOnError(connection: QmpConnection, options: CommandOptions): Promise<boolean> {
  const version = JSON.stringify(connection.version);
  const cached = incomingExitOnError.get(version);
  if (cached !== undefined) return cached;
  const schema = await connection.execute('query-qmp-schema', {}, options);
  const command = schema.find((entry) => entry['meta-type'] === 'command' && entry.name === 'migrate-incoming');
  // Names of types are masked: only the command's own entry leads to its arguments.
  const argumentsType = schema.find((entry) => entry.name === command?.['arg-type']);
  const answer = argumentsType?.members?.some((member) => member.name === 'exit-on-error') ?? false;
  incomingExitOnError.set(version, answer);
  return answer;
}
