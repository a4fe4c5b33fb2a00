/** Where the cases run: what `npm run e2e` has made ready, and hands over in the environment. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export const siteVariable = 'VMFERRY_E2E_SITE';

export interface Site {
  /** Folder for `kubectl apply -k`: the overlay with the images under test. */
  readonly kustomization: string;
  /** Image of controller and agent; it has Node, and is on every node. */
  readonly image: string;
  /** What VMs' pods run. */
  readonly qemuImage: string;
  /** Folder of the programs that run in the cluster, bundled: `console-recorder.mjs`, `bare-mover.mjs`. */
  readonly programs: string;
  /** What failed tests leave behind. */
  readonly evidence: string;
  /** How nodes are killed and started again; absent in a cluster that was not made for the tests. */
  readonly nodes?: { readonly engine: string };
}

export function readSite(): Site {
  const text = process.env[siteVariable];
  if (text === undefined) throw new Error('these tests are run by `npm run e2e`');
  return JSON.parse(text);
}

/** Runs kubectl; KUBECONFIG says where. @returns what it printed; throws with what it complained about. */
export async function kubectl(args: readonly string[], input?: string | Buffer): Promise<string> {
  const running = promisify(execFile)('kubectl', args, { maxBuffer: 64 * 1024 * 1024 });
  running.child.stdin?.on('error', () => undefined).end(input);
  return (await running).stdout;
}

/** `kubectl apply` of objects. */
export async function applyObjects(objects: readonly object[], ...options: string[]): Promise<string> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  return await kubectl([...options, 'apply', '--server-side', '--force-conflicts', '-f', '-'], JSON.stringify(list));
}
