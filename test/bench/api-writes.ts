/** Who has written what to the API server, by its audit log. */
import { readAuditLog } from '../cluster/audit-log.ts';

/** `vmferry: PATCH virtualmachines/status`, or with ` refused (409)` → number of requests. */
export type ApiWrites = Readonly<Record<string, number>>;

const ours = 'vmferry';
const writers: readonly [prefix: string, writer: string][] = [
  ['system:serviceaccount:vmferry-system:', ours],
  ['system:kube-scheduler', 'scheduler'],
  ['system:node:', 'node'],
];

/** The log so far; the policy leaves reads and leases out. */
export async function readApiWrites(auditLog: string): Promise<ApiWrites> {
  const writes: Record<string, number> = {};
  for (const { verb, user, objectRef = {}, responseStatus } of await readAuditLog(auditLog)) {
    const writer = writers.find(([prefix]) => user.username.startsWith(prefix))?.[1];
    if (writer === undefined) continue;
    const { resource = '', subresource } = objectRef;
    const refused = (responseStatus?.code ?? 200) < 300 ? '' : ` refused (${responseStatus?.code})`;
    const key = `${writer}: ${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${refused}`;
    writes[key] = (writes[key] ?? 0) + 1;
  }
  return writes;
}

export function writesBetween(before: ApiWrites, after: ApiWrites): ApiWrites {
  const grown = Object.entries(after).map(([key, count]) => [key, count - (before[key] ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, count]) => count > 0));
}

/** Of the controller and the agents, refused ones included; and of the scheduler and the nodes. */
export function countByWriter(writes: ApiWrites): { own: number; others: number } {
  const counts = Map.groupBy(Object.entries(writes), ([key]) => key.startsWith(ours));
  const sum = (own: boolean) => (counts.get(own) ?? []).reduce((total, [, count]) => total + count, 0);
  return { own: sum(true), others: sum(false) };
}
