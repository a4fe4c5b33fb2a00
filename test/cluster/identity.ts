import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

/** Kubernetes reads a client's user from the common name and its groups from the organizations. */
interface CertificateRequest {
  name: string;
  commonName: string;
  organizations?: string[];
  /** Makes it a server's certificate for these names and IP addresses. */
  addresses?: string[];
}

/** Writes `<name>.crt` and `<name>.key` for each request, and on the first call the authority that signs them. */
export async function issueCertificates(
  programs: string,
  folder: string,
  requests: CertificateRequest[],
): Promise<void> {
  const issuing = promisify(execFile)(path.join(programs, 'vmferry-certs'), [folder]);
  issuing.child.stdin?.end(JSON.stringify(requests));
  await issuing;
}

/** The certificates that exist from the start; each node's follows when the node is added. */
export const controlPlaneCertificates = (address: string): CertificateRequest[] => [
  { name: 'apiserver', commonName: 'kube-apiserver', addresses: [address, '127.0.0.1', 'localhost'] },
  { name: 'admin', commonName: 'admin', organizations: ['system:masters'] },
  { name: 'controller-manager', commonName: 'system:kube-controller-manager' },
  { name: 'scheduler', commonName: 'system:kube-scheduler' },
];

/** What a kubelet is to the Node authorizer and to NodeRestriction. */
export const nodeCertificate = (node: string): CertificateRequest => ({
  name: `node-${node}`,
  commonName: `system:node:${node}`,
  organizations: ['system:nodes'],
});

/** A user of a kubeconfig: a certificate in the cluster's folder of certificates, or a token. */
type User = { certificate: string } | { token: string };

/** Writes a kubeconfig that holds all it needs, so that it works wherever it is copied to. */
export function writeKubeconfig(file: string, server: string, certificates: string, user: User): void {
  const base64 = (name: string) => readFileSync(path.join(certificates, name)).toString('base64');
  const credentials =
    'token' in user
      ? { token: user.token }
      : {
          'client-certificate-data': base64(`${user.certificate}.crt`),
          'client-key-data': base64(`${user.certificate}.key`),
        };
  const name = 'vmferry';
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64('ca.crt') } }],
    users: [{ name, user: credentials }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  writeFileSync(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
}
