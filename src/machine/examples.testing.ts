/** VirtualMachine specs as the API server lets them pass. */
import fc from 'fast-check';
import type { VirtualMachineSpec } from '../api/virtual-machine.gen.ts';

export const uid = '0f8fad5b-d9cb-469f-a165-70867728950e';

export const exampleSpec: VirtualMachineSpec = {
  memory: '256Mi',
  cpu: { cores: 2 },
  firmware: {
    kernel: { image: { hostPath: '/boot/vmlinuz' }, initrd: { hostPath: '/boot/initrd' }, commandLine: 'quiet' },
  },
  networks: [{ name: 'default', podNetwork: {} }],
};

const file = fc.oneof(
  fc.stringMatching(/^\/[^,$\0]{1,40}$/).map((hostPath) => ({ hostPath })),
  fc.constantFrom('vmlinuz', 'initrd').map((key) => ({ configMap: { name: 'guest', key } })),
  fc.stringMatching(/^[^/,$\0][^,$\0]{0,40}$/).map((path) => ({ persistentVolumeClaim: { claimName: 'guest', path } })),
);
/** No argument of a program holds a zero byte. */
const text = fc.string({ maxLength: 60 }).map((characters) => characters.replaceAll('\0', ' '));
const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/);
const macAddress = fc.stringMatching(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);

const firmware = fc.oneof(
  fc.record({
    kernel: fc.record({ image: file, initrd: file, commandLine: text }, { requiredKeys: ['image'] }),
  }),
  fc.record({ bios: fc.record({ image: file }, { requiredKeys: [] }) }),
);

const network = fc.record({ name, macAddress, podNetwork: fc.constant({}) }, { requiredKeys: ['name', 'podNetwork'] });

export const anySpec: fc.Arbitrary<VirtualMachineSpec> = fc.record(
  {
    memory: fc.integer({ min: 1, max: 2 ** 24 }).map((mebibytes) => `${mebibytes}Mi`),
    cpu: fc.record({ cores: fc.integer({ min: 1, max: 256 }), model: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/) }),
    machineType: fc.constantFrom('q35', 'pc-q35-8.0'),
    firmware,
    networks: fc.uniqueArray(network, { maxLength: 8, selector: (each) => each.name }),
    terminationGracePeriodSeconds: fc.integer({ min: 0, max: 86_400 }),
  },
  { requiredKeys: ['memory', 'firmware'] },
);

export const anyAccelerator = fc.constantFrom('kvm' as const, 'tcg' as const);
