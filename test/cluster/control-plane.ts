import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type ApiRequest, apiRequest } from './api-request.ts';
import { portIn } from './free-port.ts';
import { controlPlaneCertificates, issueCertificates, writeKubeconfig } from './identity.ts';
import { ManagedProcess } from './managed-process.ts';
import type { Place } from './network.ts';
import { until } from './waiting.ts';

/** What every program of a cluster is started with. */
export interface Surroundings {
  directory: string;
  /** Where etcd, kube-apiserver and the others are. */
  programs: string;
  env: Record<string, string>;
  /** Aborted when nothing may be started any more. */
  signal: AbortSignal;
}

export interface ControlPlane {
  server: string;
  etcdEndpoint: string;
  adminKubeconfig: string;
  request: ApiRequest;
  etcd: ManagedProcess;
  apiServer: ManagedProcess;
}

/** What the audit log tells: who wrote what, leases left out, or every request. */
export type Audited = 'writes' | 'everything';

/** Cold caches and two busy cores included; usually it takes three seconds. */
const startDeadline = 120_000;

export const certificateFolder = (directory: string) => path.join(directory, 'certificates');
export const kubeconfigFile = (directory: string, name: string) => path.join(directory, `${name}.kubeconfig`);
export const auditLog = (directory: string) => path.join(directory, 'logs', 'audit.log');
export const logFile = (directory: string, name: string) => path.join(directory, 'logs', `${name}.log`);

/** Starts etcd and the API server and returns when the API is ready. */
export async function startControlPlane(
  surroundings: Surroundings,
  place: Place,
  audited: Audited,
): Promise<ControlPlane> {
  const { directory, programs } = surroundings;
  const certificates = certificateFolder(directory);
  const [etcd] = await Promise.all([
    startEtcd(surroundings, place),
    issueCertificates(programs, certificates, controlPlaneCertificates(place.address)),
  ]);
  const apiServer = await startApiServer(surroundings, place, etcd.endpoint, audited);
  for (const name of ['admin', 'controller-manager', 'scheduler']) {
    writeKubeconfig(kubeconfigFile(directory, name), apiServer.endpoint, certificates, { certificate: name });
  }
  return {
    server: apiServer.endpoint,
    etcdEndpoint: etcd.endpoint,
    adminKubeconfig: kubeconfigFile(directory, 'admin'),
    request: apiServer.request,
    etcd: etcd.process,
    apiServer: apiServer.process,
  };
}

function startEtcd(surroundings: Surroundings, place: Place) {
  return onFreePort(place, 2379, async (port) => {
    const endpoint = `http://${place.address}:${port}`;
    const process = startProgram(surroundings, place, 'etcd', {
      'data-dir': path.join(surroundings.directory, 'etcd'),
      'listen-client-urls': endpoint,
      'advertise-client-urls': endpoint,
      'listen-peer-urls': 'http://127.0.0.1:0',
      'unsafe-no-fsync': 'true', // nothing here must survive a power cut, and disks of test machines are slow
      'log-level': 'warn',
    });
    await until(
      'etcd answers',
      startDeadline,
      async () => {
        process.assertRunning();
        return (await fetch(`${endpoint}/readyz`).catch(() => undefined))?.ok || undefined;
      },
      surroundings.signal,
    );
    return { process, endpoint };
  });
}

function startApiServer(surroundings: Surroundings, place: Place, etcdEndpoint: string, audited: Audited) {
  const certificate = (name: string) => path.join(certificateFolder(surroundings.directory), name);
  return onFreePort(place, 6443, async (port) => {
    const endpoint = `https://${place.address}:${port}`;
    const process = startProgram(surroundings, place, 'kube-apiserver', {
      'etcd-servers': etcdEndpoint,
      'bind-address': place.address,
      'advertise-address': place.address,
      'secure-port': String(port),
      'endpoint-reconciler-type': 'none', // no pod here reaches the API through the kubernetes Service
      'service-cluster-ip-range': '10.0.0.0/24',
      'audit-policy-file': auditPolicy(surroundings.directory, audited),
      'audit-log-path': auditLog(surroundings.directory),
      'authorization-mode': 'Node,RBAC',
      // The second holds in some distributions: who makes a VM's pods must be allowed to hold up the VM's deletion.
      'enable-admission-plugins': 'NodeRestriction,OwnerReferencesPermissionEnforcement',
      'anonymous-auth': 'false',
      'client-ca-file': certificate('ca.crt'),
      'tls-cert-file': certificate('apiserver.crt'),
      'tls-private-key-file': certificate('apiserver.key'),
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': certificate('service-account.key'),
      'service-account-signing-key-file': certificate('service-account.key'),
    });
    const request = apiRequest(endpoint, certificateFolder(surroundings.directory));
    await untilApiReady({ apiServer: process, request }, surroundings.signal);
    return { process, endpoint, request };
  });
}

function auditPolicy(directory: string, audited: Audited): string {
  const file = path.join(directory, 'audit-policy.json');
  const quiet = [
    { level: 'None', verbs: ['get', 'list', 'watch'] },
    { level: 'None', resources: [{ group: 'coordination.k8s.io' }] },
  ];
  const rules = [...(audited === 'writes' ? quiet : []), { level: 'Metadata' }];
  writeFileSync(
    file,
    JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules }),
  );
  return file;
}

/** Returns when the API server says that it is ready; throws when it has ended. */
export async function untilApiReady(
  { apiServer, request }: Pick<ControlPlane, 'apiServer' | 'request'>,
  signal?: AbortSignal,
): Promise<void> {
  await until(
    'the API server is ready',
    startDeadline,
    async () => {
      apiServer.assertRunning();
      return (await request('GET', '/readyz')).status === 200 || undefined;
    },
    signal,
  );
}

/** The controllers that a node, a pod and an owner reference need. The names are kube-controller-manager's own. */
const controllers = [
  'serviceaccount-controller',
  'namespace-controller',
  'node-lifecycle-controller',
  'taint-eviction-controller',
  'pod-garbage-collector-controller',
  'garbage-collector-controller',
  'disruption-controller',
];

/**
 * Starts the controller manager and returns when pods can be created, which need their namespace's service account.
 * The resources must exist by now: the garbage collector looks for new ones only every 30 s.
 */
export async function startControllerManager(
  surroundings: Surroundings,
  place: Place,
  request: ApiRequest,
): Promise<ManagedProcess> {
  const process = startProgram(surroundings, place, 'kube-controller-manager', {
    kubeconfig: kubeconfigFile(surroundings.directory, 'controller-manager'),
    controllers: controllers.join(','),
    'use-service-account-credentials': 'true', // each controller's rights are bound to its own account
    'leader-elect': 'false',
    'secure-port': '0',
    'concurrent-gc-syncs': '2',
  });
  await until(
    'the controller manager works',
    startDeadline,
    async () => {
      process.assertRunning();
      const url = '/api/v1/namespaces/default/serviceaccounts/default';
      return (await request('GET', url)).status === 200 || undefined;
    },
    surroundings.signal,
  );
  return process;
}

export function startScheduler(surroundings: Surroundings, place: Place): ManagedProcess {
  return startProgram(surroundings, place, 'kube-scheduler', {
    kubeconfig: kubeconfigFile(surroundings.directory, 'scheduler'),
    'leader-elect': 'false',
    'secure-port': '0',
  });
}

function startProgram(
  { directory, programs, env, signal }: Surroundings,
  { netns }: Place,
  name: string,
  flags: Record<string, string>,
): ManagedProcess {
  signal.throwIfAborted();
  return new ManagedProcess({
    name,
    command: path.join(programs, name),
    args: Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
    // Two cores serve this cluster and its guests: memory is cheaper here than the time that is spent on collecting it.
    env: { ...env, GOGC: '400' },
    cwd: directory,
    logFile: logFile(directory, name),
    netns,
  });
}

/** Starts a server on a port that nobody has, and on the next when somebody was faster. */
async function onFreePort<T>(place: Place, usual: number, start: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await portIn(place, usual));
    } catch (error) {
      if (place.netns || attempt === 5 || !/address already in use/.test(String(error))) throw error;
    }
  }
}
