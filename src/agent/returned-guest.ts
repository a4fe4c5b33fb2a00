/**
 * A state file of a pod: a migration gave this guest back while it stood still (paused by its owner, or io-error). QEMU then leaves
 * it in `postmigrate`, the state in which a guest that has moved away must never be continued. With this note it is the VM all
 * the same, and may be continued like any paused guest. Taken back before the next `migrate`.
 */
export const returnedGuest = 'returned-guest';
