import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** The kubelet's bounds on a termination message that is taken from a log. */
const maxBytes = 2048;
const maxLines = 80;

/** The end of a log file: what Kubernetes shows of a container that failed. Empty when there is no such file. */
export function readTail(file: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return '';
  }
  try {
    const { size } = fstatSync(descriptor);
    const buffer = Buffer.alloc(Math.min(size, maxBytes));
    const length = readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
    const lines = buffer.toString('utf8', 0, length).split(/(?<=\n)/);
    return lines.slice(-maxLines).join('');
  } finally {
    closeSync(descriptor);
  }
}
