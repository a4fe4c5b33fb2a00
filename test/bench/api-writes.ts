/** How often somebody has written to the API server, by its own count. */

/** `PATCH virtualmachines/status`, or `PATCH virtualmachines/status refused (409)` → number of requests. */
export type ApiWrites = Readonly<Record<string, number>>;

const readingVerbs = new Set(['GET', 'LIST', 'WATCH', 'CONNECT']);
/** Written as time passes, not because something moves; and questions that are asked by POST. */
const timeKeepers = /^(leases|nodes|nodes\/status|tokenreviews|subjectaccessreviews|serviceaccounts\/token)$/;

/** Reads the text of the API server's `/metrics`. */
export function readApiWrites(metrics: string): ApiWrites {
  const writes: Record<string, number> = {};
  for (const [, labels = '', count = ''] of metrics.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const { verb = '', resource = '', subresource = '', code = '' } = readLabels(labels);
    const target = subresource === '' ? resource : `${resource}/${subresource}`;
    if (readingVerbs.has(verb) || timeKeepers.test(target)) continue;
    const key = `${verb} ${target}${code.startsWith('2') ? '' : ` refused (${code})`}`;
    writes[key] = (writes[key] ?? 0) + Number(count);
  }
  return writes;
}

function readLabels(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
}

export function writesBetween(before: ApiWrites, after: ApiWrites): ApiWrites {
  const grown = Object.entries(after).map(([key, count]) => [key, count - (before[key] ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, count]) => count > 0));
}

export function total(writes: ApiWrites): number {
  return Object.values(writes).reduce((sum, count) => sum + count, 0);
}
