import type { KubeClient } from './client.ts';
import type { KubeObject } from './resource.ts';

export interface EventSource {
  /** For example `vmferry.io/controller`. */
  readonly reportingController: string;
  /** The pod's or host's name. */
  readonly reportingInstance: string;
}

export interface EventOptions {
  related?: KubeObject;
  /** What was done, as one CamelCase word; the reason when absent. */
  action?: string;
}

export declare class EventRecorder implements AsyncDisposable {
  constructor(client: KubeClient, source: EventSource);
  event(regarding: KubeObject, type: 'Normal' | 'Warning', reason: string, note: string, options?: EventOptions): void;
  /** Resolves when what was recorded so far is written or given up. */
  flush(signal?: AbortSignal): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
