/** What is measured of one migration. A side that lacks a figure leaves it out. */
export const metrics = {
  wall: { label: 'wall', unit: 'ms' },
  issued: { label: 'start to `migrate` issued', unit: 'ms' },
  firstByte: { label: 'start to first byte', unit: 'ms' },
  settled: { label: 'guest runs at the target to Succeeded seen', unit: 'ms' },
  qemuDowntime: { label: "downtime by QEMU's own figure", unit: 'ms' },
  downtime: { label: 'downtime by the clock of who drives it', unit: 'ms' },
  gap: { label: "guest's own gap at the move", unit: 'ms' },
  /** How much is left to send when QEMU stops the guest is chance: only what comes on top is the driver's. */
  addedGap: { label: "  guest's gap beyond QEMU's own figure", unit: 'ms' },
  longestGap: { label: "guest's own longest gap meanwhile", unit: 'ms' },
  wireMiB: { label: 'sent by QEMU', unit: 'MiB' },
  writes: { label: 'API writes of controller and agents', unit: '' },
  progressWrites: { label: '  and of progress', unit: '' },
  platformWrites: { label: '  and of scheduler and nodes', unit: '' },
  controllerCpu: { label: 'CPU of the controller', unit: 'ms' },
  agentCpu: { label: 'CPU of both agents', unit: 'ms' },
  platformCpu: { label: 'CPU of the rest of the cluster', unit: 'ms' },
  controllerRss: { label: 'memory of the controller (RSS)', unit: 'MiB' },
  controllerPeak: { label: '  its peak', unit: 'MiB' },
  agentRss: { label: 'memory of the larger agent (RSS)', unit: 'MiB' },
  agentPeak: { label: '  its peak', unit: 'MiB' },
} as const satisfies Record<string, { label: string; unit: string }>;

export type MetricName = keyof typeof metrics;

export type Figures = { [K in MetricName]?: number };

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Undefined when there is nothing to sum up. */
export function summarize(values: readonly number[]): Summary | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const middle = sorted.length / 2;
  const [below, above] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (min === undefined || max === undefined || below === undefined || above === undefined) return undefined;
  return { median: (below + above) / 2, min, max };
}

export function summarizeMetric(runs: readonly Figures[], metric: MetricName): Summary | undefined {
  return summarize(runs.flatMap((run) => run[metric] ?? []));
}
