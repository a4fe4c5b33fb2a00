import { createHash } from 'node:crypto';
import { flags } from './command-line.ts';

/** What the QEMUs of one VM may be started with differently: whether they wait for a migration, and whether the guest waits. */
const mayDiffer: ReadonlySet<string> = new Set(['-S', '-incoming']);

/**
 * SHA-256 in hexadecimal of a QEMU's arguments, program first, as /proc/PID/cmdline has them, without those that may differ
 * between source and target. Equal hashes, equal machines: QEMU itself notices few differences when it loads a guest.
 */
export function argumentsHash(argv: readonly string[]): string {
  const compared = groupByOption(argv.slice(1)).filter(([option = '']) => !mayDiffer.has(option));
  return createHash('sha256').update(JSON.stringify(compared)).digest('hex');
}

/** Each option with its value: a value such as a kernel's command line may look like an option. */
function groupByOption(args: readonly string[]): string[][] {
  const groups: string[][] = [];
  for (let index = 0; index < args.length; ) {
    const length = flags.has(args[index] ?? '') ? 1 : 2;
    groups.push(args.slice(index, index + length));
    index += length;
  }
  return groups;
}
