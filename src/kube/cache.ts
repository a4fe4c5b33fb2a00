import { type KubeObject, objectKey } from './resource.ts';

/** For one index: under which values an object is found. */
export type IndexFunction<T> = (object: T) => string[];

/** What readers see of an informer's objects. The objects are shared: readers never change them. */
export interface Cache<T extends KubeObject> {
  /** @param key as made by `objectKey` */
  get(key: string): T | undefined;
  list(): T[];
  /** @throws Error when there is no such index */
  byIndex(indexName: string, value: string): T[];
}

/** Objects by key and by indexes. */
export class IndexedCache<T extends KubeObject> implements Cache<T> {
  readonly #objects = new Map<string, T>();
  readonly #indexes: { name: string; of: IndexFunction<T>; keys: Map<string, Set<string>> }[];

  constructor(indexes: Record<string, IndexFunction<T>> = {}) {
    this.#indexes = Object.entries(indexes).map(([name, of]) => ({ name, of, keys: new Map() }));
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  byIndex(indexName: string, value: string): T[] {
    const index = this.#indexes.find(({ name }) => name === indexName);
    if (!index) throw new Error(`no index "${indexName}"`);
    const found: T[] = [];
    for (const key of index.keys.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object) found.push(object);
    }
    return found;
  }

  set(object: T): void {
    const key = objectKey(object);
    this.delete(key);
    this.#objects.set(key, object);
    for (const { of, keys } of this.#indexes) {
      for (const value of of(object)) {
        const bucket = keys.get(value);
        if (bucket) bucket.add(key);
        else keys.set(value, new Set([key]));
      }
    }
  }

  delete(key: string): void {
    const object = this.#objects.get(key);
    if (!object) return;
    this.#objects.delete(key);
    for (const { of, keys } of this.#indexes) {
      for (const value of of(object)) {
        const bucket = keys.get(value);
        bucket?.delete(key);
        if (bucket?.size === 0) keys.delete(value);
      }
    }
  }
}
