import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { argumentsHash } from './arguments-hash.ts';
import { qemuArguments } from './command-line.ts';
import { anyAccelerator, anySpec, exampleSpec, uid } from './examples.testing.ts';
import { defineHardware } from './hardware.ts';

const booted = { incoming: false, paused: false, name: 'default/web' };
const paused = { ...booted, paused: true };
const waiting = { ...booted, incoming: true };
const program = 'qemu-system-x86_64';

const argumentsOf = (spec: object, options = booted, accelerator: 'kvm' | 'tcg' = 'tcg') =>
  qemuArguments(defineHardware({ uid, spec: { ...exampleSpec, ...spec } }, { accelerator }), options);

const optionValue = (args: readonly string[], option: string) => args[args.indexOf(option) + 1];

describe('what reaches QEMU', () => {
  test('a kernel is booted through variables, its command line literally', () => {
    const commandLine = 'console=ttyS0 a,b $HOME $(KERNEL) $$';
    const args = argumentsOf({ firmware: { kernel: { image: { hostPath: '/boot/vmlinuz' }, commandLine } } });
    expect(optionValue(args, '-kernel')).toBe('$(KERNEL)');
    expect(args).not.toContain('-initrd');
    expect(optionValue(args, '-append')).toBe('console=ttyS0 a,b $$HOME $$(KERNEL) $$$$');
  });

  test('firmware without an image is left to QEMU', () => {
    const args = argumentsOf({ firmware: { bios: {} } });
    expect(args).not.toContain('-bios');
    expect(args).not.toContain('-append');
  });

  test('a CPU whose features the node lacks is refused under KVM', () => {
    expect(optionValue(argumentsOf({}, booted, 'kvm'), '-cpu')).toBe('qemu64,enforce');
    expect(optionValue(argumentsOf({}, booted, 'tcg'), '-cpu')).toBe('qemu64');
  });

  test.each([
    ['a booted guest runs at once', booted, [], ['-S', '-incoming']],
    ['a paused one waits', paused, ['-S'], ['-incoming']],
    ['a target waits for the migration and for being continued', waiting, ['-S', '-incoming'], []],
  ])('%s', (_scenario, options, present, absent) => {
    const args = argumentsOf({}, options);
    expect(args).toEqual(expect.arrayContaining(present));
    for (const option of absent) expect(args).not.toContain(option);
  });
});

describe('the hash of running arguments', () => {
  test('is the same at source and target, and after the next move', () => {
    fc.assert(
      fc.property(anySpec, anyAccelerator, (spec, accelerator) => {
        const hardware = defineHardware({ uid, spec }, { accelerator });
        const hashes = [booted, paused, waiting].map((options) =>
          argumentsHash([program, ...qemuArguments(hardware, options)]),
        );
        return new Set(hashes).size === 1;
      }),
    );
  });

  test('does not depend on where the program lies', () => {
    expect(argumentsHash([`/usr/bin/${program}`, ...argumentsOf({})])).toBe(
      argumentsHash([program, ...argumentsOf({})]),
    );
  });

  test('differs for different machines', () => {
    fc.assert(
      fc.property(anySpec, anySpec, (a, b) => {
        const [one, other] = [a, b].map((spec) => defineHardware({ uid, spec }, { accelerator: 'tcg' }));
        if (!one || !other) return false;
        const arguments_ = [one, other].map((hardware) => qemuArguments(hardware, booted));
        const same = JSON.stringify(arguments_[0]) === JSON.stringify(arguments_[1]);
        const [hashOne, hashOther] = arguments_.map((args) => argumentsHash([program, ...args]));
        return same === (hashOne === hashOther);
      }),
    );
  });

  test('takes a kernel command line for what it is, even if it looks like an option', () => {
    const hash = (commandLine: string) => {
      const firmware = { kernel: { image: { hostPath: '/boot/vmlinuz' }, commandLine } };
      return argumentsHash([program, ...argumentsOf({ firmware })]);
    };
    expect(new Set(['', '-S', '-incoming', '-nodefaults'].map(hash)).size).toBe(4);
  });
});
