import { describe, expect, test } from 'vitest';
import { expandVariables } from './expansion.ts';
import { planLaunch, toHostPath } from './launch-plan.ts';
import { examplePod } from './pod.testing.ts';

describe('variables', () => {
  const variables = new Map([
    ['KERNEL', '/boot/vmlinuz'],
    ['EMPTY', ''],
  ]);
  test.each([
    ['a reference', '$(KERNEL)', '/boot/vmlinuz'],
    ['one within a text', 'file=$(KERNEL),ro', 'file=/boot/vmlinuz,ro'],
    ['an empty value', 'a$(EMPTY)b', 'ab'],
    ['an unknown name stays', '$(NOPE)', '$(NOPE)'],
    ['two dollars are one', '$$', '$'],
    ['a doubled dollar hides a reference', '$$(KERNEL)', '$(KERNEL)'],
    ['three dollars: one, and a reference', '$$$(KERNEL)', '$/boot/vmlinuz'],
    ['a lone dollar stays', 'a$b $', 'a$b $'],
    ['a reference without an end stays', '$(KERNEL', '$(KERNEL'],
    ['what a value holds is not looked at again', '$(X)', '$$(KERNEL)'],
  ])('%s', (_scenario, text, expanded) => {
    expect(expandVariables(text, new Map([...variables, ['X', '$$(KERNEL)']]))).toBe(expanded);
  });
});

test('a path goes to the volume with the longest mount path that it lies in', () => {
  const mounts = [
    { mountPath: '/data', hostPath: '/a' },
    { mountPath: '/data/disk', hostPath: '/b' },
  ];
  const paths = ['/data', '/data/x', '/data/disk/x', '/database', '/other'];
  expect(paths.map((each) => toHostPath(each, mounts))).toEqual(['/a', '/a/x', '/b/x', '/database', '/other']);
});

test('a VM’s pod becomes a process in its run volume, with the host’s files', () => {
  const pod = examplePod(
    {
      command: ['qemu-system-x86_64'],
      args: ['-kernel', '$(KERNEL)', '-append', 'root=$$(KERNEL)'],
      env: [
        { name: 'KERNEL', value: '/vmferry/kernel' },
        { name: 'COPY', value: '$(KERNEL).old' },
        { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      ],
      volumeMounts: [
        { name: 'run', mountPath: '/vmferry/run' },
        { name: 'kernel', mountPath: '/vmferry/kernel', readOnly: true },
      ],
    },
    {
      volumes: [
        { name: 'run', emptyDir: {} },
        { name: 'kernel', hostPath: { path: '/boot/vmlinuz', type: 'File' } },
      ],
    },
  );
  expect(planLaunch(pod, { podFolder: '/root/pods/uid', address: '10.0.0.1' })).toEqual({
    folders: ['/root/pods/uid/volumes/kubernetes.io~empty-dir/run'],
    workingDirectory: '/root/pods/uid/volumes/kubernetes.io~empty-dir/run',
    argv: ['qemu-system-x86_64', '-kernel', '/boot/vmlinuz', '-append', 'root=$(KERNEL)'],
    environment: { KERNEL: '/boot/vmlinuz', COPY: '/boot/vmlinuz.old', POD_IP: '10.0.0.1' },
  });
});
