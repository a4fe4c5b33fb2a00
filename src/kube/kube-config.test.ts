import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fromServiceAccount, loadKubeConfig } from './kube-config.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kube-config-'));
  for (const name of ['KUBECONFIG', 'KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function write(name: string, content: object): string {
  const file = path.join(folder, name);
  writeFileSync(file, JSON.stringify(content));
  return file;
}

const context = { name: 'test', context: { cluster: 'c', user: 'u', namespace: 'vms' } };
const cluster = { name: 'c', cluster: { server: 'https://10.0.0.1:6443/', 'certificate-authority': 'ca.crt' } };
const withUser = (user: object) => ({
  'current-context': 'test',
  contexts: [context],
  clusters: [cluster],
  users: [{ name: 'u', user }],
});

it('reads the current context, with paths from the file’s own folder', () => {
  const file = write('config', withUser({ 'client-certificate': 'me.crt', 'client-key-data': 'a2V5' }));
  expect(loadKubeConfig(file)).toEqual({
    server: 'https://10.0.0.1:6443',
    namespace: 'vms',
    certificateAuthority: { file: path.join(folder, 'ca.crt') },
    clientCertificate: { file: path.join(folder, 'me.crt') },
    clientKey: { data: Buffer.from('key') },
  });
});

it('prefers a token file to a token', () => {
  const file = write('config', withUser({ token: 'stale', tokenFile: 'token' }));
  expect(loadKubeConfig(file).token).toEqual({ file: path.join(folder, 'token') });
});

it('joins the files that KUBECONFIG names, the first of a name winning', () => {
  const first = write('first', { 'current-context': 'test', contexts: [context] });
  const second = write('second', { ...withUser({ token: 'secret' }), 'current-context': 'other' });
  vi.stubEnv('KUBECONFIG', [first, path.join(folder, 'missing'), second].join(path.delimiter));
  expect(loadKubeConfig()).toMatchObject({ server: 'https://10.0.0.1:6443', token: { data: Buffer.from('secret') } });
});

it('takes the service account of the pod it runs in', () => {
  vi.stubEnv('KUBERNETES_SERVICE_HOST', 'fd00::1');
  vi.stubEnv('KUBERNETES_SERVICE_PORT', '443');
  expect(loadKubeConfig()).toMatchObject({
    server: 'https://[fd00::1]:443',
    token: { file: '/var/run/secrets/kubernetes.io/serviceaccount/token' },
  });
  writeFileSync(path.join(folder, 'namespace'), 'vmferry-system\n');
  expect(fromServiceAccount('10.0.0.1', '443', folder).namespace).toBe('vmferry-system');
});

it.each([
  ['no cluster at all', () => loadKubeConfig(), 'no cluster: give --kubeconfig'],
  ['a file that is missing', () => loadKubeConfig(path.join(folder, 'missing')), 'ENOENT'],
  ['a file of something else', () => loadKubeConfig(write('config', [] as object)), 'no current-context'],
  [
    'a context that is not there',
    () => loadKubeConfig(write('config', { ...withUser({}), contexts: [] })),
    '"test" is not among the contexts',
  ],
])('refuses %s in one sentence', (_name, load, sentence) => {
  expect(load).toThrow(sentence);
});
