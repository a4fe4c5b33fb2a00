import type { QmpConnection } from '../../qmp/connection.ts';

/** The API's bounds: a guest that broke out of its QEMU decides what that QEMU says. */
const mostBlockers = 16;
const longestBlocker = 512;

/**
 * Why QEMU would refuse to migrate now, one sentence each, cut to what the API takes.
 * @throws QmpError
 */
export async function readBlockers(connection: QmpConnection): Promise<string[]> {
  const { 'blocked-reasons': reasons = [] } = await connection.execute('query-migrate');
  return reasons.slice(0, mostBlockers).map((reason) => reason.slice(0, longestBlocker));
}
