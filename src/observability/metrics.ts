/** What Prometheus asks of both processes. */
import { Gauge, Registry } from 'prom-client';

/**
 * One registry for each process: the one that the library shares by default would be shared by tests as well. Of the library's own
 * metrics of the process the two that are asked for most; all of them would cost each agent more memory than the rest of this.
 */
export function createRegistry(): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory size in bytes.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start time of the process since unix epoch in seconds.',
    registers,
    collect() {
      this.set(Math.round(performance.timeOrigin) / 1000);
    },
  });
  return registry;
}
