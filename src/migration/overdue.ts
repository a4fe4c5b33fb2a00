/**
 * The deadlines of a transfer. They count only while the source's agent watches, and the owner's own also only while the API
 * server answers: after an outage they begin anew.
 */

import type { Cause } from './cause.ts';
import { limits } from './limits.ts';

/** Milliseconds since the epoch, by the source node's clock. */
export interface TransferClock {
  /** Since when this agent process watches. */
  watchedSince: number;
  /** Since when the API server has answered without a break; undefined while it does not. */
  apiSince?: number;
  /** When QEMU was last seen to have sent something; undefined when that is not known yet. */
  lastByteAt?: number;
  /** QEMU was seen beyond `setup`: the target has answered. */
  handshakeDone: boolean;
  timeoutMilliseconds: number;
}

/** Why a transfer in this state of `query-migrate`, issued at this time, is to be given up; undefined when it may go on. */
export function overdue(
  migration: string,
  issuedAt: number,
  { now, clock }: { now: number; clock: TransferClock },
): Cause | undefined {
  const begun = Math.max(issuedAt, clock.watchedSince);
  if (clock.apiSince !== undefined && now - Math.max(begun, clock.apiSince) > clock.timeoutMilliseconds) {
    const seconds = Math.round(clock.timeoutMilliseconds / 1000);
    return {
      reason: 'TransferTimedOut',
      message: `The transfer did not end within ${seconds} s. Raise spec.transfer.timeout, spec.transfer.maxBandwidth or spec.transfer.maxDowntime.`,
    };
  }
  if (migration === 'setup' && now - begun > limits.setup) {
    return {
      reason: 'TransferStuckInSetup',
      message: `QEMU did not begin to send within ${limits.setup / 1000} s. Can the source node reach the target's migration port?`,
    };
  }
  // In `device` the guest stands still until the target has loaded what was sent last.
  const limit = { active: limits.stall, device: limits.deviceStall }[migration];
  return limit === undefined ? undefined : stalled({ now, clock }, limit);
}

/** QEMU has sent nothing for so long, in milliseconds. */
export function stalled(
  { now, clock }: { now: number; clock: TransferClock },
  limit: number = limits.stall,
): Cause | undefined {
  const { lastByteAt, watchedSince } = clock;
  if (lastByteAt === undefined || now - Math.max(watchedSince, lastByteAt) <= limit) return undefined;
  return {
    reason: 'TransferStalled',
    message: `QEMU has sent nothing for ${limit / 1000} s. Is the network between the two nodes cut?`,
  };
}
