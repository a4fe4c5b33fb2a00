import { expect, test } from 'vitest';
import { parseFlags } from './flags.ts';

test('an image is enough', () => {
  expect(parseFlags(['--qemu-image', 'qemu:1'])).toEqual({
    kubeconfig: undefined,
    accelerator: 'kvm',
    qemuImage: 'qemu:1',
    namespace: 'vmferry-system',
    leaderElect: true,
    healthPort: 0,
    webhookPort: 0,
    webhookAddress: 'vmferry-webhook.vmferry-system.svc',
    migrationLimits: { perCluster: 5, outboundPerNode: 2, inboundPerNode: 2 },
  });
});

test('everything can be said', () => {
  const args = '--qemu-image=i --kubeconfig k --accelerator=tcg --namespace n --no-leader-elect --health-port 8081';
  const device = '--kvm-resource=devices.kubevirt.io/kvm';
  const webhook = '--webhook-port 9444 --webhook-address 10.0.0.1';
  const limits = '--max-migrations=9 --max-outbound-migrations 3 --max-inbound-migrations=4';
  expect(parseFlags(`${args} ${device} ${webhook} ${limits}`.split(' '))).toEqual({
    kubeconfig: 'k',
    accelerator: 'tcg',
    qemuImage: 'i',
    kvmResource: 'devices.kubevirt.io/kvm',
    namespace: 'n',
    leaderElect: false,
    healthPort: 8081,
    webhookPort: 9444,
    webhookAddress: '10.0.0.1',
    migrationLimits: { perCluster: 9, outboundPerNode: 3, inboundPerNode: 4 },
  });
});

test('the webhook is called by its Service of the namespace', () => {
  expect(parseFlags(['--qemu-image=i', '--namespace=n'])?.webhookAddress).toBe('vmferry-webhook.n.svc');
});

test('asking for help asks for nothing else', () => {
  expect(parseFlags(['--help'])).toBeUndefined();
});

test.each([
  [['--qemu-image', 'i', '--accelerator', 'xen'], '--accelerator must be kvm or tcg, not "xen".'],
  [[], '--qemu-image is required: the container image of the VM pods.'],
  [['--qemu-image', 'i', '--health-port', '-1'], /--health-port/],
  [['--qemu-image', 'i', '--health-port=70000'], '--health-port must be a port number from 0 to 65535, not "70000".'],
  [['--qemu-image', 'i', '--webhook-port=https'], '--webhook-port must be a port number from 0 to 65535, not "https".'],
  [['--qemu-image', 'i', '--max-migrations=0'], '--max-migrations must be a whole number from 1 to 9999, not "0".'],
  [['--qemu-image', 'i', '--kvm-resource=kvm'], /^--kvm-resource must be the name of a device plugin's resource, not/],
  [['--qemu-image', 'i', '--colour'], "Unknown option '--colour'."],
  [['--qemu-image', 'i', 'more'], /^Unexpected argument 'more'\.$/],
])('%j is refused in one sentence', (args, message) => {
  expect(() => parseFlags(args)).toThrow(message);
});
