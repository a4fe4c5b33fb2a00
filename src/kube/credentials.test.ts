import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CredentialSource } from './credentials.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'credentials-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const cluster = { server: 'https://10.0.0.1:6443', namespace: 'default' };

it('asks the credential plugin that the kubeconfig names', async () => {
  const command = path.join(folder, 'plugin');
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token: 'from-the-plugin' },
  };
  writeFileSync(command, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`);
  chmodSync(command, 0o755);
  const source = new CredentialSource({ ...cluster, plugin: { exec: { apiVersion: credential.apiVersion, command } } });
  expect((await source.read()).headers).toEqual({ authorization: 'Bearer from-the-plugin' });
});

it('says which plugin failed', async () => {
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: path.join(folder, 'missing') };
  await expect(new CredentialSource({ ...cluster, plugin: { exec } }).read()).rejects.toThrow(/missing/);
});

it('reads a token file again after the API server refused the token', async () => {
  const file = path.join(folder, 'token');
  writeFileSync(file, 'first\n');
  const source = new CredentialSource({ ...cluster, token: { file } });
  expect((await source.read()).headers).toEqual({ authorization: 'Bearer first' });
  writeFileSync(file, 'second\n');
  source.forget();
  expect((await source.read()).headers).toEqual({ authorization: 'Bearer second' });
});
