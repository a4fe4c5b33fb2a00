import { expect, test } from 'vitest';
import { fencingCommands } from './fencing-commands.ts';
import { outOfServiceTaint } from './labels.ts';

test('what would settle it is told in commands that can be copied', () => {
  const vm = { name: 'web', namespace: 'shop' };
  const annotate = 'kubectl annotate vm web -n shop --overwrite vmferry.io/fenced=pod-1';
  expect(fencingCommands({ uid: 'pod-1', nodeName: 'node-a' }, vm)).toBe(
    `Once it is certain that node-a is off: kubectl taint node node-a ${outOfServiceTaint}=nodeshutdown:NoExecute; or, for its QEMU alone: ${annotate}`,
  );
  expect(fencingCommands({ uid: 'pod-1' }, vm)).toBe(`Once it is certain that its QEMU has ended: ${annotate}`);
});
