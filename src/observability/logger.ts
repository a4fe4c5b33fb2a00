import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/**
 * A process' logger: one JSON object a line on stdout, with `level` as a word and `time` in ISO 8601. The level comes from
 * LOG_LEVEL (trace, debug, info, warn, error, fatal, silent), else info. Loops make a child per round, bound to its object.
 * @throws Error when LOG_LEVEL is none of these words.
 */
export function createLogger(options: { name: string }): Logger {
  return pino({
    name: options.name,
    level: process.env.LOG_LEVEL ?? 'info',
    // The pod's own name says which replica it was; pid and host name would only repeat it.
    base: {},
    formatters: { level: (label) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  });
}
