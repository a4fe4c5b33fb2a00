import { describe, expect, it } from 'vitest';
import { IndexedCache } from './cache.ts';
import type { Pod } from './core-resources.ts';
import { compareResourceVersions, objectKey, parseObjectKey } from './resource.ts';

function pod(name: string, nodeName: string, labels: Record<string, string> = {}): Pod {
  const metadata = { name, namespace: 'default', labels };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName, containers: [] } };
}

const indexes = {
  node: ({ spec }: Pod) => (spec.nodeName ? [spec.nodeName] : []),
  label: ({ metadata }: Pod) => Object.entries(metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`),
};

describe('an indexed cache', () => {
  it('finds objects by key and by every value of an index', () => {
    const cache = new IndexedCache(indexes);
    const web = pod('web', 'node-a', { role: 'source', vm: 'web' });
    const db = pod('db', 'node-a');
    cache.set(web);
    cache.set(db);
    expect(cache.get('default/web')).toBe(web);
    expect(cache.list()).toEqual([web, db]);
    expect(cache.byIndex('node', 'node-a')).toEqual([web, db]);
    expect(cache.byIndex('label', 'vm=web')).toEqual([web]);
    expect(cache.byIndex('node', 'node-b')).toEqual([]);
  });

  it('forgets the old values of an object that changed', () => {
    const cache = new IndexedCache(indexes);
    cache.set(pod('web', 'node-a'));
    const moved = pod('web', 'node-b');
    cache.set(moved);
    expect(cache.byIndex('node', 'node-a')).toEqual([]);
    expect(cache.byIndex('node', 'node-b')).toEqual([moved]);
  });

  it('forgets an object that is gone', () => {
    const cache = new IndexedCache(indexes);
    cache.set(pod('web', 'node-a'));
    cache.delete('default/web');
    cache.delete('default/web');
    expect([cache.get('default/web'), cache.list(), cache.byIndex('node', 'node-a')]).toEqual([undefined, [], []]);
  });

  it('refuses an index it does not have', () => {
    expect(() => new IndexedCache(indexes).byIndex('color', 'red')).toThrow('no index "color"');
  });
});

it('makes keys of objects and references and takes them apart again', () => {
  expect(objectKey(pod('web', 'node-a'))).toBe('default/web');
  expect(objectKey({ name: 'node-a' })).toBe('node-a');
  expect(parseObjectKey('default/web')).toEqual({ namespace: 'default', name: 'web' });
  expect(parseObjectKey('node-a')).toEqual({ name: 'node-a' });
});

it('compares resourceVersions as numbers of any size', () => {
  const ordered = ['', '9', '10', '99', '100', '18446744073709551615', '18446744073709551616'];
  const shuffled = ordered.toReversed();
  expect(shuffled.toSorted(compareResourceVersions)).toEqual(ordered);
  expect(compareResourceVersions('10', '10')).toBe(0);
});
