import { readFile } from 'node:fs/promises';

/** One answered request, as far as somebody here asks for it: `audit.k8s.io/v1`. Of a watch there are two, from its begin and its end. */
export interface AuditEntry {
  verb: string;
  user: { username: string };
  /** Absent for what is no object, such as /readyz. */
  objectRef?: { apiGroup?: string; resource?: string; subresource?: string; namespace?: string; name?: string };
  responseStatus?: { code?: number };
}

/** What is in a cluster's audit log by now. */
export async function readAuditLog(auditLog: string): Promise<AuditEntry[]> {
  const lines = (await readFile(auditLog, 'utf8')).split('\n');
  return lines.filter(Boolean).map((line) => JSON.parse(line) as AuditEntry);
}
