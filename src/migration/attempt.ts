/** How an attempt is named: in QEMU, in the agents' state directories and on pods. */

/**
 * The mark that `migrate` leaves in QEMU (as `tls-hostname`, which has no effect without TLS credentials and is never asked for
 * by anybody else). `query-migrate` keeps the result of the last migration for ever, also that of the migration by which
 * the guest came here; a result without this attempt's stamp is an old one.
 */
export function attemptStamp(migrationUID: string, attempt: number): string {
  return `m-${migrationUID}-${attempt}.vmferry.invalid`;
}

/** Begins the name of everything that attempts make in QEMU, and of nothing that belongs to the VM itself. */
export const tracePrefix = 'm-';

/** What everything that one attempt makes in QEMU is named after: the name itself, or the name, a dash and more. */
export function traceName(migrationUID: string, attempt: number): string {
  return `${tracePrefix}${migrationUID.slice(0, 8)}-${attempt}`;
}

/** QEMU's object with the keys of the attempt's stream: the value of `tls-creds`. */
export function streamCredentialsID(migrationUID: string, attempt: number): string {
  return `${traceName(migrationUID, attempt)}-creds`;
}

/** The target pod of an attempt; its name alone keeps two controllers from creating two. At most 60 characters. */
export function targetPodName(virtualMachineName: string, migrationUID: string, attempt: number): string {
  return `${virtualMachineName}-m-${migrationUID.slice(0, 8)}-${attempt}`;
}

/** Names of an attempt's files in the agent's state directory of a pod. They are created once and never removed while the pod lives. */
export function attemptFiles(migrationUID: string, attempt: number) {
  const of = (what: string) => `${what}-${migrationUID}-${attempt}`;
  return {
    /** Either side: the key pairs made for it. */
    credentials: of('credentials'),
    /** Source: `migrate` is about to be issued; holds what must be remembered of the guest. */
    issued: of('issued'),
    /** Source: the transfer is to be cancelled, and why. */
    cancel: of('cancel'),
    /** Source: the target has been told, or may have been told, that it owns the guest. */
    told: of('told'),
    /** Source: the attempt has been given up; `migrate` will not be issued for it. Holds the reason. */
    aborted: of('aborted'),
    /** Either side: nothing of the attempt is left in QEMU. */
    tidied: of('tidied'),
    /** Both: the migration object as it was last seen, for an agent that comes back while the API server is away. */
    object: of('object'),
    /** Target: the source's agent has told directly; holds what it said. */
    heard: of('heard'),
    /** Target: `cont` has been sent or is about to be. */
    continued: of('continued'),
    /** Target: this QEMU will never be continued. Holds the reason, if there is one. */
    refused: of('refused'),
  };
}
