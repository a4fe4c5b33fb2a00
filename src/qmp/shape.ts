/**
 * Shapes of JSON values: one table gives the types of QMP commands, the check of what QEMU answers (a guest that broke out of
 * QEMU may answer anything) and the names that tests compare with QEMU's own schema. Members not named are let through:
 * QEMU adds some with every version.
 */
export interface Shape<T> {
  readonly matches: (value: unknown) => value is T;
  /** Members of an object; for an array those of its elements. */
  readonly members?: Members;
  readonly required?: readonly string[];
  /** The values known of an open enumeration; others are let through, QEMU adds some with every version. */
  readonly known?: readonly string[];
  /** The first QEMU version that has it, when that is newer than the oldest supported one. */
  readonly since?: string;
}

export type TypeOf<S> = S extends Shape<infer T> ? T : never;
type Members = Readonly<Record<string, Shape<unknown>>>;
type Simplify<T> = { [K in keyof T]: T[K] };
type Members2Type<R extends Members, O extends Members> = Simplify<
  { [K in keyof R]: TypeOf<R[K]> } & { [K in keyof O]?: TypeOf<O[K]> }
>;

export const string: Shape<string> = { matches: (value) => typeof value === 'string' };
export const boolean: Shape<boolean> = { matches: (value) => typeof value === 'boolean' };
export const number: Shape<number> = { matches: (value) => typeof value === 'number' };
export const anything: Shape<unknown> = { matches: (_value): _value is unknown => true };
export const stringOrNull: Shape<string | null> = { matches: (value) => value === null || typeof value === 'string' };

/** 64 bits in QEMU; exact up to 2^53 here, which byte counters and clocks do not reach (8 PiB; 285 years in µs). */
export const integer: Shape<number> = { matches: (value): value is number => Number.isInteger(value) };

/** An enumeration of QEMU's, always open. */
export function word<const K extends string>(...known: K[]): Shape<K | (string & {})> {
  return { matches: (value): value is K | (string & {}) => typeof value === 'string', known };
}

export function array<T>(element: Shape<T>): Shape<T[]> {
  const { matches: _, ...names } = element;
  return { ...names, matches: (value): value is T[] => Array.isArray(value) && value.every(element.matches) };
}

export function object<R extends Members, O extends Members = Record<never, never>>(
  required: R,
  optional?: O,
): Shape<Members2Type<R, O>> {
  const mandatory = Object.entries(required);
  const voluntary = Object.entries(optional ?? {});
  return {
    members: { ...required, ...optional },
    required: Object.keys(required),
    matches: (value): value is Members2Type<R, O> =>
      isRecord(value) &&
      mandatory.every(([name, shape]) => shape.matches(value[name])) &&
      voluntary.every(([name, shape]) => value[name] === undefined || shape.matches(value[name])),
  };
}

/** An object with further members, which depend on one of those named. */
export function open<T>(shape: Shape<T>): Shape<T & { [member: string]: unknown }> {
  return shape as Shape<T & { [member: string]: unknown }>;
}

/** Marks what a QEMU older than `version` ("9.1") does not have. */
export function since<T>(version: string, shape: Shape<T>): Shape<T> {
  return { ...shape, since: version };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
