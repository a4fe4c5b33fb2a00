/** What every object of the API has, as JSON delivers it: times are strings. */
export interface ObjectMeta {
  name?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
}

interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object on its way to the server, which fills in the rest of the metadata. */
export type Draft<T extends KubeObject> = Omit<T, 'metadata' | 'apiVersion' | 'kind'> & KubeObject;

/** Where the API keeps one kind of object. `group` is empty for the core group. */
export interface Resource<T extends KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Carries the object's type at compile time only. */
  readonly __type?: T;
}

export function defineResource<T extends KubeObject>(resource: Omit<Resource<T>, '__type'>): Resource<T> {
  return resource;
}

export interface ObjectRef {
  namespace?: string;
  name: string;
}

/** `namespace/name`, or `name` for an object without a namespace: the key of caches and work queues. */
export function objectKey(object: { metadata: ObjectMeta } | ObjectRef): string {
  const { namespace, name } = 'metadata' in object ? object.metadata : object;
  return namespace ? `${namespace}/${name}` : (name ?? '');
}

export function parseObjectKey(key: string): ObjectRef {
  const slash = key.indexOf('/');
  return slash === -1 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/**
 * Orders two resourceVersions of one resource: negative when `a` is older. They are decimal numbers of any length in every
 * supported server, without leading zeros, so the longer one is the larger.
 */
export function compareResourceVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
