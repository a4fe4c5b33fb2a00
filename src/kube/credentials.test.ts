import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
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

it('reads a token file again when what it read is a minute old: the kubelet replaces it long before it expires', async () => {
  const file = path.join(folder, 'token');
  writeFileSync(file, 'first');
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const source = new CredentialSource({ ...cluster, token: { file } });
    const read = async () => (await source.read()).headers.authorization;
    expect(await read()).toBe('Bearer first');
    writeFileSync(file, 'second');
    vi.advanceTimersByTime(59_000);
    expect(await read()).toBe('Bearer first');
    vi.advanceTimersByTime(1_000);
    expect(await read()).toBe('Bearer second');
  } finally {
    vi.useRealTimers();
  }
});
