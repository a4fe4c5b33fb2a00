import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { commands } from './commands.ts';
import { events } from './events.ts';
import { isRecord, type Shape } from './shape.ts';
import type { Digest, DigestType } from './testdata/digest.ts';

interface Command {
  arguments: Shape<unknown>;
  result: Shape<unknown>;
  outOfBand?: true;
}

const recorded = ['7.2', '10.0', '11.1'].map((version) => ({
  version,
  schema: JSON.parse(readFileSync(new URL(`./testdata/qemu-${version}.json`, import.meta.url), 'utf8')) as Digest,
}));

const samples: Record<string, unknown> = { str: 'x', int: 1, bool: true, number: 1.5, null: null, any: 'x' };

/** A value of that type: with everything that may be absent, or with nothing of it. */
function sample(type: DigestType, complete: boolean): unknown {
  if (typeof type === 'string') {
    const [values] = type.startsWith('enum ') ? type.slice('enum '.length).split('|') : [];
    return values ?? samples[type.split('|').at(complete ? -1 : 0) ?? ''];
  }
  if (Array.isArray(type)) return complete ? [sample(type[0], complete)] : [];
  return Object.fromEntries(
    Object.entries(type)
      .filter(([name]) => complete || !name.endsWith('?'))
      .map(([name, member]) => [name.replace('?', ''), sample(member, complete)]),
  );
}

/** Members that are named here and that QEMU does not have. */
function unknownMembers(shape: Shape<unknown>, type: DigestType, version: string): string[] {
  const object = Array.isArray(type) ? type[0] : type;
  return Object.entries(shape.members ?? {}).flatMap(([name, member]) => {
    if (member.since !== undefined && older(version, member.since)) return [];
    const found = isRecord(object) ? (object[name] ?? object[`${name}?`]) : undefined;
    return found === undefined ? [name] : unknownMembers(member, found as DigestType, version);
  });
}

/** Members that QEMU demands and that are not always sent. */
function missingMembers(shape: Shape<unknown>, type: DigestType): string[] {
  const object = Array.isArray(type) ? type[0] : type;
  if (!isRecord(object)) return [];
  return Object.entries(object).flatMap(([name, member]) => {
    if (!name.endsWith('?') && !shape.required?.includes(name)) return [name];
    const own = shape.members?.[name.replace('?', '')];
    return own === undefined ? [] : missingMembers(own, member as DigestType);
  });
}

function older(version: string, than: string): boolean {
  return version.localeCompare(than, undefined, { numeric: true }) < 0;
}

/** Every open enumeration in a shape, with the place of its like in the schema. */
function* words(shape: Shape<unknown>, types: DigestType[]): Generator<{ known: readonly string[]; listed: string }> {
  const objects = types.map((type) => (Array.isArray(type) ? type[0] : type));
  if (shape.known !== undefined) yield { known: shape.known, listed: objects.join('|') };
  for (const [name, member] of Object.entries(shape.members ?? {})) {
    const found = objects.map((type) => (isRecord(type) ? (type[name] ?? type[`${name}?`]) : undefined));
    yield* words(member, found.filter((type) => type !== undefined) as DigestType[]);
  }
}

describe.each(recorded)('QEMU $version', ({ version, schema }) => {
  test.each(Object.entries<Command>(commands))('%s is as in the table', (name, shape) => {
    const found = schema.commands[name];
    if (found === undefined) throw new Error(`QEMU ${version} has no ${name}`);
    expect(found.outOfBand).toBe(shape.outOfBand ?? false);
    expect(unknownMembers(shape.arguments, found.arguments, version)).toEqual([]);
    expect(missingMembers(shape.arguments, found.arguments)).toEqual([]);
    expect(shape.arguments.matches(sample(found.arguments, true))).toBe(true);
    expect(unknownMembers(shape.result, found.result, version)).toEqual([]);
    expect(shape.result.matches(sample(found.result, true))).toBe(true);
    expect(shape.result.matches(sample(found.result, false))).toBe(true);
  });

  test.each(Object.entries(events))('the event %s is as in the table', (name, { data }) => {
    const found = schema.events[name];
    if (found === undefined) throw new Error(`QEMU ${version} has no ${name}`);
    expect(unknownMembers(data, found, version)).toEqual([]);
    expect(data.matches(sample(found, true))).toBe(true);
    expect(data.matches(sample(found, false))).toBe(true);
  });
});

test('every word that the tables know is a word of some QEMU', () => {
  const all = [
    ...Object.entries<Command>(commands).flatMap(([name, { arguments: args, result }]) => [
      ...words(
        args,
        recorded.flatMap(({ schema }) => schema.commands[name]?.arguments ?? []),
      ),
      ...words(
        result,
        recorded.flatMap(({ schema }) => schema.commands[name]?.result ?? []),
      ),
    ]),
    ...Object.entries(events).flatMap(([name, { data }]) => [
      ...words(
        data,
        recorded.flatMap(({ schema }) => schema.events[name] ?? []),
      ),
    ]),
  ];
  expect(all.length).toBeGreaterThan(5);
  for (const { known, listed } of all) {
    expect(listed.split(/[| ]/)).toEqual(expect.arrayContaining([...known]));
  }
});
