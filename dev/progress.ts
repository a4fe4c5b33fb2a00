const quietSeconds = 15;
let last = { kind: '', time: 0 };

/**
 * Prints a line about something that takes its time. Lines that differ only in their numbers replace each other on a
 * terminal; in a log they appear every 15 seconds.
 */
export function showProgress(line: string): void {
  const kind = line.replace(/\d+/g, '');
  const again = kind === last.kind;
  if (process.stdout.isTTY) {
    const upAndClear = again ? '\x1b[1A\x1b[2K' : '';
    process.stdout.write(`${upAndClear}${line.slice(0, process.stdout.columns)}\n`);
  } else {
    if (again && Date.now() - last.time < quietSeconds * 1000) return;
    process.stdout.write(`${line}\n`);
  }
  last = { kind, time: Date.now() };
}
