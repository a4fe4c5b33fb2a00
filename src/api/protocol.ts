/**
 * What controller and agents of different releases agree on. A release speaks all versions from its oldest to its newest, publishes
 * both, and is refused by whoever has none in common with it. What is published is never inferred from a release's number.
 */

export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
}

/**
 * Raise `newest` when what one party writes into a migration, or says to the other agent, means something else to one that does not
 * know of it; `oldest` a release later, when nothing speaks it any more.
 */
export const protocol: ProtocolRange = { oldest: 1, newest: 1 };
