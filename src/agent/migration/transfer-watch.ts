/** What only somebody who watches a transfer knows: when the guest stopped, when the first byte left, how far it has come. */
import { summarize, type TransferSummary, worthPublishing } from '../../migration/progress.ts';
import type { CommandResult } from '../../qmp/commands.ts';
import type { QmpEvent } from '../../qmp/events.ts';

export class TransferWatch {
  /** Milliseconds since the epoch by this node's clock; of the latest STOP. */
  stoppedAt: number | undefined;
  firstByteAt: number | undefined;
  /** When more was last seen to have been sent; at first, when this was first looked at. Milliseconds since the epoch. */
  lastByteAt: number | undefined;
  /** QEMU was seen beyond `setup`: the target has answered. */
  handshakeDone = false;
  summary: TransferSummary | undefined;
  /** The guest stands still for the move: nothing may be done now that can wait. */
  switchingOver = false;
  /** The settings as QEMU has last told them; undefined when they must be asked for. Only this agent changes them. */
  parameters: CommandResult<'query-migrate-parameters'> | undefined;
  #published: { summary: TransferSummary; at: number } | undefined;
  #transferred = -1;
  #apiSince: number | undefined;

  /** `told` is what the object says already: progress never falls, also not after a restart. */
  constructor(told: TransferSummary | undefined) {
    this.summary = told;
  }

  /** A migration is about to be issued: what QEMU has told so far was of another. */
  begin(): void {
    this.parameters = undefined;
    this.handshakeDone = false;
    this.lastByteAt = undefined;
    this.#transferred = -1;
  }

  observe(event: QmpEvent): void {
    const at = event.timestampMilliseconds ?? Date.now();
    if (event.name === 'STOP') this.stoppedAt = at;
    if (event.name !== 'MIGRATION') return;
    if (event.data.status === 'active') this.firstByteAt ??= at;
    if (event.data.status === 'active') this.handshakeDone = true;
    if (event.data.status === 'pre-switchover') this.switchingOver = true;
    if (event.data.status === 'failed' || event.data.status === 'cancelled') this.switchingOver = false;
  }

  update(migration: CommandResult<'query-migrate'>): void {
    const { ram, 'expected-downtime': expectedDowntime, status = 'none' } = migration;
    if (!['none', 'setup', 'cancelling', 'cancelled', 'failing', 'failed'].includes(status)) this.handshakeDone = true;
    if (ram === undefined) return;
    if (ram.transferred !== this.#transferred) this.lastByteAt = Date.now();
    this.#transferred = ram.transferred;
    this.summary = summarize(
      {
        ...(expectedDowntime === undefined ? {} : { expectedDowntime }),
        ram: {
          total: ram.total,
          transferred: ram.transferred,
          remaining: ram.remaining,
          mbps: ram.mbps,
          pageSize: ram['page-size'],
          dirtyPagesRate: ram['dirty-pages-rate'],
          iteration: ram['dirty-sync-count'],
        },
      },
      this.summary,
    );
  }

  /** Since when the API server has answered without a break; nothing while it does not. */
  apiSince(answers: boolean, now: number): { apiSince?: number } {
    this.#apiSince = answers ? (this.#apiSince ?? now) : undefined;
    return this.#apiSince === undefined ? {} : { apiSince: this.#apiSince };
  }

  /** The summary, if it is time to write one; it then counts as written. */
  due(startedAt: number, now: number): TransferSummary | undefined {
    const { summary } = this;
    if (summary === undefined || !worthPublishing(summary, this.#published, startedAt, now)) return undefined;
    this.#published = { summary, at: now };
    return summary;
  }
}
