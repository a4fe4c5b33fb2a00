import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StateDirectory } from '../state-directory.ts';
import { AttemptCredentials } from './attempt-credentials.ts';

const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const otherPod = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const migrationUID = '3d813cbb-47fb-32ba-91df-831e1593ac29';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vmferry-credentials-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const agent = async () => new AttemptCredentials(await StateDirectory.open(root));

test('many who ask at once are given the same keys', async () => {
  const credentials = await agent();
  const answers = await Promise.all(Array.from({ length: 10 }, () => credentials.of(podUID, migrationUID, 1)));
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
});

test('a restarted agent has the same keys', async () => {
  const before = await (await agent()).of(podUID, migrationUID, 1);
  expect(await (await agent()).of(podUID, migrationUID, 1)).toEqual(before);
});

test('each attempt, each side and each of the two uses has a key of its own', async () => {
  const credentials = await agent();
  const all = await Promise.all([
    credentials.of(podUID, migrationUID, 1),
    credentials.of(podUID, migrationUID, 2),
    credentials.of(otherPod, migrationUID, 1),
  ]);
  const keys = all.flatMap(({ stream, handover }) => [stream.privateKey, handover.privateKey]);
  expect(new Set(keys).size).toBe(6);
});

test('the certificates carry the stamp of the attempt', async () => {
  const { stream, handover } = await (await agent()).of(podUID, migrationUID, 3);
  const names = [stream, handover].map(({ certificate }) => new X509Certificate(certificate).subjectAltName);
  expect(names).toEqual(Array(2).fill(`DNS:m-${migrationUID}-3.vmferry.invalid`));
});

test('keys that could not be kept are not given', async () => {
  const state = await StateDirectory.open(root);
  const credentials = new AttemptCredentials(state);
  vi.spyOn(state, 'write').mockRejectedValueOnce(new Error('ENOSPC'));
  await expect(credentials.of(podUID, migrationUID, 1)).rejects.toThrow('ENOSPC');
  const given = await credentials.of(podUID, migrationUID, 1);
  expect(await (await agent()).of(podUID, migrationUID, 1)).toEqual(given);
});
