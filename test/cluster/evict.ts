import type { KubeClient } from '../../src/kube/client.ts';
import { ApiError } from '../../src/kube/errors.ts';

export interface EvictionAnswer {
  /** 201 when the pod is evicted; 429 when it is to be tried again. */
  readonly status: number;
  readonly message: string;
}

/** Asks for the eviction of a pod, once, as `kubectl drain` does every 5 s. */
export async function evict(
  client: KubeClient,
  podName: string,
  { dryRun = false, namespace = 'default' } = {},
): Promise<EvictionAnswer> {
  const body = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: podName, namespace },
    ...(dryRun ? { deleteOptions: { dryRun: ['All'] } } : {}),
  };
  const path = `/api/v1/namespaces/${namespace}/pods/${podName}/eviction`;
  try {
    await client.transport.request({ method: 'POST', path, body, resourcePlural: 'pods' });
    return { status: 201, message: '' };
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, message: error.message };
    throw error;
  }
}
