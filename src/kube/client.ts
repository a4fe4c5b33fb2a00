import { ApiError, isExpired, type Status } from './errors.ts';
import type { Draft, KubeObject, ObjectMeta, ObjectRef, Resource } from './resource.ts';
import type { ApiRequest, KubeTransport } from './transport.ts';

export type JsonPatchOperation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string };

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

export interface WriteOptions extends CallOptions {
  subresource?: 'status';
}

/** Which objects of a resource; everywhere and all when absent. */
export interface Selection {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface DeleteOptions extends CallOptions {
  /** Preconditions: another object of that name, or another version of it, is left alone (`Conflict`). */
  uid?: string;
  resourceVersion?: string;
  gracePeriodSeconds?: number;
}

export interface WatchOptions extends Selection, CallOptions {
  /** Everything after this version is delivered; the version a list returned. */
  resourceVersion: string;
  /** The server ends the watch after this time. */
  timeoutSeconds?: number;
  /** Nothing, not even a bookmark, for so long means that the connection is dead; 180,000 when absent. */
  idleTimeoutMilliseconds?: number;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

const pageSize = 500;
/** The server sends a bookmark about once a minute. */
const defaultIdleTimeoutMilliseconds = 180_000;

interface ListAnswer<T> {
  metadata: { resourceVersion: string; continue?: string };
  items: T[] | null;
}

/**
 * Typed calls to the API server. Objects come without `metadata.managedFields`, which is half their size and used by nobody here,
 * and with `apiVersion` and `kind`, which the server leaves out of the items of lists.
 */
export class KubeClient {
  readonly transport: KubeTransport;

  constructor(transport: KubeTransport) {
    this.transport = transport;
  }

  get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options: CallOptions = {}): Promise<T> {
    return this.#object(resource, { method: 'GET', path: objectPath(resource, ref), signal: options.signal });
  }

  /** All pages of a list. Items from different pages are of the same moment, that of `resourceVersion`. */
  async list<T extends KubeObject>(
    resource: Resource<T>,
    options: Selection & CallOptions = {},
  ): Promise<{ items: T[]; resourceVersion: string }> {
    try {
      return await this.#pages(resource, options, pageSize);
    } catch (error) {
      // The server forgot the list's moment between two pages: take it in one.
      if (isExpired(error)) return await this.#pages(resource, options, 0);
      throw error;
    }
  }

  create<T extends KubeObject>(resource: Resource<T>, object: Draft<T>, options: CallOptions = {}): Promise<T> {
    const path = collectionPath(resource, object.metadata.namespace);
    return this.#object(resource, { method: 'POST', path, body: object, signal: options.signal });
  }

  /** Compare-and-swap when the object carries the `resourceVersion` it was read with: `Conflict` if it has changed since. */
  replace<T extends KubeObject>(resource: Resource<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name = '', namespace } = object.metadata;
    const path = objectPath(resource, namespace === undefined ? { name } : { name, namespace }, options.subresource);
    return this.#object(resource, { method: 'PUT', path, body: object, signal: options.signal });
  }

  /** All operations or none. A `test` that fails is refused as `Invalid`. */
  jsonPatch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    operations: readonly JsonPatchOperation[],
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#patch(resource, ref, 'application/json-patch+json', operations, options);
  }

  /**
   * A `metadata.resourceVersion` in the patch must be the current one (`Conflict`). A `metadata.uid` guards only the object itself
   * (`Invalid`): for the status of a custom resource the server accepts a wrong one. Use a JSON patch with a `test` there.
   */
  mergePatch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    patch: object,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#patch(resource, ref, 'application/merge-patch+json', patch, options);
  }

  async delete<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    options: DeleteOptions = {},
  ): Promise<void> {
    const { uid, resourceVersion, gracePeriodSeconds, signal } = options;
    const preconditions = { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) };
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(Object.keys(preconditions).length > 0 && { preconditions }),
      ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
    };
    const path = objectPath(resource, ref);
    await this.transport.request({ method: 'DELETE', path, body, resourcePlural: resource.plural, signal });
  }

  /**
   * Every change after `resourceVersion`, as it happens. Ends when the server ends the watch; rejects like every call, also with
   * what the server reports within the stream (`Expired`). Stop it by the signal or by leaving the loop.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const query = selectionQuery(options);
    query.set('watch', 'true');
    query.set('allowWatchBookmarks', 'true');
    query.set('resourceVersion', options.resourceVersion);
    if (options.timeoutSeconds !== undefined) query.set('timeoutSeconds', String(options.timeoutSeconds));
    const path = collectionPath(resource, options.namespace);
    const call: ApiRequest = { method: 'GET', path, query, resourcePlural: resource.plural, signal: options.signal };
    const idleTimeout = options.idleTimeoutMilliseconds ?? defaultIdleTimeoutMilliseconds;
    let rest = '';
    for await (const text of this.transport.stream(call, idleTimeout)) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield readWatchEvent(resource, line);
    }
  }

  async #pages<T extends KubeObject>(
    resource: Resource<T>,
    options: Selection & CallOptions,
    limit: number,
  ): Promise<{ items: T[]; resourceVersion: string }> {
    const path = collectionPath(resource, options.namespace);
    const query = selectionQuery(options);
    if (limit > 0) query.set('limit', String(limit));
    const items: T[] = [];
    for (;;) {
      const { signal } = options;
      const call: ApiRequest = { method: 'GET', path, query, resourcePlural: resource.plural, signal };
      const page = await this.transport.request<ListAnswer<T>>(call);
      for (const item of page.items ?? []) items.push(adopt(resource, item));
      if (!page.metadata.continue) return { items, resourceVersion: page.metadata.resourceVersion };
      query.set('continue', page.metadata.continue);
    }
  }

  #patch<T extends KubeObject>(
    resource: Resource<T>,
    ref: ObjectRef,
    contentType: string,
    body: object,
    options: WriteOptions,
  ): Promise<T> {
    const path = objectPath(resource, ref, options.subresource);
    return this.#object(resource, { method: 'PATCH', path, body, contentType, signal: options.signal });
  }

  async #object<T extends KubeObject>(resource: Resource<T>, call: Omit<ApiRequest, 'resourcePlural'>): Promise<T> {
    const object = await this.transport.request<T>({ ...call, resourcePlural: resource.plural });
    return adopt(resource, object);
  }
}

function collectionPath(resource: Resource<KubeObject>, namespace: string | undefined): string {
  const { group, version, plural, namespaced } = resource;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespaced && namespace
    ? `${root}/namespaces/${encodeURIComponent(namespace)}/${plural}`
    : `${root}/${plural}`;
}

function objectPath(resource: Resource<KubeObject>, ref: ObjectRef, subresource?: string): string {
  // Without these the path would name the collection, and a delete would empty it.
  if (ref.name === '') throw new TypeError(`a ${resource.kind} without a name`);
  if (resource.namespaced && !ref.namespace) throw new TypeError(`${resource.kind} ${ref.name} without a namespace`);
  const path = `${collectionPath(resource, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return subresource ? `${path}/${subresource}` : path;
}

function selectionQuery({ labelSelector, fieldSelector }: Selection): URLSearchParams {
  const query = new URLSearchParams();
  if (labelSelector) query.set('labelSelector', labelSelector);
  if (fieldSelector) query.set('fieldSelector', fieldSelector);
  return query;
}

function readWatchEvent<T extends KubeObject>(resource: Resource<T>, line: string): WatchEvent<T> {
  let event: { type: string; object: unknown };
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw new ApiError(0, 'ConnectionFailed', `watching ${resource.plural}: a line is no JSON`, { cause: error });
  }
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event.type, object: adopt(resource, event.object as T) };
    case 'BOOKMARK':
      return { type: 'BOOKMARK', resourceVersion: (event.object as T).metadata.resourceVersion ?? '' };
    case 'ERROR': {
      const status = event.object as Status;
      throw ApiError.fromStatus(status.code ?? 500, status);
    }
    default:
      throw new ApiError(0, 'ConnectionFailed', `watching ${resource.plural}: unknown event type ${event.type}`);
  }
}

function adopt<T extends KubeObject>(resource: Resource<T>, object: T): T {
  object.apiVersion ??= resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
  object.kind ??= resource.kind;
  const metadata: ObjectMeta & { managedFields?: unknown } = object.metadata;
  delete metadata.managedFields;
  return object;
}
