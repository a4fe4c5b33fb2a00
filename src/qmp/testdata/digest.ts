/**
 * What the tests need of a QEMU's own schema: the commands and events in use, with types written out.
 * To record one: node src/qmp/testdata/digest.ts < answer-of-query-qmp-schema.json > src/qmp/testdata/qemu-X.Y.json
 */
import { text } from 'node:stream/consumers';
import { commands } from '../commands.ts';
import { events } from '../events.ts';

/** 'str', 'int' …, 'enum a|b', 'str|null', [element], or members, those that may be absent with a `?`. */
export type DigestType = string | [DigestType] | { [member: string]: DigestType };

export interface Digest {
  commands: Record<string, { arguments: DigestType; result: DigestType; outOfBand: boolean }>;
  events: Record<string, DigestType>;
}

interface Entry {
  name: string;
  'meta-type': string;
  'arg-type': string;
  'ret-type': string;
  'element-type': string;
  'allow-oob'?: boolean;
  values?: string[];
  members?: { name: string; type: string; default?: null }[];
  variants?: { case: string; type: string }[];
}

const deepest = 5;
/** More kinds than this (of objects, of processors) are nobody's business here. */
const mostKinds = 40;

export function digest(schema: unknown): Digest {
  const entries = schema as Entry[];
  const types = new Map(entries.map((entry) => [entry.name, entry]));

  const describe = (name: string, depth = 0): DigestType => {
    const type = types.get(name);
    if (type === undefined || depth > deepest) return 'any';
    switch (type['meta-type']) {
      case 'builtin':
        return type.name;
      case 'enum': {
        const values = type.values ?? [];
        return values.length > mostKinds ? 'str' : `enum ${values.join('|')}`;
      }
      case 'array':
        return [describe(type['element-type'], depth + 1)];
      case 'alternate':
        return (type.members ?? []).map((member) => describe(member.type, depth + 1)).join('|');
      default: {
        const own = (type.members ?? []).map((member) => [
          'default' in member ? `${member.name}?` : member.name,
          describe(member.type, depth + 1),
        ]);
        const variants = type.variants ?? [];
        const ofKinds = (variants.length > mostKinds ? [] : variants).flatMap((variant) =>
          Object.entries(describe(variant.type, depth)).map(([member, kind]) => [`${member.replace('?', '')}?`, kind]),
        );
        // Where kinds differ the first one's word counts.
        return Object.fromEntries([...ofKinds.reverse(), ...own]);
      }
    }
  };

  const find = (metaType: string, name: string) =>
    entries.filter((entry) => entry['meta-type'] === metaType && entry.name === name);
  return {
    commands: Object.fromEntries(
      Object.keys(commands)
        .flatMap((name) => find('command', name))
        .map((entry) => [
          entry.name,
          {
            arguments: describe(entry['arg-type']),
            result: describe(entry['ret-type']),
            outOfBand: entry['allow-oob'] ?? false,
          },
        ]),
    ),
    events: Object.fromEntries(
      Object.keys(events)
        .flatMap((name) => find('event', name))
        .map((entry) => [entry.name, describe(entry['arg-type'])]),
    ),
  };
}

if (import.meta.main) console.log(JSON.stringify(digest(JSON.parse(await text(process.stdin)).return)));
