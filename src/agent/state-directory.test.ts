import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StateDirectory } from './state-directory.ts';

const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const otherPod = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

let root: string;
beforeEach(() => {
  root = join(mkdtempSync(join(tmpdir(), 'vmferry-state-')), 'state');
});
afterEach(() => rmSync(join(root, '..'), { recursive: true }));

test('of many who set a mark at once, one is told that it is new', async () => {
  const state = await StateDirectory.open(root);
  const answers = await Promise.all(Array.from({ length: 20 }, () => state.mark(podUID, 'continued-1')));
  expect(answers.filter((isNew) => isNew)).toHaveLength(1);
  expect(await state.has(podUID, 'continued-1')).toBe(true);
  expect(await state.has(podUID, 'continued-2')).toBe(false);
  expect(await state.has(otherPod, 'continued-1')).toBe(false);
});

test('marks and values outlive the agent', async () => {
  const before = await StateDirectory.open(root);
  await before.mark(podUID, 'told-1');
  await before.write(podUID, 'plan', { port: 49152 });
  const after = await StateDirectory.open(root);
  expect(await after.mark(podUID, 'told-1')).toBe(false);
  expect(await after.read(podUID, 'plan')).toEqual({ port: 49152 });
  expect(await after.list(podUID)).toEqual(['plan', 'told-1']);
});

test('nothing outlives a reboot', async () => {
  const before = await StateDirectory.open(root, 'first-boot');
  await before.mark(podUID, 'told-1');
  const after = await StateDirectory.open(root, 'second-boot');
  expect(await after.has(podUID, 'told-1')).toBe(false);
  expect(await after.podUIDs()).toEqual([]);
});

test('a value is replaced as a whole', async () => {
  const state = await StateDirectory.open(root);
  const values = Array.from({ length: 10 }, (_, number) => ({ number, filler: 'x'.repeat(number * 1000) }));
  await Promise.all(values.map((value) => state.write(podUID, 'plan', value)));
  expect(values).toContainEqual(await state.read(podUID, 'plan'));
  expect(readdirSync(join(root, podUID))).toEqual(['plan']);
});

test('an unknown value, and an unknown pod, are simply not there', async () => {
  const state = await StateDirectory.open(root);
  expect(await state.read(podUID, 'plan')).toBeUndefined();
  expect(await state.list(podUID)).toEqual([]);
  await state.remove(podUID);
});

test('forgetting one pod leaves the others, and a removal that was cut short is finished at the next start', async () => {
  const state = await StateDirectory.open(root);
  await state.mark(podUID, 'told-1');
  await state.mark(otherPod, 'told-1');
  await state.remove(podUID);
  expect(await state.podUIDs()).toEqual([otherPod]);
  mkdirSync(join(root, '.half-removed'));
  await StateDirectory.open(root);
  expect(readdirSync(root).sort()).toEqual([otherPod, 'boot-id'].sort());
});

test('only root may look', async () => {
  mkdirSync(root, { mode: 0o755 });
  const state = await StateDirectory.open(root);
  await state.mark(podUID, 'told-1');
  expect([root, join(root, podUID)].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o700]);
});

test.each(['', '.', '..', '../x', 'a/b', '.hidden', 'UPPER', 'x'.repeat(129)])(
  '%j is refused as a name',
  async (name) => {
    const state = await StateDirectory.open(root);
    await expect(state.mark(podUID, name)).rejects.toMatchObject({ code: 'InvalidStateName' });
  },
);

test.each(['..', '', 'web', `${podUID}/../x`])('%j is refused as a pod', async (bad) => {
  const state = await StateDirectory.open(root);
  await expect(state.mark(bad, 'told-1')).rejects.toMatchObject({ code: 'InvalidPodUID' });
});
